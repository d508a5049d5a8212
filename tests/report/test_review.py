"""The blinded review of a run: its sample, and what comes of it in the report."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from app import engine_calls
from engine.protocol.config import Config, DataTable, EvalTable, ModelTable, VerdictTable
from engine.protocol.errors import InputError
from engine.protocol.evaluation import Evaluation, decode_evaluation
from engine.protocol.review import Review, ReviewSheet
from engine.protocol.runs import RunFolder
from engine.report.html import html_report
from engine.report.review import review_sheet
from engine.report.write import build_evaluation, write_report

MakeRun = Callable[..., tuple[RunFolder, Config]]


def asking(min_kappa: float, review_items: int = 50) -> Config:
    return Config(
        model=ModelTable(path="/nowhere/tiny-base"),
        data=DataTable(train="/nowhere/train.jsonl", held_out="/nowhere/held_out.jsonl"),
        eval=EvalTable(batch_items=32),
        verdict=VerdictTable(min_kappa=min_kappa, review_items=review_items),
    )


def reviewed(run: RunFolder, size: int | None = None, wrong: int = 0) -> ReviewSheet:
    """A reviewer who passes what says yes, and errs `wrong` times."""
    sheet = review_sheet(run, size)
    at_work = Review(run.review, sheet)
    while (task := at_work.next) is not None:
        says_yes = "yes" in task.response
        at_work.answer(task, "pass" if says_yes != (at_work.done < wrong) else "fail", saw_checks=False)
    return review_sheet(run)


def scorer(evaluation: Evaluation) -> str:
    assert evaluation.verdict is not None
    (found,) = [reason for reason in evaluation.verdict.reasons if reason.id == "scorer"]
    return found.status


def test_without_a_threshold_it_is_shown_and_decides_nothing(make_run: MakeRun) -> None:
    run, _ = make_run()
    before = write_report(run, lambda event: None)
    assert before.verdict is not None and before.validation is not None
    assert (before.verdict.decision, before.validation.status, scorer(before)) == ("GO", "not validated", "warn")
    assert "scorer not validated" in run.summary.read_text()
    assert "not validated" in run.report_html.read_text().replace("\n", " ")
    reviewed(run, wrong=45)
    after = write_report(run, lambda event: None)
    assert after.verdict is not None and after.validation is not None
    assert (after.verdict.decision, after.validation.status) == ("GO", "reviewed")
    assert after.validation.overall.n == 50 and len(after.validation.disagreements) == 45
    page = run.report_html.read_text()
    assert all(found.item in page for found in after.validation.disagreements)
    text = run.summary.read_text()
    assert all(found.item in text for found in after.validation.disagreements) and "by chance" not in text


@pytest.mark.parametrize(("wrong", "decision", "status"), [(0, "GO", "pass"), (25, "INCONCLUSIVE", "undecided")])
def test_with_a_threshold_a_go_needs_the_agreement(make_run: MakeRun, wrong: int, decision: str, status: str) -> None:
    run, _ = make_run(config=asking(0.7))
    before = build_evaluation(run, created_at=None)
    assert before.verdict is not None and before.prereg is not None
    assert (before.verdict.decision, before.verdict.rule, scorer(before)) == ("INCONCLUSIVE", 2, "undecided")
    assert not before.prereg.exploratory
    reviewed(run, wrong=wrong)
    after = build_evaluation(run, created_at=None)
    assert after.verdict is not None
    assert (after.verdict.decision, scorer(after)) == (decision, status)


def test_a_threshold_that_was_lowered_later_is_exploratory(make_run: MakeRun) -> None:
    from engine.protocol.config_file import dump_config

    run, config = make_run(config=asking(0.7))
    run.config.write_text(dump_config(msgspec.structs.replace(config, verdict=VerdictTable())))
    evaluation = build_evaluation(run, created_at=None)
    assert evaluation.prereg is not None
    assert any("verdict.min_kappa was 0.7" in difference for difference in evaluation.prereg.differences)


def test_the_sheet_is_read_without_writing_and_the_report_stays_repeatable(make_run: MakeRun) -> None:
    run, _ = make_run()
    sheet = review_sheet(run)
    assert not run.review.exists()
    assert (len(sheet.tasks), sheet.labels) == (50, {})
    done = reviewed(run)
    assert done.tasks == sheet.tasks and len(done.labels) == 50
    assert html_report(run, build_evaluation(run, created_at="t")) == html_report(run, build_evaluation(run, created_at="t"))


def test_a_sample_grows_and_never_shrinks(make_run: MakeRun) -> None:
    run, _ = make_run()
    reviewed(run, 10)
    larger = review_sheet(run, 20)
    assert (len(larger.tasks), len(larger.labels)) == (20, 10)
    with pytest.raises(InputError, match="does not shrink to 5"):
        review_sheet(run, 5)


def test_a_run_without_both_arms_cannot_be_reviewed(make_run: MakeRun, tmp_path: Path) -> None:
    run, _ = make_run()
    (run.eval / "sft.jsonl").unlink()
    with pytest.raises(InputError, match=r"sft\.jsonl"):
        review_sheet(run)


def test_the_panel_reads_the_same_sheet_and_has_the_report_written_by_the_command_line(make_run: MakeRun) -> None:
    run, _ = make_run()
    assert engine_calls.review_sheet(run) == review_sheet(run)
    reviewed(run, 10)
    engine_calls.rebuild_report(run)
    evaluation = decode_evaluation(run.evaluation.read_bytes())
    assert evaluation.validation is not None
    assert (evaluation.validation.status, evaluation.validation.answered) == ("reviewed", 10)


def test_without_a_terminal_nothing_is_asked(make_run: MakeRun) -> None:
    run, _ = make_run()
    command = [sys.executable, "-m", "app.cli", "review", str(run.path)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "needs a terminal" in done.stderr and not run.review.exists()
