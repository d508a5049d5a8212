"""The linear layers of the model as sluice runs them: a frozen weight, nf4 or its bf16 mirror, with or without an adapter on top.

One autograd function a layer computes y = x Wᵀ + bias + s·(drop(x) Aᵀ) Bᵀ and its gradients by hand: the adapter's product is added in
the epilogue of the matrix product, a quantised weight is dequantised where it is needed and never kept, dropout stores no mask where
its kernel can draw it again, and the gradients of A and B go straight into the bank's buffers. It refuses to train W, and keeps its
numbers equal to those of peft's layer but for rounding.

Shapes, as suffixes: n rows (tokens), i inputs, o outputs, r rank.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from engine.compute.dropout import DropoutSeed, add_dropped_, dropped, keep_mask, kernels_available
from engine.compute.libraries import bitsandbytes

_LAYER = re.compile(r"\.layers\.(\d+)\.")


class FrozenWeight:
    """A weight (o, i) that is never trained: dense, or nf4 that is dequantised at each use until it is mirrored."""

    def __init__(self, layer: nn.Module, compute_dtype: torch.dtype) -> None:
        weight: Any = layer.weight
        bias: Any = layer.bias
        self.bias = None if bias is None else bias.data.to(compute_dtype)
        self._dtype = compute_dtype
        quantized = isinstance(layer, bitsandbytes.nn.Linear4bit)
        self._quantized: torch.Tensor | None = weight.data if quantized else None
        self._state: Any = weight.quant_state if quantized else None
        self._dense: torch.Tensor | None = None if quantized else weight.data
        shaped: Any = self._state if quantized else weight
        self.shape: tuple[int, int] = tuple(shaped.shape)

    def dense(self) -> torch.Tensor:
        """The weight (o, i) in the compute dtype."""
        if self._dense is not None:
            return self._dense if self._dense.dtype == self._dtype else self._dense.to(self._dtype)
        return bitsandbytes.functional.dequantize_4bit(self._quantized, self._state).to(self._dtype)

    @property
    def mirrored(self) -> bool:
        """True where the dense weight is held."""
        return self._dense is not None

    def mirror(self) -> None:
        """Hold the dequantised weight in place of the nf4 one: the same numbers to the bit."""
        self._dense, self._quantized, self._state = self.dense().contiguous(), None, None


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
    """What all layers of one model share: the dropout's seed, and whether adapters are on."""

    def __init__(self, device: torch.device) -> None:
        self.seed = DropoutSeed(device)
        self.adapters_on = True

    @contextmanager
    def adapters_off(self) -> Iterator[None]:
        """The base model's answers, inside."""
        self.adapters_on = False
        try:
            yield
        finally:
            self.adapters_on = True


class FrozenLinear(nn.Module):
    """A linear layer with a frozen weight and perhaps an adapter; `stream` tells its dropout masks from other layers'."""

    def __init__(
        self, weight: FrozenWeight, adapter: Adapter | None, switches: Switches, *, stream: int, decoder_layer: int
    ) -> None:
        super().__init__()
        self.frozen, self.adapter, self.switches = weight, adapter, switches
        self.stream, self.decoder_layer = stream, decoder_layer
        self.out_features, self.in_features = weight.shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, i) → (…, o)."""
        adapter = self.adapter if self.switches.adapters_on else None
        if torch.is_grad_enabled():
            marks = () if adapter is None else (adapter.a_ri, adapter.b_or)
            product: torch.Tensor = _Product.apply(x, self, adapter, self.training, *marks)
            return product
        rows = x.reshape(-1, self.in_features)
        out, _, _ = _forward(rows, self, adapter, training=False)
        return out.view(*x.shape[:-1], self.out_features)


def _forward(
    rows_ni: torch.Tensor, layer: FrozenLinear, adapter: Adapter | None, *, training: bool
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """(n, o) outputs, the adapter's inner product (n, r), and the dropout mask where it has to be kept."""
    out_no = functional.linear(rows_ni, layer.frozen.dense(), layer.frozen.bias)
    if adapter is None:
        return out_no, None, None
    kept_ni, mask = rows_ni, None
    if training and adapter.dropout:
        if kernels_available(rows_ni.device):
            kept_ni = dropped(rows_ni, layer.switches.seed, layer.stream, adapter.dropout)
        else:
            mask = keep_mask(rows_ni, layer.switches.seed, layer.stream, adapter.dropout)
            kept_ni = rows_ni * mask
    inner_nr = kept_ni.to(adapter.a_ri.dtype) @ adapter.a_ri.t()
    if inner_nr.dtype == out_no.dtype:
        out_no.addmm_(inner_nr, adapter.b_or.t(), alpha=adapter.scaling)
    else:
        out_no += ((inner_nr @ adapter.b_or.t()) * adapter.scaling).to(out_no.dtype)
    return out_no, inner_nr, mask


class _Product(torch.autograd.Function):
    """The layer with its gradients. A and B are arguments only so that autograd sees that the output needs one."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, layer: FrozenLinear, adapter: Adapter | None, training: bool, *_: torch.Tensor
    ) -> torch.Tensor:
        rows_ni = x.reshape(-1, layer.in_features)
        out_no, inner_nr, mask = _forward(rows_ni, layer, adapter, training=training)
        ctx.layer, ctx.adapter, ctx.training = layer, adapter, training
        ctx.save_for_backward(*(tensor for tensor in (rows_ni, inner_nr, mask) if tensor is not None and adapter is not None))
        return out_no.view(*x.shape[:-1], layer.out_features)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        layer, adapter = ctx.layer, ctx.adapter
        grad_no = grad.reshape(-1, layer.out_features)
        into_ni = grad_no @ layer.frozen.dense() if ctx.needs_input_grad[0] else None
        if adapter is not None:
            _adapter_backward(ctx, grad_no, into_ni)
        shaped = None if into_ni is None else into_ni.view(*grad.shape[:-1], layer.in_features)
        return (shaped, None, None, None, *(None for _ in ctx.needs_input_grad[4:]))


def _adapter_backward(ctx: Any, grad_no: torch.Tensor, into_ni: torch.Tensor | None) -> None:
    """Gradients of A and B into their buffers (overwritten), and the adapter's part of the input's gradient into `into_ni`."""
    layer, adapter = ctx.layer, ctx.adapter
    rows_ni, inner_nr, *kept = ctx.saved_tensors
    mask = kept[0] if kept else None
    drops = ctx.training and adapter.dropout and mask is None
    seed, dtype = layer.switches.seed, adapter.a_ri.dtype
    grad_no = grad_no.to(dtype)
    inner_grad_nr = (grad_no @ adapter.b_or).mul_(adapter.scaling)
    kept_ni = dropped(rows_ni, seed, layer.stream, adapter.dropout) if drops else rows_ni if mask is None else rows_ni * mask
    torch.mm(grad_no.t(), inner_nr.mul(adapter.scaling), out=adapter.grad_b_or)
    torch.mm(inner_grad_nr.t(), kept_ni.to(dtype), out=adapter.grad_a_ri)
    if into_ni is None:
        return
    if drops:
        add_dropped_(into_ni, (inner_grad_nr @ adapter.a_ri).to(into_ni.dtype), seed, layer.stream, adapter.dropout)
    elif mask is not None:
        into_ni.addcmul_((inner_grad_nr @ adapter.a_ri).to(into_ni.dtype), mask)
    elif into_ni.dtype == dtype:
        into_ni.addmm_(inner_grad_nr, adapter.a_ri)
    else:
        into_ni += (inner_grad_nr @ adapter.a_ri).to(into_ni.dtype)


def install_linears(model: Any, *, compute_dtype: torch.dtype, adapter_dtype: torch.dtype) -> Switches:
    """Put a FrozenLinear in the place of every quantised or adapted linear layer of the decoder; returns what they share.

    Adapters that peft attached keep their tensors (cast to `adapter_dtype`); whoever trains gives them gradient buffers: `AdapterBank`.
    """
    switches = Switches(model.device)
    stream = 0
    for name, module in list(model.named_modules()):
        if hasattr(module, "base_layer") and hasattr(module, "lora_A"):
            base, adapter = module.base_layer, _peft_adapter(module, adapter_dtype)
        elif isinstance(module, bitsandbytes.nn.Linear4bit) and not name.endswith(".base_layer"):
            base, adapter = module, None
        else:
            continue
        found = _LAYER.search(f".{name}.")
        layer = FrozenLinear(
            FrozenWeight(base, compute_dtype), adapter, switches, stream=stream, decoder_layer=int(found[1]) if found else -1
        )
        stream += 1
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, layer.train(module.training))
    return switches


def frozen_linears(model: Any) -> dict[str, FrozenLinear]:
    """Every FrozenLinear of the model by its path."""
    return {name: module for name, module in model.named_modules() if isinstance(module, FrozenLinear)}


def mirror_layers(model: Any, count: int) -> None:
    """Mirror the quantised weights of the first `count` decoder layers, one weight at a time."""
    for layer in frozen_linears(model).values():
        if 0 <= layer.decoder_layer < count:
            layer.frozen.mirror()


def _peft_adapter(module: Any, dtype: torch.dtype) -> Adapter:
    (name,) = module.active_adapters
    dropout = module.lora_dropout[name]
    return Adapter(
        a_ri=module.lora_A[name].weight.data.to(dtype),
        b_or=module.lora_B[name].weight.data.to(dtype),
        scaling=float(module.scaling[name]),
        dropout=float(getattr(dropout, "p", 0.0)),
    )
