"""How an image becomes crops and tokens: the arithmetic of the model's HD transform, without torch."""

import math

import numpy as np
from PIL import Image

CROP = 336
PATCH = 14
CELL = 28  # pixels that one visual token stands for: 2x2 patches
CELLS = CROP // CELL
PATCHES = CROP // PATCH

Layout = tuple[int, int]  # crops across, crops down


def image_tokens(layout: Layout) -> int:
    """Visual tokens of an image of this many crops."""
    w, h = layout
    return (w * h + 1) * CELLS**2 + 1 + (h + 1) * CELLS


def fit(width: int, height: int, num_crops: int) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Resized size, padded size and offset of the content, all in pixels, for an image of this size."""
    tall = width < height
    long, short = max(width, height), min(width, height)
    ratio, scale = long / short, 1
    while scale * math.ceil(scale / ratio) <= num_crops:
        scale += 1
    scale -= 1
    new_long = scale * CROP
    new_short = max(1, int(new_long / ratio))
    padded_short = math.ceil(new_short / CROP) * CROP
    offset = (padded_short - new_short) // 2
    if tall:
        return (new_short, new_long), (padded_short, new_long), (offset, 0)
    return (new_long, new_short), (new_long, padded_short), (0, offset)


def pad(image: Image.Image, num_crops: int) -> np.ndarray:
    """An RGB image resized and padded with white as the processor does it: uint8, (height, width, 3)."""
    size, padded, (left, top) = fit(image.width, image.height, num_crops)
    tall = image.width < image.height
    if image.size != size:
        # The processor resizes the transpose of a tall image; the result differs in the last bit only.
        image = image.transpose(Image.Transpose.TRANSPOSE) if tall else image
        image = image.resize(size[::-1] if tall else size, Image.Resampling.BILINEAR)
        image = image.transpose(Image.Transpose.TRANSPOSE) if tall else image
    out = np.full((padded[1], padded[0], 3), 255, np.uint8)
    out[top : top + size[1], left : left + size[0]] = np.asarray(image)
    return out
