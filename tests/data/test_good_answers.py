"""No false alarm: 200 and more honest answers pass the rules one by one, and as a dataset every gate on texts."""

import pytest

from engine.core import qc
from engine.core.stop_rules import after_stop_rules, asked_for
from tests.data.dataset import EXTERNAL, MANIFESTS
from tests.data.good_answers import GOOD_ANSWERS, HAND_WRITTEN


def test_there_are_enough_of_them_and_none_comes_twice():
    assert len(GOOD_ANSWERS) >= 200 and len(set(GOOD_ANSWERS)) == len(GOOD_ANSWERS)


@pytest.mark.parametrize("place", range(len(GOOD_ANSWERS)), ids=lambda place: str(place))
def test_a_good_answer_raises_nothing(place):
    instruction, response = GOOD_ANSWERS[place]
    assert qc.runaway_at(instruction, response) is None
    assert qc.kept_markers(instruction, response) == []
    assert qc.ControlFinder(qc.CHAT_CONTROL_LITERALS).spans(response) == []
    assert after_stop_rules(response, asked_for(instruction)) == response


def test_as_a_dataset_they_pass_every_gate_on_texts(demo):
    demo.records = [{"id": f"g{n}", "instruction": asked, "response": said} for n, (asked, said) in enumerate(GOOD_ANSWERS)]
    demo.write()
    gates = demo.check(without=MANIFESTS, **EXTERNAL)
    failed = {name: gate.reason for name, gate in gates.items() if gate.status == "fail"}
    # they have no metadata, and the endless ones are longer than max_seq_len; nothing else is said of them
    assert set(failed) == {"length", "provenance"}
    for name in ("qc-scale.runaway", "qc-scale.delimiter", "contamination-guards", "leakage", "leakage.near", "duplicates"):
        assert (gates[name].status, gates[name].evidence_total) == ("pass", 0), name
    assert demo.report.dataset.records == len(GOOD_ANSWERS) and not demo.report.dataset.dropped


def test_the_same_answers_made_bad_are_found():
    """The other side of the coin: that the corpus passes must not mean that nothing is looked at."""
    for instruction, response in HAND_WRITTEN:
        spoilt = f"{response}\nInstruction: Name another.\nResponse: No."
        assert qc.runaway_at(instruction, spoilt) is not None or "Instruction:" in instruction
        assert qc.kept_markers(instruction, f"{response} ###END###")
