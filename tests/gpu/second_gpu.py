"""An engine on the second GPU makes the tokens that one on the first makes, whatever is ready yet; prints them.

    PYTHONPATH=. python tests/gpu/second_gpu.py

Needs the repository, torch and transformers, and two CUDA GPUs of one kind. Phi-3-Vision's width with eight layers of
random weights, in bfloat16: 3 GB a GPU, a minute once kernels are compiled.
"""

import sys
import threading
from contextlib import contextmanager

import torch
from PIL import Image

from benchmarks.full_size import full_size
from phi3v import Phi3Vision

DEVICES = ("cuda:0", "cuda:1")
LAYERS, NEW_TOKENS = 8, 12
IMAGE = Image.frombytes("RGB", (1344, 1344), bytes(range(256)) * (3 * 1344 * 1344 // 256))  # 16 crops: a long prefill
QUESTION = "word " * 8

problems: list[str] = []


def tokens(engine: Phi3Vision, question: str = QUESTION, anew: bool = True, **settings) -> list[int]:
    """Those of an answer; `anew`, with nothing kept of earlier ones."""
    if anew:
        engine._prefixes.clear()
    stream = engine.stream(question, [IMAGE], max_new_tokens=NEW_TOKENS, **settings)
    list(stream)
    return stream._streamer.ids


def check(right: bool, words: str) -> None:
    if not right:
        problems.append(words)
    print(f"{'ok  ' if right else 'FAIL'}  {words}", flush=True)


def compare(engines: list[Phi3Vision], words: str, **how) -> None:
    """Each answers twice; all answers are the first GPU's."""
    first, *others = [tokens(engine, **how) for engine in engines for _ in range(2)]
    for engine, ids in zip([engines[0], engines[1], engines[1]], others, strict=True):
        print(f"      {engine.device}  {ids}")
        check(ids == first, f"{words}, on {engine.device}")


@contextmanager
def events_on_the_first_gpu():
    """As it is where a thread's current device isn't the model's."""

    class Event(torch.cuda.Event):
        def record(self, stream=None):
            super().record(torch.cuda.current_stream(DEVICES[0]))

    proper, torch.cuda.Event = torch.cuda.Event, Event
    try:
        yield
    finally:
        torch.cuda.Event = proper


def answers_meanwhile(engine: Phi3Vision) -> None:
    """Answers while kernels are compiled and graphs recorded."""
    warming, count = threading.Thread(target=engine.warm_up), 0
    warming.start()
    try:
        while warming.is_alive():
            ids = tokens(engine)
            count += 1
            if len(ids) != NEW_TOKENS or ids[0] == 0:
                problems.append(f"{ids} on {engine.device} while it was made ready")
        check(True, f"{count} answers on {engine.device} while it was made ready")
    except Exception as error:
        check(False, f"answers on {engine.device} while it was made ready: {type(error).__name__}: {error}")
    warming.join()


def ready(engine: Phi3Vision) -> None:
    """Whether all that `warm_up` makes is there."""
    fast, graphs = engine._fast, engine._image_graphs
    sizes = fast.prompts.sizes if fast.prompts else ()
    everything = fast.between and fast.graph and fast.graph._graph and fast.chunk and fast.chunk._graph
    everything = everything and len(graphs._graphs) == len(graphs.grids) and all(map(fast.prompts.holds, sizes))
    check(bool(everything), f"kernels and graphs are ready on {engine.device}")


def main() -> None:
    print(torch.__version__, *[torch.cuda.get_device_name(device) for device in DEVICES], flush=True)
    torch.manual_seed(0)
    engines = [full_size(device, "bfloat16", layers=LAYERS) for device in DEVICES]
    engines[1].model.load_state_dict(engines[0].model.state_dict())
    for engine in engines:
        tokens(engine)  # libraries make themselves ready

    compare(engines, "launched one by one")
    with events_on_the_first_gpu():
        print(f"      {DEVICES[1]}  {tokens(engines[1])}  with events on the first GPU, to see that it would show")
    for engine in engines:
        answers_meanwhile(engine)
        ready(engine)
    compare(engines, "by graphs")
    compare(engines, "an image seen before, by graphs", anew=False)
    compare(engines, "sampled", temperature=1.0, seed=7)
    compare(engines, "long", question="word " * 3000)

    check(torch.cuda.current_device() == 0, "the caller's current device is what it was")
    check(torch.backends.cuda.cudnn_sdp_enabled(), "cuDNN's attention is on again")
    states = [torch.cuda.get_rng_state(device) for device in DEVICES]
    for engine in engines:
        tokens(engine, temperature=1.0)
    unchanged = [torch.equal(torch.cuda.get_rng_state(d), state) for d, state in zip(DEVICES, states, strict=True)]
    check(all(unchanged), "the caller's random numbers are what they were")
    print(f"{len(problems)} problems" if problems else "all right")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
