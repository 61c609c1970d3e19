"""PDF files, to images of their pages.

Each document is opened in a process of its own, `render_pdf.py`, with limits of time and memory: PDFium has none, and
a small file can have it paint for hours, fill the memory or crash. One process each is also one PDFium each, which may
run in one thread at a time only.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from PIL import Image

from . import render_pdf
from .render_pdf import DAMAGED, DONE, EMPTY, PASSWORD

MAX_PAGES = 50
DPI = 200
LONG_SIDE = 2016  # 1.5 times the 1344 pixels that the model sees at most; an A4 page at 200 DPI has 2339
SECONDS = 15.0  # for opening, and for each page; scans and drawings take less than one
# Bytes of address space. Python and PDFium take 30 MB, a page's bitmap 16 MB; the rest is for what is on the page. An
# A4 scan of 600 DPI makes it 180 MB together.
MEMORY = 5 * 2**28

HEADER, HEADER_WITHIN = b"%PDF-", 1024  # mail gateways and scanners put things before it, and readers accept that

# Besides the process's own codes: what happened to it instead of an answer.
LATE, DIED = 100, 101
OPENING = {
    DAMAGED: "The PDF is damaged or incomplete. Save it again or send another.",
    PASSWORD: "The PDF is protected by a password. Save it without one, or print it to a new PDF.",
    EMPTY: "The PDF has no pages. Send another.",
    LATE: "The PDF takes too long to open. Print it to a new PDF, or send its pages as images.",
    DIED: "The PDF is damaged or too complex. Print it to a new PDF, or send its pages as images.",
}
DRAWING = {
    DAMAGED: "is damaged. Save it again or send another.",
    LATE: "takes too long to draw. Print it to a new PDF, or send it as an image.",
    DIED: "is damaged or too complex. Print it to a new PDF, or send it as an image.",
}
# All of the environment that it gets: where shared libraries are, and what Windows can't start a program without.
ENVIRONMENT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")


def is_pdf(path: str | Path) -> bool:
    """Whether a file is a PDF by its content; by its name only if it is empty."""
    with open(path, "rb") as file:
        head = file.read(HEADER_WITHIN)
    return HEADER in head if head else Path(path).suffix.lower() == ".pdf"


def page_count(path: str | Path, *, seconds: float = SECONDS, memory: int = MEMORY) -> int:
    """How many pages a PDF file has: one or more.

    Raises:
        ValueError: not a PDF, damaged, protected by a password, without pages, or beyond the limits of time and
            memory (bytes). The message says what to do.
    """
    process = _Process(path, LONG_SIDE, seconds, memory)
    process.close()
    return process.count


def open_pages(
    path: str | Path,
    max_pages: int = MAX_PAGES,
    long_side: int = LONG_SIDE,
    *,
    seconds: float = SECONDS,
    memory: int = MEMORY,
) -> Iterator[Image.Image | ValueError]:
    """The pages of a PDF file in order, each rendered when it is asked for.

    At `DPI`, or at less where the long side would have more than `long_side` pixels: a page of any size is an image of
    `long_side` x `long_side` at most. Forms are shown as they are filled in. The file has to stay where it is until
    the last page was rendered.

    Returns:
        An iterator over images of mode RGB; in place of a page that is damaged or beyond the limits of time and
        memory, the reason. It may be dropped at any time.

    Raises:
        ValueError: as of `page_count`, or more than `max_pages`; at once.
    """
    count = page_count(path, seconds=seconds, memory=memory)
    if count > max_pages:
        raise ValueError(
            f"The PDF has {count} pages; it may have {max_pages}. Split it, or print the pages you need to a new PDF."
        )
    return _pages(path, count, long_side, seconds, memory)


def _pages(path, count, long_side, seconds, memory) -> Iterator[Image.Image | ValueError]:
    process = None
    try:
        for number in range(1, count + 1):
            if process is None:
                process = _Process(path, long_side, seconds, memory)
            page = process.page(number)
            if not process.alive:
                process.close()
                process = None  # another one begins at the next page
            yield page
    finally:
        if process:
            process.close()


class _Process:
    """A document, open in a process of its own until `close`."""

    def __init__(self, path: str | Path, long_side: int, seconds: float, memory: int):
        if not is_pdf(path):
            raise ValueError("This file is not a PDF. Send a PDF or an image.")
        self.alive = True
        self._long_side, self._seconds = long_side, seconds
        settings = map(str, (long_side, DPI, seconds, memory))
        packages = [os.path.abspath(folder) for folder in sys.path if folder]
        # Isolated (-I, -S): neither the environment nor the script's folder changes what it imports.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", render_pdf.__file__, os.path.abspath(path), *settings, *packages],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
        )
        try:
            code, self.count, *_ = self._answer()
            if code != DONE:
                raise ValueError(OPENING.get(code, OPENING[DIED]))
        except BaseException:
            self.close()
            raise

    def page(self, number: int) -> Image.Image | ValueError:
        with suppress(BrokenPipeError):  # it is dead, and the answer says so
            self._process.stdin.write(b"%d\n" % number)
            self._process.stdin.flush()
        code, width, height, pixels = self._answer(of_page=True)
        if code != DONE:
            return ValueError(f"Page {number} of the PDF {DRAWING.get(code, DRAWING[DIED])}")
        return Image.frombytes("RGB", (width, height), pixels, "raw", "RGBX")

    def close(self) -> None:
        self._process.kill()
        with suppress(BrokenPipeError):  # of a page number that it didn't live to read
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def _answer(self, of_page: bool = False) -> tuple[int, int, int, bytes]:
        """The next header and pixels, within the limit of time."""
        late = threading.Event()
        timer = threading.Timer(self._seconds, lambda: (late.set(), self._process.kill()))
        timer.daemon = True
        timer.start()
        try:
            answer = self._read(of_page)
        except EOFError:
            answer = DIED, 0, 0, b""
        finally:
            timer.cancel()
            timer.join()  # from here on it doesn't end the process any more
        self.alive = answer[0] != DIED and not late.is_set()
        return (LATE, 0, 0, b"") if answer[0] == DIED and late.is_set() else answer

    def _read(self, of_page: bool) -> tuple[int, int, int, bytes]:
        code, first, second = render_pdf.HEADER.unpack(self._exactly(render_pdf.HEADER.size))
        if not of_page or code != DONE:
            return code, first, second, b""
        if not (0 < first <= self._long_side and 0 < second <= self._long_side):
            raise EOFError  # PDFium was taken over: no more of what it says
        return code, first, second, self._exactly(first * second * 4)

    def _exactly(self, size: int) -> bytes:
        content = self._process.stdout.read(size)
        if len(content) < size:
            raise EOFError
        return content
