"""Train the preview model on pictures that are rendered while it trains.

    python -m training.train --minutes 9 --out leg1
    torchrun --nproc_per_node 2 -m training.train --minutes 9 --progress-end 0.4 --out leg1
    torchrun --nproc_per_node 2 -m training.train --minutes 9 --progress-start 0.4 --resume leg1 --out leg2

Runs can be chained: one schedule of learning rate and difficulty goes over all of them, of which each covers the part
from ``--progress-start`` to ``--progress-end``.
"""

import argparse
import math
import os
import time
from collections import defaultdict, deque
from pathlib import Path

from .batches import order_for
from .loader import Loader

BEGAN = time.monotonic()
SYNC = 8  # steps between two looks at the clock
HEADS_FIRST = 200  # steps in which only new heads learn beside an exported model, before they may change it
DECIDED = ("answer", "characters", "cells", "shapes", "pointing", "changed")


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9.0, help="of training, from the start of the process")
    parser.add_argument("--steps", type=int, default=10**9, help="stop after this many, whatever the clock says")
    parser.add_argument("--progress-start", type=float, default=0.0)
    parser.add_argument("--progress-end", type=float, default=1.0)
    parser.add_argument("--resume", type=Path, help="folder of an earlier run, or an exported model")
    parser.add_argument("--vision-layers", type=int, default=0, help="give a resumed exported model's tower so many")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=0, help="rendering processes per GPU; 0: one per core but one")
    parser.add_argument("--batch-scale", type=float, default=1.0, help="1 suits a GPU with 80 GB or more")
    parser.add_argument("--buckets", default="", help="comma-separated: only these shapes of samples")
    parser.add_argument("--learning-rate", type=float, default=1.0, help="factor on both learning rates")
    parser.add_argument("--balance", type=float, default=0.5, help="0: every token counts the same; 1: every answer")
    parser.add_argument("--warmup", type=int, default=100, help="steps")
    parser.add_argument("--eval-batches", type=int, default=2, help="per kind of picture, at the end; 0: none")
    parser.add_argument("--save-every", type=float, default=150, help="seconds")
    parser.add_argument("--log-every", type=int, default=100, help="steps")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


class Feeder:
    """Keeps the renderers busy and copies batches to the device ahead of time."""

    def __init__(self, loader: Loader, device, args: argparse.Namespace, rank: int, first: int):
        import torch

        self.torch, self.loader, self.device, self.args, self.rank = torch, loader, device, args, rank
        self.asked, self.next, self.progress = first, first, args.progress_start
        self.only = tuple(filter(None, args.buckets.split(",")))
        self.cuda = device.type == "cuda"
        self.stream = torch.cuda.Stream() if self.cuda else None
        self.copied: deque = deque()
        if self.cuda:
            torch.cuda.cudart().cudaHostRegister(loader.buffer.ctypes.data, len(loader.buffer), 0)

    def order(self) -> None:
        """Fill the free slots with new work."""
        while self.copied and self.copied[0][0].query():
            self.loader.release(self.copied.popleft()[1])
        while self.loader.free:
            a = self.args
            order = order_for(self.asked, self.progress, a.seed, self.rank, a.batch_scale, self.only)
            self.loader.request(order)
            self.asked += 1

    def fetch(self):
        """The next batch on the device, its notes, and the event after which it is there."""
        slot, arrays, notes = self.loader.get(self.next)
        self.next += 1
        # Most texts are shorter than there is room; a few lengths keep memory and attention kernels steady.
        length = min(notes.order.room, -(-int((arrays["ids"] != 0).any(0).sum()) // 32) * 32)
        for name in ("ids", "source", "weight"):
            arrays[name] = arrays[name][:, :length]
        if not self.cuda:
            batch = {k: self.torch.from_numpy(v.copy()) for k, v in arrays.items()}
            self.loader.release(slot)
            return batch, notes, None
        with self.torch.cuda.stream(self.stream):
            batch = {k: self.torch.from_numpy(v).to(self.device, non_blocking=True) for k, v in arrays.items()}
            event = self.torch.cuda.Event()
            event.record(self.stream)
        self.copied.append((event, slot))
        return batch, notes, event

    def drain(self) -> None:
        """Take back everything that is still being rendered."""
        while self.next < self.asked:
            slot, _, _ = self.loader.get(self.next)
            self.loader.release(slot)
            self.next += 1
        while self.copied:
            event, slot = self.copied.popleft()
            event.synchronize()
            self.loader.release(slot)


def rate(progress: float, step: int, warmup: int) -> float:
    """Learning-rate factor: warm-up of this run, cosine of the whole schedule."""
    return min(1.0, (step + 1) / warmup) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def weights(progress: float) -> dict[str, float]:
    """What the losses weigh: looking counts most at first, the answers in the end."""
    fading = 1.0 if progress < 0.25 else max(0.15, 1 - (progress - 0.25) / 0.65 * 0.85)
    looking = {"characters": 1.0, "cells": 0.5, "shapes": 0.3, "pointing": 0.5, "changed": 0.1}
    return {"answer": 1.0, **{k: v * fading for k, v in looking.items()}}


def train(args: argparse.Namespace, loader: Loader) -> None:
    """The run."""
    import torch

    from . import checkpoint, finish, fonts, tokenizer
    from .adopt import adopt
    from .distributed import Ranks
    from .losses import losses
    from .model import PreviewModel, Shape, check_attention, compile_pieces
    from .optimizer import Optimizer

    ranks = Ranks()
    device = ranks.start()
    cuda = device.type == "cuda"
    dtype = torch.bfloat16 if cuda else torch.float32
    torch.manual_seed(args.seed + ranks.rank)
    if cuda:
        torch.backends.cuda.matmul.allow_tf32 = True
    state, heads_first = {"step": 0, "samples": 0}, 0
    if args.resume and (args.resume / checkpoint.STATE).exists():
        model, state = checkpoint.load(args.resume, dtype)
    elif args.resume:
        model, heads_first = adopt(args.resume, dtype, args.vision_layers), HEADS_FIRST
    else:
        model = PreviewModel(Shape(vocabulary=tokenizer.vocabulary_size()), dtype)
    model.to(device)
    ranks.spread_weights(model)
    args.out.mkdir(parents=True, exist_ok=True)
    log = finish.Log(args.out / "log.txt" if ranks.rank == 0 else None)
    size = sum(p.numel() for n, p in model.named_parameters() if not n.startswith("aux"))
    log(f"{size / 1e6:.2f} M parameters, {ranks.count} x {device}, {len(loader.processes)} renderers each")
    log(f"{fonts.installed()} typefaces")
    check_attention(device, dtype)
    compile_pieces(cuda and not args.no_compile)
    optimizer = Optimizer(model, 1.2e-2 * args.learning_rate, 3e-3 * args.learning_rate)
    feeder = Feeder(loader, device, args, ranks.rank, state["step"])
    feeder.order()
    step, logged_step, first = 0, 0, None
    progress, pace = args.progress_start, 0.0
    sums, tasks, seconds_waiting = defaultdict(list), defaultdict(list), 0.0
    logged = saved = time.monotonic()
    upcoming = feeder.fetch()
    while step < args.steps:
        now = time.monotonic()
        if step % SYNC == 0:
            passed = 0.0 if first is None else (now - first) / max(1.0, args.minutes * 60 - (first - BEGAN))
            reached = args.progress_start + (args.progress_end - args.progress_start) * passed
            reached = ranks.agree(reached if passed < 1 else math.inf)
            if reached == math.inf:
                break
            pace, progress = (reached - progress) / SYNC if step > SYNC else 0.0, reached
        feeder.progress = progress
        batch, notes, event = upcoming
        if event is not None:
            torch.cuda.current_stream().wait_event(event)
            for t in batch.values():
                t.record_stream(torch.cuda.current_stream())
        got = losses(model, batch, notes.order.layouts, balance=args.balance)
        scale = weights(progress)
        sum(scale[k] * got[k] for k in DECIDED if k in got).backward()
        if notes.tasks:  # pages only add to the gradients of the next batch that has questions
            ranks.mean_gradients(model)
            factor = rate(progress + pace * (step % SYNC), step - heads_first, args.warmup)
            heads = factor if step >= heads_first else rate(progress, step, args.warmup)
            optimizer.step(max(0.0, factor), min(0.95, 0.85 + step / 3000), heads)
        step += 1
        state["step"] += 1
        state["samples"] += len(notes.tasks) * ranks.count
        if "each" in got:
            tasks["loss"].append(got.pop("each"))
            tasks["name"].append(notes.tasks)
        for name, value in got.items():
            sums[name if notes.tasks else f"page: {name}"].append(value.detach())
        waits = time.monotonic()
        feeder.order()
        upcoming = feeder.fetch()
        seconds_waiting += time.monotonic() - waits
        if first is None:
            if cuda:
                torch.cuda.synchronize()
            first = time.monotonic()
            log(f"first step after {first - BEGAN:.0f} s")
        if step % args.log_every == 0 or step in (5, 20):
            means = {k: float(torch.stack(v).mean()) for k, v in sums.items()}
            now = time.monotonic()
            speed = (step - logged_step) / (now - logged)
            text = " ".join(f"{k} {v:.3f}" for k, v in means.items())
            log(f"step {state['step']} progress {progress:.3f} t {now - BEGAN:.0f} s | {text} | {speed:.1f} steps/s, "
                f"waiting {100 * seconds_waiting / (now - logged):.0f} %")  # fmt: skip
            if step % (5 * args.log_every) == 0:
                log("   by task: " + finish.by_task(tasks))
                tasks.clear()
            sums.clear()
            logged, logged_step, seconds_waiting = now, step, 0.0
        if ranks.rank == 0 and time.monotonic() - saved > args.save_every:
            checkpoint.save(model, args.out, {**state, "progress": progress})
            saved = time.monotonic()
    del upcoming, batch
    feeder.drain()
    if ranks.rank == 0:
        checkpoint.save(model, args.out, {**state, "progress": args.progress_end})
    memory = torch.cuda.max_memory_allocated() / 2**30 if cuda else 0
    log(
        f"trained {step} steps to {state['samples']} questions in all, after {time.monotonic() - BEGAN:.0f} s, "
        f"{memory:.0f} GiB of GPU memory"
    )
    compile_pieces(False)
    if args.eval_batches:
        finish.evaluate(model, loader, ranks, args, log)
    loader.close()
    ranks.stop()


def main() -> None:
    """Command line: fork the renderers, then train."""
    args = arguments()
    cores = (os.cpu_count() or 2) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    train(args, Loader(args.workers or max(1, cores - 1), args.batch_scale))


if __name__ == "__main__":
    main()
