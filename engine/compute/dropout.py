"""Dropout that is a function of (seed, layer, element): nothing is stored for the backward pass, and nothing is carried from step to step.

On a GPU with Triton one kernel draws the mask from a counter-based integer hash (two rounds of lowbias32 by Chris Wellons, avalanche bias
0.17) and applies it, again in the backward pass and again where a layer is computed twice, so that recomputation and CUDA graphs see
the same mask. Elsewhere torch's generator draws it once and the mask is kept. It refuses to read or to move torch's global generator.
"""

import functools

import torch

from engine.compute import small_functions
from engine.core.out_of_memory import is_out_of_memory

_BLOCK = 1024
_STREAM_STRIDE = 0x9E3779B9


class DropoutSeed:
    """The seed of the micro-step under way, as a tensor on the device so that a captured graph reads what is current."""

    def __init__(self, device: torch.device) -> None:
        self.value = torch.zeros(1, dtype=torch.int64, device=device)
        self.number = 0

    def set(self, seed: int) -> None:
        """Take `seed` (0 … 2^63 − 1) for every mask drawn from now on."""
        self.number = seed
        self.value.fill_(seed)


@functools.cache
def draws_again(device: torch.device) -> bool:
    """True where the kernel works, so that masks need no storage: tried once, as Triton may be there and not be able to build."""
    if not small_functions.kernels_available(device):
        return False
    seed, x = DropoutSeed(device), torch.ones(64, 256, device=device)
    try:
        kept, again, into = dropped(x, seed, 1, 0.25), dropped(x, seed, 1, 0.25), torch.zeros_like(x)
        add_dropped_(into, x, seed, 1, 0.25)
        share = (kept != 0).float().mean().item()
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return False
    return torch.equal(kept, again) and torch.equal(kept, into) and 0.7 < share < 0.8


def keep_mask(x: torch.Tensor, seed: DropoutSeed, stream: int, p: float) -> torch.Tensor:
    """A mask of x's shape with 0 or 1/(1 − p), by torch's generator; for devices without the kernel."""
    generator = torch.Generator(device=x.device)
    generator.manual_seed((seed.number + stream * _STREAM_STRIDE) % 2**63)
    return torch.empty_like(x).bernoulli_(1.0 - p, generator=generator).div_(1.0 - p)


def dropped(x_ni: torch.Tensor, seed: DropoutSeed, stream: int, p: float) -> torch.Tensor:
    """x / (1 − p) where the mask of (seed, stream) keeps, else 0, contiguous. GPU only; the rows of x are dense."""
    out_ni = x_ni.new_empty(x_ni.shape)
    _launch(x_ni, x_ni, out_ni, seed, stream, p, add=False)
    return out_ni


def add_dropped_(into_ni: torch.Tensor, x_ni: torch.Tensor, seed: DropoutSeed, stream: int, p: float) -> None:
    """into += dropped(x), in place and in one pass. GPU only; both of one shape, their rows dense."""
    _launch(into_ni, x_ni, into_ni, seed, stream, p, add=True)


def _launch(
    base_ni: torch.Tensor, x_ni: torch.Tensor, out_ni: torch.Tensor, seed: DropoutSeed, stream: int, p: float, *, add: bool
) -> None:
    rows, width = x_ni.shape
    small_functions.kernels.drop[rows, -(-width // _BLOCK)](
        base_ni, base_ni.stride(0), x_ni, x_ni.stride(0), out_ni, out_ni.stride(0), width, seed.value, stream,
        round(p * 2**24), 1.0 / (1.0 - p), adds=add, block=_BLOCK,
    )  # fmt: skip
