"""What the tabs with a running conversation share: the view of it, asking on, asking again, saving it."""

import re
from collections.abc import Callable, Iterator, Sequence

import gradio as gr

from ..app.conversation import Exchange, to_json, to_markdown
from ..app.loading import EngineLoader, public_name
from ..app.tasks import check_conversation
from .answers import Query, answers
from .parts import stats_below
from .saving import save_chip
from .settings import Settings
from .tab import Turns


def conversation_panel(
    loader: EngineLoader, turns: gr.State, tab: str, placeholder: str
) -> tuple[gr.Chatbot, gr.Markdown]:
    """The conversation, the line below it, and the buttons that save it."""
    view = gr.Chatbot(
        label="Conversation",
        height=430,
        buttons=["copy", "copy_all"],
        layout="bubble",
        placeholder=placeholder,
        allow_tags=False,
        elem_classes=["answer", "conversation"],
        elem_id=f"{tab}-answer",
    )
    stats = stats_below(tab)
    with gr.Row(elem_classes=["chips"]):
        for label, kind, write in (("Save as Markdown", "md", to_markdown), ("Save as JSON", "json", to_json)):
            save_chip(label, f"{tab}-save-{kind}", [turns], _writer(loader, write, f"conversation.{kind}"))
    return view, stats


def _writer(loader: EngineLoader, write: Callable, name: str) -> Callable[[Turns | None], tuple[str, bytes] | None]:
    def made(turns: Turns | None) -> tuple[str, bytes] | None:
        if not (turns and turns.exchanges):
            return None
        is_preview = loader.engine is not None and loader.engine.is_preview
        model = "the preview model" if is_preview else public_name(loader.state.model)
        return name, write(turns.exchanges, model).encode()

    return made


# Which of the exchanges before a question belong to it: their words and images are what the model gets too.
Context = Callable[[list[Exchange], Exchange], list[Exchange]]


def converse(
    loader: EngineLoader,
    settings: Settings,
    turns: Turns,
    before: list[Exchange],
    exchange: Exchange,
    values: Sequence,
    context: Context,
) -> Iterator[tuple[list[dict], str]]:
    """Ask on: the conversation as messages and a line on what is going on, as often as `answers` yields.

    Args:
        before: the exchanges so far.
        values: of the settings' components.

    Raises:
        gr.Error: as of `answers`; the question is then no part of the conversation.
    """

    def request(engine) -> Query:
        earlier = context(before, exchange)
        return Query(exchange.question, exchange.files, settings.as_arguments(*values), earlier)

    check_conversation(before)
    turns.exchanges = [*before, exchange]
    try:
        for text, line, _ in answers(loader, request, (), settings.max_time, turns.visitor, turns.stop):
            exchange.answer = text
            yield messages(turns.exchanges), line
    finally:
        if not exchange.answer:
            turns.exchanges = [other for other in turns.exchanges if other is not exchange]


def ask_again(loader: EngineLoader, settings: Settings, context: Context) -> Callable:
    """For the chat's retry button: the last question once more, with the settings of now."""

    def again(turns: Turns, *values):
        if turns.exchanges:
            *before, last = turns.exchanges
            exchange = Exchange(last.question, last.files)
            yield from converse(loader, settings, turns, before, exchange, values, context)

    return again


def messages(exchanges: list[Exchange]) -> list[dict]:
    """Exchanges as the chat's messages. The visitor's words are shown as they are, not as Markdown or HTML."""
    out = []
    for exchange in exchanges:
        out += [{"role": "user", "content": {"path": file, "alt_text": "Image"}} for file in exchange.files]
        out.append({"role": "user", "content": as_markdown(exchange.question)})
        out.append({"role": "assistant", "content": exchange.answer})
    return out


def as_markdown(text: str) -> str:
    """Markdown that shows this text."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)
