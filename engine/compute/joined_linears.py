"""Layers that read one input as one product: query, key and value; gate and up.

It refuses to change what any of them computes: the same numbers but for rounding.

Shapes, as suffixes: n rows (tokens), i inputs, o outputs, r rank.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.nn import functional

from engine.compute.linears import Adapter, FrozenLinear, Saved, add_adapter_product, dropped_again, dropped_input, product
from engine.compute.small_functions import over_storage
from engine.core.planner import JOINED_ALIGNED


@dataclass(frozen=True)
class _Part:
    """The adapter of one layer, where its B (o, r) stands in the joined matrix, and its slices of the outputs and of the inner product."""

    adapter: Adapter
    b_or: torch.Tensor
    outputs: slice
    inner: slice


class JoinedLinears:
    """Mirrored layers that read one input, as one product of one matrix (Σo, i + Σr): their weights below each other, beside them their Bs.

    It computes y = [x, s·(drop(x) Aᵀ)]·[W, B]ᵀ and, in the backward pass, [∂x, ∂inner/s] = ∂y·[W, B]: the wide output and its gradient
    are gone through once instead of once more for the adapter. The As lie below each other; each B stands in the rows of its own layer
    and in the columns of its own A, zero elsewhere.
    """

    def __init__(self, layers: list[FrozenLinear]) -> None:
        first = layers[0]
        self._layers, self.switches, self.stream = layers, first.switches, first.stream
        self.in_features, self._outputs = first.in_features, tuple(layer.out_features for layer in layers)
        self.out_features, inner = sum(self._outputs), sum(_rank(layer) for layer in layers)
        self._inner = slice(self.in_features, self.in_features + inner)
        columns = -(-self._inner.stop // JOINED_ALIGNED) * JOINED_ALIGNED
        self._both = torch.zeros(self.out_features, columns, dtype=first.frozen.dtype, device=first.frozen.device)
        self._parts = list(self._placed(layers))
        biases = [
            self._both.new_zeros(layer.out_features) if layer.frozen.bias is None else layer.frozen.bias for layer in layers
        ]
        self._bias = torch.cat(biases) if any(layer.frozen.bias is not None for layer in layers) else None
        self._room = False
        self._a_ri: torch.Tensor | None = None
        self._grad_a_ri: torch.Tensor | None = None
        if self._parts:
            self.bind(torch.cat([part.adapter.a_ri.detach() for part in self._parts]), None)
            for part in self._parts:
                part.adapter.a_ri = self._joined_a[part.inner]
            self.publish()
        for layer in layers:
            layer.joined = self

    def _placed(self, layers: list[FrozenLinear]) -> Iterator[_Part]:
        """Put each layer's weight into its rows, and say where its adapter belongs."""
        outputs = inner = 0
        for layer in layers:
            rows, ranks = slice(outputs, outputs + layer.out_features), slice(inner, inner + _rank(layer))
            layer.frozen.mirror(into=self._both[rows, : self.in_features])
            if layer.adapter is not None:
                yield _Part(layer.adapter, self._both[rows, self._inner][:, ranks], rows, ranks)
            outputs, inner = rows.stop, ranks.stop

    def bind(self, a_ri: torch.Tensor, grad_a_ri: torch.Tensor | None) -> None:
        """Compute with these As (Σr, i), whose slices the layers hold, and write their gradient there."""
        self._a_ri, self._grad_a_ri = a_ri, grad_a_ri

    def publish(self) -> None:
        """Take over the Bs as the layers' adapters hold them now."""
        for part in self._parts:
            part.b_or.copy_(part.adapter.b_or.detach())

    @property
    def adapters(self) -> list[Adapter]:
        """Those of its layers, in the order of their As."""
        return [part.adapter for part in self._parts]

    @property
    def adapter(self) -> Adapter | None:
        """Any of them: they scale and drop alike."""
        return self._parts[0].adapter if self._parts else None

    @property
    def _joined_a(self) -> torch.Tensor:
        assert self._a_ri is not None
        return self._a_ri

    @property
    def columns_read(self) -> int:
        """How far apart the rows of the input are best: so that what the adapters make of a row has room behind it."""
        return self._both.shape[1] if self._parts else self.in_features

    def together(self, x: torch.Tensor) -> torch.Tensor:
        """(…, i) → (…, Σo), the layers' outputs beside each other."""
        (out,) = self._product(x, (self.out_features,), training=self._layers[0].training)
        return out

    def _product(self, x: torch.Tensor, outputs: tuple[int, ...], *, training: bool) -> tuple[torch.Tensor, ...]:
        self._room, self.switches.roomy = self.switches.roomy is x, None
        return product(x, self, outputs, training=training)

    def part_of(self, layer: FrozenLinear, x: torch.Tensor) -> torch.Tensor:
        """What `layer` makes of x; computed for all of them when the first of them asks, and kept until each has taken its own."""
        held = self.switches.held
        if held is None or held[0] is not self or held[1] is not x or id(layer) not in held[2]:
            parts = self._product(x, self._outputs, training=layer.training)
            held = (self, x, {id(each): part for each, part in zip(self._layers, parts, strict=True)})
        taken = held[2].pop(id(layer))
        self.switches.held = held if held[2] else None
        return taken

    def compute(self, rows_ni: torch.Tensor, *, adapted: bool, training: bool) -> tuple[torch.Tensor, Saved | None]:
        """(n, Σo), and what the gradients need."""
        if self.adapter is None or not adapted:
            return functional.linear(rows_ni, self._both[:, : self.in_features], self._bias), None
        kept_ni, mask = dropped_input(rows_ni, self, self.adapter.dropout if training else 0.0)
        rows, columns = len(rows_ni), self._both.shape[1]
        in_place = self._room and rows_ni.stride() == (columns, 1)
        if in_place:
            wide = over_storage(rows_ni, (rows, columns), (columns, 1))
        else:
            wide = rows_ni.new_empty(rows, columns)
            wide[:, : self.in_features] = rows_ni
        if self._inner.stop < columns:
            wide[:, self._inner.stop :] = 0
        inner_nr = over_storage(wide, (rows, len(self._joined_a)), (columns, 1), self.in_features)
        inner_nr.addmm_(kept_ni, self._joined_a.t(), beta=0, alpha=self.adapter.scaling)
        # where the wide input is a copy, it must not be kept for the backward pass for the sake of a slice
        saved = Saved(rows_ni, inner_nr if in_place else inner_nr.contiguous(), mask)
        return functional.linear(wide, self._both, self._bias), saved

    def backpropagate(self, grad_no: torch.Tensor, saved: Saved | None, *, training: bool, wanted: bool) -> torch.Tensor | None:
        """The gradient of the input where it is `wanted`; those of the As and Bs go into their buffers (overwritten)."""
        if self.adapter is None or saved is None:
            return grad_no @ self._both[:, : self.in_features] if wanted else None
        both = grad_no @ self._both if wanted else None
        inner_grad_nr = grad_no @ self._both[:, self._inner] if both is None else both[:, self._inner]
        p, scale = self.adapter.dropout if training else 0.0, self.adapter.scaling
        assert self._grad_a_ri is not None
        self._grad_a_ri.addmm_(inner_grad_nr.t(), dropped_again(saved, self, p), beta=0, alpha=scale)
        for part in self._parts:
            torch.mm(grad_no[:, part.outputs].t(), saved.inner_nr[:, part.inner], out=part.adapter.grad_b_or)
        if both is None:
            return None
        return add_adapter_product(both[:, : self.in_features], inner_grad_nr, self._joined_a, saved, self, p, scale)


def _rank(layer: FrozenLinear) -> int:
    return 0 if layer.adapter is None else len(layer.adapter.a_ri)
