"""The page itself: what the run's folder adds to the evaluation, and the sections in their order.

It refuses to fail for want of a file that only illustrates: a missing curve or missing records are said in words. The same files give
the same bytes, but for the time in the evaluation.
"""

from engine.protocol.arms import ItemPair, items_with_outcomes
from engine.protocol.errors import SluiceError
from engine.protocol.evaluation import Evaluation
from engine.protocol.gates import GatesReport, read_gates
from engine.protocol.runs import RunFolder
from engine.report.html.charts import forest_plot, loss_curve
from engine.report.html.findings import findings
from engine.report.html.items import discordant
from engine.report.html.markup import Markup, element, joined, text, void
from engine.report.html.provenance import provenance
from engine.report.html.scorer import scorer
from engine.report.html.style import STYLE
from engine.report.html.tables import gates, guards, power, results, second_readings
from engine.report.measured import loss_history, training_manifest

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def html_report(run: RunFolder, evaluation: Evaluation) -> bytes:
    """The page for `evaluation` as UTF-8; curve, gates and discordant items come from the folder of `run`."""
    gates_report = _gates(run)
    name = evaluation.metadata.labels.get("name", "")
    parts = [
        element("h1", text(f"sluice report · {name} · run {run.run_id}")),
        findings(evaluation, () if gates_report is None else gates_report.overrides),
        _section("Results", results(evaluation), forest_plot(evaluation.overall, evaluation.by_type)),
        _section("Guarded types", guards(evaluation.by_type)),
        _section("Second readings", _note("They do not decide by themselves."), second_readings(evaluation.secondary)),
        _section("Scorer against a person", scorer(evaluation.validation)),
        _section("Training", _training(run)),
        _section("Discordant items", discordant(_pairs(run))),
        _section("Gates", gates(gates_report)),
        _section("Power", power(evaluation.power)),
        _section("Provenance", provenance(evaluation)),
    ]
    decision = evaluation.verdict.decision if evaluation.verdict else "no verdict"
    return _document(f"{decision} · {name} · sluice report", joined(parts)).encode()


def _document(title: str, body: Markup) -> str:
    head = element(
        "head",
        void("meta", charset="utf-8"),
        void("meta", name="viewport", content="width=device-width, initial-scale=1"),
        void("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        void("meta", name="color-scheme", content="light dark"),
        element("title", text(title)),
        element("style", Markup(STYLE)),
    )
    return f"<!doctype html>\n{element('html', head, element('body', body), lang='en')}\n"


def _section(title: str, *parts: Markup) -> Markup:
    return element("section", element("h2", text(title)), *parts)


def _note(words: str) -> Markup:
    return element("p", text(words), class_="soft")


def _training(run: RunFolder) -> Markup:
    train, dev = loss_history(run)
    if not train and not dev:
        return element("p", text("No checkpoint with a loss history is there."))
    manifest = training_manifest(run)
    taken = None if manifest is None else manifest.outcome.adapter_step
    shown = (
        "the line is the training loss, the dots are the dev loss"
        if dev
        else "the line is the training loss; there was no dev split"
    )
    words = f"Nats a response token: {shown}" + ("" if taken is None else f"; the adapter is that of step {taken:,} (dashed)")
    return joined([_note(f"{words}."), loss_curve(train, dev, taken)])


def _gates(run: RunFolder) -> GatesReport | None:
    try:
        return read_gates(run.gates)
    except SluiceError:
        return None


def _pairs(run: RunFolder) -> list[ItemPair] | None:
    try:
        return items_with_outcomes(run)
    except SluiceError:
        return None
