"""The log of a run, and the quick evaluation at its end, on words, typefaces and wordings never trained on."""

import json
import time
from argparse import Namespace
from collections import defaultdict
from pathlib import Path

import torch

from . import sampler
from .batches import Order
from .decoding import answer
from .distributed import Ranks
from .loader import Loader
from .model import PreviewModel
from .scores import Table, groups

LAYOUTS = ((2, 2),)


class Log:
    """Prints, and writes to a file; silent without one."""

    def __init__(self, file: Path | None):
        self.file = file

    def __call__(self, text: str) -> None:
        if self.file is not None:
            print(text, flush=True)
            with self.file.open("a") as out:
                out.write(text + "\n")


def by_task(tasks: dict[str, list]) -> str:
    """Mean loss of each task."""
    values = torch.cat(tasks["loss"]).tolist()
    groups = defaultdict(list)
    for name, value in zip((n for names in tasks["name"] for n in names), values, strict=True):
        groups[name].append(value)
    return ", ".join(f"{k} {sum(v) / len(v):.3f}" for k, v in sorted(groups.items()))


def orders(args: Namespace, first: int) -> list[Order]:
    """What to evaluate on."""
    shapes = [(kind, LAYOUTS, 40, 3) for kind in sampler.RENDERERS for _ in range(args.eval_batches)]
    shapes += [(None, LAYOUTS * 2, 24, 2) for _ in range(8 * args.eval_batches)]
    shapes += [(None, LAYOUTS * 3, 16, 2) for _ in range(args.eval_batches)]
    out = []
    for i, (kind, layouts, batch, questions) in enumerate(shapes):
        count = max(2, round(batch * args.batch_scale))
        out.append(Order(first + i, "", layouts, 4, count, questions, 256, 1.0, 987_000 + i, kind, True))
    return out


def evaluate(model: PreviewModel, loader: Loader, ranks: Ranks, args: Namespace, log: Log) -> None:
    """Print the table; write every answer to ``answers.jsonl``."""
    began = time.monotonic()
    mine = orders(args, 10**9)[ranks.rank :: ranks.count]
    waiting, results = list(mine), []
    for order in mine:
        while loader.free and waiting:
            loader.request(waiting.pop(0))
        slot, arrays, notes = loader.get(order.index)
        batch = {k: torch.from_numpy(v.copy()).to(next(model.parameters()).device) for k, v in arrays.items()}
        loader.release(slot)
        got = answer(model, batch, order.layouts, order.room)
        lines = zip(notes.tasks, notes.instructions, notes.answers, got, notes.unseen, notes.new_faces, strict=True)
        keys = ("task", "question", "expected", "answer", "unseen wording", "unseen faces")
        results += [dict(zip(keys, line, strict=True)) for line in lines]
    everything = [r for part in ranks.gather(results) for r in part]
    if ranks.rank == 0:
        table = Table()
        for r in everything:
            table.add(groups(r["task"], r["unseen wording"], r["unseen faces"]), r["expected"], r["answer"])
        (args.out / "answers.jsonl").write_text("\n".join(map(json.dumps, everything)) + "\n")
        log(table.markdown())
        log(f"evaluated in {time.monotonic() - began:.0f} s")
