"""Phi-3-Vision at full size with random weights: speed and memory don't depend on their values, answers do."""

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor
from transformers import initialization as init

from phi3v import Phi3Vision
from phi3v.engine.device import pick_attention, pick_device, pick_dtype
from phi3v.engine.quantize import quantize_decoder

REFERENCE = Path(__file__).parent.parent / "tests" / "reference"
PUBLISHED = REFERENCE / "hub-files"
PROCESSOR = REFERENCE / "checkpoint"  # has the published processor's files, too


def full_size(
    device: str = "auto",
    dtype: str = "auto",
    attn_implementation: str = "auto",
    quantize: str | None = None,
    layers: int | None = None,
) -> Phi3Vision:
    """An engine over it, or over one of fewer decoder layers. Its answers never end by themselves."""
    picked_device = pick_device(device)
    picked_dtype = pick_dtype(dtype, picked_device)
    attention = pick_attention(attn_implementation, picked_device, picked_dtype)
    config = AutoConfig.from_pretrained(PUBLISHED)
    config.num_hidden_layers = layers or config.num_hidden_layers
    # Weights are made where they stay, in their dtype: transformers' own initialisation takes minutes.
    with torch.device("meta"), init.no_init_weights():
        model = AutoModelForImageTextToText.from_config(config, dtype=picked_dtype, attn_implementation=attention)
    model.to_empty(device=picked_device)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1) if "norm" in name and name.endswith("weight") else parameter.uniform_(-0.03, 0.03)
        model.lm_head.weight[config.eos_token_id] = 0
    model.tie_weights()
    model.model.rotary_emb.reset_frequencies()
    tower = model.model.vision_embed_tokens.img_processor.vision_model.embeddings
    tower.position_ids.copy_(torch.arange(tower.num_positions))
    model.generation_config.eos_token_id = config.eos_token_id
    model.generation_config.pad_token_id = config.pad_token_id
    if quantize:
        quantize_decoder(model, quantize, picked_device)
    return Phi3Vision(model, AutoProcessor.from_pretrained(PROCESSOR), "full size, random weights")
