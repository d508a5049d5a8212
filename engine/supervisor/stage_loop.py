"""The supervisor's loop: stage after stage, worker after worker, until the run rests (finished, stopped, blocked or failed).

What is complete is asked of files. Silence of a worker is shown by others and never acted on here. It refuses to start a worker while
another may live, and to restart one that named a problem which a restart cannot mend.
"""

import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from engine.protocol import events as ev
from engine.protocol.config import Config
from engine.protocol.errors import DisplacedError, RunFolderError
from engine.protocol.event_texts import several
from engine.protocol.events import STAGES, Stage
from engine.protocol.runs import RunFolder, workspace_of
from engine.store.atomic import sweep
from engine.store.engine_log import EngineLog
from engine.store.ownership import Ownership, displaced
from engine.store.stages import blocking_gates, stage_complete
from engine.supervisor.drain import EventLines
from engine.supervisor.gpu_queue import GpuQueue
from engine.supervisor.recoveries import Recoveries, out_of_memory_mend
from engine.supervisor.requests import Requests, take_commands
from engine.supervisor.restarts import Restarts
from engine.supervisor.story import Story
from engine.supervisor.worker import Worker, WorkerEnd, worker_environment

LOOK_S = 0.5
BLOCKED, BAD_INPUT, FAILED, STOPPED = 1, 2, 4, 75

_HOST_MEMORY = "the host's memory is too small for this run"
_LOOK = "engine.log has the whole story; then resume"

WorkerCommand = Callable[[RunFolder, Stage], Sequence[str]]


class Parts(NamedTuple):
    """What the loop works with; made and closed by `engine.supervise`."""

    run: RunFolder
    config: Config
    ownership: Ownership
    story: Story
    log: EngineLog
    requests: Requests
    worker_command: WorkerCommand
    started_at: str


class StageLoop:
    """Runs the stages; `go` returns the supervisor's exit status."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._restarts = Restarts(parts.config.engine.max_restarts)
        self._named: ev.WorkerFailed | None = None
        self._recoveries = Recoveries(parts.run)
        self._gpu = GpuQueue(parts.config.engine, parts.run.run_id)
        self._worker: Worker | None = None

    def go(self, until: Stage) -> int:
        """Every stage up to `until` that is not complete. Raises: DisplacedError; SluiceError for what a person must mend."""
        try:
            for stage in STAGES[: STAGES.index(until) + 1]:
                if not stage_complete(self._parts.run, stage):
                    status = self._stage(stage)
                    if status is not None:
                        return status
            self._tell(ev.RunFinished(decision=_decision(self._parts.run) if until == "report" else None))
            return 0
        finally:
            self._gpu.release()

    def _stage(self, stage: Stage) -> int | None:
        """Bring `stage` to its end; an exit status where the run rests before."""
        began_s, attempt = time.monotonic(), 0
        while self._may_go_on(stage):
            attempt += 1
            self._tell(ev.StageStarted(stage=stage, attempt=attempt))
            end = self._work(stage)
            complete = end.exit_status == 0 and stage_complete(self._parts.run, stage)
            if complete:
                self._restarts.stage_done()
                self._tell(ev.StageFinished(stage=stage, elapsed_s=round(time.monotonic() - began_s, 3)))
                return None
            status = self._rests(stage, end)
            if status is not None:
                return status
        return self._stopped("")

    def _may_go_on(self, stage: Stage) -> bool:
        """False where a stop was asked for, now or while waiting for the GPU."""
        self._serve()
        queued_behind = None
        while self._parts.requests.stop is None and (holder := self._gpu.behind(stage)) is not None:
            if holder != queued_behind:
                self._tell(ev.RunQueued(behind=holder))
                queued_behind = holder
            self._parts.requests.wait(LOOK_S)
            self._serve()
        return self._parts.requests.stop is None

    def _work(self, stage: Stage) -> WorkerEnd:
        """One worker from its start to its end, with both told."""
        run = self._parts.run
        for folder in (run.path, run.checkpoints, run.eval):
            sweep(folder)
        self._named = None
        self._recoveries.worker_starts()
        self._parts.log.forget_tail()
        worker = self._worker = self._start(stage)
        self._note_worker(worker.pid)
        try:
            self._attend(worker)
        finally:
            if not worker.ended:
                worker.signal(signal.SIGKILL)
            end = worker.reap()
            self._worker = None
        self._note_worker(None)
        self._tell(self._exited(worker.pid, stage, end))
        return end

    def _start(self, stage: Stage) -> Worker:
        parts = self._parts
        return Worker(
            parts.worker_command(parts.run, stage),
            folder=parts.run.path,
            environment=worker_environment(
                os.environ,
                # the worker's folder is the run's, so a relative default would be inside it
                SLUICE_WORKSPACE=str(workspace_of(parts.run)),
                # compiled kernels survive the process, and on a durable workspace the pod
                TRITON_CACHE_DIR=str(workspace_of(parts.run) / "cache" / "kernels"),
                SLUICE_OWNER=parts.ownership.owner.uuid,
            ),
            lines=EventLines(self._from_worker),
            output=parts.log.write,
            on_start=lambda pid: self._tell(ev.WorkerStarted(pid=pid, stage=stage)),
            on_end=parts.requests.wake,
            inherited=self._gpu.descriptors,
        )

    def _attend(self, worker: Worker) -> None:
        """Serve requests until the worker ends."""
        asked_to_stop = False
        while not worker.ended:
            self._serve()
            if self._parts.requests.stop is not None and not asked_to_stop:
                asked_to_stop = True
                self._tell(ev.RunStopping(reason=self._parts.requests.stop))
                worker.signal(signal.SIGTERM)
            self._parts.requests.wait(LOOK_S)

    def _serve(self) -> None:
        """Take up what was asked. Raises: DisplacedError."""
        if self._parts.requests.displaced:
            raise displaced(self._parts.run)
        for command in take_commands(self._parts.run):
            self._tell(ev.CommandReceived(uuid=command.uuid, command=command.command, who=command.who, asked_at=command.asked_at))
            if command.asked_at < self._parts.started_at:
                self._tell(ev.Warned(text=f"{command.command} was asked for before this start and is not obeyed"))
            elif command.command == "stop":
                self._parts.requests.stop = self._parts.requests.stop or f"asked for by {command.who}"
            elif self._worker is not None:
                self._worker.signal(signal.SIGUSR1)

    def _rests(self, stage: Stage, end: WorkerEnd) -> int | None:
        """The exit status where the run ends with this worker; None where another worker is to start."""
        named, run = self._named, self._parts.run
        # a crash of the interpreter has status 1 too, so the word of a file or of the worker is wanted
        said = named.problems if named is not None and named.exit_status == BLOCKED else ()
        if end.exit_status == BLOCKED and (blocking := blocking_gates(run) or said):
            self._tell(ev.RunBlocked(gates=blocking))
            return BLOCKED
        if end.exit_status in (BAD_INPUT, FAILED) and not (named is not None and named.retry):
            reason = several(named.problems) if named is not None else f"worker of stage {stage}: {end.text}"
            return self._failed(reason, "", end.exit_status)
        if self._parts.requests.stop is not None:
            lost = (
                ""
                if end.exit_status in (0, STOPPED)
                else f"; the worker was {end.text}: work since its last checkpoint is repeated"
            )
            return self._stopped(lost)
        return self._lost(stage, end)

    def _lost(self, stage: Stage, end: WorkerEnd) -> int | None:
        why, out_of_memory = _why_lost(stage, end, self._named), self._named is not None and self._named.out_of_memory
        if out_of_memory:
            for event in self._recoveries.settle(stage, why):
                self._tell(event)
        if not self._restarts.another():
            mend = out_of_memory_mend(stage) if out_of_memory else _HOST_MEMORY if end.kernel_oom else _LOOK
            return self._failed(f"{why}, {self._restarts.limit} restarts without progress before it", mend, FAILED)
        self._tell(ev.WorkerRestarted(reason=why, without_progress=self._restarts.without_progress, limit=self._restarts.limit))
        return None

    def _failed(self, reason: str, mend: str, status: int) -> int:
        self._tell(ev.RunFailed(reason=reason, mend=mend, exit_status=status, log_tail=self._parts.log.tail()))
        return status

    def _stopped(self, lost: str) -> int:
        self._tell(ev.RunStopped(reason=f"{self._parts.requests.stop}{lost}"))
        return 0

    def _exited(self, pid: int, stage: Stage, end: WorkerEnd) -> ev.WorkerExited:
        in_order = end.exit_status in (0, BLOCKED, STOPPED)
        return ev.WorkerExited(
            pid=pid,
            stage=stage,
            exit_status=end.exit_status,
            signal=end.signal,
            kernel_oom=end.kernel_oom,
            log_tail=() if in_order else self._parts.log.tail(),
        )

    def _from_worker(self, event: ev.Event) -> None:
        self._restarts.see(event)
        self._recoveries.see(event)
        if isinstance(event, ev.WorkerFailed):
            self._named = event
        self._tell(event)

    def _note_worker(self, pid: int | None) -> None:
        try:
            self._parts.ownership.record_worker(pid)
        except DisplacedError:
            self._parts.requests.displace()
        except OSError as error:
            self._tell(ev.Warned(text=f"owner.json could not be written ({error.strerror}): the worker is not written down"))

    def _tell(self, event: ev.Event) -> None:
        self._parts.story.record(event)


class _Verdict(msgspec.Struct):
    decision: str


class _Evaluation(msgspec.Struct):
    verdict: _Verdict


def _why_lost(stage: Stage, end: WorkerEnd, named: ev.WorkerFailed | None) -> str:
    if named is not None:
        return "; ".join(named.problems)
    if end.exit_status == 0:
        return f"worker of stage {stage} said that it was done, but its files are not there"
    if end.exit_status == STOPPED:
        return f"worker of stage {stage} was stopped, but not through its supervisor"
    return f"worker of stage {stage}: {end.text}"


def _decision(run: RunFolder) -> str | None:
    try:
        return msgspec.json.decode(run.evaluation.read_bytes(), type=_Evaluation).verdict.decision
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{run.evaluation}: {error}; write it anew with `sluice report {run.run_id}`") from None
