"""`sluice stats`: edge cases of a person's own pairs, and bad input told at once."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.commands.report import stats
from engine.protocol.errors import InputError

OUTCOMES = {"a": (True, True), "b": (True, False), "c": (False, True), "d": (False, False), "?": (None, True)}


def pairs(folder: Path, cells: str, kind: Any = "t") -> Path:
    """A file with one pair for each letter of `cells`."""
    made = [{"id": f"i{n}", "type": kind, "base": OUTCOMES[cell][0], "sft": OUTCOMES[cell][1]} for n, cell in enumerate(cells)]
    path = folder / "pairs.jsonl"
    path.write_bytes(msgspec.json.Encoder().encode_lines(made))
    return path


def run(path: Path, *arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    status = stats.main([str(path), "--json", *arguments], standalone_mode=False)
    return status, msgspec.json.decode(capsys.readouterr().out)


def refused(path: Path, *arguments: str) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        stats.main([str(path), *arguments], standalone_mode=False)
    return caught.value.problems


@pytest.mark.parametrize(
    ("cells", "n", "lift", "p", "decision", "status"),
    [
        ("?" * 3, 0, None, None, "INCONCLUSIVE", 3),
        ("b", 1, -1.0, 0.5, "INCONCLUSIVE", 3),
        ("ad" * 200, 400, 0.0, 1.0, "NO-GO", 1),
        ("a" * 400, 400, 0.0, 1.0, "NO-GO", 1),
        ("d" * 400, 400, 0.0, 1.0, "NO-GO", 1),
        ("cd" * 200, 400, 0.5, 2**-200, "GO", 3),
        ("ad" * 160 + "b" * 60 + "c" * 20, 400, -0.1, None, "NO-GO", 1),
    ],
)
def test_edges(tmp_path, capsys, cells, n, lift, p, decision, status):
    found, read = run(pairs(tmp_path, cells), "--gate", capsys=capsys)
    overall = read["overall"]
    assert (overall["n"], overall["lift"]) == (n, lift)
    assert p is None or overall["mcnemar"]["primary"]["p"] == pytest.approx(p, rel=1e-9)
    assert (read["verdict"]["decision"], found) == (decision, status)
    assert list(read["by_type"]) == ["t"] and read["by_type"]["t"]["n"] == n
    described, plain = run(pairs(tmp_path, cells), capsys=capsys)
    assert (described, plain["verdict"]) == (0, None)


def test_all_that_succeed_are_said_to_be_at_the_ceiling(tmp_path, capsys):
    _, read = run(pairs(tmp_path, "a" * 400), "--gate", capsys=capsys)
    assert "near the ceiling, 100.0%" in {reason["id"]: reason["text"] for reason in read["verdict"]["reasons"]}["headroom"]


def test_every_problem_of_a_file_comes_at_once(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(
        '{"id":1,"type":"t","base":true,"sft":true}\nnonsense\n\n{"id":"x","type":"t","base":"yes","sft":true}\n'
        '{"id":"z","type":"t","base":true}\n{"id":"a","type":"t","base":true,"sft":true}\n'
        '{"id":"a","type":"t","base":true,"sft":true}\n{"id":"n","type":[],"base":true,"sft":true}\n'
    )
    problems = refused(path)
    assert [problem.partition(":")[0].rpartition(" ")[2] for problem in problems] == ["1", "2", "4", "5", "8", "7"]
    assert "missing required field `sft`" in problems[3] and 'id "a" stands in line 6 already' in problems[-1]


def test_many_problems_are_counted(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("nonsense\n" * 500)
    problems = refused(path)
    assert len(problems) == 21 and problems[-1] == "… and 480 more problems"


@pytest.mark.parametrize("content", ["", "\n \n", "\ufeff"])
def test_a_file_without_a_pair(tmp_path, content):
    path = tmp_path / "pairs.jsonl"
    path.write_text(content, "utf-8")
    assert refused(path) == (f"{path}: is empty; one JSON object a line is wanted",)


def test_a_guarded_type_that_no_item_has_is_no_guard(tmp_path, capsys):
    path = pairs(tmp_path, "cd" * 200, ["safety", "fact"])
    assert refused(path, "--guard", "saftey,else") == (
        '--guard: no item has the type "saftey"; did you mean "safety"?',
        '--guard: no item has the type "else"; known are "fact", "safety"',
    )
    _, read = run(path, "--guard", "fact", capsys=capsys)
    assert [name for name, kind in read["by_type"].items() if "guard" in kind] == ["fact"]


def test_blank_lines_and_a_byte_order_mark_change_nothing(tmp_path, capsys):
    path = pairs(tmp_path, "abcd" * 80)
    _, before = run(path, capsys=capsys)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n\n"))
    assert run(path, capsys=capsys)[1] == before
