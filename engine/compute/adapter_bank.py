"""The adapters of a run in training: one flat fp32 master, what the layers compute with, and their gradients.

The master is one parameter, so that the optimizer, the clipping and a checkpoint deal with one tensor instead of hundreds, and its
moments mean the same under every compute plan. Where the layers compute in bf16 they hold a copy that is published after each step;
where they compute in fp32 they hold views of the master itself. Gradients of a micro-step are summed in fp32. Names and order are those of
an adapter file.
"""

import math
from typing import Any

import torch

from engine.compute.linears import Adapter, frozen_linears


class AdapterBank:
    """Takes over the adapters of a model whose layers are FrozenLinears."""

    def __init__(self, model: Any, *, adapter_dtype: torch.dtype) -> None:
        self._slots: list[tuple[str, int, torch.Size]] = []
        adapters = [(name, layer.adapter) for name, layer in frozen_linears(model).items() if layer.adapter is not None]
        tensors = [tensor for _, adapter in adapters for tensor in (adapter.a_ri, adapter.b_or)]
        start = 0
        for name, adapter in adapters:
            for part, tensor in (("lora_A", adapter.a_ri), ("lora_B", adapter.b_or)):
                self._slots.append((f"{name}.{part}.weight", start, tensor.shape))
                start += tensor.numel()
        device = tensors[0].device
        self.master = torch.nn.Parameter(torch.empty(start, device=device))
        self.master.grad = torch.zeros_like(self.master)
        same = adapter_dtype == torch.float32
        self._compute = self.master.data if same else torch.empty(start, device=device, dtype=adapter_dtype)
        self._micro = torch.zeros(start, device=device, dtype=adapter_dtype)
        with torch.no_grad():
            for (_, offset, shape), tensor in zip(self._slots, tensors, strict=True):
                _view(self.master.data, offset, shape).copy_(tensor)
        self._bind([adapter for _, adapter in adapters])
        self.publish()

    def _bind(self, adapters: list[Adapter]) -> None:
        slots = iter(self._slots)
        for adapter in adapters:
            for tensor, gradient in (("a_ri", "grad_a_ri"), ("b_or", "grad_b_or")):
                _, offset, shape = next(slots)
                setattr(adapter, tensor, _view(self._compute, offset, shape).requires_grad_())
                setattr(adapter, gradient, _view(self._micro, offset, shape))

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        return self.master.numel()

    def zero_grad(self) -> None:
        """Forget the gradients of the step."""
        if self.master.grad is not None:
            self.master.grad.zero_()

    def collect(self) -> None:
        """Add the gradients of the micro-step just done, in fp32. Each backward pass overwrites them, so call this after each."""
        assert self.master.grad is not None
        self.master.grad.add_(self._micro)

    def publish(self) -> None:
        """Give the layers what the master holds now."""
        if self._compute.data_ptr() != self.master.data_ptr():
            self._compute.copy_(self.master.data)

    def tensors(self) -> dict[str, torch.Tensor]:
        """fp32 copies on the CPU by their names in an adapter file."""
        flat = self.master.detach().to("cpu", copy=True)
        return {name: _view(flat, offset, shape).clone() for name, offset, shape in self._slots}

    def gradients(self) -> dict[str, torch.Tensor]:
        """Views of the fp32 gradients by the same names."""
        assert self.master.grad is not None
        return {name: _view(self.master.grad, offset, shape) for name, offset, shape in self._slots}

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """Put adapter tensors back in place.

        Raises: ValueError where names or shapes are not those of the model.
        """
        wanted = {name: shape for name, _, shape in self._slots}
        if wanted != {name: value.shape for name, value in tensors.items()}:
            raise ValueError("the adapter's tensors do not have the model's names and shapes")
        with torch.no_grad():
            for name, offset, shape in self._slots:
                _view(self.master.data, offset, shape).copy_(tensors[name])
        self.publish()


def _view(flat: torch.Tensor, offset: int, shape: torch.Size) -> torch.Tensor:
    return flat[offset : offset + math.prod(shape)].view(shape)
