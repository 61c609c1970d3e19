"""Tab: a document's text, in several formats."""

import gradio as gr

from ..loading import EngineLoader
from ..tasks import OCR, OCR_EXAMPLES, PREVIEW_WORDS, ocr_question
from .code import code_panel
from .parts import PRIVATE, ask_and_stop, examples, stats_below
from .settings import Settings
from .streaming import answers, endpoint, wire
from .upload import ImagePath


def build(loader: EngineLoader, settings: Settings) -> None:
    """The tab and its endpoint `/ocr`."""

    def request(engine, document, output_format, *values):
        prompt = ocr_question(document, output_format)
        if engine and engine.is_preview:
            prompt = PREVIEW_WORDS.get(prompt, prompt)
        return prompt, [document], settings.as_arguments(*values)

    def generate(stop, *values):
        yield from answers(loader, request, values, settings.max_time, stop)

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
            document: an image file.
            output_format: "text", "markdown" (headings, lists, tables), "json" (fields) or "title and author".
            max_new_tokens: where the text is cut off.
            temperature: 0 takes the likeliest token each time, up to 2.
            top_p: share of the likeliest tokens to choose from, with a temperature above 0.
            repetition_penalty: 1 is none, up to 2.
            seed: the same seed gives the same answer; -1 another each time.
            num_crops: detail of the image, 1 to 16; 0 as the model was trained.
        """
        values = (max_new_tokens, temperature, top_p, repetition_penalty, seed, num_crops)
        for text, _ in generate(None, document, output_format, *values):
            yield text

    with gr.Row(equal_height=False):
        with gr.Column(scale=5):
            document = ImagePath(
                label="Document",
                type="filepath",
                sources=["upload", "webcam", "clipboard"],
                buttons=["fullscreen"],
                height=340,
                elem_id="ocr-document",
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
            with gr.Accordion("Rendered", open=True, visible=False) as rendered:
                preview = gr.Markdown(elem_id="ocr-rendered")

    started = examples(OCR_EXAMPLES, [document, output_format], "ocr")
    inputs = [document, output_format, *settings.components]
    wire([read.click, started.then], stop, clear, read, generate, inputs, answer, stats)
    output_format.change(lambda name: gr.update(visible=name == "markdown"), output_format, rendered, **PRIVATE)
    answer.change(None, answer, preview, js="text => text", api_visibility="private")
    clear.add([document, preview])
    code_panel(loader, request, inputs, "image.png", "ocr")
    endpoint(ocr, inputs)
