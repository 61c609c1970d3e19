"""Phi-3-Vision processor: prompts with image tags, and images, to model inputs.

Token for token as Microsoft's `processing_phi3_v.py`, but for the image positions: the reference marks them with
negative ids, this processor with the tokenizer's own `<|image|>`.
"""

import re
from collections.abc import Sequence

from transformers.feature_extraction_utils import BatchFeature
from transformers.image_utils import ImageInput
from transformers.processing_utils import ProcessingKwargs, ProcessorMixin, Unpack
from transformers.utils import TensorType

from .image_processing_phi3_v import Phi3VImagesKwargs

IMAGE_TOKEN = "<|image|>"
IMAGE_TAG = re.compile(r"<\|image_(\d+)\|>")

# The published template, which takes messages whose content is a string, extended to lists of images and texts. What
# the assistant says is marked for `return_assistant_tokens_mask`.
CHAT_TEMPLATE = (
    "{%- set images = namespace(count=0) -%}"
    "{%- for message in messages -%}"
    "{%- set turn = namespace(text='') -%}"
    "{%- if message['content'] is string -%}"
    "{%- set turn.text = message['content'] -%}"
    "{%- else -%}"
    "{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' -%}"
    "{%- set images.count = images.count + 1 -%}"
    "{%- set turn.text = turn.text + '<|image_' + images.count|string + '|>\n' -%}"
    "{%- elif part['type'] == 'text' -%}"
    "{%- set turn.text = turn.text + part['text'] -%}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- endif -%}"
    "{{- '<|' + message['role'] + '|>\n' -}}"
    "{%- if message['role'] == 'assistant' -%}"
    "{%- generation -%}{{- turn.text + '<|end|>' -}}{%- endgeneration -%}"
    "{%- else -%}"
    "{{- turn.text + '<|end|>' -}}"
    "{%- endif -%}"
    "{{- '\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt and messages[-1]['role'] != 'assistant' -%}"
    "{{- '<|assistant|>\n' -}}"
    "{%- endif -%}"
)

# Columns that tokenizers give for the asking, beside ids and mask, and what padding is in each.
COLUMNS = {"offset_mapping": (0, 0), "special_tokens_mask": 1, "token_type_ids": 0, "mm_token_type_ids": 0}
# Of an image processor's flags, those that can be given, since they ask for what is done anyway.
IMAGE_FLAGS = {
    **dict.fromkeys(("do_convert_rgb", "do_resize", "do_rescale", "do_normalize", "do_pad"), True),
    "do_center_crop": False,
}
ASKED_FOR = ("return_offsets_mapping", "return_special_tokens_mask", "return_token_type_ids")
UNSUPPORTED = (
    "text_pair",
    "text_target",
    "text_pair_target",
    "is_split_into_words",
    "return_overflowing_tokens",
    "stride",
)


class Phi3VProcessorKwargs(ProcessingKwargs, total=False):
    images_kwargs: Phi3VImagesKwargs
    _defaults = {}  # transformers 5.22 asks for them


class Phi3VProcessor(ProcessorMixin):
    """A [`Phi3VImageProcessor`] and a tokenizer.

    ```python
    inputs = processor(text="<|user|>\\n<|image_1|>\\nWhat is shown?<|end|>\\n<|assistant|>\\n", images=[image])
    inputs = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True)
    ```
    """

    valid_processor_kwargs = Phi3VProcessorKwargs

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None, **kwargs):
        super().__init__(image_processor, tokenizer, chat_template=chat_template or CHAT_TEMPLATE)
        self.image_token = IMAGE_TOKEN
        self.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)

    @property
    def model_input_names(self) -> list[str]:
        return ["input_ids", "attention_mask", "pixel_values", "image_sizes"]

    @classmethod
    def from_pretrained(cls, *args, padding_side: str | None = None, **kwargs):
        """As everywhere. Padding is on the left unless the caller says otherwise, whatever the tokenizer's file says.

        The published one says right, and `generate` continues from the left alone.
        """
        loaded = super().from_pretrained(*args, **kwargs)
        processor = loaded[0] if isinstance(loaded, tuple) else loaded
        processor.tokenizer.padding_side = padding_side or "left"
        return loaded

    def __call__(
        self,
        text: str | list[str] | None = None,
        images: ImageInput | list[ImageInput] | None = None,
        padding: bool | str | None = None,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        return_tensors: str | TensorType | None = "pt",
        *,
        videos: None = None,
        audio: None = None,
        **kwargs: Unpack[Phi3VProcessorKwargs],
    ) -> BatchFeature:
        """Model inputs of one prompt or several.

        Args:
            text: prompts in the chat format, `<|image_1|>`, `<|image_2|>`, … where each one's images go. Without
                images a tag stays plain text. Nothing is added.
            images: the images of the prompts in order, as one flat list or a list per prompt; PIL images, arrays, or
                paths and URLs to load.
            padding: as of the tokenizer; by default prompts of different length are padded, on the tokenizer's
                `padding_side`.
            truncation, max_length: as of the tokenizer, for prompts without images; none of those with images may be
                longer. A length without `truncation` and `padding` truncates.
            kwargs: transformers' other keywords for processing, flat or as `text_kwargs`, `images_kwargs` and
                `common_kwargs`. `num_crops` overrides the image processor's own. Without `add_special_tokens` a prompt
                begins without BOS; that after each image, which the model knows as a part of it, stays.

        Returns:
            `input_ids` and `attention_mask` (prompts, tokens); with images also `pixel_values` (images, num_crops + 1,
            3, 336, 336) and `image_sizes` (images, 2), height and width in pixels.

        Raises:
            ValueError: `text` is missing; videos or audio are given; a prompt's tags are not 1 … n, each once, for its
                n images; a prompt holds `<|image|>` beside images, or would be truncated; an image is too thin; a
                keyword asks for what this processor does not do.
        """
        if text is None:
            raise ValueError("`text` is missing: a prompt in the chat format.")
        if videos is not None or audio is not None:
            raise ValueError("Phi-3-Vision takes text and images; videos and audio it does not.")
        given = {"padding": padding, "truncation": truncation, "max_length": max_length}
        given = {name: value for name, value in given.items() if value is not None}
        # Without what the tokenizer was made with, as in its own calls: its file may name a length to cut at.
        merged = self._merge_kwargs(Phi3VProcessorKwargs, **given, **kwargs)
        text_kwargs, images_kwargs = merged["text_kwargs"], merged["images_kwargs"]
        return_tensors = text_kwargs.get("return_tensors", return_tensors)
        others = {name: value for name, value in images_kwargs.items() if value is not None}
        others = {name: value for name, value in others.items() if IMAGE_FLAGS.get(name) is not value}
        images_kwargs = {name: others.pop(name) for name in ("num_crops", "device") if name in others}
        others.pop("return_tensors", None)
        for name in [*others, *(name for name in UNSUPPORTED if text_kwargs.get(name))]:
            raise ValueError(f"Phi-3-Vision's processor has no `{name}`.")
        prompts = [text] if isinstance(text, str) else list(text)
        images_of = self._images_of_prompts(prompts, images)
        flat = self.image_processor.fetch_images([image for images in images_of for image in images])

        data, tokens_of_image = {}, iter(())
        if flat:
            data = self.image_processor.preprocess(flat, **images_kwargs)
            tokens_of_image = iter(data.pop("num_img_tokens"))
        wanted = {name: True for name in ASKED_FOR if text_kwargs.get(name)}
        if text_kwargs.get("sanitize_control_tokens"):
            wanted["sanitize_control_tokens"] = True
        settings = {name: text_kwargs[name] for name in ("truncation", "max_length") if name in text_kwargs}
        if settings.get("truncation") is None and not text_kwargs.get("padding"):
            settings["truncation"] = settings.get("max_length") is not None
        settings["add_special_tokens"] = text_kwargs.get("add_special_tokens", True) is not False
        rows = [
            self._columns(prompt, [next(tokens_of_image) for _ in images], **settings, **wanted)
            for prompt, images in zip(prompts, images_of, strict=True)
        ]
        if merged.get("return_mm_token_type_ids") or text_kwargs.get("return_mm_token_type_ids"):
            for row in rows:
                row["mm_token_type_ids"] = [int(token == self.image_token_id) for token in row["input_ids"]]
        encoded = self._padded(rows, text_kwargs)
        if text_kwargs.get("return_length"):
            encoded["length"] = [len(row["input_ids"]) for row in rows]
        return BatchFeature({**encoded, **data}, tensor_type=return_tensors)

    def _padded(self, rows: list[dict[str, list]], text_kwargs: dict) -> dict[str, list]:
        """Columns of all prompts, filled up to one length."""
        padding, side = (
            text_kwargs.get("padding", True),
            text_kwargs.get("padding_side") or self.tokenizer.padding_side,
        )
        encoded = dict(
            self.tokenizer.pad(
                {"input_ids": [row["input_ids"] for row in rows]},
                padding=padding,
                padding_side=side,
                max_length=text_kwargs.get("max_length") if padding == "max_length" else None,
                pad_to_multiple_of=text_kwargs.get("pad_to_multiple_of"),
            )
        )
        if text_kwargs.get("return_attention_mask") is False:
            del encoded["attention_mask"]
        for name in rows[0].keys() & COLUMNS.keys():
            columns = []
            for row, ids in zip(rows, encoded["input_ids"], strict=True):
                fill = [COLUMNS[name]] * (len(ids) - len(row[name]))
                columns.append(row[name] + fill if side == "right" else fill + row[name])
            encoded[name] = columns
        return encoded

    def _images_of_prompts(self, prompts: list[str], images) -> list[list]:
        if images is None:
            return [[] for _ in prompts]
        if not isinstance(images, list | tuple):
            images = [images]
        if any(isinstance(of_prompt, list | tuple) for of_prompt in images):
            if len(images) != len(prompts):
                raise ValueError(f"{len(prompts)} prompts, but lists of images for {len(images)}.")
            return [list(of_prompt or ()) for of_prompt in images]
        images = [image for image in images if image is not None]
        if len(prompts) == 1:
            return [list(images)]
        counts = [len(set(IMAGE_TAG.findall(prompt))) for prompt in prompts]
        if sum(counts) != len(images):
            raise ValueError(f"The prompts have {sum(counts)} image tags, but {len(images)} images were given.")
        remaining = iter(images)
        return [[next(remaining) for _ in range(count)] for count in counts]

    def encode(self, prompt: str, tokens_of_image: Sequence[int]) -> list[int]:
        """Token ids of a prompt whose images take that many tokens each.

        Text between tags is encoded piece by piece, each with a BOS where the tokenizer adds one.

        Raises:
            ValueError: as of a call.
        """
        return self._columns(prompt, tokens_of_image)["input_ids"]

    def _columns(
        self,
        prompt: str,
        tokens_of_image: Sequence[int],
        truncation: bool | str | None = None,
        max_length: int | None = None,
        add_special_tokens: bool = True,
        **wanted: bool,
    ) -> dict[str, list]:
        """`input_ids`, and what else the tokenizer is asked for, of a prompt as of `encode`."""
        if not tokens_of_image:
            # Unlike the reference this ignores an empty list of images, there an IndexError.
            settings = {"truncation": truncation, "max_length": max_length} if truncation else {}
            return dict(self.tokenizer(prompt, add_special_tokens=add_special_tokens, **settings, **wanted))
        if self.image_token in prompt:
            raise ValueError(f"The prompt contains {self.image_token!r}. Mark images with <|image_1|>, <|image_2|>, …")
        tags = list(IMAGE_TAG.finditer(prompt))
        numbers = [int(tag[1]) for tag in tags]
        if sorted(numbers) != list(range(1, len(tokens_of_image) + 1)):
            given = ", ".join(f"<|image_{number}|>" for number in numbers) or "no image tag"
            raise ValueError(
                f"{len(tokens_of_image)} images need the tags <|image_1|> … <|image_{len(tokens_of_image)}|>, "
                f"each once; the prompt has {given}."
            )
        columns = self._piece(prompt, 0, tags[0].start(), add_special_tokens, wanted)
        ends = [*(tag.start() for tag in tags[1:]), len(prompt)]
        for tag, number, end in zip(tags, numbers, ends, strict=True):
            of_image = {
                "input_ids": self.image_token_id,
                "offset_mapping": tag.span(),
                "special_tokens_mask": 1,
                "token_type_ids": 0,
            }
            piece = self._piece(prompt, tag.end(), end, True, wanted)
            for name, column in columns.items():
                column += [of_image[name]] * tokens_of_image[number - 1] + piece[name]
        limit = max_length or self.tokenizer.model_max_length
        if truncation not in (None, False, "do_not_truncate") and len(columns["input_ids"]) > limit:
            raise ValueError(
                f"A prompt with images can't be truncated, since an image would lose some of its positions; this one "
                f"takes {len(columns['input_ids'])} tokens, more than {limit}."
            )
        return columns

    def _piece(self, prompt: str, begin: int, end: int, add_special_tokens: bool, wanted: dict) -> dict[str, list]:
        """Columns of a part of a prompt."""
        encoded = self.tokenizer(prompt[begin:end], add_special_tokens=add_special_tokens, **wanted)
        columns = {name: list(encoded[name]) for name in encoded if name == "input_ids" or name in COLUMNS}
        if begin and "offset_mapping" in columns:
            columns["offset_mapping"] = [(first + begin, last + begin) for first, last in columns["offset_mapping"]]
        return columns


__all__ = ["Phi3VProcessor"]
