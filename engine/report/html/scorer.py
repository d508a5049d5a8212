"""The section on the blinded review of the scorer: agreement overall, by arm and by check kind, and what scorer and reviewer saw differently."""

from collections.abc import Iterator

from engine.core.wording import counted
from engine.protocol.review import Agreement, Disagreement, Validation
from engine.report.html.markup import Markup, element, joined, table, text

_STATUS_CLASS = {"not validated": "open", "reviewed": "open", "validated": "good"}


def scorer(validation: Validation | None) -> Markup:
    """Whether a person agrees with the scorer, and where not."""
    if validation is None:
        return element("p", text("scorer not validated: there is nothing that a person could review."))
    parts = [element("p", element("b", text(f"{validation.text}."), class_=_STATUS_CLASS[validation.status]))]
    if validation.sampled:
        parts += [element("p", text(_counts(validation)), class_="soft small"), _agreements(validation)]
    if validation.disagreements:
        parts += [element("h3", text(f"Judged differently ({len(validation.disagreements)})"))]
        parts += [table(("item", "arm", "checks", "scorer", "the scorer's reason"), map(_disagreement, validation.disagreements))]
    return joined(parts)


def _counts(validation: Validation) -> str:
    words = f"{counted(validation.sampled, 'response')} sampled, {validation.answered} judged, {validation.skipped} skipped, "
    words += f"{validation.after_seeing_checks} of them after a look at what the checks ask for"
    return words + (f"; {validation.out_of_date} answers are about other responses" if validation.out_of_date else "")


def _agreements(validation: Validation) -> Markup:
    groups = {"overall": validation.overall}
    groups |= {f"{arm} arm": found for arm, found in validation.by_arm.items()}
    groups |= {f"check {kind}": found for kind, found in validation.by_kind.items()}
    head = ("", "n", "both pass", "only scorer passes", "only reviewer passes", "both fail", "kappa [CI]")
    return table(head, (_row(name, found) for name, found in groups.items()), numeric=frozenset(range(1, 7)))


def _row(name: str, found: Agreement) -> Iterator[Markup]:
    yield text(name)
    for count in (found.n, found.both_pass, found.only_scorer_passes, found.only_reviewer_passes, found.both_fail):
        yield text(f"{count:,}")
    if found.kappa is None:
        yield element("span", text("undecided"), title=found.kappa_undecided)
        return
    limits = "[undecided]" if found.kappa_ci is None else f"[{found.kappa_ci[0]:.2f}, {found.kappa_ci[1]:.2f}]"
    yield joined([text(f"{found.kappa:.2f} "), element("span", text(limits), class_="soft", title=found.kappa_ci_undecided)])


def _disagreement(found: Disagreement) -> Iterator[Markup]:
    yield text(found.item)
    yield text("SFT" if found.arm == "sft" else found.arm)
    yield text(", ".join(found.kinds))
    yield text("passes" if found.scorer_passes else "fails")
    yield text(found.reason)
