"""PDF files, to images of their pages.

Each document is opened in a process of its own, `pdf_worker.py`; see `sandbox.py`. One process each is also one PDFium
each, which may run in one thread at a time only.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from .deadline import Deadline
from .fair_semaphore import FairSemaphore
from .images import GONE
from .sandbox import DAMAGED, DIED, DONE, EMPTY, LATE, PASSWORD, Process

SCRIPT = "pdf_worker.py"
AT_ONCE = 4  # processes
DPI = 200
LONG_SIDE = 2016  # 1.5 times the 1344 pixels that the model sees at most; an A4 page at 200 DPI has 2339
SECONDS = 15.0  # for opening, and for each page; scans and drawings take less than one
# Bytes of address space. Python and PDFium take 30 MB, a page's bitmap 16 MB; the rest is for what is on the page. An
# A4 scan of 600 DPI makes it 180 MB together. The pixels that are shared count too: 12 MB.
MEMORY = 5 * 2**28

HEADER, HEADER_WITHIN = b"%PDF-", 1024  # mail gateways and scanners put things before it, and readers accept that

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


def is_pdf(path: str | Path) -> bool:
    """Whether a file is a PDF by its content; by its name only if it is empty."""
    with open(path, "rb") as file:
        head = file.read(HEADER_WITHIN)
    return HEADER in head if head else Path(path).suffix.lower() == ".pdf"


def page_count(path: str | Path, *, seconds: float = SECONDS, memory: int = MEMORY) -> int:
    """How many pages a PDF file has: one or more. Raises as [`Document`] does."""
    with Document(path, seconds=seconds, memory=memory) as document:
        return document.count


class Document:
    """A PDF file whose pages are rendered when they are asked for.

    At `DPI`, or at less where the long side would have more than `long_side` pixels: a page of any size is an image of
    `long_side` x `long_side` at most. Forms are shown as they are filled in. The file has to stay where it is.

    At most `AT_ONCE` processes run, for all documents together: the process of a document that nobody asks is ended
    when another one needs its place, and started again for the next page.

    Args:
        deadline: by when the file has to be open.
        seconds, memory: the limits of time (for opening and for each page) and memory (bytes).

    Attributes:
        count: how many pages there are: one or more.
        failures: how many of the latest pages in a row could not be rendered.

    Raises:
        ValueError: not a PDF, damaged, protected by a password, without pages, or beyond the limits of time and
            memory. The message says what to do.
        TimeoutError, StoppedError: as of `Deadline.left`.
    """

    def __init__(
        self,
        path: str | Path,
        long_side: int = LONG_SIDE,
        deadline: Deadline | None = None,
        *,
        seconds: float = SECONDS,
        memory: int = MEMORY,
    ):
        if not os.path.isfile(path):
            raise ValueError(GONE)
        if not is_pdf(path):
            raise ValueError("This file is not a PDF. Send a PDF or an image.")
        self._path, self._long_side, self._seconds, self._memory = path, long_side, seconds, memory
        self.failures = 0
        with _process_of(self, deadline or Deadline()):
            pass

    def page(self, number: int, deadline: Deadline | None = None) -> Image.Image:
        """An image of mode RGB.

        Args:
            number: from 1 on.
            deadline: by when it has to be there.

        Raises:
            ValueError: the page is damaged or beyond the limits of time and memory; others may be well.
            TimeoutError, StoppedError: as of `Deadline.left`.
        """
        deadline = deadline or Deadline()
        self.failures += 1
        with _process_of(self, deadline) as process:
            code, width, height = process.ask(b"%d" % number, deadline.left)
            if code == DONE:
                try:
                    image = process.image(width, height)
                except ValueError:
                    code = DIED
        if code != DONE:
            raise ValueError(f"Page {number} of the PDF {DRAWING.get(code, DRAWING[DIED])}")
        self.failures = 0
        return image

    def close(self) -> None:
        """End its process."""
        with _lock:
            process = _idle.pop(self, None)
        if process:
            process.close()

    def __enter__(self) -> "Document":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _start(self, deadline: Deadline) -> Process:
        script = Path(__file__).parent / SCRIPT
        arguments = (os.path.abspath(self._path), str(self._long_side), str(DPI))
        process = Process(script, arguments, self._seconds, self._memory, self._long_side**2)
        try:
            code, self.count, _ = process.answer(deadline.left)
            if code != DONE:
                raise ValueError(OPENING.get(code, OPENING[DIED]))
        except BaseException:
            process.close()
            raise
        return process


_turns = FairSemaphore(AT_ONCE)
_idle: dict[Document, Process] = {}  # the one that has waited longest first
_busy: list[Document] = []
_lock = threading.Lock()


@contextmanager
def _process_of(document: Document, deadline: Deadline) -> Iterator[Process]:
    with _turns.enter().wait_until(deadline):
        with _lock:
            process = _idle.pop(document, None)
            _busy.append(document)
            too_many = max(0, len(_idle) + len(_busy) - AT_ONCE)
            others = [_idle.pop(oldest) for oldest in list(_idle)[:too_many]]
        try:
            for other in others:
                other.close()
            process = process or document._start(deadline)
            yield process
        except BaseException:
            if process:
                process.close()
            raise
        else:
            if process.alive:
                with _lock:
                    _idle[document] = process
            else:
                process.close()
        finally:
            with _lock:
                _busy.remove(document)
