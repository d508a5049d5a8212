"""The sample of the blinded review, and the agreement that comes of it."""

import random
from collections import Counter
from itertools import pairwise

import msgspec
import pytest

from engine.core.review import Response, check_kinds, response_key, review_sample, task_of, validate
from engine.core.statistics import cohens_kappa
from engine.protocol.items import CheckSpec, HeldOutItem
from engine.protocol.review import Answered, Label, ReviewLog, Sampled, TakenBack, Validation

KINDS = {"fact": "contains", "format": "json", "safety": "refusal"}
SEED = 7


def responses(counts: dict[str, int]) -> list[Response]:
    """Both arms of `counts` items a type; the base arm succeeds on every fifth, the SFT arm on all but every fifth."""
    found = []
    for kind, count in counts.items():
        for number in range(count):
            checks = (CheckSpec(kind=KINDS.get(kind, "words")), CheckSpec(kind="no_runaway"))
            item = HeldOutItem(id=f"{kind}-{number:03}", types=(kind,), instruction=f"Do {kind} {number}.", checks=checks)
            for arm, success in (("base", number % 5 == 0), ("sft", number % 5 != 0)):
                found.append(Response(item=item, arm=arm, text=f"{arm} says {number}", success=success, reason="because"))
    return found


ALL = responses({"fact": 200, "format": 100, "safety": 60})


def answered(sample: tuple[Response, ...], label_of: dict[bool, Label] | None = None, wrong: int = 0) -> ReviewLog:
    """A log in which the reviewer agrees with the scorer, but for the first `wrong` responses."""
    agree: dict[bool, Label] = label_of or {True: "pass", False: "fail"}
    log = ReviewLog([Sampled(responses=len(sample), at="t", who="w")])
    for place, response in enumerate(sample):
        label = agree[response.success != (place < wrong)]
        log.take(Answered(key=response_key(response, SEED), label=label, saw_checks=place == 0, at="t", who="w"))
    return log


def judged(sample: tuple[Response, ...], log: ReviewLog, min_kappa: float = 0.0, min_responses: int = 50) -> Validation:
    return validate(sample, log, seed=SEED, min_kappa=min_kappa, min_responses=min_responses, confidence_level=0.95)


@pytest.mark.parametrize("size", [12, 36, 50, 180])
def test_the_sample_is_in_proportion_to_types_and_arms(size: int) -> None:
    sample = review_sample(ALL, size, SEED)
    strata = Counter((response.item.types, response.arm) for response in sample)
    assert len(sample) == size == len({response.item.id for response in sample})
    for (kind,), total in ((("fact",), 200), (("format",), 100), (("safety",), 60)):
        for arm in ("base", "sft"):
            assert abs(strata[(kind,), arm] - size * total / 720) <= 1.5


def test_the_sample_depends_on_the_seed_alone_and_grows_without_losing_any() -> None:
    shuffled = random.Random(1).sample(ALL, len(ALL))
    assert review_sample(ALL, 50, SEED) == review_sample(shuffled, 50, SEED)
    assert {one.item.id for one in review_sample(ALL, 50, SEED)} != {one.item.id for one in review_sample(ALL, 50, SEED + 1)}
    small, large = (set(map(id_of, review_sample(ALL, size, SEED))) for size in (50, 80))
    assert small < large


def id_of(response: Response) -> tuple[str, str]:
    return response.item.id, response.arm


def test_every_response_is_equally_likely_also_where_each_type_is_one_item() -> None:
    many = responses({"fact": 30, **{f"rare-{number}": 1 for number in range(30)}})
    drawn = Counter(id_of(one)[0].startswith("rare") for seed in range(300) for one in review_sample(many, 12, seed))
    assert abs(drawn[True] / (300 * 12) - 0.5) < 0.03


def test_both_arms_of_an_item_come_only_once_every_item_is_taken() -> None:
    few = responses({"fact": 10})
    assert len({one.item.id for one in review_sample(few, 10, SEED)}) == 10
    assert len(review_sample(few, 100, SEED)) == 20


def test_nothing_that_is_shown_tells_arm_score_or_item() -> None:
    for response in ALL:
        plain = msgspec.structs.replace(response, text="the same")
        shown = msgspec.json.encode(task_of(plain, SEED)).decode()
        for secret in (response.item.id, '"base"', '"sft"', "because", "success"):
            assert secret not in shown
    arms = [response.arm for response in review_sample(ALL, 100, SEED)]
    assert 20 < sum(one != other for one, other in pairwise(arms)) < 80


def test_agreement_is_cohens_kappa_of_the_table_overall_by_arm_and_by_kind() -> None:
    sample = review_sample(ALL, 60, SEED)
    found = judged(sample, answered(sample, wrong=4))
    table = found.overall
    cells = [[table.both_pass, table.only_scorer_passes], [table.only_reviewer_passes, table.both_fail]]
    expected = cohens_kappa(cells)
    assert (table.n, table.kappa, table.kappa_ci) == (60, expected.kappa, expected.interval)
    wrong = sample[:4]
    assert table.only_scorer_passes == sum(one.success for one in wrong)
    assert [one.item for one in found.disagreements] == sorted(one.item.id for one in wrong)
    assert sum(found.by_arm[arm].n for arm in ("base", "sft")) == 60
    assert found.by_kind["no_runaway"] == table
    assert set(found.by_kind) == {"contains", "json", "refusal", "no_runaway"}
    assert found.by_kind["json"].n == sum(one.item.types == ("format",) for one in sample)
    assert (found.status, found.after_seeing_checks) == ("reviewed", 1)


def test_ifeval_checks_are_told_apart_by_their_instruction() -> None:
    specs = [CheckSpec(kind="ifeval", arguments={"id": name}) for name in ("a:b", "c:d", "a:b")]
    assert check_kinds(HeldOutItem(id="i", types=("t",), instruction="x", checks=tuple(specs))) == ("ifeval a:b", "ifeval c:d")


def test_nothing_is_told_before_the_last_answer() -> None:
    sample = review_sample(ALL, 50, SEED)
    log = answered(sample, wrong=3)
    log.take(TakenBack(key=response_key(sample[-1], SEED), at="t", who="w"))
    found = judged(sample, log, min_kappa=0.7)
    assert (found.status, found.answered, found.complete) == ("not validated", 49, False)
    assert found.disagreements == () and found.by_kind == {} and found.overall.n == 0
    assert found.overall.kappa is None and "last answer" not in found.text and "not complete" in found.text


def test_without_any_review_it_is_not_validated() -> None:
    found = judged((), ReviewLog())
    assert (found.status, found.sampled, found.gate) == ("not validated", 0, None)
    assert "not validated" in found.text


@pytest.mark.parametrize(
    ("wrong", "min_kappa", "min_responses", "status", "words"),
    [
        (0, 0.7, 50, "validated", "kappa 1 ≥ 0.7 on 50 responses"),
        (4, 0.7, 50, "validated", "≥ 0.7"),
        (20, 0.7, 50, "not validated", "< 0.7 on 50 responses"),
        (0, 0.7, 51, "not validated", "only 50 responses judged, 51 needed"),
        (20, 0.0, 50, "reviewed", "no threshold set"),
    ],
)
def test_the_threshold(wrong: int, min_kappa: float, min_responses: int, status: str, words: str) -> None:
    sample = review_sample(ALL, 50, SEED)
    found = judged(sample, answered(sample, wrong=wrong), min_kappa, min_responses)
    assert found.status == status
    assert words in found.text
    assert (found.gate is None) == (min_kappa == 0)


def test_skipped_responses_are_counted_and_not_judged() -> None:
    sample = review_sample(ALL, 50, SEED)
    log = answered(sample)
    log.take(Answered(key=response_key(sample[0], SEED), label="skip", saw_checks=False, at="t", who="w"))
    found = judged(sample, log, 0.7)
    assert (found.answered, found.skipped, found.complete) == (49, 1, True)
    assert found.gate is not None and not found.gate.met


def test_labels_that_never_vary_leave_kappa_undecided_and_no_threshold_is_reached() -> None:
    sample = tuple(one for one in review_sample(ALL, 200, SEED) if one.success)[:50]
    found = judged(sample, answered(sample), 0.7)
    assert found.overall.kappa is None and found.overall.kappa_undecided
    assert found.gate is not None and not found.gate.met and "undecided" in found.gate.reason


def test_answers_about_a_text_that_is_no_longer_there_are_left_out() -> None:
    sample = review_sample(ALL, 50, SEED)
    now = (msgspec.structs.replace(sample[0], text="another"), *sample[1:])
    found = judged(now, answered(sample))
    assert (found.out_of_date, found.answered, found.complete) == (1, 49, False)
