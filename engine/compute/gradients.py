"""The gradients of one effective batch: its rows run forward and backward, one by one or as replays of CUDA graphs, summed in fp32.

The loss is averaged over the response tokens of the whole batch, however it is cut into rows, and each micro-step's dropout is drawn from (seed,
step, micro-step). It refuses to step: the optimizer is the caller's.
"""

from collections.abc import Sequence
from typing import Any

import torch

from engine.compute.adapter_bank import AdapterBank
from engine.compute.batches import RowTensors
from engine.compute.losses import RowLoss
from engine.compute.planned_model import Emit, PlannedModel
from engine.compute.row_graphs import HostRow, RowGraphs, bucket_sizes
from engine.core.masking import Example
from engine.core.out_of_memory import is_out_of_memory
from engine.core.packing import RowPlan, StepPlan
from engine.core.schedule import micro_seed
from engine.protocol.events import FastPathFellBack


class BatchGradients:
    """Runs effective batches for one planned model and its adapters."""

    def __init__(self, planned: PlannedModel, bank: AdapterBank, *, device: torch.device, pad_id: int, seed: int) -> None:
        self._planned, self._bank, self._device, self._pad_id, self._seed = planned, bank, device, pad_id, seed
        self.loss = RowLoss(
            planned.model, device=device, pad_id=pad_id, segments=planned.segments, chunk_tokens=planned.chunk_tokens,
            functions=planned.functions,
        )  # fmt: skip
        self._graphs: RowGraphs | None = None
        self._ready: tuple[RowPlan, HostRow] | None = None

    def capture(self, rows: Sequence[RowPlan], examples: Sequence[Example], emit: Emit) -> None:
        """Capture a graph for each width among `rows`, all of them that training will run over these examples.

        Where that fails for another reason than memory, rows are launched kernel by kernel, and an event says so.
        """
        graphs = RowGraphs(
            self._row,
            bucket_sizes(rows, examples),
            device=self._device,
            segments=self._planned.segments,
            pad_id=self._pad_id,
        )
        try:
            graphs.capture()
            self._bank.capture()
            self._graphs = graphs
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            reason = str(error).partition("\n")[0][:160]
            emit(FastPathFellBack(path="CUDA graph", reason=reason, instead="kernels are launched one by one"))
        self._bank.zero_grad()

    def of(self, plan: StepPlan, examples: Sequence[Example], step: int, following: RowPlan | None = None) -> torch.Tensor:
        """The mean loss (nats a response token, a scalar on the device); the gradients are in the bank's master.

        `following` is the row after this batch, prepared while the device works.
        """
        total = torch.zeros((), device=self._device)
        upcoming = [*plan.rows[1:], following]
        for micro_step, (row, after) in enumerate(zip(plan.rows, upcoming, strict=True)):
            number = micro_seed(self._seed, step, micro_step)
            # torch's own generator is set too: a model may have dropout of its own
            torch.manual_seed(number)
            self._planned.switches.seed.set(number)
            total += self._run(row, examples, 1.0 / plan.response_tokens, after)
        return total

    def _run(self, row: RowPlan, examples: Sequence[Example], scale: float, after: RowPlan | None) -> torch.Tensor:
        if self._graphs is None:
            tensors = self.loss.tensors(row, examples)
            return self._row(tensors, torch.full((), scale, device=self._device))
        host = self._ready[1] if self._ready is not None and self._ready[0] is row else self._graphs.prepared(row, examples)
        loss = self._graphs.replay(host, scale)
        self._ready = None if after is None else (after, self._graphs.prepared(after, examples))
        return loss

    def _row(self, row: RowTensors, scale: torch.Tensor) -> torch.Tensor:
        """One row forward and backward, its gradients added to the master's; the scaled loss."""
        loss: Any = self.loss.of(row) * scale
        loss.backward()
        self._bank.collect()
        return loss.detach()
