"""Triton kernels for the attention of a few tokens that follow a long prompt."""

import triton
import triton.language as tl


@triton.jit
def _heads_of(qkv_ptr, head, cos, sin, r, d, stride, D: tl.constexpr):
    """One head of every row, rotated; `sin` negative in the first half."""
    rows = qkv_ptr + r[:, None] * stride + head * D
    held = (d < D)[None, :]
    other_half = tl.where(d < D // 2, d + D // 2, d - D // 2)
    x = tl.load(rows + d[None, :], mask=held, other=0.0).to(tl.float32) * cos
    x += tl.load(rows + other_half[None, :], mask=held, other=0.0).to(tl.float32) * sin
    return x.to(qkv_ptr.dtype.element_ty)


@triton.jit
def _attended(q, k, v, seen, scale, highest, weights, mean):
    """What was attended to so far (largest scores, sums of weights, weighted sums of values), and more positions."""
    scores = tl.where(seen, tl.dot(q, tl.trans(k), input_precision="ieee") * scale, float("-inf"))
    new_highest = tl.maximum(highest, tl.max(scores, 1))
    shrink = tl.exp(highest - new_highest)
    w = tl.exp(scores - new_highest[:, None])
    mean = mean * shrink[:, None] + tl.dot(w.to(v.dtype), v, input_precision="ieee")
    return new_highest, weights * shrink + tl.sum(w, 1), mean


@triton.jit
def attention(
    qkv_ptr,
    cos_ptr,
    sin_ptr,
    rooms_ptr,
    place_ptr,
    partial_ptr,
    scale,
    D: tl.constexpr,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    ROWS: tl.constexpr,
    SPLITS: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_T: tl.constexpr,
):
    """Rotate the rows' queries and keys, write their keys and values, and attend to one part of the positions.

    Program (h, s) takes head h and part s. `place_ptr`: the position of the first row, and how many rows count.
    `rooms_ptr`: as in `decode_kernels.py`. `partial_ptr`: (HEADS, SPLITS, ROWS, D + 2), float32, see `_attended`.
    """
    head, part = tl.program_id(0), tl.program_id(1)
    kv_head = head // (HEADS // KV_HEADS)
    kind = qkv_ptr.dtype.element_ty
    start, count = tl.load(place_ptr).to(tl.int32), tl.load(place_ptr + 1).to(tl.int32)
    room = tl.load(rooms_ptr + 2)
    keys = tl.multiple_of(tl.load(rooms_ptr).to(tl.pointer_type(kind)) + kv_head * room * D, 16)
    values = tl.multiple_of(tl.load(rooms_ptr + 1).to(tl.pointer_type(kind)) + kv_head * room * D, 16)
    stride = (HEADS + 2 * KV_HEADS) * D

    r, d = tl.arange(0, ROWS), tl.arange(0, BLOCK_D)
    held = (d < D)[None, :]
    flat = r[:, None] * D + d[None, :]
    cos = tl.load(cos_ptr + flat, mask=held, other=0.0).to(tl.float32)
    sin = tl.load(sin_ptr + flat, mask=held, other=0.0).to(tl.float32) * tl.where(d < D // 2, -1.0, 1.0)[None, :]
    q = _heads_of(qkv_ptr, head, cos, sin, r, d, stride, D)
    highest = tl.full([ROWS], -1e30, tl.float32)
    weights = tl.zeros([ROWS], tl.float32)
    mean = tl.zeros([ROWS, BLOCK_D], tl.float32)
    if part == 0:
        k = _heads_of(qkv_ptr, HEADS + kv_head, cos, sin, r, d, stride, D)
        v = tl.load(
            qkv_ptr + r[:, None] * stride + (HEADS + KV_HEADS + kv_head) * D + d[None, :], mask=held, other=0.0
        )
        here = (start + r).to(tl.int64)[:, None] * D + d[None, :]
        counts = held & (r < count)[:, None]
        tl.store(keys + here, k, mask=counts)
        tl.store(values + here, v, mask=counts)
        highest, weights, mean = _attended(q, k, v, r[None, :] <= r[:, None], scale, highest, weights, mean)
    chunk = tl.cdiv(tl.cdiv(start, SPLITS), BLOCK_T) * BLOCK_T
    end = tl.minimum(part * chunk + chunk, start)
    for t0 in range(part * chunk, end, BLOCK_T):
        t = t0 + tl.arange(0, BLOCK_T)
        old = t.to(tl.int64)[:, None] * D + d[None, :]
        there = (t < end)[:, None] & held
        k, v = tl.load(keys + old, mask=there, other=0.0), tl.load(values + old, mask=there, other=0.0)
        highest, weights, mean = _attended(q, k, v, (t < end)[None, :], scale, highest, weights, mean)
    out = partial_ptr + ((head * SPLITS + part) * ROWS + r) * (D + 2)
    tl.store(out, highest)
    tl.store(out + 1, weights)
    tl.store(out[:, None] + 2 + d[None, :], mean, mask=held)


@triton.jit
def join(
    partial_ptr,
    out_ptr,
    D: tl.constexpr,
    HEADS: tl.constexpr,
    ROWS: tl.constexpr,
    SPLITS: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Join the parts of `attention`; program (h, r) takes head h of row r. out: (ROWS, HEADS, D)."""
    head, row = tl.program_id(0), tl.program_id(1)
    s, d = tl.arange(0, SPLITS), tl.arange(0, BLOCK_D)
    part = partial_ptr + ((head * SPLITS + s) * ROWS + row) * (D + 2)
    highest = tl.load(part)
    factor = tl.exp(highest - tl.max(highest, 0))
    weights = tl.sum(tl.load(part + 1) * factor, 0)
    means = tl.load(part[:, None] + 2 + d[None, :], mask=(d < D)[None, :], other=0.0)
    mean = tl.sum(means * factor[:, None], 0) / weights
    tl.store(out_ptr + (row * HEADS + head) * D + d, mean.to(out_ptr.dtype.element_ty), mask=d < D)
