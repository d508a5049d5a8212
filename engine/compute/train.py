"""Training: the stage that trains adapters and saves them, and the loop itself, a generator of events.

The loop is plain torch. Accelerate is not used for it: one device, one process, our own packing, accumulation, seeding and
checkpoints leave it nothing to do but divide the loss by its own count of micro-steps. Nothing here emits: the caller does. It refuses
an optimizer step on a loss or gradient that is not finite, and to checkpoint weights that are not those of a completed step.
"""

import math
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import torch

from engine.compute import preflight
from engine.compute.adapter_bank import AdapterBank
from engine.compute.checkpoint import Checkpoint, CheckpointFolder, DevRecord, StepRecord, TrainerState
from engine.compute.checkpoint_writer import CheckpointWriter
from engine.compute.finish import Outcome, TrainedAdapter, finish_training
from engine.compute.gradients import BatchGradients
from engine.compute.host_copies import on_host
from engine.compute.loader import LoadedModel, load_clean_model
from engine.compute.lora import adapter_config_bytes, attach_lora
from engine.compute.memory import DeviceGauge, MemoryWatch
from engine.compute.optimizers import build_optimizer
from engine.compute.planned_model import carry_out
from engine.compute.planning import bytes_per_token, choose_compute_plan
from engine.compute.ran_out import told_and_kept
from engine.compute.resuming import changes_since, conditions_now, course_of
from engine.compute.training_set import TrainingSet, read_training_set
from engine.core.loss_spikes import WINDOW_STEPS, usual_before_spike
from engine.core.out_of_memory import is_out_of_memory
from engine.core.packing import StepPlan, plan_epochs, plan_rows, widest_to_come
from engine.core.planner import dev_row_tokens
from engine.core.schedule import learning_rate
from engine.protocol.errors import DisplacedError, NonFiniteLossError, StopRequested
from engine.protocol.events import (
    CheckpointFailed,
    DevEvaluated,
    Event,
    LossSpiked,
    PreflightMeasured,
    Rewound,
    StepTrained,
    TrainingPlanned,
    TrainingStoppedEarly,
    Warned,
)
from engine.protocol.plans import PlanEstimate
from engine.protocol.recoveries import Preflight
from engine.protocol.stage_context import StageContext

DEV_PER_EPOCH = 4


def train_stage(context: StageContext, *, gated_sha256: str | None = None) -> None:
    """Train the adapters of a run, from its newest whole checkpoint where there is one, and save them.

    `gated_sha256` is that of the dataset as the gates saw it: no other is trained on.

    Raises: ModelError, InputError, ConfigError; NonFiniteLossError; StopRequested once everything is on the disk.
    """
    loaded = load_clean_model(context.config, emit=context.emit)
    data = read_training_set(context.config, loaded, gated_sha256=gated_sha256)
    chosen = choose_compute_plan(context, loaded, data)
    model = attach_lora(loaded.model, context.config.train, context.config.run.seed)
    trainer = Trainer(context, loaded, model, data, chosen)
    context.emit(trainer.planned())
    for event in trainer.train():
        context.emit(event)
    finish_training(context, loaded, trainer.adapter(), data.source, trainer.outcome())


class Trainer:
    """The training loop of one model and one dataset; everything it will do is planned when it is made."""

    def __init__(self, context: StageContext, loaded: LoadedModel, model: Any, data: TrainingSet, chosen: PlanEstimate) -> None:
        self._context, self._loaded, self._model, self._data = context, loaded, model, data
        self._settings, self._seed = context.config.train, context.config.run.seed
        self._chosen, rows = chosen, (chosen.plan.row_tokens, chosen.plan.buckets)
        self._plans = plan_epochs(
            data.train.examples, seed=self._seed, epochs=self._settings.epochs, batch_examples=self._settings.batch_examples,
            row_tokens=rows[0], buckets=rows[1],
        )  # fmt: skip
        self._steps, self._widest_to_come = len(self._plans), widest_to_come(self._plans)
        planned = self._planned = carry_out(chosen.plan, model, compute_dtype=loaded.compute_dtype, emit=context.emit)
        self._dev_rows = plan_rows(range(len(data.dev.examples)), data.dev.examples, dev_row_tokens(planned.plan))
        self._bank = AdapterBank(model, adapter_dtype=planned.adapter_dtype)
        self._optimizer = build_optimizer(self._settings, [self._bank.master])
        self._graphs = planned.graph
        self._gradients = BatchGradients(planned, self._bank, device=loaded.device, pad_id=loaded.pad_id, seed=self._seed)
        self._loss = self._gradients.loss
        self._checkpoints = CheckpointFolder(
            context.run.checkpoints, course=course_of(context.config, loaded, examples_sha256=data.source.examples_sha256),
            keep=self._settings.keep_checkpoints,
        )  # fmt: skip
        self._writer = CheckpointWriter(self._checkpoints, self._settings)
        self._memory = MemoryWatch(DeviceGauge(loaded.device), bytes_per_token(context.config, loaded, chosen.plan))
        self._state = TrainerState()
        self._best: dict[str, torch.Tensor] | None = None
        # False while weights and moments are not those of a completed step
        self._whole = True

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
            row_tokens=self._chosen.plan.row_tokens,
            longest_row_tokens=self._widest_to_come[0],
            trainable_parameters=self._bank.parameters,
        )

    def adapter(self) -> TrainedAdapter:
        """The adapter as the model holds it now, in the form of its files."""
        return TrainedAdapter(self._bank.tensors(), adapter_config_bytes(self._model), self._bank.parameters)

    def outcome(self) -> Outcome:
        """How it went, once `train` is exhausted."""
        best = self._state.best_step
        adapter_step = self._state.step if best is None else best
        taken = msgspec.structs.replace(self._chosen, plan=self._planned.plan)
        return Outcome(self._state, self._steps, adapter_step, taken, self._memory.peak_bytes)

    def train(self) -> Iterator[Event]:
        """Resume, then step by step to the end or an early stop; the model then holds the adapter of the best dev loss.

        Raises: StopRequested, NonFiniteLossError and MemoryRanOutError, each after a checkpoint of the last good step.
        """
        ran_out = None
        try:
            yield from self._resume()
            yield from self._loop()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            # only its text, as the exception holds the tensors of every frame that it came through
            ran_out = str(error)
        finally:
            self._writer.join()
        if ran_out is not None:
            yield from self._ran_out(ran_out)
        yield from self._take_best()

    def _loop(self) -> Iterator[Event]:
        self._model.train()
        self._memory.begin()
        if self._graphs:
            self._capture()
        if self._state.step < self._steps and preflight.wanted(self._context.config.engine, self._loaded.device):
            yield self._preflight()
        yield from self._assess()
        while not self._state.ended:
            if self._context.stop_requested():
                yield from self._checkpoint()
                yield from self._writer.settle()
                raise StopRequested(self._state.step)
            yield from self._step(self._state.step + 1)
            yield from self._assess()
            yield from self._writer.finished()
        yield from self._writer.settle()

    def _assess(self) -> Iterator[Event]:
        """After a step, or after resuming one that was not assessed: dev loss, end of training, checkpoint."""
        improved = False
        if self._dev_due():
            evaluated = self._evaluate()
            improved = evaluated.best_step == evaluated.step
            yield evaluated
        self._settle_end()
        # the request is taken at every look, or one that came with a checkpoint that was due would be obeyed twice
        asked = self._context.take_checkpoint_request()
        if self._state.step and (asked or improved or self._writer.due(self._state)):
            yield from self._checkpoint()

    def _step(self, step: int) -> Iterator[Event]:
        """One optimizer step over one effective batch."""
        began_s = time.monotonic()
        self._memory.begin()
        plan = self._plans[step - 1]
        rate = learning_rate(step, steps=self._steps, peak=self._settings.lr, warmup_share=self._settings.warmup_share)
        loss, grad_norm = self._accumulate(plan, step)
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            self._bank.zero_grad()
            yield from self._checkpoint()
            yield from self._writer.settle()
            raise NonFiniteLossError(self._diagnosis(plan, step, rate, loss, grad_norm))
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._update()
        usual = usual_before_spike([record.loss for record in self._state.losses[-WINDOW_STEPS:]], loss)
        self._state.step = step
        self._state.losses.append(StepRecord(step, loss, rate, grad_norm))
        yield StepTrained(
            step=step, steps=self._steps, epoch=_shown(step * self._settings.epochs / self._steps), loss=_shown(loss),
            learning_rate=_shown(rate), grad_norm=_shown(grad_norm), tokens=plan.tokens, response_tokens=plan.response_tokens, micro_steps=len(plan.rows),
            elapsed_s=round(time.monotonic() - began_s, 4),
            memory=self._memory.after_step(plan.widest_row_tokens, self._widest_to_come[step] or None),
        )  # fmt: skip
        if usual is not None:
            yield LossSpiked(step=step, loss=_shown(loss), usual=_shown(usual))

    def _update(self) -> None:
        """The optimizer's step; one that fails half-way leaves weights that are never checkpointed."""
        self._whole = False
        self._optimizer.step()
        self._bank.zero_grad()
        self._bank.publish()
        self._whole = True

    def _capture(self) -> None:
        """A graph for each width of row, widest first; what the capture itself needs belongs to the peak of the widest row."""
        rows = [row for plan in self._plans for row in plan.rows]
        with preflight.randomness_kept(self._loaded.device):
            self._gradients.capture(rows, self._data.train.examples, self._context.emit)
        self._memory.measured(self._widest_to_come[0])

    def _preflight(self) -> PreflightMeasured:
        """Try the heaviest row to come, optimizer step included, and put everything back as a resume does."""
        began_s, before = time.monotonic(), self._snapshot()
        row = preflight.heaviest_row(row for plan in self._plans[self._state.step :] for row in plan.rows)
        with preflight.randomness_kept(self._loaded.device):
            self._accumulate(StepPlan((row,)), 0)
            self._update()
            if self._dev_rows:
                self._loss.mean([max(self._dev_rows, key=lambda row: row.width)], self._data.dev.examples)
        self._whole = False
        peak = self._memory.measured(row.width)
        self._put_back(before)
        self._whole = True
        measured = Preflight(
            tokens=row.width, predicted_peak_bytes=self._chosen.peak_bytes or None, measured_peak_bytes=peak,
            elapsed_s=round(time.monotonic() - began_s, 4),
        )  # fmt: skip
        return preflight.told(self._context.run, "train", measured)

    def _ran_out(self, text: str) -> Iterator[Event]:
        """Memory ran out: keep the completed step, tell it, and end so that the next worker takes a plan that needs less.

        Raises: MemoryRanOutError always.
        """
        try:
            # first, so that the checkpoint under way is told also where the device is of no use any more
            yield from self._writer.settle()
            self._bank.zero_grad()
            if self._loaded.device.type == "cuda":
                torch.cuda.empty_cache()
            if self._whole and self._state.step:
                yield from self._checkpoint()
            yield from self._writer.settle()
        except DisplacedError:
            raise
        except Exception as error:
            yield CheckpointFailed(step=self._state.step, reason=f"after memory ran out: {error}")
        yield from told_and_kept(
            self._context.run, stage="train", reason=text, step=self._state.step, plan=self._chosen.name,
            predicted_peak_bytes=self._chosen.peak_bytes,
        )  # fmt: skip

    def _accumulate(self, plan: StepPlan, step: int) -> tuple[float, float]:
        """Gradients of the mean loss over the batch's response tokens, clipped; returns that loss and the norm before clipping."""
        following = self._plans[step].rows[0] if step < self._steps else None
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
        state = self._state
        if not state.step or not self._dev_rows or (state.dev and state.dev[-1].step == state.step):
            return False
        if every := self._settings.dev_every_steps:
            return state.step % every == 0 or state.step == self._steps
        # evenly, so that the last reading is that of the last step
        readings = DEV_PER_EPOCH * self._settings.epochs
        return state.step * readings // self._steps > (state.step - 1) * readings // self._steps

    def _checkpoint(self) -> Iterator[Event]:
        """Begin to write a checkpoint of the state as it is, unless it is on the disk already; a failure is an event, not an end."""
        if not self._writer.has(self._state):
            self._context.check_ownership()
            # before the next snapshot is made, or there would be two of them in the host's memory
            yield from self._writer.settle()
            yield from self._writer.start(self._snapshot())

    def _snapshot(self) -> Checkpoint:
        state = self._state.copy()
        best = self._best if state.best_step != state.step else None
        return Checkpoint(
            state, self._bank.tensors(), on_host(self._optimizer.state_dict()), best, self._planned.plan,
            conditions_now(self._loaded),
            torch.get_num_threads(),
        )  # fmt: skip

    def _put_back(self, kept: Checkpoint) -> None:
        """Weights and moments as they were, in place."""
        self._bank.restore(kept.adapter)
        self._optimizer.load_state_dict(kept.optimizer)

    def _resume(self) -> Iterator[Event]:
        """Take up the newest whole checkpoint, if there is one."""
        began_before = self._context.run.checkpoints.is_dir()
        warnings: list[str] = []
        found = self._checkpoints.newest(warnings, self._fits)
        yield from (Warned(text=text) for text in warnings)
        if found is not None:
            yield from self._restore(found)
        self._context.run.checkpoints.mkdir(parents=True, exist_ok=True, mode=0o700)
        if began_before:
            yield Rewound(step=self._state.step)

    def _fits(self, found: Checkpoint) -> None:
        """Raises: ValueError where this training cannot take it up, whatever its hashes say."""
        for adapter in (found.adapter, found.best):
            if adapter is not None and {name: tuple(tensor.shape) for name, tensor in adapter.items()} != self._bank.shapes():
                raise ValueError("its adapter is of another model or rank")
        groups = [len(group["params"]) for group in found.optimizer["param_groups"]]
        if groups != [len(group["params"]) for group in self._optimizer.param_groups]:
            raise ValueError("its optimizer is of other parameters")
        if found.state.step > self._steps:
            raise ValueError(f"it is of step {found.state.step}, but training has {self._steps}")

    def _restore(self, found: Checkpoint) -> Iterator[Event]:
        self._put_back(found)
        self._state = found.state
        self._writer.resumed(found.state)
        if found.state.best_step is not None:
            self._best = found.adapter if found.best is None else found.best
        if changed := changes_since(found, self._planned.plan, self._loaded):
            self._state.exact = False
            yield Warned(text=f"the checkpoint of step {found.state.step} was written under another plan or other versions "
                              f"({'; '.join(changed)}); training goes on, but not to the last bit as if it had never stopped")  # fmt: skip

    def _take_best(self) -> Iterator[Event]:
        """Put the adapter of the best dev loss into the model, where there is a dev split."""
        best_step, best_loss = self._state.best_step, self._state.best_loss
        if self._best is None or best_step is None or best_loss is None:
            return
        if self._state.ended == "early":
            yield TrainingStoppedEarly(step=self._state.step, best_step=best_step, best_loss=best_loss)
        self._bank.restore(self._best)

    def _diagnosis(self, plan: StepPlan, step: int, rate: float, loss: float, grad_norm: float) -> str:
        names = [self._data.names[index] for row in plan.rows for index in row.examples]
        shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        return (
            f"step {step}: the loss is {loss} and the gradient norm {grad_norm} at learning rate {rate:.3g}, expected finite numbers; "
            f"the weights of step {step - 1} are kept; lower train.lr or look at this step's records: {shown}"
        )


def _shown(figure: float) -> float:
    """Seven digits: float32 has no more, and a day of steps must stay small. The checkpoint's history has all of them."""
    return float(f"{figure:.7g}")
