import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.protocol.errors import DiskFullError, DisplacedError, RunBusyError
from engine.protocol.runs import Owner, OwnerWatch, RunFolder, boot_id, read_owner, start_ticks
from engine.store import ownership as ownership_module
from engine.store.ownership import claim, is_owner
from engine.store.processes import end_process


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def leave(run: RunFolder, **changes: Any) -> Owner:
    """An owner.json of a dead process of this host, unless told otherwise."""
    fields: dict[str, Any] = {
        "uuid": "before", "epoch": 4, "hostname": socket.gethostname(), "boot_id": boot_id(), "pid": os.getpid(), "start_ticks": 1
    }  # fmt: skip
    owner = Owner(**{**fields, **changes})
    run.owner.write_bytes(msgspec.json.encode(owner))
    return owner


def other_host(**changes: Any) -> dict[str, Any]:
    return {"hostname": "elsewhere", "boot_id": "other", **changes}


def names(run: RunFolder) -> list[str]:
    return sorted(path.name for path in run.path.iterdir())


def test_the_first_owner_is_this_process(run: RunFolder):
    mine = claim(run)
    owner = read_owner(run)
    assert owner == mine.owner
    assert owner is not None
    assert (owner.epoch, owner.pid, owner.start_ticks) == (1, os.getpid(), start_ticks(os.getpid()))
    assert mine.previous is None
    assert OwnerWatch(run).alive()
    assert run.owner.stat().st_mode & 0o777 == 0o600
    assert names(run) == ["owner.json", "owner.lock"]


def test_a_live_owner_is_named_and_not_displaced(run: RunFolder):
    mine = claim(run)
    with pytest.raises(RunBusyError, match=rf"another supervisor owns it \(process {os.getpid()} on .*sluice watch"):
        claim(run)
    assert mine.still_mine()


def test_a_released_run_is_taken_with_the_next_epoch(run: RunFolder):
    claim(run).release()
    assert not OwnerWatch(run).alive()
    assert claim(run).epoch == 2


def test_a_dead_owner_of_this_host_is_taken_over_at_once(run: RunFolder):
    before = leave(run)
    mine = claim(run)
    assert (mine.epoch, mine.previous) == (5, before)


def test_a_zombie_is_dead(run: RunFolder):
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert start_ticks(child.pid) is None
    leave(run, pid=child.pid, start_ticks=int(Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19]))
    assert claim(run).epoch == 5
    child.wait()


def test_an_owner_on_another_host_is_believed_while_it_beats(run: RunFolder, monkeypatch: pytest.MonkeyPatch):
    leave(run, **other_host())
    monkeypatch.setattr(ownership_module.time, "sleep", lambda _: leave(run, **other_host(counter=1)))
    with pytest.raises(RunBusyError, match="on elsewhere"):
        claim(run, look_s=0.01, lost_s=60.0)


def test_an_owner_on_another_host_that_stands_still_is_lost(run: RunFolder):
    leave(run, **other_host(counter=7))
    assert claim(run, look_s=0.01, lost_s=0.05).epoch == 5


def test_the_watch_counts_by_its_own_clock(run: RunFolder):
    leave(run, **other_host())
    now = [1000.0]
    watch = OwnerWatch(run, lambda: now[0])
    assert watch.alive()
    now[0] += 119
    assert watch.alive()
    leave(run, **other_host(counter=1))
    now[0] += 119
    assert watch.alive()
    now[0] += 120
    assert not watch.alive()


def test_a_garbled_owner_file_does_not_lock_the_run_for_ever(run: RunFolder):
    run.owner.write_bytes(b"")
    assert claim(run, look_s=0.01).epoch == 1


def test_a_claim_left_by_a_dead_claimant_is_removed(run: RunFolder):
    owner = leave(run)
    (run.path / "owner.5.claim").write_bytes(msgspec.json.encode(msgspec.structs.replace(owner, uuid="claimant", epoch=5)))
    assert claim(run).epoch == 5
    assert names(run) == ["owner.json", "owner.lock"]


@pytest.mark.parametrize("locks", [True, False])
@pytest.mark.parametrize("dead_owner", [True, False])
def test_of_many_claims_at_once_one_wins(run: RunFolder, monkeypatch: pytest.MonkeyPatch, locks: bool, dead_owner: bool):
    if not locks:
        monkeypatch.setattr(ownership_module, "_flocked", lambda _: True)
    if dead_owner:
        leave(run)
    start, outcomes = threading.Barrier(8), []

    def one() -> None:
        start.wait()
        try:
            outcomes.append(claim(run))
        except RunBusyError:
            outcomes.append(None)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [outcome for outcome in outcomes if outcome is not None]
    assert len(outcomes) == 8
    assert len(winners) == 1
    assert winners[0].still_mine()
    assert winners[0].epoch == (5 if dead_owner else 1)


def test_a_run_taken_between_two_looks_is_not_taken_from_the_living(run: RunFolder, monkeypatch: pytest.MonkeyPatch):
    leave(run)
    looks, faster = iter([False]), []

    def taken_meanwhile(watch: OwnerWatch) -> bool:
        found_dead = next(looks, None)
        if found_dead is None:
            return real(watch)
        monkeypatch.setattr(OwnerWatch, "alive", real)
        faster.append(claim(run))
        return found_dead

    real = OwnerWatch.alive
    monkeypatch.setattr(OwnerWatch, "alive", taken_meanwhile)
    with pytest.raises(RunBusyError):
        claim(run)
    assert faster[0].still_mine()


def test_a_volume_without_hard_links_will_do(run: RunFolder, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    claim(run)
    with pytest.raises(RunBusyError):
        claim(run)


def test_beats_raise_the_counter_and_workers_are_written_down(run: RunFolder):
    mine = claim(run)
    mine.beat()
    mine.record_worker(os.getpid())
    owner = read_owner(run)
    assert owner is not None
    assert (owner.counter, owner.worker_pid, owner.worker_start_ticks) == (1, os.getpid(), start_ticks(os.getpid()))


def test_a_displaced_owner_notices_and_writes_nothing(run: RunFolder):
    mine = claim(run)
    leave(run, uuid="usurper")
    before = run.owner.read_bytes()
    assert not mine.still_mine()
    with pytest.raises(DisplacedError, match="took it over; this process stops"):
        mine.beat()
    mine.release()
    assert run.owner.read_bytes() == before


def test_a_missing_owner_file_means_displaced_and_an_unreadable_one_nothing(run: RunFolder):
    mine = claim(run)
    run.owner.write_bytes(b"{")
    assert mine.still_mine()
    run.owner.unlink()
    assert not mine.still_mine()
    assert not is_owner(RunFolder(run.path / "gone"), "x")


def test_a_full_disk_does_not_make_a_live_owner_look_dead(run: RunFolder, monkeypatch: pytest.MonkeyPatch):
    mine = claim(run)

    def refuse(*_: object) -> None:
        raise DiskFullError("full")

    monkeypatch.setattr(ownership_module, "atomic_write", refuse)
    size = run.owner.stat().st_size
    mine.beat()
    assert json.loads(run.owner.read_bytes())["counter"] == 1
    assert run.owner.stat().st_size == size


@pytest.fixture
def sleeper():
    """A process that ignores SIGTERM when asked to; gone at the end."""
    started = []

    def start(deaf: bool) -> "subprocess.Popen[bytes]":
        code = (
            f"import signal,time\n{'signal.signal(15, signal.SIG_IGN)' if deaf else ''}\nprint('up', flush=True)\ntime.sleep(60)"
        )
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize(("deaf", "ending"), [(False, signal.SIGTERM), (True, signal.SIGKILL)])
def test_a_recorded_worker_is_ended_before_the_next(run: RunFolder, sleeper: Any, deaf: bool, ending: signal.Signals):
    worker = sleeper(deaf)
    leave(run, worker_pid=worker.pid, worker_start_ticks=start_ticks(worker.pid))
    mine = claim(run)
    assert mine.owner.worker_pid == worker.pid
    # a deaf one costs the whole grace, an obedient one must not
    assert mine.end_recorded_worker(grace_s=0.2 if deaf else 60.0)
    assert worker.wait() == -ending
    owner = read_owner(run)
    assert owner is not None
    assert owner.worker_pid is None


def test_a_process_that_only_has_the_recorded_number_is_left_alone(run: RunFolder, sleeper: Any):
    worker = sleeper(False)
    leave(run, worker_pid=worker.pid, worker_start_ticks=1)
    assert not claim(run).end_recorded_worker()
    assert worker.poll() is None


def test_a_worker_of_another_host_is_never_signalled(run: RunFolder, sleeper: Any):
    worker = sleeper(False)
    leave(run, **other_host(released=True, worker_pid=worker.pid, worker_start_ticks=start_ticks(worker.pid)))
    assert not claim(run).end_recorded_worker()
    assert worker.poll() is None


def test_without_pidfd_it_works_too(sleeper: Any, monkeypatch: pytest.MonkeyPatch):
    def refuse(_: int) -> int:
        raise OSError(errno.ENOSYS, "old kernel")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    process = sleeper(False)
    began = time.monotonic()
    assert end_process(process.pid, start_ticks(process.pid) or 0, 60.0)
    assert time.monotonic() - began < 60
    assert process.wait() == -signal.SIGTERM
