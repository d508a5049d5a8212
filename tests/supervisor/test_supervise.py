"""A real supervisor process with a scripted worker, through everything that can happen to it."""

import json
import os
import signal
import stat

import msgspec
import pytest

from engine.protocol import events as ev
from engine.protocol.labels import labels_file
from engine.protocol.runs import RunFolder, read_owner, read_summary, start_ticks
from engine.store.run_plan import read_run_plan

from .conftest import PATIENCE_S, Driven, until_true

STAGE = ["StageStarted", "WorkerStarted", "WorkerStarting", "WorkerExited", "StageFinished"]


def test_every_stage_runs_once_and_the_run_is_told(fresh: Driven):
    assert fresh.finish("report") == 0
    assert fresh.names() == ["RunCreated", "SupervisorStarted", *STAGE * 5, "RunFinished"]
    assert [event.stage for event in fresh.of(ev.StageFinished)] == ["gates", "base", "train", "sft", "report"]
    assert fresh.events()[-1] == ev.RunFinished(decision="GO")
    summary, owner = read_summary(fresh.run), read_owner(fresh.run)
    assert summary is not None
    assert (summary.state, summary.stage, summary.name) == ("finished", "report", "sft")
    assert owner is not None
    assert (owner.epoch, owner.released, owner.worker_pid) == (1, True, None)


def test_what_it_writes_is_private(driven: Driven):
    driven.script(train=[[["print", "hello\n"], ["finish"]]])
    driven.finish()
    for name in ("events.jsonl", "owner.json", "state.json", "engine.log"):
        assert stat.S_IMODE((driven.run.path / name).stat().st_mode) == 0o600, name


def test_until_ends_early_and_the_rest_follows_later(driven: Driven):
    assert driven.finish() == 0
    assert [event.stage for event in driven.of(ev.StageFinished)] == ["train"]
    assert driven.of(ev.RunFinished) == [ev.RunFinished(decision=None)]
    assert driven.finish("sft") == 0
    assert [event.stage for event in driven.of(ev.StageStarted)] == ["train", "sft"]
    assert [(event.epoch, event.resumed) for event in driven.of(ev.SupervisorStarted)] == [(1, False), (2, True)]


def test_a_killed_worker_is_replaced(driven: Driven):
    driven.script(train=[[["steps", 1, 3], ["print", "last words\n"], ["kill", "SIGKILL"]], [["finish"]]])
    assert driven.finish() == 0
    killed = next(event for event in driven.of(ev.WorkerExited) if event.signal)
    assert (killed.signal, killed.exit_status, killed.kernel_oom, killed.log_tail) == ("SIGKILL", None, False, ("last words",))
    assert driven.of(ev.WorkerRestarted) == [
        ev.WorkerRestarted(reason="worker of stage train: killed by SIGKILL", without_progress=1, limit=2)
    ]
    assert [event.attempt for event in driven.of(ev.StageStarted) if event.stage == "train"] == [1, 2]


def test_three_deaths_without_progress_fail_the_run_with_the_last_words(driven: Driven):
    driven.script(
        train=[[["steps", 1, 3], ["kill", "SIGSEGV"]], [["steps", 1, 3], ["print", "\x1b[31mred\n"], ["kill", "SIGSEGV"]]]
    )
    assert driven.finish() == 4
    assert [event.without_progress for event in driven.of(ev.WorkerRestarted)] == [1, 2]
    failed = driven.events()[-1]
    assert isinstance(failed, ev.RunFailed)
    assert "killed by SIGSEGV" in failed.reason
    assert failed.log_tail == ("␛[31mred",)
    summary = read_summary(driven.run)
    assert summary is not None
    assert summary.state == "failed"


def test_progress_earns_further_restarts(driven: Driven):
    deaths = [[["step", step], ["kill", "SIGKILL"]] for step in (1, 2, 3, 4, 5)]
    driven.script(train=[*deaths, [["finish"]]])
    assert driven.finish() == 0
    assert [event.without_progress for event in driven.of(ev.WorkerRestarted)] == [1] * 5


def test_a_complete_stage_is_progress(driven: Driven):
    lost: list[list[object]] = [["kill", "SIGKILL"]]
    driven.script(train=[lost, lost, [["finish"]]], sft=[lost, lost, [["finish"]]])
    assert driven.finish("sft") == 0
    assert [event.without_progress for event in driven.of(ev.WorkerRestarted)] == [1, 2, 1, 2]


def test_a_failed_run_can_be_started_again(driven: Driven):
    driven.script(train=[[["exit", 4]], [["finish"]]])
    assert driven.finish() == 4
    assert driven.finish() == 0
    assert driven.names()[-1] == "RunFinished"


def test_a_named_problem_is_not_retried(driven: Driven):
    driven.script(train=[[["raise", "input"]]])
    assert driven.finish() == 2
    failed = driven.events()[-1]
    assert isinstance(failed, ev.RunFailed)
    assert failed.reason == "the model folder has no safetensors; the tokenizer is missing"
    assert driven.of(ev.WorkerRestarted) == []


def test_a_bug_is_told_as_one_with_its_traceback_in_the_log(driven: Driven):
    driven.script(train=[[["raise", "bug"]]])
    assert driven.finish() == 4
    failed = driven.of(ev.WorkerFailed)[0]
    assert failed.problems[0].startswith("bug: KeyError")
    assert "\x1b" not in failed.problems[0]
    assert "Traceback" in driven.run.engine_log.read_text()


def test_out_of_gpu_memory_starts_again_with_a_smaller_plan(driven: Driven):
    driven.script(train=[[["if-oom", 0, ["raise", "oom"]], ["if-oom", 1, ["raise", "oom"]], ["if-oom", 2, ["finish"]]]])
    assert driven.finish() == 0
    assert [event.reason for event in driven.of(ev.WorkerRestarted)] == ["out of GPU memory: CUDA out of memory"] * 2


def test_what_a_worker_could_not_write_down_the_supervisor_does(driven: Driven):
    peak = 70 << 30
    driven.script(train=[[["plan", peak], ["step", 4], ["raise", "oom"]], [["finish"]]])
    assert driven.finish() == 0
    (known,) = read_run_plan(driven.run).recoveries
    assert (known.stage, known.step, known.plan, known.predicted_peak_bytes) == ("train", 4, "scripted", peak)
    assert read_run_plan(driven.run).failed_peaks("train") == (peak,)
    (told,) = driven.of(ev.MemoryRanOut)
    assert (told.stage, told.step, told.predicted_peak_bytes) == ("train", 4, peak)
    assert driven.names().index("MemoryRanOut") < driven.names().index("WorkerRestarted")


def test_what_a_worker_has_written_down_is_counted_once(driven: Driven):
    driven.script(train=[[["step", 4], ["ran-out", 4]], [["finish"]]])
    assert driven.finish() == 0
    assert [one.reason for one in read_run_plan(driven.run).recoveries] == ["scripted"]
    assert len(driven.of(ev.MemoryRanOut)) == 1


def test_a_worker_killed_by_the_kernel_is_no_recovery(driven: Driven):
    driven.script(train=[[["step", 4], ["kill", "SIGKILL"]], [["finish"]]])
    assert driven.finish() == 0
    assert read_run_plan(driven.run).recoveries == ()


@pytest.mark.parametrize(("stage", "keys"), [("train", "train.row_tokens"), ("sft", "eval.batch_items and eval.max_new_tokens")])
def test_memory_that_runs_out_again_and_again_ends_with_what_to_change(driven: Driven, stage: ev.Stage, keys: str):
    if stage == "sft":
        driven.complete("train")
    driven.script(**{stage: [[["raise", "oom"]]]})
    assert driven.finish(stage) == 4
    failed = driven.events()[-1]
    assert isinstance(failed, ev.RunFailed)
    assert failed.reason == "out of GPU memory: CUDA out of memory, 2 restarts without progress before it"
    assert keys in failed.mend
    assert len(read_run_plan(driven.run).recoveries) == 3


def test_a_blocked_run_goes_on_after_an_override(fresh: Driven):
    fresh.script(gates=[[["block"]]])
    assert fresh.finish("gates") == 1
    assert fresh.events()[-1] == ev.RunBlocked(gates=("leakage",))
    fresh.run.overrides.write_text(json.dumps([{"gate": "leakage", "reason": "known", "who": "a", "at": "b"}]))
    assert fresh.finish("gates") == 0
    assert fresh.names()[-1] == "RunFinished"


def test_a_worker_that_lies_about_its_files_is_not_believed(driven: Driven):
    driven.script(train=[[["exit", 0]]])
    assert driven.finish() == 4
    assert "its files are not there" in driven.events()[-1].reason


def test_a_crash_with_status_one_is_no_gate(driven: Driven):
    driven.script(train=[[["exit", 1]], [["finish"]]])
    assert driven.finish() == 0
    assert driven.of(ev.RunBlocked) == []


def test_a_stop_command_is_acknowledged_and_the_run_resumes(driven: Driven):
    driven.script(train=[[["wait"]], [["finish"]]])
    supervisor = driven.start()
    driven.await_worker("train")
    command = driven.command("stop")
    assert supervisor.wait(PATIENCE_S) == 0
    assert driven.names()[-5:] == ["CommandReceived", "RunStopping", "WorkerStopped", "WorkerExited", "RunStopped"]
    assert driven.of(ev.CommandReceived)[0].uuid == command.uuid
    assert driven.of(ev.WorkerExited)[-1].exit_status == 75
    assert list(driven.run.commands.iterdir()) == []
    summary = read_summary(driven.run)
    assert summary is not None
    assert (summary.state, summary.detail) == ("stopped", "asked for by ada@lab")
    assert driven.finish() == 0


def test_sigterm_stops_and_sighup_does_not(driven: Driven):
    driven.script(train=[[["wait"]]])
    supervisor = driven.start()
    worker = driven.await_worker("train")
    supervisor.send_signal(signal.SIGHUP)
    os.kill(worker, signal.SIGHUP)
    driven.command("checkpoint")
    until_true(lambda: driven.of(ev.CheckpointWritten))
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(PATIENCE_S) == 0
    assert driven.events()[-1] == ev.RunStopped(reason="the supervisor got SIGTERM")


def test_a_stop_meant_for_an_earlier_supervisor_is_not_obeyed(driven: Driven):
    command = driven.command("stop")
    past = msgspec.structs.replace(command, asked_at="2020-01-01T00:00:00.000Z")
    (driven.run.commands / f"{command.uuid}.json").write_bytes(msgspec.json.encode(past))
    assert driven.finish() == 0
    assert "not obeyed" in driven.of(ev.Warned)[0].text
    assert driven.names()[-1] == "RunFinished"


def test_a_worker_stopped_behind_the_supervisors_back_is_replaced(driven: Driven):
    driven.script(train=[[["wait"]], [["finish"]]])
    supervisor = driven.start()
    os.kill(driven.await_worker("train"), signal.SIGTERM)
    assert supervisor.wait(PATIENCE_S) == 0
    assert "not through its supervisor" in driven.of(ev.WorkerRestarted)[0].reason


def test_a_second_supervisor_is_refused(driven: Driven):
    driven.script(train=[[["wait"]]])
    first = driven.start()
    driven.await_worker("train")
    second = driven.start()
    assert second.wait(PATIENCE_S) == 2
    assert second.stderr is not None
    assert "another supervisor owns it" in second.stderr.read()
    assert first.poll() is None
    assert len(driven.of(ev.SupervisorStarted)) == 1


def test_many_supervisors_at_once_leave_one_owner(driven: Driven):
    driven.script(train=[[["wait"]]])
    racing = [driven.start() for _ in range(4)]
    driven.await_worker("train")
    until_true(lambda: sum(process.poll() is not None for process in racing) == 3)
    assert sorted(process.poll() or 0 for process in racing) == [0, 2, 2, 2]
    assert len(driven.of(ev.WorkerStarted)) == 1


@pytest.mark.parametrize("how", ["wait", "wait-for-signal-only"])
def test_a_killed_supervisor_takes_its_worker_along_and_the_next_one_goes_on(driven: Driven, how: str):
    driven.script(train=[[[how]], [["finish"]]])
    first = driven.start()
    worker = driven.await_worker("train")
    ticks = start_ticks(worker)
    first.kill()
    first.wait()
    until_true(lambda: start_ticks(worker) != ticks)
    assert driven.finish() == 0
    assert [event.epoch for event in driven.of(ev.SupervisorStarted)] == [1, 2]


def test_an_orphan_that_does_not_end_is_killed_before_the_next_worker_starts(driven: Driven, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TEST_GRACE_S", "0.3")
    driven.script(train=[[["deaf"]], [["finish"]]])
    first = driven.start()
    worker = driven.await_worker("train")
    ticks = start_ticks(worker)
    first.kill()
    first.wait()
    assert start_ticks(worker) == ticks
    assert driven.finish() == 0
    assert start_ticks(worker) != ticks


def test_a_displaced_supervisor_ends_its_worker_and_writes_nothing_more(driven: Driven, monkeypatch: pytest.MonkeyPatch):
    # no beat meanwhile: one that began before the other owner came would write over it
    monkeypatch.setenv("TEST_BEAT_S", "1000")
    driven.script(train=[[["deaf"]]])
    supervisor = driven.start()
    worker = driven.await_worker("train")
    until_true(lambda: ev.WorkerStarting(stage="train") in driven.events() and _state(driven) == "loading")
    until_true(lambda: (owner := read_owner(driven.run)) is not None and owner.worker_pid == worker)
    before = driven.run.journal.read_bytes()
    state = driven.run.state.read_bytes()
    other = {**json.loads(driven.run.owner.read_bytes()), "uuid": "another", "epoch": 9}
    new = driven.run.owner.with_name("owner.new")
    new.write_text(json.dumps(other))
    new.replace(driven.run.owner)
    # something to tell, so that the displaced one looks before its next beat
    driven.command("checkpoint")
    assert supervisor.wait(PATIENCE_S) == 4
    assert driven.run.journal.read_bytes() == before
    assert driven.run.state.read_bytes() == state
    assert json.loads(driven.run.owner.read_bytes()) == other
    assert start_ticks(worker) is None


def _state(driven: Driven) -> str:
    summary = read_summary(driven.run)
    return "" if summary is None else summary.state


def test_a_flood_of_events_arrives_whole(driven: Driven):
    driven.script(train=[[["flood", 100_000], ["finish"]]])
    assert driven.finish() == 0
    assert len(driven.of(ev.GateProgressed)) == 100_000
    assert driven.of(ev.EventsDropped) == []


def test_fast_steps_are_thinned_and_counted_but_the_last_is_kept(driven: Driven):
    driven.script(train=[[["steps", 1, 2000], ["finish"]]])
    assert driven.finish() == 0
    kept = driven.of(ev.StepTrained)
    assert kept[-1].step == 2000
    assert len(kept) < 100
    assert driven.of(ev.StepsThinned)[-1].steps == 2000 - len(kept)


def test_garbage_on_the_pipe_is_a_warning(driven: Driven):
    garbage = '\xff\xfe\n{"type": "Invented"}\nnull\n{"type":"RunFinished"}\n' + "x\n" * 50 + '{"type":"Warned","te'
    driven.script(train=[[["raw", garbage], ["finish"]]])
    assert driven.finish() == 0
    texts = [event.text for event in driven.of(ev.Warned)]
    assert len(texts) == 11
    assert "only the supervisor may send" in texts[3]
    assert texts[-1] == "the worker sent 55 lines that are no events"
    assert all(text.isprintable() for text in texts)


def test_a_child_that_holds_the_pipe_open_does_not_hide_the_end(driven: Driven):
    driven.script(train=[[["orphan"], ["kill", "SIGKILL"]], [["finish"]]])
    assert driven.finish() == 0
    assert driven.names()[-1] == "RunFinished"


def test_a_torn_journal_is_mended_and_the_numbers_go_on(driven: Driven):
    assert driven.finish() == 0
    whole = driven.run.journal.read_bytes()
    driven.run.journal.write_bytes(whole + b'{"seq":99,"t":"20')
    assert driven.finish("sft") == 0
    lines = driven.run.journal.read_bytes().splitlines()
    torn = lines.index(b'{"seq":99,"t":"20')
    assert json.loads(lines[torn + 1])["type"] == "JournalRepaired"
    assert [json.loads(line)["seq"] for line in lines if line != lines[torn]] == list(range(len(lines) - 1))


def test_settings_with_problems_end_the_run_with_all_of_them(driven: Driven):
    text = driven.run.config.read_text().replace("lr = 0.0002", "lr = -1").replace("epochs = 3", "epochs = 0")
    driven.run.config.write_text(text)
    assert driven.finish() == 2
    failed = driven.events()[-1]
    assert isinstance(failed, ev.RunFailed)
    assert "train.lr" in failed.reason
    assert "train.epochs" in failed.reason


def test_no_run_folder_is_one_clear_line(driven: Driven):
    driven.run = RunFolder(driven.run.path / "nothing")
    process = driven.start()
    assert process.wait(PATIENCE_S) == 2
    assert process.stderr is not None
    assert "is not a run folder" in process.stderr.read()


def test_note_and_name_given_by_a_person_survive(driven: Driven):
    assert driven.finish() == 0
    driven.run.state.write_text(json.dumps({**json.loads(driven.run.state.read_bytes()), "note": "keep", "name": "mine"}))
    assert driven.finish("sft") == 0
    summary = read_summary(driven.run)
    assert summary is not None
    assert (summary.note, summary.name) == ("keep", "mine")


def test_labels_outlive_a_heartbeat_that_had_read_the_state_before(driven: Driven):
    assert driven.finish("gates") == 0
    labels_file(driven.run).write_text('{"name":"mine","note":"keep"}')
    assert driven.finish() == 0
    summary = read_summary(driven.run)
    assert summary is not None
    assert (summary.note, summary.name) == ("keep", "mine")
