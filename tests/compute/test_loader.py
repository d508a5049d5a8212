"""CleanModelLoader on a real tiny model, and every folder it must refuse."""

import contextlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import safetensors.torch
import torch

from engine.compute import loader, sentinels
from engine.compute.device import choose_device, choose_dtype, cpu_threads
from engine.compute.libraries import bitsandbytes
from engine.compute.loader import load_clean_model, load_tokenizer
from engine.compute.memory import memory_now
from engine.compute.sentinels import finding
from engine.data.model_folder import open_model_folder
from engine.protocol.config import Config
from engine.protocol.errors import EngineError, ModelError, SentinelError
from engine.protocol.events import Event, LibrariesLoaded, ModelLoaded, ModelLoadProgressed, SentinelRun, Warned


@pytest.fixture
def copied(tiny_model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model_folder, tmp_path / "copied"))


def change(path: Path, **changes: Any) -> None:
    found = json.loads(path.read_text())
    path.write_text(json.dumps(found | changes))


def refusal(folder: Path | str, *, allow: bool = False) -> str:
    with pytest.raises(ModelError) as caught:
        open_model_folder(str(folder), allow_instruction_tuned=allow)
    return str(caught.value)


def test_a_base_model_is_loaded_quantised_with_its_story_as_events(config_of: Callable[..., Config]) -> None:
    events: list[Event] = []
    loaded = load_clean_model(config_of(), emit=events.append)
    kinds = [type(event) for event in events if not isinstance(event, ModelLoadProgressed)]
    assert kinds == [LibrariesLoaded, ModelLoaded, SentinelRun, SentinelRun, SentinelRun]
    layers = [module for module in loaded.model.modules() if isinstance(module, bitsandbytes.nn.Linear4bit)]
    assert len(layers) == 14
    assert all(layer.weight.quant_type == "nf4" and layer.weight.quant_state.nested for layer in layers)
    assert all(layer.support_avx512bf16_for_cpu is False and layer.compute_dtype == torch.float32 for layer in layers)
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


def test_the_prompt_contract_holds(config_of: Callable[..., Config]) -> None:
    loaded = load_clean_model(config_of(), emit=lambda _: None)
    assert loaded.tokenizer.chat_template is None
    assert (loaded.end_id, loaded.pad_id) == (0, 0)
    for settings in (loaded.model.config, loaded.model.generation_config):
        assert (settings.eos_token_id, settings.pad_token_id, settings.bos_token_id) == (0, 0, None)
    assert loaded.model.generation_config.do_sample is False
    found = loaded.provenance
    assert found.template_disabled and found.chat_template_found and not found.add_special_tokens
    assert found.end_token == "<|endoftext|>"
    assert {file.name for file in found.files} >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert all(len(file.sha256) == 64 for file in found.files)
    assert len(found.source_sha256) == 64 and found.quantization == "nf4" and found.compute_dtype == "float32"
    assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found


def test_without_quantization_the_weights_are_those_of_the_file(config_of: Callable[..., Config]) -> None:
    loaded = load_clean_model(config_of(quantization="none"), emit=lambda _: None)
    assert not any(isinstance(module, bitsandbytes.nn.Linear4bit) for module in loaded.model.modules())
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}


def test_pickled_weights_are_refused_by_name(copied: Path) -> None:
    (copied / "model.safetensors").rename(copied / "pytorch_model.bin")
    message = refusal(copied)
    assert "no safetensors weights" in message and "pytorch_model.bin" in message


def test_missing_shards_are_listed(copied: Path) -> None:
    shards = {
        "a": "model-00001-of-00003.safetensors",
        "b": "model-00002-of-00003.safetensors",
        "c": "model-00003-of-00003.safetensors",
    }
    (copied / "model.safetensors").rename(copied / shards["b"])
    (copied / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    message = refusal(copied)
    assert "2 of 3 weight files are missing: model-00001-of-00003.safetensors, model-00003-of-00003.safetensors" in message


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_files_that_were_never_fetched_are_named(copied: Path, name: str) -> None:
    (copied / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
    assert f"{name}: is a pointer to a file that was never fetched" in refusal(copied)


@pytest.mark.parametrize("kept", [0, 5, 60, -1])
def test_weights_that_were_cut_short_are_named(copied: Path, kept: int) -> None:
    whole = (copied / "model.safetensors").read_bytes()
    (copied / "model.safetensors").write_bytes(whole[:kept])
    message = refusal(copied)
    assert "model.safetensors" in message and ("cut short" in message or "no whole safetensors" in message)


def test_code_from_the_repository_is_never_run(copied: Path) -> None:
    change(copied / "config.json", auto_map={"AutoModelForCausalLM": "modeling_own.Own"})
    assert "auto_map" in refusal(copied)


def test_other_quantized_checkpoints_are_refused(copied: Path) -> None:
    change(copied / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})
    assert "quantised already with gptq" in refusal(copied)


@pytest.mark.parametrize("name", ["Qwen2.5-7B-Instruct", "gemma-2-9b-it", "llama_chat", "model-SFT-v2"])
def test_a_name_that_says_instruction_tuned_is_refused_unless_allowed(tiny_model_folder: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(tiny_model_folder, tmp_path / name))
    assert "looks instruction-tuned" in refusal(folder)
    assert open_model_folder(str(folder), allow_instruction_tuned=True).instruction_tuned


@pytest.mark.parametrize("name", ["Qwen2.5-32B", "chatter", "little-bits", "instructive"])
def test_other_names_are_not(tiny_model_folder: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(tiny_model_folder, tmp_path / name))
    assert not open_model_folder(str(folder), allow_instruction_tuned=False).instruction_tuned


def test_a_chat_token_that_ends_texts_says_instruction_tuned(copied: Path) -> None:
    change(copied / "generation_config.json", eos_token_id=[2, 0])
    assert "generation_config.json ends a text with the chat token <|im_end|>" in refusal(copied)


def test_all_problems_come_at_once(copied: Path) -> None:
    (copied / "model.safetensors").unlink()
    (copied / "tokenizer.json").unlink()
    change(copied / "config.json", auto_map={"AutoConfig": "x.Y"}, quantization_config={"quant_method": "awq"})
    with pytest.raises(ModelError) as caught:
        open_model_folder(str(copied), allow_instruction_tuned=False)
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize(
    ("name", "said"),
    [("", "model.path is empty"), ("no/such/folder", "no such folder"), ("someone/some-model", "nothing is downloaded")],
)
def test_what_is_no_folder_is_said_plainly(name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in refusal(name)


def test_a_file_and_an_empty_folder_are_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "is a file" in refusal(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert "no config.json" in refusal(tmp_path / "empty")


def test_a_tokenizer_that_adds_tokens_is_refused(copied: Path, config_of: Callable[..., Config]) -> None:
    found = json.loads((copied / "tokenizer.json").read_text())
    found["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<|endoftext|>": {"id": "<|endoftext|>", "ids": [0], "tokens": ["<|endoftext|>"]}},
    }
    (copied / "tokenizer.json").write_text(json.dumps(found))
    with pytest.raises(ModelError, match="adds 1 special tokens"):
        load_clean_model(config_of(model=copied), emit=lambda _: None)


def test_the_end_token_is_the_config_s_and_not_the_tokenizer_s(copied: Path, config_of: Callable[..., Config]) -> None:
    change(copied / "tokenizer_config.json", eos_token="<|im_end|>", pad_token="<|im_start|>")
    loaded = load_clean_model(config_of(model=copied), emit=lambda _: None)
    assert (loaded.end_id, loaded.pad_id, loaded.tokenizer.eos_token) == (0, 1, "<|endoftext|>")


def test_a_model_that_says_one_thing_for_ever_fails_the_hard_sentinel(copied: Path, config_of: Callable[..., Config]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(copied / "model.safetensors")
    tensors["lm_head.weight"].zero_()
    tensors["lm_head.weight"][77] = tensors["model.norm.weight"]
    tensors["lm_head.weight"][78] = -tensors["model.norm.weight"]
    save_file(tensors, copied / "model.safetensors", metadata={"format": "pt"})
    events: list[Event] = []
    with pytest.raises(ModelError, match="sentinel plain-completion"):
        load_clean_model(config_of(model=copied), emit=events.append)
    assert [event.passed for event in events if isinstance(event, SentinelRun)] == [False]


def test_what_stands_behind_a_sentinels_end_token_is_padding() -> None:
    class Letters:
        def decode(self, ids: list[int], **_: Any) -> str:
            return "".join(map(chr, ids))

    words = [ord(letter) for letter in " a bridge"]
    found = sentinels._outcome(sentinels.SENTINELS[0], [*words, 0, 7, 7, 7], Letters(), 0, frozenset())
    assert (found.output, found.passed) == (" a bridge", True)


def test_a_worker_does_not_import_a_compiler() -> None:
    """bitsandbytes would, for fallbacks that nothing uses: two seconds a worker. torch.compile is what it was afterwards."""
    code = (
        "import sys, torch; compiles = torch.compile; import engine.compute.train; "
        "print('torch._inductor.compile_fx' in sys.modules, torch.compile is compiles)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.split() == ["False", "True"]


def test_what_a_sentinel_finds() -> None:
    assert finding([5, 6, 7], "a plain text", frozenset({1})) == ""
    assert "empty" in finding([], "", frozenset())
    assert "empty" in finding([9], " \n", frozenset())
    assert "chat-control" in finding([5, 1], "words", frozenset({1}))
    assert "<|im_end|>" in finding([5], "words <|im_end|>", frozenset())
    assert "stuck" in finding([4] * 9 + [5], "la la", frozenset())
    assert finding([4] * 7, "la la la", frozenset()) == ""


def test_an_adapter_that_is_not_there_is_said_plainly(config_of: Callable[..., Config], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no adapter_config.json, adapter_model.safetensors"):
        load_clean_model(config_of(), emit=lambda _: None, adapter=tmp_path)


def test_device_threads_and_dtype() -> None:
    assert cpu_threads(3) == 3
    assert 1 <= cpu_threads(0) <= 8
    cpu = torch.device("cpu")
    assert choose_dtype("auto", cpu) == torch.float32
    assert choose_dtype("bfloat16", cpu) == torch.bfloat16
    assert choose_device("cpu") == cpu
    if not torch.cuda.is_available():
        with pytest.raises(EngineError, match="torch sees no GPU"):
            choose_device("cuda")
    found = memory_now(cpu)
    assert found.rss_bytes > 50e6 and found.allocated_bytes is None


def word_level_tokenizer(folder: Path) -> None:
    """Replace the tokenizer by a word-level one, which a Qwen2 folder makes AutoTokenizer ignore."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {"<|endoftext|>": 0, "<unk>": 1, **{f"t{number}": number for number in range(2, 512)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))


def test_the_tokenizer_is_the_one_in_the_file_whatever_the_models_type_suggests(copied: Path) -> None:
    word_level_tokenizer(copied)
    tokenizer, _ = load_tokenizer(open_model_folder(str(copied), allow_instruction_tuned=False))
    assert tokenizer.encode("t5 t7 river", add_special_tokens=False) == [5, 7, 1]


def test_a_tokenizer_that_gives_no_tokens_is_refused(copied: Path) -> None:
    from tokenizers import Tokenizer, models

    Tokenizer(models.BPE()).save(str(copied / "tokenizer.json"))
    with pytest.raises(ModelError, match="gives no token at all"):
        load_tokenizer(open_model_folder(str(copied), allow_instruction_tuned=False))


def _without(folder: Path, name: str) -> None:
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    del tensors[name]
    safetensors.torch.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("quantization", ["nf4", "none"])
@pytest.mark.parametrize(
    "name", ["model.norm.weight", "model.layers.1.input_layernorm.weight", "model.layers.0.mlp.up_proj.weight"]
)
def test_weights_that_are_missing_are_named(config_of: Callable[..., Config], copied: Path, name: str, quantization: str) -> None:
    _without(copied, name)
    with pytest.raises(ModelError, match=re.escape(f"{copied}: the model cannot be loaded (")) as caught:
        load_clean_model(config_of(model=copied, quantization=quantization), emit=lambda _: None)
    assert "check that config.json and the weights belong together" in str(caught.value)
    assert name in str(caught.value)


def test_a_config_of_fewer_layers_is_told(config_of: Callable[..., Config], copied: Path) -> None:
    found = json.loads((copied / "config.json").read_text())
    change(copied / "config.json", num_hidden_layers=found["num_hidden_layers"] - 1, layer_types=None)
    told: list[Event] = []
    with contextlib.suppress(SentinelError):
        load_clean_model(config_of(model=copied), emit=told.append)
    (warning,) = (event.text for event in told if isinstance(event, Warned))
    assert "weights that config.json has no place for are left out: model.layers.1." in warning


def test_a_model_that_goes_away_is_told(config_of: Callable[..., Config], copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = loader.load_tokenizer

    def then_gone(folder: Any) -> Any:
        found = real(folder)
        shutil.rmtree(copied)
        return found

    monkeypatch.setattr(loader, "load_tokenizer", then_gone)
    with pytest.raises(ModelError, match="the folder is gone; put the model back"):
        load_clean_model(config_of(model=copied), emit=lambda _: None)


def test_an_adapter_in_the_models_folder_is_refused(copied: Path) -> None:
    (copied / "adapter_config.json").write_text("{}")
    assert f"{copied}: holds an adapter (adapter_config.json)" in refusal(copied)


def test_a_device_that_fails_says_nothing_of_the_model(config_of: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> None:
    def failed(*_: Any, **__: Any) -> Any:
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(loader.AutoModelForCausalLM, "from_pretrained", failed)
    with pytest.raises(RuntimeError, match="unspecified launch failure"):
        load_clean_model(config_of(), emit=lambda _: None)
