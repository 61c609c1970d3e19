"""What a renderer returns: images, and questions about them with their answers."""

from __future__ import annotations

from dataclasses import dataclass, field

from .canvas import Canvas, Ref


@dataclass
class Stress:
    """A part of an answer that is decided by reasoning: its tokens weigh more in training."""

    piece: str | Ref


Piece = str | Ref | Stress
Answer = list[Piece]


@dataclass
class Question:
    """One question.

    ``intent`` names the wordings (see ``instructions.py``), ``slots`` fills their gaps, ``task`` is what evaluation
    counts it under.
    """

    task: str
    intent: str
    answer: Answer
    slots: tuple[str, ...] = ()
    weight: float = 1.0


@dataclass
class Picture:
    """One image, or the images of a comparison."""

    kind: str
    canvases: list[Canvas]
    questions: list[Question]
    summary: Answer = field(default_factory=list)  # a noun phrase: "a receipt from ..."
    new_faces: bool = False  # set in typefaces that training never sees


def plain(answer: Answer) -> str:
    """An answer's text."""
    return "".join(_text(p) for p in answer)


def _text(piece: Piece) -> str:
    if isinstance(piece, Stress):
        piece = piece.piece
    return piece if isinstance(piece, str) else piece.text


def stress(answer: Answer) -> Answer:
    """The same answer, all of it stressed."""
    return [p if isinstance(p, Stress) else Stress(p) for p in answer]


def listing(items: list[Answer]) -> Answer:
    """Items as in running text: "a, b and c"."""
    out: Answer = []
    for i, item in enumerate(items):
        if i:
            out.append(" and " if i == len(items) - 1 else ", ")
        out += item
    return out


def inventory(things: list[Answer], kinds: Answer) -> Answer:
    """A line for each thing, and how many there are of each kind once all are written."""
    lines: Answer = []
    for thing in things:
        lines += ["\n- " if lines else "- ", *thing]
    return [*lines, *stress(["\n\nIn all: ", *kinds, "."])]


def article(phrase: str) -> str:
    """The phrase's indefinite article, with a space."""
    return "an " if phrase[0].lower() in "aeiou" else "a "


def escape(text: str) -> str:
    """A text as it stands between quotes in JSON."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def quoted(ref: Ref) -> Answer:
    """A text as a JSON string; it keeps its places unless something has to be escaped."""
    return ['"', ref if escape(ref.text) == ref.text else escape(ref.text), '"']
