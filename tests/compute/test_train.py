"""The training loop on a real tiny model: it learns, keeps the best, stops where it must and goes on as if it had not."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import load_file

from engine.compute import resuming
from engine.compute import train as training
from engine.compute.gradients import BatchGradients
from engine.compute.loader import load_clean_model
from engine.compute.lora import attach_lora
from engine.compute.losses import RowLoss
from engine.compute.train import Trainer, read_training_set, train_stage
from engine.core.planner import plain_plan
from engine.protocol.config import Config, DataTable
from engine.protocol.errors import ConfigError, DisplacedError, InputError, NonFiniteLossError, StopRequested
from engine.protocol.events import (
    AdapterSaved,
    CheckpointWritten,
    DevEvaluated,
    LossSpiked,
    Rewound,
    StepTrained,
    TrainingPlanned,
    TrainingStoppedEarly,
    Warned,
)
from engine.protocol.plans import PlanEstimate
from engine.protocol.provenance import TrainingManifest
from engine.store.hashes import sha256_file
from engine.store.stages import stage_complete

pytestmark = pytest.mark.usefixtures("copies_of_loaded_models")

Contexts = Callable[..., Any]


def story(context: Any) -> list[tuple[int, float, float, float]]:
    return [(event.step, event.loss, event.learning_rate, event.grad_norm) for event in context.of(StepTrained)]


def adapter(context: Any) -> bytes:
    return bytes((context.run.adapter / "adapter_model.safetensors").read_bytes())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return {}


def reference(undisturbed: dict[str, Any], context_of: Contexts) -> Any:
    """The same short run, never stopped; made once."""
    if "context" not in undisturbed:
        context = context_of("undisturbed", epochs=2)
        train_stage(context)
        undisturbed.update(context=context, adapter=adapter(context))
    return undisturbed["context"]


def test_it_learns_and_leaves_everything_behind(undisturbed: dict[str, Any], context_of: Contexts) -> None:
    context = reference(undisturbed, context_of)
    (planned,) = context.of(TrainingPlanned)
    steps = context.of(StepTrained)
    assert planned.steps == len(steps) == steps[-1].step
    assert planned.examples + planned.dev_examples == 60
    assert sum(step.response_tokens for step in steps) == 2 * planned.response_tokens
    assert sum(step.tokens for step in steps) == 2 * planned.tokens
    assert steps[-1].epoch == 2.0
    assert context.of(DevEvaluated)[-1].loss < context.of(DevEvaluated)[0].loss - 0.3
    assert stage_complete(context.run, "train")
    (saved,) = context.of(AdapterSaved)
    assert saved.sha256 == sha256_file(context.run.adapter / "adapter_model.safetensors")
    manifest = msgspec.json.decode(context.run.training_manifest.read_bytes(), type=TrainingManifest)
    assert manifest.adapter_sha256 == saved.sha256 and manifest.outcome.exact and manifest.outcome.ended == "complete"
    assert manifest.dataset.examples == planned.examples and manifest.dataset.sha256
    assert [Path(path).is_dir() for path in manifest.checkpoints] == [True] * len(manifest.checkpoints)
    assert not context.of(Rewound)
    assert {path.stat().st_mode & 0o777 for path in context.run.adapter.iterdir()} == {0o600}


def test_the_adapter_s_files_are_canonical(undisturbed: dict[str, Any], context_of: Contexts) -> None:
    context = reference(undisturbed, context_of)
    text = (context.run.adapter / "adapter_config.json").read_text()
    found = json.loads(text)
    assert list(found) == sorted(found) and found["target_modules"] == sorted(found["target_modules"])
    assert found["inference_mode"] is True and (found["r"], found["lora_alpha"]) == (16, 16.0)
    tensors = load_file(context.run.adapter / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" in tensors


def test_the_adapter_loads_for_inference_and_can_be_switched_off(undisturbed: dict[str, Any], context_of: Contexts) -> None:
    context = reference(undisturbed, context_of)
    plain = load_clean_model(context.config, emit=lambda _: None)
    adapted = load_clean_model(context.config, emit=lambda _: None, adapter=context.run.adapter)
    ids = torch.arange(3, 40).unsqueeze(0)
    with torch.no_grad():
        base, tuned = plain.model(input_ids=ids).logits, adapted.model(input_ids=ids).logits
        with adapted.model.disable_adapter():
            off = adapted.model(input_ids=ids).logits
    assert torch.equal(base, off)
    assert (base - tuned).abs().max() > 0.1
    data = read_training_set(context.config, adapted)
    best = min(event.loss for event in context.of(DevEvaluated))
    rows = training.plan_rows(range(len(data.dev.examples)), data.dev.examples, 128)
    loss = RowLoss(adapted.model, device=adapted.device, pad_id=adapted.pad_id)
    assert loss.mean(rows, data.dev.examples) == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("stop_after", [0, 1, 3, 5, 11])
def test_a_stopped_run_goes_on_to_the_same_bits(undisturbed: dict[str, Any], context_of: Contexts, stop_after: int) -> None:
    whole = reference(undisturbed, context_of)
    first = context_of("stopped", epochs=2, stop_after=stop_after)
    with pytest.raises(StopRequested) as stopped:
        train_stage(first)
    assert stopped.value.step == stop_after
    assert not first.run.success_marker.exists()
    torch.manual_seed(12345)
    second = context_of("stopped", epochs=2)
    train_stage(second)
    assert [event.step for event in second.of(Rewound)] == [stop_after]
    assert story(first) + story(second) == story(whole)
    assert first.of(DevEvaluated) + second.of(DevEvaluated) == whole.of(DevEvaluated)
    assert adapter(second) == undisturbed["adapter"]
    assert (second.run.adapter / "adapter_config.json").read_bytes() == (whole.run.adapter / "adapter_config.json").read_bytes()


def test_a_run_killed_between_checkpoints_goes_back_and_ends_in_the_same_bits(
    undisturbed: dict[str, Any], context_of: Contexts
) -> None:
    reference(undisturbed, context_of)

    class KilledError(Exception):
        pass

    context = context_of("killed", epochs=2)
    emit = context.emit

    def until_step_8(event: Any) -> None:
        emit(event)
        if isinstance(event, StepTrained) and event.step == 8:
            raise KilledError

    context.emit = until_step_8
    with pytest.raises(KilledError):
        train_stage(context)
    again = context_of("killed", epochs=2)
    train_stage(again)
    assert [event.step for event in again.of(Rewound)] == [6]
    assert adapter(again) == undisturbed["adapter"]


def test_a_checkpoint_on_request_changes_nothing(undisturbed: dict[str, Any], context_of: Contexts) -> None:
    whole = reference(undisturbed, context_of)
    context = context_of("asked", epochs=2, checkpoint_after=4)
    train_stage(context)
    assert 4 in [event.step for event in context.of(CheckpointWritten)]
    assert 4 not in [event.step for event in whole.of(CheckpointWritten)]
    assert adapter(context) == undisturbed["adapter"]


def test_checkpoints_by_steps(context_of: Contexts) -> None:
    context = context_of(checkpoint_every_steps=2, dev_share=0.0, keep_checkpoints=3)
    train_stage(context)
    assert [event.step for event in context.of(CheckpointWritten)] == [2, 4, 6, 8]
    assert sorted(path.name for path in context.run.checkpoints.iterdir()) == ["step-4", "step-6", "step-8"]
    assert not context.of(DevEvaluated)
    assert context.of(AdapterSaved)[0].step == 8


def test_dev_is_read_four_times_an_epoch_evenly_and_last_at_the_end(context_of: Contexts) -> None:
    context = context_of(dev_every_steps=0, epochs=2, patience=0)
    train_stage(context)
    steps = context.of(StepTrained)[-1].steps
    read = [event.step for event in context.of(DevEvaluated)]
    assert len(read) == 8 and read[-1] == steps
    assert {later - earlier for earlier, later in pairwise([0, *read])} <= {steps // 8, -(-steps // 8)}


def test_training_stops_early_and_keeps_the_adapter_of_the_best_step(
    context_of: Contexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([3.0, 2.0, 2.5, 2.0, 9.0])
    kept: dict[int, dict[str, torch.Tensor]] = {}
    context = context_of(patience=2, dev_every_steps=1)
    real = training.Trainer._evaluate

    def evaluate(self: Any) -> Any:
        monkeypatch.setattr(self._loss, "mean", lambda *_: next(losses), raising=False)
        kept[self._state.step] = self._bank.tensors()
        return real(self)

    monkeypatch.setattr(training.Trainer, "_evaluate", evaluate)
    train_stage(context)
    assert [event.patience_left for event in context.of(DevEvaluated)] == [2, 2, 1, 0]
    (stopped,) = context.of(TrainingStoppedEarly)
    assert (stopped.step, stopped.best_step, stopped.best_loss) == (4, 2, 2.0)
    found = load_file(context.run.adapter / "adapter_model.safetensors")
    assert all(torch.equal(found[name], kept[2][name]) for name in found)
    assert any(not torch.equal(kept[4][name], kept[2][name]) for name in found)
    assert {path.name for path in context.run.checkpoints.iterdir()} == {"step-2", "step-4"}


def test_a_loss_that_is_not_finite_stops_before_the_optimizer_step(context_of: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = context_of("whole", dev_share=0.0, stop_after=4)
    with pytest.raises(StopRequested):
        train_stage(whole)
    context = context_of("nan", dev_share=0.0)
    real = RowLoss.of

    def poisoned(self: Any, row: Any) -> torch.Tensor:
        return real(self, row) * (float("nan") if len(context.of(StepTrained)) == 4 else 1.0)

    monkeypatch.setattr(RowLoss, "of", poisoned)
    with pytest.raises(NonFiniteLossError, match=r"step 5: the loss is nan .* records: r\d+, "):
        train_stage(context)
    assert [event.step for event in context.of(CheckpointWritten)] == [4]
    good, found = (load_file(one.run.checkpoints / "step-4" / "adapter_model.safetensors") for one in (whole, context))
    assert all(torch.equal(good[name], found[name]) for name in good)
    assert all(bool(torch.isfinite(value).all()) for value in found.values())


def test_a_gradient_that_is_not_finite_stops_before_the_optimizer_step(
    context_of: Contexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, real = context_of("inf", dev_share=0.0), BatchGradients.of

    def poisoned(self: Any, *arguments: Any) -> torch.Tensor:
        total = real(self, *arguments)
        if len(context.of(StepTrained)) == 2:
            self._bank.master.grad[7] = float("inf")
        return total

    monkeypatch.setattr(BatchGradients, "of", poisoned)
    with pytest.raises(NonFiniteLossError, match=r"step 3: the loss is \d.* and the gradient norm inf at learning rate"):
        train_stage(context)
    assert [event.step for event in context.of(CheckpointWritten)] == [2]
    found = load_file(context.run.checkpoints / "step-2" / "adapter_model.safetensors")
    assert all(bool(torch.isfinite(value).all()) for value in found.values())


def test_a_loss_spike_is_an_event_and_training_goes_on(context_of: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    context, real = context_of("spike", dev_share=0.0, epochs=4), training.Trainer._accumulate

    def spiking(self: Any, plan: Any, step: int) -> Any:
        loss, norm = real(self, plan, step)
        return (loss * 10 if step == 25 else loss), norm

    monkeypatch.setattr(training.Trainer, "_accumulate", spiking)
    train_stage(context)
    (spike,) = context.of(LossSpiked)
    losses = [event.loss for event in context.of(StepTrained)]
    assert (spike.step, spike.loss) == (25, losses[24])
    assert min(losses[:24]) < spike.usual < max(losses[:24])
    assert context.of(StepTrained)[-1].step == len(losses) == 32


def test_going_back_past_the_best_step_forgets_it(context_of: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    """A best adapter of steps that are void must not win over those that are trained again."""
    losses = {1: 5.0, 2: 4.0, 3: 1.0, 4: 3.0, 5: 2.0}

    def evaluate(self: Any) -> Any:
        monkeypatch.setattr(self._loss, "mean", lambda *_: losses.get(self._state.step, 9.0), raising=False)
        return real(self)

    real = training.Trainer._evaluate
    monkeypatch.setattr(training.Trainer, "_evaluate", evaluate)
    first = context_of("back", dev_every_steps=1, patience=0, stop_after=3)
    with pytest.raises(StopRequested):
        train_stage(first)
    damaged = first.run.checkpoints / "step-3" / "optimizer.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-10])
    losses[3] = 6.0
    second = context_of("back", dev_every_steps=1, patience=0)
    train_stage(second)
    assert second.of(Rewound)[0].step == 2
    assert [event.best_step for event in second.of(DevEvaluated)][:3] == [2, 4, 5]
    assert second.of(AdapterSaved)[0].step == 5
    assert not (second.run.checkpoints / "step-3").exists()


def test_another_compute_plan_is_said_and_recorded(context_of: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    first = context_of(stop_after=2)
    with pytest.raises(StopRequested):
        train_stage(first)
    real = training.choose_compute_plan

    def smaller(*arguments: Any) -> PlanEstimate:
        chosen = real(*arguments)
        return msgspec.structs.replace(chosen, plan=msgspec.structs.replace(chosen.plan, recomputed_layers=2))

    monkeypatch.setattr(training, "choose_compute_plan", smaller)
    second = context_of()
    train_stage(second)
    assert second.of(Rewound)[0].step == 2
    assert any("plan.recomputed_layers 0 → 2" in event.text for event in second.of(Warned))
    manifest = msgspec.json.decode(second.run.training_manifest.read_bytes(), type=TrainingManifest)
    assert manifest.outcome.exact is False and manifest.compute is not None
    assert manifest.compute.plan.plan.recomputed_layers == 2


def test_the_cut_into_rows_changes_only_rounding_without_dropout(context_of: Contexts) -> None:
    one, other = (context_of(name, lora_dropout=0.0, dev_share=0.0, max_seq_len=32, row_tokens=tokens)
                  for name, tokens in (("wide", 512), ("narrow", 32)))  # fmt: skip
    for context in (one, other):
        train_stage(context)
    assert max(event.micro_steps for event in one.of(StepTrained)) == 1
    assert min(event.micro_steps for event in other.of(StepTrained)) > 2
    for wide, narrow in zip(story(one), story(other), strict=True):
        assert narrow == pytest.approx(wide, rel=2e-4)


def test_dropout_is_drawn_anew_for_each_micro_step_and_not_carried(context_of: Contexts) -> None:
    context = context_of(dev_share=0.0, lora_dropout=0.5)
    loaded = load_clean_model(context.config, emit=lambda _: None)
    data = read_training_set(context.config, loaded)
    chosen = PlanEstimate(name="plain", plan=plain_plan(context.config), step_s=0.0, peak_bytes=0)
    trainer = Trainer(context, loaded, attach_lora(loaded.model, context.config.train, 3), data, chosen)
    trainer._model.train()
    trainer._bank.restore({name: value + 0.1 * ("lora_B" in name) for name, value in trainer._bank.tensors().items()})
    plan = trainer._plans[0]
    first = trainer._accumulate(plan, 1)
    torch.rand(7)
    trainer._bank.zero_grad()
    assert trainer._accumulate(plan, 1) == first
    trainer._bank.zero_grad()
    assert trainer._accumulate(plan, 2) != first


def test_another_thread_count_is_said_and_recorded(context_of: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    first = context_of(stop_after=2)
    with pytest.raises(StopRequested):
        train_stage(first)
    second = context_of()
    monkeypatch.setattr(resuming, "versions", lambda: {"torch": "another"})
    train_stage(second)
    assert any("torch" in event.text and "not to the last bit" in event.text for event in second.of(Warned))
    assert json.loads(second.run.training_manifest.read_bytes())["outcome"]["exact"] is False


def test_what_cannot_be_trained_is_said_plainly(context_of: Contexts, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"wq_proj, which the model does not have; its linear layers are down_proj"):
        train_stage(context_of(lora_targets=("q_proj", "wq_proj")))
    with pytest.raises(ConfigError, match="paged_adamw_8bit"):
        train_stage(context_of(optimizer="paged_adamw_8bit"))
    long = tmp_path / "long.jsonl"
    long.write_text(json.dumps({"instruction": "many words " * 40, "response": "lost"}) + "\n")
    context = context_of(max_seq_len=64)
    context.config = msgspec.structs.replace(context.config, data=DataTable(train=str(long)))
    with pytest.raises(InputError, match=r"no example is left to train on.*64 tokens"):
        train_stage(context)


def test_a_displaced_worker_writes_no_checkpoint(context_of: Contexts) -> None:
    context = context_of(stop_after=2)
    context.displaced = DisplacedError("another supervisor has the run")
    with pytest.raises(DisplacedError):
        train_stage(context)
    assert list(context.run.checkpoints.iterdir()) == []


def test_a_dataset_that_changed_since_the_gates_is_not_trained_on(config_of: Callable[..., Config]) -> None:
    config = config_of()
    loaded = load_clean_model(config, emit=lambda _: None)
    gated = sha256_file(Path(config.data.train))
    assert read_training_set(config, loaded, gated_sha256=gated).source.sha256 == gated
    with pytest.raises(InputError, match="has changed since the gates looked at it"):
        read_training_set(config, loaded, gated_sha256="0" * 64)
