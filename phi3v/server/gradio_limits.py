"""Gradio's own doings, within limits: what it would fetch, write and log by itself.

What is replaced here Gradio looks up in these modules; each has a test that fails if it no longer does.
"""

import logging

import gradio.mcp
import gradio.processing_utils
import gradio.route_utils
import gradio.routes
from starlette.formparsers import MultiPartException

MAX_FILES = 50  # of an upload; each is an open file until the whole body has come
MAX_FIELD_BYTES = 10_000  # of a part that is no file, which is kept in memory
NEVER = "Addresses are not fetched here."


class LimitedMultiPartParser(gradio.route_utils.GradioMultiPartParser):
    """Gradio's parser of uploads takes a thousand files, and parts of any length that are no files."""

    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **{**settings, "max_files": MAX_FILES, "max_fields": 10})

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """A piece of a part."""
        part = self._current_part
        if part.file is None and len(part.data) + end - start > MAX_FIELD_BYTES:
            raise MultiPartException("A field is longer than the maximum allowed size.")
        super().on_part_data(data, start, end)


async def _never_fetch(url: str) -> None:
    raise ValueError(NEVER)


def limit_gradio(folder: str) -> None:
    """Have Gradio fetch nothing, write into this folder only, and log no visitor's words.

    Args:
        folder: of uploads.
    """
    gradio.processing_utils.async_ssrf_protected_get = _never_fetch  # to show what a component's value names
    for module in (gradio.mcp, gradio.route_utils, gradio.routes):
        module.DEFAULT_TEMP_DIR = folder
    gradio.route_utils.GradioMultiPartParser = LimitedMultiPartParser
    # The MCP package logs requests that it can't read, with all that is in them.
    logging.getLogger("mcp").setLevel(logging.CRITICAL)
    logging.getLogger().addFilter(_is_not_of_mcp)


def _is_not_of_mcp(record: logging.LogRecord) -> bool:
    return "/mcp/" not in record.pathname.replace("\\", "/")
