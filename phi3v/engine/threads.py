"""How many of a CPU's threads torch's operations take, on the calling thread alone."""

import ctypes
from collections.abc import Callable
from functools import cache

import torch


def use_threads(count: int) -> None:
    """As `torch.set_num_threads`, which other threads too would begin with from then on."""
    torch.get_num_threads()  # a thread's first look takes over the process's number
    if set_threads := _openmp():
        set_threads(count)
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)


@cache
def _openmp() -> Callable[[int], None] | None:
    """OpenMP's own function, whose number is a thread's; `None` where the library isn't found, as on Windows."""
    try:
        return ctypes.CDLL(None).omp_set_num_threads
    except (AttributeError, OSError, TypeError):
        return None
