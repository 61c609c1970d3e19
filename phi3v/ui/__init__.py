"""The page. `build_app` puts the tabs together; each tab is a module."""

import gradio as gr

from ..loading import EngineLoader
from ..options import Options
from . import chat, compare, describe, ocr
from .guard import GuardedBlocks
from .link import link
from .settings import settings_panel
from .status import status_line
from .streaming import MODEL_EVENT
from .upload import SafeFiles

CACHE_SECONDS = 3600  # uploads are deleted after an hour


def build_app(loader: EngineLoader, options: Options) -> gr.Blocks:
    """The whole page, and the named endpoints `/describe`, `/ocr`, `/compare` and `/chat`."""
    with GuardedBlocks(
        title="Phi-3-Vision", analytics_enabled=False, delete_cache=(CACHE_SECONDS, CACHE_SECONDS), fill_width=False
    ) as app:
        status_line(app, loader)
        # The settings stand below the tabs and are read by all of them.
        settings = settings_panel(options)
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Describe", id="describe"):
                described = describe.build(loader, settings, options)
            with gr.Tab("OCR", id="ocr"):
                output_format = ocr.build(loader, settings, options)
            with gr.Tab("Compare", id="compare"):
                compared = compare.build(loader, settings, options)
            with gr.Tab("Chat", id="chat"):
                chat.build(loader, settings, options)
        settings.render()
        link(app, tabs, described, compared, output_format, settings)
    for block in app.blocks.values():
        if isinstance(block, SafeFiles):
            block.web = options.web
    for event in app.fns.values():
        if event.concurrency_id == MODEL_EVENT["concurrency_id"]:
            event.concurrency_limit = options.concurrency
    app.queue(max_size=options.max_queue)
    return app
