"""A conversation: questions with their images, and answers."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image


@dataclass
class Exchange:
    """A question, the image files that came with it, and the answer so far."""

    question: str
    files: Sequence[str] = ()
    answer: str = ""


def files_of(exchanges: Iterable[Exchange]) -> list[str]:
    """All image files, in order."""
    return [file for exchange in exchanges for file in exchange.files]


def as_history(exchanges: Iterable[Exchange], images: Iterable[Image.Image]) -> list[dict]:
    """Earlier turns as `Phi3Vision.stream` takes them; `images` are all files of the exchanges, opened."""
    images, history = iter(images), []
    for exchange in exchanges:
        content = [{"type": "image", "image": next(images)} for _ in exchange.files]
        content.append({"type": "text", "text": exchange.question})
        history.append({"role": "user", "content": content})
        history.append({"role": "assistant", "content": exchange.answer})
    return history


def to_markdown(exchanges: Iterable[Exchange], model: str) -> str:
    """The conversation to read, with the images' names."""
    lines = [f"# Conversation with {model}", ""]
    for exchange in exchanges:
        images = "".join(f"*{Path(file).name}*  \n" for file in exchange.files)
        lines += ["## You", "", images + exchange.question, "", f"## {model}", "", exchange.answer, ""]
    return "\n".join(lines)


def to_json(exchanges: Iterable[Exchange], model: str) -> str:
    """The conversation as chat messages; an image is its file's name."""
    messages = []
    for exchange in exchanges:
        content = [{"type": "image", "image": Path(file).name} for file in exchange.files]
        content.append({"type": "text", "text": exchange.question})
        messages.append({"role": "user", "content": content})
        messages.append({"role": "assistant", "content": exchange.answer})
    return json.dumps({"model": model, "messages": messages}, indent=2, ensure_ascii=False) + "\n"
