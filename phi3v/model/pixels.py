"""Pixels out of Pillow and to the model's device, on the shortest way."""

import ctypes
from concurrent.futures import ThreadPoolExecutor

import torch
from PIL import Image

THREADS = 4  # that copy a large image; more wait for memory


class _Array(ctypes.Structure):
    """`ArrowArray` of the Arrow C data interface (https://arrow.apache.org/docs/format/CDataInterface.html)."""


_Array._fields_ = [
    *((name, ctypes.c_int64) for name in ("length", "null_count", "offset", "n_buffers", "n_children")),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_Array))),
]
_pointer = ctypes.pythonapi["PyCapsule_GetPointer"]  # not the attribute, which others in the process share
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)


def rgbx(image: Image.Image, pin_memory: bool = False) -> torch.Tensor:
    """An RGB image's pixels as Pillow holds them, copied: uint8, (height, width, 4), the fourth of no meaning.

    `tobytes`, on which numpy relies too, packs them byte by byte and then copies: four times as long.

    Args:
        image: of the mode RGB.
        pin_memory: for a GPU to fetch, if that can be had.
    """
    shape = (image.height, image.width, 4)
    image.load()
    rows = Image.core.get_block_size() // (4 * image.width)  # more are in pieces, which can't be exported
    if not rows or Image.core.get_alignment() > 1:  # nor can these, or wrongly
        return torch.frombuffer(bytearray(image.tobytes("raw", "RGBX")), dtype=torch.uint8).view(shape)
    try:
        pixels = torch.empty(shape, dtype=torch.uint8, pin_memory=pin_memory)
    except RuntimeError:  # as much as the system lets be pinned
        pixels = torch.empty(shape, dtype=torch.uint8)
    if rows >= image.height and not image.readonly:  # those crash
        data, _owner = _memory(image)
        pixels.view(-1).copy_(torch.frombuffer((ctypes.c_uint8 * pixels.nbytes).from_address(data), dtype=torch.uint8))
        return pixels

    def part(begin: int) -> None:
        end = min(begin + rows, image.height)
        _export(image.crop((0, begin, image.width, end)), pixels[begin:end])

    rows = min(rows, -(-image.height // THREADS))
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(part, range(0, image.height, rows)))
    return pixels


def _export(image: Image.Image, pixels: torch.Tensor) -> None:
    data, _owner = _memory(image)
    ctypes.memmove(pixels.data_ptr(), data, pixels.nbytes)


def _memory(image: Image.Image) -> tuple[int, object]:
    """Where an image's pixels are, and what keeps them there."""
    _, array = image.__arrow_c_array__()
    return _Array.from_address(_pointer(array, b"arrow_array")).children[0].contents.buffers[1], array


def planar(pixels: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """What `rgbx` gave as (3, height, width) on a device."""
    return pixels.to(device)[..., :3].permute(2, 0, 1).contiguous()
