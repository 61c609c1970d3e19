"""Tab: the text of documents, page by page, in several formats."""

import tempfile
import threading
from collections.abc import Generator, Iterator
from functools import partial

import gradio as gr
from gradio.utils import get_upload_folder

from ..app.loading import EngineLoader
from ..app.options import Options
from ..app.pages import Opener, Page, PageFiles, as_file, as_zip, check_count, joined, read_pages
from ..app.tasks import OCR, OCR_EXAMPLES, ocr_question
from ..inputs.deadline import StoppedError
from .answers import (
    PREPARE_SECONDS,
    STOPPED,
    Query,
    Result,
    Update,
    answers,
    in_background,
    local,
    words_for_errors,
)
from .code import code_panel
from .parts import PRIVATE, again_chip, ask_and_stop, examples, stats_below
from .saving import save_chip
from .settings import Settings
from .tab import Tab, Turns, endpoint, visitor_of
from .upload import FilePaths, ImagePath, show_tiffs
from .web import from_the_web


def build(loader: EngineLoader, settings: Settings, options: Options) -> gr.Radio:
    """The tab and its endpoint `/ocr`; returns its output format."""

    def request(engine, image, files, output_format, *values) -> Query:
        chosen = [*([image] if image else []), *(files or [])]
        return Query(ocr_question(chosen, output_format), chosen, settings.as_arguments(*values))

    def read_document(pages: list[Page], visitor: str, stop: threading.Event, *values) -> Iterator[tuple[str, str]]:
        """Texts of all pages so far and a line on what is going on; `pages` grows."""

        def ask(opener: Opener, seconds: float):
            page = Query(query.question, [opener], query.arguments)
            return answers(loader, lambda _: page, (), seconds, visitor, stop)

        with words_for_errors(), tempfile.TemporaryDirectory(prefix="request-", dir=get_upload_folder()) as folder:
            query, output_format = request(None, *values), values[2]
            check_count(query.sources, options.max_pages)
            try:
                sources = yield from _lines(local(query.sources, folder, options, PREPARE_SECONDS, stop))
                count = partial(PageFiles, sources, options.max_pages)
                files = yield from _lines(in_background(count, PREPARE_SECONDS, stop, "Counting pages …"))
            except StoppedError:
                yield STOPPED[:2]
                return
            with files:
                for line in read_pages(files, pages, ask, settings.max_time):
                    yield joined(pages, output_format), line

    def generate(turns: Turns, *values):
        turns.pages, turns.output_format = [], values[2]
        yield from read_document(turns.pages, turns.visitor, turns.stop, *values)

    def ocr(
        caller: gr.Request,
        document,
        output_format="text",
        *values,
    ):
        """Read a document. Yields its text so far, without commentary.

        Args:
            document: an image or PDF file; a PDF's pages, up to {max_pages}, are read one after another.
            output_format: "text", "markdown" (headings, lists, tables), "json" (fields) or "title and author".
        """
        chosen = [document] if document else []
        for text, _ in read_document([], visitor_of(caller), threading.Event(), None, chosen, output_format, *values):
            yield text

    with gr.Row(equal_height=False):
        with gr.Column(scale=5):
            document = ImagePath(
                label="One page",
                type="filepath",
                sources=["upload", "webcam", "clipboard"],
                buttons=["fullscreen"],
                height=280,
                elem_id="ocr-document",
            )
            show_tiffs(document)
            if options.web:
                from_the_web(document, "ocr", options.max_file_bytes)
            files = FilePaths(
                label="Several pages: images and PDFs, in order",
                file_count="multiple",
                file_types=["image", ".pdf"],
                type="filepath",
                height=200,
                elem_id="ocr-files",
            )
            output_format = gr.Radio(
                [(preset.label, name) for name, preset in OCR.items()],
                value="text",
                label="Output format",
                elem_id="ocr-format",
            )
            read, stop, clear = ask_and_stop("Read", "ocr")
        with gr.Column(scale=6):
            # The raw text, since that is what people copy; Markdown shows below as it would look.
            answer = gr.Textbox(
                label="Text",
                lines=17,
                max_lines=30,
                interactive=False,
                buttons=["copy"],
                elem_classes=["answer"],
                elem_id="ocr-answer",
            )
            stats = stats_below("ocr")
            turns = gr.State()
            with gr.Row(elem_classes=["chips"]):
                again = again_chip("ocr")
                for label, kind, make in (("Save", "file", as_file), ("Save each page (zip)", "zip", as_zip)):
                    save_chip(label, f"ocr-save-{kind}", [turns], _maker(make))
            with gr.Accordion("Rendered", open=True, visible=False) as rendered:
                preview = gr.Markdown(elem_id="ocr-rendered")

    started = examples(OCR_EXAMPLES, [document, output_format], "ocr")
    inputs = [document, files, output_format, *settings.components]
    Tab(answer, stats, read, stop, clear, turns).on([read.click, again.click, started.then], generate, inputs)
    output_format.change(lambda name: gr.update(visible=name == "markdown"), output_format, rendered, **PRIVATE)
    rendering = "(text, format) => format === 'markdown' ? text : ''"  # by the browser: the server would send it twice
    answer.change(None, [answer, output_format], preview, js=rendering, api_visibility="private")
    clear.add([document, files, preview])

    def asked(engine, image, files, *values) -> Query:
        return request(engine, image or (None if files else "image.png"), files, *values)

    code_panel(loader, asked, inputs, None, "ocr", one_by_one=True)
    # For the API one file of either kind.
    file = FilePaths(label="document", type="filepath", visible=False)
    endpoint(ocr, [file, output_format, *settings.components], settings, options)
    return output_format


def _lines(updates: Generator[Update, None, Result]) -> Generator[tuple[str, str], None, Result]:
    """The same without the last of each update's three."""
    try:
        while True:
            yield next(updates)[:2]
    except StopIteration as end:
        return end.value
    finally:
        updates.close()


def _maker(make):
    return lambda turns: make(turns.pages, turns.output_format) if turns and turns.pages else None
