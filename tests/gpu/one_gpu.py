"""What an engine does on a CUDA GPU that it does nowhere else: quantised kernels, Stop, and the end of a lost GPU.

    PYTHONPATH=. python tests/gpu/one_gpu.py

Needs the repository, torch and transformers. Phi-3-Vision's width with two layers of random weights, in bfloat16.
"""

import os
import sys

import torch
from PIL import Image

from benchmarks.full_size import full_size
from phi3v import Phi3Vision
from phi3v.engine.errors import EngineFailedError
from phi3v.engine.fast import prompt_kernels
from phi3v.engine.quantize import QuantizedLinear

IMAGE = Image.new("RGB", (1344, 1344), "white")

problems: list[str] = []


def check(right: bool, words: str) -> None:
    if not right:
        problems.append(words)
    print(f"{'ok  ' if right else 'FAIL'}  {words}", flush=True)


def loaded() -> None:
    """Loading, by each of the names for this GPU, on a thread that has not used it yet."""
    for device in ("auto", "cuda", "cuda:0"):
        with Phi3Vision.from_pretrained(device=device) as engine:
            check(str(engine.device) == "cuda:0", f"{device} is the first GPU")
            check(engine.answer("What is shown?", [IMAGE], max_new_tokens=4).stats.new_tokens > 0, f"{device} answers")


def quantised() -> None:
    """Weights are unpacked by the kernel, once it is known to do it right."""
    for kind in ("int8", "int4"):
        with full_size("cuda", "bfloat16", quantize=kind, layers=2) as engine:
            linears = [module for module in engine.model.modules() if isinstance(module, QuantizedLinear)]
            engine.warm_up()
            used = {linear.unpack is prompt_kernels.unpacked for linear in linears}
            check(used == {True} and engine._fast.graph is not None, f"{kind} by kernels")
            check(engine.answer("What?", [IMAGE], max_new_tokens=8).stats.new_tokens == 8, f"{kind} answers")


def stopped(engine) -> None:
    """A time limit that is over before the images are, and a conversation that goes on after it."""
    stats = engine.answer("What?", [IMAGE] * 3, num_crops=4, max_time=1e-9).stats
    check((stats.stop_reason, stats.new_tokens) == ("time", 0), "the time limit holds for images")
    check(engine.answer("What?", [IMAGE], max_new_tokens=4).stats.new_tokens == 4, "the next one answers")


def lost(engine) -> None:
    """An error of one call is that call's; a failed GPU ends every request."""

    def invalid(*_):
        raise RuntimeError("CUDA error: invalid argument")

    def out_of_bounds(*_):
        torch.zeros(4, device=engine.device)[torch.tensor([1 << 30], device=engine.device)] += 1
        torch.cuda.synchronize()

    engine._fast.begin = invalid
    try:
        engine.answer("What?")
    except RuntimeError as error:
        check(not isinstance(error, EngineFailedError) and engine.failure is None, "an invalid argument ends nothing")
    engine._fast.begin = out_of_bounds
    streams = [engine.stream("What?") for _ in range(2)]
    for number, stream in enumerate(streams):
        try:
            list(stream)
            check(False, f"request {number} on a lost GPU")
        except EngineFailedError as error:
            check(True, f"request {number}: {error}")
    try:
        engine.stream("What?")
        check(False, "a request after that")
    except EngineFailedError:
        check(engine.failure is not None, "a request after that is refused at once")


def main() -> None:
    print(torch.__version__, torch.cuda.get_device_name(), flush=True)
    torch.manual_seed(0)
    loaded()
    quantised()
    engine = full_size("cuda", "bfloat16", layers=2)
    stopped(engine)
    lost(engine)
    print(f"{len(problems)} problems" if problems else "all right")
    sys.stdout.flush()
    os._exit(bool(problems))  # nothing can be tidied up on a lost GPU


if __name__ == "__main__":
    main()
