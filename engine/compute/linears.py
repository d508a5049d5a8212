"""The linear layers of the model as sluice runs them: a frozen weight, nf4 or its bf16 mirror, with or without an adapter on top.

One autograd function a product computes y = x Wᵀ + bias + s·(drop(x) Aᵀ) Bᵀ and its gradients by hand: the adapter's product is added in
the epilogue of the matrix product, a quantised weight is dequantised where it is needed and never kept, dropout stores no mask where
its kernel can draw it again, and the gradients of A and B go straight into the bank's buffers. Layers that read the same input (query,
key and value; gate and up) draw one dropout mask under every plan, and are one product once they are mirrored. It refuses to train W,
and keeps its numbers equal to those of peft's layer but for rounding.

Shapes, as suffixes: n rows (tokens), i inputs, o outputs, r rank.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from engine.compute.dropout import DropoutSeed, add_dropped_, dropped, keep_mask, kernels_available
from engine.compute.libraries import bitsandbytes
from engine.core.planner import SHARED_INPUTS

_LAYER = re.compile(r"\.layers\.(\d+)\.")
_ALIGNED = 8
"""Columns of a joined matrix come in multiples of this."""


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
    """What all layers of one model share: the dropout's seed, whether adapters are on, and a joined product whose parts are being taken."""

    def __init__(self, device: torch.device) -> None:
        self.seed = DropoutSeed(device)
        self.adapters_on = True
        # one for the whole model: a recomputation that stops early leaves one behind, not one a layer
        self.held: tuple[JoinedLinears, torch.Tensor, dict[int, torch.Tensor]] | None = None

    @contextmanager
    def adapters_off(self) -> Iterator[None]:
        """The base model's answers, inside."""
        self.adapters_on, self.held = False, None
        try:
            yield
        finally:
            self.adapters_on, self.held = True, None


class FrozenLinear(nn.Module):
    """A linear layer with a frozen weight and perhaps an adapter; `stream` tells its dropout masks from those of other inputs."""

    def __init__(
        self, weight: FrozenWeight, adapter: Adapter | None, switches: Switches, *, stream: int, decoder_layer: int
    ) -> None:
        super().__init__()
        self.frozen, self.adapter, self.switches = weight, adapter, switches
        self.stream, self.decoder_layer = stream, decoder_layer
        self.out_features, self.in_features = weight.shape
        self.joined: JoinedLinears | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, i) → (…, o)."""
        if self.joined is not None:
            return self.joined.part_of(self, x)
        (out,) = _product(x, self, (self.out_features,), training=self.training)
        return out

    def compute(self, rows_ni: torch.Tensor, *, adapted: bool, training: bool) -> tuple[torch.Tensor, "_Saved | None"]:
        """(n, o), and what the gradients need."""
        out_no = functional.linear(rows_ni, self.frozen.dense(), self.frozen.bias)
        if self.adapter is None or not adapted:
            return out_no, None
        adapter = self.adapter
        kept_ni, mask = _dropped(rows_ni, self, adapter.dropout if training else 0.0)
        inner_nr = kept_ni.to(adapter.a_ri.dtype) @ adapter.a_ri.t()
        if inner_nr.dtype == out_no.dtype:
            out_no.addmm_(inner_nr, adapter.b_or.t(), alpha=adapter.scaling)
        else:
            out_no += ((inner_nr @ adapter.b_or.t()) * adapter.scaling).to(out_no.dtype)
        return out_no, _Saved(rows_ni, inner_nr, mask)

    def backpropagate(
        self, grad_no: torch.Tensor, saved: "_Saved | None", *, training: bool, wanted: bool
    ) -> torch.Tensor | None:
        """The gradient of the input where it is `wanted`; those of A and B go into their buffers (overwritten)."""
        into_ni = grad_no @ self.frozen.dense() if wanted else None
        if self.adapter is None or saved is None:
            return into_ni
        adapter, dtype = self.adapter, self.adapter.a_ri.dtype
        grad_no = grad_no.to(dtype)
        inner_grad_nr = (grad_no @ adapter.b_or).mul_(adapter.scaling)
        p = adapter.dropout if training else 0.0
        torch.mm(grad_no.t(), saved.inner_nr.mul(adapter.scaling), out=adapter.grad_b_or)
        torch.mm(inner_grad_nr.t(), _dropped_again(saved, self, p).to(dtype), out=adapter.grad_a_ri)
        return None if into_ni is None else _add_product(into_ni, inner_grad_nr, adapter.a_ri, saved, self, p)


class JoinedLinears:
    """Mirrored layers that read one input, as one product of one matrix (Σo, i + Σr): their weights below each other, beside them their Bs.

    It computes y = [x, s·(drop(x) Aᵀ)]·[W, B]ᵀ and, in the backward pass, [∂x, ∂inner/s] = ∂y·[W, B]: the wide output and its gradient
    are gone through once instead of once more for the adapter. The As lie below each other; each B stands in the rows of its own layer
    and in the columns of its own A, zero elsewhere.
    """

    def __init__(self, layers: list[FrozenLinear]) -> None:
        first, weights = layers[0], [layer.frozen for layer in layers]
        self._layers, self.switches, self.stream = layers, first.switches, first.stream
        self._outputs = tuple(layer.out_features for layer in layers)
        self.in_features, self.out_features = first.in_features, sum(self._outputs)
        self._adapters = [layer.adapter for layer in layers if layer.adapter is not None]
        ranks = [0 if layer.adapter is None else len(layer.adapter.a_ri) for layer in layers]
        self._inner = slice(self.in_features, self.in_features + sum(ranks))
        # rows of a multiple of 16 bytes, which fast products of matrices ask for
        columns = -(-self._inner.stop // _ALIGNED) * _ALIGNED
        self._both = torch.zeros(self.out_features, columns, dtype=first.frozen.dtype, device=first.frozen.device)
        for weight, rows in zip(weights, self._both.split(self._outputs), strict=True):
            weight.mirror(into=rows[:, : self.in_features])
        biases = [self._both.new_zeros(weight.shape[0]) if weight.bias is None else weight.bias for weight in weights]
        self._bias = torch.cat(biases) if any(weight.bias is not None for weight in weights) else None
        places = zip(
            layers,
            self._both[:, self._inner].split(self._outputs),
            pairwise(accumulate(self._outputs, initial=0)),
            pairwise(accumulate(ranks, initial=0)),
            strict=True,
        )
        self._places = [
            (layer.adapter, tail[:, slice(*inner)], slice(*outputs), slice(*inner))
            for layer, tail, outputs, inner in places
            if layer.adapter is not None
        ]
        self._a_ri: torch.Tensor | None = None
        self._grad_a_ri: torch.Tensor | None = None
        if self._adapters:
            self.bind(torch.cat([adapter.a_ri.detach() for adapter in self._adapters]), None)
            for adapter, _, _, inner in self._places:
                adapter.a_ri = self._joined_a[inner]
            self.publish()
        for layer in layers:
            layer.joined = self

    def bind(self, a_ri: torch.Tensor, grad_a_ri: torch.Tensor | None) -> None:
        """Compute with these As (Σr, i), whose slices the layers hold, and write their gradient there."""
        self._a_ri, self._grad_a_ri = a_ri, grad_a_ri

    def publish(self) -> None:
        """Take over the Bs as the layers' adapters hold them now."""
        for adapter, tail, _, _ in self._places:
            tail.copy_(adapter.b_or.detach())

    @property
    def adapters(self) -> list[Adapter]:
        """Those of its layers, in the order of their As."""
        return self._adapters

    @property
    def adapter(self) -> Adapter | None:
        """Any of them: they scale and drop alike."""
        return self._adapters[0] if self._adapters else None

    @property
    def _joined_a(self) -> torch.Tensor:
        assert self._a_ri is not None
        return self._a_ri

    def together(self, x: torch.Tensor) -> torch.Tensor:
        """(…, i) → (…, Σo), the layers' outputs beside each other."""
        (out,) = _product(x, self, (self.out_features,), training=self._layers[0].training)
        return out

    def part_of(self, layer: FrozenLinear, x: torch.Tensor) -> torch.Tensor:
        """What `layer` makes of x; computed for all of them when the first of them asks, and kept until each has taken its own."""
        held = self.switches.held
        if held is None or held[0] is not self or held[1] is not x or id(layer) not in held[2]:
            parts = _product(x, self, self._outputs, training=layer.training)
            held = (self, x, {id(each): part for each, part in zip(self._layers, parts, strict=True)})
        taken = held[2].pop(id(layer))
        self.switches.held = held if held[2] else None
        return taken

    def compute(self, rows_ni: torch.Tensor, *, adapted: bool, training: bool) -> tuple[torch.Tensor, "_Saved | None"]:
        """(n, Σo), and what the gradients need; the inner product that is saved is scaled already."""
        if self.adapter is None or not adapted:
            return functional.linear(rows_ni, self._both[:, : self.in_features], self._bias), None
        kept_ni, mask = _dropped(rows_ni, self, self.adapter.dropout if training else 0.0)
        wide = rows_ni.new_empty(len(rows_ni), self._both.shape[1])
        wide[:, : self.in_features] = rows_ni
        wide[:, self._inner.stop :] = 0
        inner_nr = wide[:, self._inner].addmm_(kept_ni, self._joined_a.t(), beta=0, alpha=self.adapter.scaling)
        # a copy of its own, or the whole wide input would be kept for the backward pass
        return functional.linear(wide, self._both, self._bias), _Saved(rows_ni, inner_nr.contiguous(), mask)

    def backpropagate(
        self, grad_no: torch.Tensor, saved: "_Saved | None", *, training: bool, wanted: bool
    ) -> torch.Tensor | None:
        """The gradient of the input where it is `wanted`; those of the As and Bs go into their buffers (overwritten)."""
        if self.adapter is None or saved is None:
            return grad_no @ self._both[:, : self.in_features] if wanted else None
        both = grad_no @ self._both if wanted else None
        inner_grad_nr = (grad_no @ self._both[:, self._inner] if both is None else both[:, self._inner]) * self.adapter.scaling
        p = self.adapter.dropout if training else 0.0
        torch.mm(inner_grad_nr.t(), _dropped_again(saved, self, p), out=self._grad_a_ri)
        for adapter, _, outputs, inner in self._places:
            torch.mm(grad_no[:, outputs].t(), saved.inner_nr[:, inner], out=adapter.grad_b_or)
        if both is None:
            return None
        return _add_product(both[:, : self.in_features], inner_grad_nr, self._joined_a, saved, self, p)


@dataclass(frozen=True)
class _Saved:
    """For the backward pass: the input, the adapter's inner product, and the dropout mask where it has to be kept."""

    rows_ni: torch.Tensor
    inner_nr: torch.Tensor
    mask: torch.Tensor | None


Layer = FrozenLinear | JoinedLinears


def _dropped(rows_ni: torch.Tensor, layer: Layer, p: float) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What the adapter sees of its input, and the mask where it cannot be drawn again."""
    if not p:
        return rows_ni, None
    if kernels_available(rows_ni.device):
        return dropped(rows_ni, layer.switches.seed, layer.stream, p), None
    mask = keep_mask(rows_ni, layer.switches.seed, layer.stream, p)
    return rows_ni * mask, mask


def _dropped_again(saved: _Saved, layer: Layer, p: float) -> torch.Tensor:
    """The same in the backward pass."""
    if saved.mask is not None:
        return saved.rows_ni * saved.mask
    return dropped(saved.rows_ni, layer.switches.seed, layer.stream, p) if p else saved.rows_ni


def _add_product(
    into_ni: torch.Tensor, inner_grad_nr: torch.Tensor, a_ri: torch.Tensor, saved: _Saved, layer: Layer, p: float
) -> torch.Tensor:
    """into + drop(inner_grad A) for the input's gradient, contiguous; `into` may be overwritten."""
    if saved.mask is None and not p and into_ni.dtype == a_ri.dtype:
        return into_ni.addmm_(inner_grad_nr, a_ri) if into_ni.is_contiguous() else torch.addmm(into_ni, inner_grad_nr, a_ri)
    into_ni, adapted_ni = into_ni.contiguous(), (inner_grad_nr @ a_ri).to(into_ni.dtype)
    if saved.mask is not None:
        return into_ni.addcmul_(adapted_ni, saved.mask)
    if p:
        add_dropped_(into_ni, adapted_ni, layer.switches.seed, layer.stream, p)
        return into_ni
    return into_ni.add_(adapted_ni)


def _product(x: torch.Tensor, layer: Layer, outputs: tuple[int, ...], *, training: bool) -> tuple[torch.Tensor, ...]:
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
        ctx: Any, x: torch.Tensor, layer: Layer, outputs: tuple[int, ...], adapted: bool, training: bool, *_: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        out_no, saved = layer.compute(x.reshape(-1, layer.in_features), adapted=adapted, training=training)
        ctx.layer, ctx.training, ctx.in_shape, ctx.adapted = layer, training, x.shape, saved is not None
        ctx.save_for_backward(*(() if saved is None else (saved.rows_ni, saved.inner_nr, saved.mask)))
        return _split(out_no, outputs, x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        grad = grads[0] if len(grads) == 1 else torch.cat(grads, dim=-1)
        saved = _Saved(*ctx.saved_tensors) if ctx.adapted else None
        into_ni = ctx.layer.backpropagate(
            grad.reshape(-1, ctx.layer.out_features), saved, training=ctx.training, wanted=ctx.needs_input_grad[0]
        )
        into = None if into_ni is None else into_ni.view(ctx.in_shape)
        return (into, *(None for _ in ctx.needs_input_grad[1:]))


def install_linears(model: Any, *, compute_dtype: torch.dtype, adapter_dtype: torch.dtype) -> Switches:
    """Put a FrozenLinear in the place of every quantised or adapted linear layer of the decoder; returns what they share.

    Adapters that peft attached keep their tensors (cast to `adapter_dtype`); whoever trains gives them gradient buffers: `AdapterBank`.
    """
    switches = Switches(model.device)
    streams: dict[tuple[str, ...], int] = {}
    for name, module in list(model.named_modules()):
        if hasattr(module, "base_layer") and hasattr(module, "lora_A"):
            base, adapter = module.base_layer, _peft_adapter(module, adapter_dtype)
        elif isinstance(module, bitsandbytes.nn.Linear4bit) and not name.endswith(".base_layer"):
            base, adapter = module, None
        else:
            continue
        found = _LAYER.search(f".{name}.")
        stream = streams.setdefault(_input_of(name), len(streams))
        layer = FrozenLinear(
            FrozenWeight(base, compute_dtype), adapter, switches, stream=stream, decoder_layer=int(found[1]) if found else -1
        )
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, layer.train(module.training))
    return switches


def _input_of(name: str) -> tuple[str, ...]:
    """A name for what the layer of that path reads, one for all layers that read the same."""
    parent, _, last = name.rpartition(".")
    return parent, *next((siblings for siblings in SHARED_INPUTS if last in siblings), (last,))


def frozen_linears(model: Any) -> dict[str, FrozenLinear]:
    """Every FrozenLinear of the model by its path, those that read one input after each other."""
    found = {name: module for name, module in model.named_modules() if isinstance(module, FrozenLinear)}
    return dict(sorted(found.items(), key=lambda item: item[1].stream))


def mirror_layers(model: Any, count: int) -> None:
    """Mirror the quantised weights of the first `count` decoder layers, and join those that read one input."""
    together: dict[int, list[FrozenLinear]] = {}
    for layer in frozen_linears(model).values():
        if 0 <= layer.decoder_layer < count:
            together.setdefault(layer.stream, []).append(layer)
    for layers in together.values():
        if len(layers) > 1 and _joinable(layers):
            JoinedLinears(layers)
        else:
            for layer in layers:
                layer.frozen.mirror()


def _joinable(layers: list[FrozenLinear]) -> bool:
    """False where their adapters do not scale or drop alike, or compute in another dtype than the weights."""
    adapters = [layer.adapter for layer in layers if layer.adapter is not None]
    alike = len({(adapter.scaling, adapter.dropout) for adapter in adapters}) <= 1
    return alike and all(adapter.a_ri.dtype == layers[0].frozen.dtype for adapter in adapters)


def _peft_adapter(module: Any, dtype: torch.dtype) -> Adapter:
    (name,) = module.active_adapters
    dropout = module.lora_dropout[name]
    return Adapter(
        a_ri=module.lora_A[name].weight.data.to(dtype),
        b_or=module.lora_B[name].weight.data.to(dtype),
        scaling=float(module.scaling[name]),
        dropout=float(getattr(dropout, "p", 0.0)),
    )
