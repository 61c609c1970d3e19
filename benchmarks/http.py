"""What the app adds to the engine: answers over HTTP, as clients of the API get them.

python -m benchmarks.http                    the bundled model
python -m benchmarks.http --full-size        Phi-3-Vision's size with random weights, which takes 8 GB of disk

The engine's own figures are measured before, in this process, and the app's with the same image and question.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # as app.py does

import httpx
from gradio_client import Client, handle_file

from phi3v import Phi3Vision
from phi3v.app.tasks import OCR

from .full_size import full_size
from .reading import unseen_receipt
from .startup import running_app

TIMES = 7
WARM = 20  # seconds until an app has made ready what it makes ready behind its first answers


def timed(pieces: Iterator[str]) -> tuple[float, float]:
    """Seconds to the first text and from there to the end."""
    began, first = time.perf_counter(), None
    for text in pieces:
        first = first or (time.perf_counter() if text else None)
    return first - began, time.perf_counter() - first


def by_client(client: Client, path: Path, question: str) -> Iterator[str]:
    """The answer's states by `gradio_client`.

    Its job is asked for them, since iterating over it holds the lock that whoever brings them waits for: on a machine
    of 16 cores nothing came before the end.
    """
    job, seen = client.submit(handle_file(path), question, api_name="/describe"), 0
    while not job.done():
        new = job.outputs()[seen:]
        seen += len(new)
        yield from new
        time.sleep(0.001)
    yield from job.outputs()[seen:]


def by_http(client: httpx.Client, path: Path, question: str, settings: list) -> Iterator[str]:
    """The answer's states without `gradio_client`, which looks for them every 50 ms."""
    [uploaded] = client.post("/upload", files={"files": (path.name, path.read_bytes())}).json()
    image = {"path": uploaded, "meta": {"_type": "gradio.FileData"}}
    event = client.post("/call/describe", json={"data": [image, question, *settings]}).json()["event_id"]
    with client.stream("GET", f"/call/describe/{event}") as answer:
        for line in answer.iter_lines():
            if line.startswith("data: ["):
                yield json.loads(line.removeprefix("data: "))[0]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full-size", action="store_true", help="Phi-3-Vision's size, random weights")
    options = parser.parse_args()
    question = OCR["text"].prompt
    with tempfile.TemporaryDirectory() as folder:
        engine = full_size() if options.full_size else Phi3Vision.from_pretrained()
        engine.warm_up()
        rows, tokens = {"engine": []}, 0
        for _ in range(TIMES + 1):
            stream = engine.stream(question, [unseen_receipt()])
            rows["engine"].append(timed(stream))
            tokens = stream.stats.new_tokens
        if options.full_size:
            engine.model.save_pretrained(folder)
            engine.processor.save_pretrained(folder)
        with running_app(["--model", folder] if options.full_size else []) as url:
            client = Client(url, verbose=False)
            endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
            http = httpx.Client(base_url=f"{url}/gradio_api", timeout=None)
            settings = [parameter["parameter_default"] for parameter in endpoints["/describe"]["parameters"][2:]]
            ways = {
                "app": lambda path: by_client(client, path, question),
                "app, without gradio_client": lambda path: by_http(http, path, question, settings),
            }
            for name, way in ways.items():
                rows[name] = []
                for _ in range(TIMES + 1):
                    path = Path(folder) / f"{time.monotonic_ns()}.png"
                    unseen_receipt().save(path)
                    rows[name].append(timed(way(path)))
                    if engine.device.type == "cuda" and len(rows["app"]) == 1:
                        time.sleep(WARM)
    for name, row in rows.items():
        first, rest = (median(values) for values in zip(*row[1:], strict=True))  # the first is to warm up
        print(f"{name}: first text after {first * 1e3:.0f} ms, then {(tokens - 1) / rest:.0f} tok/s")


if __name__ == "__main__":
    main()
