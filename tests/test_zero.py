"""ZeroGPU's path: with the real package `spaces` off a Space, and forked and pickled as it does it on one."""

import multiprocessing
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import gradio as gr
import pytest
import spaces
from conftest import EXAMPLES
from PIL import Image

from phi3v import Phi3Vision
from phi3v.app.loading import EngineLoader
from phi3v.app.options import parse_options
from phi3v.app.zero import RefusedError, ZeroStream, keep, pieces, seconds
from phi3v.engine.errors import GPU_FAILED
from phi3v.ui import answers as page_answers
from phi3v.ui.answers import Query, answers

QUESTION = "What does the sign say?"


@pytest.fixture(scope="module")
def engine():
    engine = Phi3Vision.from_pretrained()
    keep(engine)
    return engine


@pytest.fixture
def sign():
    return Image.open(EXAMPLES / "street_sign.png").convert("RGB")


def test_the_decorator_changes_nothing_off_a_space(engine, sign):
    assert spaces.GPU(pieces) is pieces
    stream = ZeroStream(pieces(QUESTION, [sign], [], {"max_new_tokens": 50}))
    text = ""
    while (piece := stream.read()) is not None:
        text += piece
    assert "Maple Avenue" in text
    assert stream.stats.stop_reason == "end"
    assert stream.stats.image_tokens == 757


def test_a_salt_is_passed_on(engine, sign):
    engine._prefixes.clear()
    cached = []
    for salt in ("anna", "bert", "anna"):
        *_, (_, stats) = pieces(QUESTION, [sign], [], {"max_new_tokens": 5, "cache_salt": salt})
        cached.append(stats.cached_tokens)
    assert cached[:2] == [0, 0]
    assert cached[2] > 757


def test_the_page_s_answers_on_zero_gpu(engine, sign, monkeypatch):

    loader = EngineLoader(parse_options([], {})).start()
    assert loader.wait(60)
    monkeypatch.setattr(page_answers, "on_zero_gpu", lambda: True)

    def ask(question, stop=None):
        query = Query(question, [lambda deadline: sign], {"max_new_tokens": 50})
        return answers(loader, lambda engine: query, (), 60, "visitor", stop)

    *_, (text, line, _) = ask(QUESTION)
    assert "Maple Avenue" in text
    assert "complete" in line
    stop = threading.Event()
    stop.set()
    *_, (text, line, _) = ask("Describe this image in detail.", stop)
    assert "stopped" in line
    with pytest.raises(gr.Error, match="question is empty"):
        list(ask(" "))


def test_a_lost_gpu_is_told_in_words(engine, monkeypatch):
    keep(engine)  # others may have been loaded since
    monkeypatch.setattr(engine, "failure", GPU_FAILED)
    with pytest.raises(RefusedError, match="Restart the app"):
        ZeroStream(pieces(QUESTION, [], [], {"max_new_tokens": 5})).read()


def test_duration_follows_the_request(engine, sign):
    short = seconds(QUESTION, [sign], [], {"max_new_tokens": 20, "max_time": 300})
    long = seconds(QUESTION, [sign] * 3, [], {"max_new_tokens": 1000, "max_time": 300})
    assert 10 <= short < long <= 120
    assert seconds(QUESTION, [sign], [], {"max_new_tokens": 4000, "max_time": 5}) <= 15


def _in_the_child(request: bytes, results, stop) -> None:
    """What `spaces.zero.wrappers` does: the generator runs on a thread of the forked process, results are pickled."""

    def run():
        answer = pieces(*pickle.loads(request))
        for result in answer:
            results.put(result)
            if stop.is_set():
                break
        answer.close()
        results.put(None)

    with ThreadPoolExecutor() as executor:
        executor.submit(run).result()


def test_a_refusal_arrives_with_its_words(engine, sign):
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    request = pickle.dumps((" ", [sign], [], {"max_new_tokens": 5}))
    child = context.Process(target=_in_the_child, args=(request, results, context.Event()), daemon=True)
    child.start()
    stream = ZeroStream(iter(results.get, None))
    with pytest.raises(RefusedError, match="question is empty"):
        stream.read()
    child.join(20)


@pytest.mark.parametrize("stopped", [False, True])
def test_forked_and_pickled(engine, sign, stopped):
    engine.answer(QUESTION, [sign], max_new_tokens=2)  # the parent's thread has worked, and is not there in the child
    context = multiprocessing.get_context("fork")
    results, stop = context.SimpleQueue(), context.Event()
    request = pickle.dumps(("Describe this image in detail.", [sign], [], {"max_new_tokens": 50}))
    child = context.Process(target=_in_the_child, args=(request, results, stop), daemon=True)
    if stopped:
        stop.set()
    child.start()
    text, stats = "", None
    while (result := results.get()) is not None:
        text, stats = text + result[0], result[1]
    child.join(20)
    assert child.exitcode == 0
    if not stopped:
        assert "Maple Avenue" in text
        assert stats.stop_reason == "end"
    assert "Maple Avenue" in engine.answer(QUESTION, [sign]).text  # the parent goes on
