"""How fast answers are made, part by part, against what the hardware allows.

python -m benchmarks.speed                      the bundled model
python -m benchmarks.speed --full-size          Phi-3-Vision's size with random weights
python -m benchmarks.speed --full-size --requests "1 crop" --tokens 16 --runs 1        on a CPU, in some minutes

Rows are `engine.stream()`, with nothing known of the image and with the image asked about before, and transformers'
own `generate` with its defaults on the same model, unless that is quantised. The engine's questions are of another
length each time, as visitors' are; transformers' are of the same, for which torch has planned its attention before.
"""

import argparse
import os
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median, quantiles

os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # as app.py does

import torch
from PIL import Image

from phi3v import Phi3Vision, Stats
from phi3v.engine.answer_stream import TokenStreamer
from phi3v.engine.kv_cache import roomy_cache
from phi3v.engine.quantize import stored
from phi3v.engine.settings import BITS

from .full_size import full_size
from .limits import Limits, measure, synchronize


@dataclass(frozen=True)
class Request:
    """Images of so many pixels at so many crops, and words."""

    images: tuple[tuple[int, int], ...]
    num_crops: int
    words: int = 8


REQUESTS = {
    "1 crop": Request(((336, 336),), 1),
    "4 crops": Request(((672, 672),), 4),
    "16 crops": Request(((1344, 1344),), 16),
    "2 images, 4 crops": Request(((672, 672), (672, 672)), 4),
    "long prompt": Request(((1344, 1344),), 16, 4300),
}


@dataclass
class Row:
    """What one way of answering took, in seconds; `gaps` between pieces of text."""

    ttft: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)

    def add(self, began: float, pieces: Iterator[str]) -> None:
        """Time an answer on its way."""
        times = [time.perf_counter() for piece in pieces if piece]
        self.ttft.append(times[0] - began)
        self.gaps += [later - earlier for earlier, later in pairwise(times)]

    def cells(self, fastest_first: float, fastest_gap: float) -> str:
        """As a table's cells, each also as a multiple of what is possible."""
        first, gap, late = median(self.ttft), median(self.gaps), quantiles(self.gaps, n=20)[-1]
        return (
            f"{first * 1e3:,.0f} ms | {first / fastest_first:.1f} × | {gap * 1e3:.1f} ms | {late * 1e3:.1f} ms | "
            f"{1 / gap:,.1f} | {gap / fastest_gap:.1f} ×"
        )


def pictures(request: Request) -> list[Image.Image]:
    """Images of noise, others each time, so that none was seen before."""
    return [Image.frombytes("RGB", size, os.urandom(3 * size[0] * size[1])) for size in request.images]


def with_transformers(engine: Phi3Vision, question: str, images: list, num_crops: int, tokens: int) -> Iterator[str]:
    """The answer as transformers alone makes it."""
    prompt = engine._prompter(question, images, (), num_crops)
    inputs = {name: value.to(engine.device) for name, value in engine._inputs(prompt).items()}
    inputs |= engine._images(prompt, list(engine._known(prompt)), 0)
    # The engine's streamer: transformers' own holds a word back until the next begins.
    streamer = TokenStreamer(engine.processor.tokenizer, Stats(), time.perf_counter())

    def run() -> None:
        engine.model.generate(**inputs, max_new_tokens=tokens, do_sample=False, streamer=streamer)
        streamer.close()

    engine._worker.submit(run)  # two threads that compute would each have a pool of others, which disturb each other
    return streamer


def parts(engine: Phi3Vision, request: Request, question: str) -> str:
    """Seconds of what comes before the first token."""

    def timed() -> list[float]:
        images = pictures(request)
        times = [time.perf_counter()]

        def done() -> None:
            synchronize(engine.device)
            times.append(time.perf_counter())

        with torch.inference_mode():
            prompt = engine._prompter(question, images, (), request.num_crops)
            known, _ = list(engine._known(prompt)), prompt.ids
            done()
            embeds = engine._embeds(prompt, known, 0, {})
            done()
            cache = roomy_cache(engine.model.config.num_hidden_layers)
            engine._fast.begin(engine._inputs(prompt)["input_ids"][0], cache, embeds, engine.context_length)
            done()
        return [later - earlier for earlier, later in pairwise(times)]

    runs = [engine._worker.submit(timed).result() for _ in range(2)]
    names = ("prompt and pixels", "image tower", "prefill")
    return ", ".join(f"{name} {value * 1e3:,.0f} ms" for name, value in zip(names, runs[-1], strict=True))


def words_of(request: Request, more: int = 0) -> str:
    """A question of so many words."""
    return "word " * (request.words + more)


def defaults(engine: Phi3Vision, request: Request, tokens: int, runs: int) -> Row:
    """A request's row for transformers alone, before the engine has put kernels of its own into the model."""
    for number in range(runs + 1):
        if number < 2:  # the first is to warm up
            row = Row()
        images, began = pictures(request), time.perf_counter()
        row.add(began, with_transformers(engine, words_of(request), images, request.num_crops, tokens))
    return row


def compare(engine: Phi3Vision, limits: Limits, name: str, plain: Row | None, tokens: int, runs: int) -> None:
    """Measure a request's other rows, and print all."""
    request = REQUESTS[name]
    settings = {"num_crops": request.num_crops, "max_new_tokens": tokens}
    rows = {"transformers' defaults": plain} if plain else {}
    prompt_tokens = 0
    for number in range(runs + 1):
        if number < 2:  # the first is to warm up
            rows |= {"engine": Row(), "engine, image seen before": Row()}
        images, question = pictures(request), words_of(request, number)
        engine._prefixes.clear()  # what is kept of earlier runs, as much as the GPU has room for, isn't the request's
        reset_peak_memory(engine.device)
        for key, words in (("engine", question), ("engine, image seen before", "Now " + question[:200])):
            began = time.perf_counter()
            stream = engine.stream(words, images, **settings)
            rows[key].add(began, stream)
            prompt_tokens = max(prompt_tokens, stream.stats.prompt_tokens)
    memory = peak_memory(engine.device)
    crops = len(request.images) * (request.num_crops + 1)
    first = limits.first_token_seconds(engine.model, prompt_tokens, crops)
    gap = limits.decode_seconds(engine.model, prompt_tokens)
    print(f"\n**{name}**, {prompt_tokens:,} prompt tokens; {parts(engine, request, question)}\n")
    print("| | TTFT | of the limit | ms a token | 95 % | tok/s | of the limit |\n|---|---:|---:|---:|---:|---:|---:|")
    for key, row in rows.items():
        print(f"| {key} | {row.cells(first, gap)} |")
    print(f"\nmost memory in use, {memory}")


def reset_peak_memory(device: torch.device) -> None:
    """On a GPU: count the most that is in use from now on."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> str:
    """The most that was in use."""
    if device.type == "cuda":
        pools = [part for part in torch.cuda.memory_snapshot() if part["segment_pool_id"] != (0, 0)]
        for_graphs = sum(part["total_size"] - part["allocated_size"] for part in pools)  # theirs, though free
        peak = (torch.cuda.max_memory_allocated(device) + for_graphs) / 2**30
        return f"by the engine: {peak:.2f} GiB on the GPU, {for_graphs / 2**30:.2f} of them for its graphs alone"
    return f"by all of this so far: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full-size", action="store_true", help="Phi-3-Vision's size, random weights")
    parser.add_argument("--requests", nargs="*", choices=REQUESTS, default=None, help="by default all that fit")
    parser.add_argument("--tokens", type=int, default=128, help="of an answer")
    parser.add_argument("--runs", type=int, default=5)
    for option in ("--device", "--dtype", "--attn-implementation"):
        parser.add_argument(option, default="auto")
    parser.add_argument("--quantize", choices=BITS)
    options = parser.parse_args()
    began = time.perf_counter()
    where = {name: getattr(options, name) for name in ("device", "dtype", "attn_implementation", "quantize")}
    engine = full_size(**where) if options.full_size else Phi3Vision.from_pretrained(**where)
    if not options.full_size:
        with torch.no_grad():
            stored(engine.model.lm_head)[1][engine._end_ids] = 0  # answers of equal length
    loaded_at = time.perf_counter()
    names = [name for name, request in REQUESTS.items() if wanted(name, request, engine, options.requests)]
    rows = {}
    if not options.quantize:  # until there are kernels, quantised weights are unpacked for each token
        rows = {name: defaults(engine, REQUESTS[name], options.tokens, options.runs) for name in names}
    warming_at = time.perf_counter()
    engine.warm_up()
    warm_at = time.perf_counter()
    limits = measure(engine.device, engine.dtype)
    device = f"{engine.device_name} ({os.cpu_count()} CPUs)"
    print(f"{device}, {engine.precision}, {engine.attn_implementation}, torch {torch.__version__}")
    print(f"loaded in {loaded_at - began:.0f} s, warm after {warm_at - warming_at:.1f} s more")
    rate = f"{limits.matrix_rate / 1e12:,.2f} TFLOP/s"
    print(f"a copy moves {limits.bandwidth / 1e9:,.0f} GB/s, a matrix product takes {rate}")
    for name in names:
        compare(engine, limits, name, rows.get(name), options.tokens, options.runs)


def wanted(name: str, request: Request, engine: Phi3Vision, chosen: list[str] | None) -> bool:
    """Whether a request was chosen, or with none chosen fits the model."""
    if chosen is not None:
        return name in chosen
    return request.num_crops <= engine.num_crops and request.words < engine.context_length - 3000


if __name__ == "__main__":
    main()
