"""One arm of the paired evaluation: the frozen items, in the frozen batches, decoded greedily, scored and kept batch by batch.

`evaluate_arm` reads from top to bottom. A batch is one atomic file, so a worker may be killed at any moment; a finished batch is used again
only where everything that decides it is the same. It refuses items that are not those frozen, and prompts that hold control tokens.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from engine.compute import preflight
from engine.compute.arm_conditions import as_base, conditions_of
from engine.compute.arm_decoder import ArmDecoder, BatchDidNotFitError, tokenized_prompts
from engine.compute.decode import Decoder
from engine.compute.loader import load_clean_model
from engine.compute.memory import DeviceGauge, MemoryWatch, memory_now
from engine.compute.noise import measure_noise
from engine.compute.planned_model import carry_out
from engine.compute.planning import choose_decoding_plan
from engine.compute.ran_out import shortened, told_and_kept
from engine.core.batching import Batch, BatchPlan, plan_batches
from engine.protocol.arms import WEIGHTS_FILE, Attempt, Conditions, ItemRecord, arm_file, attempt_file, read_arm
from engine.protocol.errors import EngineError, InputError, SentinelError, StopRequested
from engine.protocol.events import Arm, BatchEvaluated, EvaluationFinished, EvaluationPlanned, ItemOutcome, Warned
from engine.protocol.gates import read_gates
from engine.protocol.items import HeldOutItem
from engine.protocol.plans import PlanEstimate
from engine.protocol.prereg import Preregistration, differences, read_prereg
from engine.protocol.recoveries import Preflight
from engine.protocol.runs import RunFolder
from engine.protocol.stage_context import StageContext
from engine.store import arm_files
from engine.store.arm_files import BatchFile
from engine.store.disk_patience import once_there_is_room
from engine.store.hashes import digest, sha256_file
from engine.store.late_gates import fail_sentinels, settle_headroom, settle_sentinels
from engine.store.ledger import Entry, ledger_of, record_attempt
from engine.store.preregistration import freeze, read_frozen_items
from engine.store.run_plan import read_run_plan
from engine.store.stages import read_training_success

PREVIEW_CHARACTERS = 200


@dataclass(frozen=True)
class _Session:
    """One process that decodes: what it is given, what is frozen, the model with its items, the plan, and the conditions of its own arm."""

    context: StageContext
    prereg: Preregistration
    decoder: ArmDecoder
    plan: BatchPlan
    conditions: Conditions
    chosen: PlanEstimate

    def stop_if_asked(self) -> None:
        if self.context.stop_requested():
            raise StopRequested

    def warn(self, text: str) -> None:
        self.context.emit(Warned(text=text))


def evaluate_arm(context: StageContext, arm: Arm) -> None:
    """Answer every frozen item with the base model or, for `sft`, with the run's adapter; leaves eval/<arm>.jsonl when complete.

    Batches that are on the disk already, decoded under the same conditions, are kept. The SFT arm decodes the base arm anew where
    that was decoded under other conditions, so that both arms always had the same arithmetic. After GPU memory ran out, batches
    of both arms have half as many rows as the one that did not fit.

    Raises:
        InputError: the items are not those frozen, or prompts hold control tokens.
        ModelError: the model or adapter cannot be loaded.
        GateBlockedError: a gate that was pending until now is hard and failed.
        StopRequested: a stop was asked for; every batch that was begun is finished and on the disk.
        DiskFullError: no space; every batch before is on the disk.
        MemoryRanOutError: a batch did not fit; it is in plan.json, and every batch before is on the disk.
        EngineError: one item at a time does not fit.
    """
    prereg = read_prereg(context.run.prereg)
    items = read_frozen_items(context.run, prereg)
    _warn_of_differences(context, items, prereg)
    session = _open(context, prereg, items, arm)
    settle_sentinels(context.run, session.decoder.loaded.provenance, context.emit)
    try:
        _rehearse(session, arm)
        if arm == "sft":
            _count_attempt(context.run, prereg, session.conditions)
            _same_arithmetic_for_base(session)
        _complete(session, arm, session.conditions, adapter=True)
    except BatchDidNotFitError as error:
        _did_not_fit(session, arm, error)


def _warn_of_differences(context: StageContext, items: tuple[HeldOutItem, ...], prereg: Preregistration) -> None:
    now = freeze(context.config, items, prereg.frozen.held_out_sha256)
    for change in differences(prereg.frozen, now.frozen):
        context.emit(
            Warned(text=f"not as frozen before the evaluation: {change}; the report will be exploratory and cannot say GO")
        )


def _open(context: StageContext, prereg: Preregistration, items: tuple[HeldOutItem, ...], arm: Arm) -> _Session:
    """Load the model and plan the batches."""
    config, adapter = context.config, _trained_adapter(context.run) if arm == "sft" else None
    try:
        loaded = load_clean_model(config, emit=context.emit, adapter=adapter)
    except SentinelError as failed:
        fail_sentinels(context.run, str(failed), context.emit)
        raise
    prompts = tokenized_prompts(loaded.tokenizer, items)
    batch_items = _batch_items(context, arm)
    if batch_items < config.eval.batch_items:
        text = f"both arms are answered in batches of {batch_items} items instead of {config.eval.batch_items}"
        context.emit(Warned(text=f"{text}: GPU memory ran out before, or the base arm was answered so"))
    plan = plan_batches(prompts, batch_items)
    _warn_of_length(context, plan, getattr(loaded.model.config, "max_position_embeddings", None))
    before = arm_files.read_conditions(context.run, "base") if arm == "sft" else None
    chosen = choose_decoding_plan(context, arm, loaded, plan, before)
    planned = carry_out(chosen.plan, loaded.model, compute_dtype=loaded.compute_dtype, emit=context.emit)
    decoder = ArmDecoder(
        loaded, planned, Decoder(loaded.model, pad_id=loaded.pad_id, graphs=planned.plan.graph, emit=context.emit), {item.id: item for item in items},
        prompts, config.eval.max_new_tokens,
    )  # fmt: skip
    conditions = conditions_of(
        loaded, config, batch_items=batch_items, plan_digest=plan.digest, compute_plan=planned.plan, adapter=adapter
    )
    return _Session(context, prereg, decoder, plan, conditions, chosen)


def _trained_adapter(run: RunFolder) -> Path:
    """The adapter's folder, its weights as they were when training ended."""
    marker = read_training_success(run)
    if marker is None:
        raise InputError(
            f"{run.success_marker}: is not there or damaged: training is not complete; `sluice resume` goes on with it"
        )
    weights = run.path / marker.adapter / WEIGHTS_FILE
    if marker.sha256 and (not weights.is_file() or sha256_file(weights) != marker.sha256):
        raise InputError(f"{weights}: is missing or was changed after training; restore it, or start a new run with `sluice run`")
    return weights.parent


def _batch_items(context: StageContext, arm: Arm) -> int:
    """Rows of a batch: as the settings say, as the base arm had them, or as memory allows where it ran out: the fewest of these."""
    before = arm_files.read_conditions(context.run, "base") if arm == "sft" else None
    fits = read_run_plan(context.run).most_batch_items
    known = (context.config.eval.batch_items, None if before is None else before.batch_items, fits)
    return min(items for items in known if items is not None)


def _rehearse(session: _Session, arm: Arm) -> None:
    """Before the first batch of a stage: decode the one that needs most to its full length, and keep nothing of it."""
    context, device = session.context, session.decoder.loaded.device
    if arm_file(context.run, arm).exists() or not preflight.wanted(context.config.engine, device):
        return
    began_s, watch = time.monotonic(), MemoryWatch(DeviceGauge(device))
    batch = max(session.plan.batches, key=lambda batch: batch.width * len(batch.ids))
    watch.begin()
    session.decoder.rehearse(batch)
    measured = Preflight(
        tokens=len(batch.ids) * (batch.width + context.config.eval.max_new_tokens), predicted_peak_bytes=session.chosen.peak_bytes or None,
        measured_peak_bytes=watch.peak_bytes, elapsed_s=round(time.monotonic() - began_s, 4),
    )  # fmt: skip
    context.emit(preflight.told(context.run, arm, measured))


def _did_not_fit(session: _Session, arm: Arm, error: BatchDidNotFitError) -> None:
    """Write down that a batch did not fit, so that both arms are split. Raises: MemoryRanOutError, or EngineError for one item alone."""
    batch, rows = error.batch, len(error.batch.ids)
    if rows == 1:
        raise EngineError(
            f"item {batch.ids[0]} alone does not fit into GPU memory ({shortened(str(error))}); lower eval.max_new_tokens, take a GPU with more memory, "
            "or end other processes on it"
        )
    context, chosen = session.context, session.chosen
    for event in told_and_kept(
        context.run, stage=arm, reason=str(error), batch=batch.index, batch_items=rows, plan=chosen.name,
        predicted_peak_bytes=chosen.peak_bytes,
    ):  # fmt: skip
        context.emit(event)


def _warn_of_length(context: StageContext, plan: BatchPlan, positions: int | None) -> None:
    longest = max((batch.width for batch in plan.batches), default=0) + context.config.eval.max_new_tokens
    if positions is not None and longest > positions:
        text = f"the longest prompt with eval.max_new_tokens takes {longest} tokens, but the model was made for {positions}"
        context.emit(Warned(text=f"{text}: answers there may be bad in both arms"))


def _count_attempt(run: RunFolder, prereg: Preregistration, conditions: Conditions) -> None:
    """Write this adapter into the ledger before its first answer, so that no look at the held-out set goes uncounted."""
    held_out, adapter = prereg.frozen.held_out_sha256, conditions.adapter_files[WEIGHTS_FILE]
    at = datetime.now(UTC).isoformat(timespec="seconds")
    entry = Entry(held_out_sha256=held_out, adapter_sha256=adapter, run_id=run.run_id, at=at)
    known = arm_files.read_attempt(attempt_file(run))
    number = record_attempt(ledger_of(run), entry)
    if known is not None and (known.held_out_sha256, known.adapter_sha256) == (held_out, adapter):
        number = max(number, known.attempt)
    gates = digest(read_gates(run.gates)) if run.gates.exists() else ""
    attempt = Attempt(held_out_sha256=held_out, adapter_sha256=adapter, attempt=number, gates_digest=gates)
    arm_files.write_attempt(attempt_file(run), attempt)


def _same_arithmetic_for_base(session: _Session) -> None:
    """Decode the base arm again, adapter off, where it is not complete under the conditions of this process."""
    run, conditions = session.context.run, as_base(session.conditions)
    before = arm_files.read_conditions(run, "base")
    same = before is not None and arm_files.conditions_key(before) == arm_files.conditions_key(conditions)
    if same and arm_file(run, "base").exists():
        return
    text = "the base arm was answered under other conditions (device, libraries, batches or settings); it is answered again here"
    session.context.emit(Warned(text=text))
    _complete(session, "base", conditions, adapter=False)


def _complete(session: _Session, arm: Arm, conditions: Conditions, *, adapter: bool) -> None:
    """Finish every batch of an arm, read its noise floor, settle what its outcomes settle, and write its records."""
    context = session.context
    arm_files.begin_arm(context.run, arm, conditions)
    arm_files.remove_stale(context.run, arm, session.plan)
    batches = _finish_batches(session, arm, conditions, adapter=adapter)
    records = _by_id(record for batch in batches for record in batch.records)
    noise = measure_noise(
        session.decoder,
        session.plan,
        context.config,
        key=arm_files.conditions_key(conditions),
        batch_items=conditions.batch_items,
        adapter=adapter,
        records=records,
        base=_by_id(iter(read_arm(arm_file(context.run, "base")))) if arm == "sft" else None,
        emit=context.emit,
        between_batches=session.stop_if_asked,
    )
    context.check_ownership()
    if arm == "base":
        # Before the records make the arm complete: a worker killed in between would leave the gate pending for ever.
        settle_headroom(context.run, context.config, session.prereg, session.decoder.items, records, context.emit)
    arm_files.finish_arm(context.run, arm, batches, noise)
    context.emit(_finished_event(arm, batches))


def _finish_batches(session: _Session, arm: Arm, conditions: Conditions, *, adapter: bool) -> list[BatchFile]:
    """Every batch in order: from the disk where it was decoded under these conditions, else decoded now."""
    run, plan = session.context.run, session.plan
    keys = [arm_files.batch_key(conditions, batch, _items(session, batch)) for batch in plan.batches]
    done = [arm_files.read_batch(run, arm, batch, key, session.warn) for batch, key in zip(plan.batches, keys, strict=True)]
    done_items = sum(len(found.records) for found in done if found)
    session.context.emit(
        EvaluationPlanned(arm=arm, items=plan.items, batches=len(plan.batches), done_items=done_items, digest=plan.digest)
    )
    finished = []
    for batch, key, found in zip(plan.batches, keys, done, strict=True):
        if found is None:
            session.stop_if_asked()
            found = _decode(session, arm, batch, key, adapter=adapter)
            done_items += len(batch.ids)
            _announce(session, arm, batch, found, done_items)
        finished.append(found)
    return finished


def _items(session: _Session, batch: Batch) -> Iterator[HeldOutItem]:
    return (session.decoder.items[item_id] for item_id in batch.ids)


def _decode(session: _Session, arm: Arm, batch: Batch, key: str, *, adapter: bool) -> BatchFile:
    """Decode and score one batch and put it on the disk."""
    began_s = time.monotonic()
    records = session.decoder.records(batch, adapter=adapter)
    finished = arm_files.batch_of(key, round(time.monotonic() - began_s, 4), records)
    context = session.context
    context.check_ownership()
    once_there_is_room(
        lambda: arm_files.write_batch(context.run, arm, batch, finished),
        context.run.path, emit=context.emit, stop_requested=context.stop_requested,
    )  # fmt: skip
    return finished


def _announce(session: _Session, arm: Arm, batch: Batch, finished: BatchFile, done_items: int) -> None:
    session.context.emit(
        BatchEvaluated(
            arm=arm,
            batch=batch.index,
            done_items=done_items,
            items=session.plan.items,
            tokens=sum(record.tokens for record in finished.records),
            elapsed_s=finished.elapsed_s,
            outcomes=tuple(_outcome(record) for record in finished.records),
            memory=memory_now(session.decoder.loaded.device),
        )
    )


def _outcome(record: ItemRecord) -> ItemOutcome:
    failed = next((check.reason for check in record.checks if check.success is not True), "")
    return ItemOutcome(
        id=record.id,
        types=record.types,
        success=record.success,
        preview=record.text[:PREVIEW_CHARACTERS],
        reason=failed[:PREVIEW_CHARACTERS],
    )


def _finished_event(arm: Arm, batches: list[BatchFile]) -> EvaluationFinished:
    records = [record for batch in batches for record in batch.records]
    return EvaluationFinished(
        arm=arm,
        items=len(records),
        successes=sum(record.success is True for record in records),
        unscored=sum(record.success is None for record in records),
        tokens=sum(record.tokens for record in records),
        elapsed_s=round(sum(batch.elapsed_s for batch in batches), 3),
    )


def _by_id(records: Iterator[ItemRecord]) -> dict[str, ItemRecord]:
    return {record.id: record for record in records}
