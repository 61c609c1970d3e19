"""One thread that runs jobs one after another, in the order they came."""

import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from weakref import WeakSet


class _Line:
    """Jobs that wait and the one that runs. The thread holds this, not its `Worker`, which can so be dropped."""

    def __init__(self):
        # Reentrant: the garbage collector may cancel a job on a thread that is about to submit one.
        self.changed = threading.Condition(threading.RLock())
        self.waiting: deque[tuple[Callable[[], object], Future]] = deque()
        self.running = self.started = self.closed = False

    def take(self) -> tuple[Callable[[], object], Future] | None:
        """The next job, waited for; `None` after the last."""
        with self.changed:
            while not self.waiting and not self.closed:
                self.changed.wait()
            if not self.waiting:
                return None
            self.running = True
            return self.waiting.popleft()

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
        with line.changed:
            if line.closed:
                raise RuntimeError("The engine is closed. Load it again to go on.")
            line.waiting.append((job, future))
            line.changed.notify()
            if not line.started:
                threading.Thread(target=line.run, name=self._name, daemon=True).start()
                line.started = True
        return future

    def ahead_of(self, future: Future) -> int:
        """How many jobs have to end before this one begins."""
        line = self._line
        with line.changed:
            futures = [waiting for _, waiting in line.waiting]
            return futures.index(future) + line.running if future in futures else 0

    def cancel(self, future: Future) -> bool:
        """Take a job out of the line. Returns whether it was there still: one that has begun goes on."""
        line = self._line
        with line.changed:
            for place, (_, waiting) in enumerate(line.waiting):
                if waiting is future:
                    del line.waiting[place]
                    return future.cancel()
        return False

    def close(self) -> None:
        """End the thread after what is queued; nothing more can be submitted."""
        line = self._line
        with line.changed:
            line.closed = True
            line.changed.notify()

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
