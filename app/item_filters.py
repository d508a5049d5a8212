"""Which held-out items to look at, and in which order: filters by outcome of the two arms, a plain search in texts. Pure."""

from collections.abc import Callable, Sequence
from typing import Any

from engine.protocol.arms import AnsweredItem

FILTERS: dict[str, tuple[str, Callable[[bool | None, bool | None], bool]]] = {
    "all": ("all items", lambda base, sft: True),
    "lost": ("lost: only the base passes", lambda base, sft: base is True and sft is False),
    "won": ("won: only the SFT arm passes", lambda base, sft: base is False and sft is True),
    "neither": ("both fail", lambda base, sft: base is False and sft is False),
    "both": ("both pass", lambda base, sft: base is True and sft is True),
    "unscored": ("unscored in an arm", lambda base, sft: base is None or sft is None),
}

ORDERS: dict[str, Callable[[AnsweredItem], tuple[Any, ...]]] = {
    "as asked": lambda item: (),
    "id": lambda item: (item.id,),
    "type": lambda item: (item.types, item.id),
    "longest response": lambda item: (-max(arm.tokens for arm in (item.base, item.sft) if arm is not None),),
}
"""Keys to sort items by; what is equal stays in the order in which the items were asked."""


def passes(item: AnsweredItem, name: str) -> bool:
    """Whether a filter lets an item through; what compares the arms waits for both of them."""
    if name == "all":
        return True
    return item.base is not None and item.sft is not None and FILTERS[name][1](item.base.success, item.sft.success)


def chosen(
    items: Sequence[AnsweredItem], *, of_type: str | None, name: str, wanted: str, order: str = "as asked"
) -> list[AnsweredItem]:
    """The items of a type that pass the filter and hold `wanted` (any case) in id, instruction or a response, ordered."""
    needle = wanted.casefold()
    kept = [item for item in items if _of(item, of_type) and passes(item, name) and (not needle or _holds(item, needle))]
    return sorted(kept, key=ORDERS.get(order, ORDERS["as asked"]))


def counts(items: Sequence[AnsweredItem], of_type: str | None) -> dict[str, int]:
    """How many items of a type each filter lets through."""
    mine = [item for item in items if _of(item, of_type)]
    return {name: sum(passes(item, name) for item in mine) for name in FILTERS}


def _of(item: AnsweredItem, of_type: str | None) -> bool:
    return of_type is None or of_type in item.types


def _holds(item: AnsweredItem, needle: str) -> bool:
    texts = (item.id, item.instruction, *(arm.text for arm in (item.base, item.sft) if arm is not None))
    return any(needle in text.casefold() for text in texts)
