"""Charts: bars (upright or lying), lines and pies, with printed values."""

import math
from dataclasses import dataclass

from .. import words as lists
from ..canvas import Canvas, Ref
from ..palette import COLORS, ink, tint
from ..picture import Picture
from ..text import cap, invented, noun, phrase
from .brief import Brief
from .chart_answers import phrase_of, questions


@dataclass
class Data:
    """What a chart shows."""

    kind: str  # bar, lying bar, line, pie
    title: str
    names: list[str]
    values: list[float]
    labels: list[str]  # the values as they are printed


@dataclass
class Drawn:
    """Where it stands."""

    title: Ref
    names: list[Ref]
    labels: list[Ref]


def _format(rng, pie: bool):
    """A way to print values, and a function that makes values which suit it."""
    k = rng.random()
    if pie:
        return lambda v: f"{v}%", lambda: rng.randint(3, 60)
    if k < 0.42:
        top = rng.choice((60, 99, 99, 500, 980))
        return str, lambda: rng.randint(1, top)
    if k < 0.54:
        return lambda v: f"{v:.1f}", lambda: rng.randint(1, 990) / 10
    if k < 0.74:
        sign, unit = rng.choice(("$", "$", "$", "€", "£")), rng.choice(("", "B", "B", "M", "K"))
        if rng.random() < 0.6:
            return lambda v: f"{sign}{v:.1f}{unit}", lambda: rng.randint(10, 999) / 10
        return lambda v: f"{sign}{v}{unit}", lambda: rng.randint(1, 300)
    if k < 0.87:
        return lambda v: f"{v}%", lambda: rng.randint(1, 100)
    return lambda v: f"{v:,}", lambda: rng.randint(100, 9900)


def _title(brief: Brief) -> str:
    rng = brief.rng
    k = rng.random()
    if k < 0.4:
        tail = (
            " per Month",
            " by Region",
            " 2024",
            " per Day",
            "",
            "",
            " by Type",
            " by Year",
            " (in billions)",
            " 2020-2025",
        )
        return rng.choice(lists.TOPICS) + rng.choice(tail)
    if k < 0.75:
        return f"{cap(noun(rng, brief.held_out))} {rng.choice(lists.TOPICS)}"
    return " ".join(cap(w) for w in phrase(rng, rng.randint(1, 4), brief.held_out))


def invent(
    brief: Brief, kinds: tuple[str, ...] = ("bar", "bar", "bar", "bar", "lying bar", "line", "line", "pie")
) -> Data | None:
    """Random data; all values differ."""
    rng = brief.rng
    kind = rng.choice(kinds)
    count = rng.randint(2, 4 + int(brief.difficulty * 3.9))
    if kind in ("pie", "lying bar"):
        count = min(count, 6)
    k = rng.random()
    if k < 0.25:
        first = rng.randint(1990, 2025)
        names = [str(first + i) for i in range(count)]
    elif k < 0.65:
        group = rng.choice([c for c in lists.CATEGORIES if len(c) >= count])
        start = rng.randrange(len(group) - count + 1)
        names = group[start : start + count] if rng.random() < 0.6 else rng.sample(group, count)
    else:
        names = [cap(noun(rng, brief.held_out) if k < 0.85 else invented(rng, 8)) for _ in range(count)]
    show, value = _format(rng, kind == "pie")
    values = [value() for _ in names]
    labels = [show(v) for v in values]
    if len(set(values)) < count or len(set(names)) < count or len(set(labels)) < count:
        return None
    return Data(kind, _title(brief), names, values, labels)


@dataclass
class Style:
    """How a chart looks; two charts that are compared share one."""

    face: str
    ink: tuple[int, int, int]
    title_size: float
    label_size: float
    colors: list
    width: float
    grid: bool
    ticks: bool
    frame: bool
    left_title: bool


def new_style(brief: Brief, canvas: Canvas, count: int) -> Style:
    """A random look."""
    rng = brief.rng
    name = rng.choice([c for c in COLORS if c != "white"])
    usable = [c for c in COLORS if c not in ("white", "black")]
    many = [tint(rng, c) for c in rng.sample(usable, count)]
    return Style(
        face=brief.face("sans narrow rounded" if rng.random() < 0.7 else ""),
        ink=ink(rng, canvas.background, 130),
        title_size=brief.type_size(high=min(44, canvas.H * 0.1)),
        label_size=brief.type_size(high=26),
        colors=many if rng.random() < 0.45 else [tint(rng, name)] * count,
        width=rng.uniform(0.4, 0.85),
        grid=rng.random() < 0.4,
        ticks=rng.random() < 0.4,
        frame=rng.random() < 0.35,
        left_title=rng.random() < 0.2,
    )


def paint(canvas: Canvas, data: Data, style: Style, smallest: float) -> Drawn | None:
    """Draw a chart, or None where its texts don't fit."""
    size = style.title_size
    while canvas.measure(data.title, style.face, size) > canvas.W - 16:
        if size <= smallest:
            return None
        size = max(smallest, size * 0.9)
    width = canvas.measure(data.title, style.face, size)
    height = canvas.line_height(style.face, size)
    x = 12 if style.left_title else (canvas.W - width) / 2
    title = canvas.text(x, height * 1.2, data.title, style.face, size, style.ink)
    painter = {"pie": _pie, "lying bar": _lying}.get(data.kind, _upright)
    drawn = painter(canvas, data, style, height * 1.75, smallest)
    return Drawn(title, *drawn) if drawn else None


def _upright(canvas: Canvas, data: Data, style: Style, top: float, smallest: float):
    rng, face, fg = canvas.rng, style.face, style.ink
    top_value = max(data.values) * 1.08
    tick = 10 ** math.floor(math.log10(top_value))
    tick *= next(m for m in (0.2, 0.5, 1, 2, 5) if top_value / (tick * m) <= 6.5)
    ticks = [tick * i for i in range(int(top_value / tick) + 1)] if style.ticks else []
    show = (lambda v: f"{v:g}") if top_value < 10000 else (lambda v: f"{v:,.0f}")
    x0 = 16 + (max(canvas.measure(show(t), face, smallest) for t in ticks) + 6 if ticks else 0)
    x1 = canvas.W - 10
    slot = (x1 - x0) / len(data.names)
    size = style.label_size
    while any(canvas.measure(t, face, size) > slot * 0.97 for t in data.names + data.labels):
        if size <= smallest:
            return None
        size = max(smallest, size * 0.9)
    line = canvas.line_height(face, size)
    top, base = top + line * 1.4, canvas.H - line * 1.9
    if base - top < 40:
        return None
    level = lambda v: base - (base - top) * v / top_value  # noqa: E731
    if style.grid:
        for v in ticks or [top_value * i / 5 for i in range(1, 6)]:
            canvas.line([(x0, level(v)), (x1, level(v))], (205, 205, 205), 1)
    for v in ticks:
        w = canvas.measure(show(v), face, smallest)
        canvas.text(x0 - 6 - w, level(v) + smallest * 0.35, show(v), face, smallest, fg)
        canvas.line([(x0 - 3, level(v)), (x0, level(v))], fg, 1)
    names, labels, points = [], [], []
    for i, (name, value, label) in enumerate(zip(data.names, data.values, data.labels, strict=True)):
        cx, y = x0 + slot * (i + 0.5), level(value)
        if data.kind == "bar":
            half = slot * style.width / 2
            canvas.rect(cx - half, min(y, base - 2), cx + half, base, fill=style.colors[i])
        points.append((cx, y))
        names.append((cx - canvas.measure(name, face, size) / 2, base + line * 1.25, name))
        labels.append((cx - canvas.measure(label, face, size) / 2, y - line * 0.4, label))
    if data.kind == "line":
        canvas.line(points, style.colors[0], 3)
        for x, y in points:
            canvas.ellipse(x - 4, y - 4, x + 4, y + 4, fill=style.colors[0])
    if style.frame:
        canvas.rect(x0, top - line * 1.3, x1, base, outline=fg, width=1)
    else:
        canvas.line([(x0, base), (x1, base)], fg, 2)
        if rng.random() < 0.6 or ticks:
            canvas.line([(x0, base), (x0, top - 4)], fg, 2)
    write = lambda spots: [canvas.text(x, y, t, face, size, fg) for x, y, t in spots]  # noqa: E731
    return write(names), write(labels)


def _lying(canvas: Canvas, data: Data, style: Style, top: float, smallest: float):
    face, size = style.face, style.label_size
    slot = (canvas.H - top - 8) / len(data.names)
    widest = lambda texts, s: max(canvas.measure(t, face, s) for t in texts)  # noqa: E731
    while widest(data.names, size) > canvas.W * 0.4 or canvas.line_height(face, size) * 1.1 > slot:
        if size <= smallest:
            return None
        size = max(smallest, size * 0.9)
    line = canvas.line_height(face, size)
    x0 = 16 + widest(data.names, size)
    length = canvas.W - x0 - widest(data.labels, size) - 18
    if length < 40:
        return None
    names, labels = [], []
    for i, (name, value, label) in enumerate(zip(data.names, data.values, data.labels, strict=True)):
        cy = top + slot * (i + 0.5)
        x1 = x0 + max(2, length * value / max(data.values))
        canvas.rect(x0, cy - slot * style.width / 2, x1, cy + slot * style.width / 2, fill=style.colors[i])
        names.append(
            canvas.text(x0 - 8 - canvas.measure(name, face, size), cy + line * 0.35, name, face, size, style.ink)
        )
        labels.append(canvas.text(x1 + 6, cy + line * 0.35, label, face, size, style.ink))
    canvas.line([(x0, top), (x0, canvas.H - 8)], style.ink, 2)
    return names, labels


def _pie(canvas: Canvas, data: Data, style: Style, top: float, smallest: float):
    face, size, s = style.face, style.label_size, canvas.scale
    line = canvas.line_height(face, size)
    widest = (
        max(canvas.measure(f"{n}  {v}", face, size) for n, v in zip(data.names, data.labels, strict=True)) + line * 2
    )
    beside = canvas.W - widest - 24 > canvas.H * 0.35
    room = (
        (canvas.W - widest - 24, canvas.H - top - 12)
        if beside
        else (canvas.W - 24, canvas.H - top - 24 - line * 1.4 * len(data.names))
    )
    r = min(room) / 2
    if r < 30:
        return None
    cx, cy = 12 + room[0] / 2, top + 4 + r
    start, whole = -90.0, sum(data.values)
    colors = (
        style.colors
        if len(set(style.colors)) > 1
        else [
            tint(canvas.rng, c, 4)
            for c in canvas.rng.sample(sorted(set(COLORS) - {"white", "black"}), len(data.names))
        ]
    )
    x = cx + room[0] / 2 + 12 if beside else 24
    y = max(top + line, cy - line * 0.7 * len(data.names)) if beside else cy + r + line * 1.2
    names, labels = [], []
    for name, value, label, color in zip(data.names, data.values, data.labels, colors, strict=True):
        end = start + 360 * value / whole
        canvas.draw.pieslice(
            ((cx - r) * s, (cy - r) * s, (cx + r) * s, (cy + r) * s), start, end, fill=color, outline=canvas.background
        )
        start = end
        canvas.rect(x, y - line * 0.7, x + line * 0.7, y, fill=color)
        ref = canvas.text(x + line, y, name, face, size, style.ink)
        names.append(ref)
        labels.append(canvas.text(x + line + canvas.measure(name + "  ", face, size), y, label, face, size, style.ink))
        y += line * 1.4
    return names, labels


def render(brief: Brief) -> Picture | None:
    """Draw it."""
    rng = brief.rng
    data = invent(brief)
    if data is None:
        return None
    k = rng.random()
    paper = (
        (255, 255, 255)
        if k < 0.65
        else tuple(rng.randint(225, 255) for _ in range(3))
        if k < 0.9
        else (rng.randint(0, 50),) * 3
    )
    canvas = brief.canvas(paper)
    drawn = paint(canvas, data, new_style(brief, canvas, len(data.names)), brief.smallest)
    if drawn is None:
        return None
    return Picture("chart", [canvas], questions(rng, data, drawn), [f'a {phrase_of(data)} titled "', drawn.title, '"'])
