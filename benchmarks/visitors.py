"""Several visitors ask at once, how long does each wait: ``python -m benchmarks.visitors [--full-size]``."""

import argparse
import os
import time
from threading import Thread

os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # as app.py does

from phi3v import Phi3Vision

from .full_size import full_size
from .speed import REQUESTS, pictures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full-size", action="store_true", help="Phi-3-Vision's size, random weights")
    parser.add_argument("--visitors", type=int, default=8)
    parser.add_argument("--request", choices=REQUESTS, default="4 crops")
    parser.add_argument("--tokens", type=int, default=128, help="of an answer")
    options = parser.parse_args()
    engine = full_size() if options.full_size else Phi3Vision.from_pretrained()
    engine.warm_up()
    request = REQUESTS[options.request]
    firsts, ends = {}, {}

    def visit(number: int, images: list) -> None:
        stream = engine.stream("word " * 8, images, num_crops=request.num_crops, max_new_tokens=options.tokens)
        for _ in stream:
            firsts.setdefault(number, time.perf_counter() - began)
        ends[number] = time.perf_counter() - began, stream.stats.new_tokens

    for count in (1, 1, options.visitors):  # the first is to warm up
        firsts.clear(), ends.clear()
        threads = [Thread(target=visit, args=(number, pictures(request))) for number in range(count)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        waits = ", ".join(f"{wait:.2f}" for wait in sorted(firsts.values()))
        rate = sum(tokens for _, tokens in ends.values()) / max(end for end, _ in ends.values())
        print(f"{count} at once: first words after {waits} s; {rate:,.0f} tokens a second in all, prompts included")


if __name__ == "__main__":
    main()
