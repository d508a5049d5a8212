"""A finished run without a model: frozen items, both arms' files as the evaluation leaves them, gates."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.core.batching import plan_batches
from engine.core.checks import score
from engine.protocol.arms import ArmNoise, Attempt, Conditions, ItemRecord, NoiseReading, attempt_file
from engine.protocol.config import Config, DataTable, EvalTable, ModelTable
from engine.protocol.config_file import dump_config
from engine.protocol.gates import DatasetFacts, GateResult, GatesReport
from engine.protocol.items import CheckSpec, HeldOutItem
from engine.protocol.plans import ComputePlan
from engine.protocol.runs import RunFolder
from engine.store import arm_files
from engine.store.gate_results import write_gates
from engine.store.preregistration import preregister, read_frozen_items, scorer_version

TYPES = ("fact", "format", "safety")
HELD_OUT = "a" * 64

Answer = Callable[[HeldOutItem, int], str]


def items(count: int) -> list[HeldOutItem]:
    """Items that succeed by the word "yes" and nothing after it on a new prompt."""
    return [
        HeldOutItem(
            id=f"i{number:03}",
            types=(TYPES[number % 3],),
            instruction=f"Answer number {number}.",
            checks=(CheckSpec(kind="contains", arguments={"all": ["yes"]}), CheckSpec(kind="no_runaway")),
        )
        for number in range(count)
    ]


def conditions(config: Config, plan: str, adapter: bool, **changes: Any) -> Conditions:
    made = Conditions(
        model_files={"model.safetensors": "b" * 64},
        quantization="nf4",
        compute_dtype="float32",
        adapter_files={"adapter_model.safetensors": "c" * 64, "adapter_config.json": "d" * 64} if adapter else {},
        decoding={"do_sample": False, "temperature": 0.0, "max_new_tokens": config.eval.max_new_tokens, "end_id": 0, "pad_id": 0},
        batch_items=config.eval.batch_items,
        plan=plan,
        device="CPU (1 thread)",
        threads=1,
        versions={"torch": "2"},
        loader_version="0+1",
        git_sha="",
        source_sha256="e" * 64,
        scorer_version=scorer_version(),
        compute_plan=ComputePlan(row_tokens=0),
    )
    return msgspec.structs.replace(made, **changes)


def write_arm(run: RunFolder, config: Config, asked: list[HeldOutItem], arm: str, answer: Answer, **changes: Any) -> None:
    """The files of an arm that answered `answer(item, place)`."""
    by_id = {item.id: item for item in asked}
    plan = plan_batches({item.id: [1, 2, place % 5 + 1] for place, item in enumerate(asked)}, config.eval.batch_items)
    place = {item.id: number for number, item in enumerate(asked)}
    batches = [
        arm_files.batch_of("k", 0.5, [record(by_id[name], answer(by_id[name], place[name]), batch.digest) for name in batch.ids])
        for batch in plan.batches
    ]
    arm_files.begin_arm(run, arm, conditions(config, plan.digest, arm == "sft", **changes))
    reading = NoiseReading(items=4, text_flips=("i000", "i001"), success_flips=("i001",))
    still = NoiseReading(items=8, text_flips=(), success_flips=())
    noise = ArmNoise(key="k", repeat=still, rebatch=reading, unpadded=reading, drift=still if arm == "sft" else None)
    arm_files.finish_arm(run, arm, batches, noise)


def record(item: HeldOutItem, text: str, batch: str) -> ItemRecord:
    scored = score(item, text)
    return ItemRecord(
        id=item.id, types=item.types, instruction=item.instruction, prompt_sha256="p", token_ids=(5, 0), text=text,
        success=scored.success, checks=scored.checks, tokens=2, stop="end", batch=batch,
    )  # fmt: skip


def gate(name: str, severity: str = "hard", status: str = "pass") -> GateResult:
    return GateResult(id=name, severity=severity, status=status, declared="", measured="", threshold="", reason="")  # type: ignore[arg-type]


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., tuple[RunFolder, Config]]:
    """make_run(name, base=…, sft=…, count=…, gates=…, config=…): a run with both arms complete."""

    def make(
        name: str = "ws",
        *,
        base: Answer = lambda item, place: "yes" if place % 4 == 0 else "no",
        sft: Answer = lambda item, place: "no" if place % 10 == 0 else "yes",
        asked: list[HeldOutItem] | None = None,
        gates: tuple[GateResult, ...] | None = None,
        config: Config | None = None,
        sft_changes: dict[str, Any] | None = None,
    ) -> tuple[RunFolder, Config]:
        config = config or Config(
            model=ModelTable(path="/nowhere/tiny-base"),
            data=DataTable(train="/nowhere/train.jsonl", held_out="/nowhere/held_out.jsonl"),
            eval=EvalTable(batch_items=32),
        )
        run = RunFolder(
            tmp_path / name / "checkpoints" / "stage1_sft" / f"0101-0000-sft-{random.Random(name).randrange(16**4):04x}"
        )
        run.path.mkdir(parents=True)
        run.config.write_text(dump_config(config))
        prereg = preregister(run, config, asked or items(360), HELD_OUT)
        asked = list(read_frozen_items(run, prereg))
        facts = DatasetFacts(path="train.jsonl", sha256="1" * 64, records=10)
        report = GatesReport(passed=True, gates=gates or (gate("integrity"),), dataset=facts, held_out=facts)
        write_gates(run, report)
        write_arm(run, config, asked, "base", base)
        write_arm(run, config, asked, "sft", sft, **(sft_changes or {}))
        arm_files.write_attempt(attempt_file(run), Attempt(held_out_sha256=HELD_OUT, adapter_sha256="c" * 64, attempt=1))
        return run, config

    return make
