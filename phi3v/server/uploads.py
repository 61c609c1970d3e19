"""The folder of uploads: the app's own, emptied in time, with a bound, and gone at the end."""

import fcntl
import logging
import os
import shutil
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

PREFIX = "phi3v-"
LOCK = ".lock"
AGE_SECONDS = 3600.0  # after which a file is deleted
PARTIAL_SECONDS = 120.0  # after which a part of an upload is deleted that nothing has been added to
GRACE_SECONDS = 60.0  # for which a new file stays, even where there are too many
SWEEP_SECONDS = 15.0
FREE_BYTES = 500_000_000  # of the disk; with less, nothing is taken
SHARE = 4  # the part of what all may take that one visitor may, in a while
SHARE_SECONDS = 600.0

log = logging.getLogger("phi3v")


class UploadFolder:
    """A new folder beside others of its kind, of which those are deleted that an ended process has left behind.

    Args:
        max_bytes: what its files may take together; the oldest are deleted beyond.

    Attributes:
        path: the folder.
    """

    def __init__(self, max_bytes: int):
        self.max_bytes = max_bytes
        parent = Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())
        parent.mkdir(parents=True, exist_ok=True)
        _delete_orphans(parent)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent.resolve()))
        self._lock = open(self.path / LOCK, "w")  # noqa: SIM115 - held until the end, however that comes
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._uploaded: dict[str, list[tuple[float, int]]] = {}
        self._own: set[Path] = set()
        self._used = 0

    def watch(self) -> None:
        """Delete on a thread what has had its time. What is there now is the page's own and stays."""
        self._own = {path for path in self.path.rglob("*") if path.is_file()}
        threading.Thread(target=self._sweep_for_ever, name="phi3v-uploads", daemon=True).start()

    def _sweep_for_ever(self) -> None:
        while True:
            time.sleep(SWEEP_SECONDS)
            try:
                self.sweep()
            except OSError as error:
                log.warning("Uploads could not be looked through: %s", type(error).__name__)

    def sweep(self) -> None:
        """Delete files by age, parts of uploads, empty files and folders, and the oldest where there are too many."""
        now, files = time.time(), []
        latest = time.monotonic() - SHARE_SECONDS
        self._uploaded = {name: sizes for name, sizes in self._uploaded.items() if sizes[-1][0] > latest}
        for path in self.path.rglob("*"):
            with suppress(FileNotFoundError):
                status = path.lstat()
                age = now - status.st_mtime
                if path.is_dir() and not path.is_symlink():
                    with suppress(OSError):
                        if age > PARTIAL_SECONDS:
                            path.rmdir()  # if it is empty
                elif path not in self._own:
                    partial = path.parent == self.path and path.name != LOCK and age > PARTIAL_SECONDS
                    if age > AGE_SECONDS or partial or (status.st_size == 0 and age > PARTIAL_SECONDS):
                        path.unlink()
                    else:
                        files.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in files)
        for modified, size, path in sorted(files):
            if total <= self.max_bytes or now - modified < GRACE_SECONDS:
                break
            with suppress(FileNotFoundError):
                path.unlink()
            total -= size
        self._used = total

    def take(self, address: str | None, size: int) -> str | None:
        """Count bytes that are about to be written.

        Args:
            address: the visitor's, as `public_address` says.

        Returns:
            Words for the visitor if there is no room for them.
        """
        self._used += size
        if self._used > self.max_bytes + self.max_bytes // SHARE or shutil.disk_usage(self.path).free < FREE_BYTES:
            return "The server has no space for uploads left. Try again in a minute."
        if address:
            now = time.monotonic()
            recent = [each for each in self._uploaded.get(address, []) if now - each[0] < SHARE_SECONDS]
            self._uploaded[address] = [*recent, (now, size)]
            if sum(each for _, each in self._uploaded[address]) > self.max_bytes // SHARE:
                return "These are too many uploads. Try again in ten minutes."
        return None

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def _delete_orphans(parent: Path) -> None:
    """Folders whose process has ended: the lock goes with it."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError), open(folder / LOCK) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
