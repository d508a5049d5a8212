"""The blinded review of the scorer: what a person is shown, what they answered (`review.jsonl`), and what came of it.

A response goes by a key that hides its item and its arm. Every answer is appended and on the disk before the next response is shown. It
refuses to remove a line: an answer is taken back by another line.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec

from engine.protocol.commands import utc_now, who
from engine.protocol.errors import DiskFullError, EngineError, InputError

Label = Literal["pass", "fail", "skip"]
Status = Literal["not validated", "reviewed", "validated"]
"""`reviewed`: every sampled response has its answer, but no threshold was set; `validated`: and the threshold was reached."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


class ReviewTask(msgspec.Struct, frozen=True, kw_only=True):
    """One response as a reviewer sees it: nothing says which arm gave it or how it was scored."""

    key: str
    instruction: str
    response: str
    reference: str | None
    checks: tuple[dict[str, Any], ...]
    """What the checks ask for, as written in the held-out file; shown on request."""


class Sampled(msgspec.Struct, frozen=True, kw_only=True, tag="sample", tag_field="kind"):
    """A line that sets how many responses are to be reviewed."""

    responses: int
    at: str
    who: str


class Answered(msgspec.Struct, frozen=True, kw_only=True, tag="answer", tag_field="kind"):
    """A line with an answer; `saw_checks`: the reviewer had looked at what the checks ask for. `at` is UTC, ISO 8601."""

    key: str
    label: Label
    saw_checks: bool
    at: str
    who: str


class TakenBack(msgspec.Struct, frozen=True, kw_only=True, tag="undo", tag_field="kind"):
    """A line that takes back the answer to one response."""

    key: str
    at: str
    who: str


ReviewLine = Sampled | Answered | TakenBack


class ReviewLog:
    """The lines of review.jsonl folded: how many responses are to be reviewed (None: it never began), and the answers that stand, in order."""

    def __init__(self, lines: Iterable[ReviewLine] = ()) -> None:
        self.responses: int | None = None
        self.answers: dict[str, Answered] = {}
        for line in lines:
            self.take(line)

    def take(self, line: ReviewLine) -> None:
        """Fold one more line in."""
        if isinstance(line, Sampled):
            self.responses = max(line.responses, self.responses or 0)
            return
        self.answers.pop(line.key, None)
        if isinstance(line, Answered):
            self.answers[line.key] = line


class ReviewSheet(msgspec.Struct, frozen=True, kw_only=True):
    """What `sluice review RUN --json` prints: the sampled responses in the order in which they are shown, and what came of it so far."""

    run: str
    tasks: tuple[ReviewTask, ...]
    labels: dict[str, Label]
    """Answers that stand, by key."""
    validation: "Validation"


class Agreement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Scorer and reviewer on one group of responses: the four counts, the share of equal labels, Cohen's kappa with its interval."""

    n: int
    both_pass: int
    only_scorer_passes: int
    only_reviewer_passes: int
    both_fail: int
    observed: float | None
    kappa: float | None
    kappa_ci: tuple[float, float] | None
    observed_undecided: str | None = None
    kappa_undecided: str | None = None
    kappa_ci_undecided: str | None = None


class Disagreement(msgspec.Struct, frozen=True, kw_only=True):
    """A response that the scorer and the reviewer judged differently; `reason` is what the scorer said."""

    item: str
    arm: str
    kinds: tuple[str, ...]
    scorer_passes: bool
    reason: str


class ReviewGate(msgspec.Struct, frozen=True, kw_only=True):
    """The threshold on agreement, and whether it was reached; `reason` is a sentence."""

    min_kappa: float
    min_responses: int
    met: bool
    reason: str


class Validation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a person agreed with the scorer, told once every sampled response has an answer. `gate` is null where no threshold was set."""

    status: Status
    text: str
    sampled: int
    answered: int
    """With pass or fail."""
    skipped: int
    after_seeing_checks: int
    out_of_date: int
    """Answers about responses that are not sampled from the present records."""
    overall: Agreement
    by_arm: dict[str, Agreement]
    by_kind: dict[str, Agreement]
    """Check kind → the responses to items that have such a check."""
    disagreements: tuple[Disagreement, ...]
    gate: ReviewGate | None

    @property
    def complete(self) -> bool:
        """Whether every sampled response has an answer."""
        return 0 < self.sampled == self.answered + self.skipped


_lines = msgspec.json.Decoder(ReviewLine)


def read_review(path: Path) -> ReviewLog:
    """The review so far, an empty one where it never began. What a crash tore off at the end was never acknowledged and is left out.

    Raises:
        InputError: lines that are none of a review; every one is named.
    """
    log, problems = ReviewLog(), []
    for number, line in enumerate(_whole_lines(path), start=1):
        try:
            log.take(_lines.decode(line))
        except msgspec.DecodeError as error:
            problems.append(
                f"{path}, line {number}: not a line of a review: {error}; restore it, or move the file away to begin anew"
            )
    if problems:
        raise InputError(*problems)
    return log


class Review:
    """A reviewer at work on the sheet of a run: which response comes next, and every answer on the disk at once."""

    def __init__(self, path: Path, sheet: ReviewSheet) -> None:
        """Go on with what `path` holds.

        Raises:
            InputError: as `read_review`.
        """
        self.sheet, self._path, self._log = sheet, path, read_review(path)

    @property
    def next(self) -> ReviewTask | None:
        """The first response without an answer."""
        return next((task for task in self.sheet.tasks if task.key not in self._log.answers), None)

    @property
    def done(self) -> int:
        """How many of the sheet's responses have an answer."""
        return sum(task.key in self._log.answers for task in self.sheet.tasks)

    def answer(self, task: ReviewTask, label: Label, *, saw_checks: bool) -> None:
        """Keep an answer; the first one also keeps how many responses were sampled.

        Raises:
            DiskFullError, EngineError: it cannot be written; the file is as before.
        """
        at, by = utc_now(), who()
        if (self._log.responses or 0) < len(self.sheet.tasks):
            self._keep(Sampled(responses=len(self.sheet.tasks), at=at, who=by))
        self._keep(Answered(key=task.key, label=label, saw_checks=saw_checks, at=at, who=by))

    def undo(self) -> bool:
        """Take back the last answer that stands; False where there is none.

        Raises:
            DiskFullError, EngineError: as `answer`.
        """
        keys = {task.key for task in self.sheet.tasks}
        last = next((key for key in reversed(self._log.answers) if key in keys), None)
        if last is not None:
            self._keep(TakenBack(key=last, at=utc_now(), who=who()))
        return last is not None

    def _keep(self, line: ReviewLine) -> None:
        append_review(self._path, line)
        self._log.take(line)


def append_review(path: Path, line: ReviewLine) -> None:
    """Append a line and wait for the disk.

    Raises:
        DiskFullError, EngineError: it cannot be written; the file is as before.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        # network volumes may refuse flock; two reviewers at once could then tear a line, which is found when it is read
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        _append(descriptor, path, msgspec.json.encode(line) + b"\n")
    finally:
        os.close(descriptor)


def _append(descriptor: int, path: Path, data: bytes) -> None:
    whole_bytes = path.read_bytes().rfind(b"\n") + 1
    try:
        os.ftruncate(descriptor, whole_bytes)
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, whole_bytes)
        raise _cannot_write(path, error) from error


def _whole_lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def _cannot_write(path: Path, error: OSError) -> EngineError:
    text = f"{path}: the answer cannot be written: {error.strerror}; the answers before it are kept"
    return DiskFullError(f"{text}; make room and go on") if error.errno in _FULL else EngineError(f"{text}; mend it and go on")
