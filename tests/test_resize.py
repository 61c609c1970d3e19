"""Several threads resize an image as one does, and so does torch."""

import os

import pytest
import torch
from PIL import Image

from phi3v.model import tensor_resize
from phi3v.model.image_processing_phi3_v import hd_transform, hd_transform_pixels
from phi3v.model.pixels import planar, rgbx
from phi3v.model.resize import LARGE, resize

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


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_torch_bit_for_bit(before, after):
    image = Image.frombytes("RGB", before, os.urandom(3 * before[0] * before[1]))
    expected = rgbx(image.resize(after, Image.Resampling.BILINEAR))[..., :3]
    pixels = rgbx(image)
    assert torch.equal(tensor_resize.resize(pixels, after)[..., :3], expected)
    tall = tensor_resize.resize(pixels.transpose(0, 1), after[::-1], columns_first=True)
    assert torch.equal(tall.transpose(0, 1)[..., :3], expected)


@pytest.mark.parametrize("size", [(800, 600), (431, 1201), (90, 90), (1344, 1344), (1500, 11)])
@pytest.mark.parametrize("num_crops", [1, 4, 16])
def test_what_a_gpu_does_is_the_hd_transform(size, num_crops):
    image = Image.frombytes("RGB", size, os.urandom(3 * size[0] * size[1]))
    expected = planar(rgbx(hd_transform(image, num_crops)), "cpu")
    assert torch.equal(hd_transform_pixels(rgbx(image), num_crops), expected)


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_a_photo_that_is_not_decoded_yet(kind, tmp_path):
    path = tmp_path / f"photo.{kind}"
    Image.effect_noise((2400, 1600), 80).convert("RGB").save(path)
    image = Image.open(path)
    assert image.width * image.height > LARGE
    result = resize(image, (1344, 896), threads=4)
    assert result.tobytes() == image.resize((1344, 896), Image.Resampling.BILINEAR).tobytes()
