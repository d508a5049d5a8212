"""Freezing an evaluation before its first answer: `prereg.json`, and the items themselves in `eval/items.jsonl`.

From here on every stage reads the frozen items, so that a held-out file which changes or vanishes under a run changes nothing. It refuses to
freeze anew what answers were already decoded under.
"""

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

import engine
from engine.core.batching import choose_subset
from engine.core.design import guarded_types, primary_test
from engine.protocol.arms import items_file
from engine.protocol.config import Config
from engine.protocol.errors import InputError
from engine.protocol.items import HeldOutItem
from engine.protocol.prereg import Frozen, Preregistration, Scalar, differences, encode_prereg, read_prereg
from engine.protocol.runs import RunFolder
from engine.store.atomic import atomic_write
from engine.store.hashes import digest

_SCORER_SOURCES = ("core/checks", "core/text.py", "core/stop_rules.py")


@functools.cache
def scorer_version() -> str:
    """Version of the package, and a hash of the code that scores."""
    package, hashed = Path(engine.__file__).parent, hashlib.sha256()
    for source in _SCORER_SOURCES:
        path = package / source
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            hashed.update(file.relative_to(package).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return f"{engine.__version__}+{hashed.hexdigest()[:16]}"


def decoding_of(config: Config) -> dict[str, Scalar]:
    """How both arms decode."""
    return {"do_sample": False, "temperature": 0.0, "max_new_tokens": config.eval.max_new_tokens}


def freeze(config: Config, items: Sequence[HeldOutItem], held_out_sha256: str, *, scorer: str | None = None) -> Preregistration:
    """What is frozen for these settings and the items of the evaluation (after `choose_subset`). Equal arguments, equal hash.

    `scorer` is the version of the scorer, this code's where it is not given.
    """
    frozen = Frozen(
        held_out_sha256=held_out_sha256,
        subset=config.eval.subset,
        subset_seed=config.run.seed,
        item_ids=tuple(item.id for item in items),
        checks_sha256=digest(list(items)),
        scorer_version=scorer or scorer_version(),
        primary_test=primary_test(items),
        verdict={**_verdict_settings(config), "guarded": list(guarded_types(config.verdict.guarded, items))},
        decoding=decoding_of(config),
        gates=msgspec.to_builtins(config.gates),
        profile=config.run.profile,
    )
    return Preregistration(hash=digest(frozen), frozen=frozen)


def _verdict_settings(config: Config) -> dict[str, Any]:
    """The [verdict] settings; the threshold on the review of the scorer is among them where there is one."""
    settings: dict[str, Any] = msgspec.to_builtins(config.verdict)
    unasked = () if config.verdict.min_kappa else ("min_kappa", "review_items")
    return {key: value for key, value in settings.items() if key not in unasked}


def preregister(run: RunFolder, config: Config, items: Sequence[HeldOutItem], held_out_sha256: str) -> Preregistration:
    """Choose the subset, freeze everything and write it into the run; the same again changes no byte.

    Raises:
        InputError: something else was frozen before and answers were decoded under it; every difference is named.
    """
    chosen = choose_subset(items, config.eval.subset, config.run.seed)
    prereg = freeze(config, chosen, held_out_sha256)
    if run.prereg.exists() and any(run.eval.glob("*/*.json")):
        before = read_prereg(run.prereg)
        if before.hash == prereg.hash:
            return before
        changed = differences(before.frozen, prereg.frozen)
        raise InputError(
            *(f"{run.prereg}: {change}" for change in changed),
            "answers were decoded under the frozen settings, which cannot change any more; start a new run with `sluice run`",
        )
    run.eval.mkdir(parents=True, exist_ok=True, mode=0o700)
    atomic_write(items_file(run), msgspec.json.Encoder().encode_lines(chosen))
    atomic_write(run.prereg, encode_prereg(prereg))
    return prereg


def read_frozen_items(run: RunFolder, prereg: Preregistration) -> tuple[HeldOutItem, ...]:
    """The items as they were frozen.

    Raises:
        InputError: the file is missing, damaged, or not what was frozen.
    """
    path = items_file(run)
    mend = "restore it from a copy of the run, or start a new run"
    try:
        items = tuple(msgspec.json.Decoder(HeldOutItem).decode_lines(path.read_bytes()))
    except FileNotFoundError:
        raise InputError(f"{path}: is not there: the gates stage writes it; run it first") from None
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}; {mend}") from None
    if digest(list(items)) != prereg.frozen.checks_sha256:
        raise InputError(f"{path}: holds other items than were frozen in {run.prereg.name}; {mend}")
    return items
