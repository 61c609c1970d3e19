"""Triton kernels of one decoder layer for one new token.

At batch size 1 a token costs what reading all weights, keys and values costs. Each kernel here reads its share once,
at full width, and what lies between two reads (norms, rotation, activation, residuals) is part of one of them.

CHAINED, on GPUs that can (Hopper and newer): a kernel is launched while the one before it still runs, and reads what
that one doesn't write, weights or old keys and values, before it waits for it.

BITS 8 and 4 are the weights of `quantize.py`.
"""

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait


@triton.jit
def _block(weight_ptr, line, step, inside, WIDTH: tl.constexpr, BLOCK_K: tl.constexpr):
    """The columns of a step of rows that begin at `line`. Read once, so the cache has better things to keep."""
    place = step * BLOCK_K + tl.arange(0, BLOCK_K)
    both = inside[:, None] & (place < WIDTH)[None, :]
    return tl.load(weight_ptr + line[:, None] + place[None, :], mask=both, other=0, eviction_policy="evict_first")


@triton.jit
def _raised(words, PART: tl.constexpr, BITS: tl.constexpr, ON_GPU: tl.constexpr):
    """A part of quantised weights as numbers, of 8 bits 2 ** 15 more than stored, of 4 bits 16 more.

    Put among the fraction's bits of such a power, a number is that much more. Converting integers, and subtracting for
    each weight what can be subtracted from a sum, takes several times as long.
    """
    if BITS == 4:
        raised = (((words.to(tl.int32) >> (PART * 4)) & 15) << 19) | 0x41800000
    elif ON_GPU:
        # prmt puts together bytes of two registers, here 0, the weight's, 0, 0x47: one instruction instead of three.
        asm: tl.constexpr = (
            "prmt.b32 $0, $2, 0x47000000, 0x7404; prmt.b32 $1, $2, 0x47000000, 0x7424;"
            if PART == 0
            else "prmt.b32 $0, $2, 0x47000000, 0x7414; prmt.b32 $1, $2, 0x47000000, 0x7434;"
        )
        raised = tl.inline_asm_elementwise(asm, "=r,=r,r", [words], dtype=tl.int32, is_pure=True, pack=2)
    else:
        raised = (((words.to(tl.int32) >> (PART * 8)) & 255) << 8) | 0x47000000
    return raised.to(tl.float32, bitcast=True)


@triton.jit
def _plus(
    total,
    w,
    x,
    scale_ptr,
    n,
    inside,
    begin,
    PART: tl.constexpr,
    WIDTH: tl.constexpr,
    BITS: tl.constexpr,
    GROUP: tl.constexpr,
    ON_GPU: tl.constexpr,
):
    """`total` and a block's products with `x`; of 4 bits, which have a scale a group, the groups' sums."""
    BLOCK_N: tl.constexpr = w.shape[0]
    BLOCK_K: tl.constexpr = w.shape[1]
    if BITS == 4:
        sums = tl.sum(tl.reshape(_raised(w, PART, BITS, ON_GPU) * x[None, :], (BLOCK_N, BLOCK_K // GROUP, GROUP)), 2)
        sums -= (16.0 + 8.0) * tl.sum(tl.reshape(x, (BLOCK_K // GROUP, GROUP)), 1)[None, :]
        GROUPS: tl.constexpr = (WIDTH + GROUP - 1) // GROUP
        group = begin // GROUP + tl.arange(0, BLOCK_K // GROUP)
        known = inside[:, None] & (group < GROUPS)[None, :]
        scales = scale_ptr + ((n * (16 // BITS) + PART) * GROUPS)[:, None] + group[None, :]
        added = sums * tl.load(scales, mask=known, other=0.0).to(tl.float32)
    elif BITS == 8:
        added = _raised(w, PART, BITS, ON_GPU) * x[None, :]
    else:
        added = w.to(tl.float32) * x[None, :]
    return total + added


@triton.jit
def _summed(total, x, scale_ptr, n, inside, BITS: tl.constexpr):
    """The products' sums; `x` is the sum of what weights were multiplied with. Of 8 bits, a row has one scale."""
    result = tl.sum(total, 1)
    if BITS == 8:
        scale = tl.load(scale_ptr + n, mask=inside, other=0.0).to(tl.float32)
        result = (result - (32768.0 + 128.0) * tl.sum(x, 0)) * scale
    return result


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
    scale_ptr,
    out_ptr,
    eps,
    rows,
    K: tl.constexpr,
    GATED: tl.constexpr,
    BITS: tl.constexpr,
    GROUP: tl.constexpr,
    ON_GPU: tl.constexpr,
    CHAINED: tl.constexpr,
    AHEAD: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """out = W (RMSNorm(x) * gain), W (rows, K). GATED: W (2 * rows, K) is gate and up; out = up * silu(gate)."""
    if CHAINED:
        gdc_launch_dependents()
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = n < rows
    PARTS: tl.constexpr = 16 // BITS
    WIDTH: tl.constexpr = K // PARTS
    line = n.to(tl.int64) * WIDTH
    squares = tl.zeros([BLOCK_K], tl.float32)
    whole = tl.zeros([BLOCK_K], tl.float32)
    SUMS: tl.constexpr = BLOCK_K // GROUP if BITS == 4 else BLOCK_K
    total = tl.zeros([BLOCK_N, SUMS], tl.float32)
    above = tl.zeros([BLOCK_N, SUMS], tl.float32)
    STEPS: tl.constexpr = (WIDTH + BLOCK_K - 1) // BLOCK_K
    blocks = ()
    for step in tl.static_range(min(AHEAD, STEPS)):
        blocks = blocks + (_block(weight_ptr, line, step, inside, WIDTH, BLOCK_K),)
        if GATED:
            blocks = blocks + (_block(weight_ptr, line + rows * WIDTH, step, inside, WIDTH, BLOCK_K),)
    if CHAINED:
        gdc_wait()
    for step in tl.static_range(STEPS):
        begin = step * BLOCK_K
        place = begin + tl.arange(0, BLOCK_K)
        held = place < WIDTH
        w = blocks[(1 + GATED) * step]
        if GATED:
            up = blocks[2 * step + 1]
        if step + AHEAD < STEPS:
            blocks = blocks + (_block(weight_ptr, line, step + AHEAD, inside, WIDTH, BLOCK_K),)
            if GATED:
                blocks = blocks + (_block(weight_ptr, line + rows * WIDTH, step + AHEAD, inside, WIDTH, BLOCK_K),)
        for part in tl.static_range(PARTS):
            k = place + part * WIDTH
            x = tl.load(x_ptr + k, mask=held, other=0.0).to(tl.float32)
            scaled = x * tl.load(gain_ptr + k, mask=held, other=0.0).to(tl.float32)
            squares += x * x
            whole += scaled
            total = _plus(total, w, scaled, scale_ptr, n, inside, begin, part, WIDTH, BITS, GROUP, ON_GPU)
            if GATED:
                above = _plus(above, up, scaled, scale_ptr, n + rows, inside, begin, part, WIDTH, BITS, GROUP, ON_GPU)
    size = 1.0 / tl.sqrt(tl.sum(squares, 0) / K + eps)
    result = _summed(total, whole, scale_ptr, n, inside, BITS) * size
    if GATED:
        raised = _summed(above, whole, scale_ptr, n + rows, inside, BITS) * size
        result = raised * result / (1.0 + tl.exp(-result))
    tl.store(out_ptr + n, result.to(out_ptr.dtype.element_ty), mask=inside)


@triton.jit
def added_product(
    a_ptr,
    weight_ptr,
    scale_ptr,
    x_ptr,
    rows,
    K: tl.constexpr,
    BITS: tl.constexpr,
    GROUP: tl.constexpr,
    ON_GPU: tl.constexpr,
    CHAINED: tl.constexpr,
    AHEAD: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """x += W a, W (rows, K)."""
    if CHAINED:
        gdc_launch_dependents()
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = n < rows
    PARTS: tl.constexpr = 16 // BITS
    WIDTH: tl.constexpr = K // PARTS
    line = n.to(tl.int64) * WIDTH
    total = tl.zeros([BLOCK_N, BLOCK_K // GROUP if BITS == 4 else BLOCK_K], tl.float32)
    whole = tl.zeros([BLOCK_K], tl.float32)
    STEPS: tl.constexpr = (WIDTH + BLOCK_K - 1) // BLOCK_K
    blocks = ()
    for step in tl.static_range(min(AHEAD, STEPS)):
        blocks = blocks + (_block(weight_ptr, line, step, inside, WIDTH, BLOCK_K),)
    if CHAINED:
        gdc_wait()
    for step in tl.static_range(STEPS):
        begin = step * BLOCK_K
        place = begin + tl.arange(0, BLOCK_K)
        held = place < WIDTH
        w = blocks[step]
        if step + AHEAD < STEPS:
            blocks = blocks + (_block(weight_ptr, line, step + AHEAD, inside, WIDTH, BLOCK_K),)
        for part in tl.static_range(PARTS):
            k = place + part * WIDTH
            a = tl.load(a_ptr + k, mask=held, other=0.0).to(tl.float32)
            whole += a
            total = _plus(total, w, a, scale_ptr, n, inside, begin, part, WIDTH, BITS, GROUP, ON_GPU)
    x = tl.load(x_ptr + n, mask=inside, other=0.0).to(tl.float32)
    x += _summed(total, whole, scale_ptr, n, inside, BITS)
    tl.store(x_ptr + n, x.to(x_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _old(room, t, end, d, held, D: tl.constexpr):
    """Keys or values of the positions `t` before `end`."""
    place = t.to(tl.int64)[:, None] * D + d[None, :]
    return tl.load(room + place, mask=(t < end)[:, None] & held[None, :], other=0.0, eviction_policy="evict_first")


@triton.jit
def _attended(q, k, v, seen, highest, weights, mean):
    """What was attended to so far (largest score, sum of weights, weighted sum of values), and more positions."""
    scores = tl.where(seen, tl.sum(k.to(tl.float32) * q[None, :], 1), float("-inf"))
    new_highest = tl.maximum(tl.maximum(highest, tl.max(scores, 0)), -1e30)
    shrink = tl.exp(highest - new_highest)
    w = tl.exp(scores - new_highest)
    mean = mean * shrink + tl.sum(v.to(tl.float32) * w[:, None], 0)
    return new_highest, weights * shrink + tl.sum(w, 0), mean


@triton.jit
def attention(
    qkv_ptr,
    cos_ptr,
    sin_ptr,
    rooms_ptr,
    position_ptr,
    partial_ptr,
    arrived_ptr,
    out_ptr,
    scale,
    D: tl.constexpr,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    SPLITS: tl.constexpr,
    CHAINED: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_T: tl.constexpr,
):
    """Rotate the new query and key, write the new key and value, and attend; out: (HEADS, D).

    Program (h, s) takes head h and part s of the positions; the last of a head's to arrive joins its parts.
    `rooms_ptr`: addresses of the layer's keys and values, each (KV_HEADS, room, D), and the room. `partial_ptr`:
    (HEADS, SPLITS, D + 2), float32, see `_attended`. `arrived_ptr`: (HEADS,), zero before and after.
    """
    if CHAINED:
        gdc_launch_dependents()
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
    chunk = tl.cdiv(tl.cdiv(position + 1, SPLITS), BLOCK_T) * BLOCK_T
    begin = part * chunk
    end = tl.minimum(begin + chunk, position)
    t = begin + tl.arange(0, BLOCK_T)
    k_old, v_old = _old(keys, t, end, d, held, D), _old(values, t, end, d, held, D)
    if CHAINED:
        gdc_wait()

    other_half = tl.where(d < D // 2, d + D // 2, d - D // 2)
    sign = tl.where(d < D // 2, -1.0, 1.0)
    cos = tl.load(cos_ptr + d, mask=held, other=0.0).to(tl.float32)
    sin = tl.load(sin_ptr + d, mask=held, other=0.0).to(tl.float32) * sign
    q = _rotated(qkv_ptr + head * D, d, other_half, held, cos, sin).to(tl.float32) * scale
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
    highest, weights, mean = _attended(q, k_old, v_old, t < end, highest, weights, mean)
    for t0 in range(begin + BLOCK_T, end, BLOCK_T):
        t = t0 + tl.arange(0, BLOCK_T)
        k_old, v_old = _old(keys, t, end, d, held, D), _old(values, t, end, d, held, D)
        highest, weights, mean = _attended(q, k_old, v_old, t < end, highest, weights, mean)
    parts = partial_ptr + head * SPLITS * (D + 2)
    mine = parts + part * (D + 2)
    tl.store(mine, highest)
    tl.store(mine + 1, weights)
    tl.store(mine + 2 + d, mean, mask=held)

    tl.debug_barrier()  # all of this program's parts are stored before it says so
    if tl.atomic_add(arrived_ptr + head, 1, sem="acq_rel") == SPLITS - 1:
        part_of = parts + tl.arange(0, SPLITS) * (D + 2)
        highest_of = tl.load(part_of, cache_modifier=".cg")
        factor = tl.exp(highest_of - tl.max(highest_of, 0))
        sums = tl.sum(tl.load(part_of + 1, cache_modifier=".cg") * factor, 0)
        means = tl.load(part_of[:, None] + 2 + d[None, :], mask=held[None, :], other=0.0, cache_modifier=".cg")
        joined = tl.sum(means * factor[:, None], 0) / sums
        tl.store(out_ptr + head * D + d, joined.to(kind), mask=held)
        tl.store(arrived_ptr + head, 0)
