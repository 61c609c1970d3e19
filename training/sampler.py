"""Which pictures to draw, in which shapes and how hard, and which questions to ask about them."""

import random
from dataclasses import dataclass

from . import fallbacks, instructions
from .geometry import Layout, image_tokens
from .picture import Picture, Question
from .render import book, chart, compare, document, form, lines, page, receipt, shapes, sign, table, unknown
from .render.brief import Brief

RENDERERS = {
    "lines": lines.render,
    "document": document.render,
    "sign": sign.render,
    "book": book.render,
    "receipt": receipt.render,
    "table": table.render,
    "form": form.render,
    "chart": chart.render,
    "shapes": shapes.render,
    "unknown": unknown.render,
}
# What is read or counted worst comes more often in training, and what has small type is harder there.
OFTEN = {"document": 1.75, "receipt": 1.7, "book": 1.4, "shapes": 1.5, "chart": 1.5, "table": 1.3}
SMALL = ("document", "receipt", "chart")
RARE = 0.75  # power of the questions' weights in training
SILENT = {"page": page.render}  # nothing is asked about these


@dataclass(frozen=True)
class Bucket:
    """Samples of one shape, which make up a batch.

    ``layouts`` are the possible shapes of the images of one sample, with weights. ``room`` is the tokens that a
    question and its answer may take, ``batch`` the samples in a batch on a large GPU; ``kind`` the only kind of
    picture, if there is only one.
    """

    num_crops: int
    layouts: tuple[tuple[tuple[Layout, ...], float], ...]
    questions: int
    batch: int
    room: int
    kind: str | None = None


BUCKETS = {
    "page": Bucket(1, ((((1, 1),), 1),), 0, 64, 32, "page"),
    "one": Bucket(1, ((((1, 1),), 1),), 3, 128, 192),
    "half": Bucket(4, ((((2, 1),), 1), (((1, 2),), 1)), 3, 64, 224),
    "full": Bucket(4, ((((2, 2),), 14), (((3, 1),), 1), (((1, 3),), 2), (((4, 1),), 0.7), (((1, 4),), 1)), 3, 40, 256),
    "pair of one": Bucket(1, ((((1, 1), (1, 1)), 1),), 3, 80, 240),
    "pair of half": Bucket(4, ((((2, 1), (2, 1)), 1), (((1, 2), (1, 2)), 1)), 2, 40, 256),
    "pair": Bucket(4, ((((2, 2), (2, 2)), 1),), 2, 24, 256),
    "mixed pair": Bucket(4, ((((2, 2), (1, 2)), 1), (((2, 1), (2, 2)), 1), (((1, 2), (2, 1)), 1)), 2, 28, 224),
    "three of one": Bucket(1, ((((1, 1),) * 3, 1),), 2, 48, 240),
    "three of half": Bucket(4, ((((2, 1),) * 3, 2), (((1, 2),) * 3, 2), (((2, 1), (1, 2), (1, 2)), 1)), 2, 24, 240),
    "three": Bucket(4, ((((2, 2),) * 3, 1),), 2, 16, 240),
}


def bucket_weights(progress: float) -> dict[str, float]:
    """How often each bucket comes: small single images first, everything from a tenth of the training on.

    Pages, which teach to look, become fewer.
    """
    if progress < 0.02:
        return {"page": 0.5, "one": 0.4, "half": 0.1}
    if progress < 0.05:
        return {"page": 0.4, "one": 0.3, "half": 0.15, "full": 0.1, "pair of one": 0.05}
    late = {"one": 4, "half": 10, "full": 42, "pair of one": 13, "pair of half": 7, "pair": 18, "mixed pair": 3,
            "three of one": 6, "three of half": 6, "three": 4}  # fmt: skip
    if progress < 0.1:
        late |= {"one": 22, "half": 20, "full": 30}
    return {**late, "page": 55 - 45 * min(1.0, max(0.0, progress - 0.4) / 0.5)}


def kind_weights(progress: float, layout: Layout) -> dict[str, float]:
    """How often each kind of single picture comes."""
    if progress < 0.02:
        out = {"lines": 4, "document": 4, "shapes": 1}
    elif progress < 0.05:
        out = {"lines": 4, "document": 3, "sign": 1.5, "shapes": 2, "book": 1.5}
    else:
        out = {"lines": 2.2, "document": 4, "sign": 1.8, "book": 2.4, "receipt": 2.4, "table": 2.4, "form": 1.6,
               "chart": 3.2, "shapes": 2.2, "unknown": 0.7}  # fmt: skip
    w, h = layout
    if max(w, h) >= 3:
        out = {k: v for k, v in out.items() if k in ("lines", "document", "sign", "shapes", "unknown")}
        if h > w and progress >= 0.05:
            out |= {"receipt": 1.5}
    elif h > w:
        out.pop("chart", None)
    return out


def _any_kind(rng: random.Random, progress: float, layout: Layout, held_out: bool) -> str:
    """A kind of single picture."""
    weights = kind_weights(progress, layout)
    if not held_out:
        weights = {name: weight * OFTEN.get(name, 1) for name, weight in weights.items()}
    return rng.choices(list(weights), list(weights.values()))[0]


def difficulty(rng: random.Random, progress: float) -> float:
    """Small type and long texts come later, and easy samples never end."""
    return min(1.0, progress / 0.14) * rng.random() ** 0.6


@dataclass
class Sample:
    """A picture and the chosen questions: (question, instruction, whether its wording is unseen)."""

    picture: Picture
    asked: list[tuple[Question, str, bool]]


def draw(
    rng: random.Random,
    layouts: tuple[Layout, ...],
    num_crops: int,
    progress: float,
    kind: str | None = None,
    held_out: bool = False,
    longest: int = 420,
) -> Picture:
    """A picture; tries until one fits. Half of an evaluation's pictures are set in faces that were held out."""
    new_faces = held_out and rng.random() < 0.5
    for attempt in range(1000):
        hard = difficulty(rng, progress) if attempt < 60 else 1.0
        name = "" if len(layouts) > 1 else kind or _any_kind(rng, progress, layouts[0], held_out)
        if name in SMALL and not held_out:
            hard = max(hard, difficulty(rng, progress))
        brief = Brief(rng, layouts[0], num_crops, hard, held_out, longest, new_faces)
        picture = {**RENDERERS, **SILENT}[name](brief) if name else compare.render(brief, list(layouts))
        if picture is not None:
            break
    else:
        raise RuntimeError(f"cannot draw {kind or 'anything'} in {layouts}")
    picture.new_faces = new_faces
    strength = min(1.0, progress / 0.2)
    if len(layouts) == 1:
        if picture.questions and picture.kind != "unknown":
            picture.questions += fallbacks.questions(picture)
        if picture.kind != "unknown":
            picture.canvases[0].photograph(strength)
    elif rng.random() < 0.25:
        for canvas in picture.canvases:
            canvas.photograph(strength * 0.5)
    return picture


def choose(
    rng: random.Random, picture: Picture, count: int, held_out: bool = False, task: str | None = None
) -> Sample:
    """Pick questions, heavier ones more often, none twice as long as there are others.

    Training takes rare questions somewhat more often than people ask them.
    """
    power = 1 if held_out else RARE
    left = [q for q in picture.questions if task is None or q.task == task]
    asked = []
    while len(asked) < count:
        if not left:
            left = [q for q in picture.questions if task is None or q.task == task]
        k = rng.choices(range(len(left)), [q.weight**power for q in left])[0]
        question = left.pop(k)
        instruction, unseen = instructions.ask(rng, question.intent, question.slots, held_out, len(picture.canvases))
        asked.append((question, instruction, unseen))
    return Sample(picture, asked)


def prefix_length(layouts: tuple[Layout, ...]) -> int:
    """Tokens before the question: ``<|user|>``, a line end, and the images with a line end between them."""
    return 2 + sum(map(image_tokens, layouts)) + len(layouts) - 1
