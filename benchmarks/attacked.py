"""How long visitors wait while others attack: ``PYTHONPATH=tests python -m benchmarks.attacked [--seconds 120]``.

Visitors ask about pictures of their own, without a pause, first by themselves and then beside attackers who send
images, documents and addresses that cost much. At the end 2,000 requests show whether anything grows. All on the
loopback address, where visitors and attackers look alike to limits by address.
"""

import argparse
import base64
import io
import os
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median
from threading import Thread

import hostile
import httpx
from PIL import Image, ImageDraw, ImageFont
from raw_http import Http, Web, read_on_the_page
from servers import Server

WORDS = "Apple River Stone Candle Market Garden Window Planet Silver Bridge Forest Hammer".split()


def sign(text: str) -> bytes:
    """A PNG of a sign with this text."""
    image = Image.new("RGB", (672, 336), (0, 90, 60))
    ImageDraw.Draw(image).text((40, 120), text, font=ImageFont.load_default(64), fill="white")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


class Visitor(Thread):
    """Asks one question after another until a time. `waits`: seconds for each; `problems`: what was no answer."""

    def __init__(self, url: str, text: str, until: float):
        super().__init__(daemon=True)
        self.http, self.text, self.until = Http(url), text, until
        self.waits, self.problems = [], Counter()

    def run(self) -> None:
        question = "What does the sign say?"
        while time.monotonic() < self.until:
            try:
                began = time.monotonic()
                picture = self.http.upload(sign(self.text))
                endpoint, data = random.choice(
                    [
                        ("describe", [picture, question, 12, 0, 1, 1, -1, 1]),
                        ("ocr", [picture, "text", 12, 0, 1, 1, -1, 1]),
                        ("chat", [question, [picture], None, 12, 0, 1, 1, -1, 1]),
                    ]
                )
                kind, message = self.http.call(endpoint, data)
                self.waits.append(time.monotonic() - began)
                if kind != "complete":
                    self.problems[f"{kind} {message[:80]}"] += 1
                elif self.text.split()[0].lower() not in message.lower():
                    self.problems["another answer"] += 1
            except Exception as error:
                self.problems[type(error).__name__] += 1


class Attacker(Thread):
    """Sends one kind of attack after another until a time."""

    def __init__(self, url: str, number: int, until: float):
        super().__init__(daemon=True)
        self.http, self.number, self.until, self.sent = Http(url), number, until, Counter()

    def run(self) -> None:
        attacks = [self._pages, self._scans, self._tags, self._data_urls, self._addresses, self._slow_addresses]
        while time.monotonic() < self.until:
            attack = attacks[self.number % len(attacks)]
            self.number += 1
            try:
                attack()
                self.sent[attack.__name__.strip("_")] += 1
            except Exception as error:
                self.sent[type(error).__name__] += 1

    def _image(self, content: bytes) -> None:
        self.http.call("describe", [self.http.upload(content), "What?", 2, 0, 1, 1, -1, 1])

    def _pages(self) -> None:
        buffer = io.BytesIO()
        Image.new("RGB", (600, 800), "white").save(buffer, "PDF")
        page = self.http.upload(buffer.getvalue(), "a.pdf")
        read_on_the_page(self.http, [page] * 60, f"attacker{self.number}{random.random()}")

    def _scans(self) -> None:
        self._image(hostile.jpeg_with_scans(4000, random.choice((30, 500))))

    def _tags(self) -> None:
        self._image(hostile.tiff_with_tags(800, 1_000_000))

    def _data_urls(self) -> None:
        url = "data:image/png;base64," + base64.b64encode(sign("x") * 20).decode()
        self.http.call("compare", [[url] * 40, "What?", 2, 0, 1, 1, -1, 1])

    def _addresses(self) -> None:
        self.http.call("chat", ["What?", ["http://127.0.0.1/a.png"] * 100, None, 2, 0, 1, 1, -1, 1])

    def _slow_addresses(self) -> None:
        addresses = [f"http://127.0.0.1/late?{number}" for number in range(8)]
        self.http.call("chat", ["What?", addresses, None, 2, 0, 1, 1, -1, 1])


def state(server: Server) -> str:
    """What the server's process holds."""
    status = Path(f"/proc/{server.pid}/status").read_text().split()
    memory, threads = (int(status[status.index(name) + 1]) for name in ("VmRSS:", "Threads:"))
    descriptors = len(os.listdir(f"/proc/{server.pid}/fd"))
    files = sum(path.is_file() for path in Path(server.temporary).glob("phi3v-*/**/*"))
    return f"{memory // 1024} MB, {threads} threads, {descriptors} descriptors, {files} files"


def phase(server: Server, visitors: int, attackers: int, seconds: float) -> None:
    """Run visitors and attackers together, and print what visitors had of it."""
    until = time.monotonic() + seconds
    crowd = [Visitor(server.url, f"{WORDS[n % 12]} {n}", until) for n in range(visitors)]
    others = [Attacker(server.url, n, until) for n in range(attackers)]
    for thread in crowd + others:
        thread.start()
    for thread in crowd + others:
        thread.join()
    waits = [wait for visitor in crowd for wait in visitor.waits]
    problems = sum((visitor.problems for visitor in crowd), Counter())
    least = min(len(visitor.waits) for visitor in crowd)
    problems, sent = (sum(counts, Counter()) for counts in ([v.problems for v in crowd], [o.sent for o in others]))
    print(f"{visitors} visitors, {attackers} attackers: {len(waits)} answers, at least {least} each")
    print(
        f"  wait {median(waits):.1f} s, at worst {max(waits):.1f} s; problems {dict(problems)}; attacks {dict(sent)}"
    )
    print(f"  {state(server)}")


def flat(server: Server, requests: int) -> None:
    """Ask again and again, and print whether anything grows."""
    with httpx.Client(base_url=f"{server.url}/gradio_api", timeout=60, trust_env=False) as client:
        for number in range(requests + 1):
            if number % (requests // 4) == 0:
                print(f"  after {number} requests: {state(server)}")
            text = f"{WORDS[number % 12]} {number % 50}"
            [path] = client.post("/upload", files={"files": ("a.png", sign(text))}).json()
            picture = {"path": path, "meta": {"_type": "gradio.FileData"}}
            body = {"data": [picture, "What does the sign say?", 4, 0, 1, 1, -1, 1]}
            event = client.post("/call/describe", json=body).json()["event_id"]
            client.get(f"/call/describe/{event}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--visitors", type=int, default=24)
    parser.add_argument("--attackers", type=int, default=10)
    parser.add_argument("--requests", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment = {"LOOPBACK_PORT": str(Web().server_address[1]), "GRADIO_TEMP_DIR": folder}
        script = "tests/loopback_is_public.py"
        server = Server(Path(folder) / "log.txt", "--max-queue", "64", script=script, environment=environment)
        server.temporary = folder
        try:
            Visitor(server.url, "Apple 0", time.monotonic() + 10).run()  # until the model is there
            phase(server, options.visitors, 0, options.seconds)
            phase(server, options.visitors, options.attackers, options.seconds)
            flat(server, options.requests)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
