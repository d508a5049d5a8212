"""What-if: the command, and the screen driven by keys."""

import msgspec
import pytest
from textual.widgets import Input

from app import what_if_text
from app.cli import main
from app.commands.verdict_settings import with_verdict_settings
from app.screens.run import RunScreen
from app.screens.what_if import WhatIfScreen
from app.widgets.row_table import RowTable
from engine.protocol.config import Config
from engine.protocol.errors import ConfigError, EngineError
from engine.protocol.evaluation import decode_evaluation

SIZE = (80, 24)


def test_settings_are_taken_as_in_the_file_and_all_problems_come_at_once():
    table = with_verdict_settings(Config(), ["alpha=0.05", "verdict.guard=strict", 'guarded=["safety"]', "min_items=100"])
    assert (table.alpha, table.guard, table.guarded, table.min_items) == (0.05, "strict", ("safety",), 100)
    with pytest.raises(ConfigError) as caught:
        with_verdict_settings(Config(), ["alpha=2", "margn=0.1", "guard=loose"])
    assert len(caught.value.problems) == 3 and "did you mean margin" in str(caught.value)
    with pytest.raises(ConfigError, match="must be KEY=VALUE"):
        with_verdict_settings(Config(), ["alpha"])


def test_only_what_was_changed_is_asked_for():
    recorded = {"alpha": 0.01, "guarded": ["safety", "format"], "guard": "test", "require_beyond_stopping": False}
    same = {key: what_if_text.shown(value) for key, value in recorded.items()}
    assert what_if_text.changes(same, recorded) == []
    written = {**same, "alpha": "0.05", "guarded": "safety, list ", "require_beyond_stopping": "true"}
    assert what_if_text.changes(written, recorded) == ["alpha=0.05", 'guarded=["safety", "list"]', "require_beyond_stopping=true"]
    assert what_if_text.changes({**same, "guarded": ""}, recorded) == ["guarded=[]"]


def test_reasons_of_the_findings_and_changed_types_are_shown(scene_of):
    recorded = decode_evaluation(scene_of("no-go").run.evaluation.read_bytes())
    safety = recorded.by_type["safety"]
    tried = msgspec.structs.replace(
        recorded,
        prereg=msgspec.structs.replace(recorded.prereg, exploratory=True, differences=("verdict.guarded was x and is y",)),
        by_type={**recorded.by_type, "safety": msgspec.structs.replace(safety, guard=None)},
    )
    text = what_if_text.found(tried, recorded, 76).plain
    assert "verdict.guarded was x and is y" in text and "EXPLORATORY" in text
    assert "1 finding against GO" in text and "guard: regressed → not guarded" in text
    assert "the same verdict" in what_if_text.found(recorded, recorded, 76).plain


async def test_a_threshold_is_tried_by_keys_and_the_recorded_verdict_stays(panel_on, scene_of, shown, until, monkeypatch):
    asked, recorded = [], decode_evaluation(scene_of("no-go").run.evaluation.read_bytes())

    def answer(run, changes):
        asked.append(list(changes))
        if "alpha=x" in changes:
            raise EngineError("what if: verdict.alpha is 'x'; must be float")
        frozen = msgspec.structs.replace(recorded.prereg, exploratory=True, differences=("verdict.alpha was 0.01 and is 0.2",))
        return msgspec.structs.replace(recorded, prereg=frozen)

    monkeypatch.setattr("app.screens.what_if.what_if", answer)
    panel = panel_on("no-go")
    async with panel.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: isinstance(panel.focused, RowTable))
        await pilot.press("w")
        await until(pilot, lambda: isinstance(panel.screen, WhatIfScreen) and isinstance(panel.focused, Input))
        await until(pilot, lambda: "EXPLORATORY" in shown(panel) and "✗ NO-GO" in shown(panel))
        await pilot.press("enter")
        await until(pilot, lambda: "change one first" in shown(panel))
        assert not asked
        await pilot.press("x", "enter")
        await until(pilot, lambda: "alpha is 'x'" in shown(panel) and panel.focused.id == "alpha")
        panel.focused.value = "0.2"
        await pilot.press("enter")
        await until(pilot, lambda: "verdict.alpha was 0.01 and is 0.2" in shown(panel) and panel.focused.id == "found")
        await until(pilot, lambda: "The recorded one stays: ✗ NO-GO" in shown(panel))
        await pilot.press("f2")
        await until(pilot, lambda: panel.screen.query_one("#alpha", Input).value == "0.01")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(panel.screen, RunScreen) and "✗ NO-GO" in shown(panel))
    assert asked == [["alpha=x"], ["alpha=0.2"]]


def test_the_command_tells_every_problem_and_needs_a_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SLUICE_WORKSPACE", str(tmp_path))
    with pytest.raises(SystemExit) as left:
        main(["report", "last", "--what-if", "alpha=0.05"])
    assert left.value.code == 2 and "no run" in capsys.readouterr().err
