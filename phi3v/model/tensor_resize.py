"""Pillow's resize in torch, bit for bit. A GPU does it in the time it takes to get a photo's pixels there."""

import math

import numpy as np
import torch

PRECISION = 22  # bits of a weight's fraction


def resize(pixels: torch.Tensor, size: tuple[int, int], columns_first: bool = False) -> torch.Tensor:
    """As `resize.resize`, of pixels as of `rgbx`, on any device.

    Source: Pillow's `Resample.c`. Weights are fixed-point numbers there, so sums are whole and exact.

    Args:
        pixels: uint8, (height, width, channels).
        size: width and height.
        columns_first: for what Pillow makes of the transposed image, transposed back.

    Returns:
        uint8, (height, width, channels); of the same size, the pixels themselves.
    """
    lengths = size[::-1]
    for dim in (0, 1) if columns_first else (1, 0):
        if pixels.shape[dim] != lengths[dim]:
            pixels = _resample(pixels, dim, lengths[dim])
    return pixels


def _resample(pixels: torch.Tensor, dim: int, length: int) -> torch.Tensor:
    """Resize one dimension."""
    places, weights = _taps(pixels.shape[dim], length).to(pixels.device, non_blocking=True)
    shape = list(pixels.shape)
    shape[dim] = length
    total = torch.full(shape, 1 << (PRECISION - 1), dtype=torch.int32, device=pixels.device)  # a half, to round
    for place, weight in zip(places, weights, strict=True):
        total += pixels.index_select(dim, place) * weight.view(-1, *[1] * (pixels.dim() - 1 - dim))
    return (total >> PRECISION).clamp_(max=255).to(torch.uint8)


def _taps(before: int, after: int) -> torch.Tensor:
    """Of which places each new one is the weighted mean, and the weights: int32, (2, taps, after)."""
    scale = before / after
    support = max(scale, 1.0)
    center = (np.arange(after) + 0.5) * scale
    first = np.maximum((center - support + 0.5).astype(np.int32), 0)
    end = np.minimum((center + support + 0.5).astype(np.int32), before)
    places = first + np.arange(2 * math.ceil(support) + 1, dtype=np.int32)[:, None]
    weights = np.maximum(1 - np.abs((places - center + 0.5) * (1 / support)), 0) * (places < end)
    weights /= weights.cumsum(0)[-1]  # added one by one, as there
    fixed = (0.5 + weights * (1 << PRECISION)).astype(np.int32)
    return torch.from_numpy(np.stack((np.minimum(places, before - 1), fixed)))
