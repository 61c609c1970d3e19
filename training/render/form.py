"""Forms, tickets, cards: names of fields and what stands beside them."""

from .. import words as lists
from ..canvas import Ref, join
from ..palette import ink, tint
from ..picture import Answer, Picture, Question, quoted
from ..text import cap, code, date, money, noun, person, phrase
from .brief import Brief


def _value(brief: Brief, field: str) -> str:
    """Something that suits the field's name."""
    rng, low = brief.rng, field.lower()
    if any(w in low for w in ("date", "check", "departure", "arrival", "delivery")):
        return date(rng)
    if any(w in low for w in ("name", "customer", "passenger", "contact")):
        return person(rng)
    if any(w in low for w in ("amount", "total", "price")):
        return money(rng)
    if "phone" in low:
        return f"{rng.randint(100, 999)}-{rng.randint(100, 999)}-{rng.randint(0, 9999):04d}"
    if "address" in low:
        return f"{rng.randint(1, 999)} {cap(noun(rng, brief.held_out))} {rng.choice(lists.STREETS)}"
    if "city" in low:
        return rng.choice(lists.CITIES)
    if any(
        w in low
        for w in (
            "number",
            "id",
            "reference",
            "account",
            "flight",
            "gate",
            "seat",
            "room",
            "guests",
            "age",
            "quantity",
        )
    ):
        return code(rng)
    return " ".join(cap(w) for w in phrase(rng, rng.randint(1, 2), brief.held_out))


def render(brief: Brief) -> Picture | None:
    """Draw it."""
    rng = brief.rng
    paper = (255, 255, 255) if rng.random() < 0.5 else None
    canvas = brief.canvas(paper)
    fg, face = ink(rng, canvas.background), brief.face()
    bold = brief.face() if rng.random() < 0.4 else face
    size = brief.type_size(high=34)
    step = canvas.line_height(face, size) * rng.uniform(1.4, 2.2)
    margin = rng.uniform(8, canvas.W * 0.08)
    y = margin + step * 0.7
    heading = None
    if rng.random() < 0.6:
        title = rng.choice(
            ("INVOICE", "Registration Form", "Boarding Pass", "ORDER", "Ticket", "Booking", "Business Card", "")
        ) or " ".join(cap(w) for w in phrase(rng, 2))
        big = size * rng.uniform(1.1, 1.7)
        if canvas.measure(title, bold, big) > canvas.W - 2 * margin:
            return None
        heading = canvas.text(margin, y + big * 0.3, title, bold, big, fg)
        y += step * 1.5
        if rng.random() < 0.4:
            canvas.line([(margin, y - step * 0.8), (canvas.W - margin, y - step * 0.8)], fg, 1)
    room = int((canvas.H - y) / step)
    count = min(room, rng.randint(2, 3 + int(4 * brief.difficulty)))
    if count < 1:
        return None
    names = rng.sample(lists.FIELDS, count)
    colon = ":" if rng.random() < 0.75 else ""
    label_ink = fg if rng.random() < 0.7 else tint(rng, "gray", 20)
    widest = max(canvas.measure(n + colon, face, size) for n in names)
    column = margin + widest + rng.uniform(10, 40) if rng.random() < 0.6 else None
    pairs: list[tuple[Ref, Ref]] = []
    lines = [heading] if heading else []
    for name in names:
        value = _value(brief, name)
        left = canvas.text(margin, y, name + colon, face, size, label_ink)
        x = column or margin + canvas.measure(name + colon + " ", face, size)
        if x + canvas.measure(value, face, size) > canvas.W - 6:
            return None
        right = canvas.text(x, y, value, face, size, fg)
        pairs.append((Ref(name, canvas, left.marks[: len(name)]), right))
        lines.append(join([left, right], " "))
        y += step
    fields: Answer = ["{"]
    page: Answer = ["# ", heading, "\n"] if heading else []
    for i, (name, value) in enumerate(pairs):
        fields += [', "' if i else '"', name, '": ', *quoted(value)]
        page += ["\n- **" if i or heading else "- **", name, ":** ", value]
    fields += ["}"]
    k = rng.randrange(count)
    what: Answer = (
        ['the form "', heading, '"']
        if heading
        else [
            "a form with the fields ",
            names[0] + ("" if count == 1 else f" and {names[1]}" if count == 2 else f", {names[1]} and others"),
        ]
    )
    questions = [
        Question("json", "json", fields, weight=4),
        Question("form", "read", [join(lines, "\n")], weight=2),
        Question("markdown", "markdown", page, weight=1.5),
        Question("form", "field", ["The ", pairs[k][0], " is ", pairs[k][1], "."], (names[k],), weight=2),
        Question("describe", "short", ["The image shows ", *what, "."], weight=0.7),
        Question("describe", "shown", ["The image shows ", *what, "."], weight=0.7),
    ]
    return Picture("form", [canvas], questions, what)
