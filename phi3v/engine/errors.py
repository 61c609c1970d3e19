"""Which of torch's errors mean that memory is short, and which that the GPU is lost."""

import torch

GPU_FAILED = "The GPU failed and does nothing more for this process. Restart the app."

# How allocators say so that don't raise `torch.OutOfMemoryError`: the CPU's (on Linux, on Windows), Apple's, and those
# of the CUDA runtime and its libraries.
OUT_OF_MEMORY = (
    "can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "MPS backend out of memory",
    "Invalid buffer size",
    "CUDA error: out of memory",
    "Triton Error [CUDA]: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


class EngineFailedError(RuntimeError):
    """The engine can't compute anything any more; its words are for a person."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device's memory did not suffice."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)


def is_lost(error: BaseException, device: torch.device) -> bool:
    """Whether the GPU refuses all further work of this process, as after an illegal memory access."""
    words = ("CUDA error", "device-side assert", "Triton Error [CUDA]")
    if not isinstance(error, torch.AcceleratorError) and not any(each in str(error) for each in words):
        return False
    if device.type != "cuda":
        return True
    try:  # an invalid argument fails one call, a lost GPU every one
        torch.cuda.synchronize(device)
    except RuntimeError:
        return True
    return False
