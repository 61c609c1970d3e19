"""Ends a forward pass between two of its layers."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode


class AnswerStoppedError(Exception):
    """An answer was stopped, or its time was over, before its first token or while its prompt was read again."""


class _BetweenLayers(TorchFunctionMode):
    """Calls `check` before every linear layer that this thread computes, in whatever model it is."""

    def __init__(self, check: Callable[[], None]):
        super().__init__()
        self.check = check

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is linear:
            self.check()
        return func(*args, **(kwargs or {}))


def between_layers(check: Callable[[], None], device: torch.device) -> AbstractContextManager:
    """Have `check`, which raises to end the computation, called between layers.

    On a CPU, where a layer of a long prompt takes seconds. A GPU is only told what to do, and is through in no time.
    """
    return _BetweenLayers(check) if device.type == "cpu" else nullcontext()
