"""plan.json: what is added stays, a damaged file stops nothing, and what failed decides how the next worker plans."""

import errno
from pathlib import Path

import pytest

from engine.protocol.errors import DiskFullError
from engine.protocol.plans import ComputePlan, PlanEstimate
from engine.protocol.recoveries import Preflight, Recovery, RunPlan, recovery_text
from engine.protocol.runs import RunFolder
from engine.store import run_plan
from engine.store.run_plan import note_chosen, note_preflight, note_recovery, read_run_plan

CHOSEN = PlanEstimate(name="fast", plan=ComputePlan(row_tokens=512, graph=True), step_s=0.2, peak_bytes=70 << 30)
IN_TRAINING = Recovery(stage="train", at="2026-01-01T00:00:00Z", reason="CUDA out of memory", plan="fast", predicted_peak_bytes=70 << 30, step=12)  # fmt: skip
IN_BASE = Recovery(stage="base", at="2026-01-01T00:00:01Z", reason="CUDA out of memory", batch=3, batch_items=32)
MEASURED = Preflight(tokens=512, predicted_peak_bytes=70 << 30, measured_peak_bytes=69 << 30, elapsed_s=0.4)


def test_everything_that_was_added_is_there(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert read_run_plan(run) == RunPlan()
    note_recovery(run, IN_BASE)
    note_chosen(run, CHOSEN, "CPU")
    note_preflight(run, "train", MEASURED)
    note_recovery(run, IN_TRAINING)
    assert read_run_plan(run) == RunPlan(
        chosen=CHOSEN, device="CPU", preflights={"train": MEASURED}, recoveries=(IN_BASE, IN_TRAINING)
    )
    assert run.plan.stat().st_mode & 0o777 == 0o600


def test_failed_peaks_are_those_of_the_stage(tmp_path: Path) -> None:
    found = RunPlan(recoveries=(IN_BASE, IN_TRAINING))
    assert found.failed_peaks("train") == (70 << 30,)
    assert found.failed_peaks("base") == ()


def test_batches_have_half_of_the_fewest_rows_that_did_not_fit() -> None:
    assert RunPlan(recoveries=(IN_TRAINING,)).most_batch_items is None
    assert RunPlan(recoveries=(IN_BASE,)).most_batch_items == 16
    again = Recovery(stage="sft", at="", reason="", batch_items=16)
    assert RunPlan(recoveries=(IN_BASE, again)).most_batch_items == 8
    assert RunPlan(recoveries=(Recovery(stage="sft", at="", reason="", batch_items=1),)).most_batch_items == 1


def test_a_damaged_file_is_as_none(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    note_recovery(run, IN_BASE)
    run.plan.write_bytes(run.plan.read_bytes()[:-5])
    assert read_run_plan(run) == RunPlan()


def test_a_full_disk_loses_what_only_tells_but_not_in_silence_what_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise DiskFullError("no space") from OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(run_plan, "atomic_write", full)
    note_chosen(RunFolder(tmp_path), CHOSEN, "CPU")
    note_preflight(RunFolder(tmp_path), "train", MEASURED)
    with pytest.raises(DiskFullError):
        note_recovery(RunFolder(tmp_path), IN_BASE)


def test_reports_say_what_was_done() -> None:
    assert "in training after step 12" in recovery_text(IN_TRAINING) and "same effective batch" in recovery_text(IN_TRAINING)
    assert "at 32 items; both arms were answered in batches of at most 16" in recovery_text(IN_BASE)
    assert "stage sft" in recovery_text(Recovery(stage="sft", at="", reason=""))
