"""Greedy answers to a whole batch, for the evaluation at the end of training."""

import torch
from torch import Tensor
from torch.nn import functional

from . import tokenizer
from .geometry import Layout
from .losses import prefix, see
from .model import HEAD, PreviewModel, text_in, text_out


@torch.no_grad()
def answer(model: PreviewModel, batch: dict[str, Tensor], layouts: tuple[Layout, ...], longest: int) -> list[str]:
    """Answers to every question of a batch; what stands in ``ids`` from ``start`` on is not looked at."""
    start = batch["start"].long()
    _, visual = see(model, batch, layouts, noisy=False)
    before = prefix(model, visual)
    asked = int(start.max())
    states, _, _, cache = model.decode(before, model.embed(batch["ids"][:, :asked]))
    n, p, device = len(start), before.shape[1], start.device
    rows = torch.arange(n, device=device)
    total = p + asked + longest
    memory = []
    for k, v in cache:
        room = [x.new_zeros(n, x.shape[1], total, HEAD) for x in (k, v)]
        for whole, part in zip(room, (k, v), strict=True):
            whole[:, :, : p + asked] = part
        memory.append(room)
    places = torch.arange(total, device=device)[None]
    state, position = states[rows, start - 1], p + start
    out, done = [], torch.zeros(n, dtype=torch.bool, device=device)
    for step in range(longest):
        token = model.logits(state).argmax(-1).masked_fill(done, tokenizer.PAD)
        out.append(token)
        done |= token == tokenizer.END
        if step % 8 == 7 and bool(done.all()):
            break
        state = model.embed(token)
        cos, sin = model.angles(position)
        mask = (places <= position[:, None])[:, None, None]
        for layer, (keys, values) in zip(model.model.layers, memory, strict=True):
            a, m = layer.self_attn, layer.mlp
            q, k, v = text_in(state, layer.input_layernorm.weight, a.qkv_proj.weight, cos, sin)
            keys[rows, :, position], values[rows, :, position] = k, v
            o = functional.scaled_dot_product_attention(q[:, :, None], keys, values, attn_mask=mask)[:, :, 0].reshape(
                n, -1
            )
            state = text_out(state, o, a.o_proj.weight, layer.post_attention_layernorm.weight, m.gate_up_proj.weight,
                             m.down_proj.weight)  # fmt: skip
        position = (position + 1).clamp(max=total - 1)
    ids = torch.stack(out, 1).tolist()
    ends = [line.index(tokenizer.END) if tokenizer.END in line else len(line) for line in ids]
    return [tokenizer.load().decode(line[:end]) for line, end in zip(ids, ends, strict=True)]
