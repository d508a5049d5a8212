"""Batch files, keys and the records made of them."""

import os
from pathlib import Path

import msgspec
import pytest

from engine.core.batching import Batch, plan_batches
from engine.protocol.arms import (
    ArmNoise,
    ArmTiming,
    Attempt,
    Conditions,
    ItemRecord,
    NoiseReading,
    arm_file,
    attempt_file,
    read_arm,
    timing_file,
)
from engine.protocol.errors import InputError
from engine.protocol.items import CheckOutcome, CheckSpec, HeldOutItem
from engine.protocol.plans import ComputePlan
from engine.protocol.runs import RunFolder
from engine.store import arm_files
from engine.store.arm_files import BatchFile

CONDITIONS = Conditions(
    model_files={"m": "1"}, quantization="nf4", compute_dtype="float32", adapter_files={}, decoding={"max_new_tokens": 8}, batch_items=2,
    plan="p", device="CPU", threads=1, versions={"torch": "2"}, loader_version="l", git_sha="g", source_sha256="s", scorer_version="c",
    compute_plan=ComputePlan(row_tokens=0),
)  # fmt: skip
CHANGED = {
    "model_files": {"m": "2"}, "quantization": "none", "compute_dtype": "bfloat16", "adapter_files": {"a": "1"},
    "decoding": {"max_new_tokens": 9}, "batch_items": 1, "plan": "q", "device": "GPU", "threads": 2, "versions": {"torch": "3"},
    "loader_version": "k", "source_sha256": "t", "scorer_version": "d", "compute_plan": ComputePlan(row_tokens=0, mirrored_layers=1),
}  # fmt: skip


def item(name: str, most: int = 3) -> HeldOutItem:
    return HeldOutItem(id=name, types=("fact",), instruction="x", checks=(CheckSpec(kind="words", arguments={"max": most}),))


def record(name: str) -> ItemRecord:
    return ItemRecord(
        id=name, types=("fact",), instruction="x", prompt_sha256="p", token_ids=(1, 0), text="\x1b[31m é", success=None,
        checks=(CheckOutcome(kind="words", success=None, reason="r"),), tokens=2, stop="end", batch="b",
    )  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


BATCH, *_ = plan_batches({"a": [1], "b": [1, 2]}, 2).batches


def finished(key: str = "k", *names: str) -> BatchFile:
    return arm_files.batch_of(key, 1.5, [record(name) for name in names or ("a", "b")])


def test_everything_that_decides_a_batch_is_in_its_key() -> None:
    assert set(CHANGED) == set(CONDITIONS.__struct_fields__) - {"git_sha"}
    items = [item("a"), item("b")]
    other_batch = Batch(index=BATCH.index, ids=BATCH.ids, width=BATCH.width, digest="other")
    keys = [arm_files.batch_key(CONDITIONS, BATCH, items)]
    keys += [
        arm_files.batch_key(msgspec.structs.replace(CONDITIONS, **{name: new}), BATCH, items) for name, new in CHANGED.items()
    ]
    keys += [
        arm_files.batch_key(CONDITIONS, other_batch, items),
        arm_files.batch_key(CONDITIONS, BATCH, [item("a"), item("b", 4)]),
    ]
    assert len(set(keys)) == len(keys)
    assert arm_files.batch_key(msgspec.structs.replace(CONDITIONS, git_sha="h"), BATCH, items) == keys[0]


def test_a_batch_comes_back_only_whole_and_under_its_key(run: RunFolder) -> None:
    assert arm_files.read_batch(run, "base", BATCH, "k", [].append) is None
    arm_files.write_batch(run, "base", BATCH, finished())
    assert arm_files.read_batch(run, "base", BATCH, "k", [].append) == finished()
    assert arm_files.read_batch(run, "base", BATCH, "other", [].append) is None
    assert arm_files.read_batch(run, "sft", BATCH, "k", [].append) is None
    path = arm_files.batch_file(run, "base", BATCH)
    told: list[str] = []
    path.write_bytes(path.read_bytes()[:-1])
    assert arm_files.read_batch(run, "base", BATCH, "k", told.append) is None
    assert told == [f"{path}: is damaged; its 2 items are decoded again"]


def test_a_batch_that_was_edited_by_hand_and_is_still_whole_is_not_believed(run: RunFolder) -> None:
    arm_files.write_batch(run, "base", BATCH, finished())
    path, told = arm_files.batch_file(run, "base", BATCH), list[str]()
    path.write_bytes(path.read_bytes().replace(b'"success":null', b'"success":true', 1))
    assert arm_files.read_batch(run, "base", BATCH, "k", told.append) is None
    assert told == [f"{path}: was changed after it was written; its 2 items are decoded again"]


def test_files_are_private(run: RunFolder) -> None:
    arm_files.write_batch(run, "base", BATCH, finished())
    path = arm_files.batch_file(run, "base", BATCH)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [folder.stat().st_mode & 0o077 for folder in (path.parent, run.eval)] == [0, 0]


def test_batches_of_another_plan_go_and_take_the_records_with_them(run: RunFolder) -> None:
    other = plan_batches({"a": [1], "b": [1, 2]}, 1)
    arm_files.write_batch(run, "base", BATCH, finished())
    arm_file(run, "base").write_bytes(b"")
    arm_files.remove_stale(run, "base", plan_batches({"a": [1], "b": [1, 2]}, 2))
    assert arm_file(run, "base").exists()
    arm_files.remove_stale(run, "base", other)
    assert not arm_file(run, "base").exists()
    assert not arm_files.batch_file(run, "base", BATCH).exists()


def test_what_a_killed_worker_left_half_written_goes(run: RunFolder) -> None:
    arm_files.write_batch(run, "base", BATCH, finished())
    torn = arm_files.batch_file(run, "base", BATCH).with_name(".0001-abc.json.0123abcd.tmp")
    torn.write_bytes(b"{")
    os.utime(torn, (0, 0))
    arm_files.begin_arm(run, "base", CONDITIONS)
    assert not torn.exists()
    assert arm_files.read_batch(run, "base", BATCH, "k", [].append) == finished()


def test_new_conditions_void_the_records(run: RunFolder) -> None:
    arm_files.begin_arm(run, "base", CONDITIONS)
    arm_file(run, "base").write_bytes(b"")
    arm_files.begin_arm(run, "base", CONDITIONS)
    assert arm_file(run, "base").exists()
    arm_files.begin_arm(run, "base", msgspec.structs.replace(CONDITIONS, device="GPU"))
    assert not arm_file(run, "base").exists()
    assert arm_files.read_conditions(run, "base") == msgspec.structs.replace(CONDITIONS, device="GPU")


def test_a_finished_arm_is_its_batches_in_order_without_times(run: RunFolder) -> None:
    run.eval.mkdir(parents=True)
    still = NoiseReading(items=0, text_flips=(), success_flips=())
    noise = ArmNoise(key="k", repeat=still, rebatch=still)
    arm_files.finish_arm(run, "base", [finished("k", "b"), finished("k", "a", "c")], noise)
    assert [found.id for found in read_arm(arm_file(run, "base"))] == ["b", "a", "c"]
    assert read_arm(arm_file(run, "base"))[0] == record("b")
    assert b"1.5" not in arm_file(run, "base").read_bytes()
    assert b"\x1b" not in arm_file(run, "base").read_bytes()
    timing = msgspec.json.decode(timing_file(run, "base").read_bytes(), type=ArmTiming)
    assert timing == ArmTiming(batch_s=(1.5, 1.5), batch_tokens=(2, 4))
    records = read_arm(arm_file(run, "base"))
    digest = arm_files.records_digest(records)
    assert arm_files.read_noise(run, "base") == msgspec.structs.replace(noise, records_digest=digest)
    assert digest == arm_files.records_digest(records[::-1]) != arm_files.records_digest(records[1:])


def test_an_attempt_that_cannot_be_read_is_an_error_and_a_missing_one_is_none(run: RunFolder) -> None:
    assert arm_files.read_attempt(attempt_file(run)) is None
    attempt = Attempt(held_out_sha256="h", adapter_sha256="a", attempt=2)
    arm_files.write_attempt(attempt_file(run), attempt)
    assert arm_files.read_attempt(attempt_file(run)) == attempt
    attempt_file(run).write_bytes(b"{")
    with pytest.raises(InputError, match=r"attempt\.json"):
        arm_files.read_attempt(attempt_file(run))
