"""Scenes of shapes to compare: one or several things changed, nothing changed, everything changed."""

from dataclasses import replace

from ..canvas import Canvas, Ref
from ..palette import SHAPES
from ..picture import Answer, Picture, Question
from . import shapes
from .brief import Brief
from .comparison import ORDER, SAME, asked, both

KINDS = {"color": 10, "shape": 10, "size": 9, "count": 12, "position": 10, "several": 24, "none": 15, "other": 8}
Change = tuple[str, tuple[int, ...]]  # its kind and the places it concerns


class _Scenes:
    """Two or three scenes on one ground, and what can be said of them."""

    def __init__(self, brief: Brief, scenes: list[list[shapes.Thing]], ground: str, rgb):
        rng = brief.rng
        self.scenes, self.ground = scenes, ground
        self.canvases: list[Canvas] = []
        self.refs: list[list[tuple[Ref, Ref]]] = []
        edge = None if rng.random() < 0.85 else ((0, 0, 0) if ground != "black" else (255, 255, 255))
        # What hasn't changed stays where it was; the same picture again is the same picture.
        shift = {p: (rng.uniform(-0.02, 0.02), rng.uniform(-0.02, 0.02)) for p in range(9)}
        for things in scenes:
            canvas = brief.canvas(rgb, self.canvases[0] if self.canvases else None)
            self.refs.append([shapes.draw(canvas, t, edge, shift[t.place]) for t in things])
            self.canvases.append(canvas)

    def shown(self, i: int) -> Answer:
        """What image ``i`` shows."""
        return [*shapes.placed(self.scenes[i], self.refs[i]), f" on {_ground(self.ground)}"]

    def at(self, image: int, place_: int) -> tuple[shapes.Thing, Ref, Ref]:
        """The thing in a place of an image."""
        k = next(k for k, t in enumerate(self.scenes[image]) if t.place == place_)
        return self.scenes[image][k], *self.refs[image][k]

    def common(self) -> Answer:
        """What all images have."""
        keys = [{(t.name(), t.size, t.place) for t in things} for things in self.scenes]
        shared = set.intersection(*keys)
        every = "Both images show " if len(keys) == 2 else "All three images show "
        kept = [
            (t, r) for t, r in zip(self.scenes[0], self.refs[0], strict=True) if (t.name(), t.size, t.place) in shared
        ]
        if not kept:
            return [f"{every.replace('show', 'have')}{_ground(self.ground)}, and nothing else in common."]
        return [every, *shapes.placed([t for t, _ in kept], [r for _, r in kept]), f" on {_ground(self.ground)}."]


def _ground(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name} background"


def _change(brief: Brief, things: list[shapes.Thing], ground: str, kind: str, spared: set[int]):
    """A copy of a scene with one change, and the places it concerns (where it moved, old and new): or None."""
    rng = brief.rng
    out = [replace(t) for t in things]
    free = [p for p in range(9) if all(t.place != p for t in things) and p not in spared]
    open_ = [k for k, t in enumerate(things) if t.place not in spared]
    if kind == "added" and free:
        new = shapes.new_thing(rng, rng.choice(free), ground)
        return sorted([*out, new], key=lambda t: t.place), (new.place,)
    if not open_:
        return None
    k = rng.choice(open_)
    old = out[k]
    if kind == "removed" and len(out) > 1:
        del out[k]
    elif kind == "color":
        new = shapes.new_thing(rng, 0, ground)
        if new.color == old.color:
            return None
        old.color, old.rgb = new.color, new.rgb
    elif kind == "shape":
        old.shape = rng.choice([s for s in SHAPES if s != old.shape])
    elif kind == "size":
        out[k] = shapes.grow(rng, old, rng.choice([s for s in shapes.SIZES if s != old.size]))
    elif kind == "position" and free:
        new = shapes.new_thing(rng, rng.choice(free), ground)
        old.place, old.x, old.y = new.place, new.x, new.y
        return sorted(out, key=lambda t: t.place), (things[k].place, new.place)
    else:
        return None
    return out, (things[k].place,)


def _moved(first: list[shapes.Thing], second: list[shapes.Thing], changes: list[Change]) -> list[str]:
    """Names of the things that are in one image only, or in two places."""
    images = {"position": first, "removed": first, "added": second}
    return [t.name() for kind, where in changes for t in images.get(kind, ()) if t.place == where[0]]


def _said(scenes: _Scenes, kind: str, where: tuple[int, ...]) -> Answer:
    """One difference between the first and the second image."""
    if kind == "position":
        old, _, place0 = scenes.at(0, where[0])
        _, _, place1 = scenes.at(1, where[1])
        return [f"the {old.name()} is ", place0, " in the first image and ", place1, " in the second"]
    if kind in ("added", "removed"):
        image = int(kind == "added")
        thing, name, spot = scenes.at(image, where[0])
        only = "only the second" if image else "only the first"
        return [f"{only} image has ", *shapes.describe(thing, name), " ", spot]
    (a, name_a, spot), (b, name_b, _) = scenes.at(0, where[0]), scenes.at(1, where[0])
    if kind == "color":
        one = Ref(a.color, name_a.canvas, name_a.marks[: len(a.color)])
        two = Ref(b.color, name_b.canvas, name_b.marks[: len(b.color)])
        return [f"the {a.shape} ", spot, " is ", one, " in the first image and ", two, " in the second"]
    if kind == "shape":
        return [
            "there is ",
            *shapes.describe(a, name_a),
            " ",
            spot,
            " in the first image and ",
            *shapes.describe(b, name_b),
            " in the second",
        ]
    sizes = [t.size or "medium" for t in (a, b)]
    return [f"the {a.name()} ", spot, f" is {sizes[0]} in the first image and {sizes[1]} in the second"]


def scenes(brief: Brief) -> Picture | None:
    """Two scenes of shapes."""
    rng = brief.rng
    ground, rgb = shapes.ground_of(rng)
    kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
    first = shapes.scatter(rng, rng.randint(3 if kind == "several" else 1, 3 + round(2 * brief.difficulty)), ground)
    changes: list[Change] = []
    second = first
    if kind == "other":
        second = shapes.scatter(rng, rng.randint(1, 4), ground)
        if {t.name() for t in first} & {t.name() for t in second}:
            return None
    elif kind != "none":
        wanted = (
            [kind]
            if kind != "several"
            else rng.choices(
                ["color", "shape", "size", "position", "count"], k=rng.choice((2, 2, 3)) if len(first) > 3 else 2
            )
        )
        spared: set[int] = set()
        number = rng.choice(("added", "removed"))  # not both, or the number of shapes might be the same
        for one in wanted:
            one = number if one == "count" else one
            changed = _change(brief, second, ground, one, spared)
            if changed is None:
                return None
            second, where = changed
            spared |= set(where)
            changes.append((one, where))
        if kind == "several" and all(t.place in spared for t in first):
            return None  # as well "entirely different"
        moved = _moved(first, second, changes)
        if len(set(moved)) < len(moved):
            return None  # which of them went where can't be told
    changes.sort(key=lambda change: min(change[1]))  # in reading order
    made = _Scenes(brief, [first, second], ground, rgb)
    shown = both([made.shown(0), made.shown(1)])
    if kind == "none":
        end: Answer = [SAME[2]]
    elif kind == "other":
        end = ["The difference is everything: the images show different shapes."]
    elif kind == "count":
        counts = f"it is {len(first)} in the first image and {len(second)} in the second"
        end = ["The difference is the number of shapes: ", *_said(made, *changes[0]), f"; {counts}."]
    else:
        # Several differences begin as one does: what else differs need not be known before it is written.
        end = []
        for one, where in changes:
            what = "number of shapes" if one in ("added", "removed") else one
            start = " Another difference is" if end else "The difference is"
            end += [f"{start} the {what}: ", *_said(made, one, where), "."]
    name = {"none": "no difference", "other": "entirely different"}.get(kind, kind)
    questions = asked(name, shown, end, made.common())
    for i in range(2):
        said = [f"The {ORDER[i]} image shows ", *made.shown(i), "."]
        questions.append(Question("one of several", "describe_one", said, (ORDER[i],), weight=0.5))
    return Picture("compare", made.canvases, questions)


def three_scenes(brief: Brief) -> Picture | None:
    """Three scenes: all alike, or one of them different."""
    rng = brief.rng
    ground, rgb = shapes.ground_of(rng)
    first = shapes.scatter(rng, rng.randint(1, 3), ground)
    scenes_ = [first, first, first]
    odd = rng.randrange(4)
    if odd < 3:
        kind = rng.choice(("color", "shape", "size", "added", "removed"))
        changed = _change(brief, first, ground, kind, set())
        if changed is None:
            return None
        scenes_[odd] = changed[0]
    made = _Scenes(brief, scenes_, ground, rgb)
    shown = both([made.shown(i) for i in range(3)])
    end = [SAME[3]] if odd == 3 else [f"The {ORDER[odd]} image is different, the other two are the same."]
    return Picture("compare", made.canvases, asked("three images", shown, end, made.common()))
