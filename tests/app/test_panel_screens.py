"""Train, Eval, items and the log, driven by keys on replayed journals."""

import shutil
import unicodedata

import pytest
from textual.widgets import Input

from app.screens.item import ItemScreen
from app.screens.items import ItemsScreen
from app.screens.log import TAIL_BYTES, LogScreen, read_tail
from app.screens.run import RunScreen
from app.widgets.line import flowed
from app.widgets.row_table import RowTable
from engine.protocol.arms import answered_items

SIZE = (80, 24)
INERT = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def visible(text: str) -> bool:
    return all(character == "\n" or unicodedata.category(character) not in INERT for character in text)


async def test_train_shows_the_forecast_and_the_plan(panel_on, shown, until):
    panel = panel_on("training")
    async with panel.run_test(size=SIZE) as pilot:
        expected = ("largest row to come 900 tok → peak 82.9 GiB, headroom 56.9 GiB", "risk ✓ LOW", "epoch 1.86/3",
                    "plan mirror-graph: 0.620 s/step · peak 81.6 GiB expected")  # fmt: skip
        await until(pilot, lambda: all(words in shown(panel) for words in expected))
        assert "ran out" not in shown(panel)
        await pilot.resize_terminal(200, 60)
        await until(pilot, lambda: "not mirror-graph-2048: needs 141.0 of 138.2 GiB" in shown(panel))
        await until(
            pilot, lambda: "preflight of 1,024 tok: peak 81.0 GiB measured" in shown(panel) and "CUDA graph" in shown(panel)
        )


async def test_train_says_that_memory_ran_out_and_what_came_of_it(panel_on, shown, until):
    panel = panel_on("recovered")
    async with panel.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "ran out of GPU memory once, after step 108" in shown(panel))
        await until(pilot, lambda: "plan mirror-graph-recompute" in shown(panel) and "step 251/360" in shown(panel))


async def test_a_death_shows_its_reason_and_last_lines_and_one_key_shows_more(panel_on, shown, until):
    panel = panel_on("failed")
    async with panel.run_test(size=SIZE) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "✗ failed: loss is not finite at step 145" in shown(panel))
        await until(pilot, lambda: "loss is nan at step 145" in shown(panel) and "e shows the whole log" in shown(panel))
        await pilot.press("e")
        await until(pilot, lambda: isinstance(panel.screen, LogScreen) and "FloatingPointError" in shown(panel))
        await until(pilot, lambda: "␛[31m" in shown(panel))
        assert visible(shown(panel))
        await pilot.press("home")
        await until(pilot, lambda: "run 0314-0900-failed-a7f8 created" in shown(panel))
        await pilot.press("b")
        await until(pilot, lambda: isinstance(panel.screen, RunScreen))


async def test_an_interrupted_run_does_not_claim_to_run(panel_on, shown, until):
    panel = panel_on("interrupted")
    async with panel.run_test(size=SIZE) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "! interrupted: nobody works on it any more" in shown(panel) and "last GiB" in shown(panel))
        assert not any(words in shown(panel) for words in ("ETA", "left:", "forecast"))


def test_the_tail_of_the_log_is_whole_lines_of_a_bounded_size(tmp_path):
    path = tmp_path / "engine.log"
    assert "No such file" in read_tail(path).problem
    path.write_bytes(b"\xff\xfe first\n" + b"x" * TAIL_BYTES + b"\nlast \xe9\n")
    assert list(read_tail(path).lines) == ["last \\xe9"]


async def test_items_can_be_read_and_searched_while_the_arms_answer(panel_on, shown, until):
    panel = panel_on("sft")
    async with panel.run_test(size=SIZE) as pilot:
        await pilot.press("3")
        await until(pilot, lambda: isinstance(panel.focused, RowTable) and "all types" in shown(panel))
        await until(pilot, lambda: "288/486" in shown(panel) and "format †" in shown(panel))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(panel.screen, ItemsScreen) and len(panel.screen.query_one(RowTable).rows) == 486)
        await pilot.press("l")
        await until(pilot, lambda: len(panel.screen.query_one(RowTable).rows) == 9)
        await pilot.press("slash", *"nowhere", "enter")
        await until(pilot, lambda: "No item passes this filter and search; a shows all." in shown(panel))
        await until(pilot, lambda: isinstance(panel.focused, RowTable))
        await pilot.press("b")
        await until(pilot, lambda: isinstance(panel.screen, RunScreen))
        await pilot.press("down", "slash")
        await until(pilot, lambda: isinstance(panel.focused, Input))
        waiting = next(
            item for item in answered_items(panel.screen_stack[0].view.run) if item.sft is None and item.types == ("arithmetic",)
        )
        await pilot.press(*waiting.id, "enter")
        await until(pilot, lambda: [row.key for row in panel.screen.query_one(RowTable).rows] == [waiting.id])
        await until(pilot, lambda: isinstance(panel.focused, RowTable))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(panel.screen, ItemScreen) and "has not answered it yet" in shown(panel))


def test_a_batch_file_that_cannot_be_read_hides_no_other(scene_of, tmp_path):
    run = scene_of("base").run
    shutil.copytree(run.path, tmp_path / run.run_id)
    copy = type(run)(tmp_path / run.run_id)
    before = answered_items(copy)
    first = min((copy.eval / "base").iterdir())
    first.write_bytes(b'{"records": [')
    after = answered_items(copy)
    assert len(before) - len(after) == 32 and {item.id for item in after} < {item.id for item in before}
    assert all(item.sft is None for item in after)


@pytest.mark.parametrize(
    ("name", "expected"), [("fact-0001", "[/INST] [bold]x[/]"), ("fact-0002", "漢漢漢"), ("fact-0003", "‹ZWSP›")]
)
async def test_a_megabyte_on_one_line_is_cut_counted_and_inert(panel_on, shown, until, name, expected):
    panel = panel_on("hostile")
    async with panel.run_test(size=SIZE) as pilot:
        await pilot.press("4")
        await until(pilot, lambda: isinstance(panel.focused, RowTable) and panel.focused.id == "report-types")
        await pilot.press("slash")
        await until(pilot, lambda: isinstance(panel.screen, ItemsScreen) and len(panel.screen.query_one(RowTable).rows) == 486)
        await pilot.press(*name, "enter")
        await until(pilot, lambda: [row.key for row in panel.screen.query_one(RowTable).rows] == [name])
        await until(pilot, lambda: isinstance(panel.focused, RowTable))
        assert visible(shown(panel))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(panel.screen, ItemScreen) and expected in shown(panel))
        await until(pilot, lambda: "more characters" in panel.screen.query_one("#base").text)
        assert visible(shown(panel))
        await pilot.press("y")
        copied = panel_run(panel) / "exports" / "copied.txt"
        await until(pilot, lambda: copied.is_file())
        assert visible(copied.read_text("utf-8"))
        copied.unlink()


def panel_run(panel):
    return panel.screen_stack[0].view.run.path


def test_a_line_breaks_between_its_parts():
    assert [line.plain for line in flowed(["allocated 1", "reserved 2", "peak 3"], 24)] == ["allocated 1 · reserved 2", "peak 3"]
    assert [line.plain for line in flowed(["a very long part of a line"], 10)] == ["a very lo…"]
    assert flowed([], 10) == []


async def test_a_wide_report_fills_its_room_with_the_items_that_differ(panel_on, shown, until):
    panel = panel_on("no-go")
    async with panel.run_test(size=(200, 60)) as pilot:
        await until(pilot, lambda: "all types: only one arm passes" in shown(panel))
        table = panel.screen.query_one(RowTable)
        table.go_to("safety")
        await until(pilot, lambda: "safety: only one arm passes" in shown(panel))
        lines = shown(panel).splitlines()
        place = next(number for number, line in enumerate(lines) if "safety: only one arm" in line)
        assert " lost, " in lines[place] and lines[place + 1].split()[0] == "lost" and "→" in lines[place + 1]
        await pilot.resize_terminal(100, 30)
        await until(pilot, lambda: "only one arm passes" not in shown(panel))
