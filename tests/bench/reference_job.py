"""The whole reference job through sluice itself: 5,467 examples × 2 epochs, then 300 held-out items × 2 arms × up to 100 tokens.

    PYTHONPATH=. python tests/bench/reference_job.py OUT [--shape 32b] [--records 5467] [--set train.optimizer=adamw …]

Makes the reference model (random weights, nf4, 18 GB) and data of its lengths under OUT unless they are there, runs `sluice run` and reads
the journal: one JSON line a figure. The verdict of such a model means nothing; the times, the plan and the memory do.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import torch

HELD_OUT = 300


def report(**figures: object) -> None:
    print(json.dumps(figures), flush=True)


def words(count: int, generator: torch.Generator) -> str:
    return " ".join(f"t{n}" for n in torch.randint(4, 150_000, (max(1, count),), generator=generator).tolist())


def write_data(out: Path, records: int) -> None:
    lengths = torch.exp(torch.randn(records, generator=torch.Generator().manual_seed(1)) * 0.45 + 4.16).round().clamp(20, 512)
    generator = torch.Generator().manual_seed(2)
    with (out / "train.jsonl").open("w") as file:
        for index, length in enumerate(lengths.long().tolist()):
            prompt = length // 3
            record = {
                "id": f"r{index}",
                "instruction": words(prompt - 2, generator),
                "response": words(length - prompt - 1, generator),
            }
            file.write(json.dumps(record) + "\n")
    with (out / "held_out.jsonl").open("w") as file:
        for index in range(HELD_OUT):
            item = {"id": f"h{index}", "type": "format", "instruction": words(20 + index % 20, generator)}
            file.write(json.dumps(item | {"checks": [{"kind": "words", "min": 1}]}) + "\n")


def write_config(out: Path, model: Path, settings: list[str]) -> Path:
    tables: dict[str, dict[str, str]] = {
        "run": {"name": '"reference"', "profile": '"external"'},
        "model": {"path": json.dumps(str(model))},
        "data": {"train": '"train.jsonl"', "held_out": '"held_out.jsonl"'},
        "train": {"epochs": "2", "max_seq_len": "512", "patience": "0"},
        "eval": {"max_new_tokens": "100", "batch_items": "64"},
        "verdict": {"guarded": '["format"]'},
    }
    for setting in settings:
        key, _, value = setting.partition("=")
        table, _, name = key.partition(".")
        tables.setdefault(table, {})[name] = value
    text = "\n".join(
        f"[{table}]\n" + "".join(f"{key} = {value}\n" for key, value in rows.items()) for table, rows in tables.items()
    )
    (out / "sluice.toml").write_text(text)
    return out / "sluice.toml"


def read_journal(workspace: Path) -> None:
    (journal,) = workspace.glob("checkpoints/stage1_sft/*/events.jsonl")
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    kinds: dict[str, list[dict]] = {}
    for event in events:
        kinds.setdefault(event["type"], []).append(event)
    for event in kinds.get("StageFinished", []):
        report(stage=event["stage"], seconds=event["elapsed_s"])
    for event in kinds.get("ModelLoaded", []):
        report(loaded_s=event["elapsed_s"])
    for event in kinds.get("PlanChosen", []):
        chosen = event["chosen"]
        report(plan=chosen["name"], stage=event["stage"], predicted_step_s=round(chosen["step_s"], 4),
               predicted_gib=round(chosen["peak_bytes"] / 2**30, 1), buckets=chosen["plan"].get("buckets"))  # fmt: skip
    for event in kinds.get("PreflightMeasured", []):
        measured, predicted = event["measured_peak_bytes"] or 0, event["predicted_peak_bytes"] or 0
        report(preflight=event["what"], measured_gib=round(measured / 2**30, 1), predicted_gib=round(predicted / 2**30, 1),
               seconds=event["elapsed_s"])  # fmt: skip
    steps = kinds.get("StepTrained", [])
    if steps:
        seconds = [step["elapsed_s"] for step in steps[3:]]
        report(steps=steps[-1]["step"], median_step_s=statistics.median(seconds), tokens_s=round(
            statistics.mean(step["tokens"] for step in steps[3:]) / statistics.median(seconds)), last_memory=steps[-1]["memory"])  # fmt: skip
    for name in (
        "EvaluationFinished",
        "NoiseMeasured",
        "CheckpointWritten",
        "FastPathFellBack",
        "MemoryRanOut",
        "Warned",
        "WorkerFailed",
    ):
        for event in kinds.get(name, [])[:6]:
            report(**{key: value for key, value in event.items() if key not in ("seq", "t", "path")})
    for (before, after), (seconds, count) in spans(events)[:30]:
        report(after=before, before=after, times=count, seconds=round(seconds, 1))
    report(decision=[event["decision"] for event in kinds.get("VerdictReached", [])])
    loading = sum(event["elapsed_s"] for event in kinds.get("ModelLoaded", []) + kinds.get("LibrariesLoaded", []))
    whole = events[-1]["mono_s"] - events[0]["mono_s"]
    report(whole_s=round(whole, 1), of_it_imports_and_loading_s=round(loading, 1), without_loading_s=round(whole - loading, 1))


def spans(events: list[dict]) -> list[tuple[tuple[str, str], tuple[float, int]]]:
    """Where the time went: seconds and how often, between each kind of event and the kind after it, the longest first."""
    found: dict[tuple[str, str], tuple[float, int]] = {}
    for before, after in pairwise(events):
        kinds = f"{before['type']} {before.get('stage', '')}".strip(), after["type"]
        seconds, count = found.get(kinds, (0.0, 0))
        found[kinds] = seconds + after["mono_s"] - before["mono_s"], count + 1
    return sorted(found.items(), key=lambda item: -item[1][0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--shape", default="32b")
    parser.add_argument("--records", type=int, default=5467)
    parser.add_argument("--set", action="append", default=[])
    arguments = parser.parse_args()
    model = arguments.out / f"model-{arguments.shape}"
    if not model.is_dir():
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, str(Path(__file__).with_name("reference_model.py")), str(model), "--shape", arguments.shape],
            check=True,
        )
        report(made_model_s=round(time.perf_counter() - began, 1))
    job = arguments.out / f"job-{int(time.time())}"
    job.mkdir(parents=True)
    write_data(job, arguments.records)
    config = write_config(job, model, arguments.set)
    environment = os.environ | {"SLUICE_WORKSPACE": str(job / "workspace")}
    status = subprocess.run([sys.executable, "-m", "app.cli", "run", str(config)], env=environment).returncode
    report(exit_status=status)
    read_journal(job / "workspace")


if __name__ == "__main__":
    main()
