"""Tab: the text of documents, page by page, in several formats."""

import time

import gradio as gr

from ..conversation import Exchange
from ..loading import EngineLoader
from ..options import Options
from ..pages import as_file, as_zip, count_pages, joined, pages_of
from ..tasks import OCR, OCR_EXAMPLES, ocr_question
from .code import code_panel
from .parts import PRIVATE, again_chip, ask_and_stop, examples, stats_below
from .saving import save_chip
from .settings import Settings
from .streaming import STOP_REASONS, Query, Tab, Turns, answers, endpoint, refusal
from .upload import FilePaths, ImagePath, show_tiffs
from .web import from_the_web


def build(loader: EngineLoader, settings: Settings, options: Options) -> gr.Radio:
    """The tab and its endpoint `/ocr`; returns its output format."""

    def request(engine, image, files, output_format, *values) -> Query:
        chosen = [*([image] if image else []), *(files or [])]
        return Query(ocr_question(chosen, output_format), chosen, settings.as_arguments(*values))

    def read_pages(pages: list[Exchange], stop, *values):
        """Texts of all pages so far and a line on what is going on; `pages` grows."""
        query, output_format = request(None, *values), values[2]
        total = count_pages(query.files, options.max_pages)
        began, whole, unread = time.monotonic(), 0, 0
        for number, (name, image) in enumerate(pages_of(query.files, options.max_pages), 1):
            page, line = Exchange(name), ""
            pages.append(page)
            try:
                if isinstance(image, ValueError):
                    raise image
                each = Query(query.question, [image], query.arguments)
                left = max(1.0, settings.max_time - (time.monotonic() - began))
                for page.answer, line in answers(loader, lambda engine, q=each: q, (), left, stop):
                    text = joined(pages, output_format)
                    yield text, line if total == 1 else _progress(number, total, line)
            except ValueError as error:
                if total == 1:
                    raise
                page.answer = f"[{error}]"
                unread += 1
            else:
                if line.endswith((STOP_REASONS["stopped"], STOP_REASONS["time"])):
                    page.question += ", cut off"
                else:
                    whole += 1
            ended = "stopped" if stop and stop.is_set() else "time"
            if ended == "stopped" or time.monotonic() - began > settings.max_time:
                break
        else:
            ended = None
        if total > 1:
            parts = [f"{whole} of {total} pages"]
            if unread:
                parts.append(f"{unread} could not be read")
            if len(pages) > whole + unread:
                parts.append(f"page {len(pages)} cut off")
            parts.append(f"{time.monotonic() - began:.1f} s")
            if ended:
                parts.append(STOP_REASONS[ended])
            yield joined(pages, output_format), " · ".join(parts)

    def generate(turns: Turns, *values):
        turns.exchanges, turns.output_format = [], values[2]
        yield from read_pages(turns.exchanges, turns.stop, *values)

    def ocr(
        document,
        output_format="text",
        max_new_tokens=500,
        temperature=0,
        top_p=1,
        repetition_penalty=1,
        seed=-1,
        num_crops=0,
    ):
        """Read a document. Yields its text so far, without commentary.

        Args:
            document: an image or PDF file; a PDF's pages are read one after another.
            output_format: "text", "markdown" (headings, lists, tables), "json" (fields) or "title and author".
            max_new_tokens: where the text is cut off.
            temperature: 0 takes the likeliest token each time, up to 2.
            top_p: share of the likeliest tokens to choose from, with a temperature above 0.
            repetition_penalty: 1 is none, up to 2.
            seed: the same seed gives the same answer; -1 another each time.
            num_crops: detail of the image, 1 to 16; 0 as the model was trained.
        """
        values = (max_new_tokens, temperature, top_p, repetition_penalty, seed, num_crops)
        try:
            for text, _ in read_pages([], None, None, [document] if document else [], output_format, *values):
                yield text
        except ValueError as error:
            raise refusal(error) from error

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
                from_the_web(document, "ocr")
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
    shown = "(text, format) => format === 'markdown' ? text : ''"  # rendering anew for each piece takes long
    answer.change(None, [answer, output_format], preview, js=shown, api_visibility="private")
    clear.add([document, files, preview])

    def shown(engine, image, files, *values) -> Query:
        return request(engine, image or (None if files else "image.png"), files, *values)

    code_panel(loader, shown, inputs, None, "ocr", one_by_one=True)
    # For the API one file of either kind.
    file = FilePaths(label="document", type="filepath", visible=False)
    endpoint(ocr, [file, output_format, *settings.components])
    return output_format


def _progress(number: int, total: int, line: str) -> str:
    bar = f'<progress value="{number - 1}" max="{total}" aria-label="pages read"></progress>'
    return f"{bar} Page {number} of {total} · {line}"


def _maker(make):
    return lambda turns: make(turns.exchanges, turns.output_format) if turns and turns.exchanges else None
