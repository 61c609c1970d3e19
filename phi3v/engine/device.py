"""Picks where and how the model runs: device, dtype, attention."""

import platform

import torch
from transformers.utils import is_flash_attn_2_available

from .settings import ATTENTION, DTYPES

GIB = 2**30


def pick_device(device: str = "auto") -> torch.device:
    """The device asked for, or the best there is: `cuda`, `mps`, `cpu`.

    A CUDA device has an index, by default that of the calling thread's current one: other threads have their own.

    Raises:
        ValueError: the device asked for is not there.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        device = next(name for name, there in available.items() if there)
    kind, _, index = device.partition(":")
    numbered = not index or (kind == "cuda" and index.isdecimal() and int(index) < torch.cuda.device_count())
    if not (available.get(kind, False) and numbered):
        there = ", ".join(name for name, is_there in available.items() if is_there)
        raise ValueError(f"Device {device!r} is not available here (available: {there}). Use --device auto.")
    return torch.device("cuda", torch.cuda.current_device()) if device == "cuda" else torch.device(device)


def pick_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """The dtype asked for, or bfloat16; float16 on a GPU without bfloat16; float32 on a CPU without bfloat16.

    Raises:
        ValueError: the dtype is not one of bfloat16, float16, float32.
    """
    if dtype != "auto":
        if dtype not in DTYPES:
            raise ValueError(f"Unknown dtype {dtype!r}. Choose auto, {', '.join(DTYPES)}.")
        return getattr(torch, dtype)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device.type == "cpu":
        return torch.bfloat16 if _cpu_has_bfloat16() else torch.float32
    return torch.bfloat16 if _mps_has_bfloat16(device) else torch.float16


def pick_attention(attn_implementation: str, device: torch.device, dtype: torch.dtype) -> str:
    """The attention implementation asked for, or flash_attention_2 where it is installed and runs, else sdpa.

    Raises:
        ValueError: flash_attention_2 is asked for where it can't run.
    """
    if attn_implementation not in ATTENTION:
        raise ValueError(f"Unknown attention implementation {attn_implementation!r}. Choose {', '.join(ATTENTION)}.")
    missing = _flash_attention_lacks(device, dtype)
    if attn_implementation == "flash_attention_2" and missing:
        raise ValueError(f"flash_attention_2 can't be used: {missing}. Use --attn-implementation sdpa.")
    if attn_implementation == "auto":
        return "sdpa" if missing else "flash_attention_2"
    return attn_implementation


def memory_to_spare(device: torch.device) -> int:
    """Bytes that may be spent on remembering: 1 GiB; on a CUDA GPU a quarter of what is free now, up to 4 GiB."""
    if device.type == "cuda":
        return min(4 * GIB, torch.cuda.mem_get_info(device)[0] // 4)
    return GIB


def _flash_attention_lacks(device: torch.device, dtype: torch.dtype) -> str | None:
    """What keeps flash-attn from running, if anything does."""
    if device.type != "cuda":
        return f"it needs a CUDA GPU, and the model runs on {device.type}"
    if torch.cuda.get_device_capability(device) < (8, 0):
        return "it needs an Ampere GPU or newer"
    if dtype == torch.float32:
        return "it needs bfloat16 or float16"
    if not is_flash_attn_2_available():
        return "the package flash-attn is not installed (pip install flash-attn --no-build-isolation)"
    return None


def _mps_has_bfloat16(device: torch.device) -> bool:
    try:
        torch.ones(1, dtype=torch.bfloat16, device=device).add_(1)
    except (TypeError, RuntimeError):  # an older macOS
        return False
    return True


def _cpu_has_bfloat16() -> bool:
    """Whether a CPU has instructions for bfloat16: without, products of it are emulated, several times slower."""
    if platform.machine() in ("aarch64", "arm64"):
        return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
