"""The hashes of a model's files, taken beside its loading: the same hashes, in nobody's way, and ended with a loading that fails."""

import hashlib
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.compute import loader
from engine.compute.loader import load_clean_model
from engine.compute.provenance import hashing
from engine.data.model_folder import open_model_folder
from engine.protocol.config import Config, EngineTable, ModelTable
from engine.protocol.errors import ModelError
from engine.store.hashes import RememberedHashes

DEADLINE_S = 120.0


@pytest.fixture(autouse=True)
def own_workspace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLUICE_WORKSPACE", str(tmp_path / "workspace"))


def load(folder: Path) -> Any:
    config = Config(model=ModelTable(path=str(folder)), engine=EngineTable(device="cpu", threads=1))
    return load_clean_model(config, emit=lambda _: None)


def test_every_file_has_its_hash(tiny_model_folder: Path) -> None:
    folder = open_model_folder(str(tiny_model_folder), allow_instruction_tuned=False)
    with hashing(folder.files) as hashes:
        found = hashes.result()
    assert [(file.name, file.size_bytes, file.sha256) for file in found] == [
        (path.name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()) for path in folder.files
    ]
    assert len(found) >= 3


def test_hashes_taken_at_once_are_all_remembered(tmp_path: Path, tiny_model_folder: Path) -> None:
    folder = open_model_folder(str(tiny_model_folder), allow_instruction_tuned=False)
    with hashing(folder.files) as hashes:
        found = hashes.result()
    read: list[int] = []
    again = RememberedHashes(tmp_path / "workspace" / "cache" / "file_hashes.json")
    assert [again.sha256(path, read.append) for path in folder.files] == [file.sha256 for file in found]
    assert read == []


@pytest.mark.parametrize("keeps_copies", [False, True])
def test_the_weights_are_read_while_the_files_are_hashed(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch, keeps_copies: bool
) -> None:
    # a copy can only be looked for by its hashes, so that they must not be waited for where none is there
    monkeypatch.setattr(loader, "LEAST_BYTES", 0 if keeps_copies else 2**60)
    being_read, real_read, real_hash = threading.Event(), loader._from_folder, RememberedHashes.sha256

    def read(*arguments: Any, **settings: Any) -> Any:
        being_read.set()
        return real_read(*arguments, **settings)

    def hashed(self: RememberedHashes, path: Path, on_progress: Callable[[int], None] | None = None) -> str:
        assert being_read.wait(DEADLINE_S), "the weights wait for the hashes"
        return real_hash(self, path, on_progress)

    monkeypatch.setattr(loader, "_from_folder", read)
    monkeypatch.setattr(RememberedHashes, "sha256", hashed)
    loaded = load(tiny_model_folder)
    assert {file.name for file in loaded.provenance.files} >= {"config.json", "model.safetensors"}


def test_a_loading_that_fails_does_not_wait_for_hashes(tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashing_now, ended = threading.Event(), threading.Event()

    def never_done(self: RememberedHashes, path: Path, on_progress: Callable[[int], None]) -> str:
        hashing_now.set()
        try:
            while True:
                on_progress(1)
        finally:
            ended.set()

    def broken(*_: Any, **__: Any) -> Any:
        assert hashing_now.wait(DEADLINE_S)
        raise ModelError("the model cannot be loaded")

    monkeypatch.setattr(RememberedHashes, "sha256", never_done)
    monkeypatch.setattr(loader, "_from_folder", broken)
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(tiny_model_folder)
    assert ended.is_set()


def test_files_that_cannot_be_read_are_told_all_at_once(tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_hash = RememberedHashes.sha256

    def unreadable(self: RememberedHashes, path: Path, on_progress: Callable[[int], None]) -> str:
        if path.name == "config.json":
            return real_hash(self, path, on_progress)
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(RememberedHashes, "sha256", unreadable)
    with pytest.raises(ModelError) as caught:
        load(tiny_model_folder)
    told = str(caught.value)
    assert f"{tiny_model_folder / 'model.safetensors'}: cannot be read (Input/output error)" in told
    assert "tokenizer.json: cannot be read" in told
    assert "config.json: cannot be read" not in told.replace("generation_config", "").replace("tokenizer_config", "")


def test_weights_that_change_while_they_are_loaded_are_refused_and_not_kept(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = Path(shutil.copytree(tiny_model_folder, tmp_path / "changing"))
    monkeypatch.setattr(loader, "LEAST_BYTES", 0)
    real = loader._from_folder

    def changed_meanwhile(*arguments: Any, **settings: Any) -> Any:
        weights = copied / "model.safetensors"
        data = weights.read_bytes()
        weights.unlink()
        weights.write_bytes(data)
        return real(*arguments, **settings)

    monkeypatch.setattr(loader, "_from_folder", changed_meanwhile)
    with pytest.raises(ModelError, match=r"model\.safetensors: changed while it was loaded"):
        load(copied)
    assert not (tmp_path / "workspace" / "cache" / "nf4").exists()
