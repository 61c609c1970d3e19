"""What can be asked about a chart, and the answers."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from ..picture import Answer, Question, listing, quoted, stress

if TYPE_CHECKING:
    from .chart import Data, Drawn


def phrase_of(data: Data) -> str:
    """What sort of chart it is."""
    return {"lying bar": "bar chart"}.get(data.kind, f"{data.kind} chart")


def values_of(drawn: Drawn) -> Answer:
    """Names and values."""
    out: Answer = []
    for i, (name, label) in enumerate(zip(drawn.names, drawn.labels, strict=True)):
        out += [", " if i else "", name, ": ", label]
    return out


def questions(rng: random.Random, data: Data, drawn: Drawn) -> list[Question]:
    """Everything about one chart. Extremes are named after the values are listed: then they are easy to find."""
    what = phrase_of(data)
    i = rng.randrange(len(data.names))
    high, low = data.values.index(max(data.values)), data.values.index(min(data.values))
    listed = values_of(drawn)
    extremes = lambda k, word: stress([f"{word} is ", drawn.names[k], " with ", drawn.labels[k]])  # noqa: E731
    values: Answer = [f'The {what} is titled "', drawn.title, '". The values are ', *listed, "."]
    both = [*values, " ", *extremes(high, "The highest"), " and ", *extremes(low, "the lowest"), "."]
    table: Answer = ["| Name | Value |\n| --- | --- |"]
    record: Answer = ['{"title": ', *quoted(drawn.title), ', "values": {']
    for k, (name, label) in enumerate(zip(drawn.names, drawn.labels, strict=True)):
        table += ["\n| ", name, " | ", label, " |"]
        record += [', "' if k else '"', name, '": "', label, '"']
    answers = [
        Question("chart", "chart", both, weight=3),
        Question(
            "chart",
            "detail",
            ["The image shows a ", what, ' titled "', drawn.title, '". The values are ', *listed, "."],
        ),
        Question(
            "chart", "shown", [f'The image shows a {what} titled "', drawn.title, '" with the values ', *listed, "."]
        ),
        Question(
            "describe", "short", [f'A {what} titled "', drawn.title, f'" with {len(data.names)} values.'], weight=0.8
        ),
        Question("chart to table", "table", table, weight=0.8),
        Question("markdown", "markdown", ["# ", drawn.title, "\n\n", *table], weight=0.5),
        Question("json", "json", [*record, "}}"], weight=0.5),
        Question("chart extremes", "highest", [*_listed(listed), *extremes(high, "The highest"), "."], weight=3),
        Question("chart extremes", "lowest", [*_listed(listed), *extremes(low, "The lowest"), "."], weight=3),
        Question(
            "chart value",
            "value",
            ["The value of ", drawn.names[i], " is ", drawn.labels[i], "."],
            (data.names[i],),
            weight=1.2,
        ),
        Question("text", "chart_title", ['The title is "', drawn.title, '".'], weight=0.5),
        Question("chart", "categories", listing([[n] for n in drawn.names]), weight=0.4),
        Question("chart", "read", _reading(drawn), weight=0.6),
    ]
    return answers


def _listed(listed: Answer) -> Answer:
    return ["The values are ", *listed, ". "]


def _reading(drawn: Drawn) -> Answer:
    """All texts, as they stand."""
    pairs: Answer = []
    for name, label in zip(drawn.names, drawn.labels, strict=True):
        pairs += ["\n", name, " ", label]
    return [drawn.title, *pairs]
