"""Triton kernels for what lies between a prompt's matrix products: each reads and writes its tensors once."""

import torch
import triton
import triton.language as tl
from torch import nn

from ..quantize import GROUP


@triton.jit
def _turn(
    qkv_ptr,
    cos_ptr,
    sin_ptr,
    turned_ptr,
    rooms_ptr,
    place_ptr,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_H: tl.constexpr,
):
    token, d = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK_D)
    head = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)
    held = (d < D)[None, :]
    is_query = (head < HEADS)[:, None]
    is_key = ((head >= HEADS) & (head < HEADS + KV_HEADS))[:, None]
    is_value = ((head >= HEADS + KV_HEADS) & (head < HEADS + 2 * KV_HEADS))[:, None]
    rows = qkv_ptr + (token * (HEADS + 2 * KV_HEADS) + head)[:, None] * D
    x = tl.load(rows + d[None, :], mask=held & (is_query | is_key | is_value), other=0.0)
    other_half = tl.where(d < D // 2, d + D // 2, d - D // 2)
    other = tl.load(rows + other_half[None, :], mask=held & (is_query | is_key), other=0.0).to(tl.float32)
    cos = tl.load(cos_ptr + token * D + d, mask=d < D, other=0.0).to(tl.float32)
    sin = tl.load(sin_ptr + token * D + d, mask=d < D, other=0.0).to(tl.float32)
    turned = (x.to(tl.float32) * cos[None, :] + other * sin[None, :]).to(x.dtype)
    out = turned_ptr + (token * (HEADS + KV_HEADS) + head)[:, None] * D + d[None, :]
    tl.store(out, turned, mask=held & (is_query | is_key))
    keys_ptr = tl.multiple_of(tl.load(rooms_ptr).to(tl.pointer_type(x.dtype)), 16)
    values_ptr = tl.multiple_of(tl.load(rooms_ptr + 1).to(tl.pointer_type(x.dtype)), 16)
    room, begin, count = tl.load(rooms_ptr + 2), tl.load(place_ptr), tl.load(place_ptr + 1)
    place = (begin + token) * D + d[None, :]
    held = held & (place < (begin + count) * D)
    key_head, value_head = (head - HEADS).to(tl.int64), (head - HEADS - KV_HEADS).to(tl.int64)
    tl.store(keys_ptr + key_head[:, None] * room * D + place, turned, mask=held & is_key)
    tl.store(values_ptr + value_head[:, None] * room * D + place, x, mask=held & is_value)


@triton.jit
def _gate(gate_up_ptr, out_ptr, inner, BLOCK: tl.constexpr):
    token, n = tl.program_id(0).to(tl.int64), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = n < inner
    gate = tl.load(gate_up_ptr + token * 2 * inner + n, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(gate_up_ptr + token * 2 * inner + inner + n, mask=inside, other=0.0).to(tl.float32)
    tl.store(
        out_ptr + token * inner + n, (up * gate / (1.0 + tl.exp(-gate))).to(out_ptr.dtype.element_ty), mask=inside
    )


@triton.jit
def _quick_gelu(x_ptr, count, BLOCK: tl.constexpr):
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = n < count
    x = tl.load(x_ptr + n, mask=inside, other=0.0).to(tl.float32)
    tl.store(x_ptr + n, (x / (1.0 + tl.exp(-1.702 * x))).to(x_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _add_and_norm(x_ptr, change_ptr, gain_ptr, bias_ptr, out_ptr, eps, size, BLOCK: tl.constexpr):
    row, n = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    inside = n < size
    place = row * size + n
    x = tl.load(x_ptr + place, mask=inside, other=0.0).to(tl.float32)
    x += tl.load(change_ptr + place, mask=inside, other=0.0).to(tl.float32)
    x = x.to(x_ptr.dtype.element_ty)
    tl.store(x_ptr + place, x, mask=inside)
    x = x.to(tl.float32)
    x = tl.where(inside, x - tl.sum(x, 0) / size, 0.0)
    x /= tl.sqrt(tl.sum(x * x, 0) / size + eps)
    gain = tl.load(gain_ptr + n, mask=inside, other=0.0).to(tl.float32)
    bias = tl.load(bias_ptr + n, mask=inside, other=0.0).to(tl.float32)
    tl.store(out_ptr + place, (x * gain + bias).to(out_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _unpack(weight_ptr, scale_ptr, out_ptr, width, BITS: tl.constexpr, GROUP: tl.constexpr, BLOCK: tl.constexpr):
    row, place = tl.program_id(0).to(tl.int64), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    PARTS: tl.constexpr = 16 // BITS
    inside = place < width
    words = tl.load(weight_ptr + row * width + place, mask=inside, other=0).to(tl.int32)
    for part in tl.static_range(PARTS):
        if BITS == 4:
            groups = tl.cdiv(width, GROUP)
            scale = tl.load(scale_ptr + (row * PARTS + part) * groups + place // GROUP, mask=inside, other=0.0)
        else:
            scale = tl.load(scale_ptr + row)
        number = ((words >> (part * BITS)) & (2**BITS - 1)) - 2 ** (BITS - 1)
        value = number.to(tl.float32) * scale.to(tl.float32)
        out = out_ptr + (row * PARTS + part) * width + place
        tl.store(out, value.to(out_ptr.dtype.element_ty), mask=inside)


def unpacked(weight: torch.Tensor, scale: torch.Tensor, bits: int) -> torch.Tensor:
    """A `QuantizedLinear`'s weight, (out, in)."""
    rows, width = weight.shape
    out = scale.new_empty(rows, width * 16 // bits)
    _unpack[(rows, triton.cdiv(width, 1024))](weight, scale, out, width, bits, GROUP, 1024)
    return out


def turn_and_keep(
    qkv: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, heads: int, rooms: torch.Tensor, place: torch.Tensor
) -> torch.Tensor:
    """Rotate queries and keys, and write keys and values to a cache.

    Args:
        qkv: (tokens, heads + 2 * key-value heads, head size).
        cos, sin: (tokens, head size); `sin` negative in the first half.
        heads: the queries'.
        rooms: a layer's of `kv_cache.addresses`.
        place: the position of the first token, and of how many tokens keys and values are written.

    Returns:
        Queries and keys, (tokens, heads + key-value heads, head size).
    """
    tokens, all_heads, size = qkv.shape
    kv_heads = (all_heads - heads) // 2
    turned = qkv.new_empty(tokens, heads + kv_heads, size)
    _turn[(tokens, triton.cdiv(all_heads, 16))](
        qkv, cos, sin, turned, rooms, place, heads, kv_heads, size, triton.next_power_of_2(size), 16
    )
    return turned


def gated(gate_up: torch.Tensor) -> torch.Tensor:
    """(tokens, 2 * inner) gate and up to (tokens, inner), up * silu(gate)."""
    tokens, inner = gate_up.shape[0], gate_up.shape[1] // 2
    out = gate_up.new_empty(tokens, inner)
    _gate[(tokens, triton.cdiv(inner, 1024))](gate_up, out, inner, 1024)
    return out


def quick_gelu(x: torch.Tensor) -> torch.Tensor:
    """CLIP's activation, in place."""
    _quick_gelu[(triton.cdiv(x.numel(), 1024),)](x, x.numel(), 1024)
    return x


def add_and_norm(x: torch.Tensor, change: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
    """norm(x + change), (…, size); the sum stays in `x`."""
    out, size = torch.empty_like(x), x.shape[-1]
    block = triton.next_power_of_2(size)
    _add_and_norm[(x.numel() // size,)](x, change, norm.weight, norm.bias, out, norm.eps, size, block)
    return out
