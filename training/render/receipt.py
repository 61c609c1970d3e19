"""Receipts: a shop, perhaps a date, items with prices, a total."""

from .. import words as lists
from ..canvas import Canvas, Ref, join
from ..picture import Answer, Picture, Question, inventory, quoted
from ..text import cap, date, invented, noun
from .brief import Brief


def _shop(brief: Brief) -> str:
    rng = brief.rng
    k = rng.random()
    if k < 0.35:
        name = rng.choice(lists.STORES)
    elif k < 0.75:
        suffix = rng.choice(("Store", "Shop", "Market", "Cafe", "Bar", "Foods", "Mart", "Bakery", "Grill", "Pharmacy"))
        name = f"{cap(noun(rng, brief.held_out))} {suffix}"
    else:
        name = f"{cap(invented(rng))} {cap(noun(rng, brief.held_out))}"
    return name.upper() if rng.random() < 0.5 else name


def _item(brief: Brief) -> str:
    rng = brief.rng
    k = rng.random()
    name = rng.choice(lists.ITEMS) if k < 0.6 else cap(noun(rng, brief.held_out)) if k < 0.8 else cap(invented(rng, 9))
    if rng.random() < 0.2:
        name = f"{cap(noun(rng, brief.held_out))} {name}"
    if rng.random() < 0.12:
        name = f"{rng.randint(2, 9)} x {name}"
    return name


class _Printer:
    """Prints lines of a receipt one under the other."""

    def __init__(self, brief: Brief, canvas: Canvas, face: str, size: float, ink):
        rng = brief.rng
        self.canvas, self.face, self.size, self.ink, self.smallest = canvas, face, size, ink, brief.smallest
        self.left = rng.uniform(8, max(9, canvas.W * 0.08))
        self.right = canvas.W - self.left
        if canvas.W > 420 and rng.random() < 0.5:  # a narrow receipt on a wide picture
            width = rng.uniform(280, canvas.W - 2 * self.left)
            self.left = rng.uniform(self.left, canvas.W - self.left - width)
            self.right = self.left + width
        self.step = canvas.line_height(face, size) * rng.uniform(1.2, 1.7)
        self.y = rng.uniform(8, 20) + self.step * 0.8
        self.lines: list[Ref] = []

    def middle(self, text: str, factor: float = 1.0) -> Ref | None:
        """A centred line."""
        size = self.size * factor
        while self.canvas.measure(text, self.face, size) > self.right - self.left:
            if size <= self.smallest:
                return None
            size = max(self.smallest, size * 0.9)
        x = (self.left + self.right - self.canvas.measure(text, self.face, size)) / 2
        ref = self.canvas.text(x, self.y, text, self.face, size, self.ink)
        self.y += self.step * max(1, factor)
        self.lines.append(ref)
        return ref

    def pair(self, left: str, right: str) -> tuple[Ref, Ref] | None:
        """A name and, at the right edge, an amount."""
        width = self.canvas.measure(right, self.face, self.size)
        if self.canvas.measure(left, self.face, self.size) + width + 8 > self.right - self.left:
            return None
        a = self.canvas.text(self.left, self.y, left, self.face, self.size, self.ink)
        b = self.canvas.text(self.right - width, self.y, right, self.face, self.size, self.ink)
        self.y += self.step
        self.lines.append(join([a, b], " "))
        return a, b

    def rule(self) -> None:
        """Perhaps a line across."""
        if self.canvas.rng.random() < 0.5:
            y = self.y - self.step * 0.65
            self.canvas.line([(self.left, y), (self.right, y)], self.ink, 1)
            self.y += self.step * 0.2


def render(brief: Brief) -> Picture | None:
    """Draw it."""
    rng = brief.rng
    canvas = brief.canvas((rng.randint(236, 255),) * 3)
    face = brief.face("mono" if rng.random() < 0.5 else "")
    size = rng.uniform(brief.smallest, max(brief.smallest, rng.choice((22, 34))))
    printer = _Printer(brief, canvas, face, size, (rng.randint(0, 60),) * 3)
    shop = printer.middle(_shop(brief), rng.uniform(1, 1.6))
    if shop is None:
        return None
    day = printer.middle(date(rng)) if rng.random() < 0.45 else None
    printer.rule()
    room = int((canvas.H - printer.y) / printer.step) - 1
    taxed = room > 4 and rng.random() < 0.25
    count = min(room - 2 * taxed, rng.randint(1, 2 + int(6 * brief.difficulty)))
    if count < 1:
        return None
    sign = rng.choice(("", "", "$", "$", "€", "£"))
    amount = lambda cents: f"{sign}{cents // 100}.{cents % 100:02d}"  # noqa: E731
    items, total, names = [], 0, set()
    for _ in range(count):
        cents, name = rng.randint(20, 2499 if rng.random() < 0.9 else 29999), _item(brief)
        pair = printer.pair(name, amount(cents))
        if pair is None or name in names:
            return None
        names.add(name)
        items.append(pair)
        total += cents
    printer.rule()
    tax: list[tuple[Ref, Ref]] = []
    if taxed:
        cents = int(total * rng.choice((0.05, 0.08, 0.1, 0.19)))
        rows = [
            printer.pair(rng.choice(("Subtotal", "SUBTOTAL", "Sub-total")), amount(total)),
            printer.pair(rng.choice(("Tax", "TAX", "VAT")), amount(cents)),
        ]
        if None in rows:
            return None
        tax, total = rows, total + cents
    end = printer.pair(rng.choice(("TOTAL", "Total", "TOTAL:", "Total:", "Amount due")), amount(total))
    if end is None or printer.y - printer.step > canvas.H - 3:
        return None
    if printer.y < canvas.H - 4 and rng.random() < 0.35:
        printer.middle(
            rng.choice(("Thank you!", "THANK YOU", "Please come again", "Thank you for your visit", "Have a nice day"))
        )
    return Picture(
        "receipt", [canvas], _questions(brief, shop, day, items, tax, end[1], printer.lines), ["a receipt from ", shop]
    )


def _questions(brief: Brief, shop: Ref, day: Ref | None, items, tax, total: Ref, lines: list[Ref]) -> list[Question]:
    rng = brief.rng
    name, price = rng.choice(items)
    count = f"{len(items)} item{'s' if len(items) > 1 else ''}"
    fields: Answer = ['{"store": ', *quoted(shop)]
    if day:
        fields += [', "date": ', *quoted(day)]
    fields += [', "items": [']
    for i, (n, p) in enumerate(items):
        fields += [", " if i else "", '{"name": ', *quoted(n), ', "price": ', *quoted(p), "}"]
    fields += ['], "total": ', *quoted(total), "}"]
    page: Answer = ["# ", shop, *(["\n\n", day] if day else []), "\n\n| Item | Price |\n| --- | --- |"]
    for n, p in [*items, *tax]:
        page += ["\n| ", n, " | ", p, " |"]
    page += ["\n| Total | ", total, " |"]
    whole = ["a receipt from ", shop, f" with {count} and a total of ", total]
    out = [
        Question("receipt", "read", [join(lines, "\n")], weight=3),
        Question("receipt", "json", fields, weight=2),
        Question("receipt", "markdown", page, weight=1),
        Question("receipt fields", "total", ["The total is ", total, "."], weight=1),
        Question("receipt fields", "store", ["The receipt is from ", shop, "."], weight=0.6),
        Question("receipt fields", "item", ["The price of ", name, " is ", price, "."], (name.text,), weight=1),
        Question("describe", "short", ["A receipt from ", shop, " with a total of ", total, "."]),
        Question("describe", "shown", ["The image shows ", *whole, "."], weight=0.7),
        Question(
            "describe", "detail", ["The image shows ", *whole, ". The items are ", *_list(items), "."], weight=0.7
        ),
        Question("describe", "objects", inventory([["a receipt"]], ["1 receipt"]), weight=0.15),
    ]
    if day:
        out.append(Question("receipt fields", "date", ["The date is ", day, "."], weight=0.6))
    return out


def _list(items) -> Answer:
    out: Answer = []
    for i, (name, price) in enumerate(items):
        out += [", " if i else "", name, " for ", price]
    return out
