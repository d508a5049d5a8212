"""`sluice plan`: the whole page on a made-up 32B model, for cards that are not there."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import engine.demo
from app.commands.plan import plan
from engine.data.run_plan import RunPlan
from engine.protocol.errors import ConfigError, InputError

ASSETS = Path(engine.demo.__file__).parent / "assets"
GOLDEN = Path(__file__).parent / "golden" / "plan.txt"
BIG = {
    "model_type": "qwen2", "hidden_size": 5120, "intermediate_size": 27648, "num_hidden_layers": 64, "num_attention_heads": 40,
    "num_key_value_heads": 8, "vocab_size": 152_064, "tie_word_embeddings": False,
}  # fmt: skip


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a sluice.toml, the demo's data, and a 32B model without weights."""
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps(BIG))
    shutil.copy(ASSETS / "model" / "tokenizer.json", tmp_path / "model")
    for name in ("sft.jsonl", "heldout.jsonl"):
        shutil.copy(ASSETS / name, tmp_path)
    (tmp_path / "sluice.toml").write_text('[model]\npath = "model"\n[data]\ntrain = "sft.jsonl"\nheld_out = "heldout.jsonl"\n')
    return tmp_path


def test_the_page(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After a change that is meant: write what is printed into golden/plan.txt, and look at the difference."""
    plan.main([str(job), "--vram", "48GiB"], standalone_mode=False)
    shown = capsys.readouterr().out
    assert [line.rstrip() for line in shown.splitlines()] == GOLDEN.read_text().splitlines()
    assert max(map(len, shown.splitlines())) <= 80


def test_json_has_every_candidate(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan.main([str(job / "sluice.toml"), "--vram", "80 GB", "--card", "h100", "--json"], standalone_mode=False)
    found = msgspec.json.decode(capsys.readouterr().out, type=RunPlan)
    assert found.device.total_bytes == 80 * 10**9 and found.device.bandwidth_gb_s == 3000
    assert found.chosen in found.plans and len(found.plans) > 20


def test_a_card_that_is_named_has_its_own_memory(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan.main([str(job), "--card", "H100", "--json"], standalone_mode=False)
    found = msgspec.json.decode(capsys.readouterr().out, type=RunPlan)
    assert (found.device.kind, found.device.total_bytes) == ("cuda", 80 << 30)


def test_an_evaluation_that_does_not_fit_is_an_error_too(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = job / "sluice.toml"
    path.write_text(path.read_text() + "\n[eval]\nmax_new_tokens = 30000\nbatch_items = 396\n")
    with pytest.raises(ConfigError, match="the evaluation does not fit this device: its largest batch needs"):
        plan.main([str(job), "--vram", "48GiB"], standalone_mode=False)


def test_a_card_that_is_too_small_shows_the_table_and_says_what_to_change(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="no plan for training fits this device"):
        plan.main([str(job), "--vram", "16"], standalone_mode=False)
    assert "→" not in capsys.readouterr().out


def test_a_model_of_unknown_shape_and_a_forced_choice_are_said(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (job / "model" / "config.json").write_text(json.dumps(BIG | {"model_type": "gemma"}))
    plan.main([str(job), "--vram", "80GiB"], standalone_mode=False)
    assert "unknown shape: model_type is 'gemma'" in capsys.readouterr().out
    for odd, said in (
        ({"num_attention_heads": 10_000}, "do not go together"),
        ({"num_hidden_layers": 10**6}, "has 1,000,000 layers"),
    ):
        (job / "model" / "config.json").write_text(json.dumps(BIG | odd))
        plan.main([str(job), "--vram", "80GiB"], standalone_mode=False)
        assert said in " ".join(capsys.readouterr().out.split())
    (job / "model" / "config.json").write_text(json.dumps(BIG))
    with (job / "sluice.toml").open("a") as stream:
        stream.write('[plan]\nmirror = 5\ngraph = "off"\n')
    plan.main([str(job), "--vram", "80GiB"], standalone_mode=False)
    assert "forced     plan.mirror = 5, plan.graph = off" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"), [(["--vram", "lots"], "48GiB"), (["--vram", "0"], "48GiB"), (["--card", "Voodoo"], "RTX 4090")]
)
def test_options_that_mean_nothing(job: Path, options: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        plan.main([str(job), *options], standalone_mode=False)


def test_neither_torch_nor_transformers_is_loaded(job: Path) -> None:
    looked = (
        "import sys; from app.commands.plan import plan; plan.main([sys.argv[1], '--vram', '80'], standalone_mode=False); "
        "print([name for name in ('torch', 'transformers', 'bitsandbytes', 'datasets') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", looked, str(job)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
