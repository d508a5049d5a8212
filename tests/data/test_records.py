import gzip
import json
import os
import random
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.data.lines import MAX_LINE_BYTES
from engine.data.problems import MAX_LISTED
from engine.data.records import RecordReader, read_records
from engine.protocol.errors import InputError

GOOD = b'{"instruction": "Name a colour.", "response": "Blue."}\n'


def read(tmp_path, data, name="train.jsonl"):
    path = tmp_path / name
    path.write_bytes(data)
    reader = RecordReader(path)
    return list(reader), reader


def test_a_whole_record_comes_back_as_written(tmp_path):
    written = {
        "id": 7, "instruction": "Añade", "response": "sí", "prompt": "p", "completion": "c", "unknown": [1],
        "instruction_critique": {"is_good": True, "margin": 2}, "pair_critique": None, "metadata": {"seed": 3},
    }  # fmt: skip
    (record,), reader = read(tmp_path, json.dumps(written).encode())
    assert (record.id, record.name, record.line, record.instruction, record.response) == ("7", "7", 1, "Añade", "sí")
    assert record.instruction_critique.is_good is True and record.instruction_critique.confident is None
    assert record.pair_critique is None and record.metadata == {"seed": 3} and record.completion == "c"
    assert reader.problems == [] and not reader.dropped


def test_hash_and_progress_are_of_the_whole_file(tmp_path):
    import hashlib

    path = tmp_path / "train.jsonl"
    path.write_bytes(GOOD * 40_000)
    seen = []
    reader = RecordReader(path, lambda done, total: seen.append((done, total)))
    assert sum(1 for _ in reader) == 40_000 == reader.records
    assert reader.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert seen[-1] == (len(GOOD) * 40_000,) * 2 and len(seen) == 3


BROKEN = [
    (b'{"instruction": "a\xff", "response": "b"}', "not UTF-8", 19),
    (b'{"other": "\xc3(", "instruction": "a", "response": "b"}', "not UTF-8", 12),
    (b'{"instruction": "a", "response": "b"', "invalid JSON", 37),
    (b'{"instruction": "a" "response": "b"}', "invalid JSON", 21),
    ('{"instruction": "é" "response": "b"}'.encode(), "invalid JSON", 21),
    (b'{"instruction": "a\x00", "response": "b"}', "NUL bytes", 19),
    (b'{"instruction": "a"}', "missing field", 1),
    (b'{"instruction": " ", "response": "b"}', "empty field", 2),
    (b'{"instruction": "a", "response": 5}', "wrong type", 22),
    (b'{"instruction": "a", "response": "b", "metadata": []}', "wrong type", 39),
    (b'["a"]', "wrong type", 1),
    (b'{"instruction": "a", "response": "b", "response": "c"}', "duplicate keys", 39),
    (b'{"instruction": "a", "response": "b", "metadata": {"seed": 1, "seed": 2}}', "duplicate keys", 63),
    (
        b'{"instruction": "a", "response": "b", "pair_critique": {"is_good": true, "is_good": false}}',
        "duplicate keys",
        74,
    ),
    (b'{"instruction": "a", "response": "b", "x": ' + b"[" * 5000 + b"]" * 5000 + b"}", "nested too deeply", None),
    (b'{"instruction": "\\ud800", "response": "b"}', "invalid JSON", 24),
]


@pytest.mark.parametrize(("line", "reason", "column"), BROKEN, ids=range(len(BROKEN)))
def test_a_broken_line_is_dropped_counted_and_placed(tmp_path, line, reason, column):
    records, reader = read(tmp_path, GOOD + line + b"\n" + GOOD)
    assert [record.line for record in records] == [1, 3]
    assert dict(reader.dropped) == {reason: 1}
    (problem,) = reader.problems
    assert (problem.file, problem.line, problem.column, problem.reason) == ("train.jsonl", 2, column, reason)
    assert str(problem).startswith("train.jsonl, line 2" + (f", column {column}: " if column else ": "))


def test_a_repeated_key_inside_another_object_or_a_text_is_no_problem(tmp_path):
    line = {"instruction": 'say "response": twice', "response": '"response"', "metadata": {"id": 1, "response": 2}, "id": "x"}
    records, reader = read(tmp_path, json.dumps(line).encode())
    assert len(records) == 1 and not reader.findings.total


def test_what_two_critics_and_any_text_may_hold_is_no_repeated_key(tmp_path):
    good = {"is_good": True, "confident": True}
    line = {
        "instruction": "seed",
        "response": "seed",
        "instruction_critique": good,
        "pair_critique": good,
        "metadata": {"seed": "seed"},
    }
    records, reader = read(tmp_path, json.dumps(line).encode())
    assert len(records) == 1 and not reader.findings.total


def test_a_cut_off_last_line_is_told_from_a_broken_one(tmp_path):
    _, reader = read(tmp_path, GOOD + GOOD[:30])
    assert dict(reader.dropped) == {"truncated last line": 1}
    records, reader = read(tmp_path, GOOD + GOOD.rstrip())
    assert len(records) == 2 and not reader.findings.total


def test_bom_crlf_and_blank_lines_are_noted_and_read(tmp_path):
    line = GOOD.rstrip()
    records, reader = read(tmp_path, b"\xef\xbb\xbf" + line + b"\r\n" + line + b"\r\n\r\n  \n")
    assert len(records) == 2 and not reader.dropped
    assert dict(reader.findings.noted) == {"byte order mark": 1, "CRLF": 1, "blank lines": 1}


def test_duplicate_ids_are_noted(tmp_path):
    line = b'{"id": %s, "instruction": "a", "response": "b"}\n'
    records, reader = read(tmp_path, line % b'"1"' + line % b'"2"' + line % b"1")
    assert len(records) == 3 and dict(reader.findings.noted) == {"duplicate id": 1}
    assert reader.problems[0].line == 3


def test_a_very_long_line_is_passed_over_without_being_held(tmp_path):
    path = tmp_path / "train.jsonl"
    with path.open("wb") as file:
        file.write(GOOD + b'{"instruction": "')
        for _ in range(MAX_LINE_BYTES // 2**20 * 3):
            file.write(b"x" * 2**20)
        file.write(b'", "response": "b"}\n' + GOOD)
    reader = RecordReader(path)
    assert [record.line for record in reader] == [1, 3]
    assert dict(reader.dropped) == {"line too long": 1}


def test_problems_are_listed_up_to_a_limit_and_all_counted(tmp_path):
    _, reader = read(tmp_path, GOOD + b"{}\n" * (MAX_LISTED + 20))
    assert len(reader.problems) == MAX_LISTED and reader.findings.total == MAX_LISTED + 20


def refusal(path):
    with pytest.raises(InputError) as caught:
        list(read_records(path))
    return str(caught.value)


def test_what_is_no_file_is_refused_in_words(tmp_path):
    assert "is a folder" in refusal(tmp_path)
    assert "there is no such file" in refusal(tmp_path / "missing.jsonl")
    loop = tmp_path / "loop.jsonl"
    loop.symlink_to(loop)
    assert "loop of symbolic links" in refusal(loop)
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert "device or a pipe" in refusal(tmp_path / "pipe.jsonl")
    (tmp_path / "empty.jsonl").touch()
    assert "is empty" in refusal(tmp_path / "empty.jsonl")
    (tmp_path / "wide.jsonl").write_text("{}", encoding="utf-16")
    assert "UTF-16" in refusal(tmp_path / "wide.jsonl")
    (tmp_path / "packed.jsonl").write_bytes(gzip.compress(GOOD))
    assert "is compressed" in refusal(tmp_path / "packed.jsonl")
    (tmp_path / "useless.jsonl").write_text("{}\n[]\n")
    assert "holds no usable record" in refusal(tmp_path / "useless.jsonl") and "line 2" in refusal(tmp_path / "useless.jsonl")


@pytest.mark.parametrize("change", ["append", "replace", "rewrite", "remove"])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, change):
    path = tmp_path / "train.jsonl"
    path.write_bytes(GOOD * 100)
    reader = iter(RecordReader(path))
    next(reader)
    if change == "append":
        with path.open("ab") as file:
            file.write(GOOD)
    elif change == "replace":
        (tmp_path / "other").write_bytes(GOOD * 100)
        (tmp_path / "other").replace(path)
    elif change == "rewrite":
        path.write_bytes(GOOD.replace(b"Blue", b"Grey") * 100)
        os.utime(path, ns=(1, 1))
    else:
        path.unlink()
    with pytest.raises(InputError, match="changed while it was read"):
        list(reader)


@pytest.mark.parametrize("indent", [None, 1])
def test_one_json_list_is_refused_rather_than_read_for_its_last_record(tmp_path, indent):
    path = tmp_path / "train.jsonl"
    records = [json.loads(GOOD)] * 3
    path.write_text(json.dumps(records, indent=indent))
    assert "is one JSON list" in refusal(path)
    path.write_text("[\n" + ",\n".join(map(json.dumps, records)) + "\n]\n")
    assert "is one JSON list" in refusal(path)
    path.write_bytes(b'["instruction"]\n' + GOOD)
    assert [record.line for record in read_records(path)] == [2]


@pytest.mark.parametrize("name", ["TRAIN.PARQUET", "train.data"])
def test_parquet_is_known_by_its_name_in_any_case_or_by_how_it_begins(tmp_path, parquet, name):
    path = tmp_path / name
    path.write_bytes(parquet)
    assert len(list(read_records(path))) == 40


def test_parquet_is_read_like_jsonl(tmp_path):
    import pyarrow
    from pyarrow import parquet

    rows = [{"id": str(n), "instruction": f"i{n}", "response": f"r{n}", "metadata": {"seed": n}, "other": 1} for n in range(3000)]
    rows[5]["response"] = ""
    rows[6]["instruction"] = None
    path = tmp_path / "train.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    reader = RecordReader(path)
    records = list(reader)
    assert len(records) == 2998 and dict(reader.dropped) == {"empty field": 1, "missing field": 1}
    assert (records[-1].line, records[-1].id, records[-1].metadata) == (3000, "2999", {"seed": 2999})
    assert len(reader.sha256) == 64
    path.write_bytes(b"PAR1 nonsense")
    assert "cannot be read as Parquet" in refusal(path)


def test_random_line_lengths_meet_the_block_boundaries(tmp_path):
    generator = random.Random(4)
    texts = ["".join(generator.choices(string.ascii_letters, k=generator.choice([3, 500, 400_000]))) for _ in range(60)]
    data = b"".join(json.dumps({"instruction": text, "response": "b"}).encode() + b"\n" for text in texts)
    records, _ = read(tmp_path, data)
    assert [record.instruction for record in records] == texts


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_files_give_clean_errors_only(tmp_path, data):
    lines = bytearray(GOOD * 4 + b'{"id": "x", "instruction": "a", "response": "b", "metadata": {"seed": 1}}\n')
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(lines) - 1))
        lines[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path = tmp_path / "train.jsonl"
    path.write_bytes(bytes(lines))
    reader = RecordReader(path)
    try:
        usable = len(list(reader))
    except InputError:
        return
    blank = sum(not line.strip() for line in bytes(lines).split(b"\n")[:-1]) + (not bytes(lines).split(b"\n")[-1].strip())
    assert usable + reader.dropped.total() + blank == bytes(lines).count(b"\n") + 1
