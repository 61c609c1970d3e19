"""Tab: a conversation with images in any turn."""

import gradio as gr

from ..app.conversation import Exchange
from ..app.loading import EngineLoader
from ..app.options import Options
from ..app.tasks import MAX_QUESTION_CHARACTERS, chat_question
from .answers import Query, answers
from .chatting import ask_again, conversation_panel, converse, messages
from .code import code_panel
from .parts import ask_and_stop
from .settings import Settings
from .tab import Tab, Turns, endpoint, visitor_of
from .upload import ChatBox, FilePaths, as_png


class History(gr.JSON):
    """`gr.JSON` that says what it takes, which an MCP client must know."""

    def api_info(self) -> dict:
        pair = {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}
        return {"type": "array", "items": pair}

    def get_block_name(self) -> str:
        return "json"


def build(loader: EngineLoader, settings: Settings, options: Options) -> None:
    """The tab and its endpoint `/chat`."""

    def generate(turns: Turns, message, *values):
        text, files = chat_question(message, options.max_images)
        exchange = Exchange(text, [as_png(box, file) for file in files])
        yield from converse(loader, settings, turns, turns.exchanges, exchange, values, context)

    def chat(
        caller: gr.Request,
        question,
        images=None,
        history=None,
        *values,
    ):
        """Continue a conversation. Yields the answer so far, as plain text.

        Args:
            question: the next message.
            images: image files, which come before the conversation's first question.
            history: earlier exchanges, oldest first: [["question", "answer"], ...].
        """

        def request(engine) -> Query:
            text, sent = chat_question({"text": question, "files": images}, options.max_images)
            earlier = earlier_exchanges(history)
            if earlier:
                earlier[0].files, sent = sent, []
            return Query(text, sent, settings.as_arguments(*values), earlier)

        for text, *_ in answers(loader, request, (), settings.max_time, visitor_of(caller)):
            yield text

    turns = gr.State()
    hint = "Add images with the clip, ask, and ask on. Images may come with any question."
    answer, stats = conversation_panel(loader, turns, "chat", hint)
    box = ChatBox(
        file_count="multiple",
        sources=["upload"],
        file_types=["image"],
        placeholder="Ask something, with images or without",
        show_label=False,
        label="Message",
        max_plain_text_length=MAX_QUESTION_CHARACTERS,
        submit_btn=False,
        elem_id="chat-box",
    )
    send, stop, clear = ask_and_stop("Send", "chat")
    tab = Tab(answer, stats, send, stop, clear, turns, messages, box)
    tab.on([send.click, box.submit], generate, [box, *settings.components])
    tab.on([answer.retry], ask_again(loader, settings, context), list(settings.components))
    clear.add([box])

    def shown(engine, message, turns, *values) -> Query:
        message = message if isinstance(message, dict) and message.get("text") else {"text": "And then?"}
        text, sent = chat_question(message, options.max_images)
        return Query(text, sent, settings.as_arguments(*values), turns.exchanges if turns else [])

    code_panel(loader, shown, [box, turns, *settings.components], "", "chat")
    question = gr.Textbox(label="question", visible=False)
    files = FilePaths(label="images", file_count="multiple", type="filepath", visible=False)
    history = History(label="history", visible=False)
    endpoint(chat, [question, files, history, *settings.components], settings, options)


def context(before: list[Exchange], exchange: Exchange) -> list[Exchange]:
    """Everything that was said."""
    return before


def earlier_exchanges(history) -> list[Exchange]:
    """The exchanges that the API takes as pairs.

    Raises:
        ValueError: they are none.
    """
    problem = 'history must be a list of pairs of texts: [["question", "answer"], …].'
    if not isinstance(history or [], list):
        raise ValueError(problem)
    out = []
    for pair in history or []:
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)):
            raise ValueError(problem)
        out.append(Exchange(pair[0], [], pair[1]))
    return out
