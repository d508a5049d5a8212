"""Where the numbers of a report come from: names, seeds, commits, versions, decoding, hashes, and what a reader must know.

It refuses to name the run or its place: two runs that did the same give the same metadata.
"""

from collections.abc import Iterator
from pathlib import Path

from engine.protocol.arms import arm_file
from engine.protocol.evaluation import Metadata
from engine.protocol.recoveries import recovery_text
from engine.protocol.runs import RunFolder
from engine.report.measured import training_manifest
from engine.report.run_records import RunRecords
from engine.store.hashes import sha256_file
from engine.store.run_plan import read_run_plan


def metadata(run: RunFolder, records: RunRecords, created_at: str | None) -> Metadata:
    """The metadata block of SPEC §8; `created_at` (UTC, ISO 8601) is the only field that tells one report from its repetition."""
    conditions, config = records.sft.conditions, records.config
    model = Path(config.model.path).name
    commits = {"base arm": records.base.conditions.git_sha, "SFT arm": conditions.git_sha}
    return Metadata(
        labels={"name": config.run.name, "base": model, "sft": f"{model} with the trained adapter"},
        confidence_level=config.verdict.confidence_level,
        seeds={"run": config.run.seed},
        git_sha={name: sha for name, sha in commits.items() if sha},
        loader_version=conditions.loader_version,
        environment={
            **conditions.versions,
            "device": conditions.device,
            "compute_dtype": conditions.compute_dtype,
            "quantization": conditions.quantization,
            "scorer": conditions.scorer_version,
        },
        decoding={**conditions.decoding, "batch_items": conditions.batch_items},
        data_sha256=_hashes(run, records),
        prereg_hash=records.prereg.hash,
        created_at=created_at,
        notes=(*_notes(records), *_recoveries(run)),
    )


def _hashes(run: RunFolder, records: RunRecords) -> dict[str, str]:
    train = {} if records.gates is None else {"train": records.gates.dataset.sha256}
    return {
        **train,
        "held_out": records.prereg.frozen.held_out_sha256,
        "adapter": records.sft.conditions.adapter_files.get("adapter_model.safetensors", ""),
        "base_records": sha256_file(arm_file(run, "base")),
        "sft_records": sha256_file(arm_file(run, "sft")),
    }


def _recoveries(run: RunFolder) -> Iterator[str]:
    """Each time that GPU memory ran out; equal sentences once."""
    yield from dict.fromkeys(recovery_text(recovery) for recovery in read_run_plan(run).recoveries)
    manifest = training_manifest(run)
    if manifest is not None and not manifest.outcome.exact:
        yield "training was resumed under another compute plan, other versions or threads, so not to the last bit as if never stopped"


def _notes(records: RunRecords) -> Iterator[str]:
    frozen = records.prereg.frozen
    if frozen.subset:
        yield f"a subset of {len(frozen.item_ids)} items was evaluated, stratified by type, chosen with seed {frozen.subset_seed}"
    if records.gates is not None:
        for override in records.gates.overrides:
            yield f"gate {override.gate} was overridden by {override.who}: {override.reason}"
    for name, arm in (("base", records.base), ("SFT", records.sft)):
        if arm.noise is not None and (texts := len(arm.noise.repeat.text_flips)):
            yield f"{texts} of {arm.noise.repeat.items} texts of the {name} arm changed when the same batches were decoded again"
