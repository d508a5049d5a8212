"""Planting k faults finds exactly k, whatever the order of the records; no bytes make a reader fail in any way but in words."""

import random
from collections import Counter

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from engine.data.records import RecordReader
from engine.protocol.errors import InputError
from tests.data.dataset import GOOD, write

FAULTS = {
    "qc-scale.runaway": lambda record, _: record.update(response=f"{record['response']}\nQuestion: And then?"),
    "qc-scale.delimiter": lambda record, _: record.update(response=f"{record['response']} ###END###"),
    "qc-scale.token-limit": lambda record, _: record.update(completion=" word" * 200),
    "qc-scale.acceptance": lambda record, _: record.update(pair_critique={**GOOD, "is_good": False}),
    "provenance": lambda record, _: record["metadata"].update(git_commit=None),
    "leakage": lambda record, item: record.update(instruction=item["instruction"].upper()),
    "length": lambda record, _: record.update(response="word " * 1100),
}


def six_words(item):
    """Every run of six words of an item, once."""
    words = item["instruction"].lower().split()
    return {tuple(words[at : at + 6]) for at in range(len(words) - 5)}


# without shrinking: an example takes half a second, and the counts say which fault it was
@settings(
    max_examples=6,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(counts=st.fixed_dictionaries({gate: st.integers(0, 7) for gate in FAULTS}), seed=st.integers(0, 2**31))
def test_k_planted_faults_are_k_found_faults_in_any_order(small, counts, seed):
    generator, whole = random.Random(seed), small.records
    small.records = [{**record, "metadata": dict(record["metadata"]), "completion": "Yes."} for record in whole]
    places = generator.sample(range(len(small.records)), sum(counts.values()))
    # held-out items whose text stands in no record yet and that no other item shares six words with: one for each leak, and none by the way
    texts = {record["instruction"].lower() for record in whole}
    shared = Counter(words for item in small.items for words in six_words(item))
    free = [
        item for item in small.items
        if item["instruction"].lower() not in texts and all(shared[words] == 1 for words in six_words(item))
    ]  # fmt: skip
    for gate, count in counts.items():
        for _ in range(count):
            FAULTS[gate](small.records[places.pop()], free.pop())
    records, small.records, found = small.records, whole, []
    for order in (1, 2):
        random.Random(seed + order).shuffle(records)
        write(small.folder / "sft.jsonl", records)
        gates = small.check()
        assert {gate: gates[gate].evidence_total for gate in FAULTS} == counts
        found.append({name: (gate.status, gate.measured, gate.evidence_total) for name, gate in gates.items()})
    for results in found:  # the file is another and says so; the disk may have other things to do
        results.pop("integrity"), results.pop("pod")
    assert found[0] == found[1]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mutated_parquet_file_gives_clean_errors_only(tmp_path, parquet, data):
    content = bytearray(parquet)
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    path = tmp_path / "train.parquet"
    path.write_bytes(content)
    reader = RecordReader(path)
    try:
        assert len(list(reader)) + reader.dropped.total() > 0
    except InputError as error:
        assert "train.parquet" in str(error)
