"""How long preparing a request may take, and whether it still matters."""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class StoppedError(Exception):
    """Nobody waits for the result any more."""


class Deadline:
    """The end of a request's time, or of a part of it.

    Args:
        seconds: from now on.
        stop: ends it early when set.
    """

    def __init__(self, seconds: float = math.inf, stop: threading.Event | None = None):
        self._end = time.monotonic() + seconds
        self._stop = stop

    def left(self) -> float:
        """Seconds until then: more than zero.

        Raises:
            TimeoutError: none.
            StoppedError: it was stopped.
        """
        if self._stop is not None and self._stop.is_set():
            raise StoppedError
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Don't count the time in here: waiting for others is not this request's doing. It can still be stopped."""
        began, end = time.monotonic(), self._end
        self._end = math.inf
        try:
            yield
        finally:
            self._end = end + time.monotonic() - began
