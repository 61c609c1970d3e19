"""Where the words on the pictures come from: lists, endings, invented words, names, numbers, codes, sentences.

A tenth of the listed words (by hash) is held out of training; evaluation uses them half of the time. Invented words
follow the letter statistics of the list, so that the model learns to read letters and not only to know words.
"""

import random
import string
import zlib
from collections import defaultdict

from . import words as lists


def held(word: str) -> bool:
    """Whether a word is kept out of training."""
    return zlib.crc32(word.lower().encode()) % 10 == 0


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    words = sorted(set(words))
    return [w for w in words if not held(w)], [w for w in words if held(w)]


NOUNS, ADJECTIVES, VERBS = _split(lists.NOUNS), _split(lists.ADJS), _split(lists.VERBS)
SUFFIXES = {
    "nouns": ["s", "s", "'s", "less", "ful", "like", "ship", "y"],
    "adjectives": ["er", "est", "ly", "ness", "ish"],
    "verbs": ["ing", "ed", "er", "s", "able", "ment"],
}
PREFIXES = ["un", "re", "over", "out", "sub", "inter", "non", "pre", "super", "mis", "anti", "micro"]


def _letters() -> dict[str, list[str]]:
    """Which letter follows each pair of letters in the training words ("^" begins a word, "$" ends it)."""
    table = defaultdict(list)
    for word in NOUNS[0] + ADJECTIVES[0] + VERBS[0] + [w.lower() for w in lists.LAST + lists.FIRST]:
        padded = f"^^{word}$"
        for i in range(len(padded) - 2):
            table[padded[i : i + 2]].append(padded[i + 2])
    return table


_NEXT = _letters()


def invented(rng: random.Random, longest: int = 11) -> str:
    """A word that looks English and is in no list."""
    while True:
        word = "^^"
        while len(word) < longest + 2:
            following = rng.choice(_NEXT[word[-2:]])
            if following == "$":
                break
            word += following
        if len(word) >= 5:
            return word[2:]


def pick(rng: random.Random, pair: tuple[list[str], list[str]], held_out: bool) -> str:
    """A word of a list; a held-out one half of the time in evaluation."""
    return rng.choice(pair[1] if held_out and rng.random() < 0.5 else pair[0])


def noun(rng: random.Random, held_out: bool = False) -> str:
    """A noun."""
    return pick(rng, NOUNS, held_out)


def adjective(rng: random.Random, held_out: bool = False) -> str:
    """An adjective."""
    return pick(rng, ADJECTIVES, held_out)


def derived(rng: random.Random, held_out: bool = False) -> str:
    """A listed word with an ending or a prefix."""
    kind, pair = rng.choice((("nouns", NOUNS), ("adjectives", ADJECTIVES), ("verbs", VERBS)))
    word = pick(rng, pair, held_out)
    if rng.random() < 0.25:
        word = rng.choice(PREFIXES) + word
    return word + rng.choice(SUFFIXES[kind]) if rng.random() < 0.8 else word


def money(rng: random.Random) -> str:
    """An amount as on a price tag."""
    sign = rng.choice("$$$€£")
    return rng.choice(
        (
            f"{sign}{rng.randint(0, 999)}.{rng.randint(0, 99):02d}",
            f"{sign}{rng.randint(1, 999)}",
            f"{sign}{rng.randint(1, 999)},{rng.randint(0, 999):03d}",
            f"{sign}{rng.randint(1, 99)}.{rng.randint(0, 9)}{rng.choice('BMK')}",
        )
    )


def date(rng: random.Random) -> str:
    """A date in one of the usual forms."""
    y, m, d = rng.randint(1980, 2035), rng.randint(1, 12), rng.randint(1, 28)
    month = lists.CATEGORIES[2][m - 1]
    return rng.choice(
        (f"{m:02d}/{d:02d}/{y}", f"{y}-{m:02d}-{d:02d}", f"{d}.{m}.{y}", f"{month} {d}, {y}", f"{d} {month} {y}")
    )


def code(rng: random.Random) -> str:
    """A number, time, amount, percentage or code."""
    return rng.choice(
        (
            lambda: str(rng.randint(0, 9999)),
            lambda: str(rng.randint(0, 99)),
            lambda: f"{rng.randint(0, 99)}.{rng.randint(0, 99):02d}",
            lambda: f"{rng.randint(1, 23)}:{rng.randint(0, 59):02d}",
            lambda: money(rng),
            lambda: date(rng).split(" ")[0],
            lambda: f"{rng.randint(1, 100)}%",
            lambda: f"#{rng.randint(1, 999)}",
            lambda: f"{rng.randint(100, 999)}-{rng.randint(0, 9999):04d}",
            lambda: "".join(rng.choices(string.ascii_uppercase + string.digits, k=rng.randint(2, 8))),
            lambda: f"{invented(rng, 6)}@{invented(rng, 6)}.{rng.choice(('com', 'org', 'net'))}",
            lambda: f"www.{invented(rng, 8)}.{rng.choice(('com', 'org', 'net'))}",
        )
    )()


def word(rng: random.Random, held_out: bool = False) -> str:
    """A word of any kind."""
    k = rng.random()
    if k < 0.34:
        return pick(rng, rng.choice((NOUNS, ADJECTIVES, VERBS)), held_out)
    if k < 0.5:
        return derived(rng, held_out)
    if k < 0.62:
        return rng.choice(lists.FUNC)
    if k < 0.82:
        return invented(rng)
    if k < 0.92:
        return code(rng)
    letters = string.ascii_lowercase if rng.random() < 0.6 else string.ascii_letters
    return "".join(rng.choices(letters, k=rng.randint(1, 8)))


def cap(text: str) -> str:
    """First letter upper case, the rest as it is."""
    return text[:1].upper() + text[1:]


def phrase(rng: random.Random, count: int, held_out: bool = False) -> list[str]:
    """A few words in one of the usual cases, sometimes with punctuation."""
    out = [word(rng, held_out) for _ in range(count)]
    k = rng.random()
    if k < 0.35:
        out = [cap(w) for w in out]
    elif k < 0.62:
        out = [w.upper() for w in out]
    elif k < 0.82:
        out[0] = cap(out[0])
    if rng.random() < 0.25:
        out[-1] += rng.choice(".!?,:;")
    if rng.random() < 0.08:
        i = rng.randrange(count)
        out[i] = rng.choice(
            ("({})", '"{}"', "'{}'", "{}&", "{}-", "*{}", "{}%", "@{}", "+{}", "={}", "[{}]", "{}/")
        ).format(out[i])
    return out


def sentences(rng: random.Random, count: int, held_out: bool = False) -> list[str]:
    """``count`` words of running text; some are invented, so that each has to be read."""
    out: list[str] = []

    def either(known) -> str:
        return known(rng, held_out) if rng.random() < 0.8 else invented(rng)

    while len(out) < count:
        if rng.random() < 0.6:
            verb = rng.choice(lists.VERBS) + rng.choice(("s", "ed", "", "ing"))
            link = rng.choice(("the", "a", "our", "my", "in the", "on the", "with a", "to the", "and the", "for a"))
            subject = [rng.choice(("the", "a", "this", "every", "our")), either(adjective), either(noun)]
            new = [*subject, verb, *link.split(), either(noun)]
        else:
            new = [word(rng, held_out) for _ in range(rng.randint(3, 8))]
        if rng.random() < 0.15:
            new[-2] += ","
        new[0] = cap(new[0])
        new[-1] += rng.choice("....,!?")
        out += new
    return out[:count]


def person(rng: random.Random) -> str:
    """A person's name."""
    first = rng.choice(lists.FIRST) if rng.random() < 0.65 else cap(invented(rng, 8))
    last = rng.choice(lists.LAST) if rng.random() < 0.55 else cap(invented(rng, 10))
    if rng.random() < 0.12:
        first = first[0] + "."
    if rng.random() < 0.12:
        last = rng.choice((rng.choice(string.ascii_uppercase) + ". ", "van ", "de ", "Mc", "O'")) + last
    return f"{first} {last}"


def title(rng: random.Random, held_out: bool = False) -> list[str]:
    """The words of a book's title."""
    n, a = (lambda: noun(rng, held_out)), (lambda: adjective(rng, held_out))
    parts = rng.choice(
        (
            lambda: ["The", a(), n()],
            lambda: ["The", n(), "of", n()],
            lambda: ["A", n(), "in", "the", n()],
            lambda: [a(), n()],
            lambda: [n(), "and", n()],
            lambda: ["How", "to", rng.choice(lists.VERBS), "a", n()],
            lambda: [n()],
            lambda: [a()],
            lambda: ["The", invented(rng), n()],
            lambda: [invented(rng), rng.choice(("of", "and", "in", "for")), invented(rng)],
            lambda: [word(rng, held_out) for _ in range(rng.randint(1, 4))],
        )
    )()
    small = ("of", "and", "in", "the", "to", "a", "for")
    parts = [w if w in small and i else cap(w) for i, w in enumerate(parts)]
    if rng.random() < 0.05:
        parts.append(str(rng.randint(2, 2030)))
    return parts
