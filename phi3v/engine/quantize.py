"""Weights of 8 or 4 bits: the decoder in a half or a quarter of the memory, and as much quicker to read.

Symmetric and rounded to nearest, without calibration. 8 bits: one scale a row. 4 bits: one scale for each GROUP
columns of a row, as in llama.cpp's Q4_0; the language model head keeps 8 bits.
"""

import torch
from torch import nn
from torch.nn.functional import linear, pad

from .settings import BITS

GROUP = 32


class QuantizedLinear(nn.Module):
    """A `Linear` without bias whose weight is unpacked for every product; `decode_kernels.py` reads it as it is.

    A word holds one number of each of `parts` parts of a row, the first in the lowest bits: the kernels then read 16
    bits for each of 16 bits of what they multiply them with, whatever the numbers' size.

    Attributes:
        weight: (out, in / parts) uint16; numbers are stored 128 (8 bits) or 8 (4 bits) more than they are.
        scale: 8 bits: (out,). 4 bits: (out, parts, in / parts / GROUP, rounded up).
        unpack: how the weight is made of them; there is a kernel for it.
    """

    def __init__(self, weight: torch.Tensor, bits: int):
        super().__init__()
        self.bits = bits
        self.unpack = unpacked
        rows, columns = weight.shape
        parts = weight.float().view(rows, 16 // bits, -1)
        width = parts.shape[-1]
        if bits == 8:
            groups = parts.view(rows, 1, 1, columns)
        else:
            groups = pad(parts, (0, -width % GROUP)).unflatten(-1, (-1, GROUP))
        extreme = groups.gather(-1, groups.abs().argmax(-1, keepdim=True))
        # The extreme value of 4 bits is the one that only negative numbers have, -8 of -8 to 7.
        scale = (extreme.abs() / 127 if bits == 8 else extreme / -8).to(weight.dtype)
        numbers = (groups / scale.float().masked_fill(scale == 0, 1)).round_()
        numbers = numbers.clamp_(-127, 127).add_(128) if bits == 8 else numbers.clamp_(-8, 7).add_(8)
        numbers = numbers.view(rows, 16 // bits, -1)
        shifts = torch.arange(0, 16, bits, device=weight.device)[:, None]
        words = (numbers[..., :width].to(torch.int32) << shifts).sum(1)
        self.weight = nn.Buffer(words.to(torch.uint16))
        self.scale = nn.Buffer(scale.view(rows) if bits == 8 else scale[..., 0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, in) to (…, out)."""
        return linear(x, self.unpack(self.weight, self.scale, self.bits))


def unpacked(weight: torch.Tensor, scale: torch.Tensor, bits: int) -> torch.Tensor:
    """A `QuantizedLinear`'s weight, (out, in)."""
    shifts = torch.arange(0, 16, bits, device=weight.device, dtype=torch.int32)[:, None]
    numbers = ((weight.to(torch.int32)[:, None] >> shifts) & (2**bits - 1)).to(scale.dtype).sub_(2 ** (bits - 1))
    if bits == 8:
        return numbers.flatten(1).mul_(scale[:, None])
    return numbers.mul_(scale.repeat_interleave(GROUP, -1)[..., : numbers.shape[-1]]).flatten(1)


def quantize_decoder(model: nn.Module, kind: str, device: torch.device) -> None:
    """Quantise a model's decoder, `int8` or `int4`, layer by layer on the way to its device.

    Nobody could load it again, so saving it is a ValueError from then on.
    """
    for layer in model.model.layers:
        for block in (layer.self_attn, layer.mlp):
            for name, module in list(block.named_children()):
                if isinstance(module, nn.Linear):
                    setattr(block, name, QuantizedLinear(module.weight.data.to(device), BITS[kind]))
    model.lm_head = QuantizedLinear(model.lm_head.weight.data.to(device), 8)
    model.save_pretrained = _refuse_to_save
    model.to(device)


def _refuse_to_save(*args, **kwargs):
    raise ValueError("A decoder that was quantised here can't be saved. Save the model before it is quantised.")


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
