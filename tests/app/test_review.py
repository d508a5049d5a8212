"""The blinded review by keys: in the plain terminal, and on the panel's screen."""

import itertools
import shutil
from pathlib import Path

import pytest

from app.commands.review import ask_all
from app.panel import Panel
from app.screens.review import ReviewScreen
from app.screens.run import RunScreen
from engine.core.review import validate
from engine.protocol.errors import EngineError
from engine.protocol.review import Review, ReviewLog, ReviewSheet, ReviewTask, read_review
from engine.protocol.runs import RunFolder

SIZE = (80, 24)
TASKS = tuple(
    ReviewTask(key=f"k{n}", instruction=f"Name town {n}.", response=f"\x1b[31mTown {n}", reference=None, checks=({"kind": "contains", "any": ["needle"]},))
    for n in range(3)
)  # fmt: skip


@pytest.fixture
def sheet() -> ReviewSheet:
    nothing = validate((), ReviewLog(), seed=0, min_kappa=0, min_responses=50, confidence_level=0.95)
    return ReviewSheet(run="r", tasks=TASKS, labels={}, validation=nothing)


def labels(path: Path) -> dict[str, str]:
    return {key: answer.label for key, answer in read_review(path).answers.items()}


@pytest.mark.parametrize(
    ("keys", "ended", "kept"),
    [
        ("pfs ", True, {"k0": "pass", "k1": "fail", "k2": "skip"}),
        ("pq", False, {"k0": "pass"}),
        ("xpfup\x04", False, {"k0": "pass", "k1": "pass"}),
        ("upppufx", True, {"k0": "pass", "k1": "pass", "k2": "fail"}),
    ],
)
def test_keys_in_the_terminal(sheet, tmp_path, capsys, keys, ended, kept):
    at_work, pressed = Review(tmp_path / "review.jsonl", sheet), iter(keys)
    assert ask_all(at_work, lambda: next(pressed)) is ended
    assert labels(tmp_path / "review.jsonl") == kept
    assert next(pressed, None) is None
    shown = capsys.readouterr().out
    assert "response 1 of 3" in shown and "Name town 0." in shown
    assert "\x1b[31m" not in shown and "needle" not in shown


def test_what_the_checks_ask_for_is_shown_on_request_and_that_is_kept(sheet, tmp_path, capsys):
    pressed = itertools.chain("cpp", itertools.repeat("q"))
    ask_all(Review(tmp_path / "review.jsonl", sheet), lambda: next(pressed))
    assert "needle" in capsys.readouterr().out
    assert [answer.saw_checks for answer in read_review(tmp_path / "review.jsonl").answers.values()] == [True, False]


@pytest.fixture
def run(scene_of, tmp_path) -> RunFolder:
    source = scene_of("go").run.path
    copied = RunFolder(tmp_path / "w" / "checkpoints" / "stage1_sft" / source.name)
    shutil.copytree(source, copied.path)
    return copied


async def test_the_panel_asks_one_after_the_other_and_tells_the_agreement_at_the_end(
    run, sheet, tmp_path, shown, until, monkeypatch
):
    rebuilt = []
    monkeypatch.setattr("app.screens.review.review_sheet", lambda run: sheet)
    monkeypatch.setattr("app.screens.review.rebuild_report", rebuilt.append)
    panel = Panel(tmp_path / "w", run)
    async with panel.run_test(size=SIZE) as pilot:
        await until(
            pilot, lambda: isinstance(panel.screen, RunScreen) and panel.screen.tab == "report" and "b Review" in shown(panel)
        )
        await pilot.press("b")
        await until(
            pilot,
            lambda: isinstance(panel.screen, ReviewScreen) and all(words in shown(panel) for words in ("Name town 0.", "1 of 3")),
        )
        assert "needle" not in shown(panel) and "u Undo" not in shown(panel)
        await pilot.press("c")
        await until(pilot, lambda: "needle" in shown(panel))
        await pilot.press("p")
        await until(pilot, lambda: "Name town 1." in shown(panel) and "needle" not in shown(panel))
        await pilot.press("f", "u")
        await until(pilot, lambda: "Name town 1." in shown(panel))
        assert labels(run.review) == {"k0": "pass"}
        await pilot.press("s", "f")
        await until(pilot, lambda: "the last one" in shown(panel))
        assert not rebuilt
        await pilot.press("enter")
        await until(pilot, lambda: bool(rebuilt) and "not validated" in shown(panel))
        assert "u Undo" not in shown(panel)
        await pilot.press("b")
        await until(pilot, lambda: isinstance(panel.screen, RunScreen))
    assert labels(run.review) == {"k0": "pass", "k1": "skip", "k2": "fail"}
    assert [answer.saw_checks for answer in read_review(run.review).answers.values()] == [True, False, False]


async def test_the_panel_says_why_there_is_nothing_to_review(run, tmp_path, shown, until, monkeypatch):
    def refused(run):
        raise EngineError("prereg.json: is not there")

    monkeypatch.setattr("app.screens.review.review_sheet", refused)
    panel = Panel(tmp_path / "w", run)
    async with panel.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: isinstance(panel.screen, RunScreen) and "b Review" in shown(panel))
        await pilot.press("b")
        await until(pilot, lambda: "prereg.json: is not there" in shown(panel))
        await pilot.press("p", "escape")
        await until(pilot, lambda: isinstance(panel.screen, RunScreen))
    assert not run.review.exists()
