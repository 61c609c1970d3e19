"""The surface that pictures are drawn on, which remembers where every character and shape went.

Coordinates are pixels after the HD transform's resize ("HD pixels"), so that sizes mean what the model sees; the image
itself may be larger or smaller by ``scale``. From what is remembered come the labels that only training uses.
"""

import random
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from . import effects, fonts
from .geometry import CELL, CROP, PATCH, Layout, fit, pad
from .palette import COLORS, SHAPES, Rgb, nearest, outline, vivid

SLOTS = 3  # characters that are labelled in one patch
CHARACTERS = 95  # 0 is blank, then "!" to "~"
SEGMENTS = 1 + (len(SHAPES) + 1) * len(COLORS)  # nothing, a shape of some colour, type of some colour

# Aspect ratio (long side over short) that leads to each number of crops along the long side.
_RATIOS = {(1, 1): (1, 2.0), (2, 2): (1, 1.95), (2, 1): (2, 2.95), (3, 1): (3, 3.9), (4, 1): (4, 5.5)}
_USUAL_RATIOS = (1.0, 1.25, 4 / 3, 1.41, 1.5, 16 / 9)


@dataclass
class Ref:
    """Text that stands on a canvas (or a color or shape that is there), and the marks where each character is."""

    text: str
    canvas: "Canvas"
    marks: list[int]


def join(refs: list[Ref], separator: str) -> Ref:
    """Several texts of one canvas as one."""
    text, marks = [], []
    for i, ref in enumerate(refs):
        if i:
            text.append(separator)
            marks += [-1] * len(separator)
        text.append(ref.text)
        marks += ref.marks
    return Ref("".join(text), refs[0].canvas, marks)


class Canvas:
    """An image of a given number of crops.

    Args:
        rng: source of every choice.
        layout: crops across and down.
        num_crops: the processor's limit, 4 as shipped (1 gives single-crop images).
        background: fill colour.
        like: another canvas whose size to take.
        size: width and height in pixels, instead of random ones that suit the layout.
    """

    def __init__(
        self,
        rng: random.Random,
        layout: Layout,
        num_crops: int,
        background: Rgb,
        like: "Canvas | None" = None,
        size: tuple[int, int] | None = None,
    ):
        self.rng, self.layout, self.num_crops, self.background = rng, layout, num_crops, background
        self.size = size or (like.size if like else self._random_size())
        content, self.padded, self.offset = fit(*self.size, num_crops)
        self.W, self.H = content
        self.scale = self.size[0] / self.W
        self.tracking = rng.uniform(0.03, 0.2) if rng.random() < 0.05 else 0.0  # letter spacing, in ems
        self.image = Image.new("RGB", self.size, background)
        self.draw = ImageDraw.Draw(self.image)
        self.marks: list[tuple[float, float, int]] = []
        self.segments: list[tuple[list[tuple[float, float]], int]] = []
        self.matrix: np.ndarray | None = None  # of a camera's perspective, once it is applied

    def _random_size(self) -> tuple[int, int]:
        w, h = self.layout
        low, high = _RATIOS[max(w, h), min(w, h)]
        tall = h > w or (h == w and self.rng.random() < 0.5)
        for _ in range(1000):
            ratio = self.rng.uniform(low, high)
            if w == h and self.rng.random() < 0.5:
                ratio = self.rng.choice(_USUAL_RATIOS)
            scale = 1.0 if self.rng.random() < 0.5 else self.rng.uniform(0.55, 1.5)
            long = round(max(w, h) * CROP / scale)
            size = (long, max(8, round(long / ratio)))
            size = size[::-1] if tall else size
            content, padded, _ = fit(*size, self.num_crops)
            if padded == (w * CROP, h * CROP) and min(content) > 60:
                return size
        raise ValueError(f"no image has the layout {self.layout} with {self.num_crops} crops")

    # Text ---------------------------------------------------------------------------------------------------------

    def font(self, face: str, size: float) -> ImageFont.FreeTypeFont:
        """A face at a size in HD pixels."""
        px = max(7, round(size * self.scale))
        return fonts.load(face, px if px < 48 else px // 4 * 4)

    def line_height(self, face: str, size: float) -> float:
        """The size that the font really has, in HD pixels."""
        return self.font(face, size).size / self.scale

    def measure(self, text: str, face: str, size: float) -> float:
        """Width of a text in HD pixels."""
        font = self.font(face, size)
        return (_advances(font, text)[-1] + self.tracking * font.size * len(text)) / self.scale

    def text(self, x: float, y: float, text: str, face: str, size: float, fill: Rgb) -> Ref:
        """Draw one line from ``x`` on the baseline ``y``; its characters and its colour are labelled."""
        font, s = self.font(face, size), self.scale
        track = self.tracking * font.size
        edges = _advances(font, text)
        if track:
            for i, ch in enumerate(text):
                if ch != " ":
                    self.draw.text((x * s + edges[i] + i * track, y * s), ch, font=font, fill=fill, anchor="ls")
        else:
            self.draw.text((x * s, y * s), text, font=font, fill=fill, anchor="ls")
        first = len(self.marks)
        cy = y - 0.33 * font.size / s
        for i, ch in enumerate(text):
            cx = x + ((edges[i] + edges[i + 1]) / 2 + i * track) / s
            code = ord(ch) - 32
            self.marks.append((cx, cy, code if 0 < code < CHARACTERS else 0))
        if vivid(fill):
            width, height = (edges[-1] + len(text) * track) / s, font.size / s
            top, bottom = y - 0.6 * height, y - 0.1 * height
            box = [(x, top), (x + width, top), (x + width, bottom), (x, bottom)]
            self.segments.append((box, _segment(len(SHAPES), nearest(fill))))
        return Ref(text, self, list(range(first, len(self.marks))))

    def mark(self, text: str, x: float, y: float) -> Ref:
        """A text that is not written there but to be seen there: a colour, a shape."""
        self.marks.append((x, y, 0))
        return Ref(text, self, [len(self.marks) - 1] * len(text))

    # Shapes -------------------------------------------------------------------------------------------------------

    def rect(self, x0, y0, x1, y1, fill=None, outline=None, width: float = 0, radius: float = 0) -> None:
        """A rectangle, rounded if ``radius``."""
        s = self.scale
        box = (x0 * s, y0 * s, max(x0, x1) * s, max(y0, y1) * s)
        line = max(1, round(width * s)) if outline else 0
        if radius:
            self.draw.rounded_rectangle(box, radius * s, fill=fill, outline=outline, width=line)
        else:
            self.draw.rectangle(box, fill=fill, outline=outline, width=line)

    def line(self, points: list[tuple[float, float]], fill: Rgb, width: float = 1) -> None:
        """A line through points."""
        scaled = [(x * self.scale, y * self.scale) for x, y in points]
        self.draw.line(scaled, fill=fill, width=max(1, round(width * self.scale)), joint="curve")

    def polygon(
        self, points: list[tuple[float, float]], fill: Rgb | None, edge: Rgb | None = None, width: float = 2
    ) -> None:
        """A filled polygon."""
        scaled = [(x * self.scale, y * self.scale) for x, y in points]
        self.draw.polygon(scaled, fill=fill)
        if edge:
            self.draw.line([*scaled, scaled[0]], fill=edge, width=max(1, round(width * self.scale)), joint="curve")

    def ellipse(self, x0, y0, x1, y1, fill=None, outline=None, width: float = 1) -> None:
        """An ellipse in a box."""
        s = self.scale
        line = max(1, round(width * s))
        self.draw.ellipse((x0 * s, y0 * s, x1 * s, y1 * s), fill=fill, outline=outline, width=line if outline else 0)

    def shape(
        self, kind: str, color: str, rgb: Rgb, x: float, y: float, r: float, edge: Rgb | None = None, turn: float = 0
    ) -> None:
        """A named shape around a centre; it is labelled with its name and colour."""
        points = outline(kind, x, y, r, turn)
        if kind == "circle":
            self.ellipse(x - r, y - r, x + r, y + r, fill=rgb, outline=edge, width=2)
        elif kind == "ring":
            self.ellipse(x - r, y - r, x + r, y + r, outline=rgb, width=max(2, 0.3 * r))
        else:
            self.polygon(points, rgb, edge)
        self.segments.append((points, _segment(SHAPES.index(kind), color)))

    # The finished image and its labels ----------------------------------------------------------------------------

    def photograph(self, strength: float) -> None:
        """Make it look less clean: perspective, blur, shadow, noise, compression, each now and then."""
        self.image, matrix = effects.apply(self.rng, self.image, strength)
        if matrix is not None:
            to_image = np.diag([self.scale, self.scale, 1.0])
            self.matrix = np.linalg.inv(to_image) @ matrix @ to_image

    def pixels(self) -> np.ndarray:
        """The image as the model's processor pads it."""
        return pad(self.image, self.num_crops)

    def _place(self, points: np.ndarray) -> np.ndarray:
        """Where points ended up in the padded image."""
        if self.matrix is not None:
            out = np.c_[points, np.ones(len(points))] @ self.matrix.T
            points = out[:, :2] / out[:, 2:]
        points = points + np.array(self.offset)
        return np.clip(points, 0, np.array(self.padded) - 1)

    def cells(self) -> np.ndarray:
        """For each mark the index of its visual token among the image's tokens."""
        if not self.marks:
            return np.zeros(0, int)
        grid = (self._place(np.array([m[:2] for m in self.marks])) // CELL).astype(int)
        return grid[:, 1] * (self.padded[0] // CELL + 1) + grid[:, 0]

    def labels(self) -> tuple[np.ndarray, np.ndarray]:
        """Characters (rows, columns, SLOTS) and segments (rows, columns) of the padded image's patches."""
        rows, columns = self.padded[1] // PATCH, self.padded[0] // PATCH
        characters = np.zeros((rows, columns, SLOTS), np.uint8)
        if self.marks:
            used: dict[tuple[int, int], int] = {}
            grid = (self._place(np.array([m[:2] for m in self.marks])) // PATCH).astype(int)
            for (column, row), mark in zip(grid, self.marks, strict=True):
                slot = used.get((row, column), 0)
                if mark[2] and slot < SLOTS:
                    characters[row, column, slot] = mark[2]
                    used[row, column] = slot + 1
        shapes = Image.new("L", (columns, rows), 0)
        for points, value in self.segments:
            placed = self._place(np.array(points)) / PATCH - 0.5
            ImageDraw.Draw(shapes).polygon([tuple(p) for p in placed], fill=value)
        return characters, np.asarray(shapes)


def _segment(kind: int, color: str) -> int:
    """The label of a shape by its number, or of type, which comes after all shapes, in a colour."""
    return 1 + kind * len(COLORS) + list(COLORS).index(color)


def _advances(font: ImageFont.FreeTypeFont, text: str) -> list[float]:
    """Where each character begins, and the text's end, in image pixels."""
    widths = fonts.widths(font.path, font.size)
    out, x = [0.0], 0.0
    for ch in text:
        if ch not in widths:
            widths[ch] = font.getlength(ch)
        x += widths[ch]
        out.append(x)
    return out
