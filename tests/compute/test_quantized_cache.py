"""The quantised copy of a model: the same weights to the bit, keyed by what decides them, and never needed."""

import shutil
from pathlib import Path
from typing import Any

import pytest
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


def test_a_damaged_copy_is_told_and_made_again(tiny_model_folder: Path) -> None:
    first = load(tiny_model_folder, [])
    (copy,) = copies()
    (weights,) = copy.glob("*.safetensors")
    weights.write_bytes(b"nothing")
    told: list[Event] = []
    again = load(tiny_model_folder, told)
    assert torch.equal(logits(first), logits(again))
    assert ["quantised again" in event.text for event in told if isinstance(event, Warned)] == [True]
    assert weights.stat().st_size > 1000


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
