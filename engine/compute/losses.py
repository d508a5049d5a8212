"""The loss: cross-entropy of the response tokens, in nats.

Logits are only made where a token is learnt, and where the plan says so only for some of these at a time, with their gradient in the
same pass, so that tokens × vocabulary never exists. It refuses to average by itself: a row gives its sum, the caller divides by the response
tokens of the whole effective batch, so that how the batch is cut into rows changes nothing.
"""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional

from engine.compute.attention import masks_of
from engine.compute.batches import RowTensors, row_tensors
from engine.compute.small_functions import PLAIN, SmallFunctions
from engine.core.masking import IGNORED, Example
from engine.core.packing import RowPlan


class RowLoss:
    """Sums of nats over packed rows for one model.

    `segments` rows are attended by their segments' lengths, else through a mask. `chunk_tokens` > 0 limits how many positions have
    their logits at once; the model is then asked for hidden states and its head applied here, with `functions`.
    """

    def __init__(
        self, model: Any, *, device: torch.device, pad_id: int, segments: bool = False, chunk_tokens: int = 0,
        functions: SmallFunctions = PLAIN,
    ) -> None:  # fmt: skip
        self._model = model
        self._base = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._keeps = "logits_to_keep" in inspect.signature(self._base.forward).parameters
        self._device, self._pad_id = device, pad_id
        self._segments, self._chunk_tokens, self._functions = segments, chunk_tokens, functions

    def __call__(self, row: RowPlan, examples: Sequence[Example]) -> torch.Tensor:
        """Sum over the row's response tokens, differentiable, fp32."""
        return self.of(self.tensors(row, examples))

    def tensors(self, row: RowPlan, examples: Sequence[Example]) -> RowTensors:
        """The row on the device, its segments kept apart in this model's way."""
        return row_tensors(row, examples, pad_id=self._pad_id, device=self._device, segments=self._segments)

    def of(self, row: RowTensors) -> torch.Tensor:
        """As a call, for a row that is on the device already. Targets of −100 count nothing."""
        if not self._chunk_tokens:
            return functional.cross_entropy(self.logits(row).float(), row.targets_k, ignore_index=IGNORED, reduction="sum")
        hidden_kh = self._body(self._base.get_decoder(), row).last_hidden_state.squeeze(0).index_select(0, row.predictors_k)
        head = self._base.get_output_embeddings()
        total: torch.Tensor = _ChunkedCrossEntropy.apply(
            hidden_kh, head.weight, row.targets_k, self._chunk_tokens, self._functions, torch.is_grad_enabled()
        )
        return total

    def logits(self, row: RowTensors) -> torch.Tensor:
        """Logits (k, vocabulary) at the positions whose next token is learnt."""
        out = self._body(self._base, row, **({"logits_to_keep": row.predictors_k} if self._keeps else {}))
        logits: torch.Tensor = out.logits[0]
        return logits if self._keeps else logits[row.predictors_k]

    def _body(self, module: Any, row: RowTensors, **more: Any) -> Any:
        if row.ends is not None:
            more |= {
                "cu_seq_lens_q": row.ends,
                "cu_seq_lens_k": row.ends,
                "max_length_q": row.longest,
                "max_length_k": row.longest,
            }
            mask: Any = masks_of(self._base, None)
        else:
            mask = row.mask_11tt
        return module(input_ids=row.ids_1t, position_ids=row.positions_1t, attention_mask=mask, use_cache=False, **more)

    def mean(self, rows: Sequence[RowPlan], examples: Sequence[Example]) -> float:
        """Mean nats a response token over all rows, without dropout and without gradients; the model's mode is as before."""
        with _evaluating(self._model), torch.no_grad():
            total = sum(self(row, examples).item() for row in rows)
        return total / sum(row.response_tokens for row in rows)


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Σ −log softmax(h Wᵀ)[target] over k positions, the gradient of h made with it; W is frozen.

    Shapes: k positions, h hidden, v vocabulary.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden_kh: torch.Tensor, head_vh: torch.Tensor, targets_k: torch.Tensor, chunk_tokens: int,
        functions: SmallFunctions, wants_grad: bool,
    ) -> torch.Tensor:  # fmt: skip
        total = torch.zeros((), device=hidden_kh.device)
        grad_kh = torch.empty_like(hidden_kh) if wants_grad else None
        for start in range(0, hidden_kh.shape[0], chunk_tokens):
            part = slice(start, start + chunk_tokens)
            targets_k1 = targets_k[part].unsqueeze(1)
            counts_k1, places_k1 = targets_k1 != IGNORED, targets_k1.clamp(min=0)
            logits_kv = hidden_kh[part].to(head_vh.dtype) @ head_vh.t()
            norms_k1 = functions.log_norms(logits_kv)
            total += ((norms_k1 - logits_kv.gather(1, places_k1)) * counts_k1).sum()
            if grad_kh is not None:
                grad_kh[part] = (functions.logit_gradients(logits_kv, norms_k1, places_k1, counts_k1) @ head_vh).to(grad_kh.dtype)
        if grad_kh is not None:
            ctx.save_for_backward(grad_kh)
        return total

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (grad_kh,) = ctx.saved_tensors
        return (grad_kh * grad).to(grad_kh.dtype), None, None, None, None, None


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
