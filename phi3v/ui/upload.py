"""Components that hand over uploaded files, unopened, and nothing else."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import gradio as gr
from gradio.data_classes import FileData, GradioRootModel
from gradio.processing_utils import save_pil_to_cache
from gradio_client.utils import is_http_url_like
from PIL import Image

from ..fetch import fetch_image
from ..images import open_data_url, open_image
from .parts import PRIVATE
from .streaming import PREPARING

ADDRESSES = ("data:", "http://", "https://")
NOT_FETCHED = "Addresses are not fetched here. Download the file and send it."
LONG_SIDE = 4096  # pixels that a copy of an image keeps: several times what the model sees


class SafeFiles:
    """Fetches images from addresses that a caller of the API gives only within the limits of `fetch_image`.

    Gradio fetches them before the app's function runs, and without a limit on their size.

    Attributes:
        web: whether addresses are taken at all.
    """

    web = False

    async def async_move_resource_to_block_cache(self, url_or_file_path):
        if not is_http_url_like(str(url_or_file_path)):
            return await super().async_move_resource_to_block_cache(url_or_file_path)
        if not self.web:
            raise gr.Error(NOT_FETCHED, print_exception=False)
        try:
            image = await asyncio.to_thread(fetch_image, str(url_or_file_path))
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from error
        return self.keep(image)

    def keep(self, image: Image.Image, name: str = "image") -> str:
        """The path of a PNG of this image, made smaller in place, among the component's files."""
        image.thumbnail((LONG_SIDE, LONG_SIDE))
        path = save_pil_to_cache(image, self.GRADIO_CACHE, name, "png")
        self.temp_files.add(path)
        return path


class ImagePath(SafeFiles, gr.Image):
    """`gr.Image` whose value is the uploaded file's path.

    gr.Image opens the file before the app's function runs and fails with a traceback where it can't.
    `images.open_image` does this with errors a person can act on.
    """

    def preprocess(self, payload) -> str | None:
        return payload.path if payload else None

    def get_block_name(self) -> str:
        return "image"


class GalleryPaths(SafeFiles, gr.Gallery):
    """`gr.Gallery` whose value is the uploaded files' paths, without captions."""

    def preprocess(self, payload) -> list[str]:
        return [path for path, _ in super().preprocess(payload) or []]

    def get_block_name(self) -> str:
        return "gallery"


class FilePaths(SafeFiles, gr.File):
    """`gr.File` of uploaded files."""

    def get_block_name(self) -> str:
        return "file"


class Files(GradioRootModel):
    """Uploaded files, and addresses: the MCP server passes those of a list on as they are."""

    root: list[FileData | str]


class FileList(SafeFiles, gr.File):
    """`gr.File` with `file_count="multiple"`, whose value is paths, and addresses for `images_of`."""

    @property
    def data_model(self) -> type[Files]:
        return Files

    @data_model.setter
    def data_model(self, _) -> None:
        """gr.File would set one without addresses."""

    def api_info(self) -> dict:
        # Written out: references to definitions the MCP server loses, and then refuses every call.
        item = FileData.model_json_schema()
        item["properties"]["meta"] = item.pop("$defs")["FileDataMeta"] | item["properties"]["meta"]
        item["properties"]["meta"].pop("$ref", None)
        return {"type": "array", "title": "ListFiles", "items": item}

    def preprocess(self, payload: Files | None) -> list[str]:
        files = payload.root if payload else []
        if any(isinstance(file, str) and not file.startswith(ADDRESSES) for file in files):
            raise gr.Error("A file is an upload or an address, not a path.", print_exception=False)
        return [file if isinstance(file, str) else file.path for file in files]

    def images_of(self, files: Sequence[str]) -> list[str | Image.Image]:
        """The value with images in place of addresses.

        Raises:
            ValueError: an address is not fetched, or is not one; what is there is no image.
        """
        return [file if file in self.temp_files else self._from_address(file) for file in files or ()]

    def _from_address(self, address: str) -> Image.Image:
        if address.startswith("data:"):
            return open_data_url(address)
        if self.web and is_http_url_like(address):
            return fetch_image(address)
        raise ValueError(NOT_FETCHED)

    def get_block_name(self) -> str:
        return "file"


class ChatBox(SafeFiles, gr.MultimodalTextbox):
    """`gr.MultimodalTextbox` of uploaded files."""

    def get_block_name(self) -> str:
        return "multimodaltextbox"


def show_tiffs(component: ImagePath | GalleryPaths) -> None:
    """Put copies as PNG in the place of uploaded TIFFs, which browsers don't show."""

    def copies(value):
        several = isinstance(value, list)
        before = value if several else [value] if value else []
        after = [as_png(component, path) for path in before]
        if after == before:
            return gr.skip()
        return after if several else after[0]

    component.upload(copies, component, component, **PRIVATE)


def as_png(component: SafeFiles, path: str) -> str:
    """A TIFF's copy among the component's files; of other files, and of damaged ones, the path itself."""
    try:
        Image.open(path, formats=["TIFF"]).close()
        with PREPARING:
            return component.keep(open_image(path), Path(path).stem)
    except Exception:  # as of `open_image`; what is wrong with the file is said when it is asked about
        return path
