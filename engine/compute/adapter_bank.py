"""The adapters of a run in training: one flat fp32 master, what the layers compute with, and their gradients.

The master is one parameter, so that the optimizer, the clipping and a checkpoint deal with one tensor instead of hundreds, and its
moments mean the same under every compute plan. Where the layers compute in bf16 they hold a copy that is published after each step;
where they compute in fp32 they hold views of the master itself. Gradients of a micro-step are summed in fp32. Names are those of an adapter
file; the As of layers that read one input lie beside each other, under every plan, so that one product can serve them.
"""

import math
from itertools import accumulate, product
from typing import Any

import torch

from engine.compute.host_copies import host_copy
from engine.compute.planned_linears import frozen_linears

_PARTS = {"lora_A": ("a_ri", "grad_a_ri"), "lora_B": ("b_or", "grad_b_or")}


class AdapterBank:
    """Takes over the adapters of a model whose layers are FrozenLinears."""

    def __init__(self, model: Any, *, adapter_dtype: torch.dtype) -> None:
        layers = {name: layer for name, layer in frozen_linears(model).items() if layer.adapter is not None}
        # a stable sort: by input, then all As, then all Bs
        places = sorted(product(layers, _PARTS), key=lambda place: (layers[place[0]].stream, place[1]))
        tensors = [getattr(layers[name].adapter, _PARTS[part][0]) for name, part in places]
        offsets = accumulate((tensor.numel() for tensor in tensors), initial=0)
        self._slots = [
            (f"{name}.{part}.weight", offset, tensor.shape)
            for (name, part), tensor, offset in zip(places, tensors, offsets, strict=False)
        ]
        count, device, same = sum(tensor.numel() for tensor in tensors), tensors[0].device, adapter_dtype == torch.float32
        self.master = torch.nn.Parameter(torch.empty(count, device=device))
        self.master.grad = torch.zeros_like(self.master)
        self._compute = self.master.data if same else torch.empty(count, device=device, dtype=adapter_dtype)
        self._micro = torch.zeros(count, device=device, dtype=adapter_dtype)
        with torch.no_grad():
            for (_, offset, shape), tensor in zip(self._slots, tensors, strict=True):
                _view(self.master.data, offset, shape).copy_(tensor)
        for (name, part), (_, offset, shape) in zip(places, self._slots, strict=True):
            tensor, gradient = _PARTS[part]
            setattr(layers[name].adapter, tensor, _view(self._compute, offset, shape).requires_grad_())
            setattr(layers[name].adapter, gradient, _view(self._micro, offset, shape))
        self._joined = list(dict.fromkeys(layer.joined for layer in layers.values() if layer.joined is not None))
        for joined in self._joined:
            first = joined.adapters[0]
            shape = torch.Size((sum(len(adapter.a_ri) for adapter in joined.adapters), first.a_ri.shape[1]))
            joined.bind(_spread(first.a_ri, shape).requires_grad_(), _spread(first.grad_a_ri, shape))
        self._published: torch.cuda.CUDAGraph | None = None
        self.publish()

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
        if self._published is not None:
            self._published.replay()
        else:
            self._publish()

    def capture(self) -> None:
        """Publish as one CUDA graph from now on, instead of by hundreds of small copies. Raises: RuntimeError where it cannot be captured."""
        if not self._joined:
            return
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._publish()
        self._published = graph

    def _publish(self) -> None:
        if self._compute.data_ptr() != self.master.data_ptr():
            self._compute.copy_(self.master.data)
        for joined in self._joined:
            joined.publish()

    def tensors(self) -> dict[str, torch.Tensor]:
        """fp32 copies on the CPU, views of one, by their names in an adapter file."""
        flat = host_copy(self.master)
        return {name: _view(flat, offset, shape) for name, offset, shape in self._slots}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes by the same names."""
        return {name: tuple(shape) for name, _, shape in self._slots}

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


def _spread(first: torch.Tensor | None, shape: torch.Size) -> torch.Tensor:
    """The tensor of that shape that begins where `first`, a view of a flat one, does."""
    assert first is not None
    return first.detach().as_strided(shape, (shape[1], 1))


def _view(flat: torch.Tensor, offset: int, shape: torch.Size) -> torch.Tensor:
    return flat[offset : offset + math.prod(shape)].view(shape)
