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

SUM = tl.constexpr(8)  # of weights of 4 bits, those that are added up before they are scaled


@triton.jit
def _rows(weight_ptr, n, inside, WIDTH: tl.constexpr, BLOCK_K: tl.constexpr):
    """Rows of a weight, in blocks of columns. Read once, so the cache has better things to keep."""
    blocks = ()
    for step in tl.static_range((WIDTH + BLOCK_K - 1) // BLOCK_K):
        place = step * BLOCK_K + tl.arange(0, BLOCK_K)
        held = inside[:, None]
        if WIDTH % BLOCK_K:
            held = held & (place < WIDTH)[None, :]
        line = weight_ptr + n.to(tl.int64)[:, None] * WIDTH
        blocks = blocks + (tl.load(line + place[None, :], mask=held, other=0, eviction_policy="evict_first"),)
    return blocks


@triton.jit
def _vector(x_ptr, WIDTH: tl.constexpr, PARTS: tl.constexpr, BLOCK_K: tl.constexpr):
    """What rows are multiplied with, in the order of their blocks and of each block's parts."""
    blocks = ()
    for step in tl.static_range((WIDTH + BLOCK_K - 1) // BLOCK_K):
        place = step * BLOCK_K + tl.arange(0, BLOCK_K)
        for part in tl.static_range(PARTS):
            x = tl.load(x_ptr + part * WIDTH + place, mask=place < WIDTH, other=0.0)
            blocks = blocks + (x.to(tl.float32),)
    return blocks


def _nibble(part: int) -> tl.constexpr:
    """PTX that raises a part of two words of 4 bits: for each word a shift, and `lop3` for `& mask | power`."""
    shifts = [f"shl.b32 {name}, $2, {by};" if by > 0 else f"shr.b32 {name}, $2, {-by};"
              for name, by in (("low", 19 - 4 * part), ("high", 3 - 4 * part))]  # fmt: skip
    masked = "lop3.b32 $0, low, 0x780000, 0x41800000, 0xEA; lop3.b32 $1, high, 0x780000, 0x41800000, 0xEA;"
    return tl.constexpr(f"{{ .reg .b32 low, high; {' '.join(shifts)} {masked} }}")


def _byte(part: int) -> tl.constexpr:
    """The same of 8 bits: `prmt` puts together bytes of two registers, here 0, the weight's, 0, 0x47."""
    return tl.constexpr(f"prmt.b32 $0, $2, 0x47000000, 0x74{part}4; prmt.b32 $1, $2, 0x47000000, 0x74{2 + part}4;")


NIBBLE_0, NIBBLE_1, NIBBLE_2, NIBBLE_3 = (_nibble(part) for part in range(4))
BYTE_0, BYTE_1 = (_byte(part) for part in range(2))


@triton.jit
def _raised(words, PART: tl.constexpr, BITS: tl.constexpr, ON_GPU: tl.constexpr):
    """A part of quantised weights as numbers, of 8 bits 2 ** 15 more than stored, of 4 bits 16 more.

    Put among the fraction's bits of such a power, a number is that much more. Converting integers, and subtracting for
    each weight what can be subtracted from a sum, takes several times as long; so do other instructions than these.
    """
    if ON_GPU:
        if BITS == 8:
            asm: tl.constexpr = BYTE_0 if PART == 0 else BYTE_1
        else:
            low: tl.constexpr = NIBBLE_0 if PART == 0 else NIBBLE_1
            high: tl.constexpr = NIBBLE_2 if PART == 2 else NIBBLE_3
            asm: tl.constexpr = low if PART < 2 else high
        raised = tl.inline_asm_elementwise(asm, "=r,=r,r", [words], dtype=tl.int32, is_pure=True, pack=2)
    elif BITS == 8:
        raised = (((words.to(tl.int32) >> (PART * 8)) & 255) << 8) | 0x47000000
    else:
        raised = (((words.to(tl.int32) >> (PART * 4)) & 15) << 19) | 0x41800000
    return raised.to(tl.float32, bitcast=True)


@triton.jit
def _excess(xs, BITS: tl.constexpr):
    """How much too large `_raised` makes products with `xs`: of 8 bits a row's, of 4 bits those of SUM columns."""
    excess = xs
    if BITS == 8:
        total = xs[0]
        for block in tl.static_range(1, len(xs)):
            total += xs[block]
        excess = ((32768.0 + 128.0) * tl.sum(total, 0),)
    elif BITS == 4:
        excess = ()
        for block in tl.static_range(len(xs)):
            grouped = tl.reshape(xs[block], (xs[0].shape[0] // SUM, SUM))
            excess = excess + ((16.0 + 8.0) * tl.sum(grouped, 1),)
    return excess


@triton.jit
def _product(
    ws,
    xs,
    excess,
    scale_ptr,
    n,
    inside,
    WIDTH: tl.constexpr,
    BITS: tl.constexpr,
    GROUP: tl.constexpr,
    ON_GPU: tl.constexpr,
):
    """Rows `n` times a vector. Of 8 bits, a row has one scale; of 4 bits, each group of it."""
    BLOCK_N: tl.constexpr = ws[0].shape[0]
    BLOCK_K: tl.constexpr = ws[0].shape[1]
    PARTS: tl.constexpr = 16 // BITS
    GROUPS: tl.constexpr = (WIDTH + GROUP - 1) // GROUP
    total = tl.zeros([BLOCK_N, BLOCK_K // SUM if BITS == 4 else BLOCK_K], tl.float32)
    for step in tl.static_range(len(ws)):
        for part in tl.static_range(PARTS):
            x = xs[step * PARTS + part][None, :]
            if BITS == 16:
                total += ws[step].to(tl.float32) * x
            elif BITS == 8:
                total += _raised(ws[step], part, BITS, ON_GPU) * x
            else:
                # Of a group's columns, those that lie in one thread: nothing is handed from thread to thread.
                added = tl.sum(
                    tl.reshape(_raised(ws[step], part, BITS, ON_GPU) * x, (BLOCK_N, BLOCK_K // SUM, SUM)), 2
                )
                group = (step * BLOCK_K + tl.arange(0, BLOCK_K // SUM) * SUM) // GROUP
                scales = scale_ptr + ((n * PARTS + part) * GROUPS)[:, None] + group[None, :]
                known = inside[:, None] & (group < GROUPS)[None, :]
                scale = tl.load(scales, mask=known, other=0.0).to(tl.float32)
                total += (added - excess[step * PARTS + part][None, :]) * scale
    result = tl.sum(total, 1)
    if BITS == 8:
        result = (result - excess[0]) * tl.load(scale_ptr + n, mask=inside, other=0.0).to(tl.float32)
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
    TIMES: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """out = W (RMSNorm(x) * gain), W (rows, K). GATED: W (2 * rows, K) is gate and up; out = up * silu(gate).

    A program keeps the normed `x` and takes BLOCK_N rows at a time, TIMES times; the next ones are on their way.
    """
    if CHAINED:
        gdc_launch_dependents()
    PARTS: tl.constexpr = 16 // BITS
    WIDTH: tl.constexpr = K // PARTS
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    ws = _rows(weight_ptr, n, n < rows, WIDTH, BLOCK_K)
    if GATED:
        ups = _rows(weight_ptr, n + rows, n < rows, WIDTH, BLOCK_K)
    if CHAINED:
        gdc_wait()
    xs, gains = _vector(x_ptr, WIDTH, PARTS, BLOCK_K), _vector(gain_ptr, WIDTH, PARTS, BLOCK_K)
    squares = tl.zeros([BLOCK_K], tl.float32)
    scaled = ()
    for block in tl.static_range(len(xs)):
        squares += xs[block] * xs[block]
        scaled = scaled + (xs[block] * gains[block],)
    size = 1.0 / tl.sqrt(tl.sum(squares, 0) / K + eps)
    excess = _excess(scaled, BITS)
    for time in tl.static_range(TIMES):
        inside = n < rows
        n_next = n + tl.num_programs(0) * BLOCK_N
        if time + 1 < TIMES:
            ws_next = _rows(weight_ptr, n_next, n_next < rows, WIDTH, BLOCK_K)
            if GATED:
                ups_next = _rows(weight_ptr, n_next + rows, n_next < rows, WIDTH, BLOCK_K)
        result = _product(ws, scaled, excess, scale_ptr, n, inside, WIDTH, BITS, GROUP, ON_GPU) * size
        if GATED:
            up = _product(ups, scaled, excess, scale_ptr, n + rows, inside, WIDTH, BITS, GROUP, ON_GPU) * size
            result = up * result / (1.0 + tl.exp(-result))
        tl.store(out_ptr + n, result.to(out_ptr.dtype.element_ty), mask=inside)
        if time + 1 < TIMES:
            n, ws = n_next, ws_next
            if GATED:
                ups = ups_next


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
    TIMES: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """x += W a, W (rows, K); programs as of `normed_product`."""
    if CHAINED:
        gdc_launch_dependents()
    PARTS: tl.constexpr = 16 // BITS
    WIDTH: tl.constexpr = K // PARTS
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    ws = _rows(weight_ptr, n, n < rows, WIDTH, BLOCK_K)
    if CHAINED:
        gdc_wait()
    a = _vector(a_ptr, WIDTH, PARTS, BLOCK_K)
    excess = _excess(a, BITS)
    for time in tl.static_range(TIMES):
        inside = n < rows
        n_next = n + tl.num_programs(0) * BLOCK_N
        if time + 1 < TIMES:
            ws_next = _rows(weight_ptr, n_next, n_next < rows, WIDTH, BLOCK_K)
        x = tl.load(x_ptr + n, mask=inside, other=0.0).to(tl.float32)
        x += _product(ws, a, excess, scale_ptr, n, inside, WIDTH, BITS, GROUP, ON_GPU)
        tl.store(x_ptr + n, x.to(x_ptr.dtype.element_ty), mask=inside)
        if time + 1 < TIMES:
            n, ws = n_next, ws_next


@triton.jit
def _old(room, t, end, d, held, D: tl.constexpr):
    """Keys or values of the positions `t` before `end`."""
    place = t.to(tl.int64)[:, None] * D + d[None, :]
    return tl.load(room + place, mask=(t < end)[:, None] & held[None, :], other=0.0, eviction_policy="evict_first")


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
    BLOCK_S: tl.constexpr,
):
    """Rotate the new query and key, write the new key and value, and attend; out: (HEADS, D).

    Program (h, s) takes head h and part s of the positions, of which it sums up every BLOCK_T-th for itself; the last
    of a head's programs to arrive joins its parts.

    `rooms_ptr`: addresses of the layer's keys and values, each (KV_HEADS, room, D), and the room. `partial_ptr`:
    (HEADS, SPLITS, D + 2), float32, largest score, sum of weights, weighted sum of values. `arrived_ptr`: (HEADS,),
    zero before and after. BLOCK_S: SPLITS or more.
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
    chunk = tl.cdiv(position + 1, SPLITS)
    begin = part * chunk
    end = tl.minimum(begin + chunk, position)
    slot = tl.arange(0, BLOCK_T)
    k_old, v_old = _old(keys, begin + slot, end, d, held, D), _old(values, begin + slot, end, d, held, D)
    if CHAINED:
        gdc_wait()

    other_half = tl.where(d < D // 2, d + D // 2, d - D // 2)
    sign = tl.where(d < D // 2, -1.0, 1.0)
    cos = tl.load(cos_ptr + d, mask=held, other=0.0).to(tl.float32)
    sin = tl.load(sin_ptr + d, mask=held, other=0.0).to(tl.float32) * sign
    LOG2_E: tl.constexpr = 1.4426950408889634
    q = _rotated(qkv_ptr + head * D, d, other_half, held, cos, sin).to(tl.float32) * (scale * LOG2_E)
    highest = tl.full([BLOCK_T], -1e30, tl.float32)
    weights = tl.zeros([BLOCK_T], tl.float32)
    mean = tl.zeros([BLOCK_T, BLOCK_D], tl.float32)
    if (begin <= position) & (position < begin + chunk):
        k = _rotated(qkv_ptr + (HEADS + kv_head) * D, d, other_half, held, cos, sin)
        v = tl.load(qkv_ptr + (HEADS + KV_HEADS + kv_head) * D + d, mask=held, other=0.0)
        here = position.to(tl.int64) * D
        tl.store(keys + here + d, k, mask=held)
        tl.store(values + here + d, v, mask=held)
        first = slot == 0
        highest = tl.where(first, tl.sum(q * k.to(tl.float32), 0), highest)
        weights = tl.where(first, 1.0, weights)
        mean = tl.where(first[:, None], v.to(tl.float32)[None, :], mean)
    for t0 in range(begin, end, BLOCK_T):
        t = t0 + slot
        k_next, v_next = _old(keys, t + BLOCK_T, end, d, held, D), _old(values, t + BLOCK_T, end, d, held, D)
        scores = tl.where(t < end, tl.sum(k_old.to(tl.float32) * q[None, :], 1), -1e30)
        new_highest = tl.maximum(highest, scores)
        shrink = tl.exp2(highest - new_highest)
        w = tl.where(t < end, tl.exp2(scores - new_highest), 0.0)
        mean = mean * shrink[:, None] + v_old.to(tl.float32) * w[:, None]
        weights = weights * shrink + w
        highest, k_old, v_old = new_highest, k_next, v_next
    top = tl.max(highest, 0)
    factor = tl.exp2(highest - top)
    parts = partial_ptr + head * SPLITS * (D + 2)
    mine = parts + part * (D + 2)
    tl.store(mine, top)
    tl.store(mine + 1, tl.sum(weights * factor, 0))
    tl.store(mine + 2 + d, tl.sum(mean * factor[:, None], 0), mask=held)

    tl.debug_barrier()  # all of this program's parts are stored before it says so
    if tl.atomic_add(arrived_ptr + head, 1, sem="acq_rel") == SPLITS - 1:
        s = tl.arange(0, BLOCK_S)
        part_of = parts + s * (D + 2)
        top_of = tl.load(part_of, mask=s < SPLITS, other=-1e30, cache_modifier=".cg")
        factor_of = tl.exp2(top_of - tl.max(top_of, 0))
        sums = tl.sum(tl.load(part_of + 1, mask=s < SPLITS, other=0.0, cache_modifier=".cg") * factor_of, 0)
        there = held[None, :] & (s < SPLITS)[:, None]
        means = tl.load(part_of[:, None] + 2 + d[None, :], mask=there, other=0.0, cache_modifier=".cg")
        joined = tl.sum(means * factor_of[:, None], 0) / sums
        tl.store(out_ptr + head * D + d, joined.to(kind), mask=held)
        tl.store(arrived_ptr + head, 0)
