"""A few words on a plain ground: labels, slogans, prices, single characters, lines in several colours."""

from ..canvas import join
from ..palette import COLORS, contrast, ink, luminance, nearest, tint, vivid
from ..picture import Picture, Question
from ..text import code, phrase
from .brief import Brief, place, shrink


def _slogan(brief: Brief) -> list[str]:
    """The kind of words that stand large on labels."""
    rng = brief.rng
    k = rng.random()
    if k < 0.12:
        return [f"{rng.randint(1, 99)}%", rng.choice(("OFF", "off", "SALE", "Discount", "MORE"))]
    if k < 0.24:
        return [code(rng)]
    if k < 0.34:
        return [rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghijkmnqrtuy0123456789&?!$%@#") for _ in range(1)]
    if k < 0.4:
        return [code(rng), *phrase(rng, 1, brief.held_out)]
    return phrase(rng, rng.randint(1, 2 + int(4 * brief.difficulty)), brief.held_out)


def _colored(brief: Brief) -> Picture | None:
    """Two or three texts of different colours."""
    rng = brief.rng
    canvas = brief.canvas()
    names = [c for c in COLORS if abs(luminance(COLORS[c][0]) - luminance(canvas.background)) > 60]
    count = rng.choice((2, 2, 3))
    if len(names) < count:
        return None
    names = rng.sample(names, count)
    margin, height = 12, (canvas.H - 24) / count
    face, refs = brief.face(), []
    for i, name in enumerate(names):
        face = face if rng.random() < 0.6 else brief.face()
        words = phrase(rng, rng.randint(1, 3), brief.held_out)
        fitted = shrink(canvas, words, face, brief.type_size(high=height * 0.8), (canvas.W - 24, height * 0.95), 1.25,
                        brief.smallest)  # fmt: skip
        if fitted is None:
            return None
        box = (margin, margin + i * height, canvas.W - margin, margin + (i + 1) * height)
        refs.append(place(canvas, fitted[0], face, fitted[1], tint(rng, name), box, "jitter", 1.2)[0])
    everything = join([line for block in refs for line in block], "\n")
    questions = [Question("text", "read", [everything])]
    for name, block in zip(names, refs, strict=True):
        words = join(block, " ")
        questions.append(Question("colored text", "colored_text", [words], (name,), weight=4))
        questions.append(
            Question("text color", "text_color_of", ['"', words, f'" is {name}.'], (words.text,), weight=1)
        )
    summary = ["lines of text in ", " and ".join(names[:2]) if count == 2 else ", ".join(names)]
    questions.append(Question("describe", "short", ["The image shows ", *summary, "."], weight=0.4))
    return Picture("lines", [canvas], questions, ['the text "', join(refs[0], " "), '"'])


def render(brief: Brief) -> Picture | None:
    """Draw it."""
    rng = brief.rng
    if brief.difficulty > 0.25 and rng.random() < (0.22 if brief.held_out else 0.4):
        return _colored(brief)
    canvas = brief.canvas()
    if rng.random() < 0.15:
        m = rng.uniform(2, 9)
        edge = ink(rng, canvas.background, 40)
        canvas.rect(m, m, canvas.W - m, canvas.H - m, outline=edge, width=rng.uniform(1, 4))
    words = _slogan(brief)
    face = brief.face(upper="".join(words).upper() == "".join(words))
    margin = rng.uniform(8, 20)
    # Letters as large as the picture are rare in the world but the first thing that visitors try.
    largest = canvas.H * 0.85 if rng.random() < 0.3 * brief.difficulty else min(110, canvas.H * 0.4)
    box = (canvas.W - 2 * margin, canvas.H - 2 * margin)
    size = brief.type_size(low=50 if rng.random() < 0.3 else 0, high=largest)
    fitted = shrink(canvas, words, face, size, box, 1.25, brief.smallest)
    if fitted is None:
        return None
    fill = ink(rng, canvas.background)
    area = (margin, margin, canvas.W - margin, canvas.H - margin)
    refs, _ = place(canvas, fitted[0], face, fitted[1], fill, area, rng.choice(("jitter", "jitter", "center")), 1.2)
    text, flat = join(refs, "\n"), join(refs, " ")
    paper = nearest(canvas.background)
    summary = ['the text "', flat, '"']
    on = f" on a {paper} background" if contrast(canvas.background, (255, 255, 255)) else ""
    questions = [
        Question("text", "read", [text], weight=3),
        Question("describe", "short", ["The image shows ", *summary, on, "."]),
        Question("describe", "shown", ["The image shows ", *summary, on, "."]),
        Question("describe", "detail", [f"The image has a {paper} background and shows ", *summary, "."], weight=0.5),
        Question("text", "markdown", [text], weight=0.5),
        Question("color", "background_color", [f"The background is {paper}."], weight=0.2),
        Question("text", "is_text", ['Yes, the text is "', flat, '".'], weight=0.2),
    ]
    if vivid(fill):
        questions.append(Question("text color", "text_color", [f"The text is {nearest(fill)}."], weight=0.3))
    return Picture("lines", [canvas], questions, summary)
