"""A whole small job in a folder of its own: another tiny model, a dataset, held-out items and a sluice.toml; and how to disturb it."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from engine.protocol import events as ev
from engine.protocol.journal_tail import JournalTail
from engine.protocol.runs import RunFolder, read_owner, start_ticks

LIMIT_S = 600.0
LOOK_S = 0.02
THINGS = ("river", "stone", "lamp", "bridge", "window", "garden", "basket", "candle", "ladder", "needle", "pepper", "wagon")
COLOURS = ("red", "blue", "green", "white", "black", "brown", "grey", "pink")


def write_datasets(folder: Path) -> None:
    """120 records that pair a thing with a colour, and 48 held-out items of two types, all from one seed."""
    draw = random.Random(11)
    lines = []
    for number in range(120):
        thing, colour = draw.choice(THINGS), draw.choice(COLOURS)
        record = {
            "id": f"r{number}",
            "instruction": f"Say the colour of {thing} number {number}.",
            "response": f"It is {colour}.",
        }
        lines.append(json.dumps(record))
    (folder / "train.jsonl").write_text("\n".join(lines) + "\n")
    items = []
    for number in range(48):
        checks = (
            [{"kind": "words", "max": 12}] if number % 2 else [{"kind": "contains", "any": ["e", "It"]}, {"kind": "no_runaway"}]
        )
        items.append(
            {"id": f"h{number}", "type": ["format", "colour"][number % 2], "checks": checks,
             "instruction": f"Which shade has the {draw.choice(THINGS)} in drawer {number}?"}
        )  # fmt: skip
    (folder / "held_out.jsonl").write_text("\n".join(json.dumps(item) for item in items) + "\n")


SETTINGS = """
[run]
name = "small"
profile = "external"
[model]
path = "model"
[data]
train = "train.jsonl"
held_out = "held_out.jsonl"
[train]
lr = 5e-3
epochs = 4
max_seq_len = 64
row_tokens = 128
dev_every_steps = 10
checkpoint_every_steps = 7
[eval]
max_new_tokens = 12
batch_items = 6
rebatch_items = 6
[verdict]
min_items = 24
guarded = ["format"]
[gates]
min_held_out = 24
min_guarded_items = 10
max_duplicate_share = 1.0
[engine]
device = "cpu"
threads = 1
"""


def environment(workspace: Path) -> dict[str, str]:
    """The environment of a command on that workspace."""
    return {**os.environ, "SLUICE_WORKSPACE": str(workspace), "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "NO_COLOR": "1"}


def sluice(workspace: Path, *arguments: str, limit_s: float = LIMIT_S) -> subprocess.CompletedProcess[str]:
    """Run the command line and wait for it."""
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments], env=environment(workspace), capture_output=True, text=True, timeout=limit_s, check=False,
    )  # fmt: skip


def started(workspace: Path, config: Path, *arguments: str) -> RunFolder:
    """Start a run, detached."""
    done = sluice(workspace, "run", str(config), "--detach", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return RunFolder(Path(json.loads(done.stdout)["path"]))


class Watcher:
    """Waits for events of a run, each seen once."""

    def __init__(self, run: RunFolder) -> None:
        self.run, self._tail = run, JournalTail(run.journal)
        self.seen: list[ev.Event] = []

    def until(self, wanted: Callable[[ev.Event], bool], limit_s: float = LIMIT_S) -> ev.Event:
        """The next event that `wanted` accepts; fails after `limit_s`, showing the end of the engine's log."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            for _, event in self._tail.poll_all():
                self.seen.append(event)
            while self.seen:
                event = self.seen.pop(0)
                if wanted(event):
                    return event
            time.sleep(LOOK_S)
        log = self.run.engine_log.read_text(errors="replace")[-2000:] if self.run.engine_log.exists() else ""
        raise AssertionError(f"the event did not come; the engine's log ends:\n{log}")


def in_training(event: ev.Event) -> bool:
    """A step in the middle of training."""
    return isinstance(event, ev.StepTrained) and 3 <= event.step < event.steps - 3


def in_sft_arm(event: ev.Event) -> bool:
    """A batch in the middle of the SFT arm."""
    return isinstance(event, ev.BatchEvaluated) and event.arm == "sft" and 0 < event.done_items < event.items - 6


def kill_worker(run: RunFolder) -> None:
    """SIGKILL the worker that the owner recorded."""
    owner = read_owner(run)
    assert owner is not None and owner.worker_pid is not None
    os.kill(owner.worker_pid, signal.SIGKILL)


def kill_supervisor(run: RunFolder) -> None:
    """SIGKILL the supervisor and wait until its worker is gone too, by itself."""
    owner = read_owner(run)
    assert owner is not None and owner.worker_pid is not None and owner.worker_start_ticks is not None
    os.kill(owner.pid, signal.SIGKILL)
    await_gone(owner.pid, owner.start_ticks)
    await_gone(owner.worker_pid, owner.worker_start_ticks)


def await_gone(pid: int, ticks: int, limit_s: float = 60.0) -> None:
    """Wait until that very process has ended."""
    deadline = time.monotonic() + limit_s
    while start_ticks(pid) == ticks:
        assert time.monotonic() < deadline, f"process {pid} outlived its supervisor"
        time.sleep(LOOK_S)


def await_rest(run: RunFolder) -> ev.Event:
    """Wait until the run has come to rest and its supervisor is gone; its last event."""
    last = Watcher(run).until(lambda event: isinstance(event, ev.RunFinished | ev.RunFailed | ev.RunBlocked))
    owner = read_owner(run)
    assert owner is not None
    await_gone(owner.pid, owner.start_ticks)
    return last


def outcome(run: RunFolder) -> dict[str, bytes]:
    """What must be the same however often a run was disturbed: weights, records, and the evaluation without its time stamp."""
    evaluation = msgspec.json.decode(run.evaluation.read_bytes())
    # a commit made while the tests run changes neither weights nor answers
    del evaluation["metadata"]["created_at"], evaluation["metadata"]["git_sha"]
    return {
        "adapter": (run.adapter / "adapter_model.safetensors").read_bytes(),
        "adapter config": (run.adapter / "adapter_config.json").read_bytes(),
        "base": (run.eval / "base.jsonl").read_bytes(),
        "sft": (run.eval / "sft.jsonl").read_bytes(),
        "evaluation": msgspec.json.encode(evaluation),
    }
