"""Renders the pages of one PDF file in a process of its own; `documents.py` starts it. See `sandbox.py`.

Arguments: the file, the long side in pixels, DPI. The first answer has the number of pages in the width's place; then
each line of stdin is the number of a page.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress

if __name__ == "__main__":
    sys.path.extend(sys.argv[1 : sys.argv.index("--")])

import pypdfium2 as pdfium
from PIL import Image
from pypdfium2 import raw
from sandbox import DAMAGED, DONE, EMPTY, PASSWORD, STRIP, Answer, arguments, serve


class Document:
    """An opened PDF file."""

    def __init__(self, path: str, long_side: int, dpi: int):
        self._path, self._long_side, self._dpi = path, long_side, dpi

    def open(self) -> Answer:
        """How many pages there are."""
        handle = raw.FPDF_LoadDocument(os.fsencode(self._path), None)
        if not handle:
            protected = raw.FPDF_GetLastError() in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY)
            return PASSWORD if protected else DAMAGED, 0, 0, ()
        self._document = pdfium.PdfDocument(handle)
        with suppress(pdfium.PdfiumError):  # the page without its form is better than none
            self._document.init_forms()  # before anything else, or fields that people filled in stay empty
        count = len(self._document)
        return (DONE, count, 0, ()) if count > 0 else (EMPTY, 0, 0, ())

    def page(self, line: bytes) -> Answer:
        """A page's pixels."""
        try:
            page = self._document[int(line) - 1]
            try:
                # PDFium rounds up: half a pixel less keeps a side that is scaled to the limit from exceeding it.
                scale = min(self._dpi / 72, (self._long_side - 0.5) / max(page.get_size()))
                # Four bytes a pixel, so that there are no gaps between rows.
                bitmap = page.render(scale=scale, rev_byteorder=True, prefer_bgrx=True)
            finally:
                page.close()
        except pdfium.PdfiumError:
            return DAMAGED, 0, 0, ()
        return DONE, bitmap.width, bitmap.height, _pixels(bitmap)


def _pixels(bitmap: pdfium.PdfBitmap) -> Iterator[bytes]:
    content, row = memoryview(bitmap.buffer).cast("B"), 4 * bitmap.width
    rows = max(1, STRIP // row)
    for top in range(0, bitmap.height, rows):
        height = min(rows, bitmap.height - top)
        strip = content[top * row : (top + height) * row]
        yield Image.frombytes("RGB", (bitmap.width, height), strip, "raw", "RGBX").tobytes()
    bitmap.close()


if __name__ == "__main__":
    path, long_side, dpi = arguments()
    document = Document(path, int(long_side), int(dpi))
    serve(document.page, document.open)
