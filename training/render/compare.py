"""Two or three images to compare: scenes, labels, charts, or pictures that have nothing to do with each other."""

from dataclasses import replace

from ..canvas import Ref, join
from ..geometry import Layout
from ..palette import background, ink
from ..picture import Answer, Picture, Question, plain
from ..text import cap, phrase
from . import book, chart, chart_answers, receipt, shapes, sign, table, unknown
from .brief import Brief, place, shrink
from .compare_scenes import scenes, three_scenes
from .comparison import ORDER, SAME, asked, both


def texts(brief: Brief, count: int = 2) -> Picture | None:
    """The same label with one word changed, or not."""
    rng = brief.rng
    paper = background(rng)
    words = phrase(rng, rng.randint(1, 4), brief.held_out)
    versions = [words] * count
    odd = rng.randrange(count) if count == 3 else 1
    k = rng.randrange(len(words))
    if rng.random() < 0.8:
        new = phrase(rng, 1, brief.held_out)[0]
        new = new.upper() if words[k].isupper() else cap(new) if words[k][:1].isupper() else new.lower()
        if new == words[k]:
            return None
        versions[odd] = [*words[:k], new, *words[k + 1 :]]
    face, fill = brief.face(), ink(rng, paper)
    align, down = rng.choice(("center", "left")), rng.random()
    canvases, refs = [], []
    size = brief.type_size(high=90)
    for version in versions:
        canvas = brief.canvas(paper, canvases[0] if canvases else None)
        canvas.tracking = canvases[0].tracking if canvases else canvas.tracking
        fitted = shrink(canvas, version, face, size, (canvas.W - 24, canvas.H - 24), 1.25, brief.smallest)
        if fitted is None:
            return None
        lines, _ = place(
            canvas, fitted[0], face, fitted[1], fill, (12, 12, canvas.W - 12, canvas.H - 12), align, 1.25, down
        )
        refs.append(join(lines, " "))
        canvases.append(canvas)
    shown = both([['the text "', ref, '"'] for ref in refs])
    if versions[0] == versions[odd] and versions[0] == versions[1 if count == 2 else (odd + 1) % 3]:
        kind, end = "no difference", [SAME[count]]
    elif count == 3:
        kind, end = "three images", [f"The {ORDER[odd]} image is different, the other two are the same."]
    else:
        spans = [_word(ref, version, k) for ref, version in zip(refs, versions, strict=True)]
        kind, end = (
            "text",
            ['The difference is the text: "', spans[0], '" in the first image and "', spans[1], '" in the second.'],
        )
    both_ = "Both" if count == 2 else "All three"
    shared = [w for w in words if all(w in v for v in versions)]
    common: Answer = (
        [f'{both_} images have the words "', " ".join(shared), '" in common.']
        if shared
        else [f"{both_} images show a text, and nothing else in common."]
    )
    questions = asked(kind, shown, end, common)
    i = rng.randrange(count)
    questions.append(Question("one of several", "read_one", [refs[i]], (ORDER[i],), weight=1))
    return Picture("compare", canvases, questions)


def _word(ref: Ref, words: list[str], k: int) -> Ref:
    start = len(" ".join(words[:k])) + (k > 0)
    return Ref(words[k], ref.canvas, ref.marks[start : start + len(words[k])])


def charts(brief: Brief) -> Picture | None:
    """One chart with a value changed, or not."""
    rng = brief.rng
    small = replace(brief, difficulty=brief.difficulty * 0.45)
    data = chart.invent(small, ("bar", "bar", "bar", "lying bar", "line", "pie"))
    if data is None:
        return None
    k = None
    other = data
    if rng.random() < 0.75:
        k = rng.randrange(len(data.names))
        value = round(data.values[k] * rng.choice((0.3, 0.5, 0.7, 1.3, 1.6)), 1)
        value = value if isinstance(data.values[k], float) else int(value)
        example = data.labels[k]
        label = example.replace(_digits(example), _like(_digits(example), value))
        if value in data.values or label in data.labels or value <= 0:
            return None
        values, labels = list(data.values), list(data.labels)
        values[k], labels[k] = value, label
        other = replace(data, values=values, labels=labels)
    paper = (255, 255, 255) if rng.random() < 0.7 else tuple(rng.randint(225, 255) for _ in range(3))
    canvases = [brief.canvas(paper)]
    canvases.append(brief.canvas(paper, canvases[0]))
    canvases[1].tracking = canvases[0].tracking
    style = chart.new_style(brief, canvases[0], len(data.names))
    drawn = [chart.paint(c, d, style, brief.smallest) for c, d in zip(canvases, (data, other), strict=True)]
    if None in drawn:
        return None
    what = chart_answers.phrase_of(data)
    shown = both([[f'a {what} titled "', d.title, '" with ', *chart_answers.values_of(d)] for d in drawn])
    if k is None:
        kind, end = "no difference", [SAME[2]]
    else:
        kind = "chart values"
        end = [
            "The difference is the value of ",
            drawn[0].names[k],
            ": ",
            drawn[0].labels[k],
            " in the first image and ",
            drawn[1].labels[k],
            " in the second.",
        ]
    common: Answer = [f'Both images show a {what} titled "', drawn[0].title, '".']
    return Picture("compare", canvases, asked(kind, shown, end, common))


def _digits(text: str) -> str:
    """The number in a printed value."""
    return "".join(c for c in text if c.isdigit() or c in ".,")


def _like(old: str, value: float) -> str:
    return f"{value:.1f}" if "." in old else f"{value:,.0f}" if "," in old else f"{value:.0f}"


# Pictures that have nothing to do with each other --------------------------------------------------------------------


def different(brief: Brief, layouts: list[Layout]) -> Picture | None:
    """Images of different kinds."""
    rng = brief.rng
    makers = rng.sample(
        [book.render, receipt.render, sign.render, table.render, chart.render, shapes.render, unknown.render],
        len(layouts),
    )
    parts = []
    for maker, layout in zip(makers, layouts, strict=True):
        picture = maker(replace(brief, layout=layout, difficulty=brief.difficulty * 0.5))
        if picture is None or len(plain(picture.summary)) > 150:
            return None
        parts.append(picture)
    shown = both([p.summary for p in parts])
    end = ["The difference is everything: the images have nothing in common."]
    common = ["They have nothing in common."]
    questions = asked("entirely different", shown, end, common)
    i = rng.randrange(len(parts))
    questions.append(
        Question(
            "one of several",
            "describe_one",
            [f"The {ORDER[i]} image shows ", *parts[i].summary, "."],
            (ORDER[i],),
            weight=0.7,
        )
    )
    return Picture("compare", [p.canvases[0] for p in parts], questions)


def render(brief: Brief, layouts: list[Layout]) -> Picture | None:
    """Draw the images of a comparison."""
    rng = brief.rng
    if len(set(layouts)) > 1 or rng.random() < 0.07:
        return different(brief, layouts)
    if len(layouts) == 3:
        return three_scenes(brief) if rng.random() < 0.6 else texts(brief, 3)
    maker = rng.choices((scenes, texts, charts), (6, 3, 2.4))[0]
    return maker(brief)
