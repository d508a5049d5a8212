"""Whether a report keeps to what was frozen before the evaluation, and at which level this attempt is tested (STATISTICS.md).

It refuses to let anything pass in silence: every setting that differs is named, and makes the report exploratory.
"""

from collections.abc import Iterator

import msgspec

from engine.core.statistics import attempt_alpha
from engine.protocol.arms import WEIGHTS_FILE, Conditions
from engine.protocol.evaluation import Prereg
from engine.protocol.prereg import differences
from engine.protocol.runs import RunFolder
from engine.report.run_records import RunRecords
from engine.store.arm_files import conditions_key, records_digest
from engine.store.hashes import digest
from engine.store.ledger import attempt_number, ledger_of
from engine.store.preregistration import freeze


def preregistration(run: RunFolder, records: RunRecords) -> Prereg:
    """The frozen hash, every difference from it, the attempt and its level.

    Raises:
        InputError: the ledger is damaged.
    """
    changed = tuple(_changed(records))
    attempt = _attempt(run, records)
    alpha = attempt_alpha(records.config.verdict.alpha, attempt)
    return Prereg(hash=records.prereg.hash, exploratory=bool(changed), attempt=attempt, alpha=alpha, differences=changed)


def _changed(records: RunRecords) -> Iterator[str]:
    frozen = records.prereg.frozen
    if digest(frozen) != records.prereg.hash:
        yield "prereg.json was changed after it was written: its hash is not that of its content"
    scorers = [arm.conditions.scorer_version for arm in (records.base, records.sft)]
    other = next((version for version in scorers if version != frozen.scorer_version), frozen.scorer_version)
    yield from differences(frozen, freeze(records.config, records.items, frozen.held_out_sha256, scorer=other).frozen)
    for name, arm in (("base", records.base), ("SFT", records.sft)):
        yield from _decoded_otherwise(name, arm.conditions, frozen.decoding)
        if arm.noise is None:
            yield f"the noise file of the {name} arm is missing or damaged, so its records cannot be checked; evaluate the arm again"
        elif arm.noise.records_digest not in ("", records_digest(arm.records)):
            yield f"the records of the {name} arm were changed after they were written; evaluate the arm again"
    yield from _counted_otherwise(records)
    base, sft = (msgspec.structs.replace(arm.conditions, adapter_files={}) for arm in (records.base, records.sft))
    if conditions_key(base) != conditions_key(sft):
        names = [name for name in base.__struct_fields__ if name != "git_sha" and getattr(base, name) != getattr(sft, name)]
        yield f"the arms were answered under different conditions: {', '.join(names)}"


def _decoded_otherwise(name: str, conditions: Conditions, frozen: dict[str, bool | int | float | str | None]) -> Iterator[str]:
    for key, value in frozen.items():
        if conditions.decoding.get(key) != value:
            yield f"the {name} arm was decoded with {key} {conditions.decoding.get(key)}, not {value}"


def _counted_otherwise(records: RunRecords) -> Iterator[str]:
    """Whether the attempt that was counted is the one reported: this adapter, this held-out set, these gates."""
    attempt = records.attempt
    if attempt is None:
        yield "eval/attempt.json is missing, so the attempt that was counted before the SFT arm is not known"
        return
    if (attempt.held_out_sha256, attempt.adapter_sha256) != (records.prereg.frozen.held_out_sha256, _adapter(records)):
        yield "eval/attempt.json speaks of another adapter or held-out set than those of the SFT arm"
    if attempt.gates_digest and records.gates is not None and attempt.gates_digest != digest(records.gates):
        yield "gates.json was changed after the SFT arm was begun"


def _adapter(records: RunRecords) -> str:
    return records.sft.conditions.adapter_files.get(WEIGHTS_FILE, "")


def _attempt(run: RunFolder, records: RunRecords) -> int:
    """The highest number that run or ledger know: a copy of the run in another workspace does not begin anew, nor does a lost file."""
    known = attempt_number(ledger_of(run), records.prereg.frozen.held_out_sha256, _adapter(records)) or 1
    return known if records.attempt is None else max(records.attempt.attempt, known)
