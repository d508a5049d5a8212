"""What-if as text: the settings that can be tried, what a person wrote as settings, and what the engine found with them. Pure.

Whatever is found is called EXPLORATORY, and the recorded verdict stands beside it. It refuses to judge values: the engine does.
"""

import json
from collections.abc import Mapping
from typing import Any

from textual.content import Content

from app.figures import p_value
from app.inert import inert
from app.report_text import headline, reason_lines
from app.state_words import DECISIONS
from engine.protocol.evaluation import Evaluation, TypeOutcome

SETTINGS = (
    "alpha", "min_lift", "fdr", "max_unscored", "max_arm_width", "max_lift_width",
    "guarded", "guard", "guard_alpha", "margin", "min_items", "require_beyond_stopping",
)  # fmt: skip
"""Keys of the [verdict] table that can be tried, in the order they are asked for."""


def shown(value: Any) -> str:
    """A recorded setting as a person would write it; lists as words with commas."""
    if isinstance(value, list | tuple):
        return ", ".join(str(part) for part in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def changes(written: Mapping[str, str], recorded: Mapping[str, Any]) -> list[str]:
    """KEY=VALUE of every field that does not say what is recorded, the value as in sluice.toml."""
    found = []
    for key, text in written.items():
        before = recorded.get(key)
        if text.strip() == shown(before):
            continue
        found.append(f"{key}={_value(text, listed=isinstance(before, list | tuple))}")
    return found


def _value(text: str, *, listed: bool) -> str:
    if not listed:
        return text.strip()
    return json.dumps([part.strip() for part in text.split(",") if part.strip()])


def before_trying() -> Content:
    """What this screen is for."""
    return Content.styled(
        "Change a threshold and press Enter: the engine works out anew what the records of this run say under it.\n"
        "Nothing is written. Looking for the threshold that suits is how false GOs are made: so nothing here is a verdict.",
        "$muted",
    )


def banner(recorded: Evaluation) -> Content:
    """EXPLORATORY, and the verdict that stays."""
    verdict = recorded.verdict
    stays = DECISIONS[verdict.decision].content(bold=True) if verdict is not None else Content("none")
    return Content.assemble(("EXPLORATORY", "bold reverse $warning"), " not a verdict. The recorded one stays: ", stays)


def found(tried: Evaluation, recorded: Evaluation, width: int) -> Content:
    """What differs from the recorded settings, the figures, every reason, and the types whose reading changed."""
    prereg, verdict = tried.prereg, tried.verdict
    if prereg is None or verdict is None:
        return Content("the engine gave no reading")
    lines = [inert(f"· {difference}", style="$warning") for difference in prereg.differences]
    if not prereg.exploratory:
        lines = [Content("These are the recorded settings: the same verdict.")]
    lines += [Content(""), *headline(tried).wrap(width), *_weighed(tried)]
    lines += [
        line for reason in verdict.reasons if reason.id != "exploratory" for line in reason_lines(reason, width, whole=True)
    ]
    changed = [line for name, kind in tried.by_type.items() for line in _type_changes(name, kind, recorded.by_type.get(name))]
    if changed:
        lines += [Content.styled("\nTypes read differently", "bold $secondary"), *changed]
    return Content("\n").join(lines)


def _weighed(tried: Evaluation) -> list[Content]:
    """How many findings speak against GO under these settings, besides that they are not the frozen ones."""
    verdict = tried.verdict
    if verdict is None or tried.prereg is None or not tried.prereg.exploratory:
        return []
    others = [reason.status for reason in verdict.reasons if reason.id != "exploratory"]
    against, open_ = others.count("fail"), others.count("undecided")
    text = f"besides being exploratory: {against} finding{'' if against == 1 else 's'} against GO, {open_} undecided"
    return [Content.styled(text, "bold"), Content("")]


def _type_changes(name: str, tried: TypeOutcome, recorded: TypeOutcome | None) -> list[Content]:
    if recorded is None:
        return []
    guards = tuple(kind.guard.status if kind.guard is not None else "not guarded" for kind in (recorded, tried))
    margins = tuple(kind.noninferiority.status if kind.noninferiority is not None else "not asked" for kind in (recorded, tried))
    significant = tuple("significant" if kind.significant_after_bh else "not significant" for kind in (recorded, tried))
    said = [
        f"{what} {before} → {after}"
        for what, (before, after) in (("guard:", guards), ("non-inferiority:", margins), ("lift:", significant))
        if before != after
    ]
    return [inert(f"{name}: {'; '.join(said)} (adjusted p {p_value(tried.p_adjusted)})")] if said else []
