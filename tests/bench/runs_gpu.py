"""Whole runs on a GPU whose point is not their speed: what is learnt under each plan, memory that runs out, resuming to the bit, loading.

    PYTHONPATH=. python tests/bench/runs_gpu.py OUT [--parts crowded,neighbour,forecast,exact,capped,learning,loading] [--shape 7b]

- learning: the demo's job (a small real model) under the plain plan, twice, the planner's own, and the planner's with another seed for scale.
- exact: the same with engine.deterministic, undisturbed and stopped half-way and resumed (its price is in `train_gpu.py --deterministic`).
- capped: a worker whose allocator may have no more than it has, from a step on; the next worker plans again.
- crowded: another process takes most of the memory between the plan and the preflight.
- neighbour: another process takes 4 GiB while training goes on, and gives them back; what the forecast says of it.
- forecast: seconds that the memory forecast of one step takes, the device's answers included.
- loading: a bf16 checkpoint quantised to nf4 by the first worker, read from the kept copy by the second.

One JSON line a figure. Runs of the first two share the card, so their times mean nothing. crowded, neighbour, capped and loading use a model of `--shape` with random weights, made under OUT.
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
from reference_job import report, write_config, write_data

ROOT = Path(__file__).parents[2]
SABOTAGED = ROOT / "tests" / "endtoend" / "sabotaged.py"
PLAIN = {
    "plan.checkpointing": '"none"', "plan.mirror": '"none"', "plan.compile": '"off"', "plan.graph": '"off"',
    "plan.attention": '"masked"', "plan.adapters": '"float32"',
}  # fmt: skip
MEMORY_JOB = {"plan.graph": '"off"', "train.epochs": "1", "eval.max_new_tokens": "8", "train.checkpoint_every_steps": "10"}
LIMIT_S = 400.0
LOOK_S = 0.01


class Run:
    """One run of a config in a workspace of its own, and its journal as it grows."""

    def __init__(self, config: Path, workspace: Path, command: list[str] | None = None) -> None:
        self.workspace, self.environment = workspace, os.environ | {"SLUICE_WORKSPACE": str(workspace)}
        self.process = subprocess.Popen(
            command or [sys.executable, "-m", "app.cli", "run", str(config)], env=self.environment, stdout=sys.stderr
        )

    @property
    def folder(self) -> Path:
        return next(self.workspace.glob("checkpoints/stage1_sft/*/"))

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        files = list(self.workspace.glob("checkpoints/stage1_sft/*/events.jsonl"))
        lines = files[0].read_text().splitlines(keepends=True) if files else []
        found = [json.loads(line) for line in lines if line.endswith("\n")]
        return [event for event in found if not kinds or event["type"] in kinds]

    def await_event(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
        """The first event that `wanted` accepts; None where the run ends without one."""
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            for event in self.events():
                if wanted(event):
                    return event
            time.sleep(LOOK_S)
        return None

    def finish(self) -> int:
        try:
            return self.process.wait(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            # what follows wants the card for itself
            self.process.terminate()
            self.process.wait(timeout=LIMIT_S)
            raise

    def adapter(self) -> str:
        return hashlib.sha256((self.folder / "adapter" / "adapter_model.safetensors").read_bytes()).hexdigest()[:16]


def with_settings(config: Path, settings: dict[str, str], name: str) -> Path:
    """A copy of a sluice.toml beside it, with some settings changed or added."""
    import tomllib

    tables = tomllib.loads(config.read_text())
    for key, value in settings.items():
        table, _, field = key.partition(".")
        tables.setdefault(table, {})[field] = tomllib.loads(f"value = {value}")["value"]
    text = "\n".join(
        f"[{table}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in rows.items())
        for table, rows in tables.items()
    )
    path = config.with_name(f"{name}.toml")
    path.write_text(text)
    return path


def demo_job(out: Path, name: str, settings: dict[str, str]) -> Run:
    from engine.demo.setup import lay_demo

    config = lay_demo(out / f"demo-{name}")
    return Run(with_settings(config, {"engine.share_gpu": "true"} | settings, name), out / f"workspace-{name}")


def losses(run: Run) -> list[float]:
    """Of every step, from the newest checkpoint: the journal leaves out steps that come fast."""
    states = run.folder.glob("checkpoints/step-*/trainer_state.json")
    newest = max(states, key=lambda path: int(path.parent.name.removeprefix("step-")))
    return [loss for _, loss, *_ in json.loads(newest.read_text())["losses"]]


def learning(out: Path) -> None:
    settings = {"plain": PLAIN, "planned": {}, "plain again": PLAIN, "another seed": {"run.seed": "1"}}
    short = {"train.epochs": "2", "eval.max_new_tokens": "8"}
    runs = {name: demo_job(out, name.replace(" ", "-"), short | changed) for name, changed in settings.items()}
    curves: dict[str, list[float]] = {}
    for name, run in runs.items():
        status = run.finish()
        curves[name] = losses(run)
        dev = [event["loss"] for event in run.events("DevEvaluated")]
        plan = [event["chosen"]["plan"] for event in run.events("PlanChosen") if event["stage"] == "train"]
        report(part="learning", plan=name, status=status, taken=plan[:1], steps=len(curves[name]), dev=dev,
               decision=[event["decision"] for event in run.events("VerdictReached")],
               told=[event["path"] for event in run.events("FastPathFellBack")])  # fmt: skip
    for name, curve in curves.items():
        # another seed splits off another dev set, so that it may have other steps
        apart = [abs(ours - plain) / plain for ours, plain in zip(curve, curves["plain"], strict=False)]
        report(part="learning", against_plain=name, median=statistics.median(apart), worst=max(apart),
               last_20=statistics.mean(apart[-20:]))  # fmt: skip


def exact(out: Path) -> None:
    # long enough to be stopped: an epoch of the demo takes a second
    found, settings = (
        {},
        {"train.checkpoint_every_steps": "400", "train.epochs": "20", "train.patience": "0", "eval.max_new_tokens": "16"},
    )
    kinds = {"fast": "false", "fast-again": "false", "exact": "true", "exact-resumed": "true"}
    runs = {name: demo_job(out, name, settings | {"engine.deterministic": exactly}) for name, exactly in kinds.items()}
    for name, run in reversed(runs.items()):
        if name == "exact-resumed":
            run.await_event(lambda event: event["type"] == "StepTrained" and event["step"] >= event["steps"] // 20)
            subprocess.run([sys.executable, "-m", "app.cli", "stop", run.folder.name], env=run.environment, check=True)
            run.finish()
            run.process = subprocess.Popen(
                [sys.executable, "-m", "app.cli", "resume", run.folder.name], env=run.environment, stdout=sys.stderr
            )
        status = run.finish()
        arms = {
            arm: hashlib.sha256((run.folder / "eval" / f"{arm}.jsonl").read_bytes()).hexdigest()[:16] for arm in ("base", "sft")
        }
        found[name] = (run.adapter(), arms)
        report(part="exact", run=name, status=status, adapter=run.adapter(), arms=arms,
               rewound=[event["step"] for event in run.events("Rewound")],
               told=[event["text"] for event in run.events("Warned")] + [event["path"] for event in run.events("FastPathFellBack")])  # fmt: skip
    report(
        part="exact",
        resumed_is_undisturbed=found["exact"] == found["exact-resumed"],
        fast_repeats=found["fast"] == found["fast-again"],
    )


def shaped_job(out: Path, shape: str, name: str, settings: dict[str, str], records: int = 400) -> Path:
    model = out / f"model-{shape}"
    if not model.is_dir():
        make_model(model, shape, "nf4")
    job = out / f"job-{name}"
    job.mkdir(parents=True)
    write_data(job, records)
    return write_config(job, model, [f"{key}={value}" for key, value in settings.items()])


def make_model(folder: Path, shape: str, weights: str) -> None:
    maker = [
        sys.executable,
        str(Path(__file__).with_name("reference_model.py")),
        str(folder),
        "--shape",
        shape,
        "--weights",
        weights,
    ]
    subprocess.run(maker, check=True, stdout=sys.stderr)


def report_recovery(part: str, run: Run, status: int) -> None:
    for event in run.events("PlanChosen"):
        report(part=part, at=event["mono_s"], stage=event["stage"], plan=event["chosen"]["name"], peak_gib=gib(event["chosen"]["peak_bytes"]),
               free_gib=gib(event["free_bytes"]))  # fmt: skip
    for event in run.events(
        "MemoryRanOut", "Rewound", "WorkerRestarted", "WorkerFailed", "RunFailed", "CheckpointFailed", "Warned"
    ):
        report(
            part=part,
            at=event["mono_s"],
            **{key: event[key] for key in ("type", "stage", "step", "batch", "reason", "text") if key in event},
        )
    # the journal leaves out steps that come fast, but what it has must be in order: a step trained twice was lost before
    steps = [event["step"] for event in run.events("StepTrained")]
    report(part=part, status=status, in_order=steps == sorted(set(steps)), trained=len(losses(run)),
           adapter=run.adapter() if status in (0, 1) else None,
           risks=sorted({event["memory"].get("risk") or "" for event in run.events("StepTrained")}))  # fmt: skip


def capped(out: Path, shape: str) -> None:
    from engine.protocol.config_file import load_config
    from engine.store.create_run import create_run

    config = shaped_job(out, shape, "capped", MEMORY_JOB)
    workspace = out / "workspace-capped"
    folder = create_run(load_config(config), workspace, source=config)
    (folder.path / "sabotage.json").write_text(json.dumps({"train": [{"capped_from_step": 8}, {}]}))
    run = Run(config, workspace, [sys.executable, str(SABOTAGED), "supervise", str(folder.path)])
    report_recovery("capped", run, run.finish())


def crowded(out: Path, shape: str) -> None:
    run = Run(shaped_job(out, shape, "crowded", MEMORY_JOB), out / "workspace-crowded")
    torch.cuda.init()
    chosen = run.await_event(lambda event: event["type"] == "PlanChosen" and event["stage"] == "train")
    if chosen is None:
        report(part="crowded", failed="no plan was chosen", status=run.finish())
        return
    free, _ = torch.cuda.mem_get_info()
    taken = torch.empty(max(0, free - 2 * 2**30), dtype=torch.uint8, device="cuda")
    report(part="crowded", taken_gib=gib(taken.numel()), left_gib=2.0)
    run.await_event(lambda event: event["type"] in ("MemoryRanOut", "StepTrained"))
    del taken
    torch.cuda.empty_cache()
    report_recovery("crowded", run, run.finish())


def neighbour(out: Path, shape: str) -> None:
    run = Run(shaped_job(out, shape, "neighbour", MEMORY_JOB | {"train.epochs": "4"}), out / "workspace-neighbour")
    torch.cuda.init()

    def step(number: int) -> Callable[[dict[str, Any]], bool]:
        return lambda event: event["type"] == "StepTrained" and event["step"] >= number

    run.await_event(step(20))
    taken = torch.empty(4 * 2**30, dtype=torch.uint8, device="cuda")
    told = run.await_event(
        lambda event: event["type"] == "StepTrained" and (event["memory"].get("others_bytes") or 0) > 4 * 2**30
    )
    at = told["step"] if told else None
    report(part="neighbour", taken_gib=4.0, seen_at_step=at, memory=told and told["memory"])
    del taken
    torch.cuda.empty_cache()
    status = run.finish()
    others = [gib(event["memory"].get("others_bytes") or 0) for event in run.events("StepTrained")]
    report(part="neighbour", status=status, others_gib=others)


def forecast() -> None:
    from engine.compute.memory import DeviceGauge, MemoryWatch

    device = torch.device("cuda", 0)
    kept = [torch.empty(2**20 * (1 + index % 7), dtype=torch.uint8, device=device) for index in range(3000)]
    watch = MemoryWatch(DeviceGauge(device), 1e6)
    seconds = []
    for number in range(2000):
        began = time.perf_counter()
        watch.begin()
        watch.after_step(256 + number * 37 % 768, 1024)
        seconds.append(time.perf_counter() - began)
    report(part="forecast", tensors=len(kept), median_us=round(statistics.median(seconds) * 1e6, 1),
           worst_us=round(sorted(seconds)[-20] * 1e6, 1))  # fmt: skip


def loading(out: Path, shape: str) -> None:
    model = out / f"model-{shape}-bf16"
    if not model.is_dir():
        make_model(model, shape, "bf16")
    code = (
        "import json, sys, threading, time; from pathlib import Path; began = time.perf_counter()\n"
        "def anonymous(): return int(Path('/proc/self/status').read_text().split('RssAnon:')[1].split()[0]) / 2**20\n"
        "from engine.compute.loader import load_clean_model; from engine.protocol.config import Config, ModelTable; import torch\n"
        "torch.cuda.init(); imported = time.perf_counter(); told = []; before = anonymous(); most = [before]; done = threading.Event()\n"
        "def watch():\n    while not done.wait(0.05): most[0] = max(most[0], anonymous())\n"
        "watcher = threading.Thread(target=watch); watcher.start()\n"
        "load_clean_model(Config(model=ModelTable(path=sys.argv[1])), emit=lambda e: told.append(type(e).__name__))\n"
        "torch.cuda.synchronize(); done.set(); watcher.join()\n"
        "print(json.dumps(dict(imports_s=round(imported - began, 1), loading_s=round(time.perf_counter() - imported, 1),"
        " peak_gib=round(torch.cuda.max_memory_allocated() / 2**30, 2), kept_gib=round(torch.cuda.memory_allocated() / 2**30, 2),"
        " memory_before_gib=round(before, 2), memory_peak_gib=round(most[0], 2), told=sorted(set(told)))))\n"
    )
    environment = os.environ | {"SLUICE_WORKSPACE": str(out / "workspace-loading")}
    for which in ("first", "second"):
        done = subprocess.run(
            [sys.executable, "-c", code, str(model)], env=environment, check=False, capture_output=True, text=True
        )
        found = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"failed": done.stderr[-600:]}
        report(part="loading", shape=shape, start=which, **found)


def gib(size: float) -> float:
    return round(size / 2**30, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--parts", default="crowded,neighbour,forecast,exact,capped,learning,loading")
    parser.add_argument("--shape", default="7b")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Callable[[], None]] = {
        "learning": lambda: learning(arguments.out), "exact": lambda: exact(arguments.out),
        "capped": lambda: capped(arguments.out, arguments.shape), "crowded": lambda: crowded(arguments.out, arguments.shape),
        "loading": lambda: loading(arguments.out, arguments.shape),
        "neighbour": lambda: neighbour(arguments.out, arguments.shape), "forecast": forecast,
    }  # fmt: skip
    for name in arguments.parts.split(","):
        # one part that fails must not cost the others their time on a rented card
        try:
            parts[name]()
        except Exception as error:
            report(part=name, failed=f"{type(error).__name__}: {error}"[:400])


if __name__ == "__main__":
    main()
