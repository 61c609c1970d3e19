"""The bundled model answers the examples that each tab offers."""

import json

import pytest
from PIL import Image

from phi3v import Phi3Vision
from phi3v.app.tasks import COMPARE_EXAMPLES, DESCRIBE_EXAMPLES, OCR, OCR_EXAMPLES


@pytest.fixture(scope="module")
def engine():
    return Phi3Vision.from_pretrained()


def ask(engine, files, question):
    images = [Image.open(file).convert("RGB") for file in ([files] if isinstance(files, str) else files)]
    return engine.answer(question, images).text


@pytest.mark.parametrize(
    ("example", "facts"),
    [
        (0, ["red circle at the top left", "yellow star in the center", "blue square at the bottom right"]),
        (1, ["Maple Avenue"]),
        (2, ["| 2020 | $18.2B |", "| 2023 | $28.9B |", "| 2025 | $47.5B |"]),
    ],
)
def test_describe(engine, example, facts):
    answer = ask(engine, *DESCRIBE_EXAMPLES[example])
    assert [fact for fact in facts if fact not in answer] == []


def test_ocr(engine):
    (cover, title), (receipt, fields), (table, markdown) = OCR_EXAMPLES
    answer = ask(engine, cover, OCR[title].prompt)
    assert "ALONE" in answer and "Morgan Maxwell" in answer
    read = json.loads(ask(engine, receipt, OCR[fields].prompt))
    assert read["store"] == "CORNER BAKERY" and read["total"] == "$14.25" and len(read["items"]) == 4
    rows = ask(engine, table, OCR[markdown].prompt).splitlines()
    assert rows[0] == "| City | Country | Founded |" and rows[2] == "| Oslo | Norway | 1048 |" and len(rows) == 6


@pytest.mark.parametrize(
    ("example", "conclusion"),
    [
        (0, "is blue in the first image and orange in the second."),
        (1, "the value of Wed: 33 in the first image and 18 in the second."),
        (2, "Both images show a yellow star on the left"),
    ],
)
def test_compare(engine, example, conclusion):
    assert conclusion in ask(engine, *COMPARE_EXAMPLES[example])


def test_says_that_there_is_no_text(engine):
    assert ask(engine, DESCRIBE_EXAMPLES[0][0], OCR["text"].prompt) == "There is no text in this image."
