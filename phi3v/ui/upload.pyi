"""Components that hand over uploaded files unopened."""

import gradio as gr

from gradio.events import Dependency

class ImagePath(gr.Image):
    """`gr.Image` whose value is the uploaded file's path.

    gr.Image opens the file before the app's function runs and fails with a traceback where it can't.
    `images.open_image` does this with errors a person can act on.
    """

    is_template = True  # in the browser it is gr.Image

    def preprocess(self, payload) -> str | None:
        return payload.path if payload else None
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component