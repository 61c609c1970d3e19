"""Photos that were asked about, as the model sees them: follow-up questions needn't decode and resize them again."""

import os
import threading
from collections import OrderedDict
from pathlib import Path

from PIL import Image

MAX_BYTES = 128_000_000
WORTHWHILE = 1_000_000  # pixels; smaller images are decoded in milliseconds


class ImageCache:
    """The latest images, by file and `num_crops`. A file that has changed is another one. For any thread."""

    def __init__(self, max_bytes: int = MAX_BYTES):
        self._max_bytes = max_bytes
        self._images: OrderedDict[tuple, Image.Image] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: str | Path, num_crops: int) -> Image.Image | None:
        """The image, if it is there."""
        key = _key(path, num_crops)
        with self._lock:
            if key in self._images:
                self._images.move_to_end(key)
            return self._images.get(key)

    def put(self, path: str | Path, num_crops: int, image: Image.Image) -> None:
        """Keep an image, at the expense of those that were not asked about for longest."""
        key = _key(path, num_crops)
        if key is None:
            return
        with self._lock:
            self._images[key] = image
            while sum(3 * each.width * each.height for each in self._images.values()) > self._max_bytes:
                self._images.popitem(last=False)


def _key(path: str | Path, num_crops: int) -> tuple | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return str(path), status.st_mtime_ns, status.st_size, num_crops
