"""Scenes of coloured shapes: the things that can be counted, placed, and compared.

Answers name things one by one in reading order and count them afterwards: a model that writes word by word cannot
count what it hasn't written yet.
"""

import random
from dataclasses import dataclass, replace

from ..canvas import Canvas, Ref
from ..palette import COLORS, POSITIONS, SHAPES, contrast, tint
from ..picture import Answer, Picture, Question, article, inventory, listing, stress
from ..text import cap
from .brief import Brief

GROUNDS = ["white"] * 6 + ["black", "gray", "yellow", "cyan", "pink", "blue", "green"]
SIZES = {"small": (0.05, 0.068), "": (0.092, 0.115), "large": (0.145, 0.165)}  # radius over the shorter side


@dataclass
class Thing:
    """One shape of a scene. ``place`` is one of the nine POSITIONS; ``x`` and ``y`` are parts of width and height."""

    shape: str
    color: str
    size: str
    place: int
    x: float
    y: float
    radius: float
    rgb: tuple[int, int, int]
    turn: float = 0.0

    def name(self) -> str:
        """Colour and shape."""
        return f"{self.color} {self.shape}"


def grow(rng: random.Random, thing: Thing, size: str) -> Thing:
    """The same thing in another size."""
    return replace(thing, size=size, radius=rng.uniform(*SIZES[size]))


def new_thing(rng: random.Random, place: int, ground: str, size: str | None = None) -> Thing:
    """A random thing in one of the nine places, visible on a ground of this colour."""
    pale = ("white", "gray")
    colors = [c for c in COLORS if c != ground and not (c in pale and ground in pale)]
    color = rng.choice(colors)
    size = rng.choice(("", "", "small", "large")) if size is None else size
    x, y = ((place % 3) * 2 + 1) / 6, (place // 3 * 2 + 1) / 6
    turn = rng.uniform(-0.25, 0.25) if rng.random() < 0.2 else 0.0
    return Thing(rng.choice(SHAPES), color, size, place, x, y, rng.uniform(*SIZES[size]), tint(rng, color), turn)


def scatter(rng: random.Random, count: int, ground: str, distinct: bool = False) -> list[Thing]:
    """Things in different places, in reading order; ``distinct`` forbids two of one shape and colour."""
    things: list[Thing] = []
    for place in sorted(rng.sample(range(9), count)):
        while True:
            thing = new_thing(rng, place, ground)
            if not distinct or all(thing.name() != t.name() for t in things):
                break
        if things and not distinct and rng.random() < 0.3:  # alike ones, so that there is something to count
            other = rng.choice(things)
            thing = replace(thing, shape=other.shape, color=other.color, rgb=other.rgb)
        things.append(thing)
    return things


def enlarge(rng: random.Random, things: list[Thing]) -> list[Thing]:
    """Few things may fill the picture."""
    if len(things) == 1:
        return [replace(things[0], radius=rng.uniform(0.2, 0.46), x=0.5, y=0.5, place=4, size="large")]
    places = [(0.25, 0.5, 3), (0.75, 0.5, 5)] if rng.random() < 0.5 else [(0.5, 0.25, 1), (0.5, 0.75, 7)]
    return [
        replace(t, x=x, y=y, place=p, size="large", radius=rng.uniform(0.17, 0.22))
        for t, (x, y, p) in zip(things, places, strict=True)
    ]


def draw(canvas: Canvas, thing: Thing, edge=None, jitter: tuple[float, float] = (0.0, 0.0)) -> tuple[Ref, Ref]:
    """Draw a thing; its name and its place, to be seen there."""
    r = thing.radius * min(canvas.W, canvas.H)
    x = min(max(thing.x * canvas.W + jitter[0] * canvas.W, r), canvas.W - r)
    y = min(max(thing.y * canvas.H + jitter[1] * canvas.H, r), canvas.H - r)
    if thing.shape == "ring":
        rim = contrast(thing.rgb, canvas.background) < 90
        canvas.shape("ring", thing.color, thing.rgb, x, y, r, None if not rim else edge)
    else:
        canvas.shape(thing.shape, thing.color, thing.rgb, x, y, r, edge, thing.turn)
    return canvas.mark(thing.name(), x, y), canvas.mark(POSITIONS[thing.place], x, y)


def describe(thing: Thing, name: Ref) -> Answer:
    """The thing with its article and size, without its place."""
    size = thing.size + " " if thing.size else ""
    return [article(size + thing.name()) + size, name]


def counted(things: list[Thing]) -> list[tuple[int, str]]:
    """How many of each, in order of appearance."""
    names: dict[str, int] = {}
    for t in things:
        names[t.name()] = names.get(t.name(), 0) + 1
    return [(n, name) for name, n in names.items()]


def plural(count: int, name: str) -> str:
    """ "1 red cross", "2 red crosses"."""
    if count == 1:
        return name
    return name + ("es" if name.endswith(("s", "x")) else "s")


def total(count: int) -> str:
    """ "1 shape", "3 shapes"."""
    return f"{count} {plural(count, 'shape')}"


def ground_of(rng: random.Random) -> tuple[str, tuple[int, int, int]]:
    """A background's name and colour."""
    name = rng.choice(GROUNDS)
    return name, COLORS[name][0] if name in ("white", "black", "gray") else rng.choice(COLORS[name])


def render(brief: Brief) -> Picture | None:
    """Draw it."""
    rng = brief.rng
    ground, rgb = ground_of(rng)
    canvas = brief.canvas(rgb)
    count = rng.randint(1, 4 + int(brief.difficulty * 3.5))
    things = scatter(rng, count, ground)
    if count <= 2 and rng.random() < 0.5:
        things = enlarge(rng, things)
    edge = None if rng.random() < 0.75 else ((0, 0, 0) if ground != "black" else (255, 255, 255))
    refs = [draw(canvas, t, edge, (rng.uniform(-0.035, 0.035), rng.uniform(-0.035, 0.035))) for t in things]
    return Picture("shapes", [canvas], questions(rng, things, refs, ground), _summary(things, refs))


def _summary(things: list[Thing], refs: list[tuple[Ref, Ref]]) -> Answer:
    """Some shapes, without places."""
    return listing([describe(t, r[0]) for t, r in zip(things, refs, strict=True)])


def placed(things: list[Thing], refs: list[tuple[Ref, Ref]]) -> Answer:
    """Some shapes, each with its place."""
    return listing([[*describe(t, r[0]), " ", r[1]] for t, r in zip(things, refs, strict=True)])


def _sentence(answer: Answer) -> Answer:
    """The same answer with its first letter in upper case."""
    return [cap(answer[0]), *answer[1:]]


def _tally(things: list[Thing], refs: list[tuple[Ref, Ref]], name: str) -> Answer:
    """How many there are, after each of them has been named."""
    if not things:
        return stress([f"There are no {plural(2, name)}."])
    verb = "is" if len(things) == 1 else "are"
    return [*_sentence(placed(things, refs)), *stress([f": there {verb} {len(things)} {plural(len(things), name)}."])]


def questions(rng: random.Random, things: list[Thing], refs: list[tuple[Ref, Ref]], ground: str) -> list[Question]:
    """What can be asked about a scene."""
    k = rng.randrange(len(things))
    thing, (name, place) = things[k], refs[k]
    on = f" on a {ground} background" if ground[0] not in "aeiou" else f" on an {ground} background"
    in_all = stress([f": {total(len(things))} in all."])
    each = [placed([t], [r]) for t, r in zip(things, refs, strict=True)]
    kinds = listing([[f"{n} {plural(n, name)}"] for n, name in counted(things)])
    bare = listing([[article(t.name()), r[0]] for t, r in zip(things, refs, strict=True)])
    out = [
        Question("shapes", "detail", ["The image shows ", *placed(things, refs), on, *in_all], weight=2.5),
        Question("shapes", "shown", ["The image shows ", *_summary(things, refs), on, *in_all], weight=1.5),
        Question("shapes", "short", _sentence([*bare, on, "."]), weight=1),
        Question("objects", "objects", inventory(each, kinds), weight=3),
        Question("count", "count", _tally(things, refs, "shape"), weight=1.5),
        Question("color", "background_color", [f"The background is {ground}."], weight=0.4),
        Question(
            "shapes", "what_at", ["There is ", *describe(thing, name), " ", place, "."], (place.text,), weight=0.7
        ),
    ]
    same = sum(t.shape == thing.shape for t in things)
    alike = sum(t.name() == thing.name() for t in things)
    if alike == 1:
        out.append(
            Question("shapes", "where", ["The ", thing.name(), " is ", place, "."], (thing.name(),), weight=0.7)
        )
    if same == 1:
        color = Ref(thing.color, name.canvas, name.marks[: len(thing.color)])
        out.append(Question("color", "color_of", [f"The {thing.shape} is ", color, "."], (thing.shape,), weight=0.7))
    asked = thing.shape
    if rng.random() < 0.2:
        asked = rng.choice([s for s in SHAPES if all(s != t.shape for t in things)])
    found = [k for k, t in enumerate(things) if t.shape == asked]
    answer = _tally([things[k] for k in found], [refs[k] for k in found], asked)
    out.append(Question("count", "count_of", answer, (plural(2, asked),), weight=1))
    if rng.random() < 0.5:
        there = ["Yes, there is ", *describe(thing, name), " ", place, "."]
        out.append(Question("shapes", "is_there", there, (thing.name(),), weight=0.5))
    else:
        absent = f"{rng.choice(list(COLORS))} {rng.choice(SHAPES)}"
        if all(absent != t.name() for t in things):
            out.append(Question("shapes", "is_there", [f"No, there is no {absent}."], (absent,), weight=0.5))
    return out
