"""The quantised copy of a model: the same weights to the bit, keyed by what decides them, and never needed."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from engine.compute import loader, quantized_cache
from engine.compute.loader import LoadedModel, load_clean_model
from engine.protocol.config import Config, EngineTable, ModelTable
from engine.protocol.events import Event, Warned
from engine.protocol.runs import workspace


@pytest.fixture(autouse=True)
def small_models_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(loader, "LEAST_BYTES", 0)
    monkeypatch.setenv("SLUICE_WORKSPACE", str(tmp_path / "workspace"))


def load(folder: Path, told: list[Event], **model: Any) -> LoadedModel:
    config = Config(model=ModelTable(path=str(folder), **model), engine=EngineTable(device="cpu", threads=1))
    return load_clean_model(config, emit=told.append)


def copies() -> list[Path]:
    return sorted((workspace() / "cache" / "nf4").glob("*"))


def logits(loaded: LoadedModel) -> torch.Tensor:
    with torch.no_grad():
        return loaded.model(input_ids=torch.arange(3, 40).unsqueeze(0)).logits


def test_the_second_start_reads_the_copy_and_has_the_same_weights(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Event] = []
    first = load(tiny_model_folder, told)
    (copy,) = copies()
    assert copy.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in copy.iterdir())
    read: list[Path] = []
    real = loader.AutoModelForCausalLM.from_pretrained

    def noted(path: Path, **settings: Any) -> Any:
        read.append(Path(path))
        return real(path, **settings)

    monkeypatch.setattr(loader.AutoModelForCausalLM, "from_pretrained", noted)
    second = load(tiny_model_folder, told)
    assert read == [copy]
    assert torch.equal(logits(first), logits(second))
    assert (first.provenance.files, first.provenance.quantization) == (second.provenance.files, second.provenance.quantization)
    assert not [event for event in told if isinstance(event, Warned)]


def _payload_flipped(copy: Path) -> None:
    (weights,) = copy.glob("*.safetensors")
    data = bytearray(weights.read_bytes())
    data[-2000:-1900] = bytes(byte ^ 0x10 for byte in data[-2000:-1900])
    weights.write_bytes(data)


def _tensor(copy: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    (weights,) = copy.glob("*.safetensors")
    tensors = safetensors.torch.load_file(weights)
    change(tensors)
    safetensors.torch.save_file(tensors, weights, metadata={"format": "pt"})


def _named(tensors: dict[str, torch.Tensor], part: str) -> str:
    return next(name for name in sorted(tensors) if part in name)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no safetensors": lambda copy: next(copy.glob("*.safetensors")).write_bytes(b"nothing"),
    "payload flipped": _payload_flipped,
    "norm gone": lambda copy: _tensor(copy, lambda tensors: tensors.pop(_named(tensors, "layernorm.weight"))),
    "linear gone": lambda copy: _tensor(copy, lambda tensors: tensors.pop(_named(tensors, "q_proj.weight"))),
    "quantisation zeroed": lambda copy: _tensor(copy, lambda tensors: tensors[_named(tensors, "quant_state")].zero_()),
    "weights gone": lambda copy: next(copy.glob("*.safetensors")).unlink(),
    "no list": lambda copy: (copy / "copy.json").unlink(),
    "config of another model": lambda copy: (copy / "config.json").write_text("{}"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_copy_is_told_and_made_again(tiny_model_folder: Path, damage: str) -> None:
    first = load(tiny_model_folder, [])
    (copy,) = copies()
    whole = {path.name: path.read_bytes() for path in copy.iterdir()}
    DAMAGES[damage](copy)
    told: list[Event] = []
    again = load(tiny_model_folder, told)
    assert torch.equal(logits(first), logits(again))
    assert ["quantised again" in event.text for event in told if isinstance(event, Warned)] == [True]
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == whole


def test_what_a_killed_writer_left_is_removed_and_no_copy(tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left, being_written = (workspace() / "cache" / "nf4" / f".{'a' * 32}.{end}.tmp" for end in ("0a1b2c3d", "4e5f6a7b"))
    for folder in (left, being_written):
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"some")
    for path in (left, left / "model.safetensors"):
        os.utime(path, (1e9, 1e9))
    assert not quantized_cache.has_copies()
    load(tiny_model_folder, [])
    assert not left.exists() and being_written.exists()
    assert quantized_cache.has_copies()


def test_a_copy_that_another_run_made_meanwhile_is_left(tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(tiny_model_folder, []).model
    (copy,) = copies()
    before = {path.name: path.stat().st_ino for path in copy.iterdir()}
    assert quantized_cache.keep_quantized(model, copy, leave_bytes=0) == ""
    assert {path.name: path.stat().st_ino for path in copy.iterdir()} == before


def test_without_room_the_models_own_files_serve(tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantized_cache, "COPY_ROOM", 1e12)
    told: list[Event] = []
    load(tiny_model_folder, told)
    assert copies() == []
    assert [event.text.startswith("the quantised weights are not kept") for event in told if isinstance(event, Warned)] == [True]


def test_the_room_of_checkpoints_and_records_is_left_alone(tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(tiny_model_folder, [], cache_quantized=False).model
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    path = tiny_model_folder.parent / "copy"
    free = 1000 + int(quantized_cache.COPY_ROOM * size)
    monkeypatch.setattr(quantized_cache.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(free, 0, free))  # type: ignore[attr-defined]
    assert "checkpoints and records included" in quantized_cache.keep_quantized(model, path, leave_bytes=1001)
    assert not path.exists()
    assert quantized_cache.keep_quantized(model, path, leave_bytes=900) == ""
    shutil.rmtree(path)


@pytest.mark.parametrize("settings", [{"cache_quantized": False}, {"quantization": "none"}])
def test_nothing_is_kept_where_it_is_not_asked_for(tiny_model_folder: Path, settings: dict[str, Any]) -> None:
    load(tiny_model_folder, [], **settings)
    assert copies() == []


def test_the_key_is_what_decides_the_weights(tiny_model_folder: Path) -> None:
    files = load(tiny_model_folder, [], cache_quantized=False).provenance.files
    here = quantized_cache.cached_weights(files, torch.float32)
    assert here != quantized_cache.cached_weights(files, torch.bfloat16)
    assert here != quantized_cache.cached_weights(files[1:], torch.float32)
    assert here == quantized_cache.cached_weights(files, torch.float32)
