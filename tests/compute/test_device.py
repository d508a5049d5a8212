"""What fixes the last bits of a worker's arithmetic."""

import os
from collections.abc import Iterator

import pytest
import torch

from engine.compute import device
from engine.protocol.config import Config, EngineTable


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """torch as if it had a GPU, as far as settings go."""
    monkeypatch.setattr(device, "choose_device", lambda _: torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)


@pytest.mark.usefixtures("on_a_gpu")
def test_deterministic_asks_for_the_kernels_that_repeat_themselves() -> None:
    device.configure_torch(Config(engine=EngineTable(deterministic=True, threads=1)))
    assert torch.are_deterministic_algorithms_enabled() and not torch.is_deterministic_algorithms_warn_only_enabled()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


@pytest.mark.usefixtures("on_a_gpu")
def test_without_it_the_fast_attention_stays() -> None:
    device.configure_torch(Config(engine=EngineTable(threads=1)))
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ


def test_a_cpu_repeats_itself_without_being_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    config = Config(engine=EngineTable(device="cpu", deterministic=True, threads=1))
    assert not device.repeats_exactly(config, device.configure_torch(config))
    assert torch.are_deterministic_algorithms_enabled() and "CUBLAS_WORKSPACE_CONFIG" not in os.environ


@pytest.mark.parametrize("warn_only", [True, False])
def test_indexed_writes_are_left_unsorted_for_a_moment_only(warn_only: bool) -> None:
    torch.use_deterministic_algorithms(True, warn_only=warn_only)
    with pytest.raises(KeyError), device.unsorted():
        assert not torch.are_deterministic_algorithms_enabled()
        raise KeyError
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled() == warn_only
