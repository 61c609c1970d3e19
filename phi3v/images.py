"""What people give, to safe RGB images."""

import base64
import binascii
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

# Only decoders that are well tested against hostile files; among others no EPS (runs a program), no PDF, no SVG.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MAX_PIXELS = 64_000_000
MAX_DATA_URL = 28_000_000  # characters: about 20 MB
WHITE = (255, 255, 255)
EXIF_ORIENTATION = 0x0112  # from 5 on, width and height are exchanged
HEIC_BRANDS = (b"heic", b"heix", b"mif1", b"hevc")


def open_images(files: Sequence[str | Path | Image.Image]) -> list[Image.Image]:
    """Several image files, in order; see `open_image`. Their pixels together stay within the limit of one.

    Images among the files stay as they are.

    Raises:
        ValueError: as of `open_image`; from the second image on the message says which one it is.
    """
    images: list[Image.Image] = []
    for number, file in enumerate(files, start=1):
        if isinstance(file, Image.Image):
            images.append(file)
            continue
        try:
            images.append(open_image(file, MAX_PIXELS - sum(image.width * image.height for image in images)))
        except ValueError as error:
            raise ValueError(f"Image {number}: {error}") if len(files) > 1 else error from error
    return images


def open_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read an image file as the picture that a person would see.

    Turned as its EXIF orientation says, transparency on white, 16-bit and floating-point grey scaled to 8 bits, the
    first frame of an animation. The reference drops alpha and ignores orientation, so its model saw black where
    people see white, and photos lying on their side.

    Returns:
        An image of mode RGB.

    Raises:
        ValueError: not an image, of a format that is not read, damaged, or too large. The message says what to do.
    """
    try:
        image = Image.open(path, formats=FORMATS)
    except Exception as error:  # decoders raise anything at files made to break them
        raise ValueError(_unreadable(path)) from error
    with image:
        if image.width * image.height > max_pixels:
            raise ValueError(
                f"{image.width}x{image.height} pixels are too many; all images together may have "
                f"{MAX_PIXELS // 10**6} megapixels. Make it smaller and try again."
            )
        try:
            image.load()
            return _flatten(ImageOps.exif_transpose(image))
        except Exception as error:
            raise ValueError("The image file is damaged or incomplete. Save it again or send another.") from error


def open_data_url(url: str) -> Image.Image:
    """Read the image in a `data:` URL; see `open_image`.

    Raises:
        ValueError: it is longer than `MAX_DATA_URL`, is not base64, or as of `open_image`.
    """
    head, comma, data = url.partition(",")
    if len(url) > MAX_DATA_URL:
        raise ValueError(f"The image has more than {MAX_DATA_URL // 10**6} million characters. Make it smaller.")
    try:
        content = base64.b64decode(data, validate=True) if comma and head.endswith(";base64") else b""
    except binascii.Error:
        content = b""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image"
        path.write_bytes(content)
        return open_image(path)


def image_sizes(paths: Sequence[str | Path]) -> list[tuple[int, int]]:
    """Width and height in pixels of image files as a person would see them, without decoding them.

    Raises:
        ValueError: a file is not an image that can be read.
    """
    sizes = []
    for number, path in enumerate(paths, 1):
        try:
            with Image.open(path, formats=FORMATS) as image:
                turned = image.getexif().get(EXIF_ORIENTATION, 1) >= 5
                sizes.append((image.height, image.width) if turned else image.size)
        except Exception as error:
            raise ValueError(f"Image {number}: {_unreadable(path)}") from error
    return sizes


def _flatten(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _scale_grey(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, (*WHITE, 255))
        image = Image.alpha_composite(background, image)
    return image.convert("RGB")


def _scale_grey(image: Image.Image) -> Image.Image:
    """16-bit grey by its high byte; other ranges stretched from darkest to lightest."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float32))
    lowest, highest = (0.0, 65535.0) if image.mode.startswith("I;16") else (values.min(), values.max())
    if image.mode == "I" and lowest >= 0 and highest <= 65535:
        lowest, highest = 0.0, 65535.0
    scaled = (values - lowest) * (255.0 / max(highest - lowest, 1e-6))
    return Image.fromarray(scaled.clip(0, 255).astype(np.uint8)).convert("RGB")


def _unreadable(path: str | Path) -> str:
    with open(path, "rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp" and head[8:12] in HEIC_BRANDS:
        return "HEIC photos can't be read here. Export the photo as JPEG (or take a screenshot of it) and send that."
    return "This file is not an image that can be read. Send a PNG, JPEG, WebP, GIF, BMP or TIFF file."
