"""What the tabs ask: their presets, and the exact words that the model gets."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..paths import EXAMPLES
from .conversation import Exchange


@dataclass(frozen=True)
class Preset:
    """A question with a short name."""

    label: str
    prompt: str


DESCRIBE = (
    Preset("Short caption", "Describe this image in one short sentence."),
    Preset("In detail", "Describe this image in detail."),
    Preset("Objects and counts", "List the objects in this image with their counts."),
    Preset("Explain this chart", "Explain this chart."),
    Preset("Table to Markdown", "Convert the table in this image to Markdown."),
)

# By the name that the API takes as `output_format`.
OCR = {
    "text": Preset("Plain text", "Read all the text in this image. Output only the text."),
    "markdown": Preset("Markdown", "Convert this document to Markdown. Output only the Markdown."),
    "json": Preset("JSON fields", "Extract the fields of this document as JSON. Output only the JSON."),
    "title and author": Preset("Title and author", "What is the title and author?"),
}

COMPARE = (
    Preset("Differences", "What is different between these images?"),
    Preset("Side by side", "Compare these images."),
    Preset("In common", "What do these images have in common?"),
)

DESCRIBE_EXAMPLES = [
    [str(EXAMPLES / "shapes.png"), "Describe this image in detail."],
    [str(EXAMPLES / "street_sign.png"), "What does the sign say?"],
    [str(EXAMPLES / "revenue_chart.png"), "Turn this chart into a table."],
]
OCR_EXAMPLES = [
    [str(EXAMPLES / "book_cover.png"), "title and author"],
    [str(EXAMPLES / "receipt.png"), "json"],
    [str(EXAMPLES / "table.png"), "markdown"],
]
COMPARE_EXAMPLES = [
    [[str(EXAMPLES / f"compare_{number}{letter}.png") for letter in "ab"], preset.prompt]
    for number, preset in enumerate(COMPARE, 1)
]

DEFAULT_QUESTION = "What is shown in this image?"
DEFAULT_COMPARISON = COMPARE[0].prompt
MAX_QUESTION_CHARACTERS = 4000
MAX_HISTORY_CHARACTERS = 400_000  # about what the longest context holds; encoding takes a second for each million
MAX_EXCHANGES = 100  # of a conversation
MIN_IMAGES = 2
CROPS_OF_A_SET = 4  # what the model card advises for several images; 16 for one


def describe_question(image, question: str) -> str:
    """The question about one image.

    Raises:
        ValueError: there is no image, or the question is too long.
    """
    if not image:
        raise ValueError("There is no image yet. Drop one, paste one or pick an example.")
    return _bounded(question) or DEFAULT_QUESTION


def ocr_question(documents: Sequence, output_format: str) -> str:
    """The instruction that reads a document in one of the formats of `OCR`.

    Raises:
        ValueError: there is no document, or the format is unknown.
    """
    if not documents:
        raise ValueError("There is no document yet. Drop an image or a PDF, paste an image or pick an example.")
    if output_format not in OCR:
        raise ValueError(f"Unknown output format {output_format!r}. Choose one of: {', '.join(OCR)}.")
    return OCR[output_format].prompt


def compare_question(images: Sequence | None, question: str, most: int) -> str:
    """The question about several images.

    Raises:
        ValueError: there are fewer than two images or more than `most`, or the question is too long.
    """
    count = len(images or ())
    if count < MIN_IMAGES:
        raise ValueError(f"A comparison needs at least {MIN_IMAGES} images; there {'is 1' if count else 'are none'}.")
    if count > most:
        raise ValueError(f"At most {most} images can be compared; there are {count}. Remove some.")
    return _bounded(question) or DEFAULT_COMPARISON


def chat_question(message: dict | None, most: int) -> tuple[str, list[str]]:
    """A message's words and image files.

    Raises:
        ValueError: there are no words, too many, or too many images.
    """
    message = message or {}
    text, files = _bounded(message.get("text")), list(message.get("files") or ())
    if not text:
        raise ValueError("There is no question yet. Write one.")
    if len(files) > most:
        raise ValueError(f"A message takes at most {most} images; there are {len(files)}. Remove some.")
    return text, files


def check_conversation(earlier: Sequence[Exchange]) -> None:
    """Raise `ValueError` if a conversation is longer than what a model could read, before any of it is encoded."""
    characters = sum(len(exchange.question) + len(exchange.answer) for exchange in earlier)
    if len(earlier) > MAX_EXCHANGES or characters > MAX_HISTORY_CHARACTERS:
        raise ValueError(
            f"The conversation is too long: {len(earlier)} exchanges with {characters:,} characters; the limits are "
            f"{MAX_EXCHANGES} and {MAX_HISTORY_CHARACTERS:,}. Begin a new one."
        )


def _bounded(question: str | None) -> str:
    question = str(question or "").strip()
    if len(question) > MAX_QUESTION_CHARACTERS:
        raise ValueError(f"The question has {len(question)} characters; the limit is {MAX_QUESTION_CHARACTERS}.")
    return question
