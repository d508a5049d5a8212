"""The files of an arm: one atomic file a batch while it is worked on, then all records in one file.

A batch file is believed only where the key inside it is the one asked for and its records are those it was written with; anything else is
decoded again. It refuses to call an arm complete before every batch is there.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from engine.core.batching import Batch, BatchPlan
from engine.protocol.arms import (
    ArmNoise,
    ArmTiming,
    Attempt,
    Conditions,
    ItemRecord,
    arm_file,
    conditions_file,
    encode_records,
    noise_file,
    timing_file,
)
from engine.protocol.errors import InputError
from engine.protocol.items import HeldOutItem
from engine.protocol.runs import RunFolder
from engine.store.atomic import atomic_write, sweep
from engine.store.hashes import digest

T = TypeVar("T")


class BatchFile(msgspec.Struct, frozen=True, kw_only=True):
    """One decoded batch: the key of everything that decided it, a digest of its records, the seconds it took, its records in row order."""

    key: str
    content: str
    elapsed_s: float
    records: tuple[ItemRecord, ...]


def conditions_key(conditions: Conditions) -> str:
    """Hash of everything in the conditions that decides answers and scores."""
    return digest(msgspec.structs.replace(conditions, git_sha=""))


def records_digest(records: Iterable[ItemRecord]) -> str:
    """Hash of the records, whatever their order: what a person edits by hand has another."""
    return digest(sorted(records, key=lambda record: record.id))


def batch_of(key: str, elapsed_s: float, records: Sequence[ItemRecord]) -> BatchFile:
    """What is kept of a decoded batch."""
    return BatchFile(key=key, content=records_digest(records), elapsed_s=elapsed_s, records=tuple(records))


def batch_key(conditions: Conditions, batch: Batch, items: Iterable[HeldOutItem]) -> str:
    """Hash of everything that decides a batch: conditions, items with their checks, prompts and width (in the batch's digest)."""
    return digest([conditions_key(conditions), batch.digest, list(items)])


def batch_file(run: RunFolder, arm: str, batch: Batch) -> Path:
    """`eval/<arm>/<NNNN>-<digest>.json`."""
    return run.eval / arm / f"{batch.index:04d}-{batch.digest[:12]}.json"


def read_batch(run: RunFolder, arm: str, batch: Batch, key: str, warn: Callable[[str], None]) -> BatchFile | None:
    """The finished batch; None where it is missing, damaged, was changed after it was written, or was decoded under another key.

    `warn` is told of a file that is there and cannot be believed; one of another key is no wonder after a change of settings.
    """
    path = batch_file(run, arm, batch)
    found = _decoded(path, BatchFile)
    if found is None:
        if path.exists():
            warn(f"{path}: is damaged; its {len(batch.ids)} items are decoded again")
        return None
    if found.key != key:
        return None
    if found.content != records_digest(found.records):
        warn(f"{path}: was changed after it was written; its {len(batch.ids)} items are decoded again")
        return None
    return found


def write_batch(run: RunFolder, arm: str, batch: Batch, finished: BatchFile) -> None:
    """Put the batch on the disk, whole or not at all.

    Raises:
        DiskFullError: there is no space; nothing half-written stays.
    """
    path = batch_file(run, arm, batch)
    # One by one: the mode holds only for the last folder of a path.
    for folder in (run.eval, path.parent):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    atomic_write(path, msgspec.json.encode(finished))


def remove_stale(run: RunFolder, arm: str, plan: BatchPlan) -> None:
    """Remove batch files of other plans, and the arm's records made of them."""
    folder, keep = run.eval / arm, {batch_file(run, arm, batch) for batch in plan.batches}
    stale = sorted(set(folder.glob("*.json")) - keep)
    for path in stale:
        path.unlink(missing_ok=True)
    if stale:
        arm_file(run, arm).unlink(missing_ok=True)


def begin_arm(run: RunFolder, arm: str, conditions: Conditions) -> None:
    """Write down under which conditions the arm is decoded; records made under others are no longer the arm's.

    What a killed worker left half-written is removed.
    """
    run.eval.mkdir(parents=True, exist_ok=True, mode=0o700)
    for folder in (run.eval, run.eval / arm):
        sweep(folder)
    if read_conditions(run, arm) != conditions:
        arm_file(run, arm).unlink(missing_ok=True)
        atomic_write(conditions_file(run, arm), _indented(conditions))


def finish_arm(run: RunFolder, arm: str, batches: Sequence[BatchFile], noise: ArmNoise) -> None:
    """Write noise and timing, and last the records in the order of decoding: an arm is complete once that file is there.

    The noise file keeps a digest of the records, so that a report can tell records that were changed later.
    """
    records = [record for batch in batches for record in batch.records]
    timing = ArmTiming(
        batch_s=tuple(batch.elapsed_s for batch in batches),
        batch_tokens=tuple(sum(record.tokens for record in batch.records) for batch in batches),
    )
    atomic_write(noise_file(run, arm), _indented(msgspec.structs.replace(noise, records_digest=records_digest(records))))
    atomic_write(timing_file(run, arm), _indented(timing))
    atomic_write(arm_file(run, arm), encode_records(records))


def read_conditions(run: RunFolder, arm: str) -> Conditions | None:
    """Under which conditions an arm was decoded; None where it was not begun."""
    return _decoded(conditions_file(run, arm), Conditions)


def read_noise(run: RunFolder, arm: str) -> ArmNoise | None:
    """The arm's noise floor; None where it was not read."""
    return _decoded(noise_file(run, arm), ArmNoise)


def write_attempt(path: Path, attempt: Attempt) -> None:
    """Keep the number of the attempt with the run, so that it holds where the ledger is not."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    atomic_write(path, _indented(attempt))


def read_attempt(path: Path) -> Attempt | None:
    """The number of the attempt; None where the SFT arm was not begun.

    Raises:
        InputError: the file is damaged.
    """
    if not path.exists():
        return None
    found = _decoded(path, Attempt)
    if found is None:
        raise InputError(f"{path}: cannot be read as the number of an attempt; restore it from a copy of the run")
    return found


def _decoded(path: Path, kind: Callable[..., T]) -> T | None:
    try:
        found: T = msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError):
        return None
    return found


def _indented(value: msgspec.Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=2) + b"\n"
