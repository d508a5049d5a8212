"""The linear layers of the model as sluice runs them: a frozen weight, nf4 or its bf16 mirror, with or without an adapter on top.

One autograd function a product computes y = x Wᵀ + bias + s·(drop(x) Aᵀ) Bᵀ and its gradients by hand: the adapter's product is added in
the epilogue of the matrix product, a quantised weight is dequantised where it is needed and never kept, dropout stores no mask where
its kernel can draw it again, and the gradients of A and B go straight into the bank's buffers. It refuses to train W, and keeps its
numbers equal to those of peft's layer but for rounding.

Shapes, as suffixes: n rows (tokens), i inputs, o outputs, r rank.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from engine.compute.dropout import DropoutSeed, add_dropped_, draws_again, dropped, keep_mask
from engine.compute.libraries import bitsandbytes


class FrozenWeight:
    """A weight (o, i) that is never trained: dense, or nf4 that is dequantised at each use until it is mirrored."""

    def __init__(self, layer: nn.Module, compute_dtype: torch.dtype) -> None:
        weight: Any = layer.weight
        bias: Any = layer.bias
        self.bias = None if bias is None else bias.data.to(compute_dtype)
        self.dtype = compute_dtype
        quantized = isinstance(layer, bitsandbytes.nn.Linear4bit)
        self._quantized: torch.Tensor | None = weight.data if quantized else None
        self._state: Any = weight.quant_state if quantized else None
        self._dense: torch.Tensor | None = None if quantized else weight.data
        shaped: Any = self._state if quantized else weight
        self.shape: tuple[int, int] = tuple(shaped.shape)

    def dense(self) -> torch.Tensor:
        """The weight (o, i) in the compute dtype."""
        if self._dense is not None:
            return self._dense if self._dense.dtype == self.dtype else self._dense.to(self.dtype)
        return bitsandbytes.functional.dequantize_4bit(self._quantized, self._state).to(self.dtype)

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        held = self._quantized if self._dense is None else self._dense
        assert held is not None
        return held.device

    @property
    def mirrored(self) -> bool:
        """True where the dense weight is held."""
        return self._dense is not None

    def mirror(self, into: torch.Tensor | None = None) -> None:
        """Hold the dequantised weight in place of the nf4 one, in `into` (o, i) where given: the same numbers to the bit."""
        self._dense = self.dense().contiguous() if into is None else into.copy_(self.dense())
        self._quantized = self._state = None


@dataclass
class Adapter:
    """Adapter of one layer: A (r, i) and B (o, r) in the dtype they compute in, the buffers of their gradients, and its dropout."""

    a_ri: torch.Tensor
    b_or: torch.Tensor
    scaling: float
    dropout: float
    grad_a_ri: torch.Tensor | None = None
    grad_b_or: torch.Tensor | None = None


class Switches:
    """What all layers of one model share: the dropout's seed, whether adapters are on, a joined product whose parts are being taken, and an
    input with room behind its rows for what such a product puts there."""

    def __init__(self, device: torch.device) -> None:
        self.seed = DropoutSeed(device)
        self.adapters_on = True
        # one for the whole model: a recomputation that stops early leaves one behind, not one a layer
        self.held: tuple[object, torch.Tensor, dict[int, torch.Tensor]] | None = None
        self.roomy: torch.Tensor | None = None

    @contextmanager
    def adapters_off(self) -> Iterator[None]:
        """The base model's answers, inside."""
        self.adapters_on, self.held = False, None
        try:
            yield
        finally:
            self.adapters_on, self.held = True, None


@dataclass(frozen=True)
class Saved:
    """For the backward pass: the input, the adapter's inner product, scaled, and the dropout mask where it has to be kept."""

    rows_ni: torch.Tensor
    inner_nr: torch.Tensor
    mask: torch.Tensor | None


class FrozenLinear(nn.Module):
    """A linear layer with a frozen weight and perhaps an adapter; `stream` tells its dropout masks from those of other inputs, `joined` the
    JoinedLinears that it has become a part of, if any."""

    def __init__(
        self, weight: FrozenWeight, adapter: Adapter | None, switches: Switches, *, stream: int, decoder_layer: int
    ) -> None:
        super().__init__()
        self.frozen, self.adapter, self.switches = weight, adapter, switches
        self.stream, self.decoder_layer = stream, decoder_layer
        self.out_features, self.in_features = weight.shape
        self.joined: Any = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, i) → (…, o)."""
        if self.joined is not None:
            return self.joined.part_of(self, x)
        (out,) = product(x, self, (self.out_features,), training=self.training)
        return out

    def compute(self, rows_ni: torch.Tensor, *, adapted: bool, training: bool) -> tuple[torch.Tensor, Saved | None]:
        """(n, o), and what the gradients need."""
        out_no = functional.linear(rows_ni, self.frozen.dense(), self.frozen.bias)
        if self.adapter is None or not adapted:
            return out_no, None
        adapter = self.adapter
        kept_ni, mask = dropped_input(rows_ni, self, adapter.dropout if training else 0.0)
        inner_nr = scaled_product(kept_ni.to(adapter.a_ri.dtype), adapter.a_ri.t(), adapter.scaling)
        if inner_nr.dtype == out_no.dtype:
            out_no.addmm_(inner_nr, adapter.b_or.t())
        else:
            out_no += (inner_nr @ adapter.b_or.t()).to(out_no.dtype)
        return out_no, Saved(rows_ni, inner_nr, mask)

    def backpropagate(self, grad_no: torch.Tensor, saved: Saved | None, *, training: bool, wanted: bool) -> torch.Tensor | None:
        """The gradient of the input where it is `wanted`; those of A and B go into their buffers (overwritten)."""
        into_ni = grad_no @ self.frozen.dense() if wanted else None
        if self.adapter is None or saved is None:
            return into_ni
        adapter, dtype = self.adapter, self.adapter.a_ri.dtype
        grad_no = grad_no.to(dtype)
        inner_grad_nr = scaled_product(grad_no, adapter.b_or, adapter.scaling)
        p = adapter.dropout if training else 0.0
        torch.mm(grad_no.t(), saved.inner_nr, out=adapter.grad_b_or)
        torch.mm(inner_grad_nr.t(), dropped_again(saved, self, p).to(dtype), out=adapter.grad_a_ri)
        return None if into_ni is None else add_adapter_product(into_ni, inner_grad_nr, adapter.a_ri, saved, self, p)


def scaled_product(one: torch.Tensor, other: torch.Tensor, scale: float) -> torch.Tensor:
    """scale · (one other), the scale in the product's epilogue."""
    return one.new_empty(one.shape[0], other.shape[1]).addmm_(one, other, beta=0, alpha=scale)


def dropped_input(rows_ni: torch.Tensor, layer: Any, p: float) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What the adapter sees of its input under dropout `p`, and the mask where it cannot be drawn again."""
    if not p:
        return rows_ni, None
    if draws_again(rows_ni.device):
        return dropped(rows_ni, layer.switches.seed, layer.stream, p), None
    mask = keep_mask(rows_ni, layer.switches.seed, layer.stream, p)
    return rows_ni * mask, mask


def dropped_again(saved: Saved, layer: Any, p: float) -> torch.Tensor:
    """What the adapter saw, in the backward pass."""
    if saved.mask is not None:
        return saved.rows_ni * saved.mask
    return dropped(saved.rows_ni, layer.switches.seed, layer.stream, p) if p else saved.rows_ni


def add_adapter_product(
    into_ni: torch.Tensor, inner_grad_nr: torch.Tensor, a_ri: torch.Tensor, saved: Saved, layer: Any, p: float, scale: float = 1.0
) -> torch.Tensor:
    """into + scale · drop(inner_grad A) for the input's gradient, in `into` itself, whose rows may be any distance apart."""
    if saved.mask is None and not p and into_ni.dtype == a_ri.dtype:
        return into_ni.addmm_(inner_grad_nr, a_ri, alpha=scale)
    adapted_ni = scaled_product(inner_grad_nr, a_ri, scale).to(into_ni.dtype)
    if saved.mask is not None:
        return into_ni.addcmul_(adapted_ni, saved.mask)
    if p:
        add_dropped_(into_ni, adapted_ni, layer.switches.seed, layer.stream, p)
        return into_ni
    return into_ni.add_(adapted_ni)


def product(x: torch.Tensor, layer: Any, outputs: tuple[int, ...], *, training: bool) -> tuple[torch.Tensor, ...]:
    """(…, i) → (…, o) for each of `outputs`, with adapters where they are on."""
    adapted = layer.switches.adapters_on and layer.adapter is not None
    if torch.is_grad_enabled():
        marks = (layer.adapter.a_ri,) if adapted and layer.adapter is not None else ()
        parts: tuple[torch.Tensor, ...] = _Product.apply(x, layer, outputs, adapted, training, *marks)
        return parts
    out_no, _ = layer.compute(x.reshape(-1, layer.in_features), adapted=adapted, training=False)
    return _split(out_no, outputs, x)


def _split(out_no: torch.Tensor, outputs: tuple[int, ...], x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return tuple(part.view(*x.shape[:-1], part.shape[-1]) for part in out_no.split(outputs, dim=-1))


class _Product(torch.autograd.Function):
    """A layer with its gradients. A is an argument only so that autograd sees that the output needs one."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, layer: Any, outputs: tuple[int, ...], adapted: bool, training: bool, *_: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        out_no, saved = layer.compute(x.reshape(-1, layer.in_features), adapted=adapted, training=training)
        ctx.layer, ctx.training, ctx.in_shape, ctx.adapted = layer, training, x.shape, saved is not None
        ctx.save_for_backward(*(() if saved is None else (saved.rows_ni, saved.inner_nr, saved.mask)))
        return _split(out_no, outputs, x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        grad = grads[0] if len(grads) == 1 else torch.cat(grads, dim=-1)
        saved = Saved(*ctx.saved_tensors) if ctx.adapted else None
        into_ni = ctx.layer.backpropagate(
            grad.reshape(-1, ctx.layer.out_features), saved, training=ctx.training, wanted=ctx.needs_input_grad[0]
        )
        into = None if into_ni is None else into_ni.view(ctx.in_shape)
        return (into, *(None for _ in ctx.needs_input_grad[1:]))
