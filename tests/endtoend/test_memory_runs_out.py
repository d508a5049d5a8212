"""A run whose real workers run out of GPU memory, and are killed while they write, goes on to an end that tells it all."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from engine.protocol import events as ev
from engine.protocol.arms import Conditions, conditions_file
from engine.protocol.config_file import load_config
from engine.protocol.journal_tail import JournalTail
from engine.protocol.provenance import TrainingManifest
from engine.protocol.runs import RunFolder
from engine.store.create_run import create_run
from engine.store.run_plan import read_run_plan
from tests.endtoend.job import environment

# several workers that import torch, each in up to half a minute on a loaded machine
pytestmark = [pytest.mark.xdist_group("endtoend"), pytest.mark.timeout(900)]
LONGEST_S = 800.0
SABOTAGED = Path(__file__).with_name("sabotaged.py")
SABOTAGE = {
    "train": [{"ran_out_in_step": 5}, {"killed_while_writing": 14}, {}],
    "sft": [{"ran_out_in_batches_of": 6}, {}],
}


@pytest.fixture(scope="module")
def recovered(job: Path) -> RunFolder:
    run = create_run(load_config(job / "sluice.toml"), job / "workspace")
    (run.path / "sabotage.json").write_text(json.dumps(SABOTAGE))
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, str(SABOTAGED), "supervise", str(run.path)],
        env=environment(job / "workspace") | {"PYTHONPATH": root}, timeout=LONGEST_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, run.engine_log.read_text()[-2000:]
    return run


def of(run: RunFolder, kind: type[ev.Event]) -> list[ev.Event]:
    return [event for _, event in JournalTail(run.journal).poll_all() if type(event) is kind]


def test_each_recovery_is_an_event_and_a_restart(recovered: RunFolder) -> None:
    assert [(event.stage, event.step, event.batch) for event in of(recovered, ev.MemoryRanOut)] == [
        ("train", 4, None), ("sft", None, 2)
    ]  # fmt: skip
    assert [event.out_of_memory for event in of(recovered, ev.WorkerFailed)] == [True] * 2
    reasons = [event.reason for event in of(recovered, ev.WorkerRestarted)]
    assert [reason.startswith("out of GPU memory: CUDA out of memory") for reason in reasons] == [True, False, True]
    assert "killed by SIGKILL" in reasons[1]


def test_both_arms_were_split_alike_and_no_batch_is_lost(recovered: RunFolder) -> None:
    both = [msgspec.json.decode(conditions_file(recovered, arm).read_bytes(), type=Conditions) for arm in ("base", "sft")]
    assert [found.batch_items for found in both] == [3, 3]
    assert both[0].plan == both[1].plan
    planned = [(event.arm, event.batches) for event in of(recovered, ev.EvaluationPlanned)]
    assert planned == [("base", 8), ("sft", 8), ("base", 16), ("sft", 16)]


def test_manifest_plan_and_report_tell_every_recovery(recovered: RunFolder) -> None:
    known = read_run_plan(recovered).recoveries
    assert [(one.stage, one.step, one.batch_items) for one in known] == [("train", 4, None), ("sft", None, 6)]
    manifest = msgspec.json.decode(recovered.training_manifest.read_bytes(), type=TrainingManifest)
    assert manifest.compute is not None
    assert manifest.compute.recoveries == known[:1]
    assert manifest.outcome.exact
    summary, page = (" ".join(path.read_text().split()) for path in (recovered.summary, recovered.report_html))
    for text in (summary, page):
        assert "GPU memory ran out in training after step 4" in text
        assert "at 6 items; both arms were answered in batches of at most 3" in text


def test_the_adapter_is_that_of_a_run_with_memory_enough(recovered: RunFolder, undisturbed: RunFolder) -> None:
    name = "adapter_model.safetensors"
    assert (recovered.adapter / name).read_bytes() == (undisturbed.adapter / name).read_bytes()
    back = [event.step for event in of(recovered, ev.Rewound)]
    assert back[0] == 4, "the completed step was kept"
    assert 7 <= back[1] < 14, "the checkpoint that was being written is not there, the one before it is"
