"""Which overrides cannot be given: those of a gate without which the next stage could not work, whatever a person decides.

It refuses them early and in words, so that nobody writes down a reason for a run that then stops all the same.
"""

from collections.abc import Collection
from pathlib import Path

from engine.core.qc import CHAT_CONTROL_LITERALS, ControlFinder
from engine.data.held_out import HeldOut, read_held_out
from engine.data.tokens import RunTokenizer
from engine.protocol.config import Config
from engine.protocol.errors import InputError

_SHOWN = 20
_OF_THE_HELD_OUT_SET = {"held-out", "contamination-guards"}


def check_overrides(config: Config, gates: Collection[str]) -> None:
    """Looks at the held-out set where one of these `gates` has to do with it.

    Raises: InputError with what has to be mended first, for every override that would change nothing.
    """
    problems = []
    if "sentinels" in gates:
        problems.append(
            "override sentinels: a model that cannot complete a plain text is never trained or evaluated; check model.path and the files in it"
        )
    if not _OF_THE_HELD_OUT_SET.isdisjoint(gates):
        held_out = read_held_out(Path(config.data.held_out))
        problems += _broken_items(held_out) if "held-out" in gates else []
        problems += _control_tokens(held_out, config) if "contamination-guards" in gates else []
    if problems:
        raise InputError(*problems)


def _broken_items(held_out: HeldOut) -> list[str]:
    if not held_out.problems:
        return []
    return [
        f"override held-out: {held_out.path} holds items that cannot be used at all, which no override covers; mend these lines or take "
        "them out (an override does cover too few items)",
        *_first([str(problem) for problem in held_out.problems]),
    ]


def _control_tokens(held_out: HeldOut, config: Config) -> list[str]:
    try:
        literals = RunTokenizer.load(config.model.path).control_literals
    except InputError:
        literals = frozenset()
    finder = ControlFinder(literals | frozenset(CHAT_CONTROL_LITERALS))
    found = [item.id for item in held_out.items if finder.spans(item.instruction)]
    if not found:
        return []
    return [
        f"override contamination-guards: control tokens stand in instructions of {held_out.path}, which no model reads as text; take "
        "them out (an override does cover those in the training data)",
        *_first([f"item {item_id}" for item_id in found]),
    ]


def _first(lines: list[str]) -> list[str]:
    return lines[:_SHOWN] + ([f"… and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else [])
