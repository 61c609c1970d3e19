"""Signs: street names, warnings, notices, shop signs, boards."""

import math

from .. import words as lists
from ..canvas import Canvas, join
from ..palette import contrast, tint
from ..picture import Picture, Question, article, inventory
from ..text import cap, code, invented, noun, phrase, word
from .brief import Brief, place, shrink

INKS = {"white": ((0, 0, 0), (200, 0, 0), (0, 60, 160)), "black": ((255, 255, 255), (255, 220, 0)),
        "yellow": ((10, 10, 10),), "orange": ((10, 10, 10),)}  # fmt: skip
BOARDS = ["red", "green", "blue", "yellow", "white", "black", "orange", "brown"]


def _words(brief: Brief) -> tuple[list[str], bool]:
    """What it says, and whether that is a street's name."""
    rng = brief.rng
    k = rng.random()
    if k < 0.35:
        words = rng.choice(lists.SIGNS).split()
        return (words + [str(rng.randint(1, 120))] if words[0] == "SPEED" or rng.random() < 0.1 else words), False
    if k < 0.6:
        name = rng.choice((noun(rng, brief.held_out), invented(rng), rng.choice(lists.LAST), rng.choice(lists.CITIES)))
        words = [*([str(rng.randint(1, 900))] if rng.random() < 0.2 else []), cap(name), rng.choice(lists.STREETS)]
        return ([w.upper() for w in words] if rng.random() < 0.4 else words), True
    if k < 0.68:
        return [f"{rng.randint(1, 99)}%", "OFF"], False
    if k < 0.74:
        return [code(rng)], False
    if k < 0.88:
        return [word(rng, brief.held_out).upper() for _ in range(rng.randint(1, 3))], False
    return phrase(rng, rng.randint(1, 4), brief.held_out), False


def _scenery(canvas: Canvas) -> None:
    """Sky, ground, houses: plain shapes behind the sign."""
    rng = canvas.rng
    horizon = canvas.H * rng.uniform(0.55, 0.85)
    canvas.rect(0, horizon, canvas.W, canvas.H, fill=tint(rng, rng.choice(("green", "gray", "brown")), 30))
    for _ in range(rng.randint(0, 3)):
        x, w = rng.uniform(0, canvas.W), canvas.W * rng.uniform(0.1, 0.3)
        canvas.rect(
            x,
            horizon - canvas.H * rng.uniform(0.1, 0.4),
            x + w,
            horizon,
            fill=tuple(rng.randint(90, 220) for _ in range(3)),
        )


def _board(canvas: Canvas, kind: str, box: tuple[float, float, float, float], fill, edge) -> None:
    x0, y0, x1, y1 = box
    cx, cy, width = (x0 + x1) / 2, (y0 + y1) / 2, canvas.rng.uniform(2, 6)
    if kind == "plate":
        radius = canvas.rng.choice((0, 8, 16))
        canvas.rect(*box, fill=fill, outline=edge, width=width, radius=radius)
        if edge and canvas.rng.random() < 0.3:
            canvas.rect(x0 + 6, y0 + 6, x1 - 6, y1 - 6, outline=edge, width=2, radius=max(0, radius - 4))
        return
    corners, turn = {"octagon": (8, math.pi / 8), "diamond": (4, 0.0), "round": (60, 0.0)}[kind]
    points = [
        (
            cx + (x1 - x0) / 2 * math.cos(turn + i * math.tau / corners),
            cy + (y1 - y0) / 2 * math.sin(turn + i * math.tau / corners),
        )
        for i in range(corners)
    ]
    canvas.polygon(points, fill, edge, width * 1.5)


def render(brief: Brief) -> Picture | None:
    """Draw it."""
    rng = brief.rng
    ground = tint(rng, rng.choice(("white", "gray", "cyan", "green", "brown", "blue")))
    ground = tuple((v + 255) // 2 for v in ground) if rng.random() < 0.8 else ground
    canvas = brief.canvas(ground)
    if rng.random() < 0.4:
        _scenery(canvas)
    words, street = _words(brief)
    color = rng.choice(("green", "blue", "white", "brown")) if street else rng.choice(BOARDS)
    fill = tint(rng, color)
    if contrast(fill, canvas.background) < 120:
        return None
    fg = rng.choice(INKS.get(color, ((255, 255, 255),)))
    kind = "plate" if street or rng.random() < 0.7 else rng.choice(("octagon", "diamond", "round"))
    w = canvas.W * rng.uniform(0.5, 0.94)
    h = w * rng.uniform(0.22, 0.4) if street else min(canvas.H * rng.uniform(0.4, 0.92), w * rng.uniform(0.4, 1.1))
    h = min(h, canvas.H * 0.92)
    if kind != "plate":
        w = h = min(w, canvas.H * 0.9)
    x, y = (canvas.W - w) * rng.uniform(0.2, 0.8), (canvas.H - h) * rng.uniform(0.1, 0.6)
    if rng.random() < 0.6:
        post, cx = rng.uniform(4, 10), x + w / 2
        canvas.rect(cx - post, y + h * (0.3 if rng.random() < 0.3 else 0.9), cx + post, canvas.H, fill=(90, 90, 95))
    _board(canvas, kind, (x, y, x + w, y + h), fill, fg if rng.random() < 0.7 else None)
    face = brief.face("sans narrow" if rng.random() < 0.7 else "", upper="".join(words).isupper())
    room = {"plate": 0.9, "octagon": 0.76, "diamond": 0.52, "round": 0.7}[kind]
    size = min(h * 0.6, w * 0.4) * rng.uniform(0.45, 1)
    fitted = shrink(canvas, words, face, size, (w * room - 12, h * room - 8), 1.2, brief.smallest)
    if fitted is None:
        return None
    inner = (x + w * (1 - room) / 2, y, x + w * (1 + room) / 2, y + h)
    refs, _ = place(canvas, fitted[0], face, fitted[1], fg, inner, "center", 1.15, 0.5)
    flat = join(refs, " ")
    name = canvas.mark(color, x + 8 if kind == "plate" else x + w / 2, y + h / 2)
    what = [article(color), name, " street sign" if street else " sign", ' that says "', flat, '"']
    summary = what
    questions = [
        Question("sign", "sign", [flat], weight=2),
        Question("sign", "read", [join(refs, "\n")], weight=2),
        Question("describe", "short", [cap(what[0]), *what[1:], "."]),
        Question("describe", "shown", ["The image shows ", *what, "."]),
        Question("describe", "detail", ["The image shows ", *what, "."], weight=0.5),
        Question("color", "sign_color", ["The sign is ", name, "."], weight=0.3),
        Question("text", "markdown", [join(refs, "\n")], weight=0.3),
        Question(
            "describe", "objects", inventory([[article(color), name, " sign"]], ["1 ", name, " sign"]), weight=0.3
        ),
    ]
    return Picture("sign", [canvas], questions, summary)
