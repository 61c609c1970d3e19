"""Muon for the matrices, AdamW for the rest. AdamW alone reads half as well after as many steps."""

from collections import defaultdict

import torch
from torch import Tensor, nn


def orthogonal(g: Tensor) -> Tensor:
    """The nearest orthogonal matrices (Newton-Schulz), of a stack of matrices."""
    x = g.to(torch.bfloat16) if g.is_cuda else g.float()
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.float().norm(dim=(-2, -1), keepdim=True) + 1e-7).to(x.dtype)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return (x.mT if tall else x).float()


class Optimizer:
    """Both, with one learning-rate factor.

    Args:
        model: whose parameters are trained.
        muon_rate, adam_rate: learning rates at factor 1.
        decay: weight decay of the matrices.
    """

    def __init__(self, model: nn.Module, muon_rate: float = 1.2e-2, adam_rate: float = 3e-3, decay: float = 0.05):
        self.muon_rate, self.adam_rate, self.decay = muon_rate, adam_rate, decay
        # Fused projections are several matrices: each is made orthogonal by itself.
        self.slices: dict[tuple, list[tuple[nn.Parameter, int, int]]] = defaultdict(list)
        plain, decayed = [], []
        for name, p in model.named_parameters():
            if p.ndim == 2 and (".layers." in name or "img_projection" in name):
                parts = 3 if "qkv_proj" in name else 2 if "gate_up" in name else 1
                for i in range(parts):
                    self.slices[p.shape[0] // parts, p.shape[1]].append((p, parts, i))
            elif p.ndim >= 2 and "embed" not in name and "aux" not in name:
                decayed.append(p)
            else:
                plain.append(p)
        device = next(model.parameters()).device
        self.momentum = {shape: torch.zeros(len(v), *shape, device=device) for shape, v in self.slices.items()}
        self.rest = decayed + plain
        self.usual: Tensor | None = None  # size of the matrices' gradients, averaged over the last steps
        groups = [{"params": decayed, "weight_decay": decay}, {"params": plain, "weight_decay": 0.0}]
        self.adam = torch.optim.AdamW(groups, lr=adam_rate, betas=(0.9, 0.97), eps=1e-10, fused=device.type == "cuda")

    @torch.no_grad()
    def step(self, factor: float, momentum: float) -> Tensor:
        """One step from the gradients; returns the norm of those that AdamW takes."""
        norm = nn.utils.clip_grad_norm_(self.rest, 1.0, foreach=True)
        for group in self.adam.param_groups:
            group["lr"] = self.adam_rate * factor
        self.adam.step()
        rate = self.muon_rate * factor
        gradients = {shape: torch.stack([_part(p.grad, n, i) for p, n, i in v]) for shape, v in self.slices.items()}
        # Muon takes only the direction of the momentum: one batch with a huge gradient would set it for many steps.
        size = torch.stack([g.float().norm() for g in gradients.values()]).norm()
        self.usual = size if self.usual is None else self.usual.lerp(torch.minimum(size, 2 * self.usual), 0.05)
        calm = (1.5 * self.usual / (size + 1e-12)).clamp(max=1)
        for shape, parts in self.slices.items():
            g = gradients[shape] * calm
            m = self.momentum[shape]
            m.lerp_(g, 1 - momentum)
            update = orthogonal(g.lerp_(m, momentum)) * (0.2 * max(shape) ** 0.5)
            values = [_part(p.data, n, i) for p, n, i in parts]
            torch._foreach_mul_(values, 1 - rate * self.decay)
            torch._foreach_add_(values, list(update.unbind(0)), alpha=-rate)
        return norm


def _part(x: Tensor, count: int, i: int) -> Tensor:
    """The ``i``-th of ``count`` equal blocks of rows, as a view."""
    return x.view(count, x.shape[0] // count, x.shape[1])[i]
