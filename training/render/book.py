"""Book covers: a title, an author, sometimes a subtitle and a drawing."""

from ..canvas import Canvas, join
from ..palette import COLORS, SHAPES, background, contrast, ink, nearest, tint
from ..picture import Picture, Question, quoted
from ..text import person, phrase, title
from .brief import Brief, place, shrink

EXTRAS = ["A NOVEL", "a novel", "A Memoir", "Second Edition", "Volume 2", "POEMS", "BESTSELLER", "Short Stories"]


def _paper(brief: Brief):
    """A cover's colour; black and white are the classics."""
    rng = brief.rng
    k = rng.random()
    if k < 0.15:
        return (rng.randint(0, 15),) * 3
    if k < 0.3:
        return (rng.randint(240, 255),) * 3
    return tint(rng, rng.choice(list(COLORS)), 25) if k < 0.7 else background(rng)


def _ornament(canvas: Canvas, top: float, bottom: float, fg) -> None:
    """Something drawn between the texts."""
    rng = canvas.rng
    room = bottom - top
    if room < 36:
        return
    if rng.random() < 0.5:
        color = rng.choice(list(COLORS))
        rgb = tint(rng, color)
        if contrast(rgb, canvas.background) > 120:
            r = min(room / 2 * 0.8, canvas.W * 0.3) * rng.uniform(0.4, 1)
            canvas.shape(rng.choice(SHAPES), color, rgb, canvas.W * rng.uniform(0.35, 0.65), (top + bottom) / 2, r)
    else:
        for i in range(rng.randint(1, 6)):
            y = top + room * (i + 1) / 8
            canvas.line([(canvas.W * 0.2, y), (canvas.W * 0.8, y + rng.uniform(-10, 10))], fg, rng.uniform(1, 3))


def render(brief: Brief) -> Picture | None:
    """Draw it."""
    rng = brief.rng
    canvas = brief.canvas(_paper(brief))
    W_, H = canvas.W, canvas.H
    margin = W_ * rng.uniform(0.05, 0.12)
    fg = ink(rng, canvas.background, 100)
    if rng.random() < 0.35:
        m = rng.uniform(0.02, 0.045) * W_
        canvas.rect(m, m, W_ - m, H - m, outline=fg, width=rng.uniform(1, 4))
    words, author = title(rng, brief.held_out), person(rng)
    if rng.random() < 0.35:
        words = [w.upper() for w in words]
    if rng.random() < 0.25:
        author = author.upper()
    face = brief.face(upper="".join(words).isupper())
    author_face = brief.face(upper=author.isupper()) if rng.random() < 0.5 or "Bebas" in face else face
    lead = rng.uniform(1.1, 1.3)
    largest = min(W_, H * 1.3) * (0.3 if rng.random() < 0.3 else 0.17)
    head = shrink(canvas, words, face, brief.type_size(brief.smallest * 1.5, largest), (W_ - 2 * margin, H * 0.45),
                  lead, brief.smallest)  # fmt: skip
    if head is None:
        return None
    size = rng.uniform(brief.smallest, max(brief.smallest, min(60, head[1] * 0.8)))
    name = shrink(canvas, author.split(), author_face, size, (W_ - 2 * margin, H * 0.2), 1.25, brief.smallest)
    if name is None:
        return None
    align = rng.choice(("center", "center", "center", "left"))
    author_first = rng.random() < 0.3
    title_height = len(head[0]) * canvas.line_height(face, head[1]) * lead
    name_height = len(name[0]) * canvas.line_height(author_face, name[1]) * 1.25
    top = max(margin * 0.6, 8)
    if author_first:
        name_y = top
        title_y = rng.uniform(name_y + name_height + 8, max(name_y + name_height + 9, H * 0.6 - title_height))
    else:
        title_y = rng.uniform(top, max(top + 1, H * 0.5 - title_height * 0.5))
        last, first = H - top - name_height, title_y + title_height + 14
        if first > last:
            return None
        name_y = last if rng.random() < 0.6 else rng.uniform(first, last)
    if title_y + title_height > H - 4 or name_y + name_height > H - 2:
        return None
    after = (title_y + title_height + 8, (H - margin) if author_first else name_y - 8)
    extra_face, extra_size = author_face, max(brief.smallest, name[1] * 0.7)
    extra = []
    if rng.random() < 0.3:
        words_ = [rng.choice(EXTRAS)] if rng.random() < 0.6 else [" ".join(phrase(rng, 2, brief.held_out))]
        height = canvas.line_height(extra_face, extra_size) * 1.3
        if canvas.measure(words_[0], extra_face, extra_size) < W_ - 2 * margin and after[1] - after[0] > height:
            extra, end = place(
                canvas,
                words_,
                extra_face,
                extra_size,
                fg,
                (margin, after[0], W_ - margin, after[0] + height),
                align,
                1.25,
                0,
            )
            after = (end + 6, after[1])
    if rng.random() < 0.5:
        _ornament(canvas, *after, fg)
    second = fg if rng.random() < 0.6 else ink(rng, canvas.background, 100)
    titles, _ = place(
        canvas, head[0], face, head[1], fg, (margin, title_y, W_ - margin, title_y + title_height), align, lead, 0
    )
    names, _ = place(
        canvas,
        name[0],
        author_face,
        name[1],
        second,
        (margin, name_y, W_ - margin, name_y + name_height),
        align,
        1.25,
        0,
    )
    t, a = join(titles, " "), join(names, " ")
    reading = join([*names, *titles, *extra] if author_first else [*titles, *extra, *names], "\n")
    paper = nearest(canvas.background)
    below = ["\n\n", join(extra, " ")] if extra else []
    both = ['The title is "', t, '" and the author is ', a, "."]
    questions = [
        Question("title and author", "title_author", both, weight=4),
        Question("title and author", "title", ['The title is "', t, '".'], weight=0.7),
        Question("title and author", "author", ["The author is ", a, "."], weight=0.7),
        Question("text", "read", [reading]),
        Question("describe", "short", ['A book cover with the title "', t, '" by ', a, "."]),
        Question("describe", "shown", ['The image shows the cover of the book "', t, '" by ', a, "."]),
        Question("describe", "detail", [f"The image shows a book cover with a {paper} background. ", *both], (), 0.6),
        Question("json", "json", ['{"title": ', *quoted(t), ', "author": ', *quoted(a), "}"], weight=0.6),
        Question("markdown", "markdown", ["# ", t, *below, "\n\n", a], weight=0.4),
    ]  # fmt: skip
    return Picture("book", [canvas], questions, ['the book cover "', t, '" by ', a])
