"""How people ask: a grammar of wordings for every intent.

``wordings.txt`` holds it: ``[a|b]`` chooses one, ``(a)`` may be left out, ``{}`` is filled with what is asked about. A
tenth of the wordings (by hash) never occurs in training; evaluation uses them half of the time. The presets of the app
are always in training.
"""

import random
import re
import zlib
from pathlib import Path

PRESETS = {
    "short": ["Describe this image in one short sentence."],
    "detail": ["Describe this image in detail."],
    "objects": ["List the objects in this image with their counts."],
    "chart": ["Explain this chart."],
    "table": ["Convert the table in this image to Markdown."],
    "shown": ["What is shown in this image?"],
    "read": ["Read all the text in this image. Output only the text."],
    "markdown": ["Convert this document to Markdown. Output only the Markdown."],
    "json": ["Extract the fields of this document as JSON. Output only the JSON."],
    "title_author": ["What is the title and author?"],
    "diff": ["What is different between these images?"],
    "compare": ["Compare these images."],
    "common": ["What do these images have in common?"],
}

_NAMES = {
    "<image>": "[image|picture|photo|pic|image]",
    "<document>": "[document|page|image|scan|picture|receipt|form]",
    "<book>": "[book|cover|book cover|novel]",
    "<chart>": "[chart|graph|diagram|bar chart|figure|plot]",
    "<sign>": "[sign|board|street sign|notice|signboard|plate]",
    "<receipt>": "[receipt|bill|slip|ticket|purchase]",
    "<tell>": "[what is|what's|whats|tell me|give me|show me|find|find me|I need|I want|let me know|please tell me]",
    "<read>": "[read|transcribe|copy|extract|type out|write down|get]",
}


def _grammar() -> dict[str, list[str]]:
    """Templates by intent, from ``wordings.txt``."""
    out: dict[str, list[str]] = {}
    for line in Path(__file__).with_name("wordings.txt").read_text().splitlines():
        if line.startswith("== "):
            out[line.strip("= ")] = templates = []
        elif line and not line.startswith("#"):
            for name, choices in _NAMES.items():
                line = line.replace(name, choices)
            templates.append(line)
    return out


GRAMMAR = _grammar()
_OF_TWO = re.compile(r"\b(two|2|both|second|other)\b")
_BEFORE = [
    "please ",
    "Please, ",
    "can you ",
    "could you please ",
    "hi, ",
    "hello! ",
    "hey ",
    "I want to know: ",
    "quick question: ",
]
_AFTER = [" please", ", thanks", " Thank you!", " I can't read it myself.", " I need it for my notes.", " Be exact.",
          " Keep it simple.", " It's urgent.", " My glasses are broken.", " Answer in English."]  # fmt: skip


def _expand(rng: random.Random, template: str) -> str:
    """One reading of a template."""
    while True:
        found = re.search(r"\[([^\[\]()]*)\]|\(([^\[\]()]*)\)", template)
        if not found:
            return re.sub(r" +", " ", template).strip()
        if found[1] is not None:
            new = rng.choice(found[1].split("|"))
        else:
            new = rng.choice(found[2].split("|")) if rng.random() < 0.5 else ""
        template = template[: found.start()] + new + template[found.end() :]


def unseen(intent: str, wording: str) -> bool:
    """Whether a wording is kept out of training."""
    plain = re.sub(r"[^a-z{}]+", " ", wording.lower()).strip()
    if any(plain == re.sub(r"[^a-z]+", " ", p.lower()).strip() for p in PRESETS.get(intent, ())):
        return False
    return zlib.crc32(f"{intent}:{plain}".encode()) % 10 == 0


_QUESTION = (
    "what",
    "which",
    "who",
    "how",
    "is ",
    "are ",
    "do ",
    "does ",
    "where",
    "when",
    "can ",
    "could ",
    "would ",
    "was ",
    "were ",
    "has ",
    "have ",
    "any ",
    "in what",
    "in which",
    "at what",
    "at which",
    "on what",
    "on which",
)


def _greeted(rng: random.Random, text: str, share: float) -> tuple[str, bool]:
    """The text, in a ``share`` of the cases with words before it, unless it is a question; and whether it is one."""
    asks = text.lower().startswith(_QUESTION)
    if rng.random() < share and not asks:
        text = rng.choice(_BEFORE) + text
        asks = text.startswith(("can ", "could "))
    return text, asks


def _dress(rng: random.Random, text: str, careless: float) -> str:
    """Greeting, case, punctuation and typing errors, as they come, the latter ``careless`` times as often."""
    text, asks = _greeted(rng, text, 0.12)
    text = text[:1].upper() + text[1:]
    if text[-1].isalnum() or text[-1] == ")":
        k = rng.random()
        text += ("?" if asks else ".") if k < 0.78 else ""
    if rng.random() < 0.1:
        text += rng.choice(_AFTER)
    k = rng.random()
    if k < 0.12 * careless:
        text = text.lower()
    elif k < 0.12 * careless + 0.03:
        text = text.upper()
    return _mistype(rng, text) if rng.random() < 0.06 * careless else text


def _mistype(rng: random.Random, text: str) -> str:
    i = rng.randrange(max(1, len(text) - 1))
    k = rng.random()
    if k < 0.4:
        return text[:i] + text[i + 1 : i + 2] + text[i : i + 1] + text[i + 2 :]
    return text[:i] + text[i + 1 :] if k < 0.75 else text[:i] + text[i : i + 1] + text[i:]


def ask(
    rng: random.Random, intent: str, slots: tuple[str, ...] = (), held_out: bool = False, images: int = 1
) -> tuple[str, bool]:
    """An instruction, and whether its wording is one that training never uses.

    Of three images nobody asks for "both", except by naming one of them, which ``slots`` does.
    """
    if intent in PRESETS and rng.random() < 0.22:
        return rng.choice(PRESETS[intent]), False
    want_unseen = held_out and rng.random() < 0.5
    for _ in range(200):
        wording = _expand(rng, rng.choice(GRAMMAR[intent]))
        if images == 3 and not slots and _OF_TWO.search(wording):
            continue
        if unseen(intent, wording) == want_unseen:
            break
    new = unseen(intent, wording)
    if not slots:
        return _dress(rng, wording, 1 if held_out else 2), new
    filled = wording.format(*slots) if wording.count("{}") == len(slots) else wording.replace("{}", slots[0])
    # What is asked about keeps its letters: it has to be found in the picture.
    filled, asks = _greeted(rng, filled, 0.1)
    if rng.random() < 0.85:
        filled += "?" if asks else "."
    return (filled.lower() if rng.random() < 0.25 else filled[:1].upper() + filled[1:]), new
