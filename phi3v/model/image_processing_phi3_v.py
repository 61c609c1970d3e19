"""Phi-3-Vision image processing: the HD transform, with PIL and torch alone.

Reproduces Microsoft's `image_processing_phi3_v.py` (published with Phi-3-vision-128k-instruct) bit for bit; the
transform is InternLM-XComposer2-4KHD's (https://arxiv.org/abs/2404.06512).
"""

import math

import torch
from PIL import Image
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature
from transformers.image_transforms import to_pil_image
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD, ImageInput, make_flat_list_of_images
from transformers.processing_utils import ImagesKwargs
from transformers.utils import TensorType

from .pixels import planar, rgbx
from .resize import resize
from .tensor_resize import resize as tensor_resize

CROP = 336  # pixels, the side of the image tower's input
TOKENS_PER_CROP_SIDE = 12  # 24 patches, merged two by two
WHITE = (255, 255, 255)


def hd_size(width: int, height: int, num_crops: int) -> tuple[int, int]:
    """Size to which the HD transform resizes a landscape image, before padding.

    The largest multiple of 336 pixels that the width may take so that the crops covering the image stay within
    `num_crops`; the height follows the aspect ratio.

    Args:
        width, height: pixels, `width >= height`.

    Returns:
        `(width, height)` in pixels.

    Raises:
        ValueError: the image is so thin that its height would become 0.
    """
    ratio = width / height
    scale = 1
    while scale * math.ceil(scale / ratio) <= num_crops:
        scale += 1
    scale -= 1
    new_width = scale * CROP
    new_height = int(new_width / ratio)
    if new_height < 1:
        raise ValueError(
            f"The image is too thin: {width}x{height} pixels would become {new_width}x0 with num_crops={num_crops}. "
            "Crop it or pad its short side."
        )
    return new_width, new_height


def hd_transform(image: Image.Image, num_crops: int) -> Image.Image:
    """Resize and pad an image so that both sides are multiples of 336 pixels, at most `num_crops` crops in all.

    It becomes RGB. A tall image is handled as the reference handles its transpose, so its padding ends up left and
    right.
    """
    image = _rgb(image)
    size, padded_size, place = _hd_layout(*image.size, num_crops)
    if image.size != size:
        image = resize(image, size, columns_first=image.width < image.height)
    if padded_size != size:
        padded = Image.new("RGB", padded_size, WHITE)
        padded.paste(image, place)
        return padded
    return image


def hd_transform_pixels(pixels: torch.Tensor, num_crops: int) -> torch.Tensor:
    """As `hd_transform`, of pixels as of `rgbx` on any device; uint8, (3, height, width)."""
    height, width = pixels.shape[:2]
    size, padded_size, (left, top) = _hd_layout(width, height, num_crops)
    resized = tensor_resize(pixels, size, columns_first=width < height)
    padded = pixels.new_full((3, *padded_size[::-1]), WHITE[0])
    padded[:, top : top + size[1], left : left + size[0]] = resized[..., :3].permute(2, 0, 1)
    return padded


def _hd_layout(width: int, height: int, num_crops: int) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """An image's (width, height) after the HD transform, those with its padding, and where in that the image is."""
    long_side, short_side = hd_size(max(width, height), min(width, height), num_crops)
    size = (short_side, long_side) if width < height else (long_side, short_side)
    padded_size = tuple(math.ceil(side / CROP) * CROP for side in size)
    return size, padded_size, tuple((outer - inner) // 2 for outer, inner in zip(padded_size, size, strict=True))


def num_image_tokens(height: int, width: int) -> int:
    """Positions that an image of this padded size (pixels, multiples of 336) takes in the prompt.

    The crops' and the global view's merged patches, one separator a row in each, one between the two.
    """
    rows, columns = height // CROP, width // CROP
    return (rows * columns + 1) * TOKENS_PER_CROP_SIDE**2 + 1 + (rows + 1) * TOKENS_PER_CROP_SIDE


class Phi3VImagesKwargs(ImagesKwargs, total=False):
    num_crops: int | None


class Phi3VImageProcessor(BaseImageProcessor):
    """Images to normalised 336-pixel crops.

    Args:
        num_crops (`int`, defaults to 16): the most crops an image may take, beside its global view.
        image_mean, image_std (`list[float]`): normalisation per RGB channel; CLIP's.
    """

    model_input_names = ["pixel_values", "image_sizes"]
    valid_kwargs = Phi3VImagesKwargs

    def __init__(
        self,
        num_crops: int = 16,
        image_mean: list[float] | None = None,
        image_std: list[float] | None = None,
        **kwargs,
    ):
        kwargs.pop("auto_map", None)  # of the published file: names remote code that this class replaces
        super().__init__(**kwargs)
        self.num_crops = num_crops
        self.image_mean = list(image_mean or OPENAI_CLIP_MEAN)
        self.image_std = list(image_std or OPENAI_CLIP_STD)

    def num_image_tokens(self, width: int, height: int, num_crops: int | None = None) -> int:
        """Prompt positions of an image of this size in pixels, without transforming it."""
        _, (padded_width, padded_height), _ = _hd_layout(width, height, num_crops or self.num_crops)
        return num_image_tokens(padded_height, padded_width)

    def preprocess(
        self,
        images: ImageInput,
        num_crops: int | None = None,
        do_resize: bool = True,
        return_tensors: str | TensorType | None = None,
        device: torch.device | str = "cpu",
    ) -> BatchFeature:
        """Crops of one image or a list of images.

        Args:
            images: PIL images of any mode, or arrays and tensors, channels first or last. Alpha is dropped and an
                EXIF orientation ignored, as in the reference.
            num_crops: overrides the processor's own.
            do_resize: false for what `hd_pixels` made.
            device: where `pixel_values` are computed, and stay.

        Returns:
            `pixel_values` (images, num_crops + 1, 3, 336, 336), float32: the global view, the crops row by row, zeros;
            `image_sizes` (images, 2): height and width in pixels after padding; `num_img_tokens`: a list.

        Raises:
            ValueError: `num_crops` is below 1, or an image is too thin.
        """
        num_crops = self.num_crops if num_crops is None else num_crops
        if num_crops < 1:
            raise ValueError(f"`num_crops` must be at least 1, got {num_crops}.")
        padded = make_flat_list_of_images(images)
        if do_resize:
            padded = [self.hd_pixels(_to_pil(image), num_crops, device) for image in padded]
        image_sizes = [list(image.shape[1:]) for image in padded]
        pixel_values = torch.empty(len(padded), num_crops + 1, 3, CROP, CROP, device=device)
        for image, crops in zip(padded, pixel_values, strict=True):
            self._fill(crops, image)
        data = {
            "pixel_values": pixel_values,
            "image_sizes": torch.tensor(image_sizes),
            "num_img_tokens": [num_image_tokens(*size) for size in image_sizes],
        }
        return BatchFeature(data, tensor_type=return_tensors, skip_tensor_conversion=["num_img_tokens"])

    def hd_pixels(self, image: Image.Image, num_crops: int, device: torch.device | str) -> torch.Tensor:
        """An image after the HD transform, uint8, (3, height, width), on a device; a GPU does it itself.

        Raises:
            ValueError: the image is too thin.
        """
        if torch.device(device).type != "cuda":
            return planar(rgbx(hd_transform(image, num_crops)), device)
        return hd_transform_pixels(rgbx(_rgb(image), pin_memory=True).to(device, non_blocking=True), num_crops)

    def _fill(self, crops: torch.Tensor, pixels: torch.Tensor) -> None:
        """Write a padded image to its (num_crops + 1, 3, 336, 336)."""
        rows, columns = pixels.shape[1] // CROP, pixels.shape[2] // CROP
        normalised = torch.empty(pixels.shape, device=crops.device)
        at_once = rows if crops.is_cuda else 1  # what one row of crops takes stays in a CPU's cache
        for row in range(0, rows, at_once):
            band = slice(row * CROP, (row + at_once) * CROP)
            normalised[:, band].copy_(pixels[:, band]).div_(255)
            for channel, mean, std in zip(normalised[:, band], self.image_mean, self.image_std, strict=True):
                channel.sub_(mean).div_(std)
            cut = normalised[:, band].unflatten(1, (at_once, CROP)).unflatten(3, (columns, CROP))
            cut = cut.permute(1, 3, 0, 2, 4)
            crops[1 + row * columns : 1 + (row + at_once) * columns].view(cut.shape).copy_(cut)
        # Neither antialiased nor clamped, as in the reference.
        size = (CROP, CROP)
        crops[0] = torch.nn.functional.interpolate(normalised[None], size, mode="bicubic", align_corners=False)[0]
        crops[1 + rows * columns :] = 0


def _rgb(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")  # converting RGB would copy it


def _to_pil(image) -> Image.Image:
    return image if isinstance(image, Image.Image) else to_pil_image(image)


__all__ = ["Phi3VImageProcessor"]
