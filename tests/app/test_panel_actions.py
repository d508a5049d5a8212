"""What the panel signs and writes: the signature, exports."""

import csv

import pytest
from textual import events

from app.engine_calls import start_run
from app.exporting import as_csv, as_markdown, export_table
from app.panel import Panel
from app.screens.items import ItemsScreen
from app.widgets.row_table import RowTable
from engine.protocol.errors import EngineError
from engine.protocol.evaluation import decode_evaluation
from engine.protocol.runs import RunFolder

SIZE = (80, 24)


def test_problems_of_the_command_line_come_one_each(tmp_path):
    with pytest.raises(EngineError) as caught:
        start_run(tmp_path / "nothing.toml", tmp_path)
    (problem,) = caught.value.problems
    assert "nothing.toml" in problem and not problem.startswith("sluice:")


async def test_a_signature_needs_a_name_and_shows_in_the_report(copied, shown, until):
    run = copied("no-go")
    panel = Panel(run.path.parents[2], run)
    async with panel.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: isinstance(panel.focused, RowTable) and "not signed" in shown(panel))
        await pilot.press("S")
        await until(pilot, lambda: "Sign the verdict" in shown(panel))
        await pilot.press("enter", "enter")
        await until(pilot, lambda: "a name is needed" in shown(panel))
        await pilot.press(*"Ada", "enter", *"seen", "enter")
        await until(pilot, lambda: "signed by Ada" in shown(panel))
        await pilot.press("v", "end")
        await until(pilot, lambda: "signed by Ada, 20" in shown(panel) and "UTC: seen" in shown(panel))
    verdict = decode_evaluation(run.evaluation.read_bytes(), "").verdict
    assert verdict is not None and verdict.signed_off is not None
    assert (verdict.decision, verdict.signed_off.name, verdict.signed_off.note) == ("NO-GO", "Ada", "seen")


async def test_a_name_and_a_note_that_come_as_one_chunk_are_kept_apart(copied, shown, until):
    run = copied("no-go")
    panel = Panel(run.path.parents[2], run)
    async with panel.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: isinstance(panel.focused, RowTable) and "not signed" in shown(panel))
        await pilot.press("S")
        await until(pilot, lambda: "Sign the verdict" in shown(panel))
        for key in (*"Ada", "enter", *"seen", "enter"):
            panel.post_message(events.Key(key, key if len(key) == 1 else None))
        await until(pilot, lambda: "signed by" in shown(panel))
    verdict = decode_evaluation(run.evaluation.read_bytes(), "").verdict
    assert verdict is not None and verdict.signed_off is not None
    assert (verdict.signed_off.name, verdict.signed_off.note) == ("Ada", "seen")


async def test_the_table_in_sight_is_exported_whole_and_private(copied, shown, until):
    run = copied("go")
    panel = Panel(run.path.parents[2], run)
    async with panel.run_test(size=SIZE, notifications=True) as pilot:
        await until(pilot, lambda: isinstance(panel.focused, RowTable))
        await pilot.press("x")
        await until(pilot, lambda: (run.path / "exports" / "report.md").is_file() and "rows written" in shown(panel))
        rows = list(csv.reader((run.path / "exports" / "report.csv").open()))
        assert rows[0] == [
            "type †guarded",
            "n",
            "base %",
            "base [95 % CI]",
            "SFT %",
            "SFT [95 % CI]",
            "lift pp [95 % CI]",
            "p",
            "p adj",
            "h",
        ]
        assert [row[0] for row in rows[1:3]] == ["overall", "arithmetic"] and all(len(row) == 10 for row in rows)
        await pilot.press("i")
        await until(pilot, lambda: isinstance(panel.screen, ItemsScreen) and bool(panel.screen.query_one(RowTable).rows))
        await pilot.press("x")
        await until(pilot, lambda: (run.path / "exports" / "items-all-all.md").is_file())
        assert len(list(csv.reader((run.path / "exports" / "items-all-all.csv").open()))) == 487
    for path in (run.path / "exports").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert (run.path / "exports").stat().st_mode & 0o777 == 0o700


def test_exported_text_is_neither_a_formula_nor_markup():
    table = (
        ("id", "text"),
        [("a", "=HYPERLINK(1)"), ("b", "-2+3"), ("c", "x|y <b> *z* [l](u)\n\x1b[2J"), ("d", "+57.1 [53.6, 60.3]")],
    )
    cells = {row[0]: row[1] for row in csv.reader(as_csv(table).splitlines())}
    assert cells["a"] == "'=HYPERLINK(1)" and cells["b"] == "'-2+3" and cells["d"] == "+57.1 [53.6, 60.3]"
    line = as_markdown(table).splitlines()[4]
    assert line == r"| c | x\|y \<b\> \*z\* [l]\(u)␊␛[2J |"


def test_an_export_that_cannot_be_written_is_told(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    (run.path / "exports").write_text("a file in the way")
    with pytest.raises(EngineError, match="nothing was exported"):
        export_table(run, "report", (("a",), [("b",)]))
