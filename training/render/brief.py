"""What a renderer is told, and how text is set into boxes."""

import math
import random
from dataclasses import dataclass

from ..canvas import Canvas, Ref
from ..fonts import choose
from ..geometry import Layout
from ..palette import Rgb, background


@dataclass
class Brief:
    """One order for a picture.

    Args:
        rng: source of every choice.
        layout, num_crops: the image's shape.
        difficulty: 0 (large and short) to 1 (as small and long as is asked for at all).
        held_out: use words and wordings that training never sees.
        new_faces: use the typefaces that training never sees.
        longest: characters an answer may have.
    """

    rng: random.Random
    layout: Layout
    num_crops: int
    difficulty: float = 1.0
    held_out: bool = False
    longest: int = 420
    new_faces: bool = False

    def canvas(self, color: Rgb | None = None, like: Canvas | None = None) -> Canvas:
        """An empty image."""
        paper = background(self.rng) if color is None else color
        return Canvas(self.rng, self.layout, self.num_crops, paper, like)

    def face(self, classes: str = "", upper: bool = False) -> str:
        """A typeface of one of these classes."""
        return choose(self.rng, classes, upper, self.new_faces)

    @property
    def smallest(self) -> float:
        """The smallest type, in HD pixels."""
        return 13 + 12 * (1 - self.difficulty)

    def type_size(self, low: float = 0, high: float = 110) -> float:
        """A random size of type, small ones as often as large ones."""
        low = max(self.smallest, low)
        return math.exp(self.rng.uniform(math.log(low), math.log(max(low, high))))


def wrap(canvas: Canvas, words: list[str], face: str, size: float, width: float) -> list[str] | None:
    """Lines no wider than ``width``, or None if a word is."""
    space = canvas.measure(" ", face, size)
    lines, current, used = [], [], 0.0
    for word in words:
        w = canvas.measure(word, face, size)
        if w > width:
            return None
        if current and used + space + w > width:
            lines.append(" ".join(current))
            current, used = [], 0.0
        used += w + (space if current else 0)
        current.append(word)
    return [*lines, " ".join(current)] if current else lines


def shrink(
    canvas: Canvas, words: list[str], face: str, size: float, box: tuple[float, float], lead: float, smallest: float
) -> tuple[list[str], float] | None:
    """Lines and the largest size, up to ``size``, at which the words fit into a box; None if none does."""
    while True:
        lines = wrap(canvas, words, face, size, box[0])
        if lines and len(lines) * canvas.line_height(face, size) * lead <= box[1]:
            return lines, size
        if size <= smallest * 1.01:
            return None
        size = max(smallest, size * 0.87)


def place(
    canvas: Canvas,
    lines: list[str],
    face: str,
    size: float,
    fill: Rgb,
    box: tuple[float, float, float, float],
    align: str = "left",
    lead: float = 1.25,
    down: float | None = None,
) -> tuple[list[Ref], float]:
    """Draw lines into a box (left, top, right, bottom); returns them and where they end.

    ``align`` is left, center, right, or jitter: anywhere, as a block. ``down`` is 0 for the top, 1 for the bottom.
    """
    x0, y0, x1, y1 = box
    rng = canvas.rng
    step = canvas.line_height(face, size) * lead
    y = y0 + max(0.0, y1 - y0 - step * len(lines)) * (rng.random() if down is None else down) + step * 0.76
    widths = [canvas.measure(line, face, size) for line in lines]
    left = x0 + rng.random() * max(0, x1 - x0 - max(widths)) if align == "jitter" else x0
    refs = []
    for line, w in zip(lines, widths, strict=True):
        x = {"center": (x0 + x1 - w) / 2, "right": x1 - w}.get(align, left)
        refs.append(canvas.text(x, y, line, face, size, fill))
        y += step
    return refs, y - step * 0.7
