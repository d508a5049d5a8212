"""Training: the stage that trains adapters and saves them, and the loop itself, a generator of events.

The loop is plain torch. Accelerate is not used for it: one device, one process, our own packing, accumulation, seeding and
checkpoints leave it nothing to do but divide the loss by its own count of micro-steps. Nothing here emits: the caller does. It refuses
an optimizer step on a loss or gradient that is not finite.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import torch

from engine.compute.adapter_bank import AdapterBank
from engine.compute.checkpoint import Checkpoint, CheckpointFolder, DevRecord, StepRecord, TrainerState
from engine.compute.finish import TrainedAdapter, finish_training
from engine.compute.gradients import BatchGradients
from engine.compute.libraries import versions
from engine.compute.loader import LoadedModel, load_clean_model
from engine.compute.lora import adapter_config_bytes, attach_lora
from engine.compute.memory import memory_now
from engine.compute.optimizers import build_optimizer
from engine.compute.planned_model import carry_out
from engine.compute.training_set import TrainingSet, read_training_set
from engine.core.packing import EpochPlan, StepPlan, plan_epoch, plan_rows, steps_per_epoch
from engine.core.schedule import learning_rate
from engine.protocol.errors import DiskFullError, NonFiniteLossError, StopRequested
from engine.protocol.events import (
    CheckpointFailed,
    CheckpointWritten,
    DevEvaluated,
    Event,
    Rewound,
    StepTrained,
    TrainingPlanned,
    TrainingStoppedEarly,
    Warned,
)
from engine.protocol.plans import ComputePlan
from engine.protocol.stage_context import StageContext
from engine.store.hashes import digest

CHECKPOINT_EVERY_S = 300.0
DEV_PER_EPOCH = 4


def train_stage(context: StageContext, *, gated_sha256: str | None = None) -> None:
    """Train the adapters of a run, from its newest whole checkpoint where there is one, and save them.

    `gated_sha256` is that of the dataset as the gates saw it: no other is trained on.

    Raises: ModelError, InputError, ConfigError; NonFiniteLossError; StopRequested once everything is on the disk.
    """
    loaded = load_clean_model(context.config, emit=context.emit)
    data = read_training_set(context.config, loaded, gated_sha256=gated_sha256)
    model = attach_lora(loaded.model, context.config.train, context.config.run.seed)
    trainer = Trainer(context, loaded, model, data)
    context.emit(trainer.planned())
    for event in trainer.train():
        context.emit(event)
    finish_training(context, loaded, trainer.adapter(), data.source, trainer.outcome())


@dataclass(frozen=True)
class Outcome:
    """How the loop ended: its last state, the steps that were planned, and the step whose adapter is in the model."""

    state: TrainerState
    steps: int
    adapter_step: int


@dataclass
class _Saved:
    """When the last checkpoint was written, by step and clock."""

    step: int = 0
    ended: str = ""
    at_s: float = field(default_factory=time.monotonic)


class Trainer:
    """The training loop of one model and one dataset; everything it will do is planned when it is made."""

    def __init__(self, context: StageContext, loaded: LoadedModel, model: Any, data: TrainingSet) -> None:
        self._context, self._loaded, self._model, self._data = context, loaded, model, data
        self._settings, self._seed = context.config.train, context.config.run.seed
        self._row_tokens = max(self._settings.row_tokens, self._settings.max_seq_len)
        compute_plan = ComputePlan(row_tokens=self._row_tokens)
        self._plans = self._plan_epochs()
        self._steps = sum(len(plan.steps) for plan in self._plans)
        self._dev_rows = plan_rows(range(len(data.dev.examples)), data.dev.examples, self._row_tokens)
        planned = carry_out(compute_plan, model, compute_dtype=loaded.compute_dtype, emit=context.emit)
        self._bank = AdapterBank(model, adapter_dtype=planned.adapter_dtype)
        self._optimizer = build_optimizer(self._settings, [self._bank.master])
        self._gradients = BatchGradients(planned, self._bank, device=loaded.device, pad_id=loaded.pad_id, seed=self._seed)
        self._loss = self._gradients.loss
        self._checkpoints = CheckpointFolder(context.run.checkpoints, digest=self._digest(), keep=self._settings.keep_checkpoints)
        self._state, self._saved = TrainerState(), _Saved()
        self._best: dict[str, torch.Tensor] | None = None

    def planned(self) -> TrainingPlanned:
        """What `train` will do."""
        return TrainingPlanned(
            examples=len(self._data.train.examples),
            dev_examples=len(self._data.dev.examples),
            dropped=self._data.source.dropped,
            truncated=self._data.source.truncated,
            tokens=self._data.train.tokens,
            response_tokens=self._data.train.response_tokens,
            steps=self._steps,
            epochs=self._settings.epochs,
            row_tokens=self._row_tokens,
            longest_row_tokens=max(plan.longest_row_tokens for plan in self._plans),
            trainable_parameters=self._bank.parameters,
        )

    def adapter(self) -> TrainedAdapter:
        """The adapter as the model holds it now, in the form of its files."""
        return TrainedAdapter(self._bank.tensors(), adapter_config_bytes(self._model), self._bank.parameters)

    def outcome(self) -> Outcome:
        """How it went, once `train` is exhausted."""
        best = self._state.best_step
        return Outcome(self._state, self._steps, self._state.step if best is None else best)

    def train(self) -> Iterator[Event]:
        """Resume, then step by step to the end or an early stop; the model then holds the adapter of the best dev loss.

        Raises: StopRequested and NonFiniteLossError, both after a checkpoint of the last good step.
        """
        yield from self._resume()
        self._model.train()
        while not self._state.ended:
            if self._context.stop_requested():
                yield from self._checkpoint()
                raise StopRequested(self._state.step)
            yield from self._step(self._state.step + 1)
            improved = False
            if self._dev_due():
                evaluated = self._evaluate()
                improved = evaluated.best_step == evaluated.step
                yield evaluated
            self._settle_end()
            if self._checkpoint_due() or improved:
                yield from self._checkpoint()
        yield from self._take_best()

    def _step(self, step: int) -> Iterator[Event]:
        """One optimizer step over one effective batch."""
        began_s = time.monotonic()
        plan = self._plan(step)
        rate = learning_rate(step, steps=self._steps, peak=self._settings.lr, warmup_share=self._settings.warmup_share)
        loss, grad_norm = self._accumulate(plan, step)
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            self._bank.zero_grad()
            yield from self._checkpoint()
            raise NonFiniteLossError(self._diagnosis(plan, step, rate, loss, grad_norm))
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._bank.zero_grad()
        self._bank.publish()
        self._state.step = step
        self._state.losses.append(StepRecord(step, loss, rate, grad_norm))
        yield StepTrained(
            step=step, steps=self._steps, epoch=step * self._settings.epochs / self._steps, loss=loss, learning_rate=rate,
            grad_norm=grad_norm, tokens=plan.tokens, response_tokens=plan.response_tokens, micro_steps=len(plan.rows),
            elapsed_s=round(time.monotonic() - began_s, 4), memory=memory_now(self._loaded.device),
        )  # fmt: skip

    def _accumulate(self, plan: StepPlan, step: int) -> tuple[float, float]:
        """Gradients of the mean loss over the batch's response tokens, clipped; returns that loss and the norm before clipping."""
        following = self._plan(step + 1).rows[0] if step < self._steps else None
        total = self._gradients.of(plan, self._data.train.examples, step, following)
        norm = torch.nn.utils.clip_grad_norm_([self._bank.master], self._settings.max_grad_norm)
        loss, grad_norm = torch.stack([total, norm]).tolist()
        return loss, grad_norm

    def _evaluate(self) -> DevEvaluated:
        """Dev loss now; where it is the best so far the adapter is remembered."""
        state = self._state
        loss = self._loss.mean(self._dev_rows, self._data.dev.examples)
        if not math.isfinite(loss):
            raise NonFiniteLossError(
                f"step {state.step}: the dev loss is {loss}, expected a finite number; the checkpoints before it are kept; lower train.lr"
            )
        state.dev.append(DevRecord(state.step, loss))
        if state.best_loss is None or loss < state.best_loss:
            state.best_step, state.best_loss, state.waited = state.step, loss, 0
            self._best = self._bank.tensors()
        else:
            state.waited += 1
        patience = self._settings.patience
        return DevEvaluated(
            step=state.step, loss=loss, best_loss=state.best_loss, best_step=state.best_step or 0,
            patience_left=max(0, patience - state.waited) if patience else None,
        )  # fmt: skip

    def _settle_end(self) -> None:
        state, patience = self._state, self._settings.patience
        if state.step >= self._steps:
            state.ended = "complete"
        elif patience and state.waited >= patience:
            state.ended = "early"

    def _dev_due(self) -> bool:
        every = self._settings.dev_every_steps or max(1, round(len(self._plans[0].steps) / DEV_PER_EPOCH))
        return bool(self._dev_rows) and (self._state.step % every == 0 or self._state.step == self._steps)

    def _checkpoint_due(self) -> bool:
        every = self._settings.checkpoint_every_steps
        by_time = time.monotonic() - self._saved.at_s >= CHECKPOINT_EVERY_S
        due = self._state.step % every == 0 if every else by_time
        return self._context.take_checkpoint_request() or due or bool(self._state.ended)

    def _checkpoint(self) -> Iterator[Event]:
        """Write a checkpoint of the state as it is, unless it is on the disk already; a failure is an event, not an end."""
        state, began_s = self._state, time.monotonic()
        if (state.step, state.ended) == (self._saved.step, self._saved.ended):
            return
        self._context.check_ownership()
        best = self._best if state.best_step != state.step else None
        try:
            written = self._checkpoints.write(
                Checkpoint(state, self._bank.tensors(), self._optimizer.state_dict(), best, versions(), torch.get_num_threads())
            )
        except (DiskFullError, OSError) as error:
            self._saved.at_s = time.monotonic()
            yield CheckpointFailed(step=state.step, reason=str(error))
            return
        self._saved = _Saved(state.step, state.ended)
        yield CheckpointWritten(
            step=state.step, path=str(written.path), size_bytes=written.size_bytes,
            elapsed_s=round(time.monotonic() - began_s, 4), kept=written.kept,
        )  # fmt: skip

    def _resume(self) -> Iterator[Event]:
        """Take up the newest whole checkpoint, if there is one."""
        began_before = self._context.run.checkpoints.is_dir()
        warnings: list[str] = []
        found = self._checkpoints.newest(warnings)
        yield from (Warned(text=text) for text in warnings)
        if found is not None:
            yield from self._restore(found)
        self._context.run.checkpoints.mkdir(parents=True, exist_ok=True, mode=0o700)
        if began_before:
            yield Rewound(step=self._state.step)

    def _restore(self, found: Checkpoint) -> Iterator[Event]:
        self._bank.restore(found.adapter)
        self._optimizer.load_state_dict(found.optimizer)
        self._state, self._saved = found.state, _Saved(found.state.step, found.state.ended)
        if found.state.best_step is not None:
            self._best = found.adapter if found.best is None else found.best
        now = versions() | {"threads": str(torch.get_num_threads())}
        before = found.versions | {"threads": str(found.threads)}
        changed = [f"{name} {before.get(name, 'absent')} → {now.get(name, 'absent')}" for name in sorted(now | before)
                   if now.get(name) != before.get(name)]  # fmt: skip
        if changed:
            self._state.exact = False
            yield Warned(text=f"the checkpoint of step {found.state.step} was written with other versions ({'; '.join(changed)}); "
                              "training goes on, but not to the last bit as if it had never stopped")  # fmt: skip

    def _take_best(self) -> Iterator[Event]:
        """Put the adapter of the best dev loss into the model, where there is a dev split."""
        best_step, best_loss = self._state.best_step, self._state.best_loss
        if self._best is None or best_step is None or best_loss is None:
            return
        if self._state.ended == "early":
            yield TrainingStoppedEarly(step=self._state.step, best_step=best_step, best_loss=best_loss)
        self._bank.restore(self._best)

    def _plan_epochs(self) -> tuple[EpochPlan, ...]:
        return tuple(
            plan_epoch(
                self._data.train.examples, seed=self._seed, epoch=epoch, batch_examples=self._settings.batch_examples,
                row_tokens=self._row_tokens,
            )
            for epoch in range(self._settings.epochs)
        )  # fmt: skip

    def _plan(self, step: int) -> StepPlan:
        epoch, place = divmod(step - 1, steps_per_epoch(len(self._data.train.examples), self._settings.batch_examples))
        return self._plans[epoch].steps[place]

    def _digest(self) -> str:
        """Content hash of everything that decides the course of training, besides versions, threads and the device."""
        loaded, unimportant = self._loaded.provenance, {"keep_checkpoints": 0, "checkpoint_every_steps": 0}
        return digest(
            {
                "train": msgspec.to_builtins(self._settings) | unimportant,
                "seed": self._seed,
                "model": {file.name: file.sha256 for file in loaded.files},
                "arithmetic": [loaded.quantization, loaded.compute_dtype],
                "tokens": [loaded.end_id, loaded.pad_id],
                "examples": self._data.source.examples_sha256,
            }
        )

    def _diagnosis(self, plan: StepPlan, step: int, rate: float, loss: float, grad_norm: float) -> str:
        names = [self._data.names[index] for row in plan.rows for index in row.examples]
        shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        return (
            f"step {step}: the loss is {loss} and the gradient norm {grad_norm} at learning rate {rate:.3g}, expected finite numbers; "
            f"the weights of step {step - 1} are kept; lower train.lr or look at this step's records: {shown}"
        )
