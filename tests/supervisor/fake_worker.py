"""A scripted worker: real context, pipe, signals and exit statuses; no model. `fake.json` in the run folder is its script.

fake.json maps a stage to a list with one entry an attempt (the last one repeats); an entry is a list of acts. It refuses unknown acts.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import cast

from engine.protocol import events as ev
from engine.protocol.errors import EngineError, InputError, MemoryRanOutError, StopRequested
from engine.protocol.events import Stage
from engine.protocol.plans import ComputePlan, PlanEstimate
from engine.protocol.recoveries import Recovery
from engine.store.run_plan import note_recovery, read_run_plan
from engine.worker_process import WorkerContext, run_stage, worker_context

RECORD = '{"id":"i","types":["fact"],"instruction":"q","prompt_sha256":"0","token_ids":[],"text":"","success":true,"checks":[],"tokens":0,"stop":"end","batch":"0"}\n'


def finish(run: Path, stage: str) -> None:
    """Leave behind what makes the stage complete."""
    facts = {"path": "x", "sha256": "y", "records": 1}
    (run / "eval").mkdir(exist_ok=True)
    match stage:
        case "gates":
            report = {"passed": True, "gates": [], "dataset": facts, "held_out": facts}
            (run / "gates.json").write_text(json.dumps(report))
            (run / "prereg.json").write_text("{}")
        case "base" | "sft":
            (run / "eval" / f"{stage}.jsonl").write_text(RECORD)
        case "train":
            (run / "adapter").mkdir(exist_ok=True)
            for name in ("adapter_config.json", "adapter_model.safetensors"):
                (run / "adapter" / name).write_text("")
            (run / "TRAINING_SUCCESS").write_text("{}")
        case "report":
            (run / "evaluation.json").write_text('{"verdict": {"decision": "GO"}}')
            (run / "summary.txt").write_text("GO")


def block(run: Path) -> None:
    gate = {
        "id": "leakage",
        "severity": "hard",
        "status": "fail",
        "declared": "",
        "measured": "3",
        "threshold": "0",
        "reason": "r",
    }
    facts = {"path": "x", "sha256": "y", "records": 1}
    (run / "gates.json").write_text(json.dumps({"passed": False, "gates": [gate], "dataset": facts, "held_out": facts}))
    (run / "prereg.json").write_text("{}")


def step_event(step: int, steps: int = 100) -> ev.StepTrained:
    return ev.StepTrained(
        step=step, steps=steps, epoch=0.1, loss=1.0, learning_rate=1e-3, grad_norm=1.0, tokens=10, response_tokens=5,
        micro_steps=1, elapsed_s=0.01, memory=ev.Memory(rss_bytes=1),
    )  # fmt: skip


def wait_for_stop(context: WorkerContext) -> None:
    (context.run.path / f"waiting-{context.stage}").write_text(str(os.getpid()))
    while not context.stop_requested():
        if context.take_checkpoint_request():
            context.emit(ev.CheckpointWritten(step=7, path="checkpoints/step-7", size_bytes=1, elapsed_s=0.0, kept=1))
        time.sleep(0.01)


def act(context: WorkerContext, what: list[object]) -> None:
    descriptor = int(os.environ["SLUICE_EVENTS_FD"])
    match what:
        case ["finish"]:
            finish(context.run.path, context.stage)
        case ["block"]:
            block(context.run.path)
            sys.exit(1)
        case ["break-config"]:
            context.run.config.write_text("[run")
        case ["exit", int(status)]:
            sys.exit(status)
        case ["kill", str(name)]:
            os.kill(os.getpid(), getattr(signal, name))
        case ["print", str(text)]:
            sys.stderr.write(text)
        case ["step", int(step)]:
            context.emit(step_event(step))
        case ["steps", int(first), int(last)]:
            for step in range(first, last + 1):
                context.emit(step_event(step, last))
        case ["flood", int(count)]:
            line = json.dumps({"type": "GateProgressed", "what": "flood", "done": 1}).encode() + b"\n"
            for _ in range(count // 100):
                os.write(descriptor, line * 100)
        case ["raw", str(text)]:
            os.write(descriptor, text.encode("latin-1"))
        case ["wait"]:
            wait_for_stop(context)
            raise StopRequested(step=7)
        case ["wait-for-signal-only"]:
            (context.run.path / f"waiting-{context.stage}").write_text(str(os.getpid()))
            # the flag alone, so that only the kernel's parent-death signal can set it
            while not context._link._stop:
                time.sleep(0.01)
        case ["deaf"]:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            (context.run.path / f"waiting-{context.stage}").write_text(str(os.getpid()))
            while True:
                time.sleep(60)
        case ["orphan"]:
            # a child that keeps the pipe and stdout open, as a compiler's helper does
            child = subprocess.Popen(["sleep", "600"], pass_fds=(descriptor,), start_new_session=True)
            (context.run.path / "orphan").write_text(str(child.pid))
        case ["raise", "input"]:
            raise InputError("the model folder has no safetensors", "the tokenizer is missing")
        case ["raise", "engine"]:
            raise EngineError("the loss is not finite")
        case ["raise", "oom"]:
            raise type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory\nmore")
        case ["plan", int(peak)]:
            chosen = PlanEstimate(name="scripted", plan=ComputePlan(row_tokens=64), step_s=0.1, peak_bytes=peak)
            context.emit(ev.PlanChosen(stage=context.stage, chosen=chosen, free_bytes=peak))
        case ["ran-out", int(step)]:
            note_recovery(context.run, Recovery(stage=context.stage, at="", reason="scripted", step=step))
            context.emit(ev.MemoryRanOut(stage=context.stage, step=step, reason="scripted"))
            raise MemoryRanOutError("out of GPU memory: scripted")
        case ["raise", "bug"]:
            raise KeyError("surprise\x1b[31m")
        case ["if-oom", int(times), list(inner)]:
            if len(read_run_plan(context.run).recoveries) == times:
                act(context, inner)
        case _:
            raise ValueError(what)


def stage_function(context: WorkerContext) -> None:
    counter = context.run.path / f"attempts-{context.stage}"
    attempt = int(counter.read_text()) if counter.exists() else 0
    counter.write_text(str(attempt + 1))
    scripts = json.loads((context.run.path / "fake.json").read_text()).get(context.stage, [[["finish"]]])
    for what in scripts[min(attempt, len(scripts) - 1)]:
        act(context, what)


def main() -> int:
    return run_stage(worker_context(Path(sys.argv[1]), cast(Stage, sys.argv[2])), stage_function)


if __name__ == "__main__":
    sys.exit(main())
