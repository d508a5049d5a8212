"""Pictures of the panel as SVG, from real runs: `python -m docs.pictures.make_pictures RUN_FOLDER… [--out DIR] [--size 120x34]`.

One picture a tab of the first run, named after the tab, and one of the list with every run that is named. A run is shown as it stands at
the end of its journal, or after `--events N` of it. It refuses to invent: every figure is the run's. It shows no path of the machine it
ran on, and the pictures load nothing: no fonts, no links.
"""

import argparse
import asyncio
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

from app.panel import Panel
from app.screens.run import TABS, RunScreen
from engine.protocol.journal_tail import JournalTail
from engine.protocol.listing import utc_seconds
from engine.protocol.runs import RunFolder, runs_folder, workspace_of

SETTLED_S = 10.0
WORKSPACE = Path("my-pod")
SHOWN_WORKSPACE = b"/workspace"
TEXTS = (".json", ".jsonl", ".toml", ".txt")
RUNS = "runs"
RUNS_LINES = 14


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
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN_FOLDER")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--size", default="120x34")
    parser.add_argument("--theme", default="dark")
    parser.add_argument("--only", nargs="*", default=[RUNS, *TABS], choices=[RUNS, *TABS])
    parser.add_argument("--events", type=int, help="show the first run as it was after so many events")
    return parser.parse_args()


def main() -> None:
    """Write the pictures."""
    given = arguments()
    width, height = (int(part) for part in given.size.split("x"))
    sources, out = [RunFolder(path.absolute()) for path in given.runs], given.out.absolute()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        runs = [neutral_copy(run, given.events if place == 0 else None) for place, run in enumerate(sources)]
        ends = [utc_seconds(JournalTail(run.journal).poll_all()[-1][0].t) for run in runs]
        for name in given.only:
            run, end_s = (None, max(ends) + 60) if name == RUNS else (runs[0], ends[0] + 1)
            lines = min(height, RUNS_LINES) if name == RUNS else height
            svg = asyncio.run(picture(run, name, (width, lines), given.theme, end_s))
            (out / f"{name}.svg").write_text(svg, "utf-8")
            sys.stdout.write(f"{out / name}.svg\n")
        os.chdir("/")


if __name__ == "__main__":
    main()
