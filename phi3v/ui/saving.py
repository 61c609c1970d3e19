"""Buttons that hand a text to the browser to save. Nothing is written on the server."""

import base64
import json
from collections.abc import Callable

import gradio as gr

from .parts import TALKING


def save_chip(label: str, elem_id: str, inputs: list, make: Callable[..., tuple[str, bytes] | None]) -> None:
    """A button for the file that `make` gives: name and content, or None if there is nothing to save yet."""
    button = gr.Button(label, size="sm", min_width=0, elem_classes=["chip"], elem_id=elem_id)
    made = gr.Textbox(visible=False)

    def pack(*values) -> str:
        file = make(*values)
        if file is None:
            gr.Info("There is nothing to save yet.")
            return ""
        name, content = file
        return json.dumps({"name": name, "data": base64.b64encode(content).decode()})

    button.click(pack, inputs, made, **TALKING).then(None, made, None, js="(packed) => phi3v.save(packed)")
