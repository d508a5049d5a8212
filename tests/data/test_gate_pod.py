"""The gate on the machine: what nvidia-smi tells against the memory plan, bf16, and where runs and caches lie; on cards that are not there."""

import json
import shutil

import pytest

from engine.data import driver
from engine.data.driver import driver_gpus
from engine.data.gate_families import pod
from engine.data.run_plan import device_of_run
from engine.protocol.config import Config, EngineTable, EvalTable, ModelTable, PlanTable, TrainTable
from tests.data.dataset import ASSETS

CPU = {"engine": EngineTable(device="cpu")}
CUDA = {"engine": EngineTable(device="cuda")}
H200 = "NVIDIA H200, 143771, 143000, 0, GPU-aaaa-1, 9.0"
T4 = "Tesla T4, 15360, 15000, 1, GPU-bbbb-2, 7.5"


@pytest.fixture
def cards(tmp_path, monkeypatch):
    """Makes an nvidia-smi that shows the given lines; `old`: one that does not know the compute capability."""
    folder = tmp_path / "driver"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def show(*lines, old=False):
        refusal = 'case "$1" in *compute_cap*) exit 2;; esac\n' if old else ""
        program = folder / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{refusal}" + "".join(f"echo '{line}'\n" for line in lines))
        program.chmod(0o700)

    return show


def test_a_card_with_bf16_and_room_passes_and_binds(small, cards):
    cards(H200)
    for options in (CUDA, {"engine": EngineTable(device="auto")}):
        gate = small.check(**options)["pod"]
        assert (gate.status, gate.severity) == ("pass", "hard"), gate.reason
        assert gate.measured.startswith("NVIDIA H200, bf16, 139.6 GiB of 140.4 GiB free, ")
        assert gate.threshold.startswith("bf16, GPU memory ≥ ")
    assert small.check(engine=EngineTable(device="cpu"))["pod"].severity == "advisory"


def test_a_card_without_bf16_fails_unless_the_settings_do_without(small, cards):
    cards(T4)
    gate = small.check(**CUDA)["pod"]
    assert (gate.status, gate.blocking) == ("fail", True) and "has no bf16 (compute capability 7.5" in gate.reason
    gate = small.check(**CUDA, model=ModelTable(path=str(ASSETS / "model"), compute_dtype="float32"))["pod"]
    assert gate.status == "pass" and "bf16" not in gate.threshold


def test_what_the_driver_does_not_tell_is_said_and_left_to_the_preflight(small, cards):
    cards("NVIDIA H200, 143771, 143000, 0, GPU-aaaa-1", old=True)
    gate = small.check(**CUDA)["pod"]
    assert gate.status == "pass" and "whether the card has bf16 the driver does not tell" in gate.reason
    cards("Odd, [N/A], [N/A], 0, GPU-aaaa-1, [N/A]")
    gate = small.check(**CUDA)["pod"]
    assert gate.status == "pass" and "the card's memory the driver does not tell" in gate.reason


def test_a_card_that_others_have_filled_fails_against_the_memory_plan(small, cards):
    cards("NVIDIA H200, 143771, 600, 0, GPU-aaaa-1, 9.0")
    gate = small.check(**CUDA)["pod"]
    assert gate.status == "fail" and "training does not fit the GPU" in gate.reason and "evaluation does not fit" in gate.reason


def test_an_evaluation_that_does_not_fit_says_what_to_lower(small, cards):
    cards("NVIDIA L4, 23034, 22500, 0, GPU-aaaa-1, 8.9")
    assert small.check(**CUDA)["pod"].status == "pass"
    gate = small.check(**CUDA, eval=EvalTable(batch_items=396, max_new_tokens=60_000))["pod"]
    assert gate.status == "fail" and "training does not fit" not in gate.reason and "lower eval.batch_items" in gate.reason


def test_a_forced_choice_that_cannot_be_had_fails_and_no_tokenizer_is_undecided(small, cards, tmp_path):
    cards(H200)
    gate = small.check(**CUDA, plan=PlanTable(mirror="99"))["pod"]
    assert gate.status == "fail" and "plan.mirror is 99" in gate.reason
    bare = tmp_path / "bare"
    bare.mkdir()
    gate = small.check(**CUDA, model=bare)["pod"]
    assert gate.status == "undecided" and "the memory plan needs token counts" in gate.reason


def test_a_model_of_an_unknown_kind_is_left_to_the_preflight(small, cards, tmp_path):
    cards(H200)
    odd = tmp_path / "odd"
    odd.mkdir()
    shutil.copy(ASSETS / "model" / "tokenizer.json", odd)
    (odd / "config.json").write_text(json.dumps({"model_type": "mamba"}))
    gate = small.check(**CUDA, model=odd)["pod"]
    assert gate.status == "pass" and "the memory cannot be predicted" in gate.reason


@pytest.mark.parametrize(
    ("visible", "names"),
    [("1", ["Tesla T4"]), ("1,0", ["Tesla T4", "NVIDIA H200"]), ("GPU-aaaa", ["NVIDIA H200"]), ("0,7,1", ["NVIDIA H200"]), ("", []),
     ("-1", []), ("7", []), ("MIG-cccc", ["NVIDIA H200", "Tesla T4"])],
)  # fmt: skip
def test_only_the_cards_that_the_process_may_use_are_shown(cards, monkeypatch, visible, names):
    cards(H200, T4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [gpu.name for gpu in driver_gpus()] == names


@pytest.fixture
def amd(tmp_path, monkeypatch):
    """Makes the files of the amdgpu driver for cards of so many bytes (total, used), beside a display's connector and another maker's card."""
    folder = tmp_path / "drm"
    monkeypatch.setattr(driver, "_AMD_CARDS", folder)
    monkeypatch.setattr(driver, "version", lambda package: "2.13.0+rocm7.0")
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)

    def show(*cards):
        shutil.rmtree(folder, ignore_errors=True)
        for number, facts in enumerate([{"vendor": "0x10de"}, *cards]):
            files = folder / f"card{number}" / "device"
            files.mkdir(parents=True)
            for name, text in {"vendor": "0x1002", **facts}.items():
                (files / name).write_text(f"{text}\n")
        (folder / "card1-DP-1" / "device").mkdir(parents=True)

    return show


MI300X = {"mem_info_vram_total": 192 << 30, "mem_info_vram_used": 2 << 30, "product_name": "AMD Instinct MI300X"}


def test_an_amd_card_is_seen_where_torch_is_built_for_it(small, amd, monkeypatch):
    amd(MI300X)
    gate = small.check(**CUDA)["pod"]
    assert (gate.status, gate.severity) == ("pass", "hard"), gate.reason
    assert gate.measured.startswith("AMD Instinct MI300X, 190.0 GiB of 192.0 GiB free")
    assert "whether the card has bf16" in gate.reason
    assert device_of_run(Config()).kind == "rocm"
    monkeypatch.setattr(driver, "version", lambda package: "2.13.0+cpu")
    assert driver_gpus() == [] and small.check(engine=EngineTable(device="auto"))["pod"].severity == "advisory"


def test_what_amdgpu_does_not_tell_is_said_and_its_cards_are_chosen_by_number(small, amd, monkeypatch):
    amd(MI300X, {}, {**MI300X, "product_name": "third"})
    assert [(gpu.name, gpu.total_bytes) for gpu in driver_gpus()] == [
        ("AMD Instinct MI300X", 192 << 30), ("AMD GPU", 0), ("third", 192 << 30)
    ]  # fmt: skip
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "2,1")
    assert [gpu.name for gpu in driver_gpus()] == ["third", "AMD GPU"]
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "1")
    gate = small.check(**CUDA)["pod"]
    assert gate.status == "pass" and "the card's memory the driver does not tell" in gate.reason


def test_a_quantised_copy_without_room_is_a_note_and_no_fault(small, cards, monkeypatch):
    cards(H200)
    monkeypatch.setattr(pod, "quantised_copy_bytes", lambda shape: 17 << 30)
    monkeypatch.setattr(pod, "_free_bytes", lambda root: 20 << 30)
    gate = small.check(**CUDA)["pod"]
    assert gate.status == "pass" and "the quantised weights (17.0 GiB) have no room there besides" in gate.reason
    monkeypatch.setattr(pod, "_free_bytes", lambda root: 40 << 30)
    assert "have no room" not in small.check(**CUDA)["pod"].reason
    monkeypatch.setattr(pod, "_free_bytes", lambda root: 20 << 30)
    assert "have no room" not in small.check(**CPU)["pod"].reason
    kept = ModelTable(path=str(ASSETS / "model"), cache_quantized=False)
    assert "have no room" not in small.check(**CUDA, model=kept)["pod"].reason


def test_a_workspace_that_goes_with_the_pod_is_said(small, cards, monkeypatch):
    cards(H200)
    for said, words in (("on memory: gone when the pod is", " is on memory: gone when the pod is"), ("", "")):
        monkeypatch.setattr(pod, "warning", lambda folder, said=said: said)
        gate = small.check(**CUDA)["pod"]
        assert gate.status == "pass" and words in gate.reason and ("gone when" in gate.reason) == bool(words)


@pytest.mark.parametrize("place", ["file", "file/below/it", "link"])
def test_a_workspace_where_a_file_is_fails(small, monkeypatch, tmp_path, place):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nowhere")
    monkeypatch.setenv("SLUICE_WORKSPACE", str(tmp_path / place))
    gate = small.check(**CPU)["pod"]
    assert gate.status == "fail" and "is not a folder; set SLUICE_WORKSPACE" in gate.reason


def test_settings_that_a_cpu_cannot_carry_out_fail_before_anything_is_run(small):
    settings = {"plan": PlanTable(checkpointing="full", graph="on"), "train": TrainTable(optimizer="paged_adamw_8bit")}
    gate = small.check(**CPU, **settings)["pod"]
    assert (gate.status, gate.blocking) == ("fail", True)
    assert [word in gate.reason for word in ("plan.checkpointing", "plan.graph", "paged_adamw_8bit")] == [True] * 3
    gate = small.check(**CPU, plan=PlanTable(checkpointing="none", mirror="full"))["pod"]
    assert (gate.status, gate.severity) == ("pass", "advisory")
