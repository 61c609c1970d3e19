"""Tab: one image, one question."""

import gradio as gr

from ..loading import EngineLoader
from ..tasks import DEFAULT_QUESTION, DESCRIBE, DESCRIBE_EXAMPLES, MAX_QUESTION_CHARACTERS, describe_question
from .code import code_panel
from .parts import answer_panel, ask_and_stop, examples, preset_chips
from .settings import Settings
from .streaming import answers, endpoint, wire
from .upload import ImagePath


def build(loader: EngineLoader, settings: Settings) -> None:
    """The tab and its endpoint `/describe`."""

    def request(engine, image, question, *values):
        return describe_question(image, question), [image], settings.as_arguments(*values)

    def generate(stop, *values):
        yield from answers(loader, request, values, settings.max_time, stop)

    def describe(
        image, question=None, max_new_tokens=500, temperature=0, top_p=1, repetition_penalty=1, seed=-1, num_crops=0
    ):
        """Answer a question about an image. Yields the answer so far, as plain text.

        Args:
            image: an image file.
            question: what to find out; by default what is shown.
            max_new_tokens: where the answer is cut off.
            temperature: 0 takes the likeliest token each time, up to 2.
            top_p: share of the likeliest tokens to choose from, with a temperature above 0.
            repetition_penalty: 1 is none, up to 2.
            seed: the same seed gives the same answer; -1 another each time.
            num_crops: detail of the image, 1 to 16; 0 as the model was trained.
        """
        values = (max_new_tokens, temperature, top_p, repetition_penalty, seed, num_crops)
        for text, _ in generate(None, image, question, *values):
            yield text

    with gr.Row(equal_height=False):
        with gr.Column(scale=5):
            image = ImagePath(
                label="Image",
                type="filepath",
                sources=["upload", "webcam", "clipboard"],
                buttons=["fullscreen"],
                height=340,
                elem_id="describe-image",
            )
            question = gr.Textbox(
                label="Question",
                placeholder=DEFAULT_QUESTION,
                lines=2,
                max_length=MAX_QUESTION_CHARACTERS,
                elem_id="describe-question",
            )
            preset_chips(DESCRIBE, question)
            ask_button, stop, clear = ask_and_stop("Ask", "describe")
        with gr.Column(scale=6):
            answer, stats = answer_panel("describe")

    started = examples(DESCRIBE_EXAMPLES, [image, question], "describe")
    inputs = [image, question, *settings.components]
    wire([ask_button.click, question.submit, started.then], stop, clear, ask_button, generate, inputs, answer, stats)
    clear.add([image, question])
    code_panel(loader, request, inputs, "image.png", "describe")
    endpoint(describe, inputs)
