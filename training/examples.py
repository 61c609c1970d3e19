"""Draws the demo's example images: ``python -m training.examples``. EXPECTED is what the model should say of them."""

import random
from pathlib import Path

from . import fonts
from .canvas import Canvas
from .palette import COLORS
from .render import chart, shapes
from .render.brief import place

FOLDER = Path(__file__).resolve().parent.parent / "assets" / "examples"

# files, question, answer
EXPECTED = [
    (
        ["shapes.png"],
        "Describe this image in detail.",
        "The image shows a red circle at the top left, a blue square at the top right, a yellow star in the center, a "
        "green triangle at the bottom left and a blue square at the bottom right on a white background: 5 shapes in "
        "all.",
    ),
    (["street_sign.png"], "What does the sign say?", "Maple Avenue"),
    (
        ["revenue_chart.png"],
        "Turn this chart into a table.",
        "| Name | Value |\n| --- | --- |\n| 2020 | $18.2B |\n| 2021 | $24.6B |\n| 2022 | $31.4B |\n"
        "| 2023 | $28.9B |\n| 2024 | $39.7B |\n| 2025 | $47.5B |",
    ),
    (["book_cover.png"], "What is the title and author?", 'The title is "ALONE" and the author is Morgan Maxwell.'),
    (
        ["receipt.png"],
        "Extract the fields of this document as JSON. Output only the JSON.",
        '{"store": "CORNER BAKERY", "date": "2026-03-14", "items": [{"name": "Bread", "price": "$3.20"}, '
        '{"name": "Apple Cake", "price": "$4.50"}, {"name": "Coffee", "price": "$2.80"}, '
        '{"name": "Orange Juice", "price": "$3.75"}], "total": "$14.25"}',
    ),
    (
        ["table.png"],
        "Convert this document to Markdown. Output only the Markdown.",
        "| City | Country | Founded |\n| --- | --- | --- |\n| Oslo | Norway | 1048 |\n"
        "| Lisbon | Portugal | 1147 |\n| Stockholm | Sweden | 1252 |\n| Helsinki | Finland | 1550 |",
    ),
    (
        ["compare_1a.png", "compare_1b.png"],
        "What is different between these images?",
        "The first image shows a red circle at the top left, a blue square at the top right and a green triangle "
        "at the bottom on a white background, while the second image shows a red circle at the top left, an orange "
        "square at the top right and a green triangle at the bottom on a white background. The difference is the "
        "color: the square at the top right is blue in the first image and orange in the second.",
    ),
    (
        ["compare_2a.png", "compare_2b.png"],
        "Compare these images.",
        'The first image shows a bar chart titled "Visitors" with Mon: 24, Tue: 41, Wed: 33, Thu: 52, while the '
        'second image shows a bar chart titled "Visitors" with Mon: 24, Tue: 41, Wed: 18, Thu: 52. The difference '
        "is the value of Wed: 33 in the first image and 18 in the second.",
    ),
    (
        ["compare_3a.png", "compare_3b.png"],
        "What do these images have in common?",
        "The first image shows a yellow star on the left and a purple heart on the right on a white background, "
        "while the second image shows a yellow star on the left and a cyan circle on the right on a white "
        "background. Both images show a yellow star on the left on a white background.",
    ),
]


def _face(*names: str) -> str:
    """The first of these faces that is installed, or any other."""
    return str(next((fonts.files()[n] for n in names if n in fonts.files()), fonts.choose(random.Random(1), "sans")))


def _canvas(width: int, height: int, color=(255, 255, 255), seed: int = 7) -> Canvas:
    # Drawn twice as large and reduced when saved, for smooth edges.
    canvas = Canvas(random.Random(seed), (2, 2), 4, color, size=(2 * width, 2 * height))
    canvas.tracking = 0.0
    return canvas


def _style(color, count: int, **options) -> chart.Style:
    look = {"width": 0.62, "grid": True, "ticks": False, "frame": False, "left_title": False, **options}
    face = _face("OpenSans-Regular", "DejaVuSans")
    return chart.Style(face, (40, 44, 52), 34, 21, [color] * count, **look)


def revenue_chart() -> Canvas:
    """A bar chart of revenue by year."""
    values = [18.2, 24.6, 31.4, 28.9, 39.7, 47.5]
    years = [str(2020 + i) for i in range(6)]
    canvas = _canvas(1000, 720)
    data = chart.Data("bar", "Annual Revenue", years, values, [f"${v}B" for v in values])
    chart.paint(canvas, data, _style((40, 110, 210), 6), 13)
    return canvas


def week_chart(wednesday: int) -> Canvas:
    """Visitors of four days."""
    values = [24, 41, wednesday, 52]
    canvas = _canvas(900, 660)
    data = chart.Data("bar", "Visitors", ["Mon", "Tue", "Wed", "Thu"], values, [str(v) for v in values])
    chart.paint(canvas, data, _style((67, 160, 71), 4), 13)
    return canvas


def scene(things: list[tuple[str, str, int]], width: int = 900, height: int = 675) -> Canvas:
    """Shapes in their places: (shape, colour, place)."""
    canvas = _canvas(width, height)
    for kind, color, place_ in things:
        thing = shapes.new_thing(canvas.rng, place_, "white", "")
        thing.shape, thing.color, thing.rgb, thing.turn, thing.radius = kind, color, COLORS[color][-1], 0.0, 0.112
        shapes.draw(canvas, thing)
    return canvas


def street_sign() -> Canvas:
    """A street's name on a green plate."""
    canvas = _canvas(960, 720, (176, 210, 240))
    canvas.rect(0, canvas.H * 0.78, canvas.W, canvas.H, fill=(120, 160, 96))
    cx = canvas.W / 2
    canvas.rect(cx - 7, canvas.H * 0.2, cx + 7, canvas.H, fill=(90, 90, 95))
    box = (canvas.W * 0.08, canvas.H * 0.3, canvas.W * 0.92, canvas.H * 0.58)
    canvas.rect(*box, fill=(0, 105, 60), outline=(255, 255, 255), width=5, radius=16)
    face = _face("RobotoCondensed-Bold", "DejaVuSansCondensed-Bold")
    place(canvas, ["Maple Avenue"], face, 84, (255, 255, 255), box, "center", 1.2, 0.5)
    return canvas


def book_cover() -> Canvas:
    """A black-and-white cover."""
    canvas = _canvas(640, 900, (10, 10, 10))
    white = (245, 245, 245)
    w, h = canvas.W, canvas.H
    place(
        canvas,
        ["ALONE"],
        _face("LiberationSerif-Bold", "DejaVuSerif-Bold"),
        110,
        white,
        (20, h * 0.08, w - 20, h * 0.3),
        "center",
        1.2,
        0.5,
    )
    canvas.shape("circle", "white", white, w / 2, h * 0.55, w * 0.2)
    place(
        canvas,
        ["Morgan Maxwell"],
        _face("LiberationSerif-Regular", "DejaVuSerif"),
        40,
        white,
        (20, h * 0.84, w - 20, h * 0.94),
        "center",
        1.2,
        0.5,
    )
    return canvas


def receipt() -> Canvas:
    """A receipt of four items."""
    canvas = _canvas(620, 860, (252, 252, 250))
    face, ink, size = _face("DejaVuSansMono"), (30, 30, 30), 25
    middle = lambda t, y, s: place(canvas, [t], face, s, ink, (10, y, canvas.W - 10, y + 50), "center", 1.2, 0)  # noqa: E731
    middle("CORNER BAKERY", 50, 34)
    middle("2026-03-14", 110, size)
    left, right, y = 34, canvas.W - 34, 210
    canvas.line([(left, y - 42), (right, y - 42)], ink, 1)
    rows = [
        ("Bread", "$3.20"),
        ("Apple Cake", "$4.50"),
        ("Coffee", "$2.80"),
        ("Orange Juice", "$3.75"),
        ("TOTAL", "$14.25"),
    ]
    for name, price in rows:
        if name == "TOTAL":
            canvas.line([(left, y - 34), (right, y - 34)], ink, 1)
            y += 12
        canvas.text(left, y, name, face, size, ink)
        canvas.text(right - canvas.measure(price, face, size), y, price, face, size, ink)
        y += 56
    middle("Thank you!", y + 30, size)
    return canvas


def table() -> Canvas:
    """A ruled table of four cities."""
    canvas = _canvas(960, 640)
    face, head = _face("Lato-Regular", "DejaVuSans"), _face("Lato-Bold", "DejaVuSans-Bold")
    rows = [("City", "Country", "Founded"), ("Oslo", "Norway", "1048"), ("Lisbon", "Portugal", "1147"),
            ("Stockholm", "Sweden", "1252"), ("Helsinki", "Finland", "1550")]  # fmt: skip
    x0, y0, width, step = 40, 50, (canvas.W - 80) / 3, (canvas.H - 100) / len(rows)
    canvas.rect(x0, y0, canvas.W - x0, y0 + step, fill=(222, 232, 245))
    for i in range(len(rows) + 1):
        canvas.line([(x0, y0 + i * step), (canvas.W - x0, y0 + i * step)], (60, 60, 70), 1)
    for i in range(4):
        canvas.line([(x0 + i * width, y0), (x0 + i * width, canvas.H - y0)], (60, 60, 70), 1)
    for r, row in enumerate(rows):
        for c, text in enumerate(row):
            y = y0 + (r + 0.62) * step
            canvas.text(x0 + c * width + 18, y, text, face if r else head, 27, (30, 30, 40))
    return canvas


def draw() -> dict[str, Canvas]:
    """All examples by file name."""
    five = [
        ("circle", "red", 0),
        ("square", "blue", 2),
        ("star", "yellow", 4),
        ("triangle", "green", 6),
        ("square", "blue", 8),
    ]
    return {
        "revenue_chart": revenue_chart(),
        "shapes": scene(five),
        "street_sign": street_sign(),
        "book_cover": book_cover(),
        "receipt": receipt(),
        "table": table(),
        "compare_1a": scene([("circle", "red", 0), ("square", "blue", 2), ("triangle", "green", 7)]),
        "compare_1b": scene([("circle", "red", 0), ("square", "orange", 2), ("triangle", "green", 7)]),
        "compare_2a": week_chart(33),
        "compare_2b": week_chart(18),
        "compare_3a": scene([("star", "yellow", 3), ("heart", "purple", 5)]),
        "compare_3b": scene([("star", "yellow", 3), ("circle", "cyan", 5)]),
    }  # fmt: skip


def main() -> None:
    """Command line: draw the examples."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, canvas in draw().items():
        image = canvas.image.reduce(2)
        image.quantize(128).save(FOLDER / f"{name}.png", optimize=True)
        print(f"{name}.png", image.size, (FOLDER / f"{name}.png").stat().st_size)


if __name__ == "__main__":
    main()
