"""The blinded review of the scorer: which responses a person judges, and how far they agree with the scorer.

The sample is random, seeded and stratified by type and arm; a larger one holds every smaller one. It refuses to name a response by its
item or arm, and to tell agreement or disagreements before the last answer, as that would unblind.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from engine.core.statistics import cohens_kappa, reason, value
from engine.core.wording import counted, number
from engine.protocol.items import CheckSpec, HeldOutItem
from engine.protocol.review import Agreement, Disagreement, ReviewGate, ReviewLog, ReviewTask, Validation


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """One scored response of one arm; `reason` is the first that a failed check gave, else that of the first check."""

    item: HeldOutItem
    arm: str
    text: str
    success: bool
    reason: str


def response_key(response: Response, seed: int) -> str:
    """The name of a response that tells neither its item nor its arm; another text is another response."""
    return _hash(f"{seed}", response.arm, response.item.id, response.text)[:16]


def review_sample(responses: Sequence[Response], size: int, seed: int) -> tuple[Response, ...]:
    """`size` responses, types in proportion, both arms alike, each response equally likely, in an order that mixes the arms.

    Among the m items of a stratum (the combination of types) the k-th by hash (k = 0, 1, …) is drawn at place (k + u)/m, with u one
    seeded number in [0, 1) for the stratum; the arms take turns. The first places make the sample. The second response to an item comes
    after the first of every other.
    """
    strata: dict[tuple[str, ...], dict[str, list[Response]]] = defaultdict(lambda: defaultdict(list))
    for response in sorted(responses, key=lambda response: response.arm):
        strata[tuple(sorted(response.item.types))][response.item.id].append(response)
    placed = [entry for types, items in strata.items() for entry in _placed(types, items, seed)]
    placed.sort(key=lambda entry: entry[:2])
    chosen = [response for _, _, response in placed[:size]]
    return tuple(sorted(chosen, key=lambda response: _hash("order", response_key(response, seed))))


def _placed(types: tuple[str, ...], items: Mapping[str, Sequence[Response]], seed: int) -> Iterator[tuple[float, str, Response]]:
    """(place, tie-breaker, response) of one stratum; a place of 1 or more is for the second response to an item."""
    u, first_arm = _uniform("place", f"{seed}", *types), int(_uniform("arm", f"{seed}", *types) < 0.5)
    for rank, item_id in enumerate(sorted(items, key=lambda item_id: _hash("rank", f"{seed}", item_id))):
        turn = (rank + first_arm) % 2
        given = items[item_id][::-1] if turn else items[item_id]
        for second, response in enumerate(given):
            yield (rank + u) / len(items) + second, response_key(response, seed), response


def task_of(response: Response, seed: int) -> ReviewTask:
    """The response as a reviewer sees it."""
    item = response.item
    return ReviewTask(
        key=response_key(response, seed),
        instruction=item.instruction,
        response=response.text,
        reference=item.reference,
        checks=tuple(check.as_written() for check in item.checks),
    )


def check_kinds(item: HeldOutItem) -> tuple[str, ...]:
    """The kinds of an item's checks, each once; IFEval's by their instruction ids."""
    return tuple(dict.fromkeys(_kind(check) for check in item.checks))


def _kind(check: CheckSpec) -> str:
    return f"{check.kind} {check.arguments['id']}" if check.kind == "ifeval" and "id" in check.arguments else check.kind


def validate(
    sample: Sequence[Response], log: ReviewLog, *, seed: int, min_kappa: float, min_responses: int, confidence_level: float
) -> Validation:
    """Compare the answers of `log` with the scores of the sample; `min_kappa` 0 sets no threshold.

    The threshold is reached when every sampled response has an answer, at least `min_responses` of them pass or fail, and kappa ≥ `min_kappa`.
    """
    answers = {key: answer for key, answer in log.answers.items() if key in {response_key(one, seed) for one in sample}}
    judged = [
        (response, answers[key].label == "pass")
        for response in sample
        if (key := response_key(response, seed)) in answers and answers[key].label != "skip"
    ]
    skipped = len(answers) - len(judged)
    complete = bool(sample) and len(answers) == len(sample)
    told = judged if complete else []
    overall = _agreement(told, confidence_level, complete)
    gate = _gate(overall, complete, min_kappa, min_responses) if min_kappa else None
    return Validation(
        status="validated" if gate and gate.met else "reviewed" if complete and gate is None else "not validated",
        text=_text(overall, gate, complete, len(sample), len(answers)),
        sampled=len(sample),
        answered=len(judged),
        skipped=skipped,
        after_seeing_checks=sum(answer.saw_checks for answer in answers.values()),
        out_of_date=len(log.answers) - len(answers),
        overall=overall,
        by_arm={
            arm: _agreement([pair for pair in told if pair[0].arm == arm], confidence_level, complete) for arm in ("base", "sft")
        },
        by_kind={
            kind: _agreement([pair for pair in told if kind in check_kinds(pair[0].item)], confidence_level, complete)
            for kind in sorted({kind for response, _ in told for kind in check_kinds(response.item)})
        },
        disagreements=tuple(_disagreements(told)),
        gate=gate,
    )


def _agreement(judged: Sequence[tuple[Response, bool]], confidence_level: float, complete: bool) -> Agreement:
    cells = [[0, 0], [0, 0]]
    for response, passes in judged:
        cells[not response.success][not passes] += 1
    found = cohens_kappa(cells, confidence_level)
    not_yet = None if complete else "it is told once every sampled response has its answer"
    return Agreement(
        n=found.n,
        both_pass=cells[0][0],
        only_scorer_passes=cells[0][1],
        only_reviewer_passes=cells[1][0],
        both_fail=cells[1][1],
        observed=value(found.observed),
        observed_undecided=not_yet or reason(found.observed),
        kappa=value(found.kappa),
        kappa_undecided=not_yet or reason(found.kappa),
        kappa_ci=value(found.interval),
        kappa_ci_undecided=not_yet or reason(found.interval),
    )


def _disagreements(judged: Iterable[tuple[Response, bool]]) -> Iterable[Disagreement]:
    for response, passes in sorted(judged, key=lambda pair: (pair[0].item.id, pair[0].arm)):
        if response.success != passes:
            yield Disagreement(
                item=response.item.id,
                arm=response.arm,
                kinds=check_kinds(response.item),
                scorer_passes=response.success,
                reason=response.reason,
            )


def _gate(overall: Agreement, complete: bool, min_kappa: float, min_responses: int) -> ReviewGate:
    met = complete and overall.n >= min_responses and overall.kappa is not None and overall.kappa >= min_kappa
    if not complete:
        why = "the blinded review is not complete"
    elif overall.n < min_responses:
        why = f"only {counted(overall.n, 'response')} judged, {min_responses} needed"
    elif overall.kappa is None:
        why = f"kappa is undecided: {overall.kappa_undecided}"
    else:
        relation = "≥" if met else "<"
        why = f"kappa {number(overall.kappa, min_kappa)} {relation} {number(min_kappa)} on {counted(overall.n, 'response')}"
    return ReviewGate(min_kappa=min_kappa, min_responses=min_responses, met=met, reason=why)


def _text(overall: Agreement, gate: ReviewGate | None, complete: bool, sampled: int, answered: int) -> str:
    """One sentence: validated or not, and why."""
    if gate is not None:
        return f"scorer {'validated' if gate.met else 'not validated'}: {gate.reason}"
    if not sampled:
        return "scorer not validated: no person reviewed a blinded sample of the responses (sluice review)"
    if not complete:
        return f"scorer not validated: {answered} of {counted(sampled, 'sampled response')} reviewed so far"
    return f"scorer reviewed, no threshold set: {kappa_words(overall)}"


def kappa_words(found: Agreement) -> str:
    """`kappa 0.88 [0.75, 1.00], 47 of 50 responses judged alike`."""
    alike = f"{found.both_pass + found.both_fail} of {counted(found.n, 'response')} judged alike"
    if found.kappa is None:
        return f"kappa undecided ({found.kappa_undecided}), {alike}"
    limits = "[undecided]" if found.kappa_ci is None else f"[{found.kappa_ci[0]:.2f}, {found.kappa_ci[1]:.2f}]"
    return f"kappa {found.kappa:.2f} {limits}, {alike}"


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _uniform(*parts: str) -> float:
    """A seeded number in [0, 1)."""
    return int(_hash(*parts)[:12], 16) / 16**12
