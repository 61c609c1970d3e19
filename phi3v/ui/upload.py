"""Components whose value is where files are: paths of uploads, and addresses. Nothing is opened or fetched here."""

import os
from pathlib import Path

import gradio as gr
from gradio.data_classes import FileData, GradioModel, GradioRootModel
from gradio.processing_utils import save_pil_to_cache
from PIL import Image

from ..inputs.deadline import Deadline
from ..inputs.images import open_image
from ..inputs.sources import is_address
from .parts import FILE_EVENT

LONG_SIDE = 4096  # pixels that a copy of an image keeps: several times what the model sees
COPY_SECONDS = 10.0  # for a TIFF's copy as PNG


class FileOrAddress(GradioModel):
    """An upload, by its path, or an address. What else the page sends along is left out."""

    path: str | None = None
    url: str | None = None
    orig_name: str | None = None
    meta: dict | None = None


class FilesOrAddresses(GradioRootModel):
    """Several of them."""

    root: list[FileOrAddress]


class SourceFiles:
    """Makes a component's value paths and addresses; `GuardedBlocks` has checked that they are no others."""

    def keep(self, image: Image.Image, name: str = "image") -> str:
        """The path of a PNG of this image, made smaller in place, among the component's files."""
        image.thumbnail((LONG_SIDE, LONG_SIDE))
        path = save_pil_to_cache(image, self.GRADIO_CACHE, name, "png")
        self.temp_files.add(path)
        os.utime(path)  # what was there already begins its hour anew
        return path


class ImagePath(SourceFiles, gr.Image):
    """`gr.Image` whose value is a path or an address.

    gr.Image opens the file before the app's function runs and fails with a traceback where it can't.
    `inputs/images.py` does this with errors a person can act on.
    """

    def preprocess(self, payload) -> str | None:
        return (payload.path or payload.url) if payload else None

    def get_block_name(self) -> str:
        return "image"


class GalleryPaths(SourceFiles, gr.Gallery):
    """`gr.Gallery` whose value is paths and addresses, without captions."""

    def preprocess(self, payload) -> list[str]:
        files = [entry.image for entry in payload.root if hasattr(entry, "image")] if payload else []
        return [file.path or file.url for file in files if file.path or file.url]

    def get_block_name(self) -> str:
        return "gallery"


class FilePaths(SourceFiles, gr.File):
    """`gr.File` whose value is paths and addresses; gr.File leaves an empty file behind for each."""

    @property
    def data_model(self) -> type[GradioModel] | type[GradioRootModel]:
        return FileOrAddress if self.file_count == "single" else FilesOrAddresses

    @data_model.setter
    def data_model(self, _) -> None:
        """gr.File sets one that takes no addresses."""

    def preprocess(self, payload: FileOrAddress | FilesOrAddresses | None) -> str | list[str] | None:
        if self.file_count == "single":
            return (payload.path or payload.url) if payload else None
        return [file.path or file.url for file in payload.root if file.path or file.url] if payload else []

    def api_info(self) -> dict:
        # Written out: references to definitions the MCP server loses, and then refuses every call.
        file = FileData.model_json_schema()
        file["properties"]["meta"] = file.pop("$defs")["FileDataMeta"] | file["properties"]["meta"]
        file["properties"]["meta"].pop("$ref", None)
        return file if self.file_count == "single" else {"type": "array", "title": "ListFiles", "items": file}

    def get_block_name(self) -> str:
        return "file"


class ChatBox(SourceFiles, gr.MultimodalTextbox):
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

    component.upload(copies, component, component, **FILE_EVENT)


def as_png(component: SourceFiles, path: str) -> str:
    """A TIFF's copy among the component's files; of other files, and of damaged ones, the path itself."""
    if is_address(path):
        return path
    try:
        with open(path, "rb") as file:
            if file.read(4) not in (b"II*\0", b"MM\0*"):
                return path
        return component.keep(open_image(path, deadline=Deadline(COPY_SECONDS)), Path(path).stem)
    except (ValueError, OSError):  # what is wrong with the file is said when it is asked about
        return path
