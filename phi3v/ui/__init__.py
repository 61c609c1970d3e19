"""The page. `build_app` puts the tabs together; each tab is a module."""

import gradio as gr

from ..loading import EngineLoader
from ..options import Options
from . import compare, describe, ocr
from .settings import settings_panel
from .status import status_line

CACHE_SECONDS = 3600  # uploads are deleted after an hour


def build_app(loader: EngineLoader, options: Options) -> gr.Blocks:
    """The whole page, and the named endpoints `/describe`, `/ocr` and `/compare`."""
    with gr.Blocks(
        title="Phi-3-Vision", analytics_enabled=False, delete_cache=(CACHE_SECONDS, CACHE_SECONDS), fill_width=False
    ) as app:
        status_line(app, loader)
        # The settings stand below the tabs and are read by all of them.
        settings = settings_panel(options)
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Describe", id="describe"):
                describe.build(loader, settings)
            with gr.Tab("OCR", id="ocr"):
                ocr.build(loader, settings)
            with gr.Tab("Compare", id="compare"):
                compare.build(loader, settings)
        settings.render(app)
    app.queue(max_size=options.max_queue)
    return app
