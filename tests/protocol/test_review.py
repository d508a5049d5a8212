"""review.jsonl: answers appended, taken back, read again, and what a crash or a full disk leaves of them."""

import errno
import os
from pathlib import Path

import pytest

from engine.core.review import validate
from engine.protocol.errors import DiskFullError, InputError
from engine.protocol.review import Review, ReviewLog, ReviewSheet, ReviewTask, Sampled, append_review, read_review

TASKS = tuple(ReviewTask(key=key, instruction="i", response=key, reference=None, checks=()) for key in ("k1", "k2", "k3"))


def sheet(count: int = 3) -> ReviewSheet:
    nothing = validate((), ReviewLog(), seed=0, min_kappa=0, min_responses=50, confidence_level=0.95)
    return ReviewSheet(run="r", tasks=TASKS[:count], labels={}, validation=nothing)


def test_a_review_goes_on_where_it_rests(tmp_path: Path) -> None:
    path = tmp_path / "review.jsonl"
    first = Review(path, sheet())
    first.answer(TASKS[0], "pass", saw_checks=False)
    first.answer(TASKS[1], "fail", saw_checks=True)
    again = Review(path, sheet())
    assert (again.done, again.next) == (2, TASKS[2])
    assert again.undo() and again.next == TASKS[1]
    log = read_review(path)
    assert (log.responses, {key: one.label for key, one in log.answers.items()}) == (3, {"k1": "pass"})
    again.answer(TASKS[1], "skip", saw_checks=False)
    again.answer(TASKS[2], "pass", saw_checks=False)
    assert again.next is None
    assert [len(line) > 10 for line in path.read_bytes().splitlines()] == [True] * 6
    assert path.stat().st_mode & 0o077 == 0


def test_there_is_nothing_to_undo_at_first(tmp_path: Path) -> None:
    assert not Review(tmp_path / "review.jsonl", sheet()).undo()
    assert not (tmp_path / "review.jsonl").exists()


def test_a_larger_sample_is_kept_with_its_first_answer(tmp_path: Path) -> None:
    path = tmp_path / "review.jsonl"
    Review(path, sheet(1)).answer(TASKS[0], "pass", saw_checks=False)
    larger = Review(path, sheet(3))
    assert read_review(path).responses == 1
    larger.answer(TASKS[1], "pass", saw_checks=False)
    assert read_review(path).responses == 3


def test_a_torn_line_is_left_out_and_written_over(tmp_path: Path) -> None:
    path = tmp_path / "review.jsonl"
    Review(path, sheet()).answer(TASKS[0], "pass", saw_checks=False)
    with path.open("ab") as file:
        file.write(b'{"kind":"answer","key":"k2","la')
    assert list(read_review(path).answers) == ["k1"]
    Review(path, sheet()).answer(TASKS[1], "fail", saw_checks=False)
    assert list(read_review(path).answers) == ["k1", "k2"]


def test_lines_that_are_none_are_all_named(tmp_path: Path) -> None:
    path = tmp_path / "review.jsonl"
    path.write_text('{"kind":"answer"}\n{"kind":"sample","responses":3,"at":"t","who":"w"}\nnonsense\n', "utf-8")
    with pytest.raises(InputError) as caught:
        read_review(path)
    assert ["line 1" in caught.value.problems[0], "line 3" in caught.value.problems[1]] == [True, True]
    assert len(caught.value.problems) == 2


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "review.jsonl"
    append_review(path, Sampled(responses=3, at="t", who="w"))
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("engine.protocol.review.os.fsync", full)
    review = Review(path, sheet())
    with pytest.raises(DiskFullError, match="answers before it are kept"):
        review.answer(TASKS[0], "pass", saw_checks=False)
    assert path.read_bytes() == before
    assert review.next == TASKS[0]
