"""Every gate in every status that it can have, and every declaration that can be compared with a measurement."""

import shutil

import pytest

from engine.protocol.config import EngineTable, GatesTable, TrainTable
from engine.protocol.gates import GATE_IDS
from tests.data.dataset import ASSETS, EXTERNAL, MANIFESTS, Dataset

LATE = {"headroom", "sentinels"}
"""Settled once the base arm is done or the model is loaded: tests/compute/test_evaluate.py."""
NO_MODEL = {"model": "/no/such/model"}
WITHOUT = {"without": MANIFESTS, **EXTERNAL}


def records(change, count=160):
    """Spoils the first `count` records."""

    def spoil(data):
        for number, record in enumerate(data.records[:count]):
            change(record, number)
        data.write()

    return spoil


def items(change, count=1):
    """Spoils the first `count` held-out items."""

    def spoil(data):
        for item in data.items[:count]:
            change(item)
        data.write()

    return spoil


def edit(name, change):
    """Spoils a manifest."""
    return lambda data: data.edit(name, change)


def leak(data):
    data.records[0]["instruction"] = data.items[0]["instruction"].upper()
    data.write()


def near_leak(data):
    data.items[0]["instruction"] = "Which of the two rivers in Varna is the longer, the Tam or the Orl?"
    data.records[0]["instruction"] = "Which of the two rivers in Varna is the longest, the Tam or the Orl?"
    data.write()


def alike(data):
    text = "Read this with care and then say in one word which of the four old towns by the sea has the tallest lighthouse of all"
    data.items[0]["instruction"], data.items[1]["instruction"] = text, f"{text} now"
    data.write()


def few_items(data):
    del data.items[3:]
    data.write()


def nothing(data):
    """As it is."""


def no_references(data):
    items(lambda item: item.pop("reference", None), 400)(data)


def raw(text):
    return records(lambda record, _: record.update(completion=text))


def drop(*keys):
    return records(lambda record, _: [record.pop(key, None) for key in keys])


CRITIQUES = ("instruction_critique", "pair_critique")
CASES = [
    *((gate, "pass", nothing, {}) for gate in GATE_IDS if gate not in LATE),
    *((gate, "pending", nothing, {}) for gate in sorted(LATE)),
    ("manifest", "fail", edit("session_manifest", lambda it: it.update(git_commit="")), {}),
    ("manifest", "n/a", nothing, WITHOUT),
    ("integrity", "fail", edit("qc_scale", lambda it: it["counts"].update(kept=159)), {}),
    ("integrity", "undecided", nothing, NO_MODEL),
    ("integrity", "n/a", nothing, WITHOUT),
    ("provenance", "fail", records(lambda record, _: record["metadata"].pop("seed"), 2), {}),
    *((gate, "n/a", nothing, WITHOUT) for gate in ("qc-pilot", "qc-scale")),
    ("qc-pilot", "fail", edit("qc_pilot", lambda it: it.update(thresholds_passed=False)), {}),
    ("qc-pilot", "undecided", edit("qc_pilot", lambda it: it.pop("thresholds_passed")), {}),
    ("qc-scale", "fail", edit("qc_scale", lambda it: it.update(failed_reasons=["runaway"])), {}),
    ("qc-scale", "undecided", edit("qc_scale", lambda it: it["counts"].pop("generated")), {}),
    ("qc-scale.runaway", "fail", records(lambda record, _: record.update(response="So.\nUser: and?"), 8), {}),
    ("qc-scale.token-limit", "fail", raw(" word" * 80), {}),
    ("qc-scale.token-limit", "undecided", drop("completion"), {"without": ("qc_scale",)}),
    ("qc-scale.delimiter", "fail", records(lambda record, _: record.update(response="So. ###END###"), 1), {}),
    ("qc-scale.median-tokens", "fail", records(lambda record, _: record.update(response="word " * 60)), {}),
    ("qc-scale.median-tokens", "undecided", nothing, NO_MODEL),
    ("qc-scale.acceptance", "fail", records(lambda record, _: record.pop("pair_critique") and record.pop("instruction_critique"), 1), {}),
    ("qc-scale.acceptance", "undecided", drop(*CRITIQUES), {}),
    ("contamination-guards", "fail", records(lambda record, _: record["metadata"].update(sentinel_tests_passed=False), 1), {}),
    ("contamination-guards", "undecided", nothing, NO_MODEL),
    ("leakage", "fail", leak, {}),
    ("leakage.near", "fail", near_leak, {"gates": GatesTable(leak_containment=1.0)}),
    ("duplicates", "fail", records(lambda record, _: record.update(instruction="What is it, please, now?"), 20), {}),
    ("length", "fail", nothing, {"train": TrainTable(max_seq_len=8)}),
    ("length", "undecided", nothing, NO_MODEL),
    ("held-out", "fail", items(lambda item: item.update(checks=[])), {}),
    ("held-out.references", "fail", items(lambda item: item.update(reference="word " * 300)), {}),
    ("held-out.references", "n/a", no_references, {}),
    ("held-out.alike", "fail", alike, {}),
    ("power", "undecided", few_items, {}),
    ("pod", "fail", nothing, {"engine": EngineTable(device="cuda")}),
]  # fmt: skip


@pytest.mark.parametrize(("gate", "status", "spoil", "options"), CASES, ids=[f"{gate}-{status}" for gate, status, *_ in CASES])
def test_a_gate_has_the_status(request, unspoilt, monkeypatch, gate, status, spoil, options):
    monkeypatch.setattr(shutil, "which", lambda name: None)  # a machine without GPUs, wherever this runs
    if spoil is nothing:
        found = unspoilt(**options)[gate]
    else:
        small = request.getfixturevalue("small")
        spoil(small)
        found = small.check(**options)[gate]
    assert found.status == status, found.reason
    assert found.reason and found.title and found.threshold
    assert (found.evidence_total == 0) == (not found.evidence)


@pytest.fixture(scope="module")
def unspoilt(tmp_path_factory):
    """The results for the unspoilt data by settings, each once."""
    folder, known = tmp_path_factory.mktemp("unspoilt"), {}
    data = Dataset(folder)
    data.shorten(160)

    def check(**options):
        if str(options) not in known:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("SLUICE_WORKSPACE", str(folder))
                known[str(options)] = data.check(**options)
        return known[str(options)]

    return check


def test_every_gate_is_tried_in_more_than_one_way():
    tried = {}
    for gate, status, *_ in CASES:
        tried.setdefault(gate, set()).add(status)
    assert set(tried) == set(GATE_IDS)
    for gate, statuses in tried.items():
        assert statuses == {"pending"} if gate in LATE else {"pass"} < statuses, gate
    assert {"fail", "undecided", "pending", "n/a"} <= set().union(*tried.values())


MISMATCHES = [
    ("integrity", edit("qc_scale", lambda it: it["counts"].update(kept=161)), "161 records are declared"),
    ("integrity", edit("session_manifest", lambda it: it["artifacts_generated"][0].update(sha256="0" * 64)), "000000000000"),
    ("integrity", edit("qc_scale", lambda it: it["token_stats"].update(mean=30)), "mean tokens are declared as 30"),
    ("provenance", edit("session_manifest", lambda it: it.update(loader_version="other 2")), 'the session manifest "other 2"'),
    ("provenance", edit("session_manifest", lambda it: it.update(git_commit="f" * 40)), "state git_commit"),
    ("qc-scale.runaway", records(lambda record, _: record.update(response="So.\nUser: and?"), 7), "only 1.8 % were declared"),
    ("qc-scale.token-limit", raw(" word" * 80), "only 1.8 % were declared"),
    ("qc-scale.median-tokens", edit("qc_scale", lambda it: it["token_stats"].update(median=20)), "20 were declared"),
    ("qc-scale.acceptance", records(lambda record, _: record.update(pair_critique={"is_good": False}), 1), "1 kept record not judged good"),
]  # fmt: skip


@pytest.mark.parametrize(("gate", "spoil", "said"), MISMATCHES, ids=[f"{gate}-{said[:20]}" for gate, _, said in MISMATCHES])
def test_what_is_declared_and_is_not_so_is_said(small, gate, spoil, said):
    spoil(small)
    found = small.check()[gate]
    assert "≠" in found.measured and said in found.reason and found.declared not in ("", "–"), found


def test_a_short_commit_is_the_same_commit(small):
    small.edit("session_manifest", lambda content: content.update(git_commit=content["git_commit"][:8]))
    assert "≠" not in small.check()["provenance"].measured


def test_an_instruction_tuned_model_is_contamination_and_a_chat_template_is_only_noted(small, tmp_path):
    folder = shutil.copytree(ASSETS / "model", tmp_path / "base")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    found = small.check(model=folder)["contamination-guards"]
    assert found.status == "pass" and "chat template, which is never used" in found.reason
    tuned = folder.rename(tmp_path / "base-Instruct")
    found = small.check(model=tuned)["contamination-guards"]
    assert found.status == "fail" and "looks instruction-tuned: the name" in found.reason


def test_records_of_an_instruction_tuned_model_are_contamination_where_a_base_model_is_documented(small):
    records(lambda record, _: record["metadata"].update(model_name="big-7b-chat"))(small)
    found = small.check()["contamination-guards"]
    assert found.status == "fail" and "generated by an instruction-tuned model: big-7b-chat" in found.reason
    found = small.check(**WITHOUT)["contamination-guards"]
    assert found.status == "pass" and "big-7b-chat" in found.reason
