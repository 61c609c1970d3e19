"""Weights of 8 or 4 bits: the decoder in a half or a quarter of the memory, and as much quicker to read.

Symmetric and rounded to nearest, without calibration. 8 bits: one scale a row. 4 bits: one scale for each GROUP
columns of a row, as in llama.cpp's Q4_0; the language model head keeps 8 bits.
"""

import torch
from torch import nn
from torch.nn.functional import linear

GROUP = 32
BITS = {"int8": 8, "int4": 4}


class QuantizedLinear(nn.Module):
    """A `Linear` without bias whose weight is dequantised for every product; `decode_kernels.py` reads it as it is.

    Attributes:
        weight: bytes. 8 bits: (out, in), 128 more than meant. 4 bits: (out, in / 2), 8 more; a row's first half in the
            low bits.
        scale: 8 bits: (out,). 4 bits: (out, in / GROUP).
        unpack: how the weight is made of them; there is a kernel for it.
    """

    def __init__(self, weight: torch.Tensor, bits: int):
        super().__init__()
        self.bits = bits
        self.unpack = unpacked
        rows, columns = weight.shape
        groups = weight.float().view(rows, 1, columns) if bits == 8 else weight.float().view(rows, -1, GROUP)
        extreme = groups.gather(-1, groups.abs().argmax(-1, keepdim=True))
        # The extreme value is the one step that only negative numbers have, -8 of -8 to 7.
        scale = (extreme.abs() / 127 if bits == 8 else extreme / -8).to(weight.dtype)
        steps = (groups / scale.float().masked_fill(scale == 0, 1)).round_().view(rows, columns)
        if bits == 8:
            stored = steps.clamp_(-127, 127).add_(128).to(torch.uint8)
        else:
            low, high = steps.clamp_(-8, 7).add_(8).to(torch.uint8).chunk(2, -1)
            stored = low | high << 4
        self.weight = nn.Buffer(stored.contiguous())
        self.scale = nn.Buffer(scale.view(rows) if bits == 8 else scale.view(rows, -1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, in) to (…, out)."""
        return linear(x, self.unpack(self.weight, self.scale, self.bits))


def unpacked(weight: torch.Tensor, scale: torch.Tensor, bits: int) -> torch.Tensor:
    """A `QuantizedLinear`'s weight, (out, in)."""
    if bits == 8:
        return weight.to(scale.dtype).sub_(128).mul_(scale[:, None])
    steps = torch.cat((weight & 15, weight >> 4), -1).to(scale.dtype).sub_(8)
    return steps.unflatten(-1, (-1, GROUP)).mul_(scale[..., None]).flatten(-2)


def quantize_decoder(model: nn.Module, kind: str, device: torch.device) -> None:
    """Quantise a model's decoder, `int8` or `int4`, layer by layer on the way to its device."""
    for layer in model.model.layers:
        for block in (layer.self_attn, layer.mlp):
            for name, module in list(block.named_children()):
                if isinstance(module, nn.Linear):
                    setattr(block, name, QuantizedLinear(module.weight.data.to(device), BITS[kind]))
    model.lm_head = QuantizedLinear(model.lm_head.weight.data.to(device), 8)
    model.to(device)


def stored(linear: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """A layer's weight and scale as they lie in memory; an ordinary one's weight has none, and stands for it."""
    return linear.weight, getattr(linear, "scale", linear.weight)


def bits(linear: nn.Module) -> int:
    """Bits of a weight; 16 for what isn't quantised, whatever it is."""
    return getattr(linear, "bits", 16)


def name_of_precision(model: nn.Module) -> str:
    """`bfloat16`, or with a quantised decoder `int8 and bfloat16`."""
    kinds = [kind for kind, count in BITS.items() if count == bits(model.model.layers[0].mlp.down_proj)]
    return " and ".join([*kinds, str(model.dtype).removeprefix("torch.")])
