"""One thread that runs jobs one after another, in the order they came."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from weakref import WeakSet


class _Line:
    """Jobs that wait and the one that runs. The thread holds this, not its `Worker`, which can so be dropped.

    The garbage collector may drop an `AnswerStream`, and so cancel a job, on any thread that works here and at any
    line: the lock is reentrant, and each step is one of a dictionary or of a queue, whole or not yet begun.
    """

    def __init__(self):
        self.lock = threading.RLock()
        self.waiting: dict[Future, Callable[[], object]] = {}  # in the order they came
        self.wakes: SimpleQueue[None] = SimpleQueue()  # one for each job, those that left included, and for the end
        self.running = self.started = self.closed = False

    def take(self) -> tuple[Callable[[], object], Future] | None:
        """The next job, waited for; `None` after the last."""
        while True:
            self.wakes.get()
            with self.lock:
                for future in list(self.waiting):
                    job = self.waiting.pop(future, None)
                    if job is not None and future.set_running_or_notify_cancel():
                        self.running = True
                        return job, future
                    del job  # what it holds, while the thread waits
                if self.closed:
                    return None

    def run(self) -> None:
        """What the thread does."""
        while (taken := self.take()) is not None:
            job, future = taken
            result = error = None
            try:
                result = job()
            except BaseException as raised:  # reaches the caller through the future
                error = raised
            self.running = False
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
            del taken, job, future, result, error  # their tensors, while the thread waits


class Worker:
    """The model's thread.

    A GPU serves one `generate` at a time best, callers are served fairly, and a caller that goes away leaves nothing
    locked. The thread is a daemon: it does not keep the process from ending. It ends with `close`, or when its worker
    is dropped. A process that forked off (ZeroGPU) starts a thread of its own at its first job.
    """

    def __init__(self, name: str):
        self._name = name
        self._line = _Line()
        _workers.add(self)

    def _start_afresh(self) -> None:
        closed, self._line = self._line.closed, _Line()
        self._line.closed = closed

    def submit(self, job: Callable[[], object]) -> Future:
        """Queue a job. Returns its future, by which `ahead_of` and `cancel` know it.

        Raises:
            RuntimeError: the worker is closed.
        """
        future: Future = Future()
        line = self._line
        with line.lock:
            if line.closed:
                raise RuntimeError("The engine is closed. Load it again to go on.")
            line.waiting[future] = job
            line.wakes.put(None)
            if not line.started:
                threading.Thread(target=line.run, name=self._name, daemon=True).start()
                line.started = True
        return future

    def ahead_of(self, future: Future) -> int:
        """How many jobs have to end before this one begins."""
        line = self._line
        with line.lock:
            futures = list(line.waiting)
            return futures.index(future) + line.running if future in futures else 0

    def cancel(self, future: Future) -> bool:
        """Take a job out of the line. Returns whether it was there still: one that has begun goes on."""
        line = self._line
        with line.lock:
            return line.waiting.pop(future, None) is not None and future.cancel()

    def close(self) -> None:
        """End the thread after what is queued; nothing more can be submitted."""
        line = self._line
        with line.lock:
            line.closed = True
            line.wakes.put(None)

    def __del__(self):
        self.close()

    @property
    def closed(self) -> bool:
        """Whether nothing more can be submitted."""
        return self._line.closed

    @property
    def idle(self) -> bool:
        """Whether no job is running or waiting."""
        return not (self._line.running or self._line.waiting)


_workers: WeakSet[Worker] = WeakSet()


def _start_afresh() -> None:
    for worker in list(_workers):
        worker._start_afresh()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_start_afresh)
