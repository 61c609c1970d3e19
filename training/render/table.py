"""Tables, ruled or not, with a header row."""

from .. import words as lists
from ..canvas import Ref, join
from ..palette import COLORS, background, ink, luminance, tint
from ..picture import Answer, Picture, Question, listing
from ..text import cap, date, invented, noun, person
from .brief import Brief

NUMERIC = (
    "quantity age points score stock code size weight height rank population speed units time hours grade distance"
).split()


def _column(brief: Brief, header: str, rows: int) -> list[str]:
    """Cells that suit a header."""
    rng = brief.rng
    low = header.lower()
    if low in ("year",):
        first = rng.randint(1950, 2026)
        return [str(first + i) for i in range(rows)]
    if low in ("price", "cost", "total", "amount"):
        sign = rng.choice(("$", "$", "", "€"))
        return [f"{sign}{rng.randint(0, 300)}.{rng.randint(0, 99):02d}" for _ in range(rows)]
    if low in ("name", "player", "teacher"):
        return [person(rng) if rng.random() < 0.4 else rng.choice(lists.FIRST) for _ in range(rows)]
    if low in ("city", "country", "capital"):
        return [rng.choice(lists.CITIES) if rng.random() < 0.7 else cap(invented(rng, 9)) for _ in range(rows)]
    if low in ("date", "day"):
        return [date(rng).split(" ")[0] if rng.random() < 0.8 else str(rng.randint(1, 31)) for _ in range(rows)]
    if low == "color":
        return [rng.choice(list(COLORS)) for _ in range(rows)]
    if low in NUMERIC or rng.random() < 0.3:
        top = rng.choice((9, 99, 999, 9999))
        unit = rng.choice(("", "", "", "%", " kg", " km"))
        return [f"{rng.randint(0, top)}{unit}" for _ in range(rows)]
    if rng.random() < 0.3:
        return [rng.choice(lists.ITEMS) for _ in range(rows)]
    return [cap(noun(rng, brief.held_out)) if rng.random() < 0.6 else cap(invented(rng, 9)) for _ in range(rows)]


def _draw(brief: Brief, cells: list[list[str]], title: str | None):
    """The table's texts on a canvas, or None where it does not fit."""
    rng = brief.rng
    canvas = brief.canvas((255, 255, 255) if rng.random() < 0.6 else background(rng))
    fg = ink(rng, canvas.background)
    face = brief.face()
    head_face = brief.face() if rng.random() < 0.3 else face
    size = brief.type_size(high=34)
    smallest = brief.smallest
    gap = rng.uniform(10, 28)
    while True:
        widths = [
            max(canvas.measure(row[c], head_face if r == 0 else face, size) for r, row in enumerate(cells)) + gap
            for c in range(len(cells[0]))
        ]
        step = canvas.line_height(face, size) * rng.uniform(1.45, 2.1)
        title_room = step * 1.2 if title else 0
        if sum(widths) < canvas.W - 16 and step * len(cells) + title_room < canvas.H - 12:
            break
        if size <= smallest * 1.01:
            return None
        size = max(smallest, size * 0.87)
    stretch = rng.uniform(1, (canvas.W - 12) / sum(widths)) if rng.random() < 0.6 else 1
    widths = [w * stretch for w in widths]
    x0 = rng.uniform(4, canvas.W - 4 - sum(widths))
    y0 = rng.uniform(4, canvas.H - 4 - step * len(cells) - title_room) + title_room
    x1, y1 = x0 + sum(widths), y0 + step * len(cells)
    heading = None
    if title:
        if canvas.measure(title, head_face, size * 1.15) > canvas.W - x0:
            return None
        heading = canvas.text(x0, y0 - step * 0.4, title, head_face, size * 1.15, fg)
    style = rng.choice(("grid", "grid", "rules", "striped", "plain", "head"))
    light = luminance(canvas.background) > 127
    shade = tuple(max(0, v - 22) if light else min(255, v + 30) for v in canvas.background)
    head_ink = fg
    if style in ("striped", "head") or (style == "grid" and rng.random() < 0.4):
        head_fill = tint(rng, rng.choice(("blue", "green", "gray", "purple"))) if rng.random() < 0.5 else shade
        head_ink = ink(rng, head_fill, 110)
        canvas.rect(x0, y0, x1, y0 + step, fill=head_fill)
    if style == "striped":
        for r in range(2, len(cells), 2):
            canvas.rect(x0, y0 + r * step, x1, y0 + (r + 1) * step, fill=shade)
    if style == "grid":
        for r in range(len(cells) + 1):
            canvas.line([(x0, y0 + r * step), (x1, y0 + r * step)], fg, 1)
        for c in range(len(widths) + 1):
            x = x0 + sum(widths[:c])
            canvas.line([(x, y0), (x, y1)], fg, 1)
    elif style == "rules":
        for r in (0, 1, len(cells)):
            canvas.line([(x0, y0 + r * step), (x1, y0 + r * step)], fg, 1.5)
    aligns = [rng.choice(("left", "left", "center", "right")) for _ in widths]
    refs = []
    for r, row in enumerate(cells):
        y, line = y0 + step * (r + 0.66), []
        for c, text in enumerate(row):
            used_face = head_face if r == 0 else face
            slack = widths[c] - canvas.measure(text, used_face, size)
            x = x0 + sum(widths[:c]) + {"left": gap / 2, "center": slack / 2, "right": slack - gap / 2}[aligns[c]]
            line.append(canvas.text(x, y, text, used_face, size, head_ink if r == 0 else fg))
        refs.append(line)
    return canvas, refs, heading


def markdown(rows: list[list[Ref]]) -> Answer:
    """The table in Markdown."""
    out: Answer = []
    for r, row in enumerate(rows):
        out += ["\n| " if r else "| "]
        for c, ref in enumerate(row):
            out += [" | " if c else "", ref]
        out += [" |"]
        if r == 0:
            out += ["\n|" + " --- |" * len(row)]
    return out


def render(brief: Brief) -> Picture | None:
    """Draw it."""
    rng = brief.rng
    columns = rng.randint(2, 3 + round(brief.difficulty * 1.6))
    rows = rng.randint(1, 3 + round(brief.difficulty * 4))
    headers = rng.sample(lists.HEADERS, columns)
    if rng.random() < 0.2:
        headers[0] = cap(invented(rng, 8))
    body = [_column(brief, h, rows) for h in headers]
    cells = [headers, *[[column[r] for column in body] for r in range(rows)]]
    if sum(len(t) + 3 for row in cells for t in row) > brief.longest:
        return None
    title = f"{cap(noun(rng, brief.held_out))} {rng.choice(lists.TOPICS)}" if rng.random() < 0.25 else None
    drawn = _draw(brief, cells, title)
    if drawn is None:
        return None
    canvas, refs, heading = drawn
    table = markdown(refs)
    whole = [*(["# ", heading, "\n\n"] if heading else []), *table]
    reading = join([*([heading] if heading else []), *[join(row, " ") for row in refs]], "\n")
    size = f"{columns} columns and {rows} row{'s' if rows > 1 else ''}"
    names = listing([[ref] for ref in refs[0]])
    questions = [
        Question("table", "table", table, weight=4),
        Question("table", "markdown", whole, weight=1.5),
        Question("table", "read", [reading], weight=1.5),
        Question("describe", "short", ["A table with the columns ", *names, "."]),
        Question("describe", "shown", [f"The image shows a table with {size}. The columns are ", *names, "."]),
        Question(
            "describe", "detail", [f"The image shows a table with {size}. The columns are ", *names, "."], weight=0.5
        ),
        Question("table", "json", _records(refs), weight=0.8),
    ]
    firsts = [row[0].text for row in refs[1:]]
    if len(set(firsts)) == len(firsts):
        r, c = rng.randrange(1, rows + 1), rng.randrange(1, columns)
        answer = ["The ", refs[0][c], " of ", refs[r][0], " is ", refs[r][c], "."]
        questions.append(Question("table cells", "cell", answer, (refs[0][c].text, firsts[r - 1]), weight=1.5))
    return Picture("table", [canvas], questions, ["a table with the columns ", *names])


def _records(refs: list[list[Ref]]) -> Answer:
    """The rows as a JSON list."""
    out: Answer = ["["]
    for r, row in enumerate(refs[1:]):
        out += [", {" if r else "{"]
        for c, (head, ref) in enumerate(zip(refs[0], row, strict=True)):
            out += [', "' if c else '"', head, '": "', ref, '"']
        out += ["}"]
    return [*out, "]"]
