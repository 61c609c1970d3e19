"""Pixels come out of Pillow as they are."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from phi3v.model.pixels import planar, rgbx


def test_memory_that_is_shared_with_another_image():
    image = Image.frombytes("RGB", (7, 5), os.urandom(105))
    shared = Image.fromarrow(image, "RGB", image.size)
    assert torch.equal(planar(rgbx(shared), "cpu"), planar(rgbx(image), "cpu"))


@pytest.mark.parametrize("size", [(7, 5), (336, 672), (2400, 2100)], ids=["odd", "crops", "more than 16 MiB"])
def test_they_are_those_of_tobytes(size):
    image = Image.frombytes("RGB", size, os.urandom(3 * size[0] * size[1]))
    pixels = rgbx(image)
    expected = torch.from_numpy(np.array(image))
    image.paste((0, 0, 0), (0, 0, *size))  # they are a copy
    assert torch.equal(planar(pixels, "cpu"), expected.permute(2, 0, 1))
