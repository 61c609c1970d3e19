"""What the app adds to the engine: answers over HTTP, as a client of the API gets them: ``python -m benchmarks.http``.

The engine's own figures are measured before, in this process, and the app's with the same image and question.
"""

import os
import tempfile
import time
from pathlib import Path
from statistics import median

os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # as app.py does

from gradio_client import Client, handle_file

from phi3v import Phi3Vision
from phi3v.tasks import OCR

from .reading import unseen_receipt
from .startup import running_app

TIMES = 7


def timed(pieces) -> tuple[float, float]:
    """Seconds to the first text and from there to the end."""
    began, first = time.perf_counter(), None
    for text in pieces:
        first = first or (time.perf_counter() if text else None)
    return first - began, time.perf_counter() - first


def main() -> None:
    """Measure and print."""
    question = OCR["text"].prompt
    with tempfile.TemporaryDirectory() as folder:
        engine = Phi3Vision.from_pretrained()
        rows, tokens = {"engine": [], "app": []}, 0
        for _ in range(TIMES + 1):
            stream = engine.stream(question, [unseen_receipt()])
            rows["engine"].append(timed(stream))
            tokens = stream.stats.new_tokens
        with running_app([]) as url:
            client = Client(url, verbose=False)
            for _ in range(TIMES + 1):
                path = Path(folder) / f"{time.monotonic_ns()}.png"
                unseen_receipt().save(path)
                rows["app"].append(timed(client.submit(handle_file(path), question, api_name="/describe")))
    for name, row in rows.items():
        first, rest = (median(values) for values in zip(*row[1:], strict=True))  # the first is to warm up
        print(f"{name}: first text after {first * 1e3:.0f} ms, then {(tokens - 1) / rest:.0f} tok/s")


if __name__ == "__main__":
    main()
