"""Tab: one image, and questions about it, one after another."""

import gradio as gr

from ..app.conversation import Exchange
from ..app.loading import EngineLoader
from ..app.options import Options
from ..app.tasks import DEFAULT_QUESTION, DESCRIBE, DESCRIBE_EXAMPLES, MAX_QUESTION_CHARACTERS, describe_question
from .answers import Query, answers
from .chatting import ask_again, conversation_panel, converse, messages
from .code import code_panel
from .parts import ask_and_stop, examples, preset_chips
from .settings import Settings
from .tab import Tab, Turns, endpoint, visitor_of
from .upload import ImagePath, show_tiffs
from .web import from_the_web


def build(loader: EngineLoader, settings: Settings, options: Options) -> gr.Textbox:
    """The tab and its endpoint `/describe`; returns its question."""

    def request(engine, image, question, *values) -> Query:
        return Query(describe_question(image, question), [image], settings.as_arguments(*values))

    def generate(turns: Turns, image, question, *values):
        question = describe_question(image, question)
        known = about_the_same_image(turns.exchanges)
        exchange = Exchange(question, [] if known and known[0].files == [image] else [image])
        yield from converse(loader, settings, turns, turns.exchanges, exchange, values, context)

    def describe(
        caller: gr.Request,
        image,
        question=None,
        *values,
    ):
        """Answer a question about an image. Yields the answer so far, as plain text.

        Args:
            image: an image file.
            question: what to find out; by default what is shown.
        """
        visitor = visitor_of(caller)
        for text, *_ in answers(loader, request, (image, question, *values), settings.max_time, visitor):
            yield text

    with gr.Row(equal_height=False):
        with gr.Column(scale=5):
            image = ImagePath(
                label="Image",
                type="filepath",
                sources=["upload", "webcam", "clipboard"],
                buttons=["fullscreen"],
                height=300,
                elem_id="describe-image",
            )
            show_tiffs(image)
            if options.web:
                from_the_web(image, "describe", options.max_file_bytes)
            question = gr.Textbox(
                label="Question",
                placeholder=DEFAULT_QUESTION,
                lines=1,
                max_lines=6,
                max_length=MAX_QUESTION_CHARACTERS,
                elem_id="describe-question",
            )
            preset_chips(DESCRIBE, question)
            ask_button, stop, clear = ask_and_stop("Ask", "describe")
        with gr.Column(scale=6):
            turns = gr.State()
            hint = "Ask about the image, and then ask on: earlier answers stay."
            answer, stats = conversation_panel(loader, turns, "describe", hint)

    started = examples(DESCRIBE_EXAMPLES, [image, question], "describe")
    inputs = [image, question, *settings.components]
    tab = Tab(answer, stats, ask_button, stop, clear, turns, messages)
    tab.on([ask_button.click, question.submit, started.then], generate, inputs)
    tab.on([answer.retry], ask_again(loader, settings, context), list(settings.components))
    clear.add([image, question])
    code_panel(loader, request, inputs, "image.png", "describe")
    endpoint(describe, inputs, settings, options)
    return question


def about_the_same_image(exchanges: list[Exchange]) -> list[Exchange]:
    """The latest exchanges, from the one that brought the image on."""
    begins = [number for number, exchange in enumerate(exchanges) if exchange.files]
    return exchanges[begins[-1] :] if begins else []


def context(before: list[Exchange], exchange: Exchange) -> list[Exchange]:
    """Another image begins anew; what was said about others stays on the page."""
    return [] if exchange.files else about_the_same_image(before)
