"""The report of a run: pairs, analysis, readings, verdict, and the files that hold them.

`write_report` reads from top to bottom. The same records give the same bytes but for one field, `metadata.created_at`. It refuses to
write anything before everything is computed, so nothing half-written can be found.
"""

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from engine.core.analysis import Analysis, Settings, analyse, describe
from engine.core.design import guarded_types
from engine.core.summary import summary_text
from engine.core.verdict import Arm, Evidence, decide, gate_outcomes, sign_off
from engine.protocol.config import VerdictTable
from engine.protocol.evaluation import SCHEMA_VERSION, Evaluation, Prereg, Secondary, Verdict, encode_evaluation
from engine.protocol.events import Event, VerdictReached
from engine.protocol.review import Validation
from engine.protocol.runs import RunFolder
from engine.report.html import html_report
from engine.report.items import item_lines
from engine.report.kept import preregistration
from engine.report.measured import measured
from engine.report.metadata import metadata
from engine.report.readings import noise_floor, paired, paired_after_blank_line, paired_after_stop_rules
from engine.report.review import validation_of
from engine.report.run_records import RunRecords, read_run
from engine.report.signature import kept_signature
from engine.store.atomic import atomic_write


def write_report(run: RunFolder, emit: Callable[[Event], None]) -> Evaluation:
    """Compute statistics and verdict from the run's records; leaves evaluation.json, summary.txt, report.html and items.jsonl.

    Raises:
        InputError: with every file that is missing or damaged, or every id that is not in both arms.
        DiskFullError: no space; files of an earlier report are as they were.
    """
    records = read_run(run)
    evaluation = _evaluation(run, records, datetime.now(UTC).isoformat(timespec="seconds"))
    page = html_report(run, evaluation)
    atomic_write(run.items, item_lines(records))
    # evaluation.json last: it is what the other readers wait for.
    atomic_write(run.report_html, page)
    atomic_write(run.summary, summary_text(evaluation).encode())
    atomic_write(run.evaluation, encode_evaluation(evaluation))
    verdict = evaluation.verdict
    if verdict is not None:
        reasons = tuple(reason.text for reason in verdict.reasons)
        emit(VerdictReached(decision=verdict.decision, flags=verdict.flags, reasons=reasons))
    return evaluation


def what_if(run: RunFolder, verdict: VerdictTable) -> Evaluation:
    """The evaluation that other [verdict] settings would have given; nothing is written and nobody has signed it.

    Where a setting differs from what was frozen it is exploratory, so it cannot say GO; the run's own verdict stays.

    Raises:
        InputError: as `write_report`.
    """
    records = read_run(run)
    tried = msgspec.structs.replace(records, config=msgspec.structs.replace(records.config, verdict=verdict))
    found = _evaluation(run, tried, created_at=None)
    if found.verdict is None:
        return found
    return msgspec.structs.replace(found, verdict=msgspec.structs.replace(found.verdict, signed_off=None))


def build_evaluation(run: RunFolder, *, created_at: str | None) -> Evaluation:
    """The whole of evaluation.json, without writing it; equal records and `created_at` give an equal value.

    Raises:
        InputError: as `write_report`.
    """
    return _evaluation(run, read_run(run), created_at)


def _evaluation(run: RunFolder, records: RunRecords, created_at: str | None) -> Evaluation:
    pairs = paired(records)
    settings = settings_of(records)
    prereg = preregistration(run, records)
    analysis = analyse(pairs, settings, alpha=prereg.alpha)
    noise, validation = noise_floor(records), validation_of(run, records)
    secondary = Secondary(
        after_stop_rules=describe(paired_after_stop_rules(records), settings),
        after_blank_line=describe(paired_after_blank_line(records), settings),
        noise_floor=noise,
        noise_floor_undecided="no noise file is there" if noise is None else None,
        unscored_worst_case=analysis.worst_case,
    )
    return Evaluation(
        schema_version=SCHEMA_VERSION,
        overall=analysis.overall,
        by_type=analysis.by_type,
        bh=analysis.bh,
        secondary=secondary,
        power=analysis.power,
        prereg=prereg,
        verdict=_verdict(run, records, _evidence(records, analysis, settings, prereg, secondary, validation)),
        metadata=metadata(run, records, created_at),
        validation=validation,
    )


def settings_of(records: RunRecords) -> Settings:
    """Thresholds of analysis and verdict as the run's settings have them."""
    config = records.config
    return Settings.from_table(
        config.verdict,
        guarded=guarded_types(config.verdict.guarded, records.items),
        min_guarded_items=config.gates.min_guarded_items,
    )


def _verdict(run: RunFolder, records: RunRecords, evidence: Evidence) -> Verdict:
    """Decide; only a NO-GO asks for the measurements that its advice is drawn from, as they may need a pass over the training data."""
    verdict = decide(evidence)
    if verdict.decision == "NO-GO":
        verdict = decide(msgspec.structs.replace(evidence, measured=measured(run, records)))
    signature = kept_signature(run, verdict)
    return verdict if signature is None else sign_off(verdict, signature)


def _evidence(
    records: RunRecords, analysis: Analysis, settings: Settings, prereg: Prereg, secondary: Secondary, validation: Validation
) -> Evidence:
    planned = len(records.items)
    return Evidence(
        analysis=analysis,
        settings=settings,
        gates=() if records.gates is None else gate_outcomes(records.gates),
        arms=(
            Arm(name="base", planned=planned, done=len(records.base.records)),
            Arm(name="sft", planned=planned, done=len(records.sft.records)),
        ),
        prereg=prereg,
        after_stop_rules=secondary.after_stop_rules,
        noise_floor=secondary.noise_floor,
        validation=validation,
        relaxed=() if records.gates is None else records.gates.relaxed,
    )
