"""Running text: paragraphs, headings, lists, as in books, letters, notes and screenshots."""

from ..canvas import Ref, join
from ..palette import ink
from ..picture import Answer, Picture, Question, quoted
from ..prose import passage
from ..text import cap, phrase
from .brief import Brief, place, shrink


def _block(brief: Brief, canvas, words, face, size, fill, area, align="left", lead=1.3):
    """Words as lines at the top of an area; the lines and where they end."""
    x0, y0, x1, y1 = area
    fitted = shrink(canvas, words, face, size, (x1 - x0, y1 - y0), lead, size * 0.999)
    return place(canvas, fitted[0], face, size, fill, area, align, lead, 0) if fitted else None


def _length(words: list[str]) -> int:
    return sum(map(len, words)) + len(words)


def render(brief: Brief) -> Picture | None:
    """Draw it."""
    rng = brief.rng
    canvas = brief.canvas()
    fill, face, lead = ink(rng, canvas.background), brief.face(), rng.uniform(1.15, 1.6)
    head_face = brief.face() if rng.random() < 0.5 else face
    margin = rng.uniform(8, max(9, canvas.W * 0.09))
    # Small type is what is read worst: training sees it more often than the evaluation does.
    highs = (24, 24, 40) if brief.held_out else (15, 17, 24, 40)
    size = brief.type_size(high=max(brief.smallest, rng.choice(highs)))
    budget = rng.randint(25, max(26, int(brief.longest * (0.4 + 0.6 * brief.difficulty))))
    y, x1, bottom = margin, canvas.W - margin, canvas.H - margin * 0.6
    align = rng.choice(("left", "left", "left", "left", "center"))
    page: Answer = []
    lines: list[Ref] = []
    heading: Ref | None = None
    if rng.random() < 0.5:
        words = [cap(w) for w in phrase(rng, rng.randint(1, 4), brief.held_out)]
        done = _block(
            brief, canvas, words, head_face, size * rng.uniform(1.2, 2.2), fill, (margin, y, x1, bottom), align, 1.25
        )
        if done is None:
            return None
        heading = join(done[0], " ")
        lines += done[0]
        y = done[1] + size * rng.uniform(0.4, 1.2)
        page += ["# ", heading]
        budget -= len(heading.text)
    while budget > 15:
        bullets = rng.random() < 0.28
        items = rng.randint(2, 5) if bullets else 1
        mark = rng.choice(("• ", "- ", "* ", "")) if bullets else ""
        numbered = bullets and not mark
        first_item = True
        for n in range(items):
            words = passage(rng, rng.randint(1, 5) if bullets else rng.randint(4, 60), brief.held_out)
            while words and _length(words) > budget:
                words.pop()
            if not words:
                break
            if not bullets and words[-1][-1].isalnum():
                words[-1] += "."
            prefix = f"{n + 1}. " if numbered else mark
            indent = canvas.measure(prefix, face, size) if prefix else 0
            done = _block(
                brief,
                canvas,
                words,
                face,
                size,
                fill,
                (margin + indent, y, x1, bottom),
                "left" if bullets else align,
                lead,
            )
            if done is None:
                break
            texts = done[0]
            if prefix:
                sign = canvas.text(
                    margin, y + canvas.line_height(face, size) * lead * 0.76, prefix.strip(), face, size, fill
                )
                lines.append(join([sign, texts[0]], " "))
                lines += texts[1:]
            else:
                lines += texts
            page += ["\n" if bullets and not first_item else "\n\n" if page else ""]
            page += [f"{n + 1}. " if numbered else "- "] if bullets else []
            page += [join(texts, " ")]
            first_item = False
            y = done[1] + size * (0.15 if bullets else rng.uniform(0.3, 0.9))
            budget -= _length(words) + 2
        else:
            y += size * 0.4
            if rng.random() < 0.6:
                continue
        break
    if not lines or (heading and len(lines) == len(heading.text.split("\n")) and not page[2:]):
        return None
    return Picture("document", [canvas], _questions(brief, lines, page, heading), _summary(lines, heading))


def _summary(lines: list[Ref], heading: Ref | None) -> Answer:
    if heading:
        return ['a text with the heading "', heading, '"']
    words = lines[0].text.split(" ")[:4]
    start = " ".join(words)
    return ['a text that begins with "', Ref(start, lines[0].canvas, lines[0].marks[: len(start)]), '"']


def _questions(brief: Brief, lines: list[Ref], page: Answer, heading: Ref | None) -> list[Question]:
    everything = join(lines, "\n")
    summary = _summary(lines, heading)
    count = f". It has {len(lines)} line{'s' if len(lines) > 1 else ''}."
    out = [
        Question("paragraph", "read", [everything], weight=4),
        Question("markdown", "markdown", page, weight=2),
        Question("describe", "short", ["The image shows ", *summary, "."], weight=0.8),
        Question("describe", "shown", ["The image shows ", *summary, "."], weight=0.8),
        Question("describe", "detail", ["The image shows ", *summary, count], weight=0.4),
        Question("text", "first_line", [lines[0]], weight=0.4),
        Question("text", "last_line", [lines[-1]], weight=0.4),
    ]  # fmt: skip
    if heading:
        out.append(Question("text", "heading", ['The heading is "', heading, '".'], weight=0.6))
        out.append(Question("json", "json", ['{"heading": ', *quoted(heading), "}"], weight=0.2))
    return out
