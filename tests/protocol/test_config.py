"""sluice.toml: defaults, all problems at once with their lines, a file that reads back to the same settings."""

import tomllib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.protocol.config import Config, GatesTable, RunTable, TrainTable, VerdictTable
from engine.protocol.config_file import KeyLines, dump_config, load_config, loosened, parse_config
from engine.protocol.errors import ConfigError


def problems(source: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(tomllib.loads(source), source=source, where="sluice.toml")
    return list(caught.value.problems)


def test_the_written_file_reads_back_to_the_defaults_and_comments_every_key() -> None:
    text = dump_config(Config())
    assert parse_config(tomllib.loads(text)) == Config()
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if " = " in line and not line.startswith("#"):
            assert lines[number - 1].startswith("# ") and len(lines[number - 1]) > 10, line


def test_changed_settings_survive_the_file() -> None:
    config = Config(
        run=RunTable(name="q32-lr1e4", seed=7),
        train=TrainTable(lr=1e-5, lora_targets=("q_proj", "v_proj")),
        gates=GatesTable(severity={"duplicates": "hard"}),
        verdict=VerdictTable(guarded=()),
    )
    assert parse_config(tomllib.loads(dump_config(config, comments=False))) == config


def test_text_with_quotes_backslashes_and_control_characters_survives() -> None:
    config = Config(data=msgspec.structs.replace(Config().data, train='a "b" \\ \x7f \x01 ü.jsonl'))
    assert parse_config(tomllib.loads(dump_config(config))) == config


def test_all_problems_come_at_once_with_line_key_value_and_remedy() -> None:
    found = problems('[train]\nlr = -0.1\nlrr = 3\nepochs = "x"\n\n[rum]\n')
    assert len(found) == 4
    assert found[0].startswith("sluice.toml, line 2: train.lr is -0.1") and "> 0" in found[0] and "0.0002" in found[0]
    assert found[1] == "sluice.toml, line 3: unknown key train.lrr; did you mean lr?"
    assert found[2].startswith("sluice.toml, line 4: train.epochs is 'x'; must be a whole number (found a text)")
    assert found[3] == "sluice.toml, line 6: unknown table [rum]; did you mean run?"


def test_a_table_given_as_a_value_is_named() -> None:
    assert problems("train = 3\n") == ["sluice.toml, line 1: train is 3; must be a table, written [train]"]


def test_of_a_choice_the_possible_values_are_named() -> None:
    found = problems('[run]\nprofile = "foo"\n[gates]\nseverity = { leakage = "soft" }\n')
    assert found[0].endswith("run.profile is 'foo'; must be one of stage1, external, for example \"stage1\"")
    assert found[1].endswith("must be one of hard, advisory")


def test_settings_that_contradict_each_other() -> None:
    found = problems(
        '[train]\nrow_tokens = 512\nmax_seq_len = 1024\n[eval]\nsubset = 100\n[verdict]\nguarded = ["auto", "safety"]\n'
    )
    assert [line.split(":")[0] for line in found] == ["sluice.toml, line 2", "sluice.toml, line 5", "sluice.toml, line 7"]


def test_missing_inputs_are_all_named(tmp_path) -> None:
    path = tmp_path / "sluice.toml"
    path.write_text('[model]\npath = "nowhere"\n[data]\ntrain = "train.jsonl"\n')
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    found = caught.value.problems
    assert len(found) == 3
    assert "line 2: model.path is 'nowhere'; there is no" in found[0]
    assert "line 4: data.train is 'train.jsonl'" in found[1]
    assert "data.held_out is missing" in found[2]


def test_why_an_input_is_not_there_is_said(tmp_path) -> None:
    (tmp_path / "loop.jsonl").symlink_to("loop.jsonl")
    (tmp_path / "moved.jsonl").symlink_to("elsewhere.jsonl")
    path = tmp_path / "sluice.toml"
    path.write_text('[model]\npath = "."\n[data]\ntrain = "loop.jsonl"\nheld_out = "moved.jsonl"\n')
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    loop, moved = caught.value.problems
    assert "line 4" in loop and loop.endswith("is a loop of symbolic links; name the file itself")
    assert "line 5" in moved and moved.endswith("is a symbolic link to elsewhere.jsonl, which is not there")


def test_paths_become_absolute_against_the_file(tmp_path) -> None:
    for name in ("train.jsonl", "held.jsonl"):
        (tmp_path / name).write_text("x")
    (tmp_path / "model").mkdir()
    path = tmp_path / "sluice.toml"
    path.write_text('[model]\npath = "model"\n[data]\ntrain = "train.jsonl"\nheld_out = "held.jsonl"\n')
    config = load_config(path)
    assert config.data.train == str(tmp_path / "train.jsonl")
    assert config.model.path == str(tmp_path / "model")


def test_inputs_that_are_gone_are_the_same_settings_still(tmp_path) -> None:
    (tmp_path / "model").mkdir()
    for name in ("train.jsonl", "held.jsonl"):
        (tmp_path / name).write_text("x")
    path = tmp_path / "sluice.toml"
    path.write_text('[model]\npath = "model"\n[data]\ntrain = "train.jsonl"\nheld_out = "held.jsonl"\n')
    before = load_config(path)
    (tmp_path / "held.jsonl").unlink()
    (tmp_path / "model").rmdir()
    assert load_config(path, inputs_must_exist=False) == before


def test_a_hub_name_is_left_for_the_loader(tmp_path) -> None:
    for name in ("train.jsonl", "held.jsonl"):
        (tmp_path / name).write_text("x")
    path = tmp_path / "sluice.toml"
    path.write_text('[model]\npath = "Qwen/Qwen2.5-32B"\n[data]\ntrain = "train.jsonl"\nheld_out = "held.jsonl"\n')
    assert load_config(path).model.path == "Qwen/Qwen2.5-32B"


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no such file"), (b"[train\n", "not valid TOML"), (b"\xff\xfe", "not UTF-8"), ("folder", "is a folder")],
)
def test_files_that_are_no_settings(tmp_path, content, said) -> None:
    path = tmp_path / "sluice.toml"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        load_config(path)


def test_key_lines_know_dotted_and_quoted_keys() -> None:
    lines = KeyLines('a.b = 1\n[gates]\n"max_runaway" = 0.5\n[gates.severity]\nduplicates = "hard"\n')
    assert lines.at("gates.max_runaway") == ", line 3"
    assert lines.at("gates.severity") == ", line 4"
    assert lines.at("nothing") == ""


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("", ()),
        ("[verdict]\nalpha = 0.005\n", ()),
        ("[verdict]\nalpha = 0.05\n", ("verdict.alpha",)),
        ("[gates]\nmin_provenance = 0.5\nmax_runaway = 0.01\n", ("gates.min_provenance",)),
        ('[run]\nprofile = "external"\n[verdict]\nguarded = []\n', ("run.profile", "verdict.guarded")),
        ('[verdict]\nguarded = ["format"]\n', ("verdict.guarded",)),
        ('[verdict]\nguarded = ["format", "safety", "fact"]\n', ()),
        ('[gates]\nseverity = { leakage = "advisory" }\n', ("gates.severity.leakage",)),
    ],
)
def test_only_loosened_settings_are_relaxed(source, names) -> None:
    assert loosened(parse_config(tomllib.loads(source))) == names


def test_fast_paths_that_nothing_can_carry_out() -> None:
    found = problems('[engine]\ndevice = "cpu"\n[plan]\nmirror = 3\ngraph = "on"\ncompile = "off"\n')
    assert [line.split(":")[0] for line in found] == ["sluice.toml, line 5"]
    assert 'plan.graph is "on" with engine.device "cpu"' in found[0]
    assert parse_config(tomllib.loads('[model]\nquantization = "none"\n[plan]\nmirror = 0\n')).plan.mirror == 0
    (found,) = problems('[model]\nquantization = "none"\n[plan]\nmirror = "full"\n')
    assert "nothing to mirror" in found
    found = problems('[model]\ncompute_dtype = "float32"\n[plan]\nadapters = "bfloat16"\nmirror = "none"\n')
    assert len(found) == 1 and "plan.adapters" in found[0] and "bfloat16" in found[0]


@pytest.mark.parametrize("value", ['"some"', "-1", "1.5", "true"])
def test_the_mirror_is_a_word_or_a_number_of_layers(value) -> None:
    (found,) = problems(f"[plan]\nmirror = {value}\n")
    assert found.startswith("sluice.toml, line 2: plan.mirror is")


def test_the_plan_is_speed_only_and_relaxes_nothing() -> None:
    text = '[plan]\ncheckpointing = "full"\nmirror = 3\ncompile = "off"\ngraph = "off"\nmargin = 0.0\n'
    assert loosened(parse_config(tomllib.loads(text))) == ()


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_mutated_file_is_settings_or_a_clean_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("config") / "sluice.toml"
    content = bytearray(dump_config(Config(), comments=False).encode())
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    path.write_bytes(bytes(content))
    try:
        assert isinstance(load_config(path, inputs_must_exist=False), Config)
    except ConfigError as error:
        assert error.problems and all("sluice.toml" in problem for problem in error.problems)
