"""A link that opens the page as it is now: the tab, its question or format, the settings. Not the images.

`page.js` does it in the browser: what a visitor changes while a server still restores would be lost.
"""

import json

import gradio as gr

from ..app.tasks import MAX_QUESTION_CHARACTERS, OCR
from .settings import NAMES, Settings

TABS = ("describe", "ocr", "compare", "chat")


def link(
    app: gr.Blocks,
    tabs: gr.Tabs,
    describe: gr.Textbox,
    compare: gr.Textbox,
    output_format: gr.Radio,
    settings: Settings,
) -> None:
    """The button that copies the link (and puts it into the address bar), and what opens one.

    Settings that the link doesn't name are those that this browser had the last time.
    """
    named = dict(zip(NAMES, settings.components, strict=True))
    defaults = {name: component.value for name, component in named.items()}
    accepted = {
        "tabs": TABS,
        "formats": list(OCR),
        "longest_question": MAX_QUESTION_CHARACTERS,
        "bounds": {name: (component.minimum, component.maximum) for name, component in named.items()},
    }
    with gr.Row(elem_classes=["chips"]):
        copy = gr.Button("Copy a link to this", size="sm", min_width=0, elem_classes=["chip"], elem_id="copy-link")
    values = [describe, compare, output_format, *settings.components]
    copied = f"(...values) => phi3v.link({json.dumps(defaults)}, ...values)"
    copy.click(None, values, None, js=copied, api_visibility="private")
    restored = f"() => phi3v.restore({json.dumps(accepted)})"
    app.load(None, None, [tabs, *values], js=restored, api_visibility="private")
