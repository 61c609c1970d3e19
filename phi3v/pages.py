"""Documents as pages to read one after another, and what was read as one text."""

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from .conversation import Exchange
from .documents import is_pdf, open_pages, page_count
from .images import open_image

GIVE_UP = 3  # pages of a document in a row that can't be drawn, after which the others are left out
EXTENSIONS = {"markdown": "md", "json": "json"}  # of an output format's file; others are txt


def count_pages(paths: Sequence[str], most: int) -> int:
    """Pages of images (one each) and PDFs together; a file that can't be read counts as one.

    Raises:
        ValueError: there are more pages than `most`.
    """
    total = 0
    for path in paths:
        try:
            total += page_count(path) if is_pdf(path) else 1
        except ValueError:
            total += 1
    if total > most:
        raise ValueError(f"These are {total} pages; at most {most} are read at once. Send fewer.")
    return total


def pages_of(paths: Sequence[str], most: int) -> Iterator[tuple[str, Image.Image | ValueError]]:
    """Name and image of every page, each opened when its turn comes; in place of one that can't be, the reason."""
    for path in paths:
        name = Path(path).name
        if not is_pdf(path):
            try:
                yield name, open_image(path)
            except ValueError as error:
                yield name, error
            continue
        number = failed = 0
        try:
            for number, page in enumerate(open_pages(path, most), 1):
                yield f"{name}, page {number}", page
                failed = failed + 1 if isinstance(page, ValueError) else 0
                if failed == GIVE_UP:  # each may have taken all the time that it was given
                    break
        except ValueError as error:  # of the document: all its other pages
            yield f"{name}, page {number + 1}", error


def joined(pages: Sequence[Exchange], output_format: str) -> str:
    """All pages' texts; if there are several, each below its name."""
    if len(pages) == 1:
        return pages[0].answer
    heading = "## {}" if output_format == "markdown" else "--- {} ---"
    return "\n\n".join(f"{heading.format(page.question)}\n\n{page.answer}" for page in pages)


def as_file(pages: Sequence[Exchange], output_format: str) -> tuple[str, bytes]:
    """Name and content of one file with all pages; of several pages' JSON a list."""
    extension = EXTENSIONS.get(output_format, "txt")
    if extension == "json" and len(pages) > 1:
        content = [{"page": page.question, "fields": _parsed(page.answer)} for page in pages]
        return "pages.json", (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
    return f"pages.{extension}", (joined(pages, output_format) + "\n").encode()


def as_zip(pages: Sequence[Exchange], output_format: str) -> tuple[str, bytes]:
    """Name and content of an archive with a file for each page."""
    extension = EXTENSIONS.get(output_format, "txt")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, page in enumerate(pages, 1):
            stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in page.question)[:60]
            archive.writestr(f"{number:03d}_{stem}.{extension}", page.answer + "\n")
    return "pages.zip", buffer.getvalue()


def _parsed(text: str):
    try:
        return json.loads(text)
    except ValueError:
        return text
