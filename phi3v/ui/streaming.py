"""From a button to a streamed answer: what every tab's events share."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence

import gradio as gr

from ..images import open_images
from ..loading import EngineLoader
from ..streaming import AnswerStream, Stats
from .parts import PRIVATE
from .status import loading_text

POLL_SECONDS = 0.08  # how soon a stop is noticed, and how often the page is updated at most
STOP_REASONS = {
    "end": "complete",
    "length": "cut off at max new tokens",
    "time": "cut off by the time limit",
    "stopped": "stopped",
}

# Decoded images are large, so one request's are prepared at a time.
PREPARING = threading.Lock()

log = logging.getLogger("phi3v")

# So many requests are prepared and wait at the engine, which tells them their place; others wait in Gradio's queue,
# where they hold no images in memory.
MODEL_EVENT = {"concurrency_id": "model", "concurrency_limit": 4, "show_progress": "hidden"}


# From the engine (None while it loads) and the values of a tab's components: the question, the image files, and
# keyword arguments of `Phi3Vision.stream`.
Request = Callable[..., tuple[str, list[str], dict]]


def answers(
    loader: EngineLoader, request: Request, values: Sequence, max_time: int, stop: threading.Event | None = None
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
    while not loader.wait(POLL_SECONDS):
        if stop and stop.is_set():
            yield "", STOP_REASONS["stopped"]
            return
        yield "", loading_text(loader.state)
    if loader.engine is None:
        raise gr.Error(loader.state.problem, title="No model", print_exception=False)
    try:
        with PREPARING:
            question, files, arguments = request(loader.engine, *values)
            stream = loader.engine.stream(question, open_images(files), max_time=max_time, **arguments)
        text = ""
        try:
            while (piece := stream.read(timeout=POLL_SECONDS)) is not None:
                text += piece
                yield text, progress_line(stream)
                if stop and stop.is_set():
                    stream.close()  # goes on to the end, which is near now, for the final statistics
        finally:
            stream.close()
    except (ValueError, MemoryError) as error:
        raise gr.Error(str(error), title="That did not work", print_exception=False) from error
    except Exception as error:
        log.exception("A request failed")
        words = "The model failed at this request. Try again; the server's log says more."
        raise gr.Error(words, print_exception=False) from error
    yield text, stats_line(stream.stats)


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
    parts = [f"{stats.image_tokens:,} image tokens", f"{stats.new_tokens:,} new"]
    if stats.ttft is not None:
        parts.append(f"first token after {stats.ttft:.2f} s")
    if stats.tokens_per_second is not None:
        parts.append(f"{stats.tokens_per_second:,.0f} tok/s")
    if stats.stop_reason is not None:
        parts.append(STOP_REASONS[stats.stop_reason])
    return " · ".join(parts)


class Turns:
    """A visitor's questions on one tab, of which the latest counts. `number` and `stop` are the latest's."""

    def __init__(self):
        self.number = 0
        self.stop = threading.Event()

    def next(self) -> int:
        """Stop the question before and begin another; returns its number."""
        self.stop.set()
        self.stop = threading.Event()
        self.number += 1
        return self.number


def wire(
    start: list[Callable],
    stop_button: gr.Button,
    clear_button: gr.Button,
    ask_button: gr.Button,
    generate: Callable,
    inputs: list,
    answer: gr.components.Component,
    stats: gr.Markdown,
) -> None:
    """Connect a tab: `generate` runs at any of `start`, the Ask button turns into Stop meanwhile.

    Gradio's own way to stop, `cancels`, leaves the page with an error or without the last statistics, depending on
    which message comes first. So Stop sets an event that the generator sees, and the answer ends like any other.

    Args:
        start: events that begin an answer.
        generate: generator of (answer, line) over the event that stops it and the values of `inputs`.
    """
    turns = gr.State()
    number = gr.Number(visible=False)  # travels with a question through the queue, where the state would be the latest
    idle = [gr.update(visible=True), gr.update(visible=False)]
    busy = idle[::-1]

    def begin(turns: Turns | None):
        turns = turns or Turns()
        return turns, turns.next(), "Waiting for a place …", *busy

    def run(turns: Turns, number: int, *values):
        if turns.number != number:
            return
        text = line = ""
        answering = generate(turns.stop, *values)
        try:
            for text, line in answering:
                if turns.number != number:
                    return
                yield gr.update(value=text, elem_classes=["answer", "streaming"]), line, gr.skip(), gr.skip()
        except gr.Error as error:
            # Raised, it would write "Error" over the answer and leave the buttons as they are.
            gr.Warning(error.message, title=error.title, duration=None)
            line = ""
        finally:
            answering.close()
        yield gr.update(value=text, elem_classes=["answer"]), line, *idle

    def stop(turns: Turns | None):
        if turns:
            turns.stop.set()

    def clear(turns: Turns | None):
        if turns:
            turns.next()
        return gr.update(value="", elem_classes=["answer"]), "", *idle

    outputs = [answer, stats, ask_button, stop_button]
    for event in start:
        event(begin, turns, [turns, number, stats, ask_button, stop_button], **PRIVATE).then(
            run, [turns, number, *inputs], outputs, api_visibility="private", trigger_mode="multiple", **MODEL_EVENT
        )
    stop_button.click(stop, turns, **PRIVATE)
    clear_button.click(clear, turns, outputs, **PRIVATE)


def endpoint(function: Callable, inputs: list) -> None:
    """A named endpoint of the API over a tab's components: the function's name, clean text out."""
    text = gr.Textbox(label="answer", visible=False)
    unseen = gr.Button(visible=False)  # an endpoint needs an event to hang on
    unseen.click(function, inputs, text, api_name=function.__name__, **MODEL_EVENT)
