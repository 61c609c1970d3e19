"""An image from an address of the web."""

import tempfile

import gradio as gr
from gradio.utils import get_upload_folder

from ..inputs.deadline import Deadline
from ..inputs.fetch import fetch_image
from ..inputs.images import open_image
from .parts import TALKING
from .tab import WARNING_SECONDS
from .upload import GalleryPaths, ImagePath

AT_ONCE = 4
SECONDS = 15.0  # for fetching and decoding


def from_the_web(target: ImagePath | GalleryPaths, tab: str, max_bytes: int) -> None:
    """A field for an address; what is there becomes the value of `target`, or joins a gallery's images."""
    several = isinstance(target, gr.Gallery)

    def take(address: str, present):
        try:
            with tempfile.TemporaryDirectory(prefix="request-", dir=get_upload_folder()) as folder:
                deadline = Deadline(SECONDS)
                file = fetch_image((address or "").strip(), folder, max_bytes=max_bytes, deadline=deadline)
                path = target.keep(open_image(file, deadline=deadline))
        except (ValueError, TimeoutError) as error:
            words = str(error) or "The image takes too long to read. Download it and send the file."
            gr.Warning(words, title="Not fetched", duration=WARNING_SECONDS)
            return gr.skip(), gr.skip()
        return [*(present or []), path] if several else path, ""

    with gr.Accordion("From an address", open=False, elem_id=f"{tab}-web"), gr.Row(elem_classes=["actions"]):
        address = gr.Textbox(
            placeholder="https://… (of the image itself)", label="Address", show_label=False, max_length=2000, scale=4
        )
        fetch = gr.Button("Fetch", scale=1, min_width=80)
    limits = TALKING | {"concurrency_id": "web", "concurrency_limit": AT_ONCE}  # of all tabs together
    gr.on([address.submit, fetch.click], take, [address, target], [target, address], **limits)
