"""The form for a new run driven by keys: what it tells of each field, and what it starts."""

import json
import shutil

import pytest
from textual.widgets import Button, Input

from app.new_run import FIELDS, found_files, look, sort_problems
from app.panel import Panel
from app.screens.new_run import NewRunScreen
from app.screens.picker import Picker
from app.screens.run import RunScreen
from app.screens.runs import RunsScreen
from app.screens.settings import SettingsScreen
from app.widgets.row_table import RowTable
from engine.demo.assets import model_folder
from engine.demo.setup import lay_demo
from engine.protocol.config_file import load_config

SIZE = (80, 24)


@pytest.fixture
def job(tmp_path, monkeypatch):
    """A folder with data files, and a workspace with two models, one of them never fetched."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    lay_demo(tmp_path / "job")
    (tmp_path / "job" / "sluice.toml").unlink()
    monkeypatch.chdir(tmp_path / "job")
    shutil.copytree(model_folder(), tmp_path / "w" / "models" / "good")
    pointer = tmp_path / "w" / "models" / "pointer"
    shutil.copytree(model_folder(), pointer)
    (pointer / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    return tmp_path / "job"


async def opened(pilot, until):
    await until(pilot, lambda: isinstance(pilot.app.screen, RunsScreen))
    await pilot.press("n")
    await until(pilot, lambda: isinstance(pilot.app.screen, NewRunScreen) and isinstance(pilot.app.focused, Input))
    return pilot.app.screen


def value(screen, key: str) -> str:
    return screen.query_one(f"#{next(field.widget_id for field in FIELDS if field.key == key)}", Input).value


async def test_a_run_is_started_by_keyboard_alone_from_what_is_on_this_machine(job, tmp_path, copied, shown, until, monkeypatch):
    run, asked = copied("blocked"), []
    monkeypatch.setattr(
        "app.screens.new_run.start_run", lambda path, root, gates_only: asked.append((path, root, gates_only)) or run
    )
    panel = Panel(tmp_path / "w")
    async with panel.run_test(size=SIZE) as pilot:
        screen = await opened(pilot, until)
        await until(pilot, lambda: "2 on this machine, 1 of them usable" in shown(panel))
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(panel.screen, Picker) and "✗ unusable" in shown(panel) and "✓ base" in shown(panel))
        await pilot.press("enter")
        await until(pilot, lambda: panel.screen is screen and "base model, 6 MiB" in shown(panel))
        for name in ("sft.jsonl", "heldout.jsonl"):
            await pilot.press("f2")
            await until(pilot, lambda: isinstance(panel.screen, Picker) and bool(panel.screen.query_one(RowTable).rows))
            panel.screen.query_one(RowTable).go_to(str(job / name))
            await pilot.press("enter")
            await until(pilot, lambda: panel.screen is screen)
        await until(pilot, lambda: "the first record has" in shown(panel))
        panel.screen.query_one("#run-name", Input).value = "mine"
        await pilot.press("f5")
        await until(pilot, lambda: isinstance(panel.screen, RunScreen))
        await pilot.press("0")
        await until(pilot, lambda: isinstance(panel.screen, RunsScreen))
    ((path, root, gates_only),) = asked
    assert gates_only and root == tmp_path / "w" and path == tmp_path / "w" / "jobs" / "mine" / "sluice.toml"
    config = load_config(path)
    assert config.model.path == str(tmp_path / "w" / "models" / "good") and config.run.profile == "external"
    assert (config.data.train, config.data.held_out) == (str(job / "sft.jsonl"), str(job / "heldout.jsonl"))


async def test_what_is_wrong_stands_under_its_field_and_nothing_starts(job, tmp_path, shown, until, monkeypatch):
    monkeypatch.setattr("app.screens.new_run.start_run", lambda *_, **__: pytest.fail("started"))
    panel = Panel(tmp_path / "w")
    async with panel.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, until)
        screen.query_one("#model-path", Input).value = str(tmp_path / "w" / "models" / "pointer")
        await pilot.press("enter", *"none.jsonl", "enter", "enter")
        await until(pilot, lambda: "pointer to a file that was never fetched" in shown(panel))
        screen.query_one("#run-name", Input).value = "Not This"
        await pilot.press("f6")
        expected = ("mended first", "No such file", "is needed", "lower-case")
        await until(pilot, lambda: all(words in shown(panel) for words in expected))
        await until(pilot, lambda: screen.query_one("#data-train", Input).has_focus)


async def test_a_problem_of_the_command_goes_to_its_field(job, tmp_path, shown, until):
    panel = Panel(tmp_path / "w")
    async with panel.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, until)
        for key, written in (("model-path", "no/such"), ("data-train", "sft.jsonl"), ("data-held-out", "heldout.jsonl")):
            screen.query_one(f"#{key}", Input).value = written
        await pilot.press("f5")
        await until(pilot, lambda: not screen.query_one("#check", Button).disabled and "local cache" in shown(panel))
        await until(pilot, lambda: screen.query_one("#model-path", Input).has_focus and "mended first" in shown(panel))


async def test_the_stage1_profile_asks_for_its_files(job, tmp_path, shown, until):
    panel = Panel(tmp_path / "w")
    async with panel.run_test(size=SIZE) as pilot:
        screen = await opened(pilot, until)
        assert "QC, pilot" not in shown(panel)
        screen.query_one("#run-profile", Input).focus()
        await pilot.press("f2")
        await until(pilot, lambda: "QC, pilot" in shown(panel) and value(screen, "run.profile") == "stage1")
        await until(pilot, lambda: "every gate is hard" in shown(panel))


async def test_a_sluice_toml_fills_the_form_in_and_is_what_runs(job, tmp_path, copied, shown, until, monkeypatch):
    path = lay_demo(tmp_path / "other")
    run, asked = copied("base"), []
    monkeypatch.setattr("app.screens.new_run.start_run", lambda path, root, gates_only: asked.append((path, gates_only)) or run)
    panel = Panel(tmp_path / "w")
    async with panel.run_test(size=SIZE) as pilot:
        screen = await opened(pilot, until)
        await pilot.press("up", *"nowhere", "enter")
        await until(pilot, lambda: "no such file" in shown(panel))
        screen.query_one("#settings-file", Input).value = str(path.parent)
        await pilot.press("enter")
        await until(pilot, lambda: value(screen, "run.name") == "demo" and "stage1" in shown(panel))
        assert "filled in below" in shown(panel) and screen.focused.id == "settings-file", "the answer stays in view"
        await pilot.press("f6")
        await until(pilot, lambda: isinstance(panel.screen, RunScreen))
    assert asked == [(path, False)]


async def test_every_problem_of_a_sluice_toml_can_be_read(job, tmp_path, shown, until):
    (job / "sluice.toml").write_text("[train]\nlr = -1.0\nepochz = 2\n", "utf-8")
    panel = Panel(tmp_path / "w")
    async with panel.run_test(size=SIZE) as pilot:
        await opened(pilot, until)
        await pilot.press("up", *str(job), "enter")
        await until(
            pilot, lambda: "train.lr is -1.0" in shown(panel) and "epochz" in shown(panel) and "data.held_out" in shown(panel)
        )


async def test_all_settings_can_be_changed_before_the_start(job, tmp_path, copied, shown, until, monkeypatch):
    run, asked = copied("base"), []
    monkeypatch.setattr("app.screens.new_run.start_run", lambda path, root, gates_only: asked.append(path) or run)
    panel = Panel(tmp_path / "w")
    async with panel.run_test(size=SIZE) as pilot:
        screen = await opened(pilot, until)
        for key, written in (("model-path", "../w/models/good"), ("data-train", "sft.jsonl"), ("data-held-out", "heldout.jsonl")):
            screen.query_one(f"#{key}", Input).value = written
        await pilot.press("f3")
        await until(pilot, lambda: isinstance(panel.screen, SettingsScreen) and isinstance(panel.focused, RowTable))
        panel.screen.query_one(RowTable).go_to("train.epochs")
        await pilot.press("enter", "backspace", "7", "enter", "b")
        await until(pilot, lambda: panel.screen is screen and "also set: train.epochs" in shown(panel))
        await pilot.press("f5")
        await until(pilot, lambda: isinstance(panel.screen, RunScreen))
    assert load_config(asked[0]).train.epochs == 7 and load_config(asked[0]).data.train == str(job / "sft.jsonl")


async def test_a_run_that_goes_on_is_named_as_the_one_to_queue_behind(copied, tmp_path, shown, until):
    run = copied("training")
    panel = Panel(tmp_path / "w")
    async with panel.run_test(size=SIZE) as pilot:
        await opened(pilot, until)
        await until(pilot, lambda: f"{run.run_id} goes on" in shown(panel) and "this run queues" in shown(panel))
        await pilot.press("f9")
        await until(pilot, lambda: isinstance(panel.screen, RunsScreen))


def test_a_first_look_at_files(tmp_path):
    path = tmp_path / "data.jsonl"
    for content, said in (
        ("", "is empty"),
        ("{]", "no JSON object"),
        ('{"instruction": "a"}', "lacks response"),
        ('["instruction"]', "lacks instruction, response"),
    ):
        path.write_text(content)
        found = look("data.train", str(path))
        assert found.problem and said in found.text
    path.write_text(json.dumps({"instruction": "a", "response": "b"}) + "\n{broken")
    assert not look("data.train", str(path)).problem
    path.write_text(json.dumps({"key": 1, "prompt": "a", "instruction_id_list": [], "kwargs": []}))
    assert not look("data.held_out", str(path)).problem
    assert "is a folder" in look("data.train", str(tmp_path)).text and look("data.qc_pilot", "").text == ""


def test_problems_find_their_fields():
    found = sort_problems(
        ["sluice.toml, line 4: data.train is 'x'; there is no /x", "/models/m: no tokenizer", "disk full"],
        {"model.path": "/models/m"},
    )
    assert found == {"data.train": "is 'x'; there is no /x", "model.path": "/models/m: no tokenizer", "": "disk full"}


def test_files_of_runs_and_caches_are_not_offered(tmp_path):
    for name in ("a.jsonl", "b.json", "sub/c.parquet", "checkpoints/d.jsonl", "cache/e.jsonl", ".git/f.jsonl", "1/2/3/4/g.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert [path.name for path in found_files("data.train", tmp_path, tmp_path)] == ["a.jsonl", "c.parquet"]
    assert [path.name for path in found_files("data.qc_pilot", tmp_path, tmp_path)] == ["b.json"]
