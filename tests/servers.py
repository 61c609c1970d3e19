"""Starts the app as a user does, on a free port of the loopback address."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parent.parent


def _take_interrupts() -> None:
    """Where tests run in the background, SIGINT is ignored, and would be by what they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Server:
    """`python app.py` with some options. `url`; `log()`: what it has printed so far.

    Args:
        script: another one in its place.
        environment: further variables.
    """

    def __init__(self, log_file: Path, *options: str, script: str = "app.py", environment: dict | None = None):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._log_file = log_file
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PHI3V_", "GRADIO_"))}
        environment = kept | (environment or {})
        command = [sys.executable, script, "--server-port", str(port), *options]
        with log_file.open("w") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
                preexec_fn=_take_interrupts,  # noqa: PLW1509 - it takes no lock
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(self.url, timeout=5)
                return
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise RuntimeError(self.log()) from None
                time.sleep(0.1)

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._process.pid

    def log(self) -> str:
        return self._log_file.read_text()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=20)
