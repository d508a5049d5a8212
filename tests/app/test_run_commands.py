"""Commands on runs that exist: rerun, rename, note, rm, export, compare, models; and what resume says of a changed sluice.toml."""

import hashlib
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from app.cli import sluice
from app.commands.housekeeping import copy_line
from engine.demo.assets import model_folder
from engine.demo.setup import lay_demo
from engine.protocol.config_file import load_config
from engine.protocol.errors import InputError, RunBusyError, SluiceError
from engine.protocol.runs import RunFolder, find_run, list_runs, read_launch, read_summary
from engine.store.create_run import create_run


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workspace of the commands."""
    monkeypatch.setenv("SLUICE_WORKSPACE", str(tmp_path / "w"))
    return tmp_path / "w"


@pytest.fixture
def drafted(root: Path) -> RunFolder:
    """A run of the demo's settings that nobody started."""
    path = lay_demo(root / "demo")
    return create_run(load_config(path), root, source=path)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[RunFolder]:
    """The runs whose supervisors would have been started."""
    runs: list[RunFolder] = []
    monkeypatch.setattr("app.commands.launch.start_supervisor", lambda run, until=None: runs.append(run))
    return runs


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]):
    """Runs a command in this process; what it printed."""

    def call(*arguments: str) -> str:
        capsys.readouterr()
        sluice.main(args=list(arguments), standalone_mode=False)
        return capsys.readouterr().out

    return call


def copied(scene_of, root: Path, *names: str) -> list[RunFolder]:
    runs = []
    for name in names:
        source = scene_of(name).run.path
        runs.append(RunFolder(root / "checkpoints" / "stage1_sft" / source.name))
        shutil.copytree(source, runs[-1].path)
    return runs


def test_a_rerun_copies_the_settings_shows_the_difference_and_records_its_parent(root, drafted, started, say):
    said = say("rerun", "last", "train.lr=1e-4", "run.name=lower", "--detach")
    assert "train.lr" in said and "0.0005 → 0.0001" in said and '"demo" → "lower"' in said
    (made,) = started
    assert made.run_id != drafted.run_id and read_launch(made).parent == drafted.run_id
    before, after = load_config(drafted.config), load_config(made.config)
    assert (after.train.lr, after.run.name) == (1e-4, "lower") and after.data == before.data and after.model == before.model


def test_a_rerun_shown_only_makes_nothing(root, drafted, started, say):
    found = json.loads(say("rerun", "last", "epochs=3", "--dry-run", "--json"))
    assert found == {"parent": drafted.run_id, "differences": [{"key": "train.epochs", "before": "1", "after": "3"}]}
    assert "no setting differs" in say("rerun", "last", "--dry-run")
    assert not started and len(list_runs(root)) == 1


def test_every_wrong_change_is_told_at_once(root, drafted, started, say):
    with pytest.raises(InputError) as caught:
        say("rerun", "last", "train.epoch=3", "severity", "path=/x")
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["train.epoch", "'severity'"]
    assert "did you mean train.epochs" in caught.value.problems[0]
    with pytest.raises(InputError) as caught:
        say("rerun", "last", "train.lr=fast", "subset=12", "data.train=nothing.jsonl")
    told = "\n".join(caught.value.problems)
    assert "train.lr is 'fast'" in told and "eval.subset is 12" in told and "nothing.jsonl" in told
    assert not started and len(list_runs(root)) == 1


def test_a_changed_sluice_toml_stops_a_resume_and_the_rerun_it_offers_works(root, drafted, started, say):
    source = root / "demo" / "sluice.toml"
    source.write_text(source.read_text().replace("lr = 0.0005", "lr = 0.001").replace("seed = 0", "seed = 4"))
    with pytest.raises(InputError) as caught:
        say("resume", "last")
    *named, offer = caught.value.problems
    assert ["run.seed was 0 and is 4" in named[0], "train.lr was 0.0005 and is 0.001" in named[1]] == [True, True]
    offered = offer.partition("sluice ")[2].split()
    assert offered[:2] == ["rerun", drafted.run_id]
    say(*offered, "--detach")
    assert load_config(started[0].config).train.lr == 0.001 and load_config(started[0].config).run.seed == 4


def test_names_and_notes_are_shown_and_find_the_run(root, drafted, say):
    say("rename", "last", "first-try")
    say("note", "first-try", "with", "the", "new", "data")
    (listed,) = json.loads(say("runs", "--json"))
    assert (listed["name"], listed["note"], listed["state"]) == ("first-try", "with the new data", "draft")
    assert find_run("first", root).path == drafted.path and "with the new data" in say("runs")
    say("note", "first-try")
    assert read_summary(drafted).note == "" and read_summary(drafted).name == "first-try"
    for name in ("With Blanks", "last", "x" * 33):
        with pytest.raises(InputError, match="name"):
            say("rename", "first", name)
    with pytest.raises(InputError, match="501 characters"):
        say("note", "first", "x" * 501)


def test_a_live_run_is_not_removed_and_a_resting_one_only_when_asked_for(scene_of, root, say):
    live, resting = copied(scene_of, root, "training", "go")
    with pytest.raises(RunBusyError, match="goes on; stop it first"):
        say("rm", live.run_id, "--yes")
    with pytest.raises(InputError, match="nobody can be asked"):
        say("rm", resting.run_id)
    sizes = json.loads(say("rm", resting.run_id, "--sizes", "--json"))
    assert sizes["total"] == sum(path.stat().st_size for path in resting.path.rglob("*") if path.is_file())
    assert "freed" in say("rm", resting.run_id, "--yes")
    assert not resting.path.exists() and live.path.exists() and not list(live.path.parent.glob(".*"))


def test_an_export_has_everything_but_checkpoints_with_sums_that_agree(scene_of, root, tmp_path, say):
    (run,) = copied(scene_of, root, "go")
    (run.checkpoints / "step-4").mkdir(parents=True)
    (run.checkpoints / "step-4" / "optimizer.safetensors").write_bytes(b"x" * 9)
    said = json.loads(say("export", "last", "--json"))
    archive = Path(said["archive"])
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == said["sha256"]
    assert (archive.parent / "SHA256SUMS").read_text() == f"{said['sha256']}  {archive.name}\n"
    assert archive.stat().st_mode & 0o077 == 0 and str(archive.parent) in said["copy"]
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "out", filter="data")
    out = tmp_path / "out" / run.run_id
    sums = dict(reversed(line.split("  ")) for line in (out / "SHA256SUMS").read_text().splitlines())
    assert {"events.jsonl", "evaluation.json", "eval/sft.jsonl", "config.toml"} <= set(sums)
    assert not any(name.startswith(("checkpoints", "owner")) for name in sums)
    assert all(hashlib.sha256((out / name).read_bytes()).hexdigest() == digest for name, digest in sums.items())
    say("export", "last")
    (archive.parent / "mine.txt").write_text("")
    with pytest.raises(SluiceError, match="other files"):
        say("export", "last")


def test_the_copying_line_goes_where_the_machine_is_reached():
    place = Path("/w/exports/a b")
    assert "-P 2204" in copy_line(place, {"RUNPOD_PUBLIC_IP": "203.0.113.7", "RUNPOD_TCP_PORT_22": "2204"})
    assert "@203.0.113.9:" in copy_line(place, {"SSH_CONNECTION": "198.51.100.1 40000 203.0.113.9 22"})
    assert "'" in copy_line(place, {}) and "-P" not in copy_line(place, {})


def test_two_runs_side_by_side(scene_of, root, say):
    one, other = copied(scene_of, root, "go", "no-go")
    other.config.write_text('[run]\nname = "no-go"\n[train]\nlr = 1e-3\n')
    found = json.loads(say("compare", one.run_id, other.run_id, "--json"))
    assert [each["key"] for each in found["settings"]] == ["run.name", "train.lr"]
    assert (found["first"]["decision"], found["second"]["decision"]) == ("GO", "NO-GO")
    assert found["first"]["overall"]["lift"] > 0.4 and found["second"]["by_type"]["safety"]["lift"] < 0
    assert len(found["first"]["curve"]) == 360 and found["first"]["dev"]
    said = say("compare", one.run_id, other.run_id)
    assert "settings that differ" in said and "NO-GO" in said and "safety" in said and "not a test between" in said


def test_a_comparison_with_a_run_that_has_no_verdict_says_so(scene_of, root, say):
    one, other = copied(scene_of, root, "go", "failed")
    said = say("compare", one.run_id, other.run_id)
    assert f"no verdict yet: {other.run_id}" in said and "failed" in said


def shards(folder: Path, *, instruct: bool = False) -> Path:
    shutil.copytree(model_folder(), folder)
    if instruct:
        (folder / "generation_config.json").write_text('{"eos_token_id": 7}')
    return folder


def test_models_of_workspace_and_cache_with_what_is_wrong_with_each(root, tmp_path, say, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    assert "No models" in say("models")
    shards(root / "models" / "good")
    shards(root / "models" / "org" / "tiny-Instruct")
    pointer = shards(root / "models" / "pointer") / "model.safetensors"
    pointer.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n")
    split = shards(root / "models" / "split")
    (split / "model.safetensors").unlink()
    (split / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-00001-of-00002.safetensors"}}')
    shards(tmp_path / "hub" / "models--org--cached" / "snapshots" / "0123")
    (tmp_path / "hub" / "models--org--cached" / "refs").mkdir()
    (tmp_path / "hub" / "models--org--cached" / "refs" / "main").write_text("0123")
    found = {model["name"]: model for model in json.loads(say("models", "--json"))}
    assert found["good"]["problems"] == [] and found["good"]["tuned"] == "" and found["good"]["size_bytes"] > 1e6
    assert found["org/cached"]["value"] == "org/cached" and found["org/cached"]["source"] == "cache"
    assert "Instruct" in found["org/tiny-Instruct"]["tuned"]
    assert "pointer" in found["pointer"]["problems"][0] and "1 of 1 weight files are missing" in found["split"]["problems"][0]
    assert list(found)[:2] == ["good", "org/cached"]
    assert "instruct" in say("models")
