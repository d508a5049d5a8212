"""The small kernels between the matrix products, in Triton: one pass each over what they read and write.

By hand and not by torch's compiler, because that takes twenty seconds a run for them, lays out anew what it does not know to be laid out well
already, and reads everything twice where two results stand beside each other. Triton reads annotations as code, so there are none. They refuse
nothing: their callers give matrices whose rows are dense, `…_row` elements apart. Everything is added up in fp32.
"""

import triton
import triton.language as tl


@triton.jit
def _mix(word):
    # one round of lowbias32
    word = word ^ (word >> 16)
    word = word * 0x7FEB352D
    word = word ^ (word >> 15)
    word = word * 0x846CA68B
    return word ^ (word >> 16)


@triton.jit(do_not_specialize=["stream"])
def drop(base, base_row, x, x_row, out, out_row, width, seed, stream, threshold, scale, adds: tl.constexpr, block: tl.constexpr):
    """out = dropped(x), plus base where `adds`; `threshold` of 2^24 values of the hash are dropped, the others scaled."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * block + tl.arange(0, block)
    inside = column < width
    key = tl.load(seed)
    low = (key & 0xFFFFFFFF).to(tl.uint32)
    high = ((key >> 32) & 0xFFFFFFFF).to(tl.uint32)
    word = _mix((row * width + column).to(tl.uint32) ^ low)
    word = _mix(word ^ high ^ _mix(stream.to(tl.uint32)))
    value = tl.load(x + row * x_row + column, mask=inside, other=0.0).to(tl.float32)
    value = tl.where((word >> 8).to(tl.int32) >= threshold, value * scale, 0.0)
    if adds:
        value += tl.load(base + row * base_row + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + row * out_row + column, value.to(out.dtype.element_ty), mask=inside)


@triton.jit
def normalise(x, x_row, more, total, weight, out, out_row, width, epsilon, adds: tl.constexpr, block: tl.constexpr):
    """out = weight · x / rms(x), or where it `adds` of total = x + more, rounded; `more` and `total` are as x."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, block)
    inside = column < width
    kind = out.dtype.element_ty
    value = tl.load(x + row * x_row + column, mask=inside, other=0.0).to(tl.float32)
    if adds:
        value += tl.load(more + row * x_row + column, mask=inside, other=0.0).to(tl.float32)
        value = value.to(kind)
        tl.store(total + row * x_row + column, value, mask=inside)
        value = value.to(tl.float32)
    inverse = tl.rsqrt(tl.sum(value * value, axis=0) / width + epsilon)
    scaled = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32) * (value * inverse).to(kind).to(tl.float32)
    tl.store(out + row * out_row + column, scaled.to(kind), mask=inside)


@triton.jit
def normalise_backward(grad, grad_row, also, x, x_row, weight, into, width, epsilon, adds: tl.constexpr, block: tl.constexpr):
    """into = the gradient of x, plus `also` where it `adds`; `also` and `into` are dense."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, block)
    inside = column < width
    value = tl.load(x + row * x_row + column, mask=inside, other=0.0).to(tl.float32)
    weighed = tl.load(grad + row * grad_row + column, mask=inside, other=0.0).to(tl.float32)
    weighed *= tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    inverse = tl.rsqrt(tl.sum(value * value, axis=0) / width + epsilon)
    unit = value * inverse
    result = inverse * (weighed - unit * (tl.sum(weighed * unit, axis=0) / width))
    if adds:
        result += tl.load(also + row * width + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(into + row * width + column, result.to(into.dtype.element_ty), mask=inside)


@triton.jit
def gate(gate, up, row_apart, out, width, block: tl.constexpr):
    """out = silu(gate) · up, dense; rows of gate and of up are `row_apart`."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * block + tl.arange(0, block)
    inside = column < width
    gated = tl.load(gate + row * row_apart + column, mask=inside, other=0.0).to(tl.float32)
    raised = tl.load(up + row * row_apart + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + row * width + column, (gated * tl.sigmoid(gated) * raised).to(out.dtype.element_ty), mask=inside)


@triton.jit
def gate_backward(grad, gate, up, into_gate, into_up, row_apart, width, block: tl.constexpr):
    """The gradients of gate and up, laid out as these are, from that of the product, which is dense."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * block + tl.arange(0, block)
    inside = column < width
    kind = into_gate.dtype.element_ty
    given = tl.load(grad + row * width + column, mask=inside, other=0.0).to(tl.float32)
    gated = tl.load(gate + row * row_apart + column, mask=inside, other=0.0).to(tl.float32)
    raised = tl.load(up + row * row_apart + column, mask=inside, other=0.0).to(tl.float32)
    share = tl.sigmoid(gated)
    result = given * raised * share * (1.0 + gated * (1.0 - share))
    tl.store(into_gate + row * row_apart + column, result.to(kind), mask=inside)
    tl.store(into_up + row * row_apart + column, (given * gated * share).to(kind), mask=inside)


@triton.jit
def rotate(x, x_row, cos, sin, out, heads, sign, half: tl.constexpr, half_block: tl.constexpr, head_block: tl.constexpr):
    """out = x · cos + turned(x) · sign · sin for `heads` heads of width 2 · half beside each other in a row; out, cos and sin are dense."""
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * head_block + tl.arange(0, head_block)[:, None]
    column = tl.arange(0, half_block)[None, :]
    inside = (head < heads) & (column < half)
    place = head * 2 * half + column
    angle = row * 2 * half + column
    first = tl.load(x + row * x_row + place, mask=inside, other=0.0).to(tl.float32)
    second = tl.load(x + row * x_row + place + half, mask=inside, other=0.0).to(tl.float32)
    c1 = tl.load(cos + angle, mask=column < half, other=0.0).to(tl.float32)
    c2 = tl.load(cos + angle + half, mask=column < half, other=0.0).to(tl.float32)
    s1 = tl.load(sin + angle, mask=column < half, other=0.0).to(tl.float32) * sign
    s2 = tl.load(sin + angle + half, mask=column < half, other=0.0).to(tl.float32) * sign
    to = out + row * heads * 2 * half + place
    kind = out.dtype.element_ty
    tl.store(to, (first * c1 - second * s1).to(kind), mask=inside)
    tl.store(to + half, (second * c2 + first * s2).to(kind), mask=inside)


@triton.jit
def log_norm(logits, norms, width: tl.constexpr, block: tl.constexpr):
    """norms = log Σ exp of each dense row, in one pass: the sum is kept relative to the largest seen so far."""
    row = tl.program_id(0).to(tl.int64)
    largest = tl.full((block,), float("-inf"), tl.float32)
    summed = tl.zeros((block,), tl.float32)
    for start in range(0, width, block):
        column = start + tl.arange(0, block)
        value = tl.load(logits + row * width + column, mask=column < width, other=float("-inf")).to(tl.float32)
        higher = tl.maximum(largest, value)
        # a lane that has seen nothing yet has no largest
        shift = tl.where(higher == float("-inf"), 0.0, higher)
        summed = summed * tl.exp(largest - shift) + tl.exp(value - shift)
        largest = higher
    top = tl.max(largest, axis=0)
    tl.store(norms + row, top + tl.log(tl.sum(summed * tl.exp(largest - top), axis=0)))


@triton.jit
def logit_gradient(logits, norms, places, counts, width, block: tl.constexpr):
    """The logits' gradient in their place: (softmax − 1 at the row's place) where the row counts, else 0."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * block + tl.arange(0, block)
    inside = column < width
    value = tl.load(logits + row * width + column, mask=inside, other=0.0).to(tl.float32)
    soft = tl.exp(value - tl.load(norms + row)) - tl.where(column == tl.load(places + row), 1.0, 0.0)
    counted = tl.where(tl.load(counts + row), soft, 0.0)
    tl.store(logits + row * width + column, counted.to(logits.dtype.element_ty), mask=inside)


@triton.jit
def weigh(scores, visible, visible_row, out, width, scaling, rows_of_one, block: tl.constexpr):
    """out = softmax(scores · scaling) over what is visible; `rows_of_one` rows of scores share a row of `visible`, and out is as scores."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, block)
    inside = column < width
    seen = tl.load(visible + (row // rows_of_one) * visible_row + column, mask=inside, other=0) != 0
    value = tl.load(scores + row * width + column, mask=inside, other=0.0).to(tl.float32) * scaling
    value = tl.where(seen, value, float("-inf"))
    value = tl.exp(value - tl.max(value, axis=0))
    tl.store(out + row * width + column, (value / tl.sum(value, axis=0)).to(out.dtype.element_ty), mask=inside)
