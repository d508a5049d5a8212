"""Where a model, an adapter and the code behind them come from: the loader's provenance and the training manifest.

It refuses to compute anything: the engine fills these in, readers show them.
"""

from typing import Any

import msgspec

from engine.protocol.events import Stage
from engine.protocol.plans import PlanEstimate
from engine.protocol.recoveries import Preflight, Recovery


class SentinelOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """One prompt that was completed greedily right after loading. An advisory one never stops anything."""

    name: str
    advisory: bool
    passed: bool
    prompt: str
    output: str
    reason: str = ""


class FileHash(msgspec.Struct, frozen=True, kw_only=True):
    """One file of the model folder as it was read; `sha256` in hexadecimal digits."""

    name: str
    size_bytes: int
    sha256: str


class LoaderProvenance(msgspec.Struct, frozen=True, kw_only=True):
    """How the base model came into memory.

    `source_sha256` is over the loader's own modules; `git_sha` is empty outside a checkout; `quantization` is nf4, none or
    checkpoint (the files were quantised already); `chat_template_found` says that one was there and was set to None.
    """

    package_version: str
    source_sha256: str
    git_sha: str
    model_name: str
    model_path: str
    files: tuple[FileHash, ...]
    quantization: str
    compute_dtype: str
    device: str
    template_disabled: bool
    chat_template_found: bool
    add_special_tokens: bool
    looks_instruction_tuned: str
    end_token: str
    end_id: int
    pad_id: int
    versions: dict[str, str]
    sentinels: tuple[SentinelOutcome, ...]


class DatasetSource(msgspec.Struct, frozen=True, kw_only=True):
    """The SFT dataset as training read it; `examples_sha256` is over the token ids that were trained on."""

    path: str
    sha256: str
    records: int
    examples: int
    dev_examples: int
    dropped: int
    truncated: int
    examples_sha256: str


class TrainingOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How training went. Losses are nats a response token; `best_step` is None without a dev split; `ended` is complete or early.

    `exact` is False where a checkpoint of another compute plan, other library versions or other threads was resumed.
    """

    steps_planned: int
    steps_done: int
    adapter_step: int
    ended: str
    best_step: int | None
    best_loss: float | None
    last_loss: float | None
    peak_rss_bytes: int
    peak_allocated_bytes: int | None
    exact: bool = True


class ComputeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The compute plan with its predicted peak (`plan.peak_bytes`), what was measured, and each time that GPU memory ran out.

    Peaks are torch's, in bytes; None where the device tells none. `preflights` are by stage, as far as they were run by then.
    """

    plan: PlanEstimate
    measured_peak_bytes: int | None
    preflights: dict[Stage, Preflight] = {}
    recoveries: tuple[Recovery, ...] = ()


class TrainingManifest(msgspec.Struct, frozen=True, kw_only=True):
    """training_manifest.json: what was trained on what, how, and where its files are. Paths are absolute; times UTC, ISO 8601."""

    run_id: str
    finished_at: str
    hyper_parameters: dict[str, Any]
    seed: int
    dataset: DatasetSource
    qc_pilot: str
    qc_scale: str
    session_manifest: str
    base_model: LoaderProvenance
    trainable_parameters: int
    outcome: TrainingOutcome
    adapter: str
    adapter_sha256: str
    checkpoints: tuple[str, ...]
    success_marker: str
    evaluation: str
    compute: ComputeRecord | None = None
    threads: int
    environment: dict[str, str]
