"""Documents read page by page, and what was read as one text."""

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from ..inputs.deadline import Deadline
from ..inputs.documents import Document, is_pdf
from ..inputs.images import GONE, open_image

GIVE_UP = 3  # pages of a document in a row that can't be drawn, after which the others are left out
EXTENSIONS = {"markdown": "md", "json": "json"}  # of an output format's file; others are txt
CUT_OFF = {
    "length": "cut off at max new tokens",
    "context": "cut off, the model's context is full",
    "time": "cut off by the time limit",
    "stopped": "stopped",
}

Opener = Callable[[Deadline], Image.Image]


@dataclass
class Page:
    """A page and what was read of it.

    Attributes:
        stop_reason: why its text ends, as `Stats.stop_reason`; `unread` if it could not be opened, with the reason as
            its text; None while it is read.
    """

    name: str
    text: str = ""
    stop_reason: str | None = None

    @property
    def cut_off(self) -> str | None:
        """In words why its text is not all of it; None if it is."""
        return CUT_OFF.get(self.stop_reason)

    @property
    def title(self) -> str:
        """The name, with a note on what is missing."""
        return f"{self.name}, {self.cut_off}" if self.cut_off else self.name


class PageFiles:
    """The pages of images (one each) and PDFs, in order. A file that is named twice is one; one that can't be read is
    one page. Close it, or use `with`.

    Args:
        most: pages that there may be.
        deadline: by when all have to be counted.

    Attributes:
        total: how many pages there are.

    Raises:
        ValueError: there are more than `most`, or counting takes too long.
        StoppedError: as of `Deadline.left`.
    """

    def __init__(self, paths: Sequence[str | Path], most: int, deadline: Deadline):
        self._files: list[tuple[str | Path, Document | ValueError | None]] = []
        self.total = 0
        check_count(paths, most)
        try:
            for path in dict.fromkeys(paths):
                document = self._opened(path, deadline)
                self._files.append((path, document))
                self.total += document.count if isinstance(document, Document) else 1
                if self.total > most:
                    raise ValueError(f"These are more than {most} pages, the most that are read at once. Send fewer.")
        except TimeoutError:
            self.close()
            raise ValueError("Counting the pages takes too long. Send fewer files at once.") from None
        except BaseException:
            self.close()
            raise

    def _opened(self, path: str | Path, deadline: Deadline) -> Document | ValueError | None:
        try:
            deadline.left()
            return Document(path, deadline=deadline) if is_pdf(path) else None
        except FileNotFoundError:
            return ValueError(GONE)
        except ValueError as error:
            return error

    def __iter__(self) -> Iterator[tuple[str, Opener]]:
        """The name of each page, and what opens it, which raises as `open_image` and `Document.page` do."""
        for path, document in self._files:
            name = Path(path).name
            if document is None:
                yield name, partial(_open, path)
            elif isinstance(document, ValueError):
                yield f"{name}, page 1", partial(_fail, document)
            else:
                for number in range(1, document.count + 1):
                    yield f"{name}, page {number}", partial(document.page, number)
                    if document.failures >= GIVE_UP:  # each may have taken all the time that it was given
                        break
                document.close()

    def close(self) -> None:
        """End the documents' processes."""
        for _, document in self._files:
            if isinstance(document, Document):
                document.close()

    def __enter__(self) -> "PageFiles":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def check_count(paths: Sequence[str | Path], most: int) -> None:
    """Raise `ValueError` if there are more files than pages that are read at once; none is looked at."""
    count = len(set(paths))
    if count > most:
        raise ValueError(f"These are {count} files; at most {most} pages are read at once. Send fewer.")


def _open(path: str | Path, deadline: Deadline) -> Image.Image:
    return open_image(path, deadline=deadline)


def _fail(error: ValueError, deadline: Deadline) -> Image.Image:
    raise error


def read_pages(
    files: PageFiles,
    pages: list[Page],
    ask: Callable[[Opener, float], Iterator[tuple[str, str, str | None]]],
    seconds: float,
) -> Iterator[str]:
    """Read one page after another. Yields a line on what is going on whenever `pages`, which grows, has changed.

    A page that can't be read is left out, unless it is the only one. When the time is over, the rest is left out.

    Args:
        ask: asks the model about the page that an opener opens, within some seconds: the text so far, a line on what
            is going on, and at the end why it ends.
        seconds: for all pages together.

    Raises:
        ValueError: the only page can't be read.
    """
    began = time.monotonic()
    for number, (name, opener) in enumerate(files, 1):
        pages.append(page := Page(name))
        left = max(1.0, seconds - (time.monotonic() - began))
        try:
            for page.text, line, page.stop_reason in ask(opener, left):
                yield line if files.total == 1 else _progress(number, files.total, line)
        except ValueError as error:
            if files.total == 1:
                raise
            page.text, page.stop_reason = f"[{getattr(error, 'message', error)}]", "unread"
        if page.stop_reason == "stopped" or time.monotonic() - began > seconds:
            break
    if files.total > 1:
        yield _summary(pages, files.total, time.monotonic() - began)


def _progress(number: int, total: int, line: str) -> str:
    bar = f'<progress value="{number - 1}" max="{total}" aria-label="pages read"></progress>'
    return f"{bar} Page {number} of {total} · {line}"


def _summary(pages: Sequence[Page], total: int, seconds: float) -> str:
    reasons = [page.stop_reason for page in pages]
    parts = [f"{reasons.count('end')} of {total} pages"]
    if unread := reasons.count("unread"):
        parts.append(f"{unread} could not be read")
    cut = [number for number, page in enumerate(pages, 1) if page.cut_off]
    if cut:
        numbers = ", ".join(map(str, cut))
        parts.append(f"page{'s' * (len(cut) > 1)} {numbers} cut off")
    parts.append(f"{seconds:.1f} s")
    if len(pages) < total and reasons.count("unread") + reasons.count("end") < total:
        parts.append(CUT_OFF["stopped" if reasons[-1] == "stopped" else "time"])
    return " · ".join(parts)


def joined(pages: Sequence[Page], output_format: str) -> str:
    """All pages' texts; if there are several, each below its title. What is cut off says so, but in JSON."""
    if len(pages) == 1:
        (page,) = pages
        return f"{page.text}\n\n[{page.cut_off}]" if page.cut_off and output_format != "json" else page.text
    heading = "## {}" if output_format == "markdown" else "--- {} ---"
    return "\n\n".join(f"{heading.format(page.title)}\n\n{page.text}" for page in pages)


def as_file(pages: Sequence[Page], output_format: str) -> tuple[str, bytes]:
    """Name and content of one file with all pages; of JSON that is several pages, or cut off, a list."""
    extension = EXTENSIONS.get(output_format, "txt")
    if extension == "json" and (len(pages) > 1 or pages[0].cut_off):
        content = [
            {"page": page.name, "fields": _parsed(page.text)} | ({"cut_off": page.cut_off} if page.cut_off else {})
            for page in pages
        ]
        return "pages.json", (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
    return f"pages.{extension}", (joined(pages, output_format) + "\n").encode()


def as_zip(pages: Sequence[Page], output_format: str) -> tuple[str, bytes]:
    """Name and content of an archive with a file for each page."""
    extension = EXTENSIONS.get(output_format, "txt")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, page in enumerate(pages, 1):
            stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in page.name)[:60]
            cut = "_cut_off" if page.cut_off else ""
            archive.writestr(f"{number:03d}_{stem}{cut}.{extension}", joined([page], output_format) + "\n")
    return "pages.zip", buffer.getvalue()


def _parsed(text: str):
    try:
        return json.loads(text)
    except ValueError:
        return text
