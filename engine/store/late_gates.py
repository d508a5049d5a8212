"""Gates that are known late: the sentinels once the model is loaded, the headroom once the base arm is done.

A late hard failure stops the run before it trains, like an early one. It refuses to judge where the gates stage left nothing pending.
"""

from collections.abc import Callable, Mapping

from engine.core.design import units_of
from engine.core.headroom import headroom
from engine.core.statistics import attempt_alpha
from engine.protocol.arms import ItemRecord
from engine.protocol.config import Config
from engine.protocol.errors import GateBlockedError
from engine.protocol.events import Event, GateChecked
from engine.protocol.gates import Status, read_gates
from engine.protocol.items import HeldOutItem
from engine.protocol.prereg import Preregistration
from engine.protocol.provenance import LoaderProvenance
from engine.protocol.runs import RunFolder
from engine.store.gate_results import settle_gate
from engine.store.ledger import attempts_before, ledger_of
from engine.store.stages import blocking_gates

Emit = Callable[[Event], None]


def settle_sentinels(run: RunFolder, provenance: LoaderProvenance, emit: Emit) -> None:
    """The sentinels of this run's own model passed or failed; an advisory one never fails the gate.

    Raises:
        GateBlockedError: a hard gate blocks by now.
    """
    failed = [found.name for found in provenance.sentinels if not (found.passed or found.advisory)]
    names = ", ".join(f"{found.name} {'passed' if found.passed else 'failed'}" for found in provenance.sentinels)
    _settle(run, "sentinels", "fail" if failed else "pass", names or "none", names or "the loader ran no sentinel", emit)


def fail_sentinels(run: RunFolder, problem: str, emit: Emit) -> None:
    """A hard sentinel of this run's own model failed, so that it was not loaded: the gate fails, unless it was settled before.

    Raises:
        GateBlockedError: a hard gate blocks by now.
    """
    _settle(run, "sentinels", "fail", "1 hard sentinel failed", problem, emit)


def settle_headroom(
    run: RunFolder,
    config: Config,
    prereg: Preregistration,
    items: Mapping[str, HeldOutItem],
    base: Mapping[str, ItemRecord],
    emit: Emit,
) -> None:
    """The base arm leaves room above it or not, at the level that this run's adapter will be tested at; items and records by id.

    Raises:
        GateBlockedError: a hard gate blocks by now.
    """
    scored = [record for record in base.values() if record.success is not None]
    unit = units_of(tuple(items.values()))
    units = len({unit[record.id] for record in scored})
    alpha = attempt_alpha(config.verdict.alpha, attempts_before(ledger_of(run), prereg.frozen.held_out_sha256) + 1)
    status, measured, reason = headroom(sum(record.success is True for record in scored), len(scored), units, alpha)
    _settle(run, "headroom", status, measured, reason, emit)


def _settle(run: RunFolder, gate_id: str, status: Status, measured: str, reason: str, emit: Emit) -> None:
    pending = run.gates.exists() and any(gate.id == gate_id and gate.status == "pending" for gate in read_gates(run.gates).gates)
    if not pending:
        return
    report = settle_gate(run, gate_id, status=status, measured=measured, reason=reason)
    gate = next(gate for gate in report.gates if gate.id == gate_id)
    emit(
        GateChecked(
            id=gate.id,
            severity=gate.severity,
            status=gate.status,
            declared=gate.declared,
            measured=gate.measured,
            threshold=gate.threshold,
            reason=gate.reason,
        )
    )
    if blocked := blocking_gates(run):
        raise GateBlockedError(*(f"gate {name} blocks the run" for name in blocked))
