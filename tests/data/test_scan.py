import hashlib
import json
import os
import random
from pathlib import Path

import pytest

import engine.demo
from engine.core.leakage import LeakageIndex
from engine.data.gates import check_gates
from engine.data.held_out import read_held_out
from engine.data.lines import FileIdentity, LineReader, Part, Parts
from engine.data.observers import NO_BOUNDS, Observer
from engine.data.part_workers import PartWorkers
from engine.data.records import RecordReader, records_at
from engine.data.scan import scan, scan_part
from engine.protocol.config import Config, DataTable, EngineTable, ModelTable
from engine.protocol.errors import EngineError, InputError

ASSETS = Path(engine.demo.__file__).parent / "assets"


def spoilt_lines():
    """Records with everything that has to be joined over parts: ids used again, oddities, faults, leaks, duplicates, no ids."""
    records = [json.loads(line) for line in (ASSETS / "faulty" / "sft.jsonl").read_text().splitlines()]
    items = [json.loads(line) for line in (ASSETS / "heldout.jsonl").read_text().splitlines()]
    generator, lines = random.Random(4), []
    for number in range(900):
        record = dict(generator.choice(records), id=f"n{number}")
        draw = generator.random()
        if draw < 0.1:
            record["id"] = f"n{generator.randrange(40)}"
        elif draw < 0.2:
            del record["id"]
        elif draw < 0.3:
            record["instruction"] = generator.choice(items)["instruction"]
        lines.append(json.dumps(record).encode() + (b"\r" if draw > 0.95 else b""))
        if 0.3 < draw < 0.4:
            lines.append(generator.choice([b"", b"{", b'{"instruction": "a\xff"}', b'{"instruction": "", "response": "x"}']))
    return b"\xef\xbb\xbf" + b"\n".join(lines)


@pytest.fixture
def train(tmp_path, monkeypatch):
    monkeypatch.setenv("SLUICE_WORKSPACE", str(tmp_path))
    path = tmp_path / "train.jsonl"
    path.write_bytes(spoilt_lines())
    return path


def report_of(train, **more):
    config = Config(
        model=ModelTable(path=str(ASSETS / "model")), engine=EngineTable(device="cpu"),
        data=DataTable(train=str(train), held_out=str(ASSETS / "heldout.jsonl")),
    )  # fmt: skip
    report = check_gates(config, emit=lambda event: None, **more)
    return report.dataset, tuple(gate for gate in report.gates if gate.id != "pod"), report.passed


def in_parts(monkeypatch, part_bytes=20_000):
    monkeypatch.setattr("engine.data.scan.PART_BYTES", part_bytes)
    monkeypatch.setattr("engine.data.scan.IN_PROCESS_BYTES", 0)
    monkeypatch.setattr("engine.data.lines.BLOCK_BYTES", 4096)


@pytest.mark.parametrize("sampled", [50_000, 100])
def test_parts_and_processes_change_nothing(train, monkeypatch, sampled):
    monkeypatch.setattr("engine.data.tokens.MAX_SAMPLE_RECORDS", sampled)
    whole = report_of(train, workers=1)
    statuses = {gate.id: gate.evidence_total for gate in whole[1]}
    assert statuses["integrity"] > 100 and statuses["leakage"] > 20 and statuses["duplicates"] > 500
    reader = RecordReader(train)
    assert sum(1 for _ in reader) == whole[0].records and reader.dropped == whole[0].dropped and reader.sha256 == whole[0].sha256
    shown = next(gate.evidence for gate in whole[1] if gate.id == "integrity")
    assert [evidence.text for evidence in shown] == [str(problem) for problem in reader.problems[:50]]
    in_parts(monkeypatch)
    assert report_of(train, workers=1) == whole
    assert report_of(train, workers=2) == whole


def test_a_file_without_a_record_is_refused_with_the_reasons_from_any_process(train, monkeypatch):
    in_parts(monkeypatch, part_bytes=4096)
    train.write_bytes(b'{"instruction": "a"}\n' * 2000)
    for workers in (1, 2):
        with pytest.raises(InputError, match=r'holds no usable record\n.*line 1.*no "response"'):
            report_of(train, workers=workers)


@pytest.mark.parametrize("block_bytes", [7, 64, 4096])
def test_parts_cover_the_file_and_know_their_lines(tmp_path, monkeypatch, block_bytes):
    monkeypatch.setattr("engine.data.lines.BLOCK_BYTES", block_bytes)
    generator, path = random.Random(block_bytes), tmp_path / "lines"
    for ending in (b"", b"\n", b"\n\n", b"last"):
        path.write_bytes(b"\n".join(b"x" * generator.randrange(90) for _ in range(300)) + ending)
        parts = Parts(path, 200)
        found = list(parts)
        assert [part.start for part in found] == [0, *(part.end for part in found[:-1])] and found[-1].end == path.stat().st_size
        joined = [line for part in found for line in LineReader(path, part=part)]
        assert joined == list(LineReader(path)) and len(found) > 2
        assert parts.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def observer():
    return Observer(LeakageIndex(read_held_out(ASSETS / "heldout.jsonl").items), frozenset({"<|im_end|>"}), 0)


def test_a_file_that_changed_is_refused_by_the_process_that_reads_it(train):
    now = FileIdentity.of(train.stat())
    part = Part(start=0, end=now.size_bytes, first_line=1, file=FileIdentity(now.device, now.inode, now.size_bytes, 1))
    with PartWorkers(1, scan_part, train, observer()) as pool, pytest.raises(InputError, match="changed while it was read"):
        list(pool.results([part], lambda: NO_BOUNDS))


def test_a_lost_process_is_an_error_and_none_is_left(train, monkeypatch):
    in_parts(monkeypatch)
    with PartWorkers(2, scan_part, train, observer()) as pool:
        processes = list(pool.processes)
        processes[1].kill()
        processes[1].join()
        with pytest.raises(EngineError, match="is gone"):
            list(pool.results(Parts(train, 20_000), lambda: NO_BOUNDS))
        survivor = processes[0].pid
    assert not Path(f"/proc/{survivor}").exists()


def test_progress_reaches_the_end_of_the_file(train, monkeypatch):
    in_parts(monkeypatch)
    seen = []
    scan(train, observer(), lambda done, total: seen.append((done, total)), workers=2)
    assert seen == sorted(seen) and seen[-1] == (train.stat().st_size,) * 2 and len(seen) > 5


def test_records_are_found_again_by_line(train):
    wanted = {1, 40, 41, 700}
    found = records_at(train, wanted)
    assert set(found) <= wanted and {record.line for record in found.values()} == set(found) and 1 in found
    assert records_at(train, set()) == {}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_change_that_keeps_size_and_times_is_found_by_the_hash(train, monkeypatch, workers):
    in_parts(monkeypatch)
    before = train.stat()

    def spoil(done, total):
        with train.open("r+b") as file:
            file.seek(10)
            file.write(b"#")
        os.utime(train, ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.raises(InputError, match="changed while it was read"):
        scan(train, observer(), spoil, workers=workers)
