"""What the tabs with a running conversation share: the view of it, asking on, asking again, saving it."""

import html
from collections.abc import Callable, Iterator, Sequence

import gradio as gr

from ..conversation import Exchange, to_json, to_markdown
from ..loading import EngineLoader, public_name
from .parts import stats_below
from .saving import save_chip
from .settings import Settings
from .streaming import Query, Turns, answers


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


def converse(
    loader: EngineLoader,
    settings: Settings,
    turns: Turns,
    earlier: list[Exchange],
    exchange: Exchange,
    values: Sequence,
    show: Callable[[list[Exchange]], list[dict]],
) -> Iterator[tuple[list[dict], str]]:
    """Ask on: the conversation as messages and a line on what is going on, as often as `answers` yields.

    Args:
        earlier: the exchanges before.
        values: of the settings' components.
        show: `messages` or `words`.

    Raises:
        gr.Error: as of `answers`; the question is then no part of the conversation.
    """

    def request(engine) -> Query:
        return Query(exchange.question, exchange.files, settings.as_arguments(*values), earlier)

    turns.exchanges = [*earlier, exchange]
    try:
        for text, line in answers(loader, request, (), settings.max_time, turns.stop):
            exchange.answer = text
            yield show(turns.exchanges), line
    finally:
        if not exchange.answer:
            turns.exchanges = [other for other in turns.exchanges if other is not exchange]


def ask_again(loader: EngineLoader, settings: Settings, show: Callable) -> Callable:
    """For the chat's retry button: the last question once more, with the settings of now."""

    def again(turns: Turns, *values):
        if turns.exchanges:
            *earlier, last = turns.exchanges
            yield from converse(loader, settings, turns, earlier, Exchange(last.question, last.files), values, show)

    return again


def messages(exchanges: list[Exchange]) -> list[dict]:
    """Exchanges as the chat's messages, with images."""
    out = []
    for exchange in exchanges:
        out += [{"role": "user", "content": {"path": file, "alt_text": "Image"}} for file in exchange.files]
        out += words([exchange])
    return out


def words(exchanges: list[Exchange]) -> list[dict]:
    """Exchanges as the chat's messages. The visitor's words are shown as they are, not as Markdown's HTML."""
    out = []
    for exchange in exchanges:
        out.append({"role": "user", "content": html.escape(exchange.question, quote=False)})
        out.append({"role": "assistant", "content": exchange.answer})
    return out
