"""From a button to a streamed answer: what every tab's events share."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import gradio as gr
from PIL import Image

from ..conversation import Exchange, as_history, files_of
from ..images import open_images
from ..inference import Phi3Vision
from ..loading import EngineLoader
from ..streaming import AnswerStream, Stats
from ..zero import ZeroStream, on_zero_gpu, pieces
from .parts import PRIVATE
from .status import loading_text

POLL_SECONDS = 0.08  # how soon a stop is noticed, and how often the page is updated at most
WARNING_SECONDS = 20  # long enough to read, not in the way of the next answer for ever
STOP_REASONS = {
    "end": "complete",
    "length": "cut off at max new tokens",
    "context": "cut off, the model's context is full",
    "time": "cut off by the time limit",
    "stopped": "stopped",
}

# Decoded images are large, so one request's are prepared at a time.
PREPARING = threading.Lock()

REFUSED = "That did not work"

# Ask and Stop.
IDLE = [gr.update(visible=True), gr.update(visible=False)]
BUSY = IDLE[::-1]

log = logging.getLogger("phi3v")

# As many requests as `Options.concurrency` says are prepared and wait at the engine, which tells them their place;
# others wait in Gradio's queue, where they hold no images in memory.
MODEL_EVENT = {"concurrency_id": "model", "show_progress": "hidden"}


@dataclass
class Query:
    """What a tab asks: the question, its images (files or opened ones), keyword arguments of `Phi3Vision.stream`,
    and the exchanges before."""

    question: str
    files: Sequence[str | Image.Image]
    arguments: dict
    earlier: Sequence[Exchange] = ()


# From the engine (None while it loads) and the values of a tab's components.
Request = Callable[..., Query]


def answers(
    loader: EngineLoader, request: Request, values: Sequence, max_time: float, stop: threading.Event | None = None
) -> Iterator[tuple[str, str]]:
    """Answer so far and a line on what is going on.

    Yields often, also while nothing comes: Gradio closes the generator of a visitor who has left only where it yields.

    Args:
        request, values: what to ask; worked out once the engine is there.
        max_time: seconds after which the answer ends.
        stop: ends the answer when set; what is there so far stays.

    Raises:
        gr.Error: with words for the visitor. What is not the visitor's doing is logged.
    """
    loader.wake()
    while not loader.wait(POLL_SECONDS):
        if stop and stop.is_set():
            yield "", STOP_REASONS["stopped"]
            return
        yield "", loading_text(loader.state)
    if loader.engine is None:
        raise gr.Error(loader.state.problem, title="No model", print_exception=False)
    try:
        with PREPARING:
            stream = _ask(loader.engine, request(loader.engine, *values), max_time)
        text, shown_at = "", 0.0
        try:
            while (piece := stream.read(timeout=POLL_SECONDS)) is not None:
                text += piece
                if stop and stop.is_set():
                    stream.close()  # goes on to the end, which is near now, for the final statistics
                # More often, the page's updates take time from the model where they share a CPU.
                first_words = piece and text == piece
                if first_words or time.monotonic() - shown_at >= POLL_SECONDS:
                    shown_at = time.monotonic()
                    yield text, progress_line(stream)
        finally:
            stream.close()
    except gr.Error:
        raise
    except (ValueError, MemoryError) as error:
        raise refusal(error) from error
    except Exception as error:
        log.exception("A request failed")
        words = "The model failed at this request. Try again; the server's log says more."
        raise gr.Error(words, print_exception=False) from error
    yield text, stats_line(stream.stats)


def refusal(error: Exception) -> gr.Error:
    """The same words, for the visitor."""
    return gr.Error(str(error), title=REFUSED, print_exception=False)


def _ask(engine: Phi3Vision, query: Query, max_time: float) -> AnswerStream | ZeroStream:
    images = open_images([*files_of(query.earlier), *query.files])
    # The bundled model was trained on single questions: earlier words would only confuse it.
    count = 0 if engine.is_preview else len(images) - len(query.files)
    history = [] if engine.is_preview else as_history(query.earlier, images[:count])
    arguments = {"max_time": max_time, **query.arguments}
    if on_zero_gpu():
        return ZeroStream(pieces(query.question, images[count:], history, arguments))
    return engine.stream(query.question, images[count:], history, **arguments)


def progress_line(stream: AnswerStream) -> str:
    """What is going on before and while tokens come."""
    stats = stream.stats
    if stats.ttft is None:
        ahead = stream.ahead
        if ahead:
            return f"Waiting: {ahead} request{'s' * (ahead > 1)} before this one"
        return f"Looking at {stats.image_tokens:,} image tokens …"
    return stats_line(stats)


def stats_line(stats: Stats) -> str:
    """What the answer cost, in one line."""
    parts = [f"{stats.image_tokens:,} image tokens"]
    if stats.cached_tokens:
        parts.append(f"{stats.cached_tokens:,} of the prompt cached")
    parts.append(f"{stats.new_tokens:,} new")
    if stats.ttft is not None:
        parts.append(f"first token after {stats.ttft:.2f} s")
    if stats.tokens_per_second is not None:
        parts.append(f"{stats.tokens_per_second:,.0f} tok/s")
    if stats.stop_reason is not None:
        parts.append(STOP_REASONS[stats.stop_reason])
    return " · ".join(parts)


class Turns:
    """A visitor's questions on one tab, of which the latest counts.

    Attributes:
        number, stop: the latest's.
        sent: on tabs with a box for messages, the latest's message.
        cleared: whether everything was cleared since.
        exchanges: the conversation, or the pages that were read.
        output_format: what the pages were read as.
    """

    def __init__(self):
        self.number = 0
        self.cleared = False
        self.stop = threading.Event()
        self.sent: dict | None = None
        self.exchanges: list[Exchange] = []
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
        sends = bool(inputs) and inputs[0] is self.box

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

    def _begin(self, turns: Turns | None, *sent):
        turns = turns or Turns()
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
            turns.exchanges, turns.cleared = [], True
        return self._empty, "", *IDLE


def endpoint(function: Callable, inputs: list) -> None:
    """A named endpoint of the API over a tab's components: the function's name, clean text out."""
    text = gr.Textbox(label="answer", visible=False)
    unseen = gr.Button(visible=False)  # an endpoint needs an event to hang on
    unseen.click(function, inputs, text, api_name=function.__name__, **MODEL_EVENT)
