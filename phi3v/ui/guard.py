"""What comes from outside, checked before anything looks at it, and refused without a word of it in the log."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder

from ..engine.literal import in_whole_characters
from ..inputs.images import GONE
from ..inputs.sources import is_address
from ..server.failures import log_failure
from ..server.listeners import Listeners
from ..server.queue import LimitedQueue
from .upload import SourceFiles

NO_PATHS = "A file is an upload or an address, not a path. With gradio_client, send handle_file(…)."
UNFIT = (
    "The request does not fit: see /gradio_api/info for what this endpoint takes, and in which order. With "
    "gradio_client, a file is sent with handle_file(…)."
)
MAX_CHARACTERS = 1_000_000  # of all texts of a request: what a session keeps
FAILED = "The server failed at this request. Try again; its log says more."


class GuardedBlocks(gr.Blocks):
    """`gr.Blocks` whose functions get uploaded files and addresses, and no other files.

    Gradio itself checks only files with the field `meta`, which a caller of the API can leave out, and opens what it
    is told to. Addresses it would fetch before the app's function runs, and without limits. Where a request can't be
    read it prints a traceback with all of the request.
    """

    def limited_queue(self, running: int, capacity: int, model_id: str, listeners: Listeners) -> None:
        """Have a `LimitedQueue` for the page's events.

        Args:
            running: events that ask the model which may run at once; most of them wait in the app's own line.
            capacity: how many may be there in all.
            model_id: their `concurrency_id`.
            listeners: who is connected.
        """
        self.queue(api_open=False)
        for event in self.fns.values():
            if event.concurrency_id == model_id:
                event.concurrency_limit = running
        self._queue = LimitedQueue(True, self.max_threads, 1, None, self)
        self._queue.capacity, self._queue.model_id, self._queue.listeners = capacity, model_id, listeners

    async def preprocess_data(self, block_fn, inputs, state, explicit_call=False):
        inputs = _sendable(inputs)
        if isinstance(inputs, list):
            takes_files = [isinstance(block, SourceFiles) for block in block_fn.inputs]
            takes_files += [False] * (len(inputs) - len(takes_files))
            inputs = [_sources(value) if takes else value for value, takes in zip(inputs, takes_files)]
        if _length(inputs, block_fn.inputs) > MAX_CHARACTERS:
            raise gr.Error(UNFIT, print_exception=False)
        for path in _paths(inputs):
            if not is_upload(path):
                raise gr.Error(GONE if _was_upload(path) else NO_PATHS, print_exception=False)
        with _only_errors_for_visitors(UNFIT):
            try:
                return await super().preprocess_data(block_fn, inputs, state, explicit_call)
            finally:
                for block in block_fn.inputs if state else ():
                    if isinstance(block, SourceFiles) and block._id in state:
                        state._update_value_in_config(block._id, None)  # a session would keep whole `data:` URLs

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
        log_failure(error)
        raise gr.Error(words, print_exception=False) from None


def is_upload(path: str) -> bool:
    """Whether a path is a regular file in the folder where uploads are, spelled as the server spells it."""
    return _was_upload(path) and Path(path).is_file() and path == str(Path(path))


def _was_upload(path: str) -> bool:
    """Whether a path is in the folder where uploads are; the file may have been deleted."""
    try:
        return Path(path).resolve().is_relative_to(Path(get_upload_folder()).resolve())
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


def _sources(value):
    """A file component's value with each address, however it was spelled, as `{"url": address}`.

    People send a file's address as a text, as its `path` (gradio_client's `handle_file`), or as its `url`.
    """
    if isinstance(value, str):
        return {"url": value} if is_address(value) else {"path": value}
    if isinstance(value, list):
        return [_sources(each) for each in value]
    if not isinstance(value, dict):
        return value
    path, url = value.get("path"), value.get("url")
    if isinstance(path, str) and is_address(path):
        return {"url": path}
    if isinstance(url, str) and is_address(url) and not (isinstance(path, str) and _was_upload(path)):
        return {"url": url}
    return {key: _sources(each) if isinstance(each, dict | list) else each for key, each in value.items()}


def _length(inputs, blocks) -> int:
    """Characters of all texts but those of files."""
    if not isinstance(inputs, list):
        return 0
    texts = [value for value, block in zip(inputs, blocks) if not isinstance(block, SourceFiles)]
    return sum(_characters(value) for value in texts)


def _characters(value) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(_characters(key) + _characters(each) for key, each in value.items())
    return sum(map(_characters, value)) if isinstance(value, list) else 1


def _paths(value) -> Iterator[str]:
    """Every file that is named in a request."""
    if isinstance(value, dict):
        if value.get("path") is not None:
            yield str(value["path"])
        for each in value.values():
            yield from _paths(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _paths(each)
