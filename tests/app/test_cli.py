"""The command line as a person meets it: what is said about bad input, and the exit statuses of SPEC §9."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.commands.gates import marked_lines
from engine.demo.setup import lay_demo
from engine.protocol.gates import Evidence
from tests.endtoend.job import environment


def sluice(workspace: Path, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command that needs no model."""
    command = [sys.executable, "-m", "app.cli", *arguments]
    return subprocess.run(command, env=environment(workspace), cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def refused(done: subprocess.CompletedProcess[str], status: int, *said: str) -> None:
    assert done.returncode == status, done.stdout + done.stderr
    for text in said:
        assert text in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and "bug" not in done.stderr


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """The demo's folder; its sluice.toml can be changed."""
    return lay_demo(tmp_path / "demo").parent


def changed(folder: Path, before: str, after: str) -> Path:
    path = folder / "sluice.toml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    return path


def test_init_writes_settings_that_say_what_is_missing_and_never_overwrites(tmp_path) -> None:
    assert sluice(tmp_path, "init", str(tmp_path / "job")).returncode == 0
    refused(sluice(tmp_path, "init", str(tmp_path / "job")), 2, "is there already")
    done = sluice(tmp_path, "run", str(tmp_path / "job"))
    refused(done, 2, "model.path is missing", "data.train is missing", "data.held_out is missing")
    assert not (tmp_path / "checkpoints").exists()


def test_files_and_runs_that_are_not_there(tmp_path) -> None:
    refused(sluice(tmp_path, "run", str(tmp_path / "nothing.toml")), 2, "no such file")
    refused(sluice(tmp_path, "gates", str(tmp_path / "nothing.toml")), 2, "no such file")
    for command in ("watch", "stop", "resume", "report", "logs", "checkpoint"):
        refused(sluice(tmp_path, command, "nothing"), 2, "run 'nothing': there is none", "no run was made yet")
    refused(sluice(tmp_path, "watch", str(tmp_path)), 2, "is not a run folder")
    refused(sluice(tmp_path, "signoff", "last", "--name", "A. Person"), 2, "there is none")


def test_every_problem_of_the_settings_at_once_whatever_its_kind(demo, tmp_path) -> None:
    changed(demo, "max_grad_norm = 1.0", "max_grad_norm = -1.0")
    changed(demo, "subset = 0", "subset = 10")
    changed(demo, "severity = {}", 'severity = { duplcates = "hard" }')
    changed(demo, 'train = "sft.jsonl"', 'train = "other.jsonl"')
    done = sluice(tmp_path, "run", str(demo))
    refused(
        done,
        2,
        "train.max_grad_norm is -1.0",
        "eval.subset is 10",
        "'duplcates', which is no gate; did you mean duplicates?",
        "other.jsonl",
    )
    assert len(done.stderr.splitlines()) == 4


def test_a_model_without_safetensors_is_refused_before_a_run_is_made(demo, tmp_path) -> None:
    from engine.demo.assets import model_folder

    model = Path(shutil.copytree(model_folder(), tmp_path / "model"))
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    changed(demo, str(model_folder()), str(model))
    refused(sluice(tmp_path, "run", str(demo)), 2, "safetensors")
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize(("content", "said"), [("", "is empty"), ("{]\n", "line 1"), ("\x00\x01\xff", "sft.jsonl")])
def test_a_dataset_that_is_none_is_refused_with_its_place(demo, tmp_path, content, said) -> None:
    (demo / "sft.jsonl").write_text(content, encoding="latin-1")
    done = sluice(tmp_path, "gates", str(demo))
    assert done.returncode in (1, 2) and said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    ran = sluice(tmp_path, "run", str(demo), "--until", "gates")
    assert ran.returncode == done.returncode, ran.stderr


def test_gates_say_pass_or_blocked_and_json_has_everything(tmp_path) -> None:
    done = sluice(tmp_path, "gates", str(lay_demo(tmp_path / "sound").parent), "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["passed"] is True
    done = sluice(tmp_path, "gates", str(lay_demo(tmp_path / "faulty", faulty=True).parent))
    assert done.returncode == 1 and "BLOCKED by integrity" in done.stdout


def test_a_run_up_to_its_gates_is_done_and_the_faulty_one_is_blocked_with_the_way_on(demo, tmp_path) -> None:
    done = sluice(tmp_path, "run", str(demo), "--until", "gates", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "finished"
    blocked = sluice(tmp_path, "demo", "--faulty", "--headless", "--out", str(tmp_path))
    assert blocked.returncode == 1
    assert "Blocked." in blocked.stdout and "--override leakage" in blocked.stdout
    listed = sluice(tmp_path, "runs", "--json")
    assert sorted(run["state"] for run in json.loads(listed.stdout)) == ["blocked", "finished"]


def test_a_changed_sluice_toml_is_named_on_resume_and_frozen_settings_can_be_insisted_on(demo, tmp_path) -> None:
    assert sluice(tmp_path, "run", str(demo), "--until", "gates", "--json").returncode == 0
    changed(demo, "max_grad_norm = 1.0", "max_grad_norm = 2.0")
    refused(sluice(tmp_path, "resume", "last"), 2, "train.max_grad_norm was 1.0 and is 2.0", "--frozen")
    done = sluice(tmp_path, "resume", "last", "--frozen", "--until", "gates", "--json")
    assert done.returncode == 0, done.stderr


def test_overrides_want_a_known_gate_and_a_reason(demo, tmp_path) -> None:
    refused(sluice(tmp_path, "run", str(demo), "--override", "leakage"), 2, "give the reason with --reason")
    refused(sluice(tmp_path, "run", str(demo), "--override", "leak", "--reason", "x"), 2, "there is no such gate")


def test_an_override_that_would_change_nothing_is_refused_before_it_is_written_down(demo, tmp_path) -> None:
    path = demo / "heldout.jsonl"
    path.write_text(path.read_text() + '{"id": "x", "type": "fact", "instruction": "Say it.", "checks": [{"kind": "wordz"}]}\n')
    said = (sluice(tmp_path, "run", str(demo), "--override", "held-out", "--reason", "x"), 2, "no override covers", "line 397")
    refused(*said)
    assert not (tmp_path / "checkpoints").exists()
    assert sluice(tmp_path, "run", str(demo), "--until", "gates", "--json").returncode == 1
    refused(sluice(tmp_path, "resume", "last", "--override", "held-out", "--reason", "x"), 2, "no override covers", "line 397")
    assert not list(tmp_path.rglob("overrides.json"))


def test_evidence_is_shown_line_by_line_with_what_matters_marked() -> None:
    text = "H  Name the old mill by the river.\nT  So name the old mill by the river now.\nnothing here"
    spans = tuple((low, low + len("old mill")) for low in (text.index("old mill"), text.rindex("old mill")))
    assert marked_lines(Evidence(record="r", text=text, spans=spans)) == [
        "H  Name the «old mill» by the river.", "T  So name the «old mill» by the river now.",
    ]  # fmt: skip
    (line,) = marked_lines(Evidence(record="r", text="x" * 5000 + "mark" + "y" * 5000, spans=((5000, 5004),)))
    assert "«mark»" in line and line.startswith("…x") and line.endswith("y…") and len(line) < 200
    assert marked_lines(Evidence(record="r", text="a\n" * 9))[-1] == "… and 6 more lines"
    # a mark that goes on over the end of its line, and one to the end of the text
    assert marked_lines(Evidence(record="r", text="So.\nUser: a\nUser: b", spans=((4, 19),))) == ["«User: a»", "«User: b»"]
    assert marked_lines(Evidence(record="r", text="", spans=())) == [""]


def test_a_workspace_that_cannot_be_written_is_said_plainly(demo, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    refused(sluice(tmp_path / "file" / "below", "run", str(demo)), 2, "set SLUICE_WORKSPACE")
    refused(sluice(tmp_path / "file" / "below", "demo", "--headless"), 2, "Not a directory")


def test_a_reader_that_goes_away_is_no_failed_gate(demo, tmp_path) -> None:
    done = subprocess.run(
        ["bash", "-c", 'set -o pipefail; "$0" -m app.cli gates "$1" | head -1', sys.executable, str(demo)],
        env=environment(tmp_path), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr


def test_stats_score_and_their_bad_lines(tmp_path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(
        "".join(json.dumps({"id": f"i{n}", "type": "fact", "base": n < 100, "sft": n < 300}) + "\n" for n in range(400))
    )
    done = sluice(tmp_path, "stats", str(pairs), "--gate", "--guard", "", "--json")
    assert done.returncode in (0, 3), done.stderr
    assert json.loads(done.stdout)["overall"]["mcnemar"]["c"] == 200
    pairs.write_text('{"id": "a", "type": "fact", "base": true, "sft": "yes"}\n{"id": 3}\n')
    refused(sluice(tmp_path, "stats", str(pairs)), 2, "line 1", "line 2")
    refused(sluice(tmp_path, "stats", str(tmp_path / "none")), 2, "cannot be read")


def test_without_a_terminal_sluice_lists_runs_and_open_says_what_to_do(tmp_path) -> None:
    done = sluice(tmp_path)
    assert done.returncode == 0 and "sluice demo" in done.stdout
    assert sluice(tmp_path, "nonsense").returncode == 2


def test_doctor_tries_four_bit_layers_for_real(tmp_path) -> None:
    done = sluice(tmp_path, "doctor", "--json")
    found = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert found["nf4 cpu"]["status"] == "ok"
    assert found["libraries"]["status"] == "ok"


def test_what_a_message_quotes_of_a_file_does_not_drive_the_terminal(tmp_path: Path, demo: Path) -> None:
    path = changed(demo, "[run]\n", '[run]\n"a\\u001b[2Jb\\u202e" = 1\n')
    refused(sluice(tmp_path, "gates", str(path)), 2, "unknown key run.a␛[2Jb‹RLO›")
    changed(demo, '"a\\u001b[2Jb\\u202e" = 1\n', "")
    held_out = next(demo.glob("heldout.jsonl"))
    item = json.loads(held_out.read_text().splitlines()[0])
    held_out.write_text(json.dumps(item | {"id": "x\x1b]0;t\x07", "instruction": "Say <|im_end|> now."}) + "\n")
    done = sluice(tmp_path, "run", str(path), "--until", "gates", "--override", "contamination-guards", "--reason", "why")
    assert "␛]0;t␇" in done.stderr and "\x1b" not in done.stderr
