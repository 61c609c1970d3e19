"""The image tower's forward pass, with kernels for what lies between its matrix products."""

from types import ModuleType

import torch
from torch import nn
from torch.nn.functional import linear, pad
from transformers import AttentionInterface

from ...model.modeling_phi3_v import Phi3VImageEmbedding
from .forward import exact


class LeanTower:
    """As `Phi3VImageEmbedding.encode`, of a tower whose activation is QuickGELU.

    A GPU computes its operations as fast as they are launched, so there are few of them: the patches' embeddings come
    of a product, queries, keys and values of a layer of one.

    Args:
        tower: its weights are used, and stay its own; those of a layer's queries, keys and values then lie together.
        between: `prompt_kernels`.
    """

    def __init__(self, tower: Phi3VImageEmbedding, between: ModuleType):
        self.between = between
        self.clip = tower.img_processor.vision_model
        self.layers = list(tower.layers)
        self.qkv = [_together(layer.self_attn) for layer in self.layers]

    @torch.no_grad()
    def __call__(self, crops: torch.Tensor) -> torch.Tensor:
        """(crops, 3, 336, 336) to patch features (crops, 576, vision size)."""
        clip, add_and_norm, quick_gelu = self.clip, self.between.add_and_norm, self.between.quick_gelu
        attend = AttentionInterface()[clip.config._attn_implementation]
        x = self._embed(crops)
        count, positions, size = x.shape
        x = x.view(-1, size)
        normed = self.layers[0].layer_norm1(x)
        # Memory for what is wide, and a little that fits in: nothing is in it for longer than the next product.
        wide = x.new_empty(len(x) * max(3 * size, clip.config.intermediate_size))
        for number, (layer, qkv) in enumerate(zip(self.layers, self.qkv, strict=True)):
            attention, mlp = layer.self_attn, layer.mlp
            heads = _linear(normed, *qkv, wide).view(count, positions, 3, -1, attention.head_dim)
            attended = attend(attention, *heads.permute(2, 0, 3, 1, 4), None, scaling=attention.scale)[0]
            change = _linear(attended.view(-1, size), attention.out_proj.weight, attention.out_proj.bias, wide)
            normed = add_and_norm(x, change, layer.layer_norm2)
            change = mlp.fc2(quick_gelu(_linear(normed, mlp.fc1.weight, mlp.fc1.bias, wide)))
            if number + 1 < len(self.layers):
                normed = add_and_norm(x, change, self.layers[number + 1].layer_norm1)
        return x.add_(change).view(count, positions, size)[:, 1:]

    def _embed(self, crops: torch.Tensor) -> torch.Tensor:
        """(crops, 3, 336, 336) to normed patches and class token with their positions, (crops, 577, vision size)."""
        embeddings = self.clip.embeddings
        weight, places = embeddings.patch_embedding.weight, embeddings.position_embedding.weight
        patch = weight.shape[-1]
        patches = crops.unflatten(3, (-1, patch)).unflatten(2, (-1, patch)).permute(0, 2, 4, 1, 3, 5)
        # A GPU multiplies rows of whole multiples of 16 bytes three times as fast.
        patches, weight = (pad(each, (0, -each.shape[-1] % 8)) for each in (patches.flatten(3), weight.flatten(1)))
        x = crops.new_empty(len(crops), *places.shape)
        x[:, 0] = embeddings.class_embedding + places[0]
        torch.add(linear(patches.flatten(1, 2), weight), places[1:], out=x[:, 1:])
        return self.clip.pre_layrnorm(x)


@torch.inference_mode()
def exact_features(tower: Phi3VImageEmbedding, crops: torch.Tensor) -> torch.Tensor:
    """As `Phi3VImageEmbedding.encode`, in float32."""
    clip = tower.img_processor.vision_model
    x = exact(clip.pre_layrnorm)(exact(clip.embeddings)(crops.float()))
    for layer in tower.layers:
        x = exact(layer)(x, None)
    return x[:, 1:]


def _linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
    """As torch's, of (rows, size), written to the beginning of this memory."""
    return torch.addmm(bias, x, weight.T, out=memory[: len(x) * len(weight)].view(len(x), -1))


def _together(attention: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of queries, keys and values in one, of which the layers' own become parts."""
    parts = (attention.q_proj, attention.k_proj, attention.v_proj)
    together = [torch.cat([getattr(part, name).data for part in parts]) for name in ("weight", "bias")]
    for name, tensor in zip(("weight", "bias"), together, strict=True):
        for part, own in zip(parts, tensor.chunk(3), strict=True):
            getattr(part, name).data = own
    return tuple(together)
