"""One thread that runs jobs one after another, in the order they came."""

import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future


class Worker:
    """The model's thread.

    A GPU serves one `generate` at a time best, callers are served fairly, and a caller that goes away leaves nothing
    locked. The thread is a daemon: it does not keep the process from ending. A process that forked off (ZeroGPU)
    starts a thread of its own at its first job.
    """

    def __init__(self, name: str):
        self._name = name
        self._start_afresh()
        os.register_at_fork(after_in_child=self._start_afresh)

    def _start_afresh(self) -> None:
        self._jobs: queue.SimpleQueue = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._submitted = self._finished = 0

    def submit(self, job: Callable[[], None]) -> tuple[int, Future]:
        """Queue a job. Returns its ticket, for `ahead_of`, and its future."""
        future: Future = Future()
        with self._lock:
            ticket = self._submitted
            self._submitted += 1
            self._jobs.put((job, future))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
        return ticket, future

    def close(self) -> None:
        """End the thread after the jobs that are queued."""
        with self._lock:
            if self._thread is not None:
                self._jobs.put(None)

    def ahead_of(self, ticket: int) -> int:
        """How many jobs have to end before this one begins."""
        return max(0, ticket - self._finished)

    @property
    def idle(self) -> bool:
        return self._finished == self._submitted

    def _run(self) -> None:
        while True:
            queued = self._jobs.get()
            if queued is None:
                return
            job, future = queued
            del queued
            try:
                future.set_result(job())
            except BaseException as error:  # reaches the caller through the future
                future.set_exception(error)
            self._finished += 1
            del job, future  # their tensors, while the thread waits
