"""summary.txt: 80 columns, the verdict first, the numbers of the evaluation, and no text that drives a terminal."""

import re

import msgspec
import pytest

from engine.core.analysis import Pair, Settings, analyse
from engine.core.summary import WIDTH, summary_text
from engine.core.verdict import Evidence, decide, sign_off
from engine.core.wording import counted, number, p_value, percent, points, points_interval
from engine.protocol import evaluation as ev

CELLS = {"a": (True, True), "b": (True, False), "c": (False, True), "d": (False, False)}
HOSTILE = "\x1b[31mred\x07\u202e[/INST]"


def pairs_of(cells: dict[str, int], name: str) -> list[Pair]:
    outcomes = [CELLS[cell] for cell, count in cells.items() for _ in range(count)]
    return [Pair(id=f"{name}{k}", types=(name,), base=base, sft=sft) for k, (base, sft) in enumerate(outcomes)]


def evaluation(pairs: list[Pair], guarded: tuple[str, ...] = ("safety",), judged: bool = True) -> ev.Evaluation:
    settings = Settings(guarded=guarded)
    analysis = analyse(pairs, settings)
    return ev.Evaluation(
        schema_version=1,
        overall=analysis.overall,
        by_type=analysis.by_type,
        bh=analysis.bh,
        power=analysis.power,
        prereg=ev.Prereg(hash="ab" * 32, exploratory=False, attempt=1, alpha=0.01) if judged else None,
        verdict=decide(Evidence(analysis=analysis, settings=settings, pairs_only=True)) if judged else None,
        secondary=ev.Secondary(
            after_stop_rules=analysis.overall,
            after_blank_line=None,
            after_blank_line_undecided="switched off",
            noise_floor=ev.NoiseFloor(
                repeat_flips=0,
                repeat_items=64,
                rebatch_flips=1,
                rebatch_items=32,
                unpadded_flips=0,
                unpadded_items=16,
                unpadded_texts=3,
                base_drift_flips=None,
                base_drift_items=None,
                base_drift_undecided="one process",
            ),
            unscored_worst_case=analysis.worst_case,
        ),
        metadata=ev.Metadata(
            labels={"base": "Qwen2.5-32B", "sft": "adapter"},
            confidence_level=0.95,
            seeds={"train": 17},
            git_sha={"sluice": "cafe"},
            loader_version="0.1.0",
            environment={"torch": "2.13.0"},
            decoding={"do_sample": False, "max_new_tokens": 256},
            data_sha256={"held_out": "cd" * 32},
            prereg_hash="ab" * 32,
            created_at="2026-01-01T00:00:00Z",
            notes=("a subset of 300 of 1,200 items, seed 7",),
        ),
    )


WITHDRAWN = pairs_of({"a": 151, "b": 2, "c": 57}, "fact") + pairs_of({"a": 90}, "safety")
FALLEN = pairs_of({"a": 100, "b": 2, "c": 57, "d": 60}, "fact") + pairs_of({"a": 90, "b": 23, "c": 5, "d": 10}, "safety")
LONG = pairs_of({"c": 150, "d": 150}, "a_type_with_a_name_far_too_long_for_any_column_of_a_table_in_eighty_columns_or_so")


ALL_LOST = pairs_of({"b": 2}, "fact")


@pytest.mark.parametrize(
    "pairs", [WITHDRAWN, FALLEN, LONG, ALL_LOST, []], ids=["withdrawn", "fallen", "long name", "all lost", "nothing"]
)
@pytest.mark.parametrize("judged", [True, False])
def test_no_line_is_wider_than_80_columns(pairs: list[Pair], judged: bool):
    text = summary_text(evaluation(pairs, judged=judged))
    assert WIDTH == 80
    assert max(map(len, text.splitlines())) <= WIDTH
    assert text.endswith("\n") and not text.endswith("\n\n")
    assert not re.search(r"\b(None|nan|inf)\b", text)


def test_the_verdict_comes_first_with_its_deciding_reason():
    lines = summary_text(evaluation(FALLEN)).splitlines()
    assert lines[0].startswith("NO-GO")
    assert lines[2].startswith("  FAIL  guarded type safety regressed, 88.3% → 74.2% (23 lost, 5 won)")
    assert lines.index("Try next") < lines.index("Guarded types")


def test_the_withdrawn_result_in_figures():
    text = summary_text(evaluation(WITHDRAWN))
    assert "81.0 [76.2, 85.0]   99.3 [97.6, 99.8]   +18.3 [14.1, 23.2]" in text
    assert "lost 2  won 57  p 3.2e-15" in text


def test_every_type_and_reading_and_the_provenance_are_there():
    text = " ".join(summary_text(evaluation(FALLEN)).split())
    for expected in (
        "safety †",
        "adj. p",
        "safety: REGRESSED, one-sided p 0.00027",
        "both arms cut at new-prompt markers: base",
        "first blank line: not taken (switched off)",
        "decoded again 0 flips of 64; in other batches 1 flip of 32; without padding 0 flips of 16 (3 texts differ); "
        "base arm, second process not taken (one process)",
        "smallest lift that 347 pairs find with power 0.8 at α 0.01",
        "attempt 1 on this held-out set, α 0.01",
        "do_sample False, max_new_tokens 256",
        "a subset of 300 of 1,200 items, seed 7",
    ):
        assert expected in text, expected


def test_without_a_verdict_it_says_so():
    assert summary_text(evaluation(WITHDRAWN, judged=False)).startswith("NO VERDICT")


def test_no_guarded_type_is_said_plainly():
    assert "none: a fall of any type would not stop a GO" in summary_text(evaluation(WITHDRAWN, guarded=()))


def test_flags_and_signature():
    flagged = evaluation(WITHDRAWN, guarded=())
    assert "flags: RELAXED; not signed: counts only once it is" in summary_text(flagged)
    signature = ev.Signature(name="A. Person", note=f"seen {HOSTILE}", time="2026-01-02T00:00:00Z")
    signed = summary_text(msgspec.structs.replace(flagged, verdict=sign_off(flagged.verdict, signature)))
    assert "signed off by A. Person, 2026-01-02T00:00:00Z: seen" in signed
    assert "\x1b" not in signed


def test_text_from_data_is_inert():
    text = summary_text(evaluation(pairs_of({"a": 20, "b": 30, "d": 50}, HOSTILE) + WITHDRAWN, guarded=(HOSTILE,)))
    assert "\N{REPLACEMENT CHARACTER}[31mred" in text
    assert all(char.isprintable() for line in text.split("\n") for char in line)


# Wording -------------------------------------------------------------------------------------------------------------------------


def test_a_number_stands_on_the_right_side_of_its_threshold():
    assert number(0.01003, 0.01) == "0.01003"
    assert number(0.0099996, 0.01) == "0.0099996"
    assert number(0.01, 0.01) == "0.01"
    assert percent(0.010004, 0.01) == "1.0004%"
    assert points(0.04996, 0.05) == "+4.996 pp"


def test_plain_numbers():
    assert (percent(0.81), points(-0.12), points_interval((-0.197, 0.05))) == ("81.0%", "-12.0 pp", "[-19.7, +5.0]")
    assert (p_value(3.17e-15), p_value(0.034), p_value(1.0), p_value(2e-308)) == ("3.2e-15", "0.034", "1", "< 1e-300")
    assert (p_value(None), percent(None), points(None), points_interval(None)) == (
        "undecided", "undecided", "undecided", "[undecided]",
    )  # fmt: skip
    assert (counted(1, "pair"), counted(1200, "pair")) == ("1 pair", "1,200 pairs")
