"""The whole table of speed targets on one GPU, sluice and its peers in turn, and what of it was reached.

    PYTHONPATH=. python tests/bench/targets_gpu.py LINES [--jobs model,unsloth,trl,train,capped,capped-wide,capped-unsloth,whole] [--folder FOLDER]

Each job is a process of its own (`reference_model.py`, `peers_gpu.py`, `train_gpu.py`, `reference_job.py`); what it prints goes to the screen and into LINES,
JSON lines. The table at the end is of all that LINES holds, so that the jobs may be spread over several calls on one machine, and be looked at
again with `--jobs ""`; all of them take some 14 minutes on an H200. FOLDER keeps the model and the whole job. Ratios are only of figures in that file. A benchmark, not a test: nothing is asserted.
"""

import argparse
import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

BENCH = Path(__file__).parent
CAP_GIB = 46
JOBS = {
    "model": ["reference_model.py", "{model}"],
    "unsloth": ["peers_gpu.py", "unsloth", "{model}", "--modes", "b8,packed"],
    "trl": ["peers_gpu.py", "trl", "{model}", "--modes", "padded,packed"],
    "train": ["train_gpu.py", "--parts", "b8,dropout,packed,decode"],
    "capped": ["train_gpu.py", "--planned", "8", "--gib", str(CAP_GIB)],
    "capped-wide": ["train_gpu.py", "--planned", "57", "--gib", str(CAP_GIB)],
    "capped-unsloth": ["peers_gpu.py", "unsloth", "{model}", "--modes", "b8,packed", "--gib", str(CAP_GIB)],
    "whole": ["reference_job.py", "{folder}"],
}

Lines = Sequence[dict[str, Any]]
Figure = Callable[["Measured"], float | None]


class Measured:
    """The lines of all jobs."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def of(self, job: str, figure: str, **like: object) -> float | None:
        """That figure of the job's newest line with these values; None where there is none."""
        found = [
            line[figure] for line in self._lines
            if line["job"] == job and figure in line and all(line.get(key) == value for key, value in like.items())
        ]  # fmt: skip
        return float(found[-1]) if found else None

    def ratio(self, one: float | None, other: float | None) -> float | None:
        """How many times `one` is of `other`."""
        return None if one is None or not other else one / other


def eight(measured: Measured, dropout: float = 0.0) -> float | None:
    return measured.of("train", "step_s", part="8 examples", dropout=dropout)


def wide(measured: Measured, figure: str) -> float | None:
    return measured.of("train", figure, part="~4,000 tokens, rows of 4096")


def token_seconds(measured: Measured, peer: str) -> float | None:
    """Tokens a second of a peer's packed steps."""
    return measured.of(peer, "tokens_s", peer=peer, mode="packed")


def capped_unsloth(measured: Measured, mode: str) -> float | None:
    """Unsloth's shortest step in that mode, of both its jobs: it stays below the cap without one, too."""
    found = [measured.of(job, "step_s", mode=mode) for job in ("unsloth", "capped-unsloth")]
    return min((seconds for seconds in found if seconds is not None), default=None)


@dataclass(frozen=True)
class Target:
    """One figure of the table; `most` says whether it may be at most that, or must be at least."""

    what: str
    unit: str
    target: float
    most: bool
    figure: Figure

    def row(self, measured: Measured) -> tuple[str, str, str, str]:
        """What, measured, target, reached."""
        found = self.figure(measured)
        wanted = f"{'≤' if self.most else '≥'} {self.target:g} {self.unit}"
        if found is None:
            return self.what, "not measured", wanted, ""
        reached = found <= self.target if self.most else found >= self.target
        return self.what, f"{found:.4g} {self.unit}", wanted, "yes" if reached else "no"


TARGETS = (
    Target("8-example steps, optimizer included", "s", 0.16, True, eight),
    Target("– share of the matrix ceiling", "", 0.58, False, lambda m: m.of("train", "fraction", part="8 examples", dropout=0.0)),
    Target("– against Unsloth", "×", 7, False, lambda m: m.ratio(m.of("unsloth", "step_s", mode="b8"), eight(m))),
    Target("– against TRL, padded", "×", 29, False, lambda m: m.ratio(m.of("trl", "step_s", mode="padded"), eight(m))),
    Target("– LoRA dropout 0.1 against 0", "×", 1.15, True, lambda m: m.ratio(eight(m, 0.1), eight(m))),
    Target("~4,000-token steps", "tokens/s", 4000, False, lambda m: wide(m, "tokens_s")),
    Target("– share of the matrix ceiling", "", 0.65, False, lambda m: wide(m, "fraction")),
    Target("– against Unsloth, packed", "×", 2, False, lambda m: m.ratio(wide(m, "tokens_s"), token_seconds(m, "unsloth"))),
    Target("– against TRL, packed", "×", 2.6, False, lambda m: m.ratio(wide(m, "tokens_s"), token_seconds(m, "trl"))),
    Target(f"{CAP_GIB} GiB, 8 examples, against Unsloth", "×", 3, False,
           lambda m: m.ratio(capped_unsloth(m, "b8"), m.of("capped", "step_s"))),
    Target(f"{CAP_GIB} GiB, ~4,000 tokens, against Unsloth", "×", 1.2, False,
           lambda m: m.ratio(capped_unsloth(m, "packed"), m.of("capped-wide", "step_s"))),
    *(Target(f"{CAP_GIB} GiB, {words}: peak predicted against measured", "×", bound, most,
             lambda m, job=job: m.ratio(m.of(job, "predicted_peak_gib"), m.of(job, "peak_gib")))
      for job, words in (("capped", "8 examples"), ("capped-wide", "~4,000 tokens"))
      for bound, most in ((1.05, True), (0.98, False))),
    Target("greedy decoding, batch 64, with adapter", "ms a step", 25, True, lambda m: m.of("train", "ms", part="decode", adapter=True)),
    Target("the whole reference job without imports and loading", "s", 300, True, lambda m: m.of("whole", "without_loading_s")),
)  # fmt: skip


def run(job: str, folder: Path, lines: Path) -> None:
    """Run one job and keep what it prints."""
    parts = (part.format(folder=folder, model=folder / "model-32b") for part in JOBS[job][1:])
    command = [sys.executable, str(BENCH / JOBS[job][0]), *parts]
    print(f"# {job}: {' '.join(command[1:])}", flush=True)
    with lines.open("a") as kept, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            with contextlib.suppress(ValueError):
                # a peer's own log lines look like JSON and are none
                found = json.loads(line)
                if isinstance(found, dict):
                    kept.write(json.dumps({"job": job} | found) + "\n")
                    kept.flush()
    if process.returncode:
        print(f"# {job} ended with exit status {process.returncode}", flush=True)


def table(lines: Lines) -> Table:
    """What was reached."""
    shown = Table("what", "measured", "target", "reached", title="targets")
    for target in TARGETS:
        shown.add_row(*target.row(Measured(lines)))
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", type=Path)
    parser.add_argument("--jobs", default=",".join(JOBS))
    parser.add_argument("--folder", type=Path, default=Path("/tmp/reference"))
    arguments = parser.parse_args()
    jobs = [job for job in arguments.jobs.split(",") if job]
    if unknown := [job for job in jobs if job not in JOBS]:
        parser.error(f"no job is named {', '.join(unknown)}; there are {', '.join(JOBS)}")
    for job in jobs:
        run(job, arguments.folder, arguments.lines)
    found = [json.loads(line) for line in arguments.lines.read_text().splitlines()] if arguments.lines.exists() else []
    Console(width=110).print(table(found))


if __name__ == "__main__":
    main()
