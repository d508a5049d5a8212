"""The panel beside a minimal Textual app, in the same run: `python tests/bench/panel.py [--times 9] [--seconds 60] [--events 1000000]`.

Each start is a process of its own in a pseudo-terminal of 80×24. First paint runs from its start to the first byte of the frame that holds
the wanted words. Bytes, processor seconds and memory are counted while a journal grows by two steps a second, as an engine writes it at
most. Replay runs from the start of the panel to the frame with the last step of a journal of a million steps. It prints a table and JSON;
it refuses to judge.
"""

import argparse
import fcntl
import importlib.util
import json
import os
import platform
import pty
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
MINIMAL = """
from textual.app import App
from textual.widgets import Static
class Minimal(App):
    def compose(self):
        yield Static("first paint")
Minimal().run()
"""
PANEL = "import sys; from pathlib import Path; from app.opening import open_panel; from engine.protocol.runs import RunFolder; open_panel(Path(sys.argv[1]), RunFolder(Path(sys.argv[2])) if len(sys.argv) > 2 else None)"
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
SETTLE_S = 4.0
STEPS_A_SECOND = 2.0
LONG_RUN_STEPS = 20_000
PATIENCE_S = 120.0


class Session:
    """A process in a pseudo-terminal that is read all the time, as a terminal does."""

    def __init__(self, code: str, arguments: list[str]) -> None:
        self.began = time.perf_counter()
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        environ = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}
        environ.pop("TMUX", None)
        self.child = subprocess.Popen(
            [sys.executable, "-c", code, *arguments], stdin=slave, stdout=slave, stderr=slave, env=environ, start_new_session=True
        )
        os.close(slave)

    def until(self, words: bytes) -> float:
        """Seconds from the start to the frame with `words`."""
        seen = b""
        while words not in seen:
            if not select.select([self.master], [], [], PATIENCE_S)[0]:
                raise RuntimeError(f"{words!r} was never painted")
            seen = seen[-200_000:] + os.read(self.master, 65536)
        return time.perf_counter() - self.began

    def read(self, seconds: float) -> int:
        """Bytes that come within a time."""
        count, end = 0, time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.master], [], [], left)[0]:
                count += len(os.read(self.master, 65536))
        return count

    @property
    def cpu_s(self) -> float:
        """Processor seconds so far, all threads."""
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND

    @property
    def rss_mib(self) -> float:
        """Resident memory now."""
        lines = Path(f"/proc/{self.child.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024

    def end(self) -> None:
        """End it."""
        self.child.kill()
        self.child.wait()
        os.close(self.master)


def load_journals() -> ModuleType:
    """The maker of invented runs."""
    path = ROOT / "tests" / "app" / "journals" / "make_journals.py"
    spec = importlib.util.spec_from_file_location("make_journals", path)
    assert spec is not None and spec.loader is not None
    journals = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(journals)
    return journals


def scenes(root: Path, runs: int) -> Path:
    """A workspace with `runs` invented runs; the run to open."""
    made: Path = load_journals().make_scene(root, "training").run.path
    for number in range(runs - 1):
        copy = made.parent / f"0314-{number:04d}-copy-{number:04x}"
        copy.mkdir()
        for name in ("config.toml", "state.json", "owner.json"):
            (copy / name).write_bytes((made / name).read_bytes())
    return made


def first_paints(folder: Path, times: int) -> dict[str, float]:
    """Median seconds of each case, measured in turns, so that a noisy moment hits all alike."""
    made = scenes(folder / "w", 20)
    cases = {
        "minimal Textual app": (MINIMAL, [], b"first paint"),
        "panel, 20 runs": (PANEL, [str(folder / "w")], b"workspace"),
        "panel, one run, Train": (PANEL, [str(folder / "w"), str(made)], b"smooth"),
    }
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(times + 1):
        for name, (code, arguments, words) in cases.items():
            session = Session(code, arguments)
            seconds = session.until(words)
            session.end()
            if turn:
                taken[name].append(seconds)
    return {name: statistics.median(values) for name, values in taken.items()}


class Steps:
    """A journal that grows by steps, as text lines made from the last step of an invented run."""

    def __init__(self, run: Path) -> None:
        self.journal, self.owner = run / "events.jsonl", run / "owner.json"
        lines = self.journal.read_bytes().splitlines()
        self._step = json.loads([line for line in lines if b'"StepTrained"' in line][-1])
        self._number = 0

    def line(self, steps: int) -> bytes:
        """The next step of `steps`."""
        self._number += 1
        step = self._step
        step.update(seq=step["seq"] + 1, step=step["step"] + 1, steps=steps, mono_s=step["mono_s"] + 1 / STEPS_A_SECOND)
        step["loss"] = 0.95 + 0.04 * (self._number % 7) / 7
        step["memory"]["allocated_bytes"] += (1 << 24) * (1 - 2 * (self._number % 2))
        return json.dumps(step, separators=(",", ":")).encode() + b"\n"

    def write_while(self, stopped: threading.Event) -> None:
        """Two steps a second with a heartbeat, until it is stopped."""
        with self.journal.open("ab") as journal:
            while not stopped.wait(1 / STEPS_A_SECOND):
                self._step["t"] = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
                journal.write(self.line(LONG_RUN_STEPS))
                journal.flush()
                os.utime(self.owner)

    def write(self, count: int) -> int:
        """`count` steps at once; the last one's number."""
        with self.journal.open("ab") as journal:
            for _ in range(count):
                journal.write(self.line(self._step["steps"] + count))
        return int(self._step["step"])


def steady(
    code: str, arguments: list[str], words: bytes, seconds: float, write: Callable[[threading.Event], None] | None
) -> dict:
    """Bytes a second, share of a core and memory of a session that has settled."""
    session, stopped = Session(code, arguments), threading.Event()
    session.until(words)
    writer = threading.Thread(target=write, args=(stopped,)) if write else None
    if writer:
        writer.start()
    session.read(SETTLE_S)
    before = session.cpu_s
    count = session.read(seconds)
    found = {"bytes_a_second": count / seconds, "core_share": (session.cpu_s - before) / seconds, "rss_mib": session.rss_mib}
    stopped.set()
    if writer:
        writer.join()
    session.end()
    return found


def replay(root: Path, run: Path, events: int) -> dict[str, float]:
    """Seconds from the start to the last of `events` steps on the screen, beyond those of a short journal; memory after both."""
    session = Session(PANEL, [str(root), str(run)])
    first_s = session.until(b"smooth")
    session.read(SETTLE_S)
    short_mib = session.rss_mib
    session.end()
    last = Steps(run).write(events)
    session = Session(PANEL, [str(root), str(run)])
    whole_s = session.until(f"step {last:,}/".encode())
    session.read(SETTLE_S)
    found = {"replay_s": whole_s - first_s, "rss_short_mib": short_mib, "rss_long_mib": session.rss_mib}
    session.end()
    return found


def main() -> None:
    """Measure, then print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--events", type=int, default=1_000_000)
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paints = first_paints(folder, given.times)
        run = scenes(folder / "steady", 1)
        at_work = {
            "minimal Textual app": steady(MINIMAL, [], b"first paint", given.seconds, None),
            "panel, Train": steady(PANEL, [str(folder / "steady"), str(run)], b"smooth", given.seconds, Steps(run).write_while),
        }
        long = replay(folder / "long", scenes(folder / "long", 1), given.events)
    base = paints["minimal Textual app"]
    for case, seconds in paints.items():
        print(f"first paint  {case:<24} {1000 * seconds:7.0f} ms   {seconds / base:5.2f} ×")
    for case, found in at_work.items():
        print(
            f"at work      {case:<24} {found['bytes_a_second']:7.0f} B/s  {100 * found['core_share']:5.2f} % of a core  {found['rss_mib']:4.0f} MiB"
        )
    print(f"replay       {given.events:,} events: {long['replay_s']:.2f} s beyond first paint; {long['rss_short_mib']:.0f} MiB before, "
          f"{long['rss_long_mib']:.0f} MiB after")  # fmt: skip
    about = {
        "python": platform.python_version(),
        "textual": version("textual"),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }
    print(json.dumps({"first_paint_s": paints, "at_work": at_work, "replay": long, **vars(given), **about}))


if __name__ == "__main__":
    main()
