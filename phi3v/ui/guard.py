"""What comes from outside, checked before anything looks at it, and refused without a word of it in the log."""

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder

from ..literal import in_whole_characters

NO_PATHS = "A file is an upload or an address, not a path. With gradio_client, send handle_file(…)."
UNFIT = (
    "The request does not fit: see /gradio_api/info for what this endpoint takes, and in which order. With "
    "gradio_client, a file is sent with handle_file(…)."
)
FAILED = "The server failed at this request. Try again; its log says more."
ADDRESSES = ("http://", "https://")

log = logging.getLogger("phi3v")


class GuardedBlocks(gr.Blocks):
    """`gr.Blocks` whose functions get uploaded files and no others.

    Gradio itself checks only files with the field `meta`, which a caller of the API can leave out, and opens what it
    is told to. Where a request can't be read it prints a traceback with all of the request.
    """

    async def preprocess_data(self, block_fn, inputs, state, explicit_call=False):
        inputs = _sendable(inputs)
        for path, is_marked in _files(inputs):
            # Addresses are fetched, within limits, where Gradio sees a file in them; elsewhere they would be paths.
            if not (is_upload(path) or (is_marked and path.lower().startswith(ADDRESSES))):
                raise gr.Error(NO_PATHS, print_exception=False)
        with _only_errors_for_visitors(UNFIT):
            return await super().preprocess_data(block_fn, inputs, state, explicit_call)

    async def process_api(self, *args, **kwargs):
        with _only_errors_for_visitors(FAILED):
            return await super().process_api(*args, **kwargs)


@contextmanager
def _only_errors_for_visitors(words: str) -> Iterator[None]:
    """Anything but a `gr.Error` becomes one with these words, and a line in the log on where it came from."""
    try:
        yield
    except gr.Error as error:
        error.print_exception = False
        raise
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        log.warning("A request failed: %s in %s, line %d", type(error).__name__, place.name, place.lineno)
        raise gr.Error(words, print_exception=False) from None


def is_upload(path: str) -> bool:
    """Whether a path is a regular file in the folder where uploads are."""
    try:
        file = Path(path).resolve()
        return file.is_relative_to(Path(get_upload_folder()).resolve()) and file.is_file()
    except (OSError, ValueError):  # too long, or with a NUL
        return False


def _sendable(value):
    """The same with texts that can be sent back to the page."""
    if isinstance(value, str):
        return in_whole_characters(value)
    if isinstance(value, dict):
        return {key: _sendable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_sendable(each) for each in value]
    return value


def _files(value) -> Iterator[tuple[str, bool]]:
    """Every file named in a request, and whether it is marked as one."""
    if isinstance(value, dict):
        if value.get("path") is not None:
            yield str(value["path"]), "meta" in value
        for each in value.values():
            yield from _files(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _files(each)
