"""Saving and resuming, and the export: a complete phi3_v folder in the published checkpoint's names.

Weights are saved in bfloat16 and the optimizer's state is not: a resumed run warms up again, which costs seconds.
"""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from . import tokenizer
from .geometry import CROP, PATCH
from .model import HEAD, MEAN, STD, PreviewModel, Shape

TOWER = "model.vision_embed_tokens.img_processor.vision_model."
STATE = "training.json"
SHARD = 15 * 2**20

CHAT_TEMPLATE = (
    "{% for message in messages %}{{'<|' + message['role'] + '|>' + '\n' + message['content'] + '<|end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


def config(shape: Shape) -> dict:
    """``config.json``."""
    heads = shape.hidden // HEAD
    vision = {
        "hidden_size": shape.vision, "intermediate_size": shape.vision_mlp,
        "num_hidden_layers": shape.vision_layers + 1, "num_attention_heads": shape.vision // HEAD,
        "image_size": CROP, "patch_size": PATCH, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
        "projection_dim": shape.vision,
    }  # fmt: skip
    return {
        "model_type": "phi3_v", "architectures": ["Phi3VForCausalLM"], "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden, "intermediate_size": shape.mlp, "num_hidden_layers": shape.layers,
        "num_attention_heads": heads, "num_key_value_heads": heads, "hidden_act": "silu", "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "rope_scaling": None, "max_position_embeddings": 4096,
        "original_max_position_embeddings": 4096, "sliding_window": None, "tie_word_embeddings": False,
        "bos_token_id": None, "eos_token_id": tokenizer.END, "pad_token_id": tokenizer.PAD, "torch_dtype": "bfloat16",
        "image_token_id": tokenizer.IMAGE,
        "img_processor": {
            "name": "clip_vision_model", "model_name": "preview", "image_dim_out": shape.vision, "num_img_tokens": 144,
            "vision_config": vision,
        },
        "embd_layer": {
            "embedding_cls": "image", "hd_transform_order": "sub_glb", "projection_cls": "mlp",
            "use_hd_transform": True, "with_learnable_separator": True,
        },
    }  # fmt: skip


def _others() -> dict[str, dict]:
    """The folder's remaining JSON files."""
    return {
        "generation_config.json": {
            "eos_token_id": [tokenizer.END, tokenizer.END_OF_TEXT], "pad_token_id": tokenizer.PAD,
            "max_new_tokens": 500, "do_sample": False,
        },
        "preprocessor_config.json": {
            "num_crops": 4, "image_mean": list(MEAN), "image_std": list(STD), "num_img_tokens": 144,
            "image_processor_type": "Phi3VImageProcessor", "processor_class": "Phi3VProcessor",
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": None, "eos_token": "<|end|>",
            "pad_token": "<|pad|>", "add_bos_token": False, "clean_up_tokenization_spaces": False,
            "model_max_length": 4096,
            "additional_special_tokens": ["<|user|>", "<|assistant|>", "<|image|>", "<|endoftext|>"],
            "chat_template": CHAT_TEMPLATE,
        },
    }  # fmt: skip


def tensors(model: PreviewModel) -> dict[str, Tensor]:
    """The checkpoint's tensors. CLIP's last layer and last norm, which the model doesn't use, are filled in."""
    out = {k: v.detach().to("cpu", torch.bfloat16) for k, v in model.state_dict().items() if not k.startswith("aux.")}
    last = f"{TOWER}encoder.layers.{model.shape.vision_layers}."
    for name in [k for k in out if k.startswith(f"{TOWER}encoder.layers.0.")]:
        is_scale = "layer_norm" in name and name.endswith("weight")
        filler = torch.ones_like(out[name]) if is_scale else torch.zeros_like(out[name])
        out[name.replace(f"{TOWER}encoder.layers.0.", last)] = filler
    out[f"{TOWER}post_layernorm.weight"] = torch.ones(model.shape.vision, dtype=torch.bfloat16)
    out[f"{TOWER}post_layernorm.bias"] = torch.zeros(model.shape.vision, dtype=torch.bfloat16)
    return {k: v.contiguous() for k, v in sorted(out.items())}


def export(model: PreviewModel, folder: Path) -> None:
    """Write a complete phi3_v folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {"config.json": config(model.shape), **_others()}.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
    shutil.copyfile(tokenizer.FILE, folder / "tokenizer.json")
    save_file(tensors(model), folder / "model.safetensors", metadata={"format": "pt"})


def save(model: PreviewModel, folder: Path, state: dict) -> None:
    """Everything to resume from, in a few files below 16 MiB."""
    folder.mkdir(parents=True, exist_ok=True)
    parts, used = [{}], 0
    for name, value in model.state_dict().items():
        value = value.detach().to("cpu", torch.bfloat16).contiguous()
        used += value.nbytes
        if used > SHARD:
            parts.append({})
            used = value.nbytes
        parts[-1][name] = value
    for i, part in enumerate(parts):
        save_file(part, folder / f"weights-{i}.safetensors")
    (folder / STATE).write_text(json.dumps({"shape": asdict(model.shape), **state}, indent=1) + "\n")


def load(folder: Path, dtype: torch.dtype = torch.float32) -> tuple[PreviewModel, dict]:
    """A model as it was saved, and its training state."""
    state = json.loads((folder / STATE).read_text())
    model = PreviewModel(Shape(**state.pop("shape")), dtype)
    weights = {}
    for file in sorted(folder.glob("weights-*.safetensors")):
        weights |= load_file(file)
    model.load_state_dict(weights)
    return model, state


def read(folder: Path) -> dict[str, Tensor]:
    """The parameters in an exported folder that training knows."""
    unused = (f"{TOWER}post_layernorm", f"{TOWER}encoder.layers.{shape_of(folder).vision_layers}.")
    weights = load_file(folder / "model.safetensors")
    return {k: v.float() for k, v in weights.items() if not k.startswith(unused)}


def shape_of(folder: Path, vocabulary: int | None = None) -> Shape:
    """The sizes of an exported model, with another vocabulary's if one is given."""
    c = json.loads((folder / "config.json").read_text())
    v = c["img_processor"]["vision_config"]
    return Shape(
        v["hidden_size"], v["intermediate_size"], v["num_hidden_layers"] - 1, c["hidden_size"], c["intermediate_size"],
        c["num_hidden_layers"], vocabulary or c["vocab_size"],
    )  # fmt: skip
