"""A small dataset and a stand-in for the worker's context, shared by the tests of training."""

import copy
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.protocol.config import Config, DataTable, EngineTable, ModelTable, RunTable, TrainTable
from engine.protocol.events import Event
from engine.protocol.runs import RunFolder

WORDS = ("red", "green", "river", "town", "bridge", "water", "boat", "old", "new", "three", "people", "animals")


@dataclass
class StandInContext:
    """A worker's context without a supervisor: events are kept, a stop comes after the step that is named."""

    run: RunFolder
    config: Config
    stop_after: int | None = None
    checkpoint_after: int | None = None
    events: list[Event] = field(default_factory=list)
    displaced: BaseException | None = None

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def _last_step(self) -> int:
        return max((event.step for event in self.events if type(event).__name__ == "StepTrained"), default=0)

    def stop_requested(self) -> bool:
        return self.stop_after is not None and self._last_step() >= self.stop_after

    def take_checkpoint_request(self) -> bool:
        asked = self.checkpoint_after is not None and self._last_step() >= self.checkpoint_after
        if asked:
            self.checkpoint_after = None
        return asked

    def check_ownership(self) -> None:
        if self.displaced is not None:
            raise self.displaced


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 records that ask for three words backwards."""
    rng, path = random.Random(5), tmp_path_factory.mktemp("data") / "train.jsonl"
    lines = []
    for index in range(60):
        words = rng.sample(WORDS, 3)
        record = {"id": f"r{index}", "instruction": f"Write {' '.join(words)} backwards", "response": " ".join(reversed(words))}
        lines.append(json.dumps(record))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="session", autouse=True)
def own_workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Of the session, so that the fixtures that load a model once do not write into the checkout."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SLUICE_WORKSPACE", str(tmp_path_factory.getbasetemp() / "workspace"))
        yield


@pytest.fixture
def config_of(tiny_model_folder: Path, dataset: Path) -> Callable[..., Config]:
    """Settings of a short run on the tiny model; arguments replace those of [train]."""

    def make(*, quantization: str = "nf4", model: Path | None = None, **train: Any) -> Config:
        defaults: dict[str, Any] = {"epochs": 1, "lr": 2e-3, "max_seq_len": 128, "dev_share": 0.2, "dev_every_steps": 3}
        return msgspec.convert(
            msgspec.to_builtins(
                Config(
                    run=RunTable(seed=11),
                    model=ModelTable(path=str(model or tiny_model_folder), quantization=quantization),
                    data=DataTable(train=str(dataset)),
                    train=TrainTable(**(defaults | train)),
                    engine=EngineTable(device="cpu", threads=1),
                )
            ),
            Config,
        )

    return make


@pytest.fixture(scope="session")
def loaded_models() -> Iterator[dict[Any, Any]]:
    """Models that `train_stage` has loaded, untouched, so that the tests of training wait for each of them once."""
    models: dict[Any, Any] = {}
    yield models
    models.clear()


@pytest.fixture
def copies_of_loaded_models(loaded_models: dict[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Training gets a deep copy of a model that was loaded before from the same settings, with the threads and seed set again."""
    from engine.compute import train
    from engine.compute.device import configure_torch
    from engine.compute.loader import load_clean_model

    def load(config: Config, *, emit: Callable[[Event], None]) -> Any:
        if config.model not in loaded_models:
            loaded_models[config.model] = load_clean_model(config, emit=emit)
        configure_torch(config)
        found = loaded_models[config.model]
        return replace(found, model=copy.deepcopy(found.model))

    monkeypatch.setattr(train, "load_clean_model", load)


@pytest.fixture
def context_of(tmp_path: Path, config_of: Callable[..., Config]) -> Callable[..., StandInContext]:
    """A context on a fresh run folder named `name`, or on the one that is there already."""

    def make(
        name: str = "run", *, stop_after: int | None = None, checkpoint_after: int | None = None, **train: Any
    ) -> StandInContext:
        run = RunFolder(tmp_path / name)
        run.path.mkdir(exist_ok=True)
        return StandInContext(run, config_of(**train), stop_after, checkpoint_after)

    return make
