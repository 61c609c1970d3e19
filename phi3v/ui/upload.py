"""Components that hand over uploaded files, unopened, and nothing else."""

import gradio as gr
from gradio_client.utils import is_http_url_like


class UploadsOnly:
    """Refuses addresses. Gradio fetches them before the app's function runs, and without a limit on their size."""

    async def async_move_resource_to_block_cache(self, url_or_file_path):
        if is_http_url_like(str(url_or_file_path)):
            raise gr.Error("Addresses are not fetched here. Download the file and send it.", print_exception=False)
        return await super().async_move_resource_to_block_cache(url_or_file_path)


class ImagePath(UploadsOnly, gr.Image):
    """`gr.Image` whose value is the uploaded file's path.

    gr.Image opens the file before the app's function runs and fails with a traceback where it can't.
    `images.open_image` does this with errors a person can act on.
    """

    def preprocess(self, payload) -> str | None:
        return payload.path if payload else None

    def get_block_name(self) -> str:
        return "image"


class GalleryPaths(UploadsOnly, gr.Gallery):
    """`gr.Gallery` whose value is the uploaded files' paths, without captions."""

    def preprocess(self, payload) -> list[str]:
        return [path for path, _ in super().preprocess(payload) or []]

    def get_block_name(self) -> str:
        return "gallery"


class FilePaths(UploadsOnly, gr.File):
    """`gr.File` of uploaded files."""

    def get_block_name(self) -> str:
        return "file"
