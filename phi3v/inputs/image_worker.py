"""Decodes image files, or measures them, in a process of its own; `images.py` starts it. See `sandbox.py`.

Each line of stdin is JSON: `path`, `max_pixels`, and whether to `decode`.
"""

import json
import re
import sys
import warnings
from collections.abc import Iterator

if __name__ == "__main__":
    sys.path.extend(sys.argv[1 : sys.argv.index("--")])

from PIL import Image, ImageOps, PngImagePlugin
from sandbox import DAMAGED, DONE, HEIC, NO_MEMORY, STRIP, TOO_COMPLEX, TOO_LARGE, UNREADABLE, Answer, serve

# Only decoders that are well tested against hostile files; among others no EPS (runs a program), no PDF, no SVG.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
WHITE = (255, 255, 255)
EXIF_ORIENTATION = 0x0112  # from 5 on, width and height are exchanged
HEIC_BRANDS = (b"heic", b"heix", b"mif1", b"hevc")

# What takes long by its number in small files. Photos have about ten scans, and segments of 64 kB each.
MAX_SCANS = 100
MAX_SCANNED_PIXELS = 640_000_000  # pixels times scans
MAX_SEGMENTS = 1000
MAX_COMMENTS = 1000  # blocks of 255 bytes at most, each joined to all before
MAX_TAGS = 1000
JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")  # the others stand in the pixels' data
START_OF_FRAME = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
END_OF_IMAGE, SCAN = 0xD9, b"\xff\xda"
USUAL_SCANS = 10


def handle(line: bytes) -> Answer:
    """The size of an image as a person would see it, and its pixels if they are wanted."""
    job = json.loads(line)
    try:
        return _opened(job["path"], job["max_pixels"], job["decode"])
    except MemoryError:
        return NO_MEMORY, 0, 0, ()


def _opened(path: str, max_pixels: int, decode: bool) -> Answer:
    with open(path, "rb") as file:
        content = file.read()
    if content[4:8] == b"ftyp" and content[8:12] in HEIC_BRANDS:
        return HEIC, 0, 0, ()
    if is_too_complex(content):
        return TOO_COMPLEX, 0, 0, ()
    del content
    try:
        image = Image.open(path, formats=FORMATS)
    except MemoryError:
        raise
    except Exception:  # decoders raise anything at files made to break them
        return UNREADABLE, 0, 0, ()
    with image:
        if not decode:
            return _measured(image)
        if image.width * image.height > max_pixels:
            return TOO_LARGE, *(min(side, 2**32 - 1) for side in image.size), ()
        try:
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            image = _flattened(image)
        except MemoryError:
            raise
        except Exception:
            return DAMAGED, 0, 0, ()
        return DONE, *image.size, _pixels(image)


def _measured(image: Image.Image) -> Answer:
    try:
        turned = image.getexif().get(EXIF_ORIENTATION, 1) >= 5
    except MemoryError:
        raise
    except Exception:
        return UNREADABLE, 0, 0, ()
    return DONE, *(image.size[::-1] if turned else image.size), ()


def is_too_complex(content: bytes) -> bool:
    """Whether a file has more parts than any that people make, each of which costs time or memory.

    Known of libjpeg-turbo as LJT-01-004: a scan of few bytes decodes all pixels again.
    """
    if content.startswith(b"\xff\xd8"):
        return _jpeg_is_too_complex(content)
    if content.startswith(b"GIF8"):
        return _gif_is_too_complex(content)
    if content[:4] in (b"II*\0", b"MM\0*"):
        order = "little" if content[:2] == b"II" else "big"
        directory = int.from_bytes(content[4:8], order)
        return int.from_bytes(content[directory : directory + 2], order) > MAX_TAGS
    return False


def _jpeg_is_too_complex(content: bytes) -> bool:
    position, segments, scans, pixels = 2, 0, 0, 0
    # Looking for markers among the pixels' data takes a tenth of the time that decoding does; few files need it.
    may_have_many_scans = content.count(SCAN) > USUAL_SCANS
    while marker := JPEG_MARKER.search(content, position):
        kind, position = marker[1][0], marker.end()
        segments += 1
        if kind in START_OF_FRAME:
            height, width = (int.from_bytes(content[position + at : position + at + 2], "big") for at in (3, 5))
            pixels = max(pixels, height * width)
        scans += kind == SCAN[1]
        position += max(2, int.from_bytes(content[position : position + 2], "big"))
        if scans > MAX_SCANS or scans * pixels > MAX_SCANNED_PIXELS or segments - scans > MAX_SEGMENTS:
            return True
        if kind == END_OF_IMAGE or (scans and not may_have_many_scans):
            break
    return False


def _gif_is_too_complex(content: bytes) -> bool:
    """Counts the blocks of comments before the first frame; no other is read."""
    position, comments = 13, 0
    if len(content) > 10 and content[10] & 0x80:
        position += 3 << ((content[10] & 7) + 1)
    while content[position : position + 1] == b"\x21":
        is_comment = content[position + 1 : position + 2] == b"\xfe"
        position += 2
        while size := (content[position] if position < len(content) else 0):
            position += 1 + size
            comments += is_comment
            if comments > MAX_COMMENTS:
                return True
        position += 1
    return False


def _flattened(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _scaled_grey(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, (*WHITE, 255))
        image = Image.alpha_composite(background, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _scaled_grey(image: Image.Image) -> Image.Image:
    """16-bit grey by its high byte; other ranges stretched from darkest to lightest."""
    import numpy as np  # takes as long to import as everything else here

    values = np.nan_to_num(np.asarray(image, dtype=np.float32))
    lowest, highest = (0.0, 65535.0) if image.mode.startswith("I;16") else (values.min(), values.max())
    if image.mode == "I" and lowest >= 0 and highest <= 65535:
        lowest, highest = 0.0, 65535.0
    scaled = (values - lowest) * (255.0 / max(highest - lowest, 1e-6))
    return Image.fromarray(scaled.clip(0, 255).astype(np.uint8)).convert("RGB")


def _pixels(image: Image.Image) -> Iterator[bytes]:
    """In strips: those stay in the CPU's cache between two copies."""
    rows = max(1, STRIP // (4 * image.width))
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height))).tobytes()


if __name__ == "__main__":
    Image.MAX_IMAGE_PIXELS = None  # the limit is `max_pixels`
    PngImagePlugin.MAX_TEXT_MEMORY = 2**23
    warnings.simplefilter("ignore")  # of damaged metadata, which the log would show
    serve(handle)
