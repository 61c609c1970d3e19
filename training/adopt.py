"""Going on from an exported model, also under another vocabulary or with more layers in the image tower.

The heads that only training has begin anew.
"""

import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from . import checkpoint, tokenizer
from .model import PreviewModel


def _vocabulary(file: Path) -> dict[str, int]:
    """Token to id, of a ``tokenizer.json``."""
    content = json.loads(file.read_text())
    added = {t["content"]: t["id"] for t in content.get("added_tokens", [])}
    return {**content["model"]["vocab"], **added}


def respell(weights: dict[str, Tensor], model: PreviewModel, old: dict[str, int], new: dict[str, int]) -> None:
    """Rows of embeddings and head for the tokens of another vocabulary, from those of the tokens that spell them.

    To read a token is to read its letters; to write one begins with writing its first.
    """
    state = model.state_dict()
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        rows = state[name].clone()
        for token, i in new.items():
            spelling = [old[token]] if token in old else [old[c] for c in token if c in old]
            if spelling:
                known = weights[name][spelling]
                rows[i] = known.mean(0) if name.startswith("model") else known[0]
        weights[name] = rows


def adopt(folder: Path, dtype: torch.dtype = torch.float32, vision_layers: int = 0) -> PreviewModel:
    """A model to train, from an exported folder. More ``vision_layers`` than it has change nothing at first."""
    shape = checkpoint.shape_of(folder, vocabulary=tokenizer.vocabulary_size())
    known = shape.vision_layers
    model = PreviewModel(replace(shape, vision_layers=max(vision_layers, known)), dtype)
    layers = model.model.vision_embed_tokens.img_processor.vision_model.encoder.layers
    added = [f"{checkpoint.TOWER}encoder.layers.{i}." for i in range(known, len(layers))]
    for layer in layers[known:]:
        torch.nn.init.zeros_(layer.self_attn.out_proj.weight)
        torch.nn.init.zeros_(layer.mlp.fc2.weight)
    weights = checkpoint.read(folder)
    old, new = _vocabulary(folder / "tokenizer.json"), _vocabulary(tokenizer.FILE)
    if old != new:
        respell(weights, model, old, new)
    missing, unexpected = model.load_state_dict(weights, strict=False)
    if unexpected or any(not name.startswith(("aux.", *added)) for name in missing):
        raise ValueError(f"{folder} holds another model: {unexpected[:3]} unknown, {missing[:3]} missing")
    return model
