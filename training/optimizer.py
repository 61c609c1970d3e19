"""Muon for the matrices, AdamW for the rest. AdamW alone reads half as well after as many steps."""

from collections import defaultdict

import torch
from torch import Tensor, nn

WARM_UP = 3  # steps before the update is recorded


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
    """Both, with one learning-rate factor, and one of their own for the heads that only training has.

    Args:
        model: whose parameters are trained.
        muon_rate, adam_rate: learning rates at factor 1.
        decay: weight decay of the matrices.
    """

    def __init__(self, model: nn.Module, muon_rate: float = 1.2e-2, adam_rate: float = 3e-3, decay: float = 0.05):
        self.muon_rate, self.adam_rate, self.decay = muon_rate, adam_rate, decay
        # Fused projections are several matrices: each is made orthogonal by itself.
        self.slices: dict[tuple, list[tuple[nn.Parameter, int, int]]] = defaultdict(list)
        plain, decayed, heads = [], [], []
        for name, p in model.named_parameters():
            if name.startswith("aux."):
                heads.append(p)
            elif p.ndim == 2 and (".layers." in name or "img_projection" in name):
                parts = 3 if "qkv_proj" in name else 2 if "gate_up" in name else 1
                for i in range(parts):
                    self.slices[p.shape[0] // parts, p.shape[1]].append((p, parts, i))
            elif p.ndim >= 2 and "embed" not in name:
                decayed.append(p)
            else:
                plain.append(p)
        device = next(model.parameters()).device
        self.cuda = device.type == "cuda"
        self.momenta = {shape: torch.zeros(len(v), *shape, device=device) for shape, v in self.slices.items()}
        self.rest = decayed + plain + heads
        self.everything = list(model.parameters())
        self.factor, self.heads, self.momentum, self.usual = (torch.zeros((), device=device) for _ in range(4))
        self.factors = (self.factor, self.factor, self.heads)
        groups = [
            {"params": each, "weight_decay": decay * (each is decayed), "lr": torch.zeros((), device=device)}
            for each in (decayed, plain, heads)
        ]
        self.adam = torch.optim.AdamW(groups, betas=(0.9, 0.97), eps=1e-10, fused=self.cuda, capturable=self.cuda)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.steps = 0
        for p in self.everything:  # they stay where they are, since the graph knows their addresses
            p.grad = torch.zeros_like(p)

    @torch.no_grad()
    def step(self, factor: float, momentum: float, heads: float) -> None:
        """One step from the gradients, which are zero afterwards; ``heads`` is the factor of the training's own heads.

        It is hundreds of small kernels: on a GPU they are recorded once and replayed.
        """
        self.factor.fill_(factor)
        self.heads.fill_(heads)
        self.momentum.fill_(momentum)
        if self.cuda and self.steps == WARM_UP:
            torch.cuda.synchronize()
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
                self._update()
        if self.graph is not None:
            self.graph.replay()
        else:
            self._update()
        self.steps += 1

    def _update(self) -> None:
        nn.utils.clip_grad_norm_(self.rest, 1.0, foreach=True)
        for group, factor in zip(self.adam.param_groups, self.factors, strict=True):
            group["lr"].copy_(self.adam_rate * factor)
        self.adam.step()
        rate = self.muon_rate * self.factor
        gradients = {shape: torch.stack([_part(p.grad, n, i) for p, n, i in v]) for shape, v in self.slices.items()}
        # Muon takes only the direction of the momentum: one batch with a huge gradient would set it for many steps.
        size = torch.stack([g.norm() for g in gradients.values()]).norm()
        usual = self.usual.lerp(torch.minimum(size, 2 * self.usual), 0.05)
        self.usual.copy_(torch.where(self.usual == 0, size, usual))
        calm = (1.5 * self.usual / (size + 1e-12)).clamp(max=1)
        for shape, parts in self.slices.items():
            g = gradients[shape] * calm
            m = self.momenta[shape]
            m.lerp_(g, 1 - self.momentum)
            update = orthogonal(g.lerp(m, self.momentum)) * (rate * 0.2 * max(shape) ** 0.5)
            values = [_part(p.data, n, i) for p, n, i in parts]
            torch._foreach_mul_(values, 1 - rate * self.decay)
            torch._foreach_sub_(values, list(update.unbind(0)))
        torch._foreach_zero_([p.grad for p in self.everything])


def _part(x: Tensor, count: int, i: int) -> Tensor:
    """The ``i``-th of ``count`` equal blocks of rows, as a view."""
    return x.view(count, x.shape[0] // count, x.shape[1])[i]
