"""Time from the command that starts the app to the page and to the first answer.

python -m benchmarks.startup [--runs 5] [options of app.py]
"""

import argparse
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gradio_client import Client, handle_file

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "assets" / "examples" / "street_sign.png"


@contextmanager
def running_app(options: list[str]) -> Iterator[str]:
    """The app's address, once the page is served."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "app.py", "--server-port", str(port), *options]
    app = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                urllib.request.urlopen(url, timeout=5)
                break
            except OSError as error:
                if app.poll() is not None:
                    raise RuntimeError(f"The app has ended: `{' '.join(command)}` says why.") from error
                time.sleep(0.02)
        yield url
    finally:
        app.terminate()
        app.wait()


def measure(options: list[str]) -> tuple[float, float, float]:
    """Seconds until the page is served, until the first answer, and for a second answer."""
    started = time.perf_counter()
    with running_app(options) as url:
        page = time.perf_counter() - started
        client = Client(url, verbose=False)
        client.predict(handle_file(EXAMPLE), "What does the sign say?", api_name="/describe")
        first = time.perf_counter() - started
        asked = time.perf_counter()
        client.predict(handle_file(EXAMPLE), "What does the sign say?", api_name="/describe")
        return page, first, time.perf_counter() - asked


def main() -> None:
    """Print the median over the runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    arguments, options = parser.parse_known_args()
    runs = [measure(options) for _ in range(arguments.runs)]
    for name, seconds in zip(("page", "first answer", "second answer alone"), zip(*runs, strict=True), strict=True):
        print(f"{name}: {statistics.median(seconds):.1f} s (from {min(seconds):.1f} to {max(seconds):.1f})")


if __name__ == "__main__":
    main()
