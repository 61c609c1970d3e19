"""Pillow's resize on several threads of a CPU, bit for bit."""

import os
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

LARGE = 2_000_000  # pixels; of fewer, one thread has resized them before others would have begun
MOST_THREADS = 8


def resize(
    image: Image.Image, size: tuple[int, int], columns_first: bool = False, threads: int | None = None
) -> Image.Image:
    """`image.resize(size, Image.Resampling.BILINEAR)`, of an RGB image.

    Pillow computes rows first and then columns of that, rounded to bytes. So rows are independent of each other in the
    first step, and columns in the second.

    Args:
        image: any size; of more than a hundred times its width in height, Pillow computes columns first by itself.
        size: width and height in pixels.
        columns_first: for what Pillow makes of the transposed image, transposed back.
        threads: by default one for each CPU, up to eight, for a large image.

    Returns:
        A new image; of the same size, the image itself.
    """
    image.load()  # which several threads can't do together
    if threads is None:
        threads = min(os.cpu_count() or 1, MOST_THREADS) if image.width * image.height > LARGE else 1
    middle = (image.width, size[1]) if columns_first else (size[0], image.height)
    return _one_way(_one_way(image, middle, threads), size, threads)


def _one_way(image: Image.Image, size: tuple[int, int], threads: int) -> Image.Image:
    """Resize to another width or another height, in parts."""
    if image.size == size:
        return image
    if threads == 1:
        return image.resize(size, Image.Resampling.BILINEAR)
    (width, height), wider = size, size[0] != image.width
    result = Image.new("RGB", size, None)

    def part(begin: int, end: int) -> None:
        box = (0, begin, image.width, end) if wider else (begin, 0, end, image.height)
        own = (width, end - begin) if wider else (end - begin, height)
        result.paste(image.crop(box).resize(own, Image.Resampling.BILINEAR), box[:2])

    length = height if wider else width
    parts = min(4 * threads, length)  # more than threads: those at work are copies
    cuts = [length * number // parts for number in range(parts + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(part, cuts[:-1], cuts[1:]))
    return result
