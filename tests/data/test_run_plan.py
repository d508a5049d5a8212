"""What a run will be, from settings and files alone: the same counts as training has, on devices that are not there."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

import engine.demo
from engine.core.planner import CONTEXT_BYTES
from engine.data import run_plan, tokens
from engine.data.driver import DriverGpu, driver_gpus
from engine.data.run_plan import device_of_run, plan_run
from engine.protocol.config import Config, DataTable, EngineTable, EvalTable, ModelTable, TrainTable
from engine.protocol.errors import InputError, ModelError

ASSETS = Path(engine.demo.__file__).parent / "assets"
GIB = 2**30
BIG = {
    "model_type": "qwen2", "hidden_size": 5120, "intermediate_size": 27648, "num_hidden_layers": 64, "num_attention_heads": 40,
    "num_key_value_heads": 8, "vocab_size": 152_064, "tie_word_embeddings": False,
}  # fmt: skip


def settings(model: Path = ASSETS / "model", **tables: Any) -> Config:
    data = DataTable(train=str(ASSETS / "sft.jsonl"), held_out=str(ASSETS / "heldout.jsonl"))
    return Config(**{"model": ModelTable(path=str(model)), "data": data, **tables})


@pytest.fixture
def big_model(tmp_path: Path) -> Path:
    """A folder of a 32B model with a small tokenizer and no weights at all."""
    folder = tmp_path / "big"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(BIG))
    shutil.copy(ASSETS / "model" / "tokenizer.json", folder)
    return folder


def test_the_counts_are_those_of_training() -> None:
    """Compared with what `TrainingPlanned` said in a run of the demo's settings."""
    config = settings(
        train=TrainTable(batch_examples=16, epochs=1, max_seq_len=256, row_tokens=512), engine=EngineTable(device="cpu")
    )
    found = plan_run(config, device_of_run(config))
    assert (found.data.examples, found.data.dev_examples, found.data.tokens, found.data.response_tokens) == (
        1428,
        72,
        33639,
        12806,
    )
    assert (found.steps, found.data.sampled, found.data.dropped, found.data.truncated) == (90, 0, 0, 0)
    assert found.shape.adapter_parameters == 303_104
    assert found.chosen is not None and found.chosen.plan.row_tokens == 512 and found.device.kind == "cpu"
    evaluation = found.evaluation
    assert evaluation.items == evaluation.units == 396
    assert evaluation.smallest_lift == pytest.approx(0.050, abs=0.002)


def test_examples_are_cut_and_dropped_as_training_does() -> None:
    config = settings(train=TrainTable(max_seq_len=16, row_tokens=0))
    found = plan_run(config, device_of_run(config, vram_bytes=8 * GIB))
    assert found.data.longest == 16 and found.data.truncated > 0 and found.data.dropped > 0
    assert found.data.records == found.data.examples + found.data.dev_examples + found.data.dropped


def test_a_model_without_weights_is_planned_for_cards_that_are_not_there(big_model: Path) -> None:
    config = settings(big_model, eval=EvalTable(batch_items=32))
    large, small = (plan_run(config, device_of_run(config, vram_bytes=gib * GIB)) for gib in (141, 24))
    assert large.chosen is not None and large.chosen.plan.mirrored_layers == large.evaluation.decoding.mirrored_layers == 64
    assert small.chosen is not None and small.chosen.plan.recomputed_layers > 0 and small.chosen.peak_bytes < 24 * GIB
    assert 0 < small.evaluation.decoding.peak_bytes <= small.usable_bytes and not small.evaluation.decoding.refused
    none = plan_run(config, device_of_run(config, vram_bytes=16 * GIB))
    assert none.chosen is None and "may be used" in none.evaluation.decoding.refused


def test_a_batch_that_is_too_large_to_decode_says_what_to_lower(big_model: Path) -> None:
    config = settings(big_model, eval=EvalTable(batch_items=396, max_new_tokens=4096))
    refused = plan_run(config, device_of_run(config, vram_bytes=80 * GIB)).evaluation.decoding.refused
    assert refused.endswith("lower eval.batch_items")


def test_a_large_dataset_is_sampled_and_its_counts_are_estimates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MAX_SAMPLE_RECORDS", 400)
    config = settings()
    found = plan_run(config, device_of_run(config, vram_bytes=8 * GIB))
    assert (found.data.records, found.data.sampled) == (1500, 400)
    assert found.data.examples == pytest.approx(1428, rel=0.05)
    assert found.data.tokens == pytest.approx(33639, rel=0.1)
    assert found.steps == -(-found.data.examples // 8) * 3


def test_what_cannot_be_read_is_named(tmp_path: Path, big_model: Path) -> None:
    (big_model / "config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read as JSON"):
        plan_run(settings(big_model), device_of_run(settings()))
    with pytest.raises(InputError, match="no example is left to train on"):
        held = settings(train=TrainTable(max_seq_len=16))
        (tmp_path / "one.jsonl").write_text('{"instruction": "' + "word " * 40 + '", "response": "x"}\n')
        data = DataTable(train=str(tmp_path / "one.jsonl"), held_out=held.data.held_out)
        plan_run(msgspec.structs.replace(held, data=data), device_of_run(held))


def test_the_driver_is_asked_for_what_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA H200, 143771, 100000'\necho 'Odd, [N/A], [N/A]'\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert driver_gpus() == [DriverGpu("NVIDIA H200", 143771 << 20, 100000 << 20), DriverGpu("Odd", 0, 0)]
    device = device_of_run(Config())
    assert (device.kind, device.matrix_tflops, device.free_bytes) == ("cuda", 791, (100000 << 20) - CONTEXT_BYTES)
    assert device_of_run(Config(engine=EngineTable(device="cpu"))).kind == "cpu"
    asked = device_of_run(Config(), vram_bytes=48 * GIB)
    assert (asked.total_bytes, asked.free_bytes) == (48 * GIB, 48 * GIB - CONTEXT_BYTES)
    program.write_text("#!/bin/sh\nexit 9\n")
    assert driver_gpus() == [] and device_of_run(Config()).kind == "cpu"
    assert run_plan.device_of_run(Config(), vram_bytes=GIB, card="H100").bandwidth_gb_s == 3000
