"""Image files as people have them."""

import struct
import zlib

import numpy as np
import pytest
from conftest import REFERENCE
from PIL import Image

from phi3v.inputs.images import MAX_PIXELS, image_sizes, open_image, open_images


def saved(tmp_path, image, name, **settings):
    path = tmp_path / name
    image.save(path, **settings)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.gif", "a.bmp", "a.tiff"])
def test_formats(tmp_path, name):
    image = open_image(saved(tmp_path, Image.new("RGB", (40, 30), (200, 30, 60)), name))
    assert image.mode == "RGB"
    assert image.size == (40, 30)
    assert np.abs(np.asarray(image).mean((0, 1)) - (200, 30, 60)).max() < 6


def test_photos_are_turned_upright():
    """The reference ignores the orientation, so its model sees phone photos lying on their side."""
    assert Image.open(REFERENCE / "public/images/exif6_400x250.jpg").size == (400, 250)
    assert open_image(REFERENCE / "public/images/exif6_400x250.jpg").size == (250, 400)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_white(tmp_path, mode):
    transparent = Image.new("RGBA", (10, 10), (0, 0, 0, 0)).convert(mode)
    assert open_image(saved(tmp_path, transparent, "a.png")).getpixel((5, 5)) == (255, 255, 255)


def test_transparent_colour_of_a_palette(tmp_path):
    image = Image.new("P", (10, 10), 0)
    image.putpalette([0, 0, 0, 255, 0, 0])
    assert open_image(saved(tmp_path, image, "a.png", transparency=0)).getpixel((5, 5)) == (255, 255, 255)


def test_sixteen_bit_grey_is_scaled(tmp_path):
    values = np.linspace(0, 65535, 100, dtype=np.uint16).reshape(10, 10)
    image = open_image(saved(tmp_path, Image.fromarray(values), "a.png"))
    assert image.getpixel((0, 0)) == (0, 0, 0)
    assert image.getpixel((9, 9)) == (255, 255, 255)
    assert 100 < image.getpixel((5, 4))[0] < 140


def test_floating_point_grey_is_stretched(tmp_path):
    values = np.linspace(-3, 5, 100, dtype=np.float32).reshape(10, 10)
    image = open_image(saved(tmp_path, Image.fromarray(values), "a.tiff"))
    assert (image.getpixel((0, 0))[0], image.getpixel((9, 9))[0]) == (0, 255)


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (10, 10), colour) for colour in ("red", "blue")]
    path = saved(tmp_path, frames[0], "a.gif", save_all=True, append_images=frames[1:])
    assert open_image(path).getpixel((5, 5)) == (255, 0, 0)


def test_cmyk():
    assert open_image(REFERENCE / "public/images/cmyk_450x300.jpg").mode == "RGB"


def png_header(width, height):
    """A valid PNG file of a claimed size, without its pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not an image"),
        (b"hello, I am text", "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not an image"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "HEIC"),
        (png_header(10, 10), "damaged"),
        (png_header(40_000, 2_000), "megapixels"),
        (png_header(100_000, 100_000), "not an image|megapixels"),
    ],
)
def test_what_can_not_be_read_is_explained(tmp_path, content, words):
    path = tmp_path / "upload.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words):
        open_image(path)


def test_truncated_photo(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes((REFERENCE / "public/images/exif6_400x250.jpg").read_bytes()[:4000])
    with pytest.raises(ValueError, match="damaged"):
        open_image(path)


def test_sizes_without_decoding(tmp_path):
    upright = REFERENCE / "public/images/exif6_400x250.jpg"
    assert image_sizes([upright]) == [open_image(upright).size]
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ValueError, match="not an image"):
        image_sizes([tmp_path / "text.png"])


def test_several_images_share_the_limit(tmp_path):
    side = int((MAX_PIXELS * 0.6) ** 0.5)
    path = saved(tmp_path, Image.new("1", (side, side)), "large.png")
    assert open_images([path])[0].size == (side, side)
    other = saved(tmp_path, Image.new("1", (side, side), 1), "other.png")
    with pytest.raises(ValueError, match="Image 2: .*megapixels"):
        open_images([path, other])
    first, second = open_images([path, path])
    assert first is second  # one file
