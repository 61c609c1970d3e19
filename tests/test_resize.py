"""Several threads resize an image as one does."""

import os

import pytest
from PIL import Image

from phi3v.resize import LARGE, resize

SIZES = [
    ((640, 480), (1344, 1008)),
    ((997, 613), (336, 207)),
    ((700, 3), (336, 1)),
    ((5, 4), (90, 4)),
    ((9, 9), (9, 9)),
]


@pytest.mark.parametrize(("before", "after"), SIZES)
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_bit_for_bit(before, after, threads):
    image = Image.frombytes("RGB", before, os.urandom(3 * before[0] * before[1]))
    expected = image.resize(after, Image.Resampling.BILINEAR)
    assert resize(image, after, threads=threads).tobytes() == expected.tobytes()
    tall = image.transpose(Image.Transpose.TRANSPOSE)
    result = resize(tall, after[::-1], columns_first=True, threads=threads)
    assert result.tobytes() == expected.transpose(Image.Transpose.TRANSPOSE).tobytes()


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_a_photo_that_is_not_decoded_yet(kind, tmp_path):
    path = tmp_path / f"photo.{kind}"
    Image.effect_noise((2400, 1600), 80).convert("RGB").save(path)
    image = Image.open(path)
    assert image.width * image.height > LARGE
    result = resize(image, (1344, 896), threads=4)
    assert result.tobytes() == image.resize((1344, 896), Image.Resampling.BILINEAR).tobytes()
