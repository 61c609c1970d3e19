"""The one thread that runs the model: its line, who leaves it, and when it ends."""

import gc
import os
import sys
import threading
from concurrent.futures import Future
from functools import partial

import pytest

from phi3v import Phi3Vision
from phi3v.engine.worker import Worker


@pytest.fixture
def worker():
    worker = Worker("test")
    yield worker
    worker.close()


class Blocker:
    """A job that has begun, and ends when it is let go."""

    def __init__(self, worker: Worker):
        self.begun, self.let_go = threading.Event(), threading.Event()
        self.future = worker.submit(self)
        self.begun.wait()

    def __call__(self) -> None:
        self.begun.set()
        self.let_go.wait()


def threads_named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_a_job_that_leaves_the_line_is_not_run(worker):
    blocker, done = Blocker(worker), []
    futures = [worker.submit(lambda n=n: done.append(n)) for n in range(3)]
    assert [worker.ahead_of(future) for future in futures] == [1, 2, 3]
    assert worker.cancel(futures[1])
    assert not worker.cancel(futures[1])
    assert [worker.ahead_of(future) for future in futures] == [1, 0, 2]
    assert futures[1].cancelled()
    assert not worker.cancel(blocker.future)
    blocker.let_go.set()
    futures[2].result()
    assert done == [0, 2]
    assert worker.ahead_of(futures[2]) == 0 and worker.idle


@pytest.mark.parametrize("line", range(5))
@pytest.mark.parametrize("method", ["ahead_of", "cancel"])
def test_a_collection_may_cancel_a_job_while_another_is_looked_for(worker, method, line):
    """At each line of the method, as the garbage collector does it when it drops a stream on the same thread."""
    blocker, lines = Blocker(worker), []
    futures = [worker.submit(lambda n=n: n) for n in range(4)]

    def trace(frame, event, _):
        if frame.f_code.co_name != method:
            return None
        if event == "line":
            lines.append(frame.f_lineno)
            if len(lines) == line + 1:
                worker.cancel(futures[0])
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        said = getattr(worker, method)(futures[2])
    finally:
        sys.settrace(previous)
    assert said in ((2, 3) if method == "ahead_of" else (True,))
    worker.cancel(futures[0])
    blocker.let_go.set()
    left = [1, 2, 3] if method == "ahead_of" else [1, 3]
    assert [futures[n].result(20) for n in left] == left
    assert futures[0].cancelled() and futures[2].cancelled() == (method == "cancel")
    assert worker.idle


def test_a_future_that_is_cancelled_by_itself_ends_nothing_else(worker):
    blocker, done = Blocker(worker), []
    future = worker.submit(lambda: done.append(1))
    assert future.cancel()
    blocker.let_go.set()
    assert worker.submit(lambda: 5).result(20) == 5
    assert done == [] and worker.idle
    assert not worker.cancel(future)


def test_what_waited_is_let_go_of_when_it_leaves(worker):
    blocker, seen = Blocker(worker), threading.Event()

    class Image:
        def __del__(self):
            seen.set()

    image = Image()
    future = worker.submit(partial(id, image))
    del image
    worker.cancel(future)
    gc.collect()
    assert seen.is_set()
    blocker.let_go.set()


def test_a_failure_reaches_the_caller_and_the_next_job_runs(worker):
    with pytest.raises(SystemExit):
        worker.submit(lambda: exit(1)).result()
    assert worker.submit(lambda: 5).result() == 5


def test_a_closed_worker_ends_after_what_is_queued():
    worker = Worker("closed")
    blocker, last = Blocker(worker), worker.submit(lambda: "last")
    (thread,) = threads_named("closed")
    worker.close()
    with pytest.raises(RuntimeError, match="closed"):
        worker.submit(print)
    blocker.let_go.set()
    assert last.result() == "last"
    thread.join(30)
    assert not thread.is_alive()


@pytest.mark.parametrize("used", [False, True])
def test_a_dropped_worker_ends(used):
    worker = Worker("dropped")
    worker.submit(int).result()
    (thread,) = threads_named("dropped")
    future: Future | None = worker.submit(lambda: "last") if used else None
    del worker
    thread.join(30)
    assert not thread.is_alive()
    assert future is None or future.result() == "last"


def test_a_fork_runs_jobs_of_its_own(worker):
    blocker = Blocker(worker)  # and the parent's line is locked by nobody, but not empty either
    waiting = worker.submit(int)
    child = os.fork()
    if child == 0:
        os._exit(40 + (worker.idle and worker.submit(lambda: 2).result(20)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
    blocker.let_go.set()
    assert waiting.result() == 0


def engine_threads() -> set[threading.Thread]:
    return set(threads_named("phi3v"))


def test_an_engine_s_thread_ends_when_it_is_dropped():
    before = engine_threads()
    engine = Phi3Vision.from_pretrained()
    assert engine.answer("What?", max_new_tokens=2).stats.new_tokens == 2
    (thread,) = engine_threads() - before
    del engine
    thread.join(30)
    assert not thread.is_alive()


def test_an_engine_s_thread_ends_when_it_is_closed():
    before = engine_threads()
    with Phi3Vision.from_pretrained() as engine:
        (thread,) = engine_threads() - before
        stream = engine.stream("What?", max_new_tokens=2)
    assert stream.read() is not None  # what was asked is answered
    thread.join(30)
    assert not thread.is_alive()
    with pytest.raises(RuntimeError, match="closed"):
        engine.stream("What?")
    engine.close()


def test_two_threads_may_close_an_engine_at_once():
    """The second one where the first has begun to."""
    engine = Phi3Vision.from_pretrained()
    submit, errors = engine._worker.submit, []

    def second():
        try:
            engine.close()
        except BaseException as error:
            errors.append(error)

    def submit_late(job):
        if threading.current_thread() is threading.main_thread():
            other = threading.Thread(target=second)
            other.start()
            other.join()
        return submit(job)

    engine._worker.submit = submit_late
    engine.close()
    assert errors == [] and engine._worker.closed


def test_a_failed_load_leaves_no_thread():
    before = engine_threads()
    for _ in range(2):
        with pytest.raises(ValueError, match="not available"):
            Phi3Vision.from_pretrained(device="tpu")
    for thread in engine_threads() - before:
        thread.join(30)
        assert not thread.is_alive()
