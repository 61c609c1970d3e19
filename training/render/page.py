"""Pictures to look at only, nothing is asked about them: as much type, or as many shapes, as one crop holds.

An answer of fifty letters teaches the image tower fifty; such a page teaches it a few hundred, and costs less to draw
and to encode.
"""

import math

from ..canvas import Canvas
from ..palette import COLORS, SHAPES, contrast, ink, tint
from ..picture import Picture
from ..text import code, word
from .brief import Brief

ANY = "".join(map(chr, range(33, 127)))


def _word(brief: Brief) -> str:
    rng = brief.rng
    k = rng.random()
    if k < 0.15:
        return "".join(rng.choice(ANY) for _ in range(rng.randint(1, 7)))
    text = code(rng) if k < 0.35 else word(rng)
    return text.upper() if rng.random() < 0.15 else text.capitalize() if rng.random() < 0.25 else text


def _type(brief: Brief, canvas: Canvas) -> None:
    """Lines of words from edge to edge, each in its own size and, now and then, face and colour."""
    rng = brief.rng
    margin = rng.uniform(2, 12)
    low, high = rng.choice(((9, 14), (12, 18), (12, 18), (14, 30), (14, 60), (40, 230)))
    y, face, fill = margin, brief.face(), ink(rng, canvas.background)
    lead, same = rng.uniform(1.05, 1.5), rng.random() < 0.5
    size = math.exp(rng.uniform(math.log(low), math.log(high)))
    while True:
        if not same or rng.random() < 0.1:
            face, fill = brief.face(), ink(rng, canvas.background)
            size = math.exp(rng.uniform(math.log(low), math.log(high)))
        step = canvas.line_height(face, size) * lead
        if y + step > canvas.H:
            return
        x, space = margin + rng.choice((0, 0, rng.uniform(0, 0.4 * canvas.W))), canvas.measure(" ", face, size)
        words: list[str] = []
        width = x - space
        for _ in range(60):
            text = _word(brief)
            width += space + canvas.measure(text, face, size)
            if width > canvas.W - margin:
                break
            words.append(text)
            if rng.random() < 0.04:
                break
        if not words:  # too large for a word
            words = [rng.choice(ANY)]
        canvas.text(x, y + 0.76 * step, " ".join(words), face, size, fill)
        y += step


def _shapes(brief: Brief, canvas: Canvas) -> None:
    """Shapes of all sizes that don't touch."""
    rng = brief.rng
    placed: list[tuple[float, float, float]] = []
    largest = rng.choice((0.1, 0.2, 0.45)) * min(canvas.W, canvas.H)
    for _ in range(rng.randint(5, 60)):
        r = math.exp(rng.uniform(math.log(8), math.log(largest)))
        if 2 * r > min(canvas.W, canvas.H):
            continue
        x, y = rng.uniform(r, canvas.W - r), rng.uniform(r, canvas.H - r)
        if any(math.hypot(x - a, y - b) < r + s + 3 for a, b, s in placed):
            continue
        color = rng.choice(list(COLORS))
        rgb = tint(rng, color)
        if contrast(rgb, canvas.background) < 90:
            continue
        placed.append((x, y, r))
        edge = ink(rng, canvas.background) if rng.random() < 0.2 else None
        turn = rng.uniform(-0.25, 0.25) if rng.random() < 0.2 else 0.0
        canvas.shape(rng.choice(SHAPES), color, rgb, x, y, r, edge, turn)


def render(brief: Brief) -> Picture:
    """Draw it."""
    canvas = brief.canvas()
    (_shapes if brief.rng.random() < 0.15 else _type)(brief, canvas)
    return Picture("page", [canvas], [])
