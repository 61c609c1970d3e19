"""A question with its images and what was said before, as the model takes it."""

from collections.abc import Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
from PIL import Image

from .image_processing_phi3_v import hd_transform
from .kv_cache import image_key
from .literal import literal_text
from .processing_phi3_v import Phi3VProcessor


@dataclass(frozen=True)
class Prompt:
    """Token ids, and the images of their image positions.

    Attributes:
        ids: of the whole prompt.
        pixels: the images after the HD transform, uint8 (height, width, 3), in order.
        image_keys: their `image_key`s, whose parts may not be there yet.
        tokens_of_image: positions that each image takes.
        num_crops: crops that each takes at most.
        image_token_id: what `ids` has at image positions.
    """

    ids: list[int]
    pixels: list[np.ndarray]
    image_keys: list[list[Future]]
    tokens_of_image: list[int]
    num_crops: int
    image_token_id: int

    @cached_property
    def keys(self) -> list[Hashable]:
        """`ids`, but images in place of their positions' one id: equal where the model sees the same."""
        pairs = zip(self.image_keys, self.tokens_of_image, strict=True)
        keys = iter([key for parts, count in pairs for key in [b"".join(part.result() for part in parts)] * count])
        return [next(keys) if token == self.image_token_id else token for token in self.ids]

    def pixels_from(self, position: int) -> list[np.ndarray]:
        """Those of the images that begin at this position or later."""
        before = self.ids[:position].count(self.image_token_id)
        ends = accumulate(self.tokens_of_image)
        return self.pixels[sum(end <= before for end in ends) :]


class Prompter:
    """Writes prompts in the chat format. Words are text: chat markup or image tags in them are read as characters."""

    def __init__(self, processor: Phi3VProcessor, context_length: int):
        self.processor = processor
        self.context_length = context_length
        self._literal = literal_text(processor.tokenizer)

    def __call__(
        self, question: str, images: Sequence[Image.Image], history: Sequence[dict], num_crops: int
    ) -> Prompt:
        """The prompt for a question; arguments as of `Phi3Vision.stream`.

        Raises:
            ValueError: the question is empty, a message has another role, an image is too thin, or the context does
                not hold the prompt.
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
        tokens = self.image_tokens([image.size for image in all_images], num_crops)
        self._check_length(sum(tokens))  # before the text is looked at, since so many ids would take long
        text = self.processor.apply_chat_template(guarded, add_generation_prompt=True)
        ids = self.processor.encode(text, tokens)
        self._check_length(len(ids))
        pixels = [np.asarray(hd_transform(image, num_crops)) for image in all_images]
        threads = ThreadPoolExecutor()  # those of a pool that is kept would not survive a fork
        image_keys = [image_key(each, threads) for each in pixels]
        threads.shutdown(wait=False)
        return Prompt(ids, pixels, image_keys, tokens, num_crops, self.processor.image_token_id)

    def image_tokens(self, sizes: Sequence[tuple[int, int]], num_crops: int) -> list[int]:
        """Prompt positions that images of these sizes (width, height in pixels) would take."""
        return [self.processor.image_processor.num_image_tokens(*size, num_crops) for size in sizes]

    def _guard(self, part: dict) -> dict:
        return {"type": "text", "text": self._literal(part["text"])} if part["type"] == "text" else part

    def _check_length(self, tokens: int) -> None:
        if tokens >= self.context_length:
            raise ValueError(
                f"The prompt takes {tokens:,} tokens and the model's context holds {self.context_length:,}. Use fewer "
                "images, fewer crops or a shorter question."
            )
