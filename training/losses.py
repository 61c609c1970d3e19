"""What the model is trained on: the answers, and labels of the pictures that make it learn to look within minutes."""

import torch
from torch import Tensor
from torch.nn import functional

from . import tokenizer
from .canvas import SLOTS
from .geometry import CELLS, PATCHES, Layout, image_tokens
from .model import PreviewModel, piece

POINTERS = ((1, 0), (3, 0))  # decoder layer and head that are pulled to what is copied next
PROBE = 2  # decoder layer after which the second image's changed places must be known
BALANCE = 0.5  # 0: every character counts the same; 1: every picture and every answer does, however short


def see(model: PreviewModel, batch: dict[str, Tensor], layouts: tuple[Layout, ...], noisy: bool):
    """Encode a batch's images: features (crops of all images, each image's own) and visual tokens per image."""
    crops = [model.crops(batch[f"image{i}"], layout, noisy) for i, layout in enumerate(layouts)]
    flat = model.encode(torch.cat([c.flatten(0, 1) for c in crops]))
    features = [
        f.view(*c.shape[:2], *f.shape[1:])
        for f, c in zip(flat.split([c.shape[0] * c.shape[1] for c in crops]), crops, strict=True)
    ]
    return features, [model.visual_tokens(f, layout) for f, layout in zip(features, layouts, strict=True)]


def prefix(model: PreviewModel, visual: list[Tensor]) -> Tensor:
    """Embeddings of everything before the question."""
    device, n = visual[0].device, visual[0].shape[0]
    line_end = tokenizer.load().token_to_id("Ċ")
    start = model.embed(torch.tensor([tokenizer.USER, line_end], device=device)).expand(n, 2, -1)
    parts = [start]
    for i, tokens in enumerate(visual):
        parts += [start[:, 1:]] if i else []
        parts.append(tokens)
    return torch.cat(parts, 1)


def _by_patch(labels: Tensor, layout: Layout) -> Tensor:
    """(n, rows, columns, ...) to one row a patch, in the order of the crops' features."""
    w, h = layout
    x = labels.view(labels.shape[0], h, PATCHES, w, PATCHES, -1).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(-1, x.shape[-1])


def _by_cell(labels: Tensor, layout: Layout) -> Tensor:
    """(n, rows, columns, ...) to one row a visual token, four patches side by side."""
    w, h = layout
    x = labels.view(labels.shape[0], h * CELLS, 2, w * CELLS, 2, -1).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(labels.shape[0], h * CELLS, w * CELLS, -1)


def _cells(tokens: Tensor, layout: Layout) -> Tensor:
    """The visual tokens of the crops, without separators and global view: (n, rows, columns, hidden)."""
    w, h = layout
    rows, columns = h * CELLS, w * CELLS
    return tokens[:, : rows * (columns + 1)].reshape(len(tokens), rows, columns + 1, -1)[:, :, :-1]


def _emphasis(labels: list[Tensor], balance: float) -> list[Tensor]:
    """What each image's labels weigh: more where there are few, so that a page doesn't outweigh many signs."""
    counts = torch.stack([(x > 0).flatten(1).sum(1) for x in labels]).float()
    weight = counts.clamp(min=1) ** -balance
    return list(weight * (counts.sum() / (counts * weight).sum().clamp(min=1e-6)))


def _looking(model: PreviewModel, batch, layouts, features, visual, balance: float) -> dict[str, Tensor]:
    """Which characters and shapes are where: from the image tower, and from the visual tokens."""
    aux, out = model.aux, {}

    def spread(name: str, parts: int) -> Tensor:
        emphasis = _emphasis([batch[f"{name}{i}"] for i in range(len(layouts))], balance)
        return torch.cat([e.repeat_interleave(w * h * parts) for e, (w, h) in zip(emphasis, layouts, strict=True)])

    own = [f[:, -w * h :].reshape(-1, f.shape[-1]) for f, (w, h) in zip(features, layouts, strict=True)]
    characters = torch.cat([_by_patch(batch[f"characters{i}"], v) for i, v in enumerate(layouts)])
    shapes = torch.cat([_by_patch(batch[f"shapes{i}"], v) for i, v in enumerate(layouts)])
    own = torch.cat(own)
    out["characters"], out["characters right"] = piece(
        "classify", own, aux.characters.weight, aux.characters.bias, characters, spread("characters", PATCHES**2), 0.05
    )
    out["shapes"], out["shapes right"] = piece(
        "classify", own, aux.shapes.weight, aux.shapes.bias, shapes, spread("shapes", PATCHES**2), 0.1
    )
    cells = torch.cat([_cells(t, v).flatten(0, 2) for t, v in zip(visual, layouts, strict=True)])
    labels = torch.cat([_by_cell(batch[f"characters{i}"], v).flatten(0, 2) for i, v in enumerate(layouts)])
    labels, even = labels.view(-1, 4 * SLOTS), spread("characters", CELLS**2)
    out["cells"], out["cells right"] = piece("classify", cells, aux.cells.weight, aux.cells.bias, labels, even, 0.02)
    return out


def _changes(model: PreviewModel, batch, layouts, probed: Tensor) -> Tensor:
    """Where a later image differs from the first, to be known from the decoder's states at its visual tokens."""
    losses, offset = [], 2
    reference = torch.cat([_by_cell(batch["characters0"], layouts[0]), _by_cell(batch["shapes0"], layouts[0])], -1)
    for i, layout in enumerate(layouts):
        tokens = image_tokens(layout)
        if i:
            labels = torch.cat([_by_cell(batch[f"characters{i}"], layout), _by_cell(batch[f"shapes{i}"], layout)], -1)
            target = (labels != reference).any(-1).float()
            # Normalised, since the raw states' size would make this loss outweigh all others.
            states = _cells(probed[:, offset : offset + tokens], layout)
            states = functional.rms_norm(states.float(), states.shape[-1:])
            aux = model.aux.changed
            score = functional.linear(states, aux.weight.to(states.dtype), aux.bias.to(states.dtype)).float()[..., 0]
            weight = target + (1 - target) * 0.1
            loss = functional.binary_cross_entropy_with_logits(score, target, reduction="none")
            losses.append((loss * weight).sum() / weight.sum())
        offset += tokens + 1
    return torch.stack(losses).mean()


def _even(weight: Tensor, balance: float) -> Tensor:
    """Tokens' weights (texts, tokens) made such that long texts outweigh short ones less."""
    return weight * weight.sum(1, keepdim=True).clamp(min=1) ** -balance


def _pointing(watched, source: Tensor, room: int, balance: float) -> tuple[Tensor, Tensor]:
    """Two heads must look at the visual token where the next token's first character stands."""
    known = (source >= 0).float()
    weight = _even(known, balance)
    count, total = known.sum().clamp(min=1), weight.sum().clamp(min=1e-6)
    target = source.clamp(min=0)[..., None]
    loss, right = source.new_zeros((), dtype=torch.float32), 0.0
    for (_, head), (q, k) in zip(POINTERS, watched, strict=True):
        scores = torch.matmul(q[:, head, :-1], k[:, head].transpose(1, 2)).float() * q.shape[-1] ** -0.5
        t, keys = scores.shape[1:]
        later = torch.arange(keys, device=q.device)[None] > torch.arange(t, device=q.device)[:, None] + (keys - room)
        scores = scores.masked_fill(later, -1e4)
        loss = loss + ((torch.logsumexp(scores, -1) - scores.gather(-1, target)[..., 0]) * weight).sum() / total
        right = right + ((scores.argmax(-1) == target[..., 0]).float() * known).sum() / count
    return loss / len(watched), right / len(watched)


def losses(
    model: PreviewModel,
    batch: dict[str, Tensor],
    layouts: tuple[Layout, ...],
    noisy: bool = True,
    balance: float = BALANCE,
):
    """All losses of a batch, and how much of each is right; ``answer`` is the one that counts in the end.

    Without questions there are only those of looking.
    """
    features, visual = see(model, batch, layouts, noisy)
    out = _looking(model, batch, layouts, features, visual, balance)
    ids, weight = batch["ids"].long(), batch["weight"].float()[:, 1:]
    if not len(ids):
        return out
    comparing = len(layouts) > 1 and len(set(layouts)) == 1
    layers = tuple(layer for layer, _ in POINTERS)
    states, watched, probed, _ = model.decode(
        prefix(model, visual), model.embed(ids), layers, PROBE if comparing else -1
    )
    if comparing:
        out["changed"] = _changes(model, batch, layouts, probed)
    logits = model.logits(states[:, :-1])
    target = ids[:, 1:]
    loss = torch.logsumexp(logits, -1) - logits.gather(-1, target[..., None])[..., 0]
    weight = _even(weight, balance)
    out["answer"] = (loss * weight).sum() / weight.sum()
    counted = (weight > 0).float()
    out["answer right"] = (((logits.argmax(-1) == target) * counted).sum() / counted.sum()).detach()
    out["each"] = ((loss * counted).sum(1) / counted.sum(1)).detach()
    out["pointing"], out["pointing right"] = _pointing(watched, batch["source"].long()[:, 1:], ids.shape[1], balance)
    return out
