"""The records of an evaluated arm (`eval/base.jsonl`, `eval/sft.jsonl`): one held-out item and how the arm answered it, a line each.

Readers and structures only: nothing here scores or decides. A record holds no time and no host, so that equal answers give equal files.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from engine.protocol.errors import InputError
from engine.protocol.items import CheckOutcome
from engine.protocol.plans import ComputePlan
from engine.protocol.runs import RunFolder

Scalar = bool | int | float | str | None
StopReason = Literal["end", "length"]
"""`end`: the arm emitted the document-end token; `length`: it was cut at max_new_tokens."""


class ItemRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One item as one arm answered it. `success` is None where it could not be scored."""

    id: str
    types: tuple[str, ...]
    instruction: str
    prompt_sha256: str
    """Of the prompt's text."""
    token_ids: tuple[int, ...]
    """What was generated, the end token included where there is one."""
    text: str
    """`token_ids` as text: without special tokens, and without the one space that the prompt contract puts before a response."""
    success: bool | None
    checks: tuple[CheckOutcome, ...]
    tokens: int
    stop: StopReason
    batch: str
    """Digest of the batch that it was decoded in."""


class ItemPair(msgspec.Struct, frozen=True, kw_only=True):
    """One item with the records of both arms."""

    id: str
    types: tuple[str, ...]
    instruction: str
    base: ItemRecord
    sft: ItemRecord


class NoiseReading(msgspec.Struct, frozen=True, kw_only=True):
    """Items decoded twice: how many, and the ids whose text and whose success differed."""

    items: int
    text_flips: tuple[str, ...]
    success_flips: tuple[str, ...]


class ArmNoise(msgspec.Struct, frozen=True, kw_only=True):
    """eval/noise-<arm>.json. `key` says under which conditions; `unpadded` is without padding; `drift` is read by the SFT arm's process only."""

    key: str
    repeat: NoiseReading
    rebatch: NoiseReading
    unpadded: NoiseReading | None = None
    drift: NoiseReading | None = None
    records_digest: str = ""
    """Of the arm's records when it was finished (`records_digest` in engine.store.arm_files); empty where it was not kept."""


class ArmTiming(msgspec.Struct, frozen=True, kw_only=True):
    """eval/timing-<arm>.json: seconds of decoding and scoring, and generated tokens, of each batch in order."""

    batch_s: tuple[float, ...]
    batch_tokens: tuple[int, ...]


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """eval/conditions-<arm>.json: everything besides items and batches that decides an arm's answers and their scores."""

    model_files: dict[str, str]
    """File name → SHA-256."""
    quantization: str
    compute_dtype: str
    adapter_files: dict[str, str]
    """File name → SHA-256; empty for the base arm."""
    decoding: dict[str, Scalar]
    batch_items: int
    """Rows of a batch; fewer than the settings say where memory ran out."""
    plan: str
    """Digest of the batch plan."""
    device: str
    threads: int
    versions: dict[str, str]
    loader_version: str
    git_sha: str
    """Of the checkout that decoded; empty where it was an installed package. It does not decide anything."""
    source_sha256: str
    """Of the code that loads, prompts and decodes."""
    scorer_version: str
    compute_plan: ComputePlan
    """How the model was made to run, mirrored weights among it; the same for both arms."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """eval/attempt.json: which attempt on its held-out set the workspace's ledger gave to this run's adapter."""

    held_out_sha256: str
    adapter_sha256: str
    attempt: int
    gates_digest: str = ""
    """Of gates.json when the SFT arm was begun, after which no gate changes; empty where it was not kept."""


WEIGHTS_FILE = "adapter_model.safetensors"
"""The file of an adapter by whose sha256 it is known."""

_lines = msgspec.json.Decoder(ItemRecord)


def arm_file(run: RunFolder, arm: str) -> Path:
    """Where the records of an arm are; the file is there only once the arm is complete."""
    return run.eval / f"{arm}.jsonl"


def noise_file(run: RunFolder, arm: str) -> Path:
    """Where an arm's noise floor is."""
    return run.eval / f"noise-{arm}.json"


def timing_file(run: RunFolder, arm: str) -> Path:
    """Where an arm's timing is."""
    return run.eval / f"timing-{arm}.json"


def items_file(run: RunFolder) -> Path:
    """The held-out items as they were evaluated, checks included, one a line."""
    return run.eval / "items.jsonl"


def conditions_file(run: RunFolder, arm: str) -> Path:
    """Where the conditions of an arm are."""
    return run.eval / f"conditions-{arm}.json"


def attempt_file(run: RunFolder) -> Path:
    """Where the number of the attempt is."""
    return run.eval / "attempt.json"


def encode_records(records: Sequence[ItemRecord]) -> bytes:
    """One line a record; equal records give equal bytes."""
    return msgspec.json.Encoder().encode_lines(records)


def read_arm(path: Path) -> list[ItemRecord]:
    """The records of one arm in the order of decoding.

    Raises:
        InputError: the file is not there, or lines that are no records; every line is named.
    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        raise InputError(f"{path}: is not there: this arm is not complete; `sluice resume` goes on with it") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    records, problems = [], []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(_lines.decode(line))
        except msgspec.DecodeError as error:
            problems.append(f"{path}, line {number}: not a record of an evaluated item: {error}; evaluate the arm again")
    if problems:
        raise InputError(*problems)
    return records


def items_with_outcomes(run: RunFolder) -> list[ItemPair]:
    """Every item that both arms answered, with instruction, texts and checks, in the order of the base arm.

    Raises:
        InputError: as `read_arm`, for either arm.
    """
    sft = {record.id: record for record in read_arm(arm_file(run, "sft"))}
    return [
        ItemPair(id=base.id, types=base.types, instruction=base.instruction, base=base, sft=sft[base.id])
        for base in read_arm(arm_file(run, "base"))
        if base.id in sft
    ]


class AnsweredItem(msgspec.Struct, frozen=True, kw_only=True):
    """One item with what has been answered so far: None for an arm that has not come to it."""

    id: str
    types: tuple[str, ...]
    instruction: str
    base: ItemRecord | None
    sft: ItemRecord | None


class _Batch(msgspec.Struct, frozen=True):
    """The part of a batch file that readers want."""

    records: tuple[ItemRecord, ...]


def answered_items(run: RunFolder) -> list[AnsweredItem]:
    """Every item that an arm has answered; while an arm is at work, from its batch files, the newest batch first.

    Raises:
        InputError: a complete arm's file cannot be read; as `read_arm`. A batch file that cannot be read is left out: it is redone.
    """
    base, sft = (_records_so_far(run, arm) for arm in ("base", "sft"))
    return [
        AnsweredItem(id=name, types=known.types, instruction=known.instruction, base=base.get(name), sft=sft.get(name))
        for name, known in (sft | {name: record for name, record in base.items() if name not in sft}).items()
    ]


def _records_so_far(run: RunFolder, arm: str) -> dict[str, ItemRecord]:
    if arm_file(run, arm).exists():
        return {record.id: record for record in read_arm(arm_file(run, arm))}
    found: dict[str, ItemRecord] = {}
    for path in sorted((run.eval / arm).glob("*.json"), reverse=True):
        try:
            found.update((record.id, record) for record in msgspec.json.decode(path.read_bytes(), type=_Batch).records)
        except (OSError, msgspec.DecodeError):
            continue
    return found
