"""Running text as it stands in print: sentences of ``prose.txt`` with their gaps filled, and those of ``text.py``."""

import random
import re
from pathlib import Path

from . import text
from . import words as lists

# Nobody else's: written for this. No word in it is held out (a test checks that).
SENTENCES = Path(__file__).with_suffix(".txt").read_text().splitlines()
CHANGED = 0.06  # share of the words in whose place an invented one stands, so that each has to be read
GAPS = {
    "noun": text.noun,
    "nouns": lambda rng: text.noun(rng) + "s",
    "adjective": text.adjective,
    "verb": lambda rng: rng.choice(text.VERBS[0]),
    "name": text.person,
    "first": lambda rng: rng.choice(lists.FIRST),
    "city": lambda rng: rng.choice(lists.CITIES),
    "number": lambda rng: str(rng.randint(2, 99)),
    "big": lambda rng: f"{rng.randint(1000, 99999):,}",
    "year": lambda rng: str(rng.randint(1800, 2035)),
    "month": lambda rng: rng.choice(lists.CATEGORIES[3]),
    "day": lambda rng: rng.choice(lists.CATEGORIES[1]),
    "money": text.money,
    "percent": lambda rng: f"{rng.randint(1, 100)}%",
    "time": lambda rng: f"{rng.randint(1, 12)}:{rng.randint(0, 59):02d}",
    "invented": lambda rng: text.cap(text.invented(rng)),
}


def _sentence(rng: random.Random) -> list[str]:
    filled = re.sub(r"{(\w+)}", lambda gap: GAPS[gap[1]](rng), rng.choice(SENTENCES))
    words = filled.split(" ")
    for i, word in enumerate(words):
        if word.isalpha() and rng.random() < CHANGED:
            new = text.invented(rng)
            words[i] = text.cap(new) if word[0].isupper() else new
    return words


def passage(rng: random.Random, count: int, held_out: bool = False) -> list[str]:
    """``count`` words of running text. Only training has the sentences of ``prose.txt``, half of the time."""
    if held_out or rng.random() < 0.5:
        return text.sentences(rng, count, held_out)
    words: list[str] = []
    while len(words) < count:
        words += _sentence(rng)
    return words[:count]
