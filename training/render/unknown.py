"""Pictures with nothing in them that the model knows: colours, blots, curves, blurred scenes. It should say so."""

import math

import numpy as np
from PIL import Image, ImageFilter

from ..effects import texture
from ..palette import nearest, tint
from ..picture import Picture, Question
from .brief import Brief

HEDGES = "I can't tell what this image shows."


def _curves(canvas) -> None:
    """Lines and blots of all kinds."""
    rng = canvas.rng
    for _ in range(rng.randint(3, 40)):
        color = tuple(rng.randint(0, 255) for _ in range(3))
        x, y = rng.uniform(0, canvas.W), rng.uniform(0, canvas.H)
        if rng.random() < 0.5:
            points, angle = [(x, y)], rng.uniform(0, math.tau)
            for _ in range(rng.randint(2, 30)):
                angle += rng.gauss(0, 0.5)
                x, y = x + 25 * math.cos(angle), y + 25 * math.sin(angle)
                points.append((x, y))
            canvas.line(points, color, rng.uniform(1, 14))
        else:
            n, r = rng.randint(5, 20), rng.uniform(5, canvas.W * 0.25)
            turns = [(i * math.tau / n, r * rng.uniform(0.5, 1)) for i in range(n)]
            canvas.polygon([(x + q * math.cos(a), y + q * math.sin(a)) for a, q in turns], color)


def _landscape(canvas) -> None:
    """A horizon with bumps: what a photograph's large shapes look like."""
    rng = canvas.rng
    canvas.rect(0, 0, canvas.W, canvas.H, fill=tint(rng, rng.choice(("blue", "cyan", "gray", "white", "orange")), 30))
    for step in range(rng.randint(1, 4)):
        y = canvas.H * (0.3 + 0.18 * step)
        tops = [(canvas.W * i / 20, y + rng.gauss(0, 14)) for i in range(21)]
        ground = tint(rng, rng.choice(("green", "brown", "gray", "blue")), 40)
        canvas.polygon([*tops, (canvas.W, canvas.H), (0, canvas.H)], ground)


def render(brief: Brief) -> Picture:
    """Draw it."""
    rng = brief.rng
    canvas = brief.canvas()
    k = rng.random()
    if k < 0.35:
        canvas.image = texture(rng, canvas.image.size)
    elif k < 0.6:
        _curves(canvas)
    elif k < 0.85:
        _landscape(canvas)
    if k < 0.85 and rng.random() < 0.5:
        canvas.image = canvas.image.filter(ImageFilter.GaussianBlur(rng.uniform(1, 20)))
    if k < 0.85 and rng.random() < 0.4:
        noise = np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(5, 40), (*canvas.image.size[::-1], 3))
        canvas.image = Image.fromarray(np.clip(np.asarray(canvas.image) + noise, 0, 255).astype(np.uint8))
    halves = canvas.image.resize((1, 2), Image.Resampling.BOX)
    top, bottom = nearest(halves.getpixel((0, 0))), nearest(halves.getpixel((0, 1)))
    if k >= 0.85:
        return _empty(canvas, nearest(canvas.background))
    colors = f"It is mostly {top}." if top == bottom else f"The top is mostly {top} and the bottom is mostly {bottom}."
    about = [f"{HEDGES} {colors}"]
    questions = [
        Question("unknown", "short", about),
        Question("unknown", "shown", about),
        Question("unknown", "detail", [f"{HEDGES} {colors} There is no text in it."]),
        Question("unknown", "objects", ["I can't tell which objects are in this image."], weight=0.7),
        Question("unknown", "unknown", [f"I can't tell. {colors}"]),
        Question("no text", "read", ["There is no text in this image."], weight=1.5),
    ]
    return Picture("unknown", [canvas], questions, ["something that I can't name, mostly ", top])


def _empty(canvas, color: str) -> Picture:
    """One colour and nothing else."""
    about = [f"The image is plain {color}. There is nothing else in it."]
    questions = [Question("unknown", intent, about) for intent in ("short", "shown", "detail", "objects")]
    questions.append(Question("no text", "read", ["There is no text in this image."]))
    return Picture("unknown", [canvas], questions, [f"plain {color}"])
