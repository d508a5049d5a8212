"""`sluice score`: responses by id, by IFEval key or by prompt; what does not fit is listed and nothing is scored."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.commands.report import score
from engine.protocol.errors import InputError

NATIVE = {"id": "a", "type": "fact", "instruction": "Say yes.", "checks": [{"kind": "contains", "all": ["yes"]}]}
IFEVAL = {"key": 7, "prompt": "No commas.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}


def written(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return path


def scored(folder: Path, *responses: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    items = written(folder / "items.jsonl", NATIVE, IFEVAL)
    assert score.main([str(items), str(written(folder / "responses.jsonl", *responses))], standalone_mode=False) == 0
    return [msgspec.json.decode(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("name", [{"key": 7}, {"id": 7}, {"id": "7"}, {"prompt": "No commas."}])
def test_a_response_is_found_by_any_name(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: dict[str, Any]) -> None:
    native, ifeval = scored(
        tmp_path, {**name, "response": "Well, here:\nnone"}, {"prompt": "Say yes.", "response": "yes"}, capsys=capsys
    )
    assert (native["id"], native["success"], native["type"]) == ("a", True, ["fact"]) and "loose_success" not in native
    assert (ifeval["success"], ifeval["loose_success"], ifeval["type"]) == (False, True, ["punctuation"])
    assert ifeval["checks"][0] == {
        "kind": "ifeval", "success": False, "reason": "punctuation:no_comma: must not have commas, has 1",
    }  # fmt: skip


def test_what_does_not_fit_is_listed_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError) as caught:
        scored(
            tmp_path, {"id": "b", "response": ""}, {"prompt": "Other.", "response": ""}, {"response": ""}, {"key": 7, "response": ""},
            {"key": 7, "response": ""}, capsys=capsys,
        )  # fmt: skip
    problems = caught.value.problems
    for place, expected in enumerate(
        (
            '"b" is no item',
            '"Other." is no item',
            'line 3: it names no item; give "id", "key" or "prompt"',
            'item "7" has a response already',
            'no response for item "a"',
        )
    ):
        assert expected in problems[place]
    assert len(problems) == 5 and capsys.readouterr().out == ""


def test_bad_items_and_bad_responses_come_in_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = written(tmp_path / "items.jsonl", {**NATIVE, "checks": [{"kind": "contians", "all": ["yes"]}]})
    responses = written(tmp_path / "responses.jsonl", {"id": "a"})
    with pytest.raises(InputError) as caught:
        score.main([str(items), str(responses)], standalone_mode=False)
    kind, missing = caught.value.problems
    assert 'the nearest known one is "contains"' in kind and "missing required field `response`" in missing
    assert capsys.readouterr().out == ""
