"""Several GPUs: the few lines that training needs beside one GPU's."""

import os

import torch
import torch.distributed as dist
from torch import nn


class Ranks:
    """This process among those that `torchrun` started, or alone."""

    def __init__(self) -> None:
        self.rank = int(os.environ.get("RANK", "0"))
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        self.local = int(os.environ.get("LOCAL_RANK", "0"))
        self.control = None

    def start(self) -> torch.device:
        """Join the others; the device to train on. Call it after the renderers have been forked."""
        cuda = torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(self.local)
        if self.count > 1:
            dist.init_process_group("nccl" if cuda else "gloo")
            self.control = dist.new_group(backend="gloo")
        return torch.device("cuda", self.local) if cuda else torch.device("cpu")

    def agree(self, value: float) -> float:
        """The first process's value."""
        if self.count == 1:
            return value
        box = torch.tensor([value], dtype=torch.float64)
        dist.broadcast(box, 0, group=self.control)
        return float(box)

    def spread_weights(self, model: nn.Module) -> None:
        """Begin with the first process's weights."""
        if self.count > 1:
            for p in model.parameters():
                dist.broadcast(p.data, 0)

    def mean_gradients(self, model: nn.Module) -> None:
        """Average the gradients. Heads that this batch had no use for count as zero."""
        parameters = list(model.parameters())
        for p in parameters:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        if self.count == 1:
            return
        flat = torch.cat([p.grad.flatten() for p in parameters])
        dist.all_reduce(flat)
        flat /= self.count
        for p, g in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
            p.grad.copy_(g.view_as(p))

    def gather(self, value: object) -> list:
        """Every process's value."""
        if self.count == 1:
            return [value]
        out = [None] * self.count
        dist.all_gather_object(out, value, group=self.control)
        return out

    def stop(self) -> None:
        """Leave."""
        if self.count > 1:
            dist.destroy_process_group()
