"""Components that hand over uploaded files unopened."""

import gradio as gr

from gradio.events import Dependency

class ImagePath(UploadsOnly, gr.Image):
    """`gr.Image` whose value is the uploaded file's path.

    gr.Image opens the file before the app's function runs and fails with a traceback where it can't.
    `images.open_image` does this with errors a person can act on.
    """

    def preprocess(self, payload) -> str | None:
        return payload.path if payload else None

    def get_block_name(self) -> str:
        return "image"
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component
class GalleryPaths(UploadsOnly, gr.Gallery):
    """`gr.Gallery` of uploaded files."""

    def get_block_name(self) -> str:
        return "gallery"
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component

    
class FilePaths(UploadsOnly, gr.File):
    """`gr.File` of uploaded files."""

    def get_block_name(self) -> str:
        return "file"
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component

    