"""Copies of tensors on the host, for a checkpoint or the best adapter, taken while training stands still.

It refuses to share memory with what it copies: training goes on changing that.
"""

from contextlib import suppress
from typing import Any

import torch


def host_copy(tensor: torch.Tensor) -> torch.Tensor:
    """A CPU tensor of its own with the same values.

    What comes from a GPU goes into page-locked memory where there is some: torch keeps that for the next copy, and a checkpoint of 1.6 GB
    is there at the speed of the bus instead of waiting for fresh pages.
    """
    source = tensor.detach()
    if source.is_cuda:
        # the host's page-locked memory may be limited; what the GPU itself has to say it says again below
        with suppress(RuntimeError):
            return torch.empty(source.shape, dtype=source.dtype, pin_memory=True).copy_(source)
    return source.to("cpu", copy=True)


def on_host(value: Any) -> Any:
    """Dicts and lists, of an optimizer's state say, with every tensor in them copied."""
    if isinstance(value, torch.Tensor):
        return host_copy(value)
    if isinstance(value, dict):
        return {key: on_host(child) for key, child in value.items()}
    return [on_host(child) for child in value] if isinstance(value, list) else value
