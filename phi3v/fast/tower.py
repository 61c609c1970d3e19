"""The image tower's forward pass, with kernels for what lies between its matrix products."""

from types import ModuleType

import torch
from torch import nn
from torch.nn.functional import linear
from transformers import AttentionInterface

from ..modeling_phi3_v import Phi3VImageEmbedding


class LeanTower:
    """As `Phi3VImageEmbedding.encode`, of a tower whose activation is QuickGELU.

    A GPU computes its operations as fast as they are launched, so there are few of them: queries, keys and values of a
    layer come of one product.

    Args:
        tower: its weights are used, and stay its own; those of a layer's queries, keys and values then lie together.
        between: `prompt_kernels`.
    """

    def __init__(self, tower: Phi3VImageEmbedding, between: ModuleType):
        self.between = between
        self.clip = tower.img_processor
        self.layers = list(self.clip.encoder.layers[:-1])
        self.qkv = [_together(layer.self_attn) for layer in self.layers]

    def __call__(self, crops: torch.Tensor) -> torch.Tensor:
        """(crops, 3, 336, 336) to patch features (crops, 576, vision size)."""
        clip, add_and_norm, quick_gelu = self.clip, self.between.add_and_norm, self.between.quick_gelu
        attend = AttentionInterface()[clip.config._attn_implementation]
        x = clip.pre_layrnorm(clip.embeddings(crops))
        normed = self.layers[0].layer_norm1(x)
        for number, (layer, qkv) in enumerate(zip(self.layers, self.qkv, strict=True)):
            attention, mlp = layer.self_attn, layer.mlp
            heads = linear(normed, *qkv).unflatten(-1, (3, -1, attention.head_dim)).permute(2, 0, 3, 1, 4)
            attended, _ = attend(attention, *heads, None, scaling=attention.scale)
            normed = add_and_norm(x, attention.out_proj(attended.flatten(2)), layer.layer_norm2)
            change = mlp.fc2(quick_gelu(mlp.fc1(normed)))
            if number + 1 < len(self.layers):
                normed = add_and_norm(x, change, self.layers[number + 1].layer_norm1)
        return x.add_(change)[:, 1:]


def _together(attention: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of queries, keys and values in one, of which the layers' own become parts."""
    parts = (attention.q_proj, attention.k_proj, attention.v_proj)
    together = [torch.cat([getattr(part, name).data for part in parts]) for name in ("weight", "bias")]
    for name, tensor in zip(("weight", "bias"), together, strict=True):
        for part, own in zip(parts, tensor.chunk(3), strict=True):
            getattr(part, name).data = own
    return tuple(together)
