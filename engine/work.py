"""The story of a run, one stage a process: `python -m engine.work RUN STAGE`.

    gates ──▶ base arm ──▶ train ──▶ SFT arm ──▶ report

Each function below is one stage. A stage reads its inputs from files, leaves its results as files, and may be killed at any moment
and started again. What a stage imports it imports here, late, so that the first event is out before torch is loaded. It refuses to
draw, to print and to decide about restarts: that is the supervisor's part.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from engine.protocol.errors import GateBlockedError, InputError
from engine.protocol.events import STAGES, Stage
from engine.worker_process import WorkerContext, run_stage, worker_context


def gates(context: WorkerContext) -> None:
    """Check the datasets against every gate that needs only files; freeze what the evaluation will be, before a model is seen."""
    from engine.data.gates import check_gates
    from engine.data.held_out import load_held_out
    from engine.store.gate_results import write_gates
    from engine.store.hashes import sha256_file
    from engine.store.ledger import attempts_before, ledger_of
    from engine.store.preregistration import preregister
    from engine.store.stages import read_overrides

    run, config = context.run, context.config
    attempt = attempts_before(ledger_of(run), sha256_file(Path(config.data.held_out))) + 1
    report = check_gates(config, emit=context.emit, overrides=read_overrides(run), attempt=attempt)
    write_gates(run, report)
    if report.blocking:
        raise GateBlockedError(*(f"gate {gate} blocks the run" for gate in report.blocking))
    held_out = load_held_out(Path(config.data.held_out))
    preregister(run, config, held_out.items, held_out.sha256)


def base(context: WorkerContext) -> None:
    """Answer the held-out items with the base model, before anybody pays for training."""
    from engine.compute.evaluate import evaluate_arm

    evaluate_arm(context, "base")


def train(context: WorkerContext) -> None:
    """Train the adapters, from the newest whole checkpoint where there is one."""
    from engine.compute.train import train_stage
    from engine.protocol.gates import read_gates

    train_stage(context, gated_sha256=read_gates(context.run.gates).dataset.sha256)


def sft(context: WorkerContext) -> None:
    """Answer the same items, in the same batches, with the trained adapters."""
    from engine.compute.evaluate import evaluate_arm

    evaluate_arm(context, "sft")


def report(context: WorkerContext) -> None:
    """Statistics and verdict from the records of both arms."""
    from engine.report.write import write_report

    write_report(context.run, context.emit)


STAGE_FUNCTIONS: dict[Stage, Callable[[WorkerContext], None]] = {
    "gates": gates, "base": base, "train": train, "sft": sft, "report": report,
}  # fmt: skip


def main(arguments: list[str]) -> int:
    """Run one stage of one run; the worker's exit status (docs/architecture.md)."""
    if len(arguments) != 2 or arguments[1] not in STAGES:
        raise InputError(f"engine.work wants RUN and one of {', '.join(STAGES)}; found {arguments!r}")
    stage = next(stage for stage in STAGES if stage == arguments[1])
    return run_stage(worker_context(Path(arguments[0]), stage), STAGE_FUNCTIONS[stage])


def leave(status: int) -> NoReturn:
    """End this process without the interpreter taking torch apart, for which the next stage would wait 1.3 s on a CPU.

    All that is to be kept is on the disk or in the pipe by now: whoever starts a thread or a process in a stage ends it there.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
