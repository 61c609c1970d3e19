"""ZeroGPU, Hugging Face's shared GPUs: an answer is made by a process that forks off for it and has the GPU meanwhile.

The package `spaces`, which is there on such a Space, does the forking. Elsewhere its decorator changes nothing.
"""

import os
from collections.abc import Iterator, Sequence

from PIL import Image

from ..engine.answer_stream import Stats
from ..engine.engine import Phi3Vision
from ..engine.errors import EngineFailedError

try:
    from spaces import GPU
except ImportError:

    def GPU(duration):  # noqa: N802 - the package's name
        """Stands in for the package's decorator."""
        return lambda function: function


LONGEST, START, TOKENS_A_SECOND, IMAGE_TOKENS_A_SECOND = 120, 10, 20, 2000
HEARTBEAT = 0.1  # seconds; a visitor's stop is seen where something is yielded


class RefusedError(ValueError):
    """A request that can't be answered, in words for a person."""


# What the forked process works with; it can't be handed over.
_kept: dict[str, Phi3Vision] = {}


def on_zero_gpu() -> bool:
    """Whether this is a ZeroGPU Space."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def keep(engine: Phi3Vision) -> None:
    """Have answers made by this engine from now on."""
    _kept["engine"] = engine


def seconds(question: str, images: Sequence[Image.Image], history: Sequence[dict], arguments: dict) -> int:
    """How long a request may need the GPU: visitors have minutes a day, so no longer than it can take."""
    parts = [part for message in history if not isinstance(message["content"], str) for part in message["content"]]
    every = [*images, *(part["image"] for part in parts if part["type"] == "image")]
    tokens = sum(_kept["engine"].image_tokens([image.size for image in every], arguments.get("num_crops")))
    needed = START + tokens / IMAGE_TOKENS_A_SECOND + arguments["max_new_tokens"] / TOKENS_A_SECOND
    return round(min(LONGEST, needed, START + arguments.get("max_time", LONGEST)))


@GPU(duration=seconds)
def pieces(
    question: str, images: Sequence[Image.Image], history: Sequence[dict], arguments: dict
) -> Iterator[tuple[str | RefusedError, Stats]]:
    """What `Phi3Vision.stream` gives, with its statistics, from the process that has the GPU.

    At the end a `RefusedError` if the request can't be answered: one that is raised arrives without its words.
    """
    try:
        stream = _kept["engine"].stream(question, images, history, **arguments)
        try:
            while (piece := stream.read(timeout=HEARTBEAT)) is not None:
                yield piece, stream.stats
            yield "", stream.stats
        finally:
            stream.close()
    except (ValueError, MemoryError, EngineFailedError) as error:
        yield RefusedError(str(error)), Stats()


class ZeroStream:
    """`pieces` as an `AnswerStream`. Its `stats` stay as they were at the last piece that came."""

    ahead = 0  # ZeroGPU has a queue of its own, and tells visitors so

    def __init__(self, answer: Iterator[tuple[str | RefusedError, Stats]]):
        self.stats = Stats()
        self._answer = answer

    def read(self, timeout: float | None = None) -> str | None:
        """The next piece, `""` if there is none yet, `None` at the end.

        Raises:
            RefusedError: the request can't be answered.
        """
        piece, self.stats = next(self._answer, (None, self.stats))
        if isinstance(piece, RefusedError):
            raise piece
        return piece

    def close(self) -> None:
        """Give the GPU back."""
        self._answer.close()
        self.stats.stop_reason = self.stats.stop_reason or "stopped"
