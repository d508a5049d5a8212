"""The dataset gates (SPEC §4) that need only files, all in one pass over the training file.

`check_gates` recomputes what the manifests declare, wherever the data allows it, and says where the two differ. It refuses to decide
what it cannot measure (undecided, with the reason), to load a model, and to write anything: gates.json is the caller's.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from engine.core.leakage import LeakageIndex
from engine.data.duplicates import DuplicateCount
from engine.data.gate_families import contamination, held_out_set, origins, overlap, pod, quality, resolution
from engine.data.gate_results import Draft, check_gate_ids
from engine.data.held_out import HeldOut, read_held_out
from engine.data.inputs import Inputs, Manifests, TokenCounts, control_in_prompts, count_tokens
from engine.data.manifests import QcSummary, SessionManifest, read_manifest
from engine.data.model_folder import tuning_signs
from engine.data.observers import Observed, Observer, control_literals
from engine.data.overriding import check_overrides
from engine.data.records import Record, records_at
from engine.data.scan import scan
from engine.data.tokens import RunTokenizer
from engine.protocol.config import Config
from engine.protocol.config_file import loosened
from engine.protocol.errors import InputError
from engine.protocol.events import Event, GateChecked, GateProgressed, GatesFinished
from engine.protocol.gates import DatasetFacts, GateResult, GatesReport, Override

Emit = Callable[[Event], None]
MOST_WORKERS = 2
_PROGRESS_BYTES = 4 * 2**20


def check_gates(
    config: Config, *, emit: Emit, overrides: tuple[Override, ...] = (), attempt: int = 1, workers: int | None = None
) -> GatesReport:
    """Every gate of `config`; each is emitted as it is decided, then `GatesFinished`. `attempt` counts evaluations on this held-out set.

    `workers`: processes that read a large file, at most `MOST_WORKERS` of the cores this process may use unless given. They change
    nothing but the time.

    Raises: InputError where a dataset as a whole cannot be used, a severity or an override names no gate, or an override would
    change nothing; EngineError where a reading process was lost.
    """
    check_gate_ids(config.gates.severity, "gates.severity")
    overridden = {override.gate for override in overrides}
    check_gate_ids(overridden, "override")
    check_overrides(config, overridden)
    inputs = gather(config, emit, workers or min(MOST_WORKERS, len(os.sched_getaffinity(0))))
    emit(GateProgressed(what="comparing instructions", done=0, total=inputs.records, unit="records"))
    counts = inputs.observed.duplicates.count()
    emit(GateProgressed(what="comparing instructions", done=inputs.records, total=inputs.records, unit="records"))
    results = []
    for result in _decide(inputs, counts, attempt):
        emit(_checked(result, overridden=result.id in overridden))
        results.append(result)
    report = GatesReport(
        passed=True, gates=tuple(results), dataset=_train_facts(inputs), held_out=_held_out_facts(inputs.held_out),
        overrides=overrides, relaxed=loosened(config),
    )  # fmt: skip
    blocking = report.blocking
    dropped = inputs.findings.dropped.total()
    emit(GatesFinished(passed=not blocking, blocking=blocking, records=inputs.records, dropped=dropped))
    return msgspec.structs.replace(report, passed=not blocking)


def gather(config: Config, emit: Emit, workers: int) -> Inputs:
    """Reads every input once.

    Raises: InputError where a dataset as a whole cannot be used; EngineError where a reading process was lost.
    """
    held_out = read_held_out(Path(config.data.held_out))
    tokenizer, no_tokenizer = _tokenizer(config.model.path)
    leakage = LeakageIndex(held_out.items, config.gates.leak_containment)
    literals = control_literals(tokenizer.control_literals if tokenizer else frozenset())
    train = Path(config.data.train)
    scanned = scan(train, Observer(leakage, literals, config.run.seed), _Throttle(emit, train.name), workers)
    observed = scanned.observed
    leakage.hits.absorb(observed.leaks)
    for item in held_out.items:
        observed.texts.look_for_control(f"held-out {item.id}", item.instruction)
    return Inputs(
        config=config, draft=Draft(config), manifests=_manifests(config), held_out=held_out, findings=scanned.findings,
        sha256=scanned.sha256, observed=observed, leakage=leakage, tokenizer=tokenizer, no_tokenizer=no_tokenizer,
        tokens=_tokens(tokenizer, observed, config, emit), model_signs=tuning_signs(config.model.path),
        held_out_control=control_in_prompts(tokenizer, held_out.items),
    )  # fmt: skip


def _decide(inputs: Inputs, counts: DuplicateCount, attempt: int) -> Iterator[GateResult]:
    yield origins.manifest(inputs)
    yield origins.integrity(inputs)
    yield origins.provenance(inputs)
    yield origins.qc_pilot(inputs)
    yield origins.qc_scale(inputs)
    yield quality.runaway(inputs)
    yield quality.token_limit(inputs)
    yield quality.delimiter(inputs)
    yield quality.median_tokens(inputs)
    yield quality.acceptance(inputs)
    yield contamination.contamination_guards(inputs)
    yield overlap.leakage(inputs)
    yield overlap.leakage_near(inputs)
    yield overlap.duplicates(inputs, counts, _records_of(inputs, counts))
    yield quality.length(inputs)
    yield held_out_set.held_out(inputs)
    yield held_out_set.references(inputs)
    yield held_out_set.alike(inputs)
    yield resolution.power(inputs, attempt)
    yield resolution.headroom(inputs)
    yield held_out_set.sentinels(inputs)
    yield pod.pod(inputs)


class _Throttle:
    """Reports progress every few megabytes."""

    def __init__(self, emit: Emit, what: str) -> None:
        self._emit, self._what, self._next = emit, what, 0

    def __call__(self, done_bytes: int, total_bytes: int) -> None:
        if done_bytes >= self._next or done_bytes == total_bytes:
            self._next = done_bytes + max(_PROGRESS_BYTES, total_bytes // 200)
            self._emit(GateProgressed(what=self._what, done=done_bytes, total=total_bytes))


def _tokenizer(model_path: str) -> tuple[RunTokenizer | None, str]:
    try:
        return RunTokenizer.load(model_path), ""
    except InputError as error:
        return None, str(error)


def _manifests(config: Config) -> Manifests:
    return Manifests(
        session=read_manifest("session manifest (data.session_manifest)", config.data.session_manifest, SessionManifest),
        pilot=read_manifest("QC summary of the pilot (data.qc_pilot)", config.data.qc_pilot, QcSummary),
        scale=read_manifest("QC summary of the scale run (data.qc_scale)", config.data.qc_scale, QcSummary),
    )


def _tokens(tokenizer: RunTokenizer | None, observed: Observed, config: Config, emit: Emit) -> TokenCounts | None:
    if tokenizer is None:
        return None
    total = observed.tokens.kept

    def progress(done: int) -> None:
        emit(GateProgressed(what="counting tokens", done=done, total=total, unit="records"))

    return count_tokens(tokenizer, observed.tokens, config.train.max_seq_len, progress)


def _records_of(inputs: Inputs, counts: DuplicateCount) -> dict[int, Record]:
    """The records of the duplicate pairs by line, read again as they were not kept."""
    wanted = {line for pair in counts.pairs for line in (pair.earlier, pair.later)}
    return records_at(Path(inputs.config.data.train), wanted) if wanted else {}


def _checked(result: GateResult, *, overridden: bool) -> GateChecked:
    return GateChecked(
        id=result.id, severity=result.severity, status=result.status, declared=result.declared, measured=result.measured,
        threshold=result.threshold, reason=result.reason, evidence=result.evidence_total, overridden=overridden,
    )  # fmt: skip


def _train_facts(inputs: Inputs) -> DatasetFacts:
    return DatasetFacts(
        path=inputs.config.data.train,
        sha256=inputs.sha256,
        records=inputs.records,
        dropped=dict(sorted(inputs.findings.dropped.items())),
    )


def _held_out_facts(held_out: HeldOut) -> DatasetFacts:
    dropped: dict[str, int] = {}
    for problem in held_out.problems:
        dropped[problem.reason] = dropped.get(problem.reason, 0) + 1
    return DatasetFacts(path=held_out.path, sha256=held_out.sha256, records=len(held_out.items), dropped=dropped)
