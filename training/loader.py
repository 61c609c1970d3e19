"""Processes that render batches into shared memory while the GPU trains.

They are forked before torch starts CUDA. Batches come back in the order of their index, so that all ranks train on the
same bucket in the same step.
"""

import mmap
import multiprocessing
import signal
import time
import traceback
from dataclasses import replace

import numpy as np

from . import sampler, tokenizer
from .batches import Notes, Order, fill, size, views

FAILURES = 50  # renderers' failures that a run bears


def _largest(scale: float) -> int:
    """Bytes of the largest batch there can be, the evaluation's (at least two samples) among them."""
    room = max(bucket.room for bucket in sampler.BUCKETS.values())
    out = 0
    for name, bucket in sampler.BUCKETS.items():
        for layouts, _ in bucket.layouts:
            batch = max(2, round(bucket.batch * scale))
            order = Order(0, name, layouts, bucket.num_crops, batch, bucket.questions, room, 1.0, 0)
            out = max(out, size(order))
    return out


class Loader:
    """Renders orders in ``workers`` processes, ``slots`` of them ahead."""

    def __init__(self, workers: int, scale: float):
        context = multiprocessing.get_context("fork")
        tokenizer.load()  # before the fork, so that the processes share it
        self.slot_bytes = -(-_largest(scale) // 4096) * 4096
        self.slots = 2 * workers + 2
        # Anonymous memory: unlike /dev/shm it has no size limit of its own.
        self.memory = mmap.mmap(-1, self.slot_bytes * self.slots)
        self.buffer = np.frombuffer(self.memory, np.uint8)
        self.orders, self.results = context.SimpleQueue(), context.SimpleQueue()
        self.free = list(range(self.slots))
        self.ready: dict[int, tuple[int, Notes]] = {}
        self.failures = 0
        self.processes = [context.Process(target=self._work, daemon=True) for _ in range(workers)]
        for process in self.processes:
            process.start()

    def slot(self, i: int) -> np.ndarray:
        """A slot's memory."""
        return self.buffer[i * self.slot_bytes : (i + 1) * self.slot_bytes]

    def _work(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while True:
            slot, order = self.orders.get()
            try:
                _, notes = fill(order, self.slot(slot))
                self.results.put((slot, order.index, notes))
            except Exception:
                # One picture that cannot be drawn must not end a run.
                traceback.print_exc()
                self.results.put((slot, order.index, order))

    def request(self, order: Order) -> None:
        """Have a batch rendered; there must be a free slot."""
        self.orders.put((self.free.pop(), order))

    def release(self, slot: int) -> None:
        """Give a slot back whose arrays are no longer needed."""
        self.free.append(slot)

    def get(self, index: int, timeout: float = 180) -> tuple[int, dict[str, np.ndarray], Notes]:
        """The batch of this index: its slot, its arrays, its notes."""
        deadline = time.monotonic() + timeout
        while index not in self.ready:
            while self.results.empty():
                if time.monotonic() > deadline:
                    alive = sum(p.is_alive() for p in self.processes)
                    raise RuntimeError(f"no batch {index} for {timeout} s; {alive} of {len(self.processes)} alive")
                time.sleep(0.0005)
            slot, number, notes = self.results.get()
            if isinstance(notes, Order):
                self.failures += 1
                if self.failures > FAILURES:
                    raise RuntimeError("the renderers fail again and again; what happened is printed above")
                print("A renderer failed; drawing another batch instead.", flush=True)
                self.orders.put((slot, replace(notes, seed=notes.seed + 1)))
            else:
                self.ready[number] = (slot, notes)
        slot, notes = self.ready.pop(index)
        return slot, views(notes.order, self.slot(slot)), notes

    def close(self) -> None:
        """End the processes."""
        for process in self.processes:
            process.terminate()
