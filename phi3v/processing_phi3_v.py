"""Phi-3-Vision processor: prompts with image tags, and images, to model inputs.

Token for token as Microsoft's `processing_phi3_v.py`, but for the image positions: the reference marks them with
negative ids, this processor with the tokenizer's own `<|image|>`.
"""

import re

from transformers.feature_extraction_utils import BatchFeature
from transformers.image_utils import ImageInput
from transformers.processing_utils import ProcessorMixin
from transformers.utils import TensorType

IMAGE_TOKEN = "<|image|>"
IMAGE_TAG = re.compile(r"<\|image_(\d+)\|>")

# The published template, which takes messages whose content is a string, extended to lists of images and texts.
CHAT_TEMPLATE = (
    "{%- set images = namespace(count=0) -%}"
    "{%- for message in messages -%}"
    "{{- '<|' + message['role'] + '|>\n' -}}"
    "{%- if message['content'] is string -%}"
    "{{- message['content'] -}}"
    "{%- else -%}"
    "{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' -%}"
    "{%- set images.count = images.count + 1 -%}"
    "{{- '<|image_' + images.count|string + '|>\n' -}}"
    "{%- elif part['type'] == 'text' -%}"
    "{{- part['text'] -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- endif -%}"
    "{{- '<|end|>\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt and messages[-1]['role'] != 'assistant' -%}"
    "{{- '<|assistant|>\n' -}}"
    "{%- endif -%}"
)


class Phi3VProcessor(ProcessorMixin):
    """A [`Phi3VImageProcessor`] and a tokenizer.

    ```python
    inputs = processor(text="<|user|>\\n<|image_1|>\\nWhat is shown?<|end|>\\n<|assistant|>\\n", images=[image])
    inputs = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True)
    ```
    """

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None, **kwargs):
        super().__init__(image_processor, tokenizer, chat_template=chat_template or CHAT_TEMPLATE)
        self.image_token = IMAGE_TOKEN
        self.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)

    @property
    def model_input_names(self) -> list[str]:
        return ["input_ids", "attention_mask", "pixel_values", "image_sizes"]

    def __call__(
        self,
        text: str | list[str] | None = None,
        images: ImageInput | list[ImageInput] | None = None,
        padding: bool | str = True,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        return_tensors: str | TensorType | None = "pt",
        *,
        num_crops: int | None = None,
        videos: None = None,
        audio: None = None,
    ) -> BatchFeature:
        """Model inputs of one prompt or several.

        Args:
            text: prompts in the chat format, `<|image_1|>`, `<|image_2|>`, … where each one's images go. Without
                images a tag stays plain text. Nothing is added.
            images: the images of the prompts in order, as one flat list or a list per prompt; PIL images, arrays, or
                paths and URLs to load.
            padding: prompts of different length are padded on the left, the side that `generate` continues from.
            truncation, max_length: as of the tokenizer, for prompts without images.
            num_crops: overrides the image processor's own.

        Returns:
            `input_ids` and `attention_mask` (prompts, tokens); with images also `pixel_values` (images, num_crops + 1,
            3, 336, 336) and `image_sizes` (images, 2), height and width in pixels.

        Raises:
            ValueError: `text` is missing; videos or audio are given; a prompt's tags are not 1 … n, each once, for its
                n images; a prompt holds `<|image|>` beside images, or would be truncated; an image is too thin.
        """
        if text is None:
            raise ValueError("`text` is missing: a prompt in the chat format.")
        if videos is not None or audio is not None:
            raise ValueError("Phi-3-Vision takes text and images; videos and audio it does not.")
        prompts = [text] if isinstance(text, str) else list(text)
        images_of = self._images_of_prompts(prompts, images)
        flat = self.image_processor.fetch_images([image for images in images_of for image in images])

        data, tokens_of_image = {}, iter(())
        if flat:
            data = self.image_processor.preprocess(flat, num_crops=num_crops)
            tokens_of_image = iter(data.pop("num_img_tokens"))
        sequences = [
            self.encode(prompt, [next(tokens_of_image) for _ in images], truncation=truncation, max_length=max_length)
            for prompt, images in zip(prompts, images_of, strict=True)
        ]
        length = max_length if padding == "max_length" else None
        encoded = self.tokenizer.pad({"input_ids": sequences}, padding=padding, max_length=length, padding_side="left")
        return BatchFeature({**encoded, **data}, tensor_type=return_tensors)

    def _images_of_prompts(self, prompts: list[str], images) -> list[list]:
        if images is None:
            return [[] for _ in prompts]
        if not isinstance(images, list | tuple):
            images = [images]
        if images and isinstance(images[0], list | tuple):
            if len(images) != len(prompts):
                raise ValueError(f"{len(prompts)} prompts, but lists of images for {len(images)}.")
            return [list(of_prompt) for of_prompt in images]
        if len(prompts) == 1:
            return [list(images)]
        counts = [len(set(IMAGE_TAG.findall(prompt))) for prompt in prompts]
        if sum(counts) != len(images):
            raise ValueError(f"The prompts have {sum(counts)} image tags, but {len(images)} images were given.")
        remaining = iter(images)
        return [[next(remaining) for _ in range(count)] for count in counts]

    def encode(self, prompt: str, tokens_of_image: list[int], truncation=None, max_length=None) -> list[int]:
        """Token ids of a prompt whose images take that many tokens each.

        Text between tags is encoded piece by piece, each with a BOS where the tokenizer adds one.

        Raises:
            ValueError: as of a call.
        """
        if not tokens_of_image:
            # Unlike the reference this ignores an empty list of images, there an IndexError.
            return self.tokenizer(prompt, truncation=truncation, max_length=max_length).input_ids
        if truncation:
            raise ValueError("A prompt with images can't be truncated: an image would lose some of its positions.")
        if self.image_token in prompt:
            raise ValueError(f"The prompt contains {self.image_token!r}. Mark images with <|image_1|>, <|image_2|>, …")
        # Split at the capturing group: text, number, text, number, …, text.
        pieces = IMAGE_TAG.split(prompt)
        tags = [int(number) for number in pieces[1::2]]
        if sorted(tags) != list(range(1, len(tokens_of_image) + 1)):
            given = ", ".join(f"<|image_{tag}|>" for tag in tags) or "no image tag"
            raise ValueError(
                f"{len(tokens_of_image)} images need the tags <|image_1|> … <|image_{len(tokens_of_image)}|>, "
                f"each once; the prompt has {given}."
            )
        ids = list(self.tokenizer(pieces[0]).input_ids)
        for tag, piece in zip(tags, pieces[2::2], strict=True):
            ids += [self.image_token_id] * tokens_of_image[tag - 1]
            ids += self.tokenizer(piece).input_ids
        return ids


__all__ = ["Phi3VProcessor"]
