"""Where images come from: uploaded files, addresses of the web, `data:` URLs. All become files to open."""

import base64
import binascii
import tempfile
from collections.abc import Sequence
from pathlib import Path

from . import fetch
from .deadline import Deadline

WEB = ("http://", "https://")
DATA = "data:"
NOT_FETCHED = "Addresses are not fetched here. Download the file and send it."


def is_address(source: str) -> bool:
    """Whether a source is an address or a `data:` URL instead of a file."""
    return source.lower().startswith((*WEB, DATA))


def local_files(
    sources: Sequence[str], folder: str | Path, *, max_bytes: int, web: bool, deadline: Deadline
) -> list[Path]:
    """A file for each source, in order. Files stay where they are; each address is fetched once, into `folder`.

    Args:
        max_bytes: how many each may have.
        web: whether addresses of the web are fetched at all.
        deadline: by when all of them have to be there.

    Raises:
        ValueError: an address can't be fetched, or a `data:` URL is none; the message says what to do.
        StoppedError: as of `Deadline.left`.
    """
    files: dict[str, Path] = {}
    for source in sources:
        if source in files:
            continue
        if source.lower().startswith(WEB):
            if not web:
                raise ValueError(NOT_FETCHED)
            files[source] = fetch.fetch_image(source, folder, max_bytes=max_bytes, deadline=deadline)
        elif source[: len(DATA)].lower() == DATA:
            files[source] = _decoded(source, folder, max_bytes)
        else:
            files[source] = Path(source)
    return [files[source] for source in sources]


def _decoded(url: str, folder: str | Path, max_bytes: int) -> Path:
    head, comma, data = url.partition(",")
    if len(data) > max_bytes * 4 // 3 + 4:
        raise ValueError(f"The image has more than {max_bytes / 1e6:g} MB. Make it smaller, or send another.")
    try:
        content = base64.b64decode(data, validate=True) if comma and head.lower().endswith(";base64") else b""
    except binascii.Error:
        content = b""
    with tempfile.NamedTemporaryFile(dir=folder, prefix="data-", delete=False) as file:
        file.write(content)
    return Path(file.name)
