"""The life of a tab: what happens at Ask, Stop and Clear, and what its endpoint of the API needs."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from inspect import Parameter, Signature, signature

import gradio as gr

from ..app.conversation import Exchange
from ..app.options import Options
from ..app.pages import Page
from .answers import REFUSED
from .parts import PRIVATE
from .settings import NAMES, Settings

WARNING_SECONDS = 20  # long enough to read, not in the way of the next answer for ever

# Ask and Stop.
IDLE = [gr.update(visible=True), gr.update(visible=False)]
BUSY = IDLE[::-1]

# All requests that there may be run at once: they wait in a line of their own, `EngineLoader.places`, where they hold
# no images in memory and nobody else's slow address holds them up.
MODEL_EVENT = {"concurrency_id": "model", "show_progress": "hidden"}


class Turns:
    """A visitor's questions on one tab, of which the latest counts.

    Attributes:
        number, stop: the latest's.
        sent: on tabs with a box for messages, the latest's message.
        cleared: whether everything was cleared since.
        visitor: who asks, by the browser's session; see `answers`.
        exchanges: the conversation.
        pages, output_format: what was read, and as what.
    """

    def __init__(self):
        self.number = 0
        self.cleared = False
        self.stop = threading.Event()
        self.sent: dict | None = None
        self.visitor = ""
        self.exchanges: list[Exchange] = []
        self.pages: list[Page] = []
        self.output_format = ""

    def next(self) -> int:
        """Stop the question before and begin another; returns its number."""
        self.stop.set()
        self.stop = threading.Event()
        self.cleared = False
        self.number += 1
        return self.number


@dataclass
class Tab:
    """The components of a tab that its events share.

    Attributes:
        answer, stats: where the answer and the line below it go.
        ask, stop, clear: buttons; Stop takes the place of Ask meanwhile.
        turns: state that holds the visitor's `Turns`.
        messages: on tabs with a conversation, its exchanges as the answer component shows them.
        box: on tabs with a box for messages, that: emptied when a message is sent, filled again if it fails.
    """

    answer: gr.components.Component
    stats: gr.Markdown
    ask: gr.Button
    stop: gr.Button
    clear: gr.ClearButton
    turns: gr.State = field(default_factory=gr.State)
    messages: Callable[[Sequence[Exchange]], list[dict]] | None = None
    box: gr.components.Component | None = None

    def __post_init__(self):
        self._number = gr.Number(visible=False)  # travels with a question, where the state would be the latest
        self._outputs = [self.answer, self.stats, self.ask, self.stop, *([self.box] if self.box else [])]
        self.stop.click(self._stop, self.turns, **PRIVATE)
        for clear in (self.clear.click, *([self.answer.clear] if self.messages else [])):
            clear(self._clear, self.turns, self._outputs[:4], **PRIVATE)

    def on(self, events: Sequence[Callable], generate: Callable, inputs: list) -> None:
        """Have `generate` run at any of `events`: a generator of (answer, line) over `Turns` and values of `inputs`.

        If the box is the first of `inputs`, what it had when the event came is passed.

        Gradio's own way to stop, `cancels`, leaves the page with an error or without the last statistics, depending on
        which message comes first. So Stop sets an event that the generator sees, and the answer ends like any other.
        """
        sends = int(bool(inputs) and inputs[0] is self.box)  # how many of the inputs are the box

        def run(turns: Turns, number: int, *values):
            # A generator of its own, since Gradio looks at the function's kind.
            sent = [turns.sent] if sends else []
            yield from self._run(generate, turns, number, sent, *sent, *values)

        began = [self.turns, self._number, self.stats, self.ask, self.stop, *([self.box] if sends else [])]
        for event in events:
            event(self._begin, [self.turns, *inputs[:sends]], began, **PRIVATE).then(
                run,
                [self.turns, self._number, *inputs[sends:]],
                self._outputs,
                api_visibility="private",
                trigger_mode="multiple",
                **MODEL_EVENT,
            ).failure(lambda: ("", *IDLE), None, [self.stats, self.ask, self.stop], **PRIVATE)

    def _begin(self, request: gr.Request, turns: Turns | None, *sent):
        turns = turns or Turns()
        turns.visitor = visitor_of(request)
        if sent:
            (turns.sent,) = sent
        return turns, turns.next(), "Waiting for a place …", *BUSY, *[None for _ in sent]

    def _run(self, generate: Callable, turns: Turns, number: int, sent: list, *values):
        if turns.number != number:
            return
        line, shown = "", {}
        box = [gr.skip()] if self.box else []
        answering = generate(turns, *values)
        try:
            for value, line in answering:
                if turns.number != number:
                    if turns.cleared:  # what was on its way then came later than the clearing
                        yield self._empty, "", *IDLE, *box
                    return
                shown = {"value": value}
                yield (
                    gr.update(elem_classes=[*self._classes, "streaming"], **shown),
                    line,
                    gr.skip(),
                    gr.skip(),
                    *box,
                )
        except (gr.Error, ValueError) as error:
            # Raised, it would write "Error" over the answer and leave the buttons as they are.
            title = error.title if isinstance(error, gr.Error) else REFUSED
            gr.Warning(getattr(error, "message", str(error)), title=title, duration=WARNING_SECONDS)
            line = ""
            box = sent or box
            if self.messages:
                shown = {"value": self.messages(turns.exchanges)}
        finally:
            answering.close()
        yield gr.update(elem_classes=self._classes, **shown), line, *IDLE, *box

    @property
    def _classes(self) -> list[str]:
        return ["answer", "conversation"] if self.messages else ["answer"]

    @property
    def _empty(self) -> dict:
        return gr.update(value=[] if self.messages else "", elem_classes=self._classes)

    def _stop(self, turns: Turns | None):
        if turns:
            turns.stop.set()

    def _clear(self, turns: Turns | None):
        if turns:
            turns.next()
            turns.exchanges, turns.pages, turns.cleared = [], [], True
        return self._empty, "", *IDLE


def visitor_of(request: gr.Request) -> str:
    """What tells visitors apart: the browser's session, or, of a call without one, the address (`LimitedQueue`)."""
    state = getattr(request.request, "state", None)
    return getattr(state, "visitor", None) or request.session_hash or ""


def endpoint(function: Callable, inputs: list, settings: Settings, options: Options) -> None:
    """A named endpoint of the API over a tab's components: the function's name, clean text out.

    The settings' names, defaults and meanings, which follow the function's own parameters, are the panel's: Gradio
    would show the function's, but take the components'. Options in its docstring, as `{max_images}`, are filled in.
    """
    own = [each for each in signature(function).parameters.values() if each.kind is not Parameter.VAR_POSITIONAL]
    function.__signature__ = Signature(
        own
        + [
            Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=component.value)
            for name, component in zip(NAMES, settings.components, strict=True)
        ]
    )
    function.__doc__ = function.__doc__.rstrip().format_map(vars(options)) + "\n" + settings.described(12)
    text = gr.Textbox(label="answer", visible=False)
    unseen = gr.Button(visible=False)  # an endpoint needs an event to hang on
    unseen.click(function, inputs, text, api_name=function.__name__, **MODEL_EVENT)
