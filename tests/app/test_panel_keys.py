"""The panel driven by keys on replayed journals."""

import json
import shutil

import msgspec
import pytest
from textual.events import Key
from textual.widgets import Button, Input, OptionList

from app.panel import Panel
from app.screens.help import HelpScreen
from app.screens.items import ItemsScreen
from app.screens.run import RunScreen
from app.screens.runs import RunsScreen
from app.widgets.row_table import RowTable
from engine.protocol.commands import waiting_commands

SIZE = (80, 24)


async def test_the_list_says_the_true_state_of_every_run(workspace, shown, until):
    panel = Panel(workspace)
    async with panel.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: "blocked" in shown(panel))
        await until(pilot, lambda: shown(panel).count("0314-0900") >= 8 and str(workspace)[:20] in shown(panel))
        text = shown(panel)
        lines = {line.split()[0].lstrip("›"): line for line in text.splitlines() if "0314-0900" in line}
        states = {"go-a7f4": "finished", "no-go-a7f5": "NO-GO", "inconclusive-a7f6": "INCONCLUSIVE", "failed-a7f8": "failed",
                  "interrupted-a7f9": "interrupted", "training-a7f0": "running", "loading-a7f1": "loading", "blocked-a7f7": "blocked"}  # fmt: skip
        for name, words in states.items():
            assert words in lines[f"0314-0900-{name}"], lines[f"0314-0900-{name}"]
        assert str(workspace)[:20] in text


async def test_an_empty_workspace_says_what_to_press(tmp_path, shown, until):
    panel = Panel(tmp_path / "nothing")
    async with panel.run_test(size=SIZE) as pilot:
        expected = ("No runs yet", "D  starts the demo", "n  starts a run", "0 runs", str(tmp_path)[:20])
        await until(pilot, lambda: all(words in shown(panel) for words in expected))


async def test_enter_opens_a_run_and_zero_goes_back(workspace, shown, until):
    panel = Panel(workspace)
    async with panel.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: panel.screen.query_one(RowTable).key is not None)
        panel.screen.query_one(RowTable).go_to("0314-0900-go-a7f4")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(panel.screen, RunScreen) and "GO" in shown(panel))
        await pilot.press("0")
        await until(pilot, lambda: isinstance(panel.screen, RunsScreen))


@pytest.mark.parametrize(
    ("name", "tab"), [("blocked", "gates"), ("base", "eval"), ("training", "train"), ("sft", "eval"), ("go", "report")]
)
async def test_a_run_opens_on_the_tab_where_it_is(panel_on, until, name, tab):
    panel = panel_on(name)
    async with panel.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: panel.screen.pane is not None and panel.screen.tab == tab)


async def test_gates_are_worst_first_with_words_and_evidence(panel_on, shown, until):
    panel = panel_on("blocked")
    async with panel.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "BLOCKED by" in shown(panel))
        await until(pilot, lambda: isinstance(panel.focused, RowTable))
        rows = [row.cells[0].plain for row in panel.screen.query_one(RowTable).rows]
        assert rows[:4] == ["✗ FAIL", "✗ FAIL", "? UNDEC", "! WARN"]
        await until(pilot, lambda: "GO is then" in shown(panel) and "evidence 1 of 3" in shown(panel))
        await pilot.press("down", "n")
        await until(pilot, lambda: "evidence 2 of 3" in shown(panel) and "leakage" in shown(panel))
        await until(pilot, lambda: "«flows through" in shown(panel))


async def test_an_override_needs_a_reason_and_can_be_left(panel_on, shown, until, monkeypatch):
    given = []
    monkeypatch.setattr("app.screens.gates.override", lambda run, gate, reason: given.append((gate, reason)) or "done")
    panel = panel_on("blocked")
    async with panel.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: isinstance(panel.focused, RowTable) and "BLOCKED by" in shown(panel))
        await pilot.press("o")
        await until(pilot, lambda: "best verdict" in shown(panel))
        await pilot.press("enter")
        await until(pilot, lambda: "a reason is needed" in shown(panel))
        await pilot.press("tab", "enter")
        await until(pilot, lambda: isinstance(panel.screen, RunScreen))
        assert not given
        await pilot.press("o")
        await until(pilot, lambda: isinstance(panel.focused, Input))
        await pilot.press(*"it is fine", "enter")
        await until(pilot, lambda: bool(given))
    assert given == [("qc-scale.runaway", "it is fine")]


async def test_training_shows_loss_memory_time_and_what_happened(panel_on, shown, until):
    panel = panel_on("training")
    async with panel.run_test(size=SIZE) as pilot:
        expected = ("checkpoint step", "smooth", "dev", "best", "lr", "grad", "tok/s", "epoch", "allocated", "reserved", "device used",
                    "risk ✓ LOW", "left: train", "+ eval", "cost", "USD", "TRAIN 62 %", "ETA", "engine 2 s, worker 1 s")  # fmt: skip
        await until(pilot, lambda: max(shown(panel)) > "⠁" and all(words in shown(panel) for words in expected))


async def test_stopping_asks_first_and_leaves_a_command(scene_of, tmp_path, until):
    scene = scene_of("training")
    shutil.copytree(scene.run.path, tmp_path / "w" / scene.run.run_id)
    run = type(scene.run)(tmp_path / "w" / scene.run.run_id)
    panel = Panel(tmp_path, run, clock=lambda: scene.clock_s)
    async with panel.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: panel.screen.view.going_on)
        await pilot.press("s")
        await until(pilot, lambda: isinstance(panel.focused, Button))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(panel.screen, RunScreen))
        assert not waiting_commands(run)
        await pilot.press("s", "y")
        await until(pilot, lambda: [command.command for _, command in waiting_commands(run)] == ["stop"])
        await pilot.press("c")
        await until(pilot, lambda: {command.command for _, command in waiting_commands(run)} == {"stop", "checkpoint"})


async def test_no_p_value_before_both_arms_are_complete(panel_on, shown, until):
    panel = panel_on("sft")
    async with panel.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "INTERIM" in shown(panel))
        await pilot.press("4")
        await until(pilot, lambda: "No verdict yet" in shown(panel) and "from now" in shown(panel))
        assert " p " not in shown(panel)


async def test_a_failed_run_shows_its_reason_and_the_log(panel_on, shown, until):
    panel = panel_on("failed")
    async with panel.run_test(size=SIZE) as pilot:
        await pilot.press("4")
        await until(pilot, lambda: "loss is nan at step 145" in shown(panel))
        await until(pilot, lambda: "✗ failed" in shown(panel) and "r resumes" in shown(panel))


async def test_report_of_a_no_go_marks_the_guarded_type_that_fell(panel_on, shown, until):
    panel = panel_on("no-go")
    async with panel.run_test(size=(120, 40)) as pilot:
        await until(
            pilot, lambda: all(words in shown(panel) for words in ("✗ NO-GO", "✗ safety †", "format †", "├", "not signed"))
        )
        panel.screen.query_one(RowTable).go_to("safety")
        await until(pilot, lambda: "REGRESSED" in shown(panel) and "non-inferiority" in shown(panel))
        await pilot.press("v")
        await until(pilot, lambda: "What it rests on" in shown(panel) and "attempt 1" in shown(panel))
        await pilot.press("b")
        await until(pilot, lambda: isinstance(panel.screen, RunScreen))


async def test_items_are_filtered_searched_and_opened(panel_on, shown, until):
    panel = panel_on("no-go")
    async with panel.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: isinstance(panel.focused, RowTable))
        panel.screen.query_one(RowTable).go_to("safety")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(panel.screen, ItemsScreen) and len(panel.screen.query_one(RowTable).rows) == 90)
        await until(pilot, lambda: isinstance(panel.focused, RowTable))
        await pilot.press("l")
        await until(pilot, lambda: len(panel.screen.query_one(RowTable).rows) == 36)
        key = panel.screen.query_one(RowTable).rows[1].key
        await pilot.press("slash", *key, "enter")
        await until(pilot, lambda: isinstance(panel.focused, RowTable) and [row.key for row in panel.focused.rows] == [key])
        await pilot.press("enter")
        await until(pilot, lambda: "base arm ✓ pass" in shown(panel) and "SFT arm ✗ fail" in shown(panel))
        await until(pilot, lambda: "Instruction: Name another one." in shown(panel) and "1 of 1" in shown(panel))
        await pilot.press("b", "b")
        await until(pilot, lambda: isinstance(panel.screen, RunScreen))


async def test_hostile_text_is_inert_everywhere(panel_on, shown, until):
    panel = panel_on("hostile")
    async with panel.run_test(size=SIZE) as pilot:
        await pilot.press("3")
        await until(pilot, lambda: "‹RLO›" in shown(panel))
        await pilot.press("4")
        await until(pilot, lambda: isinstance(panel.focused, RowTable) and panel.focused.id == "report-types")
        await pilot.press("enter")
        await until(pilot, lambda: "␛[2J" in shown(panel))
        await pilot.press("enter")
        await until(pilot, lambda: "[/INST] [bold]x[/]" in shown(panel))
        assert not {"\x1b", "\u202e", "\x9b", "\u200b"} & set(shown(panel))


async def test_the_footer_has_at_most_six_keys_and_help_lists_all_that_work(panel_on, shown, until):
    panel = panel_on("training")
    async with panel.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "c Checkpoint" in shown(panel).splitlines()[-1])
        working = {key.label for key in panel.screen.working_keys()}
        assert "Stop…" in working and "Resume" not in working
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(panel.screen, HelpScreen))
        await until(pilot, lambda: all(label in shown(panel) for label in working))
        await pilot.press("q")
        await until(pilot, lambda: isinstance(panel.screen, RunScreen))


def highlighted(panel):
    """The command that the palette would take."""
    lists = list(panel.screen.query(OptionList))
    option = lists[0].highlighted_option if lists else None
    return None if option is None else str(option.prompt)


async def test_the_palette_finds_what_the_keys_do(panel_on, until):
    panel = panel_on("training")
    async with panel.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: panel.screen.view.going_on)
        titles = [command.title for command in panel.get_system_commands(panel.screen)]
        assert {"Stop…", "Checkpoint", "Report", "Theme light", "Leave"} <= set(titles)
        await pilot.press("ctrl+p")
        await pilot.press(*"Report")
        await until(pilot, lambda: (found := highlighted(panel)) is not None and "Report" in found)
        await pilot.press("enter")
        await until(pilot, lambda: panel.screen_stack[0].tab == "report")


async def test_theme_and_tab_are_remembered_in_the_workspace(panel_on, tmp_path, until):
    panel = panel_on("go")
    async with panel.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: panel.screen.tab == "report")
        await pilot.press("t", "2")
        await until(pilot, lambda: panel.screen.tab == "train")
    saved = json.loads((tmp_path / "settings" / ".sluice" / "panel.json").read_bytes())
    assert saved == {"theme": "light", "tabs": {"0314-0900-go-a7f4": "train"}}
    again = panel_on("go")
    assert again.theme == "light"
    async with again.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: again.screen.tab == "train")


async def test_order_and_filter_of_items_and_types_are_there_again_in_another_session(panel_on, until):
    panel = panel_on("no-go")
    async with panel.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: isinstance(panel.focused, RowTable))
        by_name = [row.key for row in panel.focused.rows]
        await pilot.press("O")
        await until(pilot, lambda: [row.key for row in panel.focused.rows][:2] == ["", "safety"])
        worst_first = [row.key for row in panel.focused.rows]
        assert by_name == sorted(by_name) and sorted(worst_first) == by_name
        await pilot.press("i")
        await until(pilot, lambda: isinstance(panel.screen, ItemsScreen) and bool(panel.screen.query_one(RowTable).rows))
        await pilot.press("l", "O")

        def lost_by_name() -> bool:
            lost = [row.key for row in panel.screen.query_one(RowTable).rows]
            return lost == sorted(lost) and 1 < len(lost) < 486

        await until(pilot, lost_by_name)
        lost = [row.key for row in panel.screen.query_one(RowTable).rows]
    again = Panel(panel.root, panel.first_run, clock=panel.clock)
    async with again.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: isinstance(again.focused, RowTable))
        assert [row.key for row in again.focused.rows] == worst_first
        await pilot.press("i")
        await until(pilot, lambda: isinstance(again.screen, ItemsScreen) and bool(again.screen.query_one(RowTable).rows))
        assert [row.key for row in again.screen.query_one(RowTable).rows] == lost


async def test_a_broken_theme_of_ones_own_is_told_and_not_fatal(tmp_path, shown, until):
    (tmp_path / "themes").mkdir()
    (tmp_path / "themes" / "mine.toml").write_text("dark = 3\n", "utf-8")
    panel = Panel(tmp_path)
    async with panel.run_test(size=SIZE, notifications=True) as pilot:
        await until(pilot, lambda: "mine.toml" in shown(panel))


async def test_new_events_reach_the_screen_while_it_is_open(scene_of, tmp_path, shown, until):
    scene = scene_of("training")
    shutil.copytree(scene.run.path, tmp_path / scene.run.run_id)
    run = type(scene.run)(tmp_path / scene.run.run_id)
    lines = run.journal.read_bytes().splitlines(keepends=True)
    run.journal.write_bytes(b"".join(lines[:-40]))
    panel = Panel(tmp_path / "w", run, clock=lambda: scene.clock_s)
    async with panel.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "step " in shown(panel))
        assert "step 223/360" not in shown(panel)
        with run.journal.open("ab") as journal:
            journal.write(b"".join(lines[-40:]))
        await until(pilot, lambda: "step 223/360" in shown(panel))


async def test_a_journal_of_a_newer_version_is_told(scene_of, tmp_path, shown, until):
    scene = scene_of("blocked")
    shutil.copytree(scene.run.path, tmp_path / scene.run.run_id)
    run = type(scene.run)(tmp_path / scene.run.run_id)
    with run.journal.open("ab") as journal:
        journal.write(b'{"seq":99,"t":"2026-03-14T09:09:09.000Z","mono_s":1.0,"type":"TeaMade"}\n')
    panel = Panel(tmp_path / "w", run)
    async with panel.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "TeaMade" in shown(panel))


async def test_resizing_while_it_runs_is_safe(panel_on, shown, until):
    panel = panel_on("training")
    async with panel.run_test(size=SIZE) as pilot:
        for width, height in ((200, 60), (40, 10), (20, 5), (100, 30), (80, 24)):
            await pilot.resize_terminal(width, height)
            for tab in "1234":
                await pilot.press(tab)
        await pilot.press("2")
        await until(pilot, lambda: "tok/s" in shown(panel))


async def test_leaving_says_which_run_goes_on(panel_on, until):
    panel = panel_on("training")
    async with panel.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: panel.screen.view.going_on)
        await pilot.press("q")
    assert panel.goes_on == "0314-0900-training-a7f0"
    rests = panel_on("go")
    async with rests.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: rests.screen.tab == "report")
        await pilot.press("q")
    assert rests.goes_on is None


async def test_a_search_text_with_keys_of_the_screen_is_only_text(panel_on, until):
    panel = panel_on("go")
    async with panel.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: isinstance(panel.focused, RowTable))
        await pilot.press("i")
        await until(pilot, lambda: isinstance(panel.screen, ItemsScreen))
        await pilot.press("slash", "q", "l", "1", "question_mark")
        await until(pilot, lambda: panel.screen.query_one(Input).value == "ql1?")


def test_settings_that_cannot_be_read_are_defaults(tmp_path):
    from app.panel_settings import PanelSettings, load_settings, save_settings, settings_path

    settings_path(tmp_path).parent.mkdir()
    settings_path(tmp_path).write_bytes(b"{torn")
    assert load_settings(tmp_path) == PanelSettings()
    assert save_settings(tmp_path, PanelSettings(theme="light")) == ""
    assert msgspec.json.decode(settings_path(tmp_path).read_bytes())["theme"] == "light"
    assert settings_path(tmp_path).stat().st_mode & 0o077 == 0


async def test_every_key_of_a_screen_that_works_is_in_the_palette_and_in_the_help(workspace, shown, until):
    panel = Panel(workspace)
    async with panel.run_test(size=(120, 60)) as pilot:
        await until(pilot, lambda: panel.screen.query_one(RowTable).key is not None)
        working = panel.screen.working_keys()
        titles = [command.title for command in panel.get_system_commands(panel.screen)]
        assert {key.label for key in working} <= set(titles)
        assert {"Rename…", "Note…", "Pack", "Rerun…", "Compare", "Filter", "Order", "Search", "Export list", "Copy"} <= set(
            titles
        )
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(panel.screen, HelpScreen))
        await until(pilot, lambda: all(key.label in shown(panel) for key in working))


async def test_the_next_record_of_a_gate_can_be_typed_ahead(panel_on, shown, until):
    """Both keys are there before the first of them is acted upon."""
    panel = panel_on("blocked")
    async with panel.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: isinstance(panel.focused, RowTable) and "evidence 1 of 3" in shown(panel))
        panel.post_message(Key("down", None))
        panel.post_message(Key("n", "n"))
        await until(pilot, lambda: "evidence 2 of 3" in shown(panel) and "leakage" in shown(panel))
