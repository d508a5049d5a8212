"""The dropout kernel in Triton: draws the mask from a hash of (seed, stream, element) and applies it, in one pass over the tensor.

Triton reads annotations as code, so there are none. It refuses nothing: its caller gives contiguous tensors of one size.
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
def kernel(base, x, out, seed, stream, count, threshold, scale, adds: tl.constexpr, block: tl.constexpr):
    """out = dropped(x), plus base where `adds`; `threshold` of 2^24 values of the hash are dropped, the others scaled."""
    place = tl.program_id(0) * block + tl.arange(0, block)
    inside = place < count
    key = tl.load(seed)
    low = (key & 0xFFFFFFFF).to(tl.uint32)
    high = ((key >> 32) & 0xFFFFFFFF).to(tl.uint32)
    word = _mix(place.to(tl.uint32) ^ low)
    word = _mix(word ^ high ^ _mix(stream.to(tl.uint32)))
    value = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
    value = tl.where((word >> 8).to(tl.int32) >= threshold, value * scale, 0.0)
    if adds:
        value += tl.load(base + place, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + place, value.to(out.dtype.element_ty), mask=inside)
