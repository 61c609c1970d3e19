"""Questions that don't suit the picture, as strangers ask them: it should say so and not invent an answer."""

from .picture import Picture, Question, article, inventory, plain, quoted

NAMES = {"book": "book cover", "document": "page of text", "lines": "text", "sign": "sign"}


def questions(picture: Picture) -> list[Question]:
    """What a renderer's own questions leave open."""
    have = {q.intent: q for q in picture.questions}
    kind, out = picture.kind, []
    if kind in ("shapes", "unknown"):
        none = ["There is no text in this image."]
        out += [Question("no text", "read", none), Question("no text", "markdown", none, weight=0.4)]
        out += [Question("no text", "is_text", ["No, there is no text in this image."], weight=0.3)]
        out += [Question("no text", "json", ["{}"], weight=0.2)]
    elif "json" not in have and "read" in have:
        text = have["read"].answer
        if len(text) == 1 and "\n" not in plain(text):
            out.append(Question("json", "json", ['{"text": ', *quoted(text[0]), "}"], weight=0.3))
    if kind not in ("table", "chart", "receipt"):
        out.append(Question("absent", "table", ["There is no table in this image."], weight=0.15))
    if kind not in ("chart",):
        out.append(Question("absent", "chart", ["There is no chart in this image."], weight=0.15))
    if kind not in ("book", "document"):
        out.append(Question("absent", "title_author", ["There is no book in this image."], weight=0.15))
    if "objects" not in have:
        name = NAMES.get(kind, kind)
        out.append(Question("objects", "objects", inventory([[article(name) + name]], [f"1 {name}"]), weight=0.15))
    if "unknown" not in have:
        out.append(Question("unknown", "unknown", ["I can't tell."], weight=0.1))
    return [q for q in out if q.intent not in have]
