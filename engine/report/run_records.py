"""What a finished run left in its folder, read and checked as a whole, every problem at once.

It refuses to report on half a run: an arm that is not complete, items that are not those frozen, a damaged file.
"""

import tomllib
from collections.abc import Callable
from typing import TypeVar

import msgspec

from engine.protocol.arms import ArmNoise, Attempt, Conditions, ItemRecord, arm_file, attempt_file, conditions_file, read_arm
from engine.protocol.config import Config
from engine.protocol.config_file import parse_config
from engine.protocol.errors import GateBlockedError, InputError, SluiceError
from engine.protocol.gates import GatesReport, read_gates
from engine.protocol.items import HeldOutItem
from engine.protocol.prereg import Preregistration, read_prereg
from engine.protocol.runs import RunFolder
from engine.store.arm_files import read_attempt, read_conditions, read_noise
from engine.store.preregistration import read_frozen_items

T = TypeVar("T")


class ArmRecords(msgspec.Struct, frozen=True, kw_only=True):
    """One arm: its records, the conditions it was decoded under, and its noise floor where it was read."""

    records: tuple[ItemRecord, ...]
    conditions: Conditions
    noise: ArmNoise | None


class RunRecords(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a report is made of. `items` are the frozen ones, in file order; `gates` None where there were none."""

    config: Config
    prereg: Preregistration
    items: tuple[HeldOutItem, ...]
    gates: GatesReport | None
    base: ArmRecords
    sft: ArmRecords
    attempt: Attempt | None


def read_run(run: RunFolder) -> RunRecords:
    """Read the run's folder.

    Raises:
        InputError: with every file that is missing, damaged or does not belong to the others.
        GateBlockedError: a hard gate stopped the run before there was anything to report on.
    """
    problems: list[str] = []

    def tried(read: Callable[[], T]) -> T | None:
        try:
            return read()
        except SluiceError as error:
            problems.extend(error.problems)
        return None

    config = tried(lambda: read_settings(run))
    prereg = tried(lambda: read_prereg(run.prereg))
    items = None if prereg is None else tried(lambda: read_frozen_items(run, prereg))
    gates = tried(lambda: read_gates(run.gates)) if run.gates.exists() else None
    if gates is not None and gates.blocking and not arm_file(run, "sft").exists():
        raise _stopped_by(run, gates)
    base, sft = tried(lambda: _read_arm(run, "base")), tried(lambda: _read_arm(run, "sft"))
    attempt = tried(lambda: read_attempt(attempt_file(run)))
    if problems or config is None or prereg is None or items is None or base is None or sft is None:
        raise InputError(*problems)
    return RunRecords(config=config, prereg=prereg, items=items, gates=gates, base=base, sft=sft, attempt=attempt)


def _stopped_by(run: RunFolder, gates: GatesReport) -> GateBlockedError:
    mend = f"mend the data and run again, or go on with `sluice resume {run.run_id} --override GATE --reason TEXT`"
    return GateBlockedError(
        f"run {run.run_id}: hard gates failed or are undecided ({', '.join(gates.blocking)}), so nothing was evaluated; {mend}"
    )


def read_settings(run: RunFolder) -> Config:
    """The run's settings, without asking whether the files that they name are still there.

    Raises:
        ConfigError: with every problem.
        InputError: there is no such file.
    """
    try:
        source = run.config.read_text(encoding="utf-8")
        return parse_config(tomllib.loads(source), source=source, where=str(run.config))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{run.config}: cannot be read: {error}; restore it from a copy of the run") from None


def _read_arm(run: RunFolder, arm: str) -> ArmRecords:
    records = tuple(read_arm(arm_file(run, arm)))
    conditions = read_conditions(run, arm)
    if conditions is None:
        raise InputError(f"{conditions_file(run, arm)}: is missing or damaged; `sluice resume` writes it anew")
    return ArmRecords(records=records, conditions=conditions, noise=read_noise(run, arm))
