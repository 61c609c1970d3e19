"""From a button to a streamed answer: what every tab's events share."""

import logging
from collections.abc import Callable, Iterator

import gradio as gr

from ..inference import Phi3Vision
from ..loading import EngineLoader
from ..streaming import AnswerStream, Stats
from .status import loading_text

POLL_SECONDS = 0.08  # how soon a stop is noticed, and how often the page is updated at most
STOP_REASONS = {
    "end": "complete",
    "length": "cut off at max new tokens",
    "time": "cut off by the time limit",
    "stopped": "stopped",
}

log = logging.getLogger("phi3v")

# One job on the model, one prepared and waiting; the others wait in Gradio's queue, which tells them their place.
MODEL_EVENT = {"concurrency_id": "model", "concurrency_limit": 2, "show_progress": "hidden"}


def answers(
    loader: EngineLoader, ask: Callable[[Phi3Vision], AnswerStream]
) -> Iterator[tuple[str, str, Stats | None]]:
    """Answer so far, a line on what is going on, and the statistics once they are final.

    Yields often, also while nothing comes: Gradio stops a generator only where it yields.

    Raises:
        gr.Error: with words for the visitor. What is not the visitor's doing is logged.
    """
    while not loader.wait(POLL_SECONDS):
        yield "", loading_text(loader.state), None
    if loader.engine is None:
        raise gr.Error(loader.state.problem, title="No model")
    try:
        stream = ask(loader.engine)
        text = ""
        try:
            while (piece := stream.read(timeout=POLL_SECONDS)) is not None:
                text += piece
                yield text, progress_line(stream), None
        finally:
            stream.close()
    except (ValueError, MemoryError) as error:
        raise gr.Error(str(error), title="That did not work") from error
    except Exception as error:
        log.exception("A request failed")
        raise gr.Error("The model failed at this request. Try again; the server's log says more.") from error
    yield text, stats_line(stream.stats), stream.stats


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


def wire(
    start: list[Callable],
    stop: gr.Button,
    ask_button: gr.Button,
    generate: Callable,
    inputs: list,
    answer: gr.components.Component,
    stats: gr.Markdown,
) -> None:
    """Connect a tab: `generate` runs at any of `start`, the Ask button turns into Stop meanwhile.

    Args:
        start: events that begin an answer.
        generate: generator of (answer, line, statistics) over the values of `inputs`.
    """

    def run(*values):
        busy = (gr.update(visible=False), gr.update(visible=True))
        for text, line, _ in generate(*values):
            yield gr.update(value=text, elem_classes=["answer", "streaming"]), line, *busy

    def reset():
        return gr.update(elem_classes=["answer"]), gr.update(visible=True), gr.update(visible=False)

    def stopped(line: str):
        return f"{line} · stopped" if line else "Stopped", *reset()

    private = {"api_visibility": "private"}
    events = []
    for event in start:
        running = event(run, inputs, [answer, stats, ask_button, stop], **MODEL_EVENT, **private)
        running.then(reset, outputs=[answer, ask_button, stop], queue=False, show_progress="hidden", **private)
        events.append(running)
    stop.click(
        stopped,
        [stats],
        [stats, answer, ask_button, stop],
        cancels=events,
        queue=False,
        show_progress="hidden",
        **private,
    )


def endpoint(function: Callable, inputs: list) -> None:
    """A named endpoint of the API over a tab's components: the function's name, clean text out."""
    text = gr.Textbox(label="answer", visible=False)
    unseen = gr.Button(visible=False)  # an endpoint needs an event to hang on
    unseen.click(function, inputs, text, api_name=function.__name__, **MODEL_EVENT)
