"""The page. `build_app` puts the tabs together; each tab is a module."""

import gradio as gr
from gradio import component_meta

# Gradio writes interfaces (.pyi) beside the files of component classes; type checkers would read those instead of the
# code, and an installed package may not be writable.
component_meta.create_or_modify_pyi = lambda *_: None

from ..app.loading import EngineLoader
from ..app.options import Options
from ..server.listeners import Listeners
from . import chat, compare, describe, ocr
from .guard import GuardedBlocks
from .link import link
from .settings import settings_panel
from .status import status_line
from .tab import MODEL_EVENT

MOST_RUNNING = 100  # threads that may look after requests, most of which wait


def build_app(loader: EngineLoader, options: Options, listeners: Listeners) -> gr.Blocks:
    """The whole page, and the named endpoints `/describe`, `/ocr`, `/compare` and `/chat`."""
    with GuardedBlocks(title="Phi-3-Vision", analytics_enabled=False, fill_width=False) as app:
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
    capacity = options.max_queue + options.concurrency
    app.limited_queue(min(capacity, MOST_RUNNING), capacity, MODEL_EVENT["concurrency_id"], listeners)
    return app
