"""Opens strangers' files in a process of its own, with limits of time and memory: a hostile file ends that process,
not the server. Decoders have no such limits: a file of 100 kB can have one compute for minutes, fill the memory or
crash.

Both sides are here. The server's is `Process`. The other is `serve`, for the scripts `image_worker.py` and
`pdf_worker.py`, which import this file by its path: importing the package would load torch.

A header of three numbers (code, width, height) goes to stdout for each line that comes on stdin, and with code `DONE`
there may be pixels: RGB, three bytes each, in a file that both sides have open. A pipe would take as long as decoding
a photo does.
"""

import fcntl
import math
import mmap
import os
import selectors
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from PIL import Image

HEADER = struct.Struct("=3I")
DONE = 0
# Why there is no picture.
UNREADABLE, HEIC, DAMAGED, TOO_LARGE, TOO_COMPLEX, NO_MEMORY, PASSWORD, EMPTY = range(1, 9)
LATE, DIED = 100, 101  # the process ended instead of answering
POLL_SECONDS = 0.05  # how soon a request that was stopped ends its process
# All of the environment that it gets: where shared libraries are. And numerical libraries reserve memory a thread.
ENVIRONMENT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
THREADS = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
STRIP = 2**20  # bytes of pixels that are copied at a time: what a CPU's cache holds

Answer = tuple[int, int, int, Iterable[bytes]]  # code, width, height, the pixels in pieces


class Process:
    """A script that answers, until `close`.

    Args:
        script: a file beside this one.
        arguments: what it is started with.
        seconds: the limit for each answer.
        memory: bytes of address space that it may take.
        max_pixels: how many an answer may have.

    Attributes:
        alive: whether it can be asked again.
    """

    def __init__(self, script: Path, arguments: tuple[str, ...], seconds: float, memory: int, max_pixels: int):
        self.alive = True
        self._seconds, self._max_pixels = seconds, max_pixels
        self._pixels = _shared_file(3 * max_pixels)
        packages = [os.path.abspath(folder) for folder in sys.path if folder] + [str(Path(__file__).parent)]
        limits = map(str, (self._pixels, seconds, memory))
        # Isolated (-I, -S): neither the environment nor the script's folder changes what it imports. What decoders say
        # of strangers' files on stderr is no news for the log.
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(script), *packages, "--", *limits, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env={name: os.environ[name] for name in ENVIRONMENT if name in os.environ} | THREADS,
                pass_fds=[self._pixels],
            )
        except BaseException:
            os.close(self._pixels)
            raise

    def ask(self, line: bytes, left: Callable[[], float]) -> tuple[int, int, int]:
        """Send a line and return the header that answers it; see `answer`."""
        with suppress(BrokenPipeError):  # it is dead, and the answer says so
            self._process.stdin.write(line + b"\n")
        return self.answer(left)

    def answer(self, left: Callable[[], float]) -> tuple[int, int, int]:
        """The next header, or `LATE` or `DIED`, after which the process is of no use.

        Args:
            left: seconds that the request has left; what it raises ends the process.
        """
        end, header = time.monotonic() + self._seconds, b""
        try:
            with selectors.PollSelector() as selector:
                selector.register(self._process.stdout, selectors.EVENT_READ)
                while len(header) < HEADER.size:
                    wait = end - time.monotonic()
                    if wait <= 0:
                        return self._end(LATE)
                    if not selector.select(min(wait, left(), POLL_SECONDS)):
                        continue
                    piece = os.read(self._process.stdout.fileno(), HEADER.size - len(header))
                    if not piece:
                        return self._end(DIED)
                    header += piece
        except BaseException:
            self._end(DIED)
            raise
        code, width, height = HEADER.unpack(header)
        return code, width, height

    def image(self, width: int, height: int) -> Image.Image:
        """The last answer's picture, of mode RGB.

        Raises:
            ValueError: no answer has so many pixels: the process was taken over and is not trusted any more.
        """
        size = 3 * width * height
        if not 0 < size <= 3 * self._max_pixels:
            self._end(DIED)
            raise ValueError(f"{width}x{height} pixels")
        with mmap.mmap(self._pixels, size) as shared:
            with memoryview(shared) as pixels:
                image = Image.frombytes("RGB", (width, height), pixels)
            if hasattr(mmap, "MADV_REMOVE"):
                with suppress(OSError):
                    shared.madvise(mmap.MADV_REMOVE)  # the memory is free again
        return image

    def close(self) -> None:
        """End the process."""
        self._end(DIED)
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        with suppress(OSError):
            os.close(self._pixels)
        self._pixels = -1

    def _end(self, code: int) -> tuple[int, int, int]:
        self.alive = False
        self._process.kill()
        self._process.wait()
        return code, 0, 0


def _shared_file(size: int) -> int:
    """A file without a name, in memory where the system has such; its length can't be cut under a reader."""
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryFile() as file:
            os.ftruncate(file.fileno(), size)
            return os.dup(file.fileno())
    shared = os.memfd_create("pixels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(shared, size)
    fcntl.fcntl(shared, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    return shared


def arguments() -> list[str]:
    """What the script was started with."""
    return sys.argv[sys.argv.index("--") + 4 :]


def serve(handle: Callable[[bytes], Answer], first: Callable[[], Answer] | None = None) -> None:
    """Answer each line of stdin until it ends; with `first`, once before.

    Should the server be gone, an answer that takes too long ends the process all the same.
    """
    shared, seconds, memory = sys.argv[sys.argv.index("--") + 1 :][:3]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in a terminal reaches it too; its parent decides
    _limit_memory(int(memory))
    latest = math.ceil(float(seconds)) + 1
    if first:
        _answer(first, int(shared), latest)
    for line in sys.stdin.buffer:
        _answer(lambda line=line: handle(line.rstrip(b"\n")), int(shared), latest)


def _answer(ask: Callable[[], Answer], shared: int, latest: int) -> None:
    signal.alarm(latest)
    code, width, height, pixels = ask()
    position = 0
    for piece in pixels:
        position += os.pwrite(shared, piece, position)
    signal.alarm(0)
    sys.stdout.buffer.write(HEADER.pack(code, width, height))
    sys.stdout.buffer.flush()


def _limit_memory(size: int) -> None:
    """As far as the system can: macOS may refuse or ignore it."""
    import resource

    for kind in ("RLIMIT_AS", "RLIMIT_DATA"):
        with suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, kind), (size, size))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is no news, and a dump has the document in it
