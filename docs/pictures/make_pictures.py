"""Pictures of the panel as SVG, from real runs: `python docs/pictures/make_pictures.py [RUN_FOLDER…] [--out DIR] [--size 120x34]`.

One picture a tab of the first run, named after the tab, one of the list with every run that is named, and one of the gates of the first
run that they refused. Without a run it makes two: the demo's, and the demo's with planted faults (about two minutes on two cores). A run
is shown as it stands at the end of its journal, or after `--events N` of it. It refuses to invent: every figure is the run's. It shows no path of the machine it
ran on, and the pictures load nothing: no fonts, no links.
"""

import argparse
import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from app.panel import Panel
from app.screens.run import TABS, RunScreen
from engine.protocol.journal_tail import JournalTail
from engine.protocol.listing import utc_seconds
from engine.protocol.runs import RunFolder, read_summary, runs_folder, workspace_of

SETTLED_S = 10.0
WORKSPACE = Path("my-pod")
SHOWN_WORKSPACE = b"/workspace"
TEXTS = (".json", ".jsonl", ".toml", ".txt")
RUNS = "runs"
RUNS_LINES = 14
REFUSED = "gates_refused"
NAMES = [RUNS, *TABS, REFUSED]


def demo_runs(folder: Path) -> list[RunFolder]:
    """A run of the demo and one of the demo with planted faults, made now in a workspace of their own.

    Raises: SystemExit where they could not be made.
    """
    for faults in ([], ["--faulty"]):
        command = [sys.executable, "-m", "app.cli", "demo", "--headless", *faults, "--out", str(folder)]
        # the gates are to refuse the second one: the exit status tells nothing here
        subprocess.run(command, check=False, stdout=sys.stderr)
    made = [RunFolder(path) for path in sorted(runs_folder(folder).glob("*"))]
    if [refused(run) for run in made] != [False, True]:
        raise SystemExit(f"{folder}: the two demo runs were not made as expected; found {[run.run_id for run in made]}")
    return made


def refused(run: RunFolder) -> bool:
    """Whether the gates stopped the run."""
    summary = read_summary(run)
    return summary is not None and summary.state == "blocked"


def neutral_copy(run: RunFolder, events: int | None) -> RunFolder:
    """The run under `WORKSPACE`, its own workspace's path replaced in every text; without results where its journal is cut."""
    copy = runs_folder(WORKSPACE) / run.run_id
    shutil.copytree(run.path, copy, ignore=shutil.ignore_patterns("checkpoints", "adapter", "engine.log", "*.lock"))
    here = os.fsencode(workspace_of(run))
    for path in copy.rglob("*"):
        if path.suffix in TEXTS:
            times = path.stat()
            path.write_bytes(path.read_bytes().replace(here, SHOWN_WORKSPACE))
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    made = RunFolder(copy)
    if events:
        made.journal.write_bytes(b"".join(made.journal.read_bytes().splitlines(keepends=True)[:events]))
        made.evaluation.unlink(missing_ok=True)
    return made


async def picture(run: RunFolder | None, tab: str, size: tuple[int, int], theme: str, now_s: float) -> str:
    """The SVG of one tab, or of the list of runs, once the screen has settled."""
    panel = Panel(WORKSPACE, run, clock=lambda: now_s)
    panel.theme = theme
    async with panel.run_test(size=size) as pilot:
        if run is not None:
            await pilot.press(str(TABS.index(tab) + 1))
        until = time.monotonic() + SETTLED_S
        while not settled(panel) and time.monotonic() < until:
            await pilot.pause(0.05)
        # the chart comes one refresh after the figures
        await pilot.pause(0.5)
        return self_contained(panel.export_screenshot(title=f"sluice open {run.run_id}" if run else "sluice"))


def settled(panel: Panel) -> bool:
    """True once everything was painted in the room it has."""
    screen = panel.screen
    if not isinstance(screen, RunScreen):
        return True
    return screen.view.caught_up and screen.pane is not None and screen.pane.room == screen.painted_room


def self_contained(svg: str) -> str:
    """The picture without fonts from elsewhere, and with its blanks kept by every viewer."""
    svg = re.sub(r"@font-face\s*{[^}]*}", "", svg)
    svg = svg.replace("Fira Code, monospace", "'Fira Code', 'DejaVu Sans Mono', Menlo, Consolas, monospace")
    return svg.replace("<text ", '<text xml:space="preserve" ')


def arguments() -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="*", metavar="RUN_FOLDER")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--size", default="120x34")
    parser.add_argument("--theme", default="dark")
    parser.add_argument("--only", nargs="*", default=NAMES, choices=NAMES)
    parser.add_argument("--events", type=int, help="show the first run as it was after so many events")
    return parser.parse_args()


def main() -> None:
    """Write the pictures."""
    given = arguments()
    width, height = (int(part) for part in given.size.split("x"))
    out = given.out.absolute()
    with tempfile.TemporaryDirectory() as folder:
        sources = [RunFolder(path.absolute()) for path in given.runs] or demo_runs(Path(folder) / "demo")
        os.chdir(folder)
        runs = [neutral_copy(run, given.events if place == 0 else None) for place, run in enumerate(sources)]
        ends = {run.run_id: utc_seconds(JournalTail(run.journal).poll_all()[-1][0].t) for run in runs}
        for name in given.only:
            run = None if name == RUNS else next(filter(refused, runs), None) if name == REFUSED else runs[0]
            if run is None and name == REFUSED:
                sys.stderr.write(f"{name}.svg left as it is: no run named here was refused by its gates\n")
                continue
            tab, end_s = (
                (name, max(ends.values()) + 60) if run is None else ("gates" if name == REFUSED else name, ends[run.run_id] + 1)
            )
            lines = min(height, RUNS_LINES) if name == RUNS else height
            svg = asyncio.run(picture(run, tab, (width, lines), given.theme, end_s))
            (out / f"{name}.svg").write_text(svg, "utf-8")
            sys.stdout.write(f"{out / name}.svg\n")
        os.chdir("/")


if __name__ == "__main__":
    main()
