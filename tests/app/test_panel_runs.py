"""The list of runs driven by keys: what can be asked of a run, and how the list is filtered, ordered and searched."""

import csv
import json
import shutil

import pytest
from textual.widgets import Input

from app.panel import Panel
from app.screens.ask import Ask
from app.screens.compare import CompareScreen
from app.screens.dialogs import Confirm
from app.screens.reading import ReadingScreen
from app.screens.rerun import RerunScreen
from app.screens.run import RunScreen
from app.screens.runs import RunsScreen
from app.widgets.row_table import RowTable
from engine.demo.setup import lay_demo
from engine.protocol.config_file import dump_config, load_config
from engine.protocol.labels import read_labels
from engine.protocol.runs import name_in_id, read_summary

SIZE = (80, 24)


def rows(panel: Panel) -> list[str]:
    return [name_in_id(row.key) for row in panel.screen.query_one(RowTable).rows]


async def at(pilot, until, name: str) -> None:
    panel = pilot.app
    await until(pilot, lambda: isinstance(panel.screen, RunsScreen) and panel.screen.query_one(RowTable).key is not None)
    panel.screen.query_one(RowTable).go_to(
        next(row.key for row in panel.screen.query_one(RowTable).rows if name_in_id(row.key) == name)
    )
    await pilot.pause()


async def test_the_list_is_filtered_ordered_and_searched_and_remembers_it(workspace, shown, until):
    panel = Panel(workspace)
    async with panel.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: len(rows(panel)) == 12)
        await pilot.press("f")
        await until(pilot, lambda: rows(panel) == ["recovered", "sft", "base", "loading", "training"])
        await pilot.press("f")
        await until(pilot, lambda: set(rows(panel)) == {"blocked", "failed", "interrupted"})
        await pilot.press("f", "O")
        await until(pilot, lambda: rows(panel) == ["go", "hostile", "inconclusive", "no-go"])
        await pilot.press("O", "O")
        await until(pilot, lambda: rows(panel)[-2:] == ["no-go", "inconclusive"])
        await pilot.press("slash", *"inc", "enter")
        await until(pilot, lambda: rows(panel) == ["inconclusive"] and isinstance(panel.focused, RowTable))
        await pilot.press("slash", *"zzz", "enter")
        await until(pilot, lambda: "No run fits" in shown(panel))
        await pilot.press("slash", *["backspace"] * 6, "enter", "f")
        await until(pilot, lambda: len(rows(panel)) == 12)
    again = Panel(workspace)
    assert (again.settings.runs_order, again.settings.runs_filter) == ("verdict", "all")


async def test_settings_of_another_version_are_no_trouble(workspace, until):
    (workspace / ".sluice").mkdir()
    (workspace / ".sluice" / "panel.json").write_text('{"runs_order": "colour", "runs_filter": "odd", "unknown": 1}')
    panel = Panel(workspace)
    async with panel.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: len(rows(panel)) == 12)
        await pilot.press("O", "f")
        await until(pilot, lambda: panel.settings.runs_order == "newest" and panel.settings.runs_filter == "all")


async def test_the_workspace_and_its_danger_are_always_shown(workspace, shown, until, monkeypatch):
    monkeypatch.setattr(
        "app.screens.runs.warning", lambda root: "on memory: gone when the pod is; set SLUICE_WORKSPACE elsewhere"
    )
    panel = Panel(workspace)
    async with panel.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "! on memory: gone when the pod is" in shown(panel))
        await until(pilot, lambda: str(workspace)[:16] in shown(panel))
        await pilot.resize_terminal(200, 60)
        await until(pilot, lambda: str(workspace) in shown(panel) and "set SLUICE_WORKSPACE elsewhere" in shown(panel))


async def test_wide_screens_show_the_figures_of_the_run_beside_the_list(workspace, shown, until):
    panel = Panel(workspace)
    async with panel.run_test(size=(200, 60)) as pilot:
        await at(pilot, until, "blocked")
        await until(pilot, lambda: "rerun of" in shown(panel) and "blocked · by qc-scale" in shown(panel))
        await until(pilot, lambda: "state since" in shown(panel) and "what" in shown(panel))


async def test_a_name_that_no_run_may_have_is_told_beside_the_field(copied, tmp_path, shown, until):
    run = copied("go")
    panel = Panel(tmp_path / "w")
    async with panel.run_test(size=SIZE) as pilot:
        await at(pilot, until, "go")
        await pilot.press("e")
        await until(pilot, lambda: isinstance(panel.screen, Ask) and panel.screen.query_one(Input).value == "go")
        panel.screen.query_one(Input).value = "Not This"
        await pilot.press("enter")
        await until(pilot, lambda: "'Not This'" in shown(panel))
        panel.screen.query_one(Input).value = "best-yet"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(panel.screen, RunsScreen) and "best-yet 0314-0900-go" in shown(panel))
        await pilot.press("d")
        await until(pilot, lambda: isinstance(panel.screen, Ask))
        await pilot.press(*"-- keep", "enter")
        await until(pilot, lambda: isinstance(panel.screen, RunsScreen) and "-- keep" in shown(panel))
    assert read_labels(run).name == "best-yet" == read_summary(run).name


async def test_packing_shows_where_it_is_and_the_line_that_copies_it(copied, tmp_path, shown, until):
    run = copied("go")
    panel = Panel(tmp_path / "w")
    async with panel.run_test(size=(120, 40)) as pilot:
        await at(pilot, until, "go")
        await pilot.press("p")
        await until(pilot, lambda: isinstance(panel.screen, ReadingScreen) and "scp -r" in shown(panel))
        await until(
            pilot,
            lambda: "sha256" in shown(panel) and (tmp_path / "w" / "exports" / run.run_id / f"{run.run_id}.tar.gz").is_file(),
        )
        await pilot.press("b")
        await until(pilot, lambda: isinstance(panel.screen, RunsScreen))


async def test_a_removal_shows_sizes_and_asks_and_live_runs_have_none(copied, tmp_path, shown, until):
    live, resting = copied("training"), copied("go")
    panel = Panel(tmp_path / "w")
    async with panel.run_test(size=SIZE) as pilot:
        await at(pilot, until, "training")
        assert not panel.screen.check_action("remove", ())
        await pilot.press("X")
        await at(pilot, until, "go")
        await pilot.press("X")
        await until(pilot, lambda: isinstance(panel.screen, Confirm) and "This cannot be undone" in shown(panel))
        await until(pilot, lambda: "checkpoints 0" in shown(panel))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(panel.screen, RunsScreen))
        assert resting.path.is_dir()
        await pilot.press("X")
        await until(pilot, lambda: isinstance(panel.screen, Confirm))
        await pilot.press("y")
        await until(
            pilot, lambda: not resting.path.exists() and isinstance(panel.screen, RunsScreen) and rows(panel) == ["training"]
        )
    assert live.path.is_dir()


async def test_two_runs_are_compared_by_marking_one(copied, tmp_path, shown, until):
    first, second = copied("go"), copied("no-go")
    second.config.write_text('[run]\nname = "no-go"\n[train]\nlr = 1e-3\n')
    panel = Panel(tmp_path / "w")
    async with panel.run_test(size=(120, 60)) as pilot:
        await at(pilot, until, "go")
        await pilot.press("c")
        await until(pilot, lambda: "◆ 0314-0900-go" in shown(panel) and "c on another run" in shown(panel))
        await at(pilot, until, "no-go")
        await pilot.press("c")
        await until(pilot, lambda: isinstance(panel.screen, CompareScreen) and "settings that differ: 2" in shown(panel))
        await until(pilot, lambda: "train.lr" in shown(panel) and "not a test between" in shown(panel))
        assert "✗" not in shown(panel).splitlines()[0]
        await until(pilot, lambda: any("⠁" <= character <= "⣿" for character in shown(panel)))
        await pilot.press("x")
        name = f"compare-{first.run_id}-{second.run_id}"[:60]
        await until(pilot, lambda: (tmp_path / "w" / "exports" / f"{name}.csv").is_file())
        await pilot.press("b")
        await until(pilot, lambda: isinstance(panel.screen, RunsScreen) and "◆" not in shown(panel))


async def test_an_unreadable_run_is_told_when_compared(copied, tmp_path, shown, until):
    copied("go"), copied("no-go").evaluation.write_bytes(b"{torn")
    panel = Panel(tmp_path / "w")
    async with panel.run_test(size=SIZE) as pilot:
        await at(pilot, until, "go")
        await pilot.press("c")
        await at(pilot, until, "no-go")
        await pilot.press("c")
        await until(pilot, lambda: "anew" in shown(panel))


@pytest.fixture
def settled(copied, tmp_path):
    """A run whose settings are whole and whose inputs are there."""
    run = copied("go")
    run.config.write_text(dump_config(load_config(lay_demo(tmp_path / "demo"))))
    return run


async def test_a_rerun_changes_settings_shows_what_differs_and_opens_the_new_run(
    settled, copied, tmp_path, shown, until, monkeypatch
):
    made, asked = copied("blocked"), []
    monkeypatch.setattr("app.screens.rerun.rerun", lambda run, given: asked.append((run.run_id, given)) or made)
    panel = Panel(tmp_path / "w")
    async with panel.run_test(size=SIZE) as pilot:
        await at(pilot, until, "go")
        await pilot.press("R")
        await until(pilot, lambda: isinstance(panel.screen, RerunScreen) and isinstance(panel.focused, RowTable))
        await pilot.press("slash", *"peak learn", "enter", "enter")
        await until(pilot, lambda: panel.screen.query_one(Input).value == "0.0005")
        panel.screen.query_one(Input).value = "7"
        await pilot.press("enter")
        await until(pilot, lambda: "train.lr is 7" in shown(panel))
        panel.screen.query_one(Input).value = "1e-4"
        await pilot.press("enter")
        await until(pilot, lambda: "1 changed" in shown(panel) and "was 0.0005" in shown(panel))
        await pilot.press("l")
        await until(pilot, lambda: isinstance(panel.screen, Confirm) and "0.0005 → 0.0001" in shown(panel))
        await pilot.press("y")
        await until(pilot, lambda: isinstance(panel.screen, RunScreen) and panel.screen.tab == "gates")
    assert asked == [(settled.run_id, ["train.lr=0.0001"])]


async def test_a_changed_setting_can_be_undone_and_a_rerun_left(settled, tmp_path, shown, until):
    panel = Panel(tmp_path / "w")
    async with panel.run_test(size=SIZE) as pilot:
        await at(pilot, until, "go")
        await pilot.press("R")
        await until(pilot, lambda: isinstance(panel.screen, RerunScreen) and isinstance(panel.focused, RowTable))
        panel.screen.query_one(RowTable).go_to("run.seed")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(panel.focused, Input))
        await pilot.press("5", "up")
        await until(pilot, lambda: isinstance(panel.focused, RowTable) and "nothing changed" in shown(panel))
        await pilot.press("enter", "5", "enter")
        await until(pilot, lambda: "1 changed" in shown(panel))
        await pilot.press("u")
        await until(pilot, lambda: "nothing changed" in shown(panel))
        await pilot.press("b")
        await until(pilot, lambda: isinstance(panel.screen, RunsScreen))


async def test_a_run_up_to_its_gates_says_so_and_can_go_on(copied, tmp_path, shown, until, monkeypatch):
    run, asked = copied("go"), []
    summary = json.loads(run.state.read_bytes())
    run.state.write_text(json.dumps({**summary, "stage": "gates", "decision": None}))
    monkeypatch.setattr("app.screens.run_actions.resume", lambda found: asked.append(found.run_id) or "goes on")
    panel = Panel(tmp_path / "w")
    async with panel.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "done up to gates, as asked" in shown(panel))
        await pilot.press("r")
        await until(pilot, lambda: asked == [run.run_id])


async def test_the_list_is_exported(workspace, until):
    panel = Panel(workspace)
    async with panel.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: len(rows(panel)) == 12)
        await pilot.press("x")
        await until(pilot, lambda: (workspace / "exports" / "runs.md").is_file())
    listed = list(csv.reader((workspace / "exports" / "runs.csv").open()))
    assert listed[0] == ["run", "state", "stage", "done", "ETA", "verdict", "age", "what"] and len(listed) == 13


async def test_a_note_with_markup_and_escapes_is_inert(copied, tmp_path, shown, until):
    run = copied("go")
    summary = json.loads(run.state.read_bytes())
    run.state.write_text(json.dumps({**summary, "note": "[/INST] \x1b[2J", "parent": "[red]x\u202e", "detail": "[bold]"}))
    panel = Panel(tmp_path / "w")
    async with panel.run_test(size=(200, 60)) as pilot:
        await until(pilot, lambda: "[/INST] ␛[2J" in shown(panel) and "‹RLO›" in shown(panel))


def test_a_removed_workspace_is_an_empty_list(tmp_path):
    shutil.rmtree(tmp_path)
    assert Panel(tmp_path).runs_screen() is not None


async def test_a_run_whose_gates_were_checked_is_launched_from_them(copied, tmp_path, shown, until, monkeypatch):
    run, asked = copied("blocked"), []
    report = json.loads(run.gates.read_bytes())
    for gate in report["gates"]:
        gate["status"] = "pass"
    run.gates.write_text(json.dumps(report))
    *lines, _, _, _ = run.journal.read_bytes().splitlines()
    more = [{"type": "StageFinished", "stage": "gates", "elapsed_s": 41.0}, {"type": "RunFinished"}]
    stamped = [{"seq": 90 + n, "t": "2026-03-14T09:01:00.000Z", "mono_s": 1060.0, **event} for n, event in enumerate(more)]
    run.journal.write_bytes(b"\n".join([*lines, *(json.dumps(event).encode() for event in stamped)]) + b"\n")
    monkeypatch.setattr("app.screens.run.resume", lambda found: asked.append(found.run_id) or "goes on")
    panel = Panel(tmp_path / "w", run)
    async with panel.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "l launches it" in shown(panel) and "l Launch" in shown(panel).splitlines()[-1])
        await pilot.press("l")
        await until(pilot, lambda: asked == [run.run_id])
