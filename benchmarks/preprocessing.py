"""How long a decoded photo takes to become the model's input: ``python -m benchmarks.preprocessing``.

Medians, of photos of 12 megapixels at 16 crops, beside Pillow's own resize, taken in turns.
"""

import os
import time
from collections.abc import Callable
from statistics import median

os.environ.setdefault("PILLOW_BLOCK_SIZE", "256m")  # as app.py does

import torch
from PIL import Image

from phi3v import Phi3VImageProcessor
from phi3v.engine.device import pick_device

from .limits import synchronize

NUM_CROPS = 16
PHOTOS = {(4000, 3000): (1344, 1008), (3000, 4000): (1008, 1344)}  # size: to what the HD transform resizes it
TIMES = 30


def milliseconds(function: Callable[[], object]) -> float:
    """Of one call."""
    began = time.perf_counter()
    function()
    return (time.perf_counter() - began) * 1e3


def main() -> None:
    """Measure and print."""
    device, processor = pick_device(), Phi3VImageProcessor()

    def transformed(photo: Image.Image) -> None:
        processor.hd_pixels(photo, NUM_CROPS, device)
        synchronize(device)

    def all_of_it(photo: Image.Image) -> None:
        processor.preprocess([photo], NUM_CROPS, device=device)
        synchronize(device)

    print(f"{device}, {os.cpu_count()} CPUs, torch {torch.__version__}\n")
    print("| | Pillow's resize | the HD transform | all, to `pixel_values` |\n|---|---:|---:|---:|")
    for size, resized in PHOTOS.items():
        photo = Image.frombytes("RGB", size, os.urandom(3 * size[0] * size[1]))
        ways = (
            lambda photo=photo, resized=resized: photo.resize(resized, Image.Resampling.BILINEAR),
            lambda photo=photo: transformed(photo),
            lambda photo=photo: all_of_it(photo),
        )
        runs = [[milliseconds(way) for way in ways] for _ in range(TIMES)]
        cells = " | ".join(f"{median(times):.0f} ms" for times in zip(*runs, strict=True))
        print(f"| {size[0]} × {size[1]} | {cells} |")


if __name__ == "__main__":
    main()
