"""What people give, to safe RGB images. Files are decoded in other processes; see `sandbox.py`."""

import atexit
import json
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from PIL import Image

from .deadline import Deadline
from .fair_semaphore import FairSemaphore
from .sandbox import DAMAGED, DIED, DONE, HEIC, LATE, NO_MEMORY, TOO_COMPLEX, TOO_LARGE, UNREADABLE, Process

MAX_PIXELS = 64_000_000
AT_ONCE = 2  # images that are decoded at a time
SECONDS = 10.0  # for one; those of 64 megapixels take 1 to 4
MEMORY = 3 * 2**29  # bytes of address space; 64 megapixels of 16-bit grey or with transparency take 1.2 GB of it
KEPT_PIXELS = 16_000_000  # after a larger image, a process is not kept, and its memory is free

WORDS = {
    UNREADABLE: "This file is not an image that can be read. Send a PNG, JPEG, WebP, GIF, BMP or TIFF file.",
    HEIC: "HEIC photos can't be read here. Export the photo as JPEG (or take a screenshot of it) and send that.",
    DAMAGED: "The image file is damaged or incomplete. Save it again or send another.",
    TOO_COMPLEX: "The image file has more parts than pictures have. Save it again in an image editor.",
    NO_MEMORY: "The image takes too much memory to read. Save it again in an image editor, or make it smaller.",
    LATE: "The image takes too long to read. Save it again in an image editor, or make it smaller.",
    DIED: "The image file is damaged. Save it again or send another.",
}
GONE = "The file is no longer here: files are deleted after an hour. Add it again."


def open_image(path: str | Path, max_pixels: int = MAX_PIXELS, deadline: Deadline | None = None) -> Image.Image:
    """Read an image file as the picture that a person would see.

    Turned as its EXIF orientation says, transparency on white, 16-bit and floating-point grey scaled to 8 bits, the
    first frame of an animation. The reference drops alpha and ignores orientation, so its model saw black where
    people see white, and photos lying on their side.

    Args:
        max_pixels: how many the image may have.
        deadline: by when it has to be there; in any case after `SECONDS`, once others are done.

    Returns:
        An image of mode RGB.

    Raises:
        ValueError: not an image, of a format that is not read, damaged, too large, or beyond the limits of time and
            memory. The message says what to do.
        TimeoutError, StoppedError: as of `Deadline.left`.
    """
    with _decoder(deadline := deadline or Deadline()) as process:
        width, height = _asked(process, path, max_pixels, True, deadline)
        try:
            return process.image(width, height)
        except ValueError:
            raise ValueError(WORDS[DIED]) from None


def open_images(
    files: Sequence[str | Path], deadline: Deadline | None = None, known: Mapping[str, Image.Image] | None = None
) -> list[Image.Image]:
    """Several image files, in order; see `open_image`. Their pixels together stay within the limit of one.

    A file that is named twice is read once.

    Args:
        deadline: as of `open_image`.
        known: images of files that needn't be read.

    Raises:
        ValueError: as of `open_image`; with several images the message says which one it is.
    """
    opened: dict[str, Image.Image] = dict(known or {})
    for number, file in enumerate(map(str, files), start=1):
        if file in opened:
            continue
        try:
            rest = MAX_PIXELS - sum(image.width * image.height for image in opened.values())
            opened[file] = open_image(file, rest, deadline)
        except ValueError as error:
            raise ValueError(f"Image {number}: {error}") if len(files) > 1 else error from error
    return [opened[str(file)] for file in files]


def image_sizes(paths: Sequence[str | Path], deadline: Deadline | None = None) -> list[tuple[int, int]]:
    """Width and height in pixels of image files as a person would see them, without decoding their pixels.

    Raises:
        ValueError: a file is not an image that can be read.
    """
    deadline = deadline or Deadline()
    sizes: dict[str, tuple[int, int]] = {}
    for number, path in enumerate(map(str, paths), start=1):
        if path not in sizes:
            try:
                with _decoder(deadline) as process:
                    sizes[path] = _asked(process, path, MAX_PIXELS, False, deadline)
            except ValueError as error:
                raise ValueError(f"Image {number}: {error}") from error
    return [sizes[str(path)] for path in paths]


def _asked(process: Process, path: str | Path, max_pixels: int, decode: bool, deadline: Deadline) -> tuple[int, int]:
    if not os.path.isfile(path):
        raise ValueError(GONE)
    job = {"path": os.path.abspath(path), "max_pixels": max_pixels, "decode": decode}
    code, width, height = process.ask(json.dumps(job).encode(), deadline.left)
    process.alive = process.alive and code != NO_MEMORY and width * height <= KEPT_PIXELS
    if code == TOO_LARGE:
        raise ValueError(
            f"{width}x{height} pixels are too many; all images together may have {MAX_PIXELS // 10**6} megapixels. "
            "Make it smaller and try again."
        )
    if code != DONE:
        raise ValueError(WORDS.get(code, WORDS[DIED]))
    return width, height


_turns = FairSemaphore(AT_ONCE)
_idle: list[Process] = []
_lock = threading.Lock()


@contextmanager
def _decoder(deadline: Deadline):
    """A process that decodes; kept for the next image, since starting one takes as long as decoding a photo."""
    with _turns.enter().wait_until(deadline):
        with _lock:
            process = _idle.pop() if _idle else None
        process = process or Process(Path(__file__).parent / "image_worker.py", (), SECONDS, MEMORY, MAX_PIXELS)
        try:
            yield process
        finally:
            if process.alive:
                with _lock:
                    _idle.append(process)
            else:
                process.close()


@atexit.register
def _close() -> None:
    with _lock, suppress(OSError):
        while _idle:
            _idle.pop().close()


def _forget() -> None:
    """In a process that forked off: the decoders are the parent's."""
    global _turns, _lock
    _turns, _lock = FairSemaphore(AT_ONCE), threading.Lock()
    _idle.clear()


os.register_at_fork(after_in_child=_forget)
