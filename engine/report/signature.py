"""A person's signature under a verdict: kept with the run, shown in the report, carried over when the report is rebuilt.

It refuses to sign what is not there, and to carry a signature over to another decision than the one that was signed, or to flags that its
signer never saw.
"""

import msgspec

from engine.core.summary import summary_text
from engine.core.verdict import sign_off
from engine.protocol.errors import InputError
from engine.protocol.evaluation import Decision, Evaluation, Flag, Signature, Verdict, decode_evaluation, encode_evaluation
from engine.protocol.runs import RunFolder
from engine.report.html import html_report
from engine.store.atomic import atomic_write


class SignedDecision(msgspec.Struct, frozen=True, kw_only=True):
    """signoff.json: the signature, the decision it stands under, and the flags that its signer saw; None where they were not kept."""

    decision: Decision
    signature: Signature
    flags: tuple[Flag, ...] | None = None


def sign_verdict(run: RunFolder, signature: Signature) -> Evaluation:
    """Sign the verdict of `run`; signoff.json, evaluation.json, summary.txt and report.html then show it.

    Raises:
        InputError: no report, a report without a verdict, or an empty name.
        DiskFullError: no space; the files are as they were.
    """
    if not signature.name.strip():
        raise InputError("the signer's name is empty; give it with --name")
    try:
        evaluation = decode_evaluation(run.evaluation.read_bytes(), str(run.evaluation))
    except FileNotFoundError:
        raise InputError(f"run {run.run_id}: has no verdict yet, so there is nothing to sign") from None
    if evaluation.verdict is None:
        raise InputError(f"run {run.run_id}: its report has no verdict, so there is nothing to sign")
    signed = msgspec.structs.replace(evaluation, verdict=sign_off(evaluation.verdict, signature))
    kept = SignedDecision(decision=evaluation.verdict.decision, signature=signature, flags=evaluation.verdict.flags)
    atomic_write(run.signoff, msgspec.json.format(msgspec.json.encode(kept), indent=2) + b"\n")
    atomic_write(run.report_html, html_report(run, signed))
    atomic_write(run.summary, summary_text(signed).encode())
    atomic_write(run.evaluation, encode_evaluation(signed))
    return signed


def kept_signature(run: RunFolder, verdict: Verdict) -> Signature | None:
    """The signature of this very decision with no other flags than its signer saw, None where nobody signed that.

    Raises:
        InputError: signoff.json is damaged: a signature must not be lost silently.
    """
    try:
        kept = msgspec.json.decode(run.signoff.read_bytes(), type=SignedDecision)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{run.signoff}: cannot be read: {error}; remove it and sign again with `sluice signoff`") from None
    seen = kept.flags is None or set(verdict.flags) <= set(kept.flags)
    return kept.signature if kept.decision == verdict.decision and seen else None
