"""Colours and shapes that the model knows by name."""

import math
import random

Rgb = tuple[int, int, int]

COLORS: dict[str, list[Rgb]] = {
    "red": [(255, 0, 0), (220, 20, 30), (200, 30, 40), (229, 57, 53)],
    "orange": [(255, 165, 0), (245, 140, 20), (255, 120, 0), (251, 140, 0)],
    "yellow": [(255, 255, 0), (250, 220, 40), (255, 215, 0), (253, 216, 53)],
    "green": [(0, 128, 0), (0, 190, 0), (40, 160, 60), (0, 255, 0), (67, 160, 71)],
    "cyan": [(0, 255, 255), (60, 200, 215), (0, 190, 200)],
    "blue": [(0, 0, 255), (40, 80, 210), (30, 100, 220), (30, 136, 229)],
    "purple": [(128, 0, 128), (130, 50, 170), (150, 40, 200), (142, 36, 170)],
    "pink": [(255, 192, 203), (250, 130, 180), (255, 105, 180)],
    "brown": [(139, 69, 19), (130, 80, 40), (110, 60, 20)],
    "black": [(0, 0, 0), (20, 20, 20)],
    "white": [(255, 255, 255), (250, 250, 250)],
    "gray": [(128, 128, 128), (140, 140, 140), (110, 110, 110)],
}
SHAPES = ["circle", "square", "triangle", "rectangle", "star", "diamond", "cross", "ring", "hexagon", "heart"]
POSITIONS = [
    "at the top left", "at the top", "at the top right",
    "on the left", "in the center", "on the right",
    "at the bottom left", "at the bottom", "at the bottom right",
]  # fmt: skip


def luminance(c: Rgb) -> float:
    """Brightness, 0 to 255."""
    return 0.299 * c[0] + 0.587 * c[1] + 0.114 * c[2]


def contrast(a: Rgb, b: Rgb) -> int:
    """Sum of the channels' differences."""
    return sum(abs(x - y) for x, y in zip(a, b, strict=True))


def tint(rng: random.Random, name: str, jitter: int = 10) -> Rgb:
    """A colour that goes by this name."""
    return tuple(min(255, max(0, v + rng.randint(-jitter, jitter))) for v in rng.choice(COLORS[name]))


def vivid(rgb: Rgb) -> bool:
    """Whether it is a colour rather than a shade of gray."""
    return max(rgb) - min(rgb) > 70


def nearest(rgb: Rgb) -> str:
    """The name of a colour."""
    return min(COLORS, key=lambda name: min(contrast(rgb, c) for c in COLORS[name]))


def background(rng: random.Random) -> Rgb:
    """Something to write on: mostly white or light, sometimes dark, sometimes a full colour."""
    k = rng.random()
    if k < 0.45:
        v = rng.randint(235, 255)
        return (v, v, v) if rng.random() < 0.7 else (255, rng.randint(240, 255), rng.randint(215, 250))
    if k < 0.7:
        return tuple(rng.randint(175, 255) for _ in range(3))
    if k < 0.9:
        return tuple(rng.randint(0, 90) for _ in range(3))
    return tint(rng, rng.choice(list(COLORS)))


def ink(rng: random.Random, paper: Rgb, wanted: float = 95) -> Rgb:
    """A colour that can be read on ``paper``."""
    for _ in range(20):
        k = rng.random()
        if k < 0.45:
            c = (rng.randint(0, 60),) * 3
        elif k < 0.65:
            c = (rng.randint(220, 255),) * 3
        else:
            c = tint(rng, rng.choice(list(COLORS)), 15)
        if abs(luminance(c) - luminance(paper)) >= wanted:
            return c
    return (0, 0, 0) if luminance(paper) > 127 else (255, 255, 255)


def outline(kind: str, x: float, y: float, r: float, turn: float = 0) -> list[tuple[float, float]]:
    """Corners of a shape around a centre, turned by ``turn`` radians."""
    a, b = 0.82 * r, 0.33 * r
    if kind == "triangle":
        points = [(0, -r), (r, 0.85 * r), (-r, 0.85 * r)]
    elif kind == "diamond":
        points = [(0, -r), (0.75 * r, 0), (0, r), (-0.75 * r, 0)]
    elif kind == "star":
        radii = [r if i % 2 == 0 else 0.42 * r for i in range(10)]
        points = [(q * math.sin(i * math.pi / 5), -q * math.cos(i * math.pi / 5)) for i, q in enumerate(radii)]
    elif kind == "cross":
        points = [
            (-b, -r), (b, -r), (b, -b), (r, -b), (r, b), (b, b), (b, r), (-b, r), (-b, b), (-r, b), (-r, -b), (-b, -b),
        ]  # fmt: skip
    elif kind == "square":
        points = [(-a, -a), (a, -a), (a, a), (-a, a)]
    elif kind == "rectangle":
        points = [(-r, -0.5 * r), (r, -0.5 * r), (r, 0.5 * r), (-r, 0.5 * r)]
    elif kind == "hexagon":
        points = [(r * math.cos(i * math.pi / 3), r * math.sin(i * math.pi / 3)) for i in range(6)]
    elif kind == "heart":
        ts = [i * math.tau / 40 for i in range(40)]
        points = [
            (
                r / 17 * 16 * math.sin(t) ** 3,
                -r / 17 * (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)),
            )
            for t in ts
        ]
    else:
        points = [(r * math.cos(i * math.tau / 24), r * math.sin(i * math.tau / 24)) for i in range(24)]
    c, s = math.cos(turn), math.sin(turn)
    return [(x + px * c - py * s, y + px * s + py * c) for px, py in points]
