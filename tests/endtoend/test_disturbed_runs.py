"""A run that is killed, orphaned or abandoned in training and in evaluation ends with the same bytes as one that was left alone."""

import msgspec
import pytest

from engine.protocol.events import RunFinished, WorkerRestarted
from engine.protocol.runs import RunFolder, read_owner
from tests.endtoend.job import (
    Watcher,
    await_rest,
    in_sft_arm,
    in_training,
    kill_supervisor,
    kill_worker,
    outcome,
    sluice,
    started,
)

# several workers that import torch, each in up to half a minute on a loaded machine
pytestmark = [pytest.mark.xdist_group("endtoend"), pytest.mark.timeout(900)]


def assert_same(run: RunFolder, undisturbed: RunFolder) -> None:
    ours, theirs = outcome(run), outcome(undisturbed)
    assert [name for name in theirs if ours[name] != theirs[name]] == []


def test_the_job_on_a_users_own_model_and_data_leaves_everything_behind(undisturbed) -> None:
    for path in (
        undisturbed.config, undisturbed.prereg, undisturbed.gates, undisturbed.journal, undisturbed.engine_log, undisturbed.success_marker,
        undisturbed.training_manifest, undisturbed.evaluation, undisturbed.summary, undisturbed.adapter / "adapter_model.safetensors",
    ):  # fmt: skip
        assert path.is_file(), path
        assert path.stat().st_mode & 0o077 == 0, f"{path} is readable by others"
    evaluation = msgspec.json.decode(undisturbed.evaluation.read_bytes())
    assert evaluation["overall"]["n"] == 48
    assert set(evaluation["by_type"]) == {"format", "colour"}
    assert evaluation["verdict"]["decision"] in ("GO", "NO-GO", "INCONCLUSIVE")
    assert "RELAXED" in evaluation["verdict"]["flags"]
    owner = read_owner(undisturbed)
    assert owner is not None and owner.released


def test_killed_workers_and_a_stop_change_nothing(job, undisturbed) -> None:
    workspace = job / "workspace"
    run = started(workspace, job / "sluice.toml")
    watcher = Watcher(run)
    watcher.until(in_training)
    second = sluice(workspace, "resume", run.run_id, "--detach")
    assert second.returncode == 2 and "another supervisor owns it" in second.stderr
    kill_worker(run)
    watcher.until(lambda event: isinstance(event, WorkerRestarted))
    watcher.until(in_training)
    stopped = sluice(workspace, "stop", run.run_id)
    assert stopped.returncode == 0 and "stopped" in stopped.stdout, stopped.stderr
    assert sluice(workspace, "resume", run.run_id, "--detach").returncode == 0
    watcher.until(in_sft_arm)
    kill_worker(run)
    assert isinstance(await_rest(run), RunFinished)
    assert_same(run, undisturbed)


def test_a_killed_supervisor_takes_its_worker_along_and_a_resume_goes_on(job, undisturbed) -> None:
    workspace = job / "workspace"
    run = started(workspace, job / "sluice.toml")
    watcher = Watcher(run)
    for moment in (in_training, in_sft_arm):
        watcher.until(moment)
        kill_supervisor(run)
        shown = sluice(workspace, "runs")
        assert f"{run.run_id}  interrupted" in shown.stdout
        resumed = sluice(workspace, "resume", run.run_id, "--detach")
        assert resumed.returncode == 0, resumed.stderr
    assert isinstance(await_rest(run), RunFinished)
    assert_same(run, undisturbed)


def test_the_report_is_rebuilt_byte_for_byte(job, undisturbed) -> None:
    before = outcome(undisturbed)
    done = sluice(job / "workspace", "report", undisturbed.run_id)
    assert done.stdout.strip() and "Traceback" not in done.stderr
    assert outcome(undisturbed) == before
