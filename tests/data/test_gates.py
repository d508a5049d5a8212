import json
import random

import msgspec
import pytest

from engine.protocol.config import EvalTable, GatesTable, TrainTable
from engine.protocol.errors import InputError
from engine.protocol.events import GateChecked, GateProgressed, GatesFinished
from engine.protocol.gates import GatesReport, Override
from tests.data.dataset import ASSETS, EXTERNAL, GOOD, MANIFESTS, Dataset


def test_the_demo_passes_every_gate_that_files_can_decide(demo):
    gates = demo.check()
    statuses = {name: gate.status for name, gate in gates.items() if gate.status != "pass"}
    assert statuses == {"headroom": "pending", "sentinels": "pending"}
    assert demo.report.passed and demo.report.relaxed == () and demo.report.dataset.records == len(demo.records)
    assert not any("≠" in gate.measured for gate in gates.values())


def test_the_faulty_demo_fails_for_what_was_planted_and_counts_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SLUICE_WORKSPACE", str(tmp_path))
    faulty = Dataset(tmp_path, ASSETS / "faulty")
    gates = faulty.check()
    planted = json.loads((ASSETS / "faulty" / "PLANTED.json").read_text())
    expected = {}
    for fault in planted.values():
        expected[fault["gate"]] = expected.get(fault["gate"], 0) + fault["count"]
        assert gates[fault["gate"]].status == "fail"
        for record in fault.get("records", ()):
            assert any(record in evidence.record for evidence in gates[fault["gate"]].evidence)
    counted = {name: gates[name].evidence_total for name in expected if name not in ("qc-pilot",)}
    assert counted == {name: count for name, count in expected.items() if name != "qc-pilot"}
    assert set(faulty.report.blocking) == set(expected) and not faulty.report.passed


def test_events_tell_the_same_as_the_report(demo):
    demo.records[3]["response"] = "Blue.\nQuestion: and now?"
    demo.write()
    demo.check(overrides=(Override(gate="integrity", reason="edited", who="me", at="2025-01-01T00:00:00Z"),))
    checked = [event for event in demo.events if isinstance(event, GateChecked)]
    assert [event.id for event in checked] == [gate.id for gate in demo.report.gates]
    assert [event.overridden for event in checked].count(True) == 1
    finished = demo.events[-1]
    assert (
        isinstance(finished, GatesFinished)
        and finished.blocking == demo.report.blocking
        and finished.records == len(demo.records)
    )
    sizes = [event for event in demo.events if isinstance(event, GateProgressed) and event.unit == "bytes"]
    assert sizes[-1].done == sizes[-1].total == (demo.folder / "sft.jsonl").stat().st_size
    assert msgspec.json.decode(msgspec.json.encode(demo.report), type=GatesReport) == demo.report


def test_an_override_unblocks_its_gate_only(demo):
    demo.edit("session_manifest", lambda content: content.update(git_commit=""))
    demo.check()
    assert demo.report.blocking == ("manifest",) and not demo.report.passed
    override = Override(gate="manifest", reason="known", who="me", at="2025-01-01T00:00:00Z")
    gates = demo.check(overrides=(override,))
    assert demo.report.passed and gates["manifest"].status == "fail" and demo.report.overrides == (override,)


def test_unknown_gate_names_are_refused_with_the_nearest(demo):
    with pytest.raises(InputError, match="did you mean leakage"):
        demo.check(gates=GatesTable(severity={"leekage": "advisory"}))
    with pytest.raises(InputError, match="override: there is no gate 'x'"):
        demo.check(overrides=(Override(gate="x", reason="r", who="w", at="t"),))


def test_severities_can_be_set_and_a_set_for_qc_scale_holds_for_its_rows(demo):
    gates = demo.check(gates=GatesTable(severity={"qc-scale": "advisory", "duplicates": "hard", "leakage": "hard"}))
    assert gates["qc-scale.runaway"].severity == "advisory" and gates["duplicates"].severity == "hard"
    assert gates["leakage.near"].severity == "advisory"
    assert "gates.severity.qc-scale" in demo.report.relaxed


# --- manifest, integrity, provenance, QC summaries -------------------------------------------------------------------------------


def test_missing_manifests_fail_in_stage1_and_do_not_matter_in_external(demo):
    gates = demo.check(without=MANIFESTS)
    assert (gates["manifest"].status, gates["manifest"].severity) == ("fail", "hard")
    assert gates["manifest"].measured == "3 problems" and 'run.profile = "external"' in gates["manifest"].reason
    assert gates["qc-pilot"].status == gates["qc-scale"].status == "undecided"
    gates = demo.check(without=MANIFESTS, **EXTERNAL)
    for name in ("manifest", "integrity", "qc-pilot", "qc-scale"):
        assert (gates[name].status, gates[name].severity) == ("n/a", "advisory"), name
    assert demo.report.passed and demo.report.relaxed == ("run.profile",)


@pytest.mark.parametrize("content", ["{broken", "[]", '{"artifacts_generated": 5}', "\udcff", "", '{"git_commit": {"a": 1}}'])
def test_a_manifest_that_does_not_parse_fails_with_its_name(demo, content):
    (demo.folder / "session_manifest.json").write_bytes(content.encode(errors="surrogateescape"))
    gate = demo.check(**EXTERNAL)["manifest"]
    assert (gate.status, gate.severity) == ("fail", "advisory") and "session_manifest.json" in gate.reason


@pytest.mark.parametrize(
    ("key", "value"), [("git_commit", None), ("loader_version", ""), ("artifacts_generated", ["other.jsonl"])]
)
def test_a_manifest_that_does_not_name_what_it_must_fails(demo, key, value):
    demo.edit("session_manifest", lambda content: content.update({key: value}))
    gate = demo.check()["manifest"]
    assert gate.status == "fail" and ("sft.jsonl" if key.startswith("art") else key) in gate.reason


def test_one_changed_byte_is_found_by_the_hash_alone(demo):
    path = demo.folder / "sft.jsonl"
    path.write_text(path.read_text().replace("harp", "Harp", 1))
    gate = demo.check()["integrity"]
    assert gate.status == "fail" and "sha256" in gate.reason and "≠" in gate.measured and gate.evidence_total == 1


@pytest.mark.parametrize(
    ("name", "factor", "status"), [("mean", 1.009, "pass"), ("mean", 1.02, "fail"), ("median", 1.2, "fail"), ("p95", 0.8, "fail")]
)
def test_token_statistics_are_compared_within_one_percent(demo, name, factor, status):
    demo.edit("qc_scale", lambda content: content["token_stats"].update({name: content["token_stats"][name] * factor}))
    gate = demo.check()["integrity"]
    assert gate.status == status and (status == "pass" or name in gate.reason)


def test_dropped_records_and_repeated_ids_are_said(demo):
    demo.records[7]["response"] = ""
    demo.records[9]["id"] = demo.records[8]["id"]
    demo.write()
    with (demo.folder / "sft.jsonl").open("a") as file:
        file.write("{broken\n")
    gate = demo.check(without=MANIFESTS, **EXTERNAL)["integrity"]
    assert (gate.status, gate.severity) == ("fail", "advisory")
    assert "1 duplicate id" in gate.reason and "1 empty field" in gate.reason and "1 invalid JSON" in gate.reason
    assert demo.report.dataset.dropped == {"empty field": 1, "invalid JSON": 1} and gate.evidence_total == 3


@pytest.mark.parametrize(("missing", "status"), [(0, "pass"), (15, "pass"), (16, "fail")])
def test_provenance_counts_records_with_full_metadata(demo, missing, status):
    for record in demo.records[:missing]:
        del record["metadata"]["seed"]
    demo.write()
    gate = demo.check()["provenance"]
    assert gate.status == status and gate.evidence_total == missing


def test_a_pilot_that_says_it_failed_or_whose_figures_do_fails(demo):
    demo.edit("qc_pilot", lambda content: content["counts"].update(hit_token_limit=20))
    assert "token limit" in demo.check()["qc-pilot"].reason
    demo.edit("qc_pilot", lambda content: content.update(thresholds_passed=False, failed_reasons=["runaway"]))
    gate = demo.check()["qc-pilot"]
    assert gate.status == "fail" and gate.declared == "failed" and "runaway" in gate.reason
    demo.edit("qc_pilot", lambda content: [content.pop(key) for key in ("thresholds_passed", "failed_reasons", "counts")])
    assert demo.check()["qc-pilot"].status == "undecided"


# --- the texts -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("planted", "status"), [(74, "pass"), (75, "fail")])
def test_planted_runaways_are_counted_exactly(demo, planted, status):
    for record in random.Random(1).sample(demo.records, planted):
        record["response"] += "\nQuestion: What else?\nResponse: More."
    demo.write()
    gate = demo.check()["qc-scale.runaway"]
    assert gate.status == status and gate.evidence_total == planted and len(gate.evidence) == 50 and "≠" in gate.measured
    first = gate.evidence[0]
    assert first.text[first.spans[0][0] :].startswith("Question: What else?")


def test_token_limit_measured_declared_and_neither(demo):
    for record in demo.records[:200]:
        record["completion"] = " word" * 80
    demo.write()
    gate = demo.check()["qc-scale.token-limit"]
    assert gate.status == "fail" and "≠" in gate.measured and gate.evidence_total >= 200
    for record in demo.records:
        del record["completion"]
    demo.write()
    gate = demo.check()["qc-scale.token-limit"]
    assert (gate.status, gate.severity, gate.measured) == ("pass", "hard", "no field")
    demo.edit("qc_scale", lambda content: content["counts"].update(hit_token_limit=300))
    assert demo.check()["qc-scale.token-limit"].status == "fail"
    gate = demo.check(without=("qc_scale",))["qc-scale.token-limit"]
    assert (gate.status, gate.severity) == ("undecided", "advisory")


def test_one_delimiter_left_in_fails(demo):
    demo.records[11]["response"] += " ###END###"
    demo.write()
    gate = demo.check()["qc-scale.delimiter"]
    assert gate.status == "fail" and gate.evidence[0].record == demo.records[11]["id"]


def test_median_tokens_in_both_profiles(demo):
    for record in demo.records:
        record["response"] = "word " * 60
    demo.write()
    gate = demo.check()["qc-scale.median-tokens"]
    assert (gate.status, gate.severity, gate.threshold) == ("fail", "hard", "< 40") and "≠" in gate.measured
    gate = demo.check(**EXTERNAL, eval=EvalTable(max_new_tokens=100))["qc-scale.median-tokens"]
    assert (gate.status, gate.severity, gate.threshold) == ("fail", "advisory", "≤ 50")
    assert demo.check(**EXTERNAL)["qc-scale.median-tokens"].status == "pass"


def test_acceptance_declared_and_measured(demo):
    demo.records[4]["pair_critique"] = {**GOOD, "confident": False}
    del demo.records[5]["pair_critique"], demo.records[5]["instruction_critique"]
    demo.write()
    gate = demo.check()["qc-scale.acceptance"]
    assert gate.status == "fail" and gate.evidence_total == 1 and "≠" in gate.measured and "1 not judged" in gate.reason
    for record in demo.records:
        record.pop("pair_critique", None), record.pop("instruction_critique", None)
    demo.write()
    gate = demo.check()["qc-scale.acceptance"]
    assert (gate.status, gate.severity) == ("undecided", "advisory")
    demo.edit("qc_scale", lambda content: content["acceptance"].update(pairs_good=10))
    gate = demo.check()["qc-scale.acceptance"]
    assert (gate.status, gate.severity) == ("fail", "hard") and "add up to" in gate.reason


@pytest.mark.parametrize("place", ["instruction", "response", "prompt", "completion", "held-out"])
def test_a_chat_control_token_anywhere_fails(demo, place):
    if place == "held-out":
        demo.items[0]["instruction"] += " <|im_end|>"
    else:
        demo.records[3][place] += " <|im_start|>"
    demo.write()
    gate = demo.check()["contamination-guards"]
    assert gate.status == "fail" and gate.evidence_total == 1
    text, ((low, high),) = gate.evidence[0].text, gate.evidence[0].spans
    assert text[low:high] in ("<|im_end|>", "<|im_start|>")


def test_a_raw_generation_may_end_with_a_document_end(demo):
    demo.records[3]["completion"] += "<|endoftext|>"
    demo.write()
    assert demo.check()["contamination-guards"].status == "pass"
    demo.records[3]["response"] += "<|endoftext|>"
    demo.write()
    assert demo.check()["contamination-guards"].status == "fail"


def test_guards_denied_or_not_stated(demo):
    demo.records[3]["metadata"]["template_disabled"] = False
    demo.write()
    assert "denies" in demo.check(**EXTERNAL)["contamination-guards"].reason
    for record in demo.records:
        del record["metadata"]
    demo.write()
    assert demo.check()["contamination-guards"].status == "fail"
    assert demo.check(without=MANIFESTS, **EXTERNAL)["contamination-guards"].status == "pass"


def test_a_tokenizer_that_adds_special_tokens_fails(demo, tmp_path):
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing

    tokenizer = Tokenizer.from_file(str(ASSETS / "model" / "tokenizer.json"))
    end = next(token.content for token in tokenizer.get_added_tokens_decoder().values())
    tokenizer.post_processor = TemplateProcessing(single=f"{end} $A", special_tokens=[(end, tokenizer.token_to_id(end))])
    (tmp_path / "model").mkdir()
    tokenizer.save(str(tmp_path / "model" / "tokenizer.json"))
    gate = demo.check(model=tmp_path / "model")["contamination-guards"]
    assert gate.status == "fail" and "+1" in gate.reason


def test_without_a_tokenizer_token_gates_are_undecided_and_say_why(demo, tmp_path):
    gates = demo.check(model=tmp_path / "none")
    for name in ("length", "qc-scale.median-tokens", "contamination-guards"):
        assert gates[name].status == "undecided" and "tokenizer" in gates[name].reason, name
    assert {"length", "contamination-guards"} <= set(demo.report.blocking)


def test_length_counts_what_max_seq_len_cuts(demo):
    for record in demo.records[:15]:
        record["response"] = "word " * 1200
    demo.records[15]["instruction"] = "word " * 1200
    demo.write()
    gate = demo.check()["length"]
    assert gate.status == "fail" and gate.evidence_total == 16 and "1 of them keep no response" in gate.reason
    assert demo.check(gates=GatesTable(max_truncated=0.02))["length"].status == "pass"
    assert demo.check(train=TrainTable(max_seq_len=16))["length"].status == "fail"


# --- the whole -------------------------------------------------------------------------------------------------------------------


def test_the_order_of_records_changes_nothing(demo):
    for record in demo.records[:30]:
        record["response"] += "\nUser: more"
    demo.records[40]["instruction"] = demo.items[3]["instruction"]
    demo.records[41:60] = [{**record, "instruction": demo.records[60]["instruction"]} for record in demo.records[41:60]]
    demo.write()
    before = {
        name: (gate.status, gate.measured, gate.evidence_total) for name, gate in demo.check().items() if name != "integrity"
    }
    random.Random(3).shuffle(demo.records)
    demo.write()
    after = {
        name: (gate.status, gate.measured, gate.evidence_total) for name, gate in demo.check().items() if name != "integrity"
    }
    after["pod"] = before["pod"]
    assert after == before


def test_unusable_inputs_are_one_clear_error(demo):
    (demo.folder / "sft.jsonl").write_text("")
    with pytest.raises(InputError, match="is empty"):
        demo.check()
    (demo.folder / "sft.jsonl").unlink()
    with pytest.raises(InputError, match="no such file"):
        demo.check()


def test_a_large_file_is_sampled_and_says_so(demo, monkeypatch):
    monkeypatch.setattr("engine.data.tokens.MAX_SAMPLE_RECORDS", 500)
    gates = demo.check()
    assert gates["integrity"].status == "pass" and "in a sample of 500" in gates["length"].reason
    assert gates["qc-scale.token-limit"].status == "pass"
