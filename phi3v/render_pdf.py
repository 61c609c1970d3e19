"""Renders the pages of one PDF file in a process of its own: hostile files end this process, not the server.

`documents.py` runs this file by its path, because importing the package would load torch. Arguments: the file, the
long side in pixels, DPI, seconds for opening and for each page, bytes of memory, and where to find packages.

A header goes to stdout for the document (code, count, 0), then one for each page number that comes in a line on stdin:
code, width, height; after it, if all went well, the pixels of four bytes each: RGB and an unused one. It ends when
stdin does.
"""

import math
import os
import signal
import struct
import sys
from contextlib import suppress

if __name__ == "__main__":  # isolated as it is, it doesn't know where the server's packages are
    sys.path.extend(sys.argv[6:])

import pypdfium2 as pdfium
from pypdfium2 import raw

HEADER = struct.Struct("=3I")
DONE, DAMAGED, PASSWORD, EMPTY = range(4)


def main(path: str, long_side: int, dpi: int, seconds: float, memory: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in a terminal reaches it too; its parent decides
    _limit_memory(memory)
    alarm = getattr(signal, "alarm", lambda seconds: 0)  # Windows has none
    latest = math.ceil(seconds) + 1  # the parent ends it earlier, unless something has ended the parent

    alarm(latest)
    document, code = _open(path)
    count = len(document) if document else 0
    alarm(0)
    _send(code or (DONE if count > 0 else EMPTY), max(count, 0))
    for line in sys.stdin.buffer:
        alarm(latest)
        try:
            bitmap = _render(document, int(line) - 1, long_side, dpi)
        except pdfium.PdfiumError:
            alarm(0)
            _send(DAMAGED)
            continue
        alarm(0)
        _send(DONE, bitmap.width, bitmap.height, bitmap.buffer)
        bitmap.close()


def _limit_memory(size: int) -> None:
    """As far as the system can: not on Windows, and macOS may refuse or ignore it."""
    with suppress(ImportError):
        import resource

        for kind in ("RLIMIT_AS", "RLIMIT_DATA"):
            with suppress(AttributeError, ValueError, OSError):
                resource.setrlimit(getattr(resource, kind), (size, size))
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is no news, and a dump has the document in it


def _open(path: str) -> tuple[pdfium.PdfDocument | None, int]:
    handle = raw.FPDF_LoadDocument(os.fsencode(path), None)
    if not handle:
        protected = raw.FPDF_GetLastError() in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY)
        return None, PASSWORD if protected else DAMAGED
    document = pdfium.PdfDocument(handle)
    with suppress(pdfium.PdfiumError):  # the page without its form is better than none
        document.init_forms()  # before anything else, or fields that people filled in stay empty
    return document, DONE


def _render(document: pdfium.PdfDocument, index: int, long_side: int, dpi: int) -> pdfium.PdfBitmap:
    page = document[index]
    try:
        # PDFium rounds up: half a pixel less keeps a side that is scaled to the limit from exceeding it by one.
        scale = min(dpi / 72, (long_side - 0.5) / max(page.get_size()))
        return page.render(scale=scale, rev_byteorder=True, prefer_bgrx=True)  # four bytes: no gaps between rows
    finally:
        page.close()


def _send(code: int, first: int = 0, second: int = 0, pixels=b"") -> None:
    sys.stdout.buffer.write(HEADER.pack(code, first, second))
    sys.stdout.buffer.write(pixels)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))
