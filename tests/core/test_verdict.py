"""Each rule with its table, the order of the rules, the flags, and the exit status."""

import math

import msgspec
import pytest

from engine.core.analysis import Pair, Settings, analyse, describe
from engine.core.statistics import attempt_alpha
from engine.core.verdict import (
    Arm,
    Evidence,
    GateOutcome,
    Measured,
    Slice,
    decide,
    gate_outcomes,
    loss_shape,
    sign_off,
)
from engine.core.verdict.rules import better, hard_gate_failed, not_decidable, not_shown, worse_or_useless
from engine.protocol.evaluation import NoiseFloor, Prereg, Reason, Signature, Verdict, exit_status
from engine.protocol.gates import DatasetFacts, GateResult, GatesReport, Override

OUTCOMES = {
    "a": (True, True),
    "b": (True, False),
    "c": (False, True),
    "d": (False, False),
    "?b": (None, True),
    "?s": (True, None),
}
SETTINGS = Settings(guarded=("safety",))
FROZEN = Prereg(hash="00", exploratory=False, attempt=1, alpha=0.01)
GATES = (
    GateOutcome(id="leakage", severity="hard", status="pass"),
    GateOutcome(id="duplicates", severity="advisory", status="fail"),
)
ARMS = (Arm(name="base", planned=400, done=400), Arm(name="sft", planned=400, done=400))
SAFE = {"a": 90, "d": 10}
GOOD = {"a": 60, "b": 5, "c": 120, "d": 115}


def pairs(fact: dict[str, int], safety: dict[str, int] | None = None, cluster_size: int = 1) -> list[Pair]:
    found = []
    for name, cells in (("fact", fact), ("safety", SAFE if safety is None else safety)):
        outcomes = [OUTCOMES[cell] for cell, count in cells.items() for _ in range(count)]
        found += [
            Pair(
                id=f"{name}{k}",
                types=(name,),
                base=base,
                sft=sft,
                cluster=f"{name}{k // cluster_size}" if cluster_size > 1 else None,
            )
            for k, (base, sft) in enumerate(outcomes)
        ]
    return found


def evidence(fact: dict[str, int] = GOOD, safety: dict[str, int] | None = None, cluster_size: int = 1, **changes) -> Evidence:
    settings = changes.pop("settings", SETTINGS)
    prereg = changes.pop("prereg", FROZEN)
    alpha = prereg.alpha if prereg else None
    analysis = analyse(pairs(fact, safety, cluster_size), settings, alpha=alpha)
    return Evidence(**{"analysis": analysis, "settings": settings, "gates": GATES, "arms": ARMS, "prereg": prereg, **changes})


def ids(reasons: tuple[Reason, ...], status: str) -> set[str]:
    return {reason.id for reason in reasons if reason.status == status}


def gate(status: str, severity: str = "hard", overridden: bool = False) -> tuple[GateOutcome, ...]:
    return (*GATES, GateOutcome(id="pod", severity=severity, status=status, overridden=overridden))


# Rule 1 --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gates", "applies"),
    [
        (gate("fail"), True),
        (gate("fail", overridden=True), False),
        (gate("fail", severity="advisory"), False),
        (gate("undecided"), False),
        (gate("pass"), False),
        (gate("n/a"), False),
        ((), False),
    ],
)
def test_rule_1_a_hard_gate_failed(gates: tuple[GateOutcome, ...], applies: bool):
    reading = hard_gate_failed(evidence(gates=gates))
    assert reading.applies is applies
    assert ids(reading.reasons, "fail") == ({"gate.pod"} if applies else set())


# Rule 2 --------------------------------------------------------------------------------------------------------------------------

WIDE_LIFT = {"a": 30, "b": 90, "c": 120, "d": 30}
RULE_2 = [
    ("all in order", {}, None),
    ("overridden", {"gates": gate("fail", overridden=True)}, "gate.pod"),
    ("override of an undecided gate", {"gates": gate("undecided", overridden=True)}, "gate.pod"),
    ("undecided", {"gates": gate("undecided")}, "gate.pod"),
    ("pending", {"gates": gate("pending")}, "gate.pod"),
    ("undecided, advisory", {"gates": gate("undecided", severity="advisory")}, None),
    ("not applicable", {"gates": gate("n/a")}, None),
    ("no gates", {"gates": ()}, "gates"),
    ("arms not known", {"arms": ()}, "arms"),
    ("an arm incomplete", {"arms": (ARMS[0], Arm(name="sft", planned=400, done=399))}, "arm.sft"),
    ("299 pairs", {"fact": {"c": 80, "d": 119}}, "items"),
    ("300 pairs", {"fact": {"c": 80, "d": 120}}, None),
    ("400 pairs in clusters of 2", {"cluster_size": 2}, "items"),
    ("4 of 400 unscored", {"fact": {"c": 156, "d": 140, "?b": 4}}, None),
    ("5 of 400 unscored in the base arm", {"fact": {"c": 156, "d": 139, "?b": 5}}, "unscored.base"),
    ("5 of 400 unscored in the SFT arm", {"fact": {"c": 156, "d": 139, "?s": 5}}, "unscored.sft"),
    ("1 of 100 guarded unscored", {"safety": {"a": 99, "?s": 1}}, None),
    ("2 of 100 guarded unscored", {"safety": {"a": 98, "?s": 2}}, "unscored.safety.sft"),
    ("no guarded item scored", {"fact": {"c": 200, "d": 200}, "safety": {}}, "items.safety"),
    ("wide lift", {"fact": WIDE_LIFT, "safety": {"a": 60}}, "width.lift"),
    ("wide arms", {"settings": Settings(guarded=("safety",), max_arm_width=0.05)}, "width.base"),
    ("exploratory", {"prereg": Prereg(hash="0", exploratory=True, attempt=1, alpha=0.01)}, "exploratory"),
    ("nothing frozen", {"prereg": None}, "exploratory"),
]


@pytest.mark.parametrize(("changes", "reason"), [row[1:] for row in RULE_2], ids=[row[0] for row in RULE_2])
def test_rule_2_not_decidable(changes: dict, reason: str | None):
    reading = not_decidable(evidence(**changes))
    assert reading.applies is (reason is not None)
    assert reason is None or reason in ids(reading.reasons, "undecided")


def test_rule_2_of_bare_pairs_asks_only_what_pairs_can_tell():
    bare = not_decidable(evidence(gates=(), arms=(), prereg=None, pairs_only=True))
    assert not bare.applies
    assert not {r.id for r in bare.reasons} & {"gates", "exploratory"}


def test_a_report_under_other_settings_names_them():
    changed = Prereg(hash="0", exploratory=True, attempt=1, alpha=0.01, differences=("verdict.alpha 0.05, frozen 0.01",))
    found = {reason.id: reason.text for reason in not_decidable(evidence(prereg=changed)).reasons}
    assert found["exploratory"] == "exploratory: verdict.alpha 0.05, frozen 0.01"


# Rule 3 --------------------------------------------------------------------------------------------------------------------------

STRICT = Settings(guarded=("safety",), guard="strict")
UNTESTED = Settings(guarded=("safety",), guard_alpha=1e-30)
INFERIOR = {"a": 77, "b": 13, "d": 10}
RULE_3 = [
    ("better", {}, None),
    ("worse", {"fact": {"a": 100, "b": 60, "c": 5, "d": 135}}, "worse"),
    ("worse, not significantly", {"fact": {"a": 20, "b": 62, "c": 58, "d": 60}}, None),
    ("guarded type regressed", {"safety": {"a": 80, "b": 10, "c": 1, "d": 9}}, "guard.safety"),
    ("guarded type fell a little", {"safety": {"a": 85, "b": 5, "c": 3, "d": 7}}, None),
    ("too small to matter", {"fact": {"a": 150, "b": 2, "c": 6, "d": 142}}, "min_lift"),
    ("no pair differs", {"fact": {"a": 150, "d": 150}}, "min_lift"),
    ("may be large enough", {"fact": {"a": 150, "b": 4, "c": 20, "d": 126}}, None),
    ("inferior, but neither tested nor disjoint", {"safety": INFERIOR, "settings": UNTESTED}, None),
    ("strict, inferior", {"safety": INFERIOR, "settings": msgspec.structs.replace(UNTESTED, guard="strict")}, "guard.safety"),
    ("strict, inconclusive", {"safety": {"a": 85, "b": 4, "c": 3, "d": 8}, "settings": STRICT}, None),
]


@pytest.mark.parametrize(("changes", "reason"), [row[1:] for row in RULE_3], ids=[row[0] for row in RULE_3])
def test_rule_3_worse_or_useless(changes: dict, reason: str | None):
    reading = worse_or_useless(evidence(**changes))
    assert reading.applies is (reason is not None)
    assert ids(reading.reasons, "fail") >= ({reason} if reason else set())


def test_rule_3_holm_spares_one_suspect_among_several_guards():
    """One-sided p of 8 lost, 2 won is 0.033: below 0.05 alone, not after Holm over two."""
    fell = {"a": 80, "b": 8, "c": 2, "d": 10}
    both = Settings(guarded=("fact", "safety"))
    assert worse_or_useless(evidence(safety=fell)).applies
    assert not worse_or_useless(evidence(safety=fell, settings=both)).applies


def test_rule_3_disjoint_intervals_are_a_regression_by_themselves():
    settings = Settings(guarded=("safety",), guard_alpha=1e-30)
    reading = worse_or_useless(evidence(safety={"a": 5, "b": 80, "d": 15}, settings=settings))
    assert any("do not overlap" in reason.text for reason in reading.reasons)
    assert reading.applies


# Rule 4 --------------------------------------------------------------------------------------------------------------------------

SAME_AFTER = describe(pairs(GOOD), SETTINGS)
GONE_AFTER = describe(pairs({"a": 60, "b": 20, "c": 25, "d": 195}), SETTINGS)
BEYOND = Settings(guarded=("safety",), require_beyond_stopping=True)
RULE_4 = [
    ("better", {}, True),
    ("not significant", {"fact": {"a": 60, "b": 10, "c": 20, "d": 210}}, False),
    (
        "significant at α, not at the attempt's level",
        {"fact": {"a": 60, "b": 10, "c": 29, "d": 201}, "prereg": "attempt 3"},
        False,
    ),
    ("significant the other way", {"fact": {"a": 60, "b": 90, "c": 5, "d": 145}}, False),
    ("a guarded type suspect", {"safety": {"a": 80, "b": 8, "c": 2, "d": 10}}, False),
    ("holds with unscored items", {"fact": {**GOOD, "?b": 2, "?s": 2}}, True),
    ("fails with unscored items", {"fact": {"a": 60, "b": 10, "c": 27, "d": 203, "?b": 2, "?s": 2}}, False),
    ("guard fails with unscored items", {"safety": {"a": 90, "b": 4, "c": 1, "d": 5, "?s": 2}}, False),
    ("strict, shown", {"safety": {"a": 100}, "settings": STRICT}, True),
    ("strict, inconclusive", {"safety": {"a": 85, "b": 4, "c": 3, "d": 8}, "settings": STRICT}, False),
    ("beyond stopping", {"settings": BEYOND, "after_stop_rules": SAME_AFTER}, True),
    ("not beyond stopping", {"settings": BEYOND, "after_stop_rules": GONE_AFTER}, False),
    ("stopping not read", {"settings": BEYOND}, False),
]


@pytest.mark.parametrize(("changes", "applies"), [row[1:] for row in RULE_4], ids=[row[0] for row in RULE_4])
def test_rule_4_better(changes: dict, applies: bool):
    if changes.get("prereg") == "attempt 3":
        changes = {**changes, "prereg": Prereg(hash="0", exploratory=False, attempt=3, alpha=attempt_alpha(0.01, 3))}
    assert better(evidence(**changes)).applies is applies


def test_rule_4_boundary_cases_of_the_table_are_significant_at_first_sight():
    """What fails above fails for the reason named, not for want of a lift."""
    for fact in ({"a": 60, "b": 10, "c": 29, "d": 201}, {"a": 60, "b": 10, "c": 27, "d": 203}):
        assert better(evidence(fact=fact)).applies
    assert better(evidence(safety={"a": 90, "b": 4, "c": 1, "d": 5})).applies


# Rule 5 and the order ------------------------------------------------------------------------------------------------------------


def test_rule_5_is_what_remains():
    assert not_shown(evidence()).applies
    verdict = decide(evidence(fact={"a": 60, "b": 10, "c": 22, "d": 208}))
    assert (verdict.decision, verdict.rule) == ("INCONCLUSIVE", 5)
    assert "not shown to be better, not shown to be useless" in verdict.reasons[0].text
    assert verdict.reasons[1].id == "lift"


def test_rule_5_tells_a_lift_that_is_held_back_from_none():
    verdict = decide(evidence(safety={"a": 85, "b": 4, "c": 3, "d": 8}, settings=STRICT))
    assert verdict.reasons[0].text.startswith("a lift is shown, but not all that GO asks for: lift +28.5 pp [+23.7, +33.5]")
    assert verdict.reasons[1].id == "noninferiority.safety"


ORDER = [
    ("GO", 4, {}),
    ("NO-GO", 1, {"gates": gate("fail"), "prereg": None}),
    ("INCONCLUSIVE", 2, {"gates": gate("fail", overridden=True)}),
    ("INCONCLUSIVE", 2, {"prereg": None, "safety": {"a": 50, "b": 40, "d": 10}}),
    ("NO-GO", 3, {"safety": {"a": 50, "b": 40, "d": 10}}),
    ("INCONCLUSIVE", 5, {"safety": {"a": 85, "b": 4, "c": 3, "d": 8}, "settings": STRICT}),
]


@pytest.mark.parametrize(("decision", "rule", "changes"), ORDER)
def test_the_first_rule_that_applies_decides(decision: str, rule: int, changes: dict):
    verdict = decide(evidence(**changes))
    assert (verdict.decision, verdict.rule) == (decision, rule)


def test_every_finding_of_every_rule_is_kept_once_worst_of_the_deciding_rule_first():
    verdict = decide(evidence(safety={"a": 50, "b": 40, "d": 10}))
    names = [reason.id for reason in verdict.reasons]
    assert names[0] == "guard.safety"
    assert len(names) == len(set(names))
    assert {"min_lift", "gates", "arm.base", "items", "unscored.base", "width.lift", "exploratory", "lift"} <= set(names)
    assert "suspect.safety" not in names, "what regressed is not called suspect besides"
    assert all(reason.text and "None" not in reason.text and "nan" not in reason.text for reason in verdict.reasons)


def test_a_go_speaks_no_word_against_itself():
    verdict = decide(evidence(after_stop_rules=SAME_AFTER))
    assert {reason.status for reason in verdict.reasons} == {"pass"}
    assert verdict.flags == verdict.relaxed == verdict.overrides == verdict.try_next == ()


def test_overrides_are_shown_for_ever():
    assert decide(evidence(gates=gate("pass", overridden=True))).overrides == ("pod",)


def test_nothing_scored_is_inconclusive_and_says_so():
    verdict = decide(evidence(fact={}, safety={}))
    assert (verdict.decision, verdict.rule) == ("INCONCLUSIVE", 2)
    assert not any("None" in reason.text for reason in verdict.reasons)


def test_the_chance_of_go_without_any_lift_is_below_half_alpha():
    """Exactly, over 40 discordant pairs that fall either way with probability ½."""
    chance = 0.0
    for lost in range(16):
        fact = {"a": 60, "b": lost, "c": 40 - lost, "d": 200}
        if decide(evidence(fact=fact)).decision == "GO":
            chance += math.comb(40, lost) / 2**40
    assert 0.001 < chance <= 0.005


# Flags and notes -----------------------------------------------------------------------------------------------------------------


def test_borderline_when_exact_and_midp_disagree():
    """b = 10, c = 26: exact p 0.0113, mid-p 0.0076."""
    verdict = decide(evidence(fact={"a": 60, "b": 10, "c": 26, "d": 204}))
    assert (verdict.decision, verdict.flags) == ("GO", ("BORDERLINE",))
    text = next(reason.text for reason in verdict.reasons if reason.id == "flag.borderline")
    assert "0.0076" in text and "0.011" in text


def test_stopping_only():
    verdict = decide(evidence(after_stop_rules=GONE_AFTER))
    assert (verdict.decision, verdict.flags, exit_status(verdict)) == ("GO", ("STOPPING ONLY",), 3)
    assert decide(evidence(after_stop_rules=SAME_AFTER)).flags == ()


def test_stopping_is_no_matter_where_there_is_no_lift():
    verdict = decide(evidence(fact={"a": 60, "b": 10, "c": 20, "d": 210}, after_stop_rules=GONE_AFTER))
    assert "STOPPING ONLY" not in verdict.flags


def test_a_small_guarded_type_is_weak_and_says_what_it_could_find():
    verdict = decide(evidence(fact={**GOOD, "d": 160}, safety={"a": 49}))
    assert (verdict.decision, verdict.flags) == ("GO", ("WEAK",))
    reason = next(reason for reason in verdict.reasons if reason.id == "flag.weak.safety")
    fall = reason.numbers["smallest_detectable_fall"]
    assert f"fall of {100 * fall:.0f} points" in reason.text and "100 to 150" in reason.text
    assert decide(evidence(safety={"a": 50})).flags == ()


def test_relaxed_names_every_loosened_default():
    verdict = decide(evidence(relaxed=("run.profile", "gates.max_runaway")))
    assert (verdict.flags, verdict.relaxed) == (("RELAXED",), ("gates.max_runaway", "run.profile"))
    unguarded = decide(evidence(settings=Settings(guarded=())))
    assert (unguarded.flags, unguarded.relaxed) == (("RELAXED",), ("verdict.guarded",))


def test_a_later_attempt_is_tested_at_its_level_and_says_so():
    third = Prereg(hash="0", exploratory=False, attempt=3, alpha=attempt_alpha(0.01, 3))
    note = next(reason for reason in decide(evidence(prereg=third)).reasons if reason.id == "attempt")
    assert note.text == "attempt 3 on this held-out set: tested at α/6 = 0.0017"


def test_clusters_that_matter_are_pointed_out():
    clustered = decide(evidence(fact={"a": 300, "b": 40, "c": 500, "d": 400}, safety={"a": 200, "d": 40}, cluster_size=4))
    assert next(reason for reason in clustered.reasons if reason.id == "clusters").numbers["se_ratio"] > 1.2
    assert "clusters" not in {reason.id for reason in decide(evidence()).reasons}


def test_a_base_model_at_the_ceiling_is_said_plainly():
    verdict = decide(evidence(fact={"a": 295, "c": 3, "d": 2}, safety={"a": 100}))
    assert "near the ceiling, 98.8%" in next(reason.text for reason in verdict.reasons if reason.id == "headroom")


def test_an_unguarded_type_that_fell_is_pointed_out():
    analysis = pairs({"a": 20, "b": 30, "d": 50}, {"c": 200, "d": 60})
    found = decide(Evidence(analysis=analyse(analysis, Settings(guarded=())), settings=Settings(guarded=()), pairs_only=True))
    assert "fell.fact" in {reason.id for reason in found.reasons}


def noise(repeat: int, drift: int) -> NoiseFloor:
    return NoiseFloor(
        repeat_flips=repeat,
        repeat_items=64,
        rebatch_flips=3,
        rebatch_items=32,
        base_drift_flips=drift,
        base_drift_items=64,
    )


@pytest.mark.parametrize(("repeat", "drift", "noted"), [(0, 0, set()), (1, 0, {"noise.repeat"}), (0, 2, {"noise.base_drift"})])
def test_decoding_that_does_not_repeat_is_pointed_out(repeat: int, drift: int, noted: set[str]):
    verdict = decide(evidence(noise_floor=noise(repeat, drift), after_stop_rules=SAME_AFTER))
    assert ids(verdict.reasons, "warn") == noted


def test_a_missing_stop_rule_reading_is_pointed_out_in_a_run():
    assert ids(decide(evidence()).reasons, "warn") == {"after_stop_rules"}
    assert not ids(decide(evidence(gates=(), arms=(), prereg=None, pairs_only=True)).reasons, "warn")


# What to try next ----------------------------------------------------------------------------------------------------------------

FELL = {"a": 50, "b": 40, "d": 10}
TRY = [
    ("gates", {"gates": gate("fail")}),
    ("gates.advisory", {"gates": GATES, "safety": FELL}),
    ("ceiling", {"fact": {"a": 295, "c": 3, "d": 2}, "safety": {"a": 100}}),
    ("loss.diverged", {"measured": Measured(loss_shape="diverged"), "safety": FELL}),
    ("loss.plateaued", {"measured": Measured(loss_shape="plateaued"), "safety": FELL}),
    ("loss.overfitted", {"measured": Measured(loss_shape="overfitted"), "safety": FELL}),
    ("fell.safety", {"safety": FELL}),
    ("stopping", {"after_stop_rules": GONE_AFTER, "safety": FELL}),
    ("truncated", {"measured": Measured(truncated_share=0.021), "safety": FELL}),
    ("token_limit", {"measured": Measured(token_limit_share=0.2), "safety": FELL}),
    ("runaway", {"measured": Measured(runaway_share=0.03), "safety": FELL}),
    ("low_confidence", {"measured": Measured(low_confidence_share=0.3), "safety": FELL}),
    ("slice.wiki", {"measured": Measured(weakest_slices=(Slice(name="wiki", records=310, share=0.04),)), "safety": FELL}),
]


@pytest.mark.parametrize(("name", "changes"), TRY, ids=[row[0] for row in TRY])
def test_suggestions_come_from_measurements(name: str, changes: dict):
    verdict = decide(evidence(**changes))
    assert verdict.decision == "NO-GO"
    assert name in {suggestion.id for suggestion in verdict.try_next}
    if changes != {"safety": FELL}:
        without = {key: value for key, value in changes.items() if key == "safety" and value is FELL} | {"gates": GATES[:1]}
        assert name not in {suggestion.id for suggestion in decide(evidence(**without)).try_next}


def test_suggestions_carry_their_numbers():
    measured = Measured(
        loss_shape="overfitted",
        best_dev_loss=1.109,
        best_dev_step=1100,
        last_dev_loss=1.31,
        train_share_by_type={"safety": 0.004},
    )
    texts = {s.id: s.text for s in decide(evidence(safety=FELL, measured=measured)).try_next}
    assert (
        texts["loss.overfitted"] == "the dev loss rose from 1.109 at step 1,100 to 1.31: train fewer epochs, or on more records"
    )
    assert texts["fell.safety"].startswith(
        "safety fell 90.0% → 50.0%: read its 40 lost items; it is 0.4% of the training records"
    )


def test_no_suggestions_without_no_go():
    assert decide(evidence(measured=Measured(truncated_share=0.5, loss_shape="diverged"))).try_next == ()


@pytest.mark.parametrize(
    ("train", "dev", "shape"),
    [
        ([3 - k / 20 for k in range(40)], [], "improving"),
        ([3 - k / 20 for k in range(40)], [2.0, 1.5, 1.2, 1.25], "overfitted"),
        ([3 - k / 20 for k in range(40)], [2.0, 1.5, 1.2, 1.21], "improving"),
        ([2.0 - k / 2000 for k in range(40)], [], "plateaued"),
        ([2.0 + k / 20 for k in range(40)], [], "diverged"),
        ([2.0] * 20 + [float("nan")] + [1.0] * 20, [], "diverged"),
        ([2.0] * 9, [], None),
    ],
)
def test_loss_shape(train: list[float], dev: list[float], shape: str | None):
    assert loss_shape(train, dev) == shape


# Signature and exit status -------------------------------------------------------------------------------------------------------


def verdict_with(decision: str, flags: tuple[str, ...]) -> Verdict:
    return msgspec.structs.replace(decide(evidence()), decision=decision, flags=flags)


@pytest.mark.parametrize(
    ("decision", "flags", "signed", "status"),
    [
        ("GO", (), False, 0),
        ("GO", ("WEAK",), False, 3),
        ("GO", ("WEAK",), True, 0),
        ("NO-GO", (), False, 1),
        ("NO-GO", ("WEAK",), True, 1),
        ("INCONCLUSIVE", (), False, 3),
        ("INCONCLUSIVE", (), True, 3),
    ],
)
def test_exit_status(decision: str, flags: tuple[str, ...], signed: bool, status: int):
    verdict = verdict_with(decision, flags)
    if signed:
        verdict = sign_off(verdict, Signature(name="A. Person", note="read", time="2026-01-01T00:00:00Z"))
    assert exit_status(verdict) == status


def test_no_verdict_is_no_failure():
    assert exit_status(None) == 0


def test_gate_outcomes_are_taken_from_the_gates_report():
    result = GateResult(
        id="leakage", severity="hard", status="fail", declared="", measured="3 items", threshold="0", reason="three leaked"
    )
    facts = DatasetFacts(path="x", sha256="0", records=1, dropped={})
    override = Override(gate="leakage", reason="known", who="A. Person", at="2026-01-01T00:00:00Z")
    report = GatesReport(passed=False, gates=(result,), dataset=facts, held_out=facts, overrides=(override,))
    assert gate_outcomes(report) == (GateOutcome(id="leakage", severity="hard", status="fail", overridden=True),)
