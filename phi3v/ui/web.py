"""An image from an address of the web."""

import gradio as gr

from ..fetch import fetch_image
from .parts import TALKING
from .streaming import WARNING_SECONDS
from .upload import LONG_SIDE

AT_ONCE = 4


def from_the_web(target: gr.components.Component, tab: str) -> None:
    """A field for an address; what is there becomes the value of `target`, or joins a gallery's images."""
    several = isinstance(target, gr.Gallery)

    def take(address: str, present):
        try:
            image = fetch_image((address or "").strip())
        except ValueError as error:
            gr.Warning(str(error), title="Not fetched", duration=WARNING_SECONDS)
            return gr.skip(), gr.skip()
        image.thumbnail((LONG_SIDE, LONG_SIDE))
        return [*(present or []), image] if several else image, ""

    with gr.Accordion("From an address", open=False, elem_id=f"{tab}-web"), gr.Row(elem_classes=["actions"]):
        address = gr.Textbox(
            placeholder="https://… (of the image itself)", label="Address", show_label=False, max_length=2000, scale=4
        )
        fetch = gr.Button("Fetch", scale=1, min_width=80)
    limits = TALKING | {"concurrency_limit": AT_ONCE}
    gr.on([address.submit, fetch.click], take, [address, target], [target, address], **limits)
