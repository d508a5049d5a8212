"""Gates on where the data comes from: manifest, integrity, provenance, and what the QC summaries themselves declare.

They refuse to take a declaration for a measurement: what can be recomputed is compared, and a difference is said.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from engine.core.qc import within
from engine.core.text import quoted
from engine.data.gate_results import NOT_DECLARED, Found, counted, limit, percent, share_of
from engine.data.inputs import Inputs
from engine.data.manifests import Artifact, Declared, QcSummary
from engine.protocol.gates import GateResult, Status

_SHORTEST_COMMIT = 7


def manifest(inputs: Inputs) -> GateResult:
    """The session manifest and both QC summaries exist, parse, and name a commit, a loader version and this dataset."""
    parts = (inputs.manifests.session, inputs.manifests.pilot, inputs.manifests.scale)
    severity, threshold = inputs.draft.pipeline_severity, "3 files, commit, loader, dataset"
    given = [part.what for part in parts if part.given]
    if not given and inputs.draft.external:
        return inputs.draft.result(
            "manifest", severity, "n/a", "no manifest is named in the settings; profile external needs none", threshold=threshold
        )
    problems = [*_file_problems(parts, required=not inputs.draft.external), *_session_problems(inputs)]
    found = Found()
    for problem in problems:
        found.add("manifest", problem)
    session = inputs.manifests.session.value
    dirty = "; the commit had uncommitted changes (git_dirty)" if session and session.git_dirty else ""
    reason = "; ".join(problems) if problems else f"every manifest is there and names this dataset{dirty}"
    reason += "" if given else '; data that was not made by the documented pipeline is checked with run.profile = "external"'
    return inputs.draft.result(
        "manifest", severity, "fail" if problems else "pass", reason, declared=f"{len(given)} of 3 files",
        measured=counted(len(problems), "problem") if problems else "ok", threshold=threshold, found=found,
    )  # fmt: skip


def integrity(inputs: Inputs) -> GateResult:
    """The file is the one that was declared: sha256 and record count exactly, token statistics within ±1 %."""
    declared, problems = _declared_facts(inputs), _integrity_problems(inputs)
    flaws = dict(inputs.findings.dropped)
    if repeated := inputs.findings.noted["duplicate id"]:
        flaws["duplicate id"] = repeated
    found = Found()
    for text in problems:
        found.add("dataset", text)
    for problem in inputs.findings.listed:
        found.add(f"line {problem.line}" if problem.line else "file", str(problem))
    found.total = len(problems) + inputs.findings.total
    if flaws:
        listed = ", ".join(f"{count} {reason}" for reason, count in sorted(flaws.items()))
        problems.append(f"the reader found {listed}")
    notes = [str(problem.text) for problem in inputs.findings.listed if problem.line is None]
    unknown = _unmeasured_tokens(inputs)
    status: Status = "fail" if problems else "undecided" if unknown else "pass" if declared else "n/a"
    reason = "; ".join([*problems, *unknown, *notes]) or (
        "the file is as declared" if declared else "nothing is declared to compare with"
    )
    return inputs.draft.result(
        "integrity", "hard" if declared else "advisory", status, reason, declared=", ".join(declared) or NOT_DECLARED,
        measured=f"{counted(inputs.records, 'record')}, {inputs.sha256[:12]}…{' ≠' if problems and declared else ''}",
        threshold=f"exact, token statistics ±{limit(inputs.config.gates.token_tolerance)}", found=found,
    )  # fmt: skip


def provenance(inputs: Inputs) -> GateResult:
    """Enough records say in full how they were made."""
    seen, least = inputs.observed.metadata, inputs.config.gates.min_provenance
    full = inputs.records - seen.incomplete.total
    share = full / inputs.records
    missing = ", ".join(f"{key} in {count:,}" for key, count in seen.missing_keys.most_common(5))
    mixed = [f"{len(values)} values of {key}" for key, values in seen.origins.items() if len(values) > 1]
    reason = f"{share_of(full, inputs.records)} have full metadata"
    reason += f"; missing most: {missing}" if missing else ""
    reason += f"; records of several origins: {', '.join(mixed)}" if mixed else ""
    others = _other_origins(inputs)
    reason += "".join(f"; {other}" for other in others)
    session = inputs.manifests.session.value
    declared = ", ".join(filter(None, ((session.git_commit or "")[:_SHORTEST_COMMIT], session.loader_version))) if session else ""
    return inputs.draft.result(
        "provenance", inputs.draft.pipeline_severity, "pass" if share >= least else "fail", reason,
        declared=declared or NOT_DECLARED, measured=percent(share) + (" ≠" if others else ""),
        threshold=f"≥ {limit(least)}", found=seen.incomplete,
    )  # fmt: skip


def _other_origins(inputs: Inputs) -> list[str]:
    """Commits and loader versions that records state and the session manifest does not."""
    session = inputs.manifests.session.value
    found = []
    for key in ("git_commit", "loader_version"):
        declared = getattr(session, key) if session else None
        others = sorted(value for value in inputs.observed.metadata.origins[key] if not _same_origin(key, declared, value))
        if declared and others:
            found.append(f"records state {key} {quoted(others[0])}, the session manifest {quoted(declared)}")
    return found


def _same_origin(key: str, declared: str | None, stated: str) -> bool:
    """Of commits one may be the short form of the other."""
    if not declared or not stated or declared == stated:
        return True
    short, long = sorted((declared, stated), key=len)
    return key == "git_commit" and len(short) >= _SHORTEST_COMMIT and long.startswith(short)


def qc_pilot(inputs: Inputs) -> GateResult:
    """The pilot's summary keeps every threshold; its records are not here, so only its own figures can be judged."""
    return _summary_gate(inputs, "qc-pilot", inputs.manifests.pilot)


def qc_scale(inputs: Inputs) -> GateResult:
    """The scale run's summary keeps every threshold by its own figures; the rows below it are recomputed from the data."""
    return _summary_gate(inputs, "qc-scale", inputs.manifests.scale)


def _summary_gate(inputs: Inputs, gate: str, part: Declared[QcSummary]) -> GateResult:
    severity = inputs.draft.pipeline_severity
    threshold = "every declared figure"
    status: Status
    if part.value is None:
        status = "fail" if part.problem else "n/a" if inputs.draft.external else "undecided"
        reason = part.problem or f"the settings name no {part.what}"
        return inputs.draft.result(gate, severity, status, reason, threshold=threshold)
    faults, unknown = list(_summary_faults(inputs, part.value)), list(_summary_gaps(part.value))
    status = "fail" if faults else "undecided" if unknown else "pass"
    reason = "; ".join([*faults, *(f"not stated: {name}" for name in unknown)]) or "every declared figure keeps its threshold"
    said = {True: "passed", False: "failed", None: "not stated"}[part.value.says_passed]
    return inputs.draft.result(
        gate,
        severity,
        status,
        reason,
        declared=said,
        measured=counted(len(faults), "fault") if faults else "ok",
        threshold=threshold,
    )


def _summary_faults(inputs: Inputs, summary: QcSummary) -> Iterator[str]:
    """What the summary's own figures say against it."""
    gates, counts = inputs.config.gates, summary.counts
    if summary.says_passed is False or summary.failed_reasons:
        yield f"the summary says that it failed: {', '.join(summary.failed_reasons or []) or 'no reason given'}"
    for what in ("instructions", "pairs"):
        rate = summary.acceptance.rate(what)
        if rate is not None and rate < gates.min_acceptance:
            yield f"acceptance of {what} is {percent(rate)}, below {limit(gates.min_acceptance)}"
    if (
        counts.generated
        and counts.hit_token_limit is not None
        and counts.hit_token_limit / counts.generated >= gates.max_token_limit
    ):
        yield f"token limit hit by {share_of(counts.hit_token_limit, counts.generated)}, not below {limit(gates.max_token_limit)}"
    typical = summary.token_stats.median
    if typical is not None and not inputs.draft.external and typical >= gates.max_median_tokens:
        yield f"median tokens are {typical:g}, not below {gates.max_median_tokens:g}"
    if counts.generated is not None and counts.kept is not None and counts.kept > counts.generated:
        yield f"kept ({counts.kept}) is more than generated ({counts.generated})"


def _summary_gaps(summary: QcSummary) -> Iterator[str]:
    if summary.says_passed is None:
        yield "thresholds_passed"
    if summary.counts.generated is None:
        yield "counts.generated"
    for what in ("instructions", "pairs"):
        if summary.acceptance.rate(what) is None:
            yield f"acceptance of {what}"


def _file_problems(parts: Sequence[Declared[Any]], *, required: bool) -> Iterator[str]:
    for part in parts:
        if part.problem:
            yield part.problem
        elif part.value is None and required:
            yield f"the settings name no {part.what}"


def _session_problems(inputs: Inputs) -> Iterator[str]:
    session = inputs.manifests.session.value
    if session is None:
        return
    if not session.git_commit:
        yield "the session manifest names no git_commit"
    if not session.loader_version:
        yield "the session manifest names no loader_version"
    name = Path(inputs.config.data.train).name
    if session.artifact(Path(inputs.config.data.train)) is None:
        yield f"the session manifest does not list {name} among its artifacts_generated"


def _declared_facts(inputs: Inputs) -> list[str]:
    facts = [counted(count, "record") for count in dict(_declared_counts(inputs)).values()]
    if sha256 := _artifact(inputs).sha256:
        facts.append(f"{sha256[:12]}…")
    if tokens := _declared_tokens(inputs):
        facts.append(f"{' / '.join(f'{value:.4g}' for value in tokens.values())} tokens")
    return list(dict.fromkeys(facts))


def _declared_counts(inputs: Inputs) -> Iterator[tuple[str, int]]:
    """(who says so, records)."""
    summary, artifact = inputs.manifests.scale.value, _artifact(inputs)
    if summary and summary.counts.kept is not None:
        yield "the QC summary", summary.counts.kept
    if artifact.records is not None:
        yield "the session manifest", artifact.records


def _artifact(inputs: Inputs) -> Artifact:
    session, path = inputs.manifests.session.value, Path(inputs.config.data.train)
    return (session.artifact(path) if session else None) or Artifact(path=str(path))


def _integrity_problems(inputs: Inputs) -> list[str]:
    problems = [
        f"{count:,} records are declared by {who}, {inputs.records:,} are usable here"
        for who, count in _declared_counts(inputs)
        if count != inputs.records
    ]
    sha256 = _artifact(inputs).sha256
    if sha256 is not None and sha256.lower() != inputs.sha256:
        problems.append(f"the declared sha256 {sha256[:12]}… is not this file's, {inputs.sha256[:12]}…")
    return problems + list(_token_problems(inputs))


def _token_problems(inputs: Inputs) -> Iterator[str]:
    tokens = inputs.tokens
    if tokens is None:
        return
    for name, declared in _declared_tokens(inputs).items():
        low, high = tokens.bounds(name)
        if not within(declared, low, high, inputs.config.gates.token_tolerance):
            found = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
            yield f"{name} tokens are declared as {declared:g}, measured {found}{tokens.label}"


def _unmeasured_tokens(inputs: Inputs) -> list[str]:
    """Why declared token statistics cannot be compared."""
    names = ", ".join(_declared_tokens(inputs))
    return (
        [f"{names} tokens are declared and cannot be measured: {inputs.no_tokenizer}"] if names and inputs.tokens is None else []
    )


def _declared_tokens(inputs: Inputs) -> dict[str, float]:
    summary = inputs.manifests.scale.value
    said = {name: getattr(summary.token_stats, name) if summary else None for name in ("median", "mean", "p95")}
    return {name: value for name, value in said.items() if value is not None}
