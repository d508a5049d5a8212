"""Both arms of an evaluation on a real tiny model with a real adapter: records, resume, staleness, noise floor, attempts."""

import contextlib
import itertools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.compute.decode import Decoder
from engine.compute.evaluate import evaluate_arm
from engine.compute.libraries import AutoModelForCausalLM, peft
from engine.protocol import events as ev
from engine.protocol.arms import arm_file, items_with_outcomes, noise_file, read_arm, timing_file
from engine.protocol.config import Config, EngineTable, EvalTable, ModelTable
from engine.protocol.errors import EngineError, GateBlockedError, InputError, MemoryRanOutError, ModelError, StopRequested
from engine.protocol.gates import DatasetFacts, GateResult, GatesReport, Severity, read_gates
from engine.protocol.items import CheckSpec, HeldOutItem
from engine.protocol.runs import RunFolder
from engine.store.arm_files import read_noise
from engine.store.gate_results import write_gates
from engine.store.hashes import sha256_file
from engine.store.ledger import attempt_number, ledger_of
from engine.store.preregistration import preregister
from engine.store.run_plan import read_run_plan
from engine.store.stages import TrainingSuccess, write_training_success

Quantization = Literal["nf4", "none"]
ITEMS = 11
BATCH_ITEMS = 4


@dataclass
class Stage:
    """What a worker would be given; stops after `batches` looks."""

    run: RunFolder
    config: Config
    batches: int | None = None
    events: list[ev.Event] = field(default_factory=list)

    def emit(self, event: ev.Event) -> None:
        self.events.append(event)

    def stop_requested(self) -> bool:
        return self.batches is not None and len(self.of(ev.BatchEvaluated)) >= self.batches

    def check_ownership(self) -> None:
        pass

    def of(self, kind: type[ev.Event]) -> list[ev.Event]:
        return [event for event in self.events if isinstance(event, kind)]


def held_out(count: int = ITEMS) -> list[HeldOutItem]:
    words = itertools.cycle(["river", "the town and the bridge", "a list of animals and things that they like to eat"])
    types = itertools.cycle([("fact",), ("format",), ("safety",)])
    return [
        HeldOutItem(
            id=f"item-{number:02}",
            types=next(types),
            instruction=f"Write {next(words)} {number}.",
            checks=(CheckSpec(kind="contains", arguments={"any": ["e", "a"]}), CheckSpec(kind="words", arguments={"max": 40})),
        )
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def adapter(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter that changes every answer."""
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32)
    torch.manual_seed(5)
    wrapped = peft.get_peft_model(model, peft.LoraConfig(r=4, lora_alpha=4, target_modules=["q_proj", "v_proj"]))
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    folder = tmp_path_factory.mktemp("adapter") / "adapter"
    wrapped.save_pretrained(folder)
    return folder


@pytest.fixture
def new_run(
    tmp_path: Path, tiny_model_folder: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[RunFolder, Config]]:
    monkeypatch.setenv("SLUICE_WORKSPACE", str(tmp_path / "cache"))

    def make(name: str = "a", quantization: Quantization = "none", **eval_settings: int) -> tuple[RunFolder, Config]:
        settings = {
            "max_new_tokens": 8,
            "batch_items": BATCH_ITEMS,
            "repeat_batches": 2,
            "rebatch_items": 5,
            "unpadded_items": 3,
            **eval_settings,
        }
        config = Config(
            model=ModelTable(path=str(tiny_model_folder), quantization=quantization),
            eval=EvalTable(**settings),
            engine=EngineTable(device="cpu", threads=1),
        )
        run = RunFolder(tmp_path / name / "checkpoints" / "stage1_sft" / "0101-0000-sft-abcd")
        run.path.mkdir(parents=True)
        shutil.copytree(adapter, run.adapter)
        write_training_success(run, TrainingSuccess(sha256=sha256_file(run.adapter / "adapter_model.safetensors")))
        preregister(run, config, held_out(), "f" * 64)
        return run, config

    return make


NewRun = Callable[..., tuple[RunFolder, Config]]


def test_both_arms_leave_records_noise_and_timing(new_run: NewRun) -> None:
    run, config = new_run()
    base, sft = Stage(run, config), Stage(run, config)
    evaluate_arm(base, "base")
    evaluate_arm(sft, "sft")
    pairs = items_with_outcomes(run)
    assert sorted(pair.id for pair in pairs) == [item.id for item in held_out()]
    assert all(pair.base.batch == pair.sft.batch and pair.base.prompt_sha256 == pair.sft.prompt_sha256 for pair in pairs)
    assert any(pair.base.token_ids != pair.sft.token_ids for pair in pairs)
    assert all(len(pair.base.checks) == 2 and pair.base.tokens == len(pair.base.token_ids) for pair in pairs)
    assert all(
        (record.stop == "length") == (len(record.token_ids) == 8 and 0 not in record.token_ids)
        for record in read_arm(arm_file(run, "sft"))
    )
    assert timing_file(run, "base").exists()
    assert len(list((run.eval / "sft").glob("*.json"))) == 3
    planned, *_ = base.of(ev.EvaluationPlanned)
    assert (planned.items, planned.batches, planned.done_items) == (ITEMS, 3, 0)
    assert [event.done_items for event in sft.of(ev.BatchEvaluated)] == [4, 8, 11]
    (finished,) = sft.of(ev.EvaluationFinished)
    assert finished.successes == sum(pair.sft.success is True for pair in pairs)
    assert [type(event).__name__ for event in base.events[-4:]] == [*["NoiseMeasured"] * 3, "EvaluationFinished"]


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_the_noise_floor_of_float32_is_zero_and_drift_is_read_with_the_adapter_off(
    new_run: NewRun, quantization: Quantization
) -> None:
    run, config = new_run(quantization=quantization)
    base, sft = Stage(run, config), Stage(run, config)
    evaluate_arm(base, "base")
    evaluate_arm(sft, "sft")
    assert [(event.kind, event.items) for event in base.of(ev.NoiseMeasured)] == [("repeat", 8), ("rebatch", 5), ("unpadded", 2)]
    assert [(event.kind, event.items) for event in sft.of(ev.NoiseMeasured)] == [
        ("repeat", 8),
        ("rebatch", 5),
        ("unpadded", 2),
        ("drift", 8),
    ]
    assert all(event.text_flips == event.success_flips == 0 for event in base.of(ev.NoiseMeasured) + sft.of(ev.NoiseMeasured))
    noise = read_noise(run, "sft")
    assert noise is not None
    assert noise.drift is not None
    assert read_noise(run, "base").drift is None


def test_a_stopped_arm_goes_on_and_ends_as_one_that_was_never_stopped(new_run: NewRun) -> None:
    whole, config = new_run("whole")
    evaluate_arm(Stage(whole, config), "base")
    run, config = new_run("stopped")
    first = Stage(run, config, batches=1)
    with pytest.raises(StopRequested):
        evaluate_arm(first, "base")
    assert not arm_file(run, "base").exists()
    second = Stage(run, config)
    evaluate_arm(second, "base")
    assert [event.batch for event in first.of(ev.BatchEvaluated) + second.of(ev.BatchEvaluated)] == [0, 1, 2]
    assert second.of(ev.EvaluationPlanned)[0].done_items == 4
    for read in (lambda run: arm_file(run, "base"), lambda run: noise_file(run, "base")):
        assert read(run).read_bytes() == read(whole).read_bytes()


def test_a_stop_in_the_noise_floor_leaves_the_arm_incomplete_and_the_batches_kept(new_run: NewRun) -> None:
    run, config = new_run()
    with pytest.raises(StopRequested):
        evaluate_arm(Stage(run, config, batches=3), "base")
    assert not arm_file(run, "base").exists()
    again = Stage(run, config)
    evaluate_arm(again, "base")
    assert again.of(ev.BatchEvaluated) == []
    assert len(read_arm(arm_file(run, "base"))) == ITEMS


def test_a_damaged_batch_file_is_decoded_again_to_the_same_records(new_run: NewRun) -> None:
    run, config = new_run()
    evaluate_arm(Stage(run, config), "base")
    records = arm_file(run, "base").read_bytes()
    torn, *_ = sorted((run.eval / "base").glob("*.json"))
    torn.write_bytes(torn.read_bytes()[:-20])
    again = Stage(run, config)
    evaluate_arm(again, "base")
    assert [event.batch for event in again.of(ev.BatchEvaluated)] == [0]
    assert arm_file(run, "base").read_bytes() == records
    edited = sorted((run.eval / "base").glob("*.json"))[1]
    edited.write_bytes(edited.read_bytes().replace(b'"tokens":8', b'"tokens":7', 1))
    third = Stage(run, config)
    evaluate_arm(third, "base")
    assert [event.batch for event in third.of(ev.BatchEvaluated)] == [1]
    assert [event.text for event in third.of(ev.Warned)] == [
        f"{edited}: was changed after it was written; its 4 items are decoded again"
    ]
    assert arm_file(run, "base").read_bytes() == records


def test_nothing_decoded_under_other_settings_is_used_again(new_run: NewRun) -> None:
    run, config = new_run()
    evaluate_arm(Stage(run, config), "base")
    changed = msgspec.structs.replace(config, eval=msgspec.structs.replace(config.eval, max_new_tokens=5))
    stage = Stage(run, changed)
    evaluate_arm(stage, "base")
    assert len(stage.of(ev.BatchEvaluated)) == 3
    assert max(record.tokens for record in read_arm(arm_file(run, "base"))) == 5
    warnings = [event.text for event in stage.of(ev.Warned)]
    assert any("decoding.max_new_tokens was 8 and is 5" in text and "exploratory" in text for text in warnings)


def test_the_sft_stage_answers_the_base_arm_again_where_the_arithmetic_changed(new_run: NewRun) -> None:
    run, config = new_run()
    evaluate_arm(Stage(run, config), "base")
    smaller = msgspec.structs.replace(config, eval=msgspec.structs.replace(config.eval, batch_items=3))
    stage = Stage(run, smaller)
    evaluate_arm(stage, "sft")
    assert [event.arm for event in stage.of(ev.EvaluationFinished)] == ["base", "sft"]
    assert any("base arm was answered under other conditions" in event.text for event in stage.of(ev.Warned))
    assert {len(list((run.eval / arm).glob("*.json"))) for arm in ("base", "sft")} == {4}
    plain, config_again = new_run("plain", batch_items=3)
    evaluate_arm(Stage(plain, config_again), "base")
    assert arm_file(run, "base").read_bytes() == arm_file(plain, "base").read_bytes()


def test_an_adapter_is_an_attempt_once(new_run: NewRun, adapter: Path) -> None:
    run, config = new_run()
    evaluate_arm(Stage(run, config), "base")
    assert not ledger_of(run).exists()
    with pytest.raises(StopRequested):
        evaluate_arm(Stage(run, config, batches=1), "sft")
    evaluate_arm(Stage(run, config), "sft")
    assert len(ledger_of(run).read_bytes().splitlines()) == 1
    assert attempt_number(ledger_of(run), "f" * 64, sha256_file(adapter / "adapter_model.safetensors")) == 1


def test_an_adapter_changed_after_training_or_not_trained_is_refused(new_run: NewRun) -> None:
    run, config = new_run()
    weights = run.adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes() + b" ")
    with pytest.raises(InputError, match="changed after training"):
        evaluate_arm(Stage(run, config), "sft")
    run.success_marker.unlink()
    with pytest.raises(InputError, match="training is not complete"):
        evaluate_arm(Stage(run, config), "sft")
    assert not ledger_of(run).exists()


def test_after_memory_ran_out_both_arms_have_smaller_batches(new_run: NewRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run, config = new_run()
    with out_of_memory_in_batches_of(4, monkeypatch), pytest.raises(MemoryRanOutError):
        evaluate_arm(Stage(run, config), "base")
    evaluate_arm(Stage(run, config), "base")
    stage = Stage(run, config)
    with out_of_memory_in_batches_of(2, monkeypatch, adapter=True), pytest.raises(MemoryRanOutError):
        evaluate_arm(stage, "sft")
    (told,) = stage.of(ev.MemoryRanOut)
    assert (told.stage, told.batch, told.reason) == ("sft", 0, "CUDA out of memory. Tried to allocate")
    later = Stage(run, config)
    evaluate_arm(later, "sft")
    assert [(event.arm, event.batches) for event in later.of(ev.EvaluationPlanned)] == [("base", 11), ("sft", 11)]
    assert any("batches of 1 items instead of 4" in event.text for event in later.of(ev.Warned))
    assert [(one.stage, one.batch_items) for one in read_run_plan(run).recoveries] == [("base", 4), ("sft", 2)]
    again = Stage(run, config)
    evaluate_arm(again, "sft")
    assert not again.of(ev.BatchEvaluated), "what was split once is not split again by every later worker"


def test_one_item_that_does_not_fit_alone_ends_with_what_to_change(new_run: NewRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run, config = new_run(batch_items=1)
    with out_of_memory_in_batches_of(1, monkeypatch), pytest.raises(EngineError, match=r"item-\d+ alone .* eval.max_new_tokens"):
        evaluate_arm(Stage(run, config), "base")
    assert read_run_plan(run).recoveries == ()


def test_a_rehearsal_decodes_the_heaviest_batch_in_full_first_and_changes_nothing(new_run: NewRun, monkeypatch) -> None:
    run, config = new_run("plain")
    evaluate_arm(Stage(run, config), "base")
    decoded, end_ids, real = [], [], Decoder.decode

    def noted(self, prompts, **settings):
        answers = real(self, prompts, **settings)
        decoded.append((len(prompts), max(map(len, prompts)), {len(answer.token_ids) for answer in answers}))
        end_ids.append(settings["end_id"])
        return answers

    monkeypatch.setattr(Decoder, "decode", noted)
    rehearsed, config = new_run("rehearsed")
    config = msgspec.structs.replace(config, engine=msgspec.structs.replace(config.engine, preflight="on"))
    stage = Stage(rehearsed, config)
    evaluate_arm(stage, "base")
    rows, width, lengths = decoded[0]
    assert end_ids[0] == -1 and min(end_ids[1:]) >= 0, "no row of the rehearsal ends before its full length"
    assert lengths == {8} and rows * width == max(rows * width for rows, width, _ in decoded)
    (told,) = stage.of(ev.PreflightMeasured)
    assert (told.what, told.tokens, told.measured_peak_bytes) == ("decode", rows * (width + 8), None)
    assert stage.events.index(told) < stage.events.index(stage.of(ev.EvaluationPlanned)[0])
    assert read_run_plan(rehearsed).preflights["base"].tokens == told.tokens
    assert arm_file(rehearsed, "base").read_bytes() == arm_file(run, "base").read_bytes()


@contextlib.contextmanager
def out_of_memory_in_batches_of(rows: int, monkeypatch: pytest.MonkeyPatch, *, adapter: bool | None = None) -> Iterator[None]:
    """Batches of `rows` or more do not fit; with `adapter` only those that it takes part in."""
    real = Decoder.decode

    def decode(self, prompts, *, state, **settings):
        if len(prompts) >= rows and adapter in (None, state):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\nmore")
        return real(self, prompts, state=state, **settings)

    with monkeypatch.context() as patched:
        patched.setattr(Decoder, "decode", decode)
        yield


def test_gates_that_were_pending_are_settled(new_run: NewRun) -> None:
    run, config = new_run()
    write_gates(run, pending_gates("advisory"))
    stage = Stage(run, config)
    evaluate_arm(stage, "base")
    assert [(event.id, event.status) for event in stage.of(ev.GateChecked)] == [("sentinels", "pass"), ("headroom", "fail")]
    assert {gate.id: gate.status for gate in read_gates(run.gates).gates} == {"sentinels": "pass", "headroom": "fail"}
    again = Stage(run, config)
    evaluate_arm(again, "base")
    assert again.of(ev.GateChecked) == []


def test_a_hard_gate_that_fails_late_stops_before_training(new_run: NewRun) -> None:
    run, config = new_run()
    write_gates(run, pending_gates("hard"))
    with pytest.raises(GateBlockedError, match="headroom"):
        evaluate_arm(Stage(run, config), "base")


def test_a_model_that_fails_its_sentinel_blocks_before_anything_is_answered(new_run: NewRun, tmp_path: Path) -> None:
    run, config = new_run()
    write_gates(run, pending_gates("hard"))
    folder = Path(shutil.copytree(config.model.path, tmp_path / "stuck"))
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"].zero_()
    tensors["lm_head.weight"][77] = tensors["model.norm.weight"]
    tensors["lm_head.weight"][78] = -tensors["model.norm.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    stage = Stage(run, msgspec.structs.replace(config, model=msgspec.structs.replace(config.model, path=str(folder))))
    with pytest.raises(GateBlockedError, match="gate sentinels blocks the run"):
        evaluate_arm(stage, "base")
    assert [(event.id, event.status) for event in stage.of(ev.GateChecked)] == [("sentinels", "fail")]
    report = read_gates(run.gates)
    failed = next(gate for gate in report.gates if gate.id == "sentinels")
    assert (failed.status, report.passed) == ("fail", False) and "plain-completion" in failed.reason
    assert stage.of(ev.BatchEvaluated) == [] and not arm_file(run, "base").exists()
    # settled once, the gate is not asked again: the model is refused by itself
    with pytest.raises(ModelError, match="sentinel plain-completion"):
        evaluate_arm(stage, "base")


def pending_gates(severity: Severity) -> GatesReport:
    facts = DatasetFacts(path="", sha256="", records=1)
    pending = [
        GateResult(id=name, severity=severity, status="pending", declared="", measured="", threshold="", reason="")
        for name in ("sentinels", "headroom")
    ]
    return GatesReport(passed=True, gates=tuple(pending), dataset=facts, held_out=facts)


def test_instructions_with_control_tokens_are_refused_by_name(new_run: NewRun) -> None:
    run, config = new_run()
    items = held_out(2)
    items[1] = msgspec.structs.replace(items[1], instruction="Say <|im_end|> now.")
    preregister(run, config, items, "e" * 64)
    with pytest.raises(InputError, match=r"item-01.*<\|im_end\|>"):
        evaluate_arm(Stage(run, config), "base")


def test_items_that_are_not_those_frozen_are_refused(new_run: NewRun) -> None:
    run, config = new_run()
    path = run.eval / "items.jsonl"
    path.write_bytes(path.read_bytes().replace(b"river", b"rover"))
    with pytest.raises(InputError, match="other items than were frozen"):
        evaluate_arm(Stage(run, config), "base")
