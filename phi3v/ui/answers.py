"""A question in, its answer out: text, a line on what is going on, and why it ended."""

import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import gradio as gr
from gradio.utils import get_upload_folder
from PIL import Image

from ..app.conversation import Exchange, as_history, files_of
from ..app.loading import EngineLoader
from ..app.options import Options
from ..app.pages import CUT_OFF, Opener
from ..app.tasks import check_conversation
from ..app.zero import ZeroStream, on_zero_gpu, pieces
from ..engine.answer_stream import AnswerStream, Stats
from ..engine.engine import Phi3Vision
from ..engine.errors import EngineFailedError
from ..inputs.deadline import Deadline, StoppedError
from ..inputs.image_cache import WORTHWHILE, ImageCache
from ..inputs.images import open_images
from ..inputs.sources import is_address, local_files
from ..server.failures import log_failure
from .status import loading_text

POLL_SECONDS = 0.08  # how soon a stop is noticed, and how often the page is updated at most
HEARTBEAT_SECONDS = 1.0  # how soon leaving is noticed while nothing comes; an update costs the server milliseconds
PREPARE_SECONDS = 30.0  # for all that a request brings along: fetching, counting, decoding; waiting is left out
STOP_REASONS = {"end": "complete", **CUT_OFF}
TOO_LONG = "What this request brought along took too long to read. Send fewer or smaller files."
REFUSED = "That did not work"
CONVERSATION = 4  # times the images of one question: those that all of a conversation may have


Result = TypeVar("Result")
# The text so far, a line on what is going on, and at the end why it ends, as `Stats.stop_reason`.
Update = tuple[str, str, str | None]
STOPPED: Update = ("", STOP_REASONS["stopped"], "stopped")


@dataclass
class Query:
    """What a tab asks: the question, where its images come from (files, addresses, or what opens them), keyword
    arguments of `Phi3Vision.stream`, and the exchanges before."""

    question: str
    sources: Sequence[str | Opener]
    arguments: dict
    earlier: Sequence[Exchange] = ()


# From the engine (None while it loads) and the values of a tab's components.
Request = Callable[..., Query]


def answers(
    loader: EngineLoader,
    request: Request,
    values: Sequence,
    max_time: float,
    visitor: str,
    stop: threading.Event | None = None,
) -> Iterator[Update]:
    """The answer, from the first word to the last; ends with the reason.

    Yields often, also while nothing comes: Gradio closes the generator of a visitor who has left only where it yields.

    Args:
        request, values: what to ask; worked out once the engine is there.
        max_time: seconds after which the answer ends.
        visitor: who asks: what the engine keeps of earlier prompts is shared with nobody else.
        stop: ends the answer when set; what is there so far stays.

    Raises:
        gr.Error: with words for the visitor. What is not the visitor's doing is logged.
    """
    stop = stop or threading.Event()
    loader.wake()
    while not loader.wait(POLL_SECONDS):
        if stop.is_set():
            yield STOPPED
            return
        yield "", loading_text(loader.state), None
    if loader.engine is None:
        raise gr.Error(loader.state.problem, title="No model", print_exception=False)
    with words_for_errors():
        query = request(loader.engine, *values)
        query.arguments = {"max_time": max_time, "cache_salt": visitor, **query.arguments}
        try:
            yield from _answered(loader, query, stop)
        except StoppedError:
            yield STOPPED


@contextmanager
def words_for_errors() -> Iterator[None]:
    """Errors become a `gr.Error` with words for the visitor; what is not the visitor's doing is logged."""
    try:
        yield
    except (gr.Error, StoppedError):
        raise
    except TimeoutError as error:
        raise refusal(ValueError(TOO_LONG)) from error
    except (ValueError, MemoryError, EngineFailedError) as error:
        raise refusal(error) from error
    except Exception as error:
        log_failure(error)
        words = "The model failed at this request. Try again; the server's log says more."
        raise gr.Error(words, print_exception=False) from error


def refusal(error: Exception) -> gr.Error:
    """The same words, for the visitor."""
    return gr.Error(getattr(error, "message", str(error)), title=REFUSED, print_exception=False)


def _answered(loader: EngineLoader, query: Query, stop: threading.Event) -> Iterator[Update]:
    """Fetch; wait for a place, so that few requests' images are in memory; decode; ask the model."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="request-", dir=get_upload_folder()) as folder:
        check_conversation(query.earlier)
        sources = [*files_of(query.earlier), *query.sources]
        most = CONVERSATION * loader.options.max_images
        if len(sources) > most:
            raise ValueError(f"A conversation takes at most {most} images; there are {len(sources)}. Begin a new one.")
        sources = yield from local(sources, folder, loader.options, PREPARE_SECONDS, stop)
        left = PREPARE_SECONDS - (time.monotonic() - began)
        with loader.places.enter() as place:
            shown_at = 0.0
            while not place.wait(POLL_SECONDS):
                if stop.is_set():
                    raise StoppedError
                if time.monotonic() - shown_at >= HEARTBEAT_SECONDS:
                    shown_at = time.monotonic()
                    yield "", _waiting_line(place.ahead), None
            crops = query.arguments.get("num_crops") or loader.engine.num_crops
            opening = partial(_opened, sources, loader.images, crops)
            images = yield from in_background(opening, left, stop, "Reading the image …")
            yield from _streamed(_ask(loader.engine, query, images), stop)
        # Only uploads are asked about again: pages and what was fetched are gone then.
        uploads = {str(source): image for source, image in zip(sources, images) if not _is_passing(source, folder)}
        if uploads:
            remembering = partial(_remember, loader, uploads, crops)
            threading.Thread(target=remembering, name="phi3v-remember", daemon=True).start()


def local(
    sources: Sequence[str | Opener], folder: str | Path, options: Options, seconds: float, stop: threading.Event
) -> Generator[Update, None, list[Path | Opener]]:
    """The same with files in place of addresses. Raises as `local_files` does; check how many there are before.

    Args:
        folder: where files go that are fetched.
        seconds: for all of them.
    """
    texts = [source for source in sources if not callable(source)]
    if not any(map(is_address, texts)):
        return list(sources)
    fetching = partial(local_files, texts, folder, max_bytes=options.max_file_bytes, web=options.web)
    files = iter((yield from in_background(fetching, seconds, stop, "Fetching the image …")))
    return [source if callable(source) else next(files) for source in sources]


def _opened(
    sources: Sequence[Path | Opener], cache: ImageCache, num_crops: int, deadline: Deadline
) -> list[Image.Image]:
    if sources and callable(sources[0]):
        return [open_page(deadline) for open_page in sources]
    known = {str(source): image for source in sources if (image := cache.get(source, num_crops))}
    return open_images(sources, deadline, known)


def _is_passing(source: str | Path | Opener, folder: str) -> bool:
    """Whether an image is there for this request alone."""
    return callable(source) or Path(source).is_relative_to(folder)


def _remember(loader: EngineLoader, images: Mapping[str, Image.Image], num_crops: int) -> None:
    """Make follow-up questions about photos quick."""
    for source, image in images.items():
        if image.width * image.height > WORTHWHILE and not loader.images.get(source, num_crops):
            transformed = loader.engine.transformed(image, num_crops)
            if transformed:
                loader.images.put(source, num_crops, transformed)


def in_background(
    function: Callable[..., Result], seconds: float, stop: threading.Event, line: str
) -> Generator[Update, None, Result]:
    """Call a function with `deadline`, on a thread of its own. Yields the line meanwhile, and returns what it returns.

    Raises:
        StoppedError: at once when `stop` is set; the function ends soon after.
    """
    cancelled, future = threading.Event(), Future()

    def run() -> None:
        try:
            future.set_result(function(deadline=Deadline(seconds, cancelled)))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="phi3v-prepare", daemon=True).start()
    done, shown_at = threading.Event(), time.monotonic()
    future.add_done_callback(lambda _: done.set())
    try:
        while not done.wait(POLL_SECONDS):
            if stop.is_set():
                raise StoppedError
            if time.monotonic() - shown_at >= HEARTBEAT_SECONDS:
                shown_at = time.monotonic()
                yield "", line, None
    except BaseException:
        future.add_done_callback(_let_go)
        raise
    finally:
        cancelled.set()
    return future.result()


def _let_go(future: Future) -> None:
    """Close what nobody waits for any more."""
    if not future.exception() and hasattr(future.result(), "close"):
        future.result().close()


def _ask(engine: Phi3Vision, query: Query, images: list[Image.Image]) -> AnswerStream | ZeroStream:
    # The bundled model was trained on single questions: earlier words would only confuse it.
    count = 0 if engine.is_preview else len(images) - len(query.sources)
    history = [] if engine.is_preview else as_history(query.earlier, images[:count])
    if on_zero_gpu():
        return ZeroStream(pieces(query.question, images[count:], history, query.arguments))
    return engine.stream(query.question, images[count:], history, **query.arguments)


def _streamed(stream: AnswerStream | ZeroStream, stop: threading.Event) -> Iterator[Update]:
    text, shown_at = "", 0.0
    try:
        while (piece := stream.read(timeout=POLL_SECONDS)) is not None:
            text += piece
            if stop.is_set():
                stream.close()  # goes on to the end, which is near now, for the final statistics
            # More often, the page's updates take time from the model where they share a CPU.
            first_words = piece and text == piece
            pause = POLL_SECONDS if piece else HEARTBEAT_SECONDS
            if first_words or time.monotonic() - shown_at >= pause:
                shown_at = time.monotonic()
                yield text, progress_line(stream), None
    finally:
        stream.close()
    yield text, stats_line(stream.stats), stream.stats.stop_reason


def _waiting_line(ahead: int) -> str:
    return f"Waiting: {ahead} request{'s' * (ahead > 1)} before this one"


def progress_line(stream: AnswerStream) -> str:
    """What is going on before and while tokens come."""
    stats = stream.stats
    if stats.ttft is None:
        ahead = stream.ahead
        if ahead:
            return _waiting_line(ahead)
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
