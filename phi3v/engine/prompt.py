"""A question with its images and what was said before, as the model takes it."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property

from PIL import Image

from ..model.processing_phi3_v import Phi3VProcessor
from .kv_cache import Pixels
from .literal import literal_text


@dataclass(frozen=True)
class Prompt:
    """A question with its images, which becomes token ids when those are first asked for.

    Attributes:
        processor: the checkpoint's.
        messages: chat messages, their texts guarded.
        images: of any mode, decoded, in order.
        tokens_of_image: positions that each image takes.
        num_crops: crops that each takes at most.
        context_length: tokens that it is shorter than.
    """

    processor: Phi3VProcessor
    messages: list[dict]
    images: list[Image.Image]
    tokens_of_image: list[int]
    num_crops: int
    context_length: int

    @cached_property
    def ids(self) -> list[int]:
        """Token ids.

        Raises:
            ValueError: the context does not hold them.
        """
        text = self.processor.apply_chat_template(self.messages, add_generation_prompt=True)
        ids = self.processor.encode(text, self.tokens_of_image)
        self.check_length(len(ids))
        return ids

    @cached_property
    def starts(self) -> list[int]:
        """The first position of each image."""
        starts, end = [], 0
        for count in self.tokens_of_image:
            starts.append(self.ids.index(self.processor.image_token_id, end))
            end = starts[-1] + count
        return starts

    def keys(self, images: Sequence[Pixels]) -> list[int | Pixels]:
        """`ids`, but these images in place of their positions' one id."""
        keys: list[int | Pixels] = list(self.ids)
        for image, start, count in zip(images, self.starts, self.tokens_of_image, strict=True):
            keys[start : start + count] = [image] * count
        return keys

    def placed(self, images: Sequence[Pixels], position: int) -> list[tuple[int, Pixels]]:
        """Where those of its images begin that begin at this position or later, and these in place of them."""
        return [(start, image) for start, image in zip(self.starts, images, strict=True) if start >= position]

    def check_length(self, tokens: int) -> None:
        """Raises a ValueError if the context does not hold so many."""
        if tokens >= self.context_length:
            anew = ", or begin a new conversation" if len(self.messages) > 1 else ""
            raise ValueError(
                f"The prompt takes {tokens:,} tokens and the model's context holds {self.context_length:,}. Use fewer "
                f"images, fewer crops or a shorter question{anew}."
            )


class Prompter:
    """Writes prompts in the chat format. Words are text: chat markup or image tags in them are read as characters.

    Args:
        processor: the checkpoint's.
        context_length: tokens that a prompt is shorter than.
    """

    def __init__(self, processor: Phi3VProcessor, context_length: int):
        self.processor = deepcopy(processor)  # the caller's stays as it is, to be used and saved
        self.context_length = context_length
        self._literal = literal_text(self.processor.tokenizer)

    def __call__(
        self, question: str, images: Sequence[Image.Image], history: Sequence[dict], num_crops: int
    ) -> Prompt:
        """The prompt for a question; arguments as of `Phi3Vision.stream`.

        Raises:
            ValueError: the question is empty, a message has another role, an image is none or too thin, or the context
                does not hold the prompt.
        """
        if not question.strip():
            raise ValueError("The question is empty. Write what you want to know.")
        content = [{"type": "image", "image": image} for image in images]
        content.append({"type": "text", "text": question.strip()})
        guarded, all_images = [], []
        for message in [*history, {"role": "user", "content": content}]:
            if message["role"] not in ("user", "assistant"):
                raise ValueError(f"Messages are of the role 'user' or 'assistant', not {message['role']!r}.")
            parts = message["content"]
            if isinstance(parts, str):
                parts = [{"type": "text", "text": parts}]
            all_images += [part["image"] for part in parts if part["type"] == "image"]
            guarded.append({"role": message["role"], "content": [self._guard(part) for part in parts]})
        for image in all_images:
            if not isinstance(image, Image.Image):
                raise ValueError(
                    f"An image is a PIL image, not {type(image).__name__}; `phi3v.open_image` opens files."
                )
        tokens = self.image_tokens([image.size for image in all_images], num_crops)
        prompt = Prompt(self.processor, guarded, all_images, tokens, num_crops, self.context_length)
        prompt.check_length(sum(tokens))  # before the text is looked at, since so many ids would take long
        # What a CPU has to do for a text can wait until a GPU is busy with the images, unless it may be too long.
        texts = [part["text"] for message in guarded for part in message["content"] if part["type"] == "text"]
        most = sum(tokens) + sum(map(most_tokens, texts)) + most_tokens("") * (len(tokens) + len(guarded))
        if most >= self.context_length:
            prompt.check_length(len(prompt.ids))
        for image in all_images:
            image.load()  # what can't be decoded fails here
        return prompt

    def image_tokens(self, sizes: Sequence[tuple[int, int]], num_crops: int) -> list[int]:
        """Prompt positions that images of these sizes (width, height in pixels) would take."""
        return [self.processor.image_processor.num_image_tokens(*size, num_crops) for size in sizes]

    def _guard(self, part: dict) -> dict:
        return {"type": "text", "text": self._literal(part["text"])} if part["type"] == "text" else part


def most_tokens(text: str) -> int:
    """More tokens than a text takes, or what the chat format writes around it: one for each byte, and some."""
    return len(text.encode()) + 16
