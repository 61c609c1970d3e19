"""Samples as arrays in one flat buffer, as they travel from the processes that render to the one that trains."""

import random
from dataclasses import dataclass

import numpy as np

from . import sampler, tokenizer
from .canvas import SLOTS, Canvas
from .geometry import CROP, PATCH, Layout, image_tokens
from .picture import plain

CONVERSATIONS = 0.3  # share of the pictures whose questions follow one another
DROPOUT = 0.1  # of BPE merges, in the few answers that are spelt at random


@dataclass(frozen=True)
class Order:
    """One batch to make. ``kind`` asks for one kind of picture, ``held_out`` for what training never sees."""

    index: int
    bucket: str
    layouts: tuple[Layout, ...]
    num_crops: int
    batch: int
    questions: int
    room: int
    progress: float
    seed: int
    kind: str | None = None
    held_out: bool = False


@dataclass
class Notes:
    """What travels beside the arrays, for every question: task, texts, whether wording and typefaces are unseen."""

    order: Order
    tasks: list[str]
    instructions: list[str]
    answers: list[str]
    unseen: list[bool]
    new_faces: list[bool]


def shapes(order: Order) -> list[tuple[str, type, tuple[int, ...]]]:
    """Names, types and shapes of a batch's arrays."""
    out: list[tuple[str, type, tuple[int, ...]]] = []
    n = order.batch
    for i, (w, h) in enumerate(order.layouts):
        rows, columns = h * CROP // PATCH, w * CROP // PATCH
        out.append((f"image{i}", np.uint8, (n, h * CROP, w * CROP, 3)))
        out.append((f"characters{i}", np.uint8, (n, rows, columns, SLOTS)))
        out.append((f"shapes{i}", np.uint8, (n, rows, columns)))
    text = (n * order.questions, order.room)
    out += [("ids", np.int16, text), ("source", np.int16, text), ("weight", np.uint8, text)]
    out.append(("start", np.int16, (n * order.questions,)))
    return out


def views(order: Order, buffer: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """A batch's arrays in a buffer, or in a new one."""
    out, offset = {}, 0
    plan = shapes(order)
    if buffer is None:
        buffer = np.empty(size(order), np.uint8)
    for name, kind, shape in plan:
        count = int(np.prod(shape)) * np.dtype(kind).itemsize
        out[name] = buffer[offset : offset + count].view(kind).reshape(shape)
        offset += -(-count // 64) * 64
    return out


def size(order: Order) -> int:
    """Bytes that a batch takes."""
    return sum(-(-int(np.prod(s)) * np.dtype(k).itemsize // 64) * 64 for _, k, s in shapes(order))


def order_for(index: int, progress: float, seed: int, rank: int, scale: float, only: tuple[str, ...] = ()) -> Order:
    """The ``index``-th batch of training. Its bucket is the same in every rank, so that no GPU waits for another."""
    rng = random.Random(f"{seed}-{index}")
    weights = sampler.bucket_weights(progress)
    names = [n for n in weights if not only or n in only] or list(only)
    name = rng.choices(names, [weights.get(n, 1) for n in names])[0]
    bucket = sampler.BUCKETS[name]
    layouts = rng.choices([v for v, _ in bucket.layouts], [w for _, w in bucket.layouts])[0]
    batch = max(1, round(bucket.batch * scale))
    own = random.Random(f"{seed}-{index}-{rank}").getrandbits(48)
    return Order(
        index,
        name,
        layouts,
        bucket.num_crops,
        batch,
        bucket.questions,
        bucket.room,
        progress,
        own,
        bucket.kind,
    )


def fill(order: Order, buffer: np.ndarray | None = None) -> tuple[dict[str, np.ndarray], Notes]:
    """Draw a batch's pictures and write their arrays."""
    rng = random.Random(order.seed)
    arrays = views(order, buffer)
    notes = Notes(order, [], [], [], [], [])
    arrays["ids"][:], arrays["source"][:], arrays["weight"][:] = tokenizer.PAD, -1, 0
    longest = 420 if len(order.layouts) == 1 and order.room >= 224 else 300
    for row in range(order.batch):
        while True:
            picture = sampler.draw(
                rng, order.layouts, order.num_crops, order.progress, order.kind, order.held_out, longest
            )
            sample = sampler.choose(rng, picture, order.questions, order.held_out)
            encoded = [_encode(rng, question.answer, text, order) for question, text, _ in sample.asked]
            if encoded and not order.held_out and rng.random() < CONVERSATIONS:
                encoded = _as_conversation(encoded, order.room)
            if all(len(ids) <= order.room for ids, *_ in encoded):
                break
        offsets = _write_images(arrays, row, picture.canvases)
        for k, (ids, start, weights, sources) in enumerate(encoded):
            line = row * order.questions + k
            arrays["ids"][line, : len(ids)] = ids
            arrays["start"][line] = start
            arrays["weight"][line, start : len(ids)] = weights
            for t, found in enumerate(sources):
                if found is not None:
                    ref, i = found
                    if ref.marks[i] >= 0:
                        arrays["source"][line, start + t] = offsets[id(ref.canvas)][ref.marks[i]]
            question, instruction, unseen = sample.asked[k]
            notes.tasks.append(question.task)
            notes.instructions.append(instruction)
            notes.answers.append(plain(question.answer))
            notes.unseen.append(unseen)
            notes.new_faces.append(picture.new_faces)
    return arrays, notes


def _encode(rng: random.Random, answer, instruction: str, order: Order):
    question = tokenizer.encode_question(instruction)
    dropout = DROPOUT if not order.held_out and rng.random() < 0.08 else 0.0
    ids, weights, sources = tokenizer.encode_answer(answer, dropout)
    return question + ids, len(question), weights, sources


def _as_conversation(encoded: list, room: int) -> list:
    """The same questions, each of them after those before it, as far as there is room."""
    between = tokenizer.load().encode("\n<|user|>").ids
    out = [encoded[0]]
    for ids, start, weights, sources in encoded[1:]:
        before, begun, old_weights, old_sources = out[-1]
        head = before + between
        if len(head) + len(ids) > room:
            out.append((ids, start, weights, sources))
            continue
        gap = len(between) + start  # no answer: the next question
        out.append((head + ids, begun, old_weights + [0] * gap + weights, old_sources + [None] * gap + sources))
    return out


def _write_images(arrays: dict[str, np.ndarray], row: int, canvases: list[Canvas]) -> dict[int, np.ndarray]:
    """Write a sample's images; for each canvas the position in the prompt of each of its marks."""
    offset, out = 2, {}
    for i, canvas in enumerate(canvases):
        arrays[f"image{i}"][row] = canvas.pixels()
        arrays[f"characters{i}"][row], arrays[f"shapes{i}"][row] = canvas.labels()
        out[id(canvas)] = canvas.cells() + offset
        offset += image_tokens(canvas.layout) + 1
    return out
