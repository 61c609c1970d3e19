"""What a camera, a scanner or a messenger does to a clean picture."""

import io
import math
import random
from functools import partial

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter


def _solve(source: list[tuple[float, float]], target: list[tuple[float, float]]) -> np.ndarray:
    """The 3x3 matrix of the perspective that takes four points to four others."""
    rows, values = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.append(np.linalg.solve(np.array(rows, float), np.array(values, float)), 1).reshape(3, 3)


def _smooth(rng: random.Random, size: tuple[int, int], cells: int, low: int, high: int) -> Image.Image:
    """Grey values that change slowly."""
    noise = np.random.default_rng(rng.getrandbits(32)).integers(low, high + 1, (cells, cells)).astype(np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def texture(rng: random.Random, size: tuple[int, int]) -> Image.Image:
    """Something a sheet may lie on: a table, a cloth, a blurred room."""
    cells = rng.choice((2, 3, 5, 9, 30))
    base = [rng.randint(20, 220) for _ in range(3)]
    spread = rng.randint(5, 45)
    return Image.merge("RGB", [_smooth(rng, size, cells, max(0, v - spread), min(255, v + spread)) for v in base])


def perspective(rng: random.Random, image: Image.Image, strength: float) -> tuple[Image.Image, np.ndarray]:
    """The picture as a sheet seen from a little aside, on some ground; with the matrix of the move."""
    w, h = image.size
    inset = partial(rng.uniform, 0.0, 0.02 + 0.09 * strength)
    corners = [(0, 0), (w, 0), (w, h), (0, h)]
    target = [
        (w * inset(), h * inset()),
        (w * (1 - inset()), h * inset()),
        (w * (1 - inset()), h * (1 - inset())),
        (w * inset(), h * (1 - inset())),
    ]
    angle = math.radians(rng.gauss(0, 2.5 * strength))
    c, s = math.cos(angle), math.sin(angle)
    target = [
        (w / 2 + (x - w / 2) * c - (y - h / 2) * s, h / 2 + (x - w / 2) * s + (y - h / 2) * c) for x, y in target
    ]
    # What is printed near the edge must not leave the picture: the answer would ask for it.
    reach = max(max(abs(x - w / 2) / (w / 2), abs(y - h / 2) / (h / 2), 1.0) for x, y in target)
    target = [(w / 2 + (x - w / 2) / reach, h / 2 + (y - h / 2) / reach) for x, y in target]
    matrix = _solve(corners, target)
    inverse = np.linalg.inv(matrix)
    inverse = (inverse / inverse[2, 2]).ravel()[:8]
    mode, smooth = Image.Transform.PERSPECTIVE, Image.Resampling.BILINEAR
    sheet = image.transform((w, h), mode, inverse, smooth)
    mask = Image.new("L", (w, h))
    ImageDraw.Draw(mask).polygon(target, fill=255)
    ground = Image.new("RGB", (w, h), tuple(rng.randint(0, 255) for _ in range(3)))
    if rng.random() < 0.7:
        ground = texture(rng, (w, h))
    return Image.composite(sheet, ground, mask), matrix


def shadow(rng: random.Random, image: Image.Image) -> Image.Image:
    """Uneven light."""
    light = _smooth(rng, image.size, rng.choice((2, 2, 3)), rng.randint(110, 200), 255)
    return ImageChops.multiply(image, Image.merge("RGB", [light] * 3))


def blur(image: Image.Image, sigma: float) -> Image.Image:
    """A little out of focus. (Pillow's own Gaussian takes several times as long for so small a radius.)"""
    side = math.exp(-1 / (2 * sigma**2))
    row = (side, 1.0, side)
    return image.filter(ImageFilter.Kernel((3, 3), [a * b for a in row for b in row]))


def jpeg(rng: random.Random, image: Image.Image) -> Image.Image:
    """Saved as JPEG and opened again."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=rng.randint(25, 90))
    return Image.open(buffer).convert("RGB")


def apply(rng: random.Random, image: Image.Image, strength: float) -> tuple[Image.Image, np.ndarray | None]:
    """A random choice of the above; ``strength`` 0 leaves most pictures alone, 1 makes half of them photo-like."""
    matrix = None
    if rng.random() < 0.28 * strength:
        image, matrix = perspective(rng, image, strength)
    if rng.random() < 0.2 * strength:
        image = shadow(rng, image)
    if rng.random() < 0.15 * strength:
        image = blur(image, rng.uniform(0.3, 1.1))
    if rng.random() < 0.12 * strength:
        shape = (image.height, image.width, 1)
        noise = np.random.default_rng(rng.getrandbits(32)).standard_normal(shape, np.float32) * rng.uniform(2, 14)
        image = Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))
    if rng.random() < 0.3 * strength:
        image = jpeg(rng, image)
    return image, matrix
