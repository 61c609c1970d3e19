"""Triton kernels of one decoder layer for one new token.

At batch size 1 a token costs what reading all weights, keys and values costs. Each kernel here reads its share once,
at full width, and what lies between two reads (norms, rotation, activation, residuals) is part of one of them.
"""

import triton
import triton.language as tl


@triton.jit
def _block(weight_ptr, line, k, both):
    """Rows that begin at `line`, columns `k` of a weight. Read once, so the cache has better things to keep."""
    return tl.load(weight_ptr + line[:, None] + k[None, :], mask=both, other=0.0, eviction_policy="evict_first")


@triton.jit
def _rotated(x_ptr, d, other_half, held, cos, sin):
    """A head's query or key, rotated; `sin` negative in the first half."""
    x = tl.load(x_ptr + d, mask=held, other=0.0).to(tl.float32) * cos
    x += tl.load(x_ptr + other_half, mask=held, other=0.0).to(tl.float32) * sin
    return x.to(x_ptr.dtype.element_ty)


@triton.jit
def normed_product(
    x_ptr,
    gain_ptr,
    weight_ptr,
    out_ptr,
    eps,
    rows,
    K: tl.constexpr,
    GATED: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """out = W (RMSNorm(x) * gain), W (rows, K). GATED: W (2 * rows, K) is gate and up; out = up * silu(gate)."""
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = n < rows
    line = n.to(tl.int64) * K
    squares = tl.zeros([BLOCK_K], tl.float32)
    total = tl.zeros([BLOCK_N, BLOCK_K], tl.float32)
    above = tl.zeros([BLOCK_N, BLOCK_K], tl.float32)
    for begin in tl.static_range(0, K, BLOCK_K):
        k = begin + tl.arange(0, BLOCK_K)
        held = k < K
        both = inside[:, None] & held[None, :]
        w = _block(weight_ptr, line, k, both)
        x = tl.load(x_ptr + k, mask=held, other=0.0).to(tl.float32)
        scaled = x * tl.load(gain_ptr + k, mask=held, other=0.0).to(tl.float32)
        squares += x * x
        total += w.to(tl.float32) * scaled[None, :]
        if GATED:
            above += _block(weight_ptr, line + rows * K, k, both).to(tl.float32) * scaled[None, :]
    size = 1.0 / tl.sqrt(tl.sum(squares, 0) / K + eps)
    result = tl.sum(total, 1) * size
    if GATED:
        result = tl.sum(above, 1) * size * result / (1.0 + tl.exp(-result))
    tl.store(out_ptr + n, result.to(out_ptr.dtype.element_ty), mask=inside)


@triton.jit
def added_product(a_ptr, weight_ptr, x_ptr, rows, K: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr):
    """x += W a, W (rows, K)."""
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = n < rows
    line = n.to(tl.int64) * K
    total = tl.zeros([BLOCK_N, BLOCK_K], tl.float32)
    for begin in tl.static_range(0, K, BLOCK_K):
        k = begin + tl.arange(0, BLOCK_K)
        held = k < K
        w = _block(weight_ptr, line, k, inside[:, None] & held[None, :])
        total += w.to(tl.float32) * tl.load(a_ptr + k, mask=held, other=0.0).to(tl.float32)[None, :]
    x = tl.load(x_ptr + n, mask=inside, other=0.0).to(tl.float32)
    tl.store(x_ptr + n, (x + tl.sum(total, 1)).to(x_ptr.dtype.element_ty), mask=inside)


@triton.jit
def attention(
    qkv_ptr,
    cos_ptr,
    sin_ptr,
    rooms_ptr,
    position_ptr,
    partial_ptr,
    scale,
    D: tl.constexpr,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    SPLITS: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_T: tl.constexpr,
):
    """Rotate the new query and key, write the new key and value, and attend to one part of the positions.

    Program (h, s) takes head h and part s. `rooms_ptr`: addresses of the layer's keys and values, each (KV_HEADS,
    room, D), and the room. `partial_ptr`: (HEADS, SPLITS, D + 2), float32: the largest score, the sum of weights, and
    the weighted sum of values.
    """
    head, part = tl.program_id(0), tl.program_id(1)
    kv_head = head // (HEADS // KV_HEADS)
    kind = qkv_ptr.dtype.element_ty
    position = tl.load(position_ptr).to(tl.int32)
    room = tl.load(rooms_ptr + 2)
    # Aligned, so that reads are wide.
    keys = tl.multiple_of(tl.load(rooms_ptr).to(tl.pointer_type(kind)) + kv_head * room * D, 16)
    values = tl.multiple_of(tl.load(rooms_ptr + 1).to(tl.pointer_type(kind)) + kv_head * room * D, 16)

    d = tl.arange(0, BLOCK_D)
    held = d < D
    other_half = tl.where(d < D // 2, d + D // 2, d - D // 2)
    sign = tl.where(d < D // 2, -1.0, 1.0)
    cos = tl.load(cos_ptr + d, mask=held, other=0.0).to(tl.float32)
    sin = tl.load(sin_ptr + d, mask=held, other=0.0).to(tl.float32) * sign
    q = _rotated(qkv_ptr + head * D, d, other_half, held, cos, sin).to(tl.float32) * scale

    chunk = tl.cdiv(tl.cdiv(position + 1, SPLITS), BLOCK_T) * BLOCK_T
    begin = part * chunk
    end = tl.minimum(begin + chunk, position)
    highest, weights = float("-inf"), 0.0
    mean = tl.zeros([BLOCK_D], tl.float32)
    if (begin <= position) & (position < begin + chunk):
        k = _rotated(qkv_ptr + (HEADS + kv_head) * D, d, other_half, held, cos, sin)
        v = tl.load(qkv_ptr + (HEADS + KV_HEADS + kv_head) * D + d, mask=held, other=0.0)
        here = position.to(tl.int64) * D
        tl.store(keys + here + d, k, mask=held)
        tl.store(values + here + d, v, mask=held)
        highest = tl.sum(q * k.to(tl.float32), 0)
        weights += 1.0
        mean += v.to(tl.float32)
    for t0 in range(begin, end, BLOCK_T):
        t = t0 + tl.arange(0, BLOCK_T)
        place = t.to(tl.int64)[:, None] * D + d[None, :]
        both = (t < end)[:, None] & held[None, :]
        k = tl.load(keys + place, mask=both, other=0.0, eviction_policy="evict_first")
        v = tl.load(values + place, mask=both, other=0.0, eviction_policy="evict_first")
        scores = tl.where(t < end, tl.sum(k.to(tl.float32) * q[None, :], 1), float("-inf"))
        new_highest = tl.maximum(highest, tl.max(scores, 0))
        shrink = tl.exp(highest - new_highest)
        w = tl.exp(scores - new_highest)
        mean = mean * shrink + tl.sum(v.to(tl.float32) * w[:, None], 0)
        weights = weights * shrink + tl.sum(w, 0)
        highest = new_highest
    out = partial_ptr + (head * SPLITS + part) * (D + 2)
    tl.store(out, highest)
    tl.store(out + 1, weights)
    tl.store(out + 2 + d, mean, mask=held)


@triton.jit
def combine(partial_ptr, out_ptr, D: tl.constexpr, SPLITS: tl.constexpr, BLOCK_D: tl.constexpr):
    """Join the parts of `attention`; program h takes head h. out: (HEADS, D)."""
    head = tl.program_id(0)
    s, d = tl.arange(0, SPLITS), tl.arange(0, BLOCK_D)
    part = partial_ptr + (head * SPLITS + s) * (D + 2)
    highest = tl.load(part)
    factor = tl.exp(highest - tl.max(highest, 0))
    weights = tl.sum(tl.load(part + 1) * factor, 0)
    means = tl.load(part[:, None] + 2 + d[None, :], mask=(d < D)[None, :], other=0.0)
    mean = tl.sum(means * factor[:, None], 0) / weights
    tl.store(out_ptr + head * D + d, mean.to(out_ptr.dtype.element_ty), mask=d < D)
