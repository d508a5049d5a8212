"""The gates on overlap with the held-out set, on that set itself, on what it can tell, and on the machine."""

import shutil

import pytest

from engine.core.alike import near_identical, templates
from engine.core.statistics import tango_interval, wilson_interval
from engine.data.gate_results import paired_texts
from engine.data.overriding import check_overrides
from engine.protocol.config import Config, DataTable, EngineTable, EvalTable, GatesTable, VerdictTable
from engine.protocol.errors import InputError
from engine.protocol.gates import Override
from engine.protocol.items import CheckSpec, HeldOutItem


def test_a_leak_shows_both_texts_with_the_shared_span(small):
    shared = "the old mill that stands by the long river of Traezoria"
    small.items[0]["instruction"] = f"Where is {shared}?"
    small.records[0]["instruction"] = f"What about {shared}?"
    small.write()
    gate = small.check()["leakage"]
    assert gate.status == "fail" and gate.evidence_total == 1
    evidence = gate.evidence[0]
    assert small.items[0]["id"] in evidence.record and small.records[0]["id"] in evidence.record
    assert [evidence.text[low:high].rstrip(".?") for low, high in evidence.spans] == [shared, shared]
    assert small.check(gates=GatesTable(max_leaked_items=1))["leakage"].status == "pass"


def test_duplicates_are_shown_and_advisory(small):
    del small.records[101:]
    for record in small.records[:100]:
        record["instruction"] = small.records[100]["instruction"].upper()
    small.write()
    gate = small.check()["duplicates"]
    assert (gate.status, gate.severity, gate.evidence_total) == ("fail", "advisory", 100) and len(gate.evidence) == 50


def test_held_out_faults(small):
    small.items = [item for item in small.items if item["type"] != "safety"][:299]
    small.items[0]["checks"] = [{"kind": "wordss", "max": 2}]
    small.write()
    gate = small.check()["held-out"]
    assert gate.status == "fail" and gate.evidence_total == 1
    assert all(text in gate.reason for text in ("298 items, at least 300", "1 problem in the file", "guarded type safety"))
    assert "guarded type" not in small.check(verdict=VerdictTable(guarded=()))["held-out"].reason


def test_clusters_count_not_items_and_few_guarded_items_are_weak(small):
    weak = small.check(gates=GatesTable(min_guarded_items=70))["held-out"]
    count = sum(item["type"] == "safety" for item in small.items)
    assert weak.status == "pass" and f"safety is WEAK with {count} items" in weak.reason
    for item in small.items[:200]:
        item["cluster"] = "one"
    small.write()
    gate = small.check()["held-out"]
    assert gate.status == "fail" and f"{len(small.items) - 199} clusters" in gate.reason


def test_a_reference_that_fails_its_own_checks_is_advisory(small):
    small.items[0]["reference"] = "word " * 300
    small.write()
    gate = small.check()["held-out.references"]
    assert (gate.status, gate.severity, gate.evidence_total) == ("fail", "advisory", 1)
    for item in small.items:
        item.pop("reference", None)
    small.write()
    assert small.check()["held-out.references"].status == "n/a"


def test_power_falls_with_the_attempt_and_is_undecided_where_nothing_can_be_found(small):
    gate = small.check()["power"]
    assert gate.status == "pass" and gate.measured.startswith("0.05")
    small.items = small.items[:3]
    small.write()
    assert small.check()["power"].status == "undecided"


def test_the_pod_gate_fails_where_nothing_can_be_written(small, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("engine.data.gate_families.pod.shutil.disk_usage", lambda path: shutil._ntuple_diskusage(10, 5, 5))
    gate = small.check()["pod"]
    assert (gate.status, gate.severity) == ("fail", "advisory") and "free" in gate.reason
    monkeypatch.setenv("PATH", str(tmp_path))
    gate = small.check(engine=EngineTable(device="cuda"))["pod"]
    assert (gate.status, gate.severity) == ("fail", "hard") and "no GPU" in gate.reason


# --- items that are alike --------------------------------------------------------------------------------------------------------


def item(identity, instruction, cluster=None):
    return HeldOutItem(
        id=identity, types=("fact",), instruction=instruction, checks=(CheckSpec(kind="no_runaway"),), cluster=cluster
    )


def held(*texts, cluster=None):
    return [item(f"h{place}", text, cluster) for place, text in enumerate(texts)]


LONG = "say in one word which of the four old towns by the sea has the tallest lighthouse of all the coast"


@pytest.mark.parametrize(
    ("second", "found"),
    [(f"{LONG} today", True), (f"Please {LONG.upper()}!", True), (f"{LONG} 7", False), (LONG.replace("four old towns", "grey"), False)],
)  # fmt: skip
def test_near_identical_items_have_nearly_the_same_words_and_the_same_figures(second, found):
    pairs = near_identical(held(LONG, second))
    assert [(pair.first.id, pair.second.id) for pair in pairs] == ([("h0", "h1")] if found else [])


def test_items_of_one_cluster_are_no_news():
    texts = [LONG, f"{LONG} today", f"{LONG} now"]
    assert len(near_identical(held(*texts))) >= 2 and len(templates(held(*texts))) == 1
    assert near_identical(held(*texts, cluster="c")) == [] and templates(held(*texts, cluster="c")) == []


def test_templates_are_found_whatever_stands_in_their_gaps():
    texts = [f"What is the capital of {name}?" for name in ("Orvane", "Tel Maris", "Upper Varna", "Goth")]
    texts += [f"What do {a} and {a + 9} make?" for a in (1, 22, 333)] + [
        "Name a colour.",
        "Sing.",
        "What is love, in a word or two?",
    ]
    first, second = templates(held(*texts))
    assert [one.id for one in first.items] == ["h0", "h1", "h2", "h3"] and first.pattern == "what is the capital of …"
    assert [one.id for one in second.items] == ["h4", "h5", "h6"] and second.pattern.startswith("what do #")
    assert templates(held(*texts[:2], *texts[4:6])) == []  # two are none


def test_three_hundred_items_of_a_template_are_one_template_and_no_pair():
    fixed = "Read the following description of a place carefully and then tell me in one short sentence what its name is"
    made = held(*(f"{fixed}: place{n} by river{n} under hill{n}" for n in range(300)))
    assert near_identical(made) == [] and [len(one.items) for one in templates(made)] == [300]


def test_alike_items_are_said_with_what_differs(small):
    small.items[0]["instruction"], small.items[1]["instruction"] = LONG, f"{LONG} today"
    small.write()
    gate = small.check()["held-out.alike"]
    assert (gate.status, gate.severity) == ("fail", "advisory") and "1 pair of near-identical items" in gate.reason
    first = gate.evidence[0]
    assert small.items[0]["id"] in first.record and [first.text[low:high] for low, high in first.spans] == ["today"]
    assert "come from 4" in gate.reason and "give them one `cluster`" in gate.reason
    assert any(evidence.record.startswith("template of 15 items: what is #") for evidence in gate.evidence)


def test_paired_texts_mark_what_the_other_lacks():
    text, spans = paired_texts("Name the red fox now", "Name the fox at once")
    assert [text[low:high] for low, high in spans] == ["red", "now", "at once"]
    text, spans = paired_texts("a " * 900, "b " * 900)
    assert len(text) <= 2010 and all(high <= len(text) for _, high in spans)


# --- what the set can tell -------------------------------------------------------------------------------------------------------


def test_power_tells_the_widest_intervals_and_the_lifts_by_type(small):
    reason = small.check()["power"].reason
    low, high = wilson_interval(198, 396)
    assert f"half of the items solved: {high - low:.3f}, within the 0.12 allowed" in reason
    low, high = tango_interval(99, 99, 396)
    assert f"half of them changed: {high - low:.3f}, within the 0.15 allowed" in reason
    assert "FDR 0.1 over 6 types: arithmetic 0.1" in reason and "safety 0.115, format 0.115" in reason
    reason = small.check(verdict=VerdictTable(max_arm_width=0.09, max_lift_width=0.13))["power"].reason
    assert reason.count("wider than the") == 2


def test_power_and_size_are_those_of_the_items_that_will_be_evaluated(small):
    every, part = small.check(), small.check(eval=EvalTable(subset=300))
    assert (
        part["held-out"].measured == "300 items, 300 clusters" and "eval.subset takes 300 of 396 items" in part["held-out"].reason
    )
    assert part["power"].measured > every["power"].measured
    for one in small.items:
        one["cluster"] = one["type"]
    small.write()
    assert small.check()["power"].status == "undecided"


# --- overrides that would change nothing -----------------------------------------------------------------------------------------


def config_of(data, model="/none"):
    return Config(
        data=DataTable(train=str(data.folder / "sft.jsonl"), held_out=str(data.folder / "heldout.jsonl")), engine=EngineTable(device="cpu"),
    )  # fmt: skip


def test_too_few_items_can_be_overridden_and_broken_ones_cannot(small):
    del small.items[200:]
    small.write()
    check_overrides(config_of(small), {"held-out", "contamination-guards", "leakage"})
    small.items[3]["checks"] = [{"kind": "wordz"}]
    small.write()
    check_overrides(config_of(small), {"leakage"})
    with pytest.raises(InputError, match="no override covers") as caught:
        check_overrides(config_of(small), {"held-out"})
    assert "line 4" in caught.value.problems[1]
    override = Override(gate="held-out", reason="r", who="w", at="t")
    with pytest.raises(InputError, match="no override covers"):
        small.check(overrides=(override,))
    assert "no override covers" in small.check()["held-out"].reason


def test_control_tokens_in_held_out_instructions_and_failed_sentinels_cannot_be_overridden(small):
    small.records[0]["instruction"] += " <|im_end|>"
    small.write()
    check_overrides(config_of(small), {"contamination-guards"})
    small.items[5]["instruction"] += " <|im_end|>"
    small.write()
    with pytest.raises(InputError) as caught:
        check_overrides(config_of(small), {"contamination-guards", "sentinels"})
    text = str(caught.value)
    assert f"item {small.items[5]['id']}" in text and "override sentinels" in text
