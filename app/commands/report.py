"""Commands on outcomes: report, stats, score and signoff. None of them needs a model.

They refuse to change a verdict: a report is rebuilt from the records, and a signature only stands beside it.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click
import msgspec
from msgspec import Meta

from app.commands.follow import verdict_status
from app.commands.given_lines import no_garbage_collection, read_lines, refuse, repeated, unknown_types
from app.commands.output import print_json, say
from engine.core.text import quoted
from engine.protocol.commands import utc_now
from engine.protocol.errors import InputError
from engine.protocol.items import HeldOutItem
from engine.protocol.runs import RunFolder, find_run, workspace

if TYPE_CHECKING:
    from engine.core.analysis import Pair


Name = Annotated[str, Meta(min_length=1)]


class PairLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a pairs file."""

    id: str
    type: Name | Annotated[tuple[Name, ...], Meta(min_length=1)]
    base: bool | None
    sft: bool | None
    cluster: str | None = None


class ResponseLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a responses file: the item by its id, by its IFEval key, or by its prompt, and what was answered."""

    response: str
    id: str | int | None = None
    key: str | int | None = None
    prompt: str | None = None


@click.command()
@click.argument("run")
@click.option(
    "--what-if",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Try another [verdict] setting (alpha=0.05, guarded='[]'); exploratory, nothing is written. May be given several times.",
)
@click.option("--json", "as_json", is_flag=True, help="Print evaluation.json instead of the summary.")
def report(run: str, changes: tuple[str, ...], as_json: bool) -> int:
    """Rebuild statistics, verdict and summary of a run from its records."""
    found = find_run(run, workspace())
    from engine.protocol.evaluation import encode_evaluation
    from engine.report.write import write_report

    if changes:
        return _what_if(found, changes, as_json)

    evaluation = write_report(found, lambda event: None)
    if as_json:
        sys.stdout.buffer.write(encode_evaluation(evaluation))
    else:
        say(found.summary.read_text(encoding="utf-8"))
        say(f"with charts and the discordant items: {found.report_html}")
    return verdict_status(found)


def _what_if(run: RunFolder, changes: Sequence[str], as_json: bool) -> int:
    """Print what other settings would have given, and leave the run's verdict as it is."""
    from app.commands.verdict_settings import with_verdict_settings
    from engine.core.summary import summary_text
    from engine.protocol.evaluation import encode_evaluation, exit_status
    from engine.report.run_records import read_settings
    from engine.report.write import what_if

    tried = what_if(run, with_verdict_settings(read_settings(run), changes))
    if as_json:
        sys.stdout.buffer.write(encode_evaluation(tried))
    else:
        click.echo(summary_text(tried))
        click.echo(f"nothing was written: the verdict of {run.run_id} stays as it was")
    return exit_status(tried.verdict)


@click.command()
@click.argument("pairs", type=click.Path(path_type=Path))
@click.option("--gate", is_flag=True, help="Give a verdict by rules 2 to 5, as far as pairs alone can tell.")
@click.option("--guard", default="", help="Guarded types, comma-separated; default: safety and format.")
@click.option("--json", "as_json", is_flag=True, help="Print the structure of evaluation.json.")
def stats(pairs: Path, gate: bool, guard: str, as_json: bool) -> int:
    """The statistics for any paired outcomes: {"id", "type", "base", "sft", "cluster"?} a line."""
    from engine.core.summary import summary_text
    from engine.protocol.evaluation import encode_evaluation, exit_status
    from engine.report.pairs import evaluate_pairs

    wanted = tuple(name.strip() for name in guard.split(",") if name.strip())
    with no_garbage_collection():
        evaluation = evaluate_pairs(_pairs(pairs, wanted), guarded=wanted or None, gate=gate)
    if as_json:
        sys.stdout.buffer.write(encode_evaluation(evaluation))
    else:
        say(summary_text(evaluation))
    return exit_status(evaluation.verdict)


def _pairs(path: Path, guarded: Sequence[str]) -> tuple["Pair", ...]:
    """The pairs of a file.

    Raises:
        InputError: malformed lines, repeated ids, items without a type, guarded types that no item has; all at once.
    """
    from engine.core.analysis import Pair

    problems: list[str] = []
    lines = read_lines(path, PairLine, problems)
    made = tuple(
        Pair(
            id=line.id,
            types=(line.type,) if isinstance(line.type, str) else line.type,
            base=line.base,
            sft=line.sft,
            cluster=line.cluster,
        )
        for _, line in lines
    )
    if len({pair.id for pair in made}) < len(made):
        problems += repeated(path, ((number, line.id) for number, line in lines))
    if not problems:
        problems += unknown_types(guarded, (name for pair in made for name in pair.types))
    refuse(problems)
    return made


@click.command()
@click.argument("items", type=click.Path(path_type=Path))
@click.argument("responses", type=click.Path(path_type=Path))
def score(items: Path, responses: Path) -> int:
    """Score given responses ({"id" or "key" or "prompt", "response"} a line) against held-out items; one JSON line an item.

    Items in IFEval's form are scored strictly, and "loose_success" stands beside.
    """
    from engine.core.checks import score as score_item
    from engine.core.checks.ifeval.items import read_loosely
    from engine.data.held_out import load_held_out

    problems: list[str] = []
    known: tuple[HeldOutItem, ...] = ()
    try:
        known = load_held_out(items).items
    except InputError as error:
        problems += error.problems
    lines = read_lines(responses, ResponseLine, problems)
    refuse(problems)
    given = _responses(responses, lines, known, items)
    for item in known:
        scored, loose = score_item(item, given[item.id]), read_loosely(item)
        line: dict[str, Any] = {"id": item.id, "type": list(item.types), "success": scored.success}
        if loose is not None:
            line["loose_success"] = score_item(loose, given[item.id]).success
        line["checks"] = list(scored.checks)
        sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    return 0


def _responses(
    path: Path, lines: Sequence[tuple[int, ResponseLine]], known: Sequence[HeldOutItem], items: Path
) -> dict[str, str]:
    """Item id → response.

    Raises:
        InputError: responses that fit no item or come twice, and items without one; all at once.
    """
    by_prompt = {item.instruction: item.id for item in known}
    ids, given, problems = {item.id for item in known}, dict[str, str](), []
    for number, line in lines:
        named = line.id if line.id is not None else line.key
        found = str(named) if named is not None else by_prompt.get(line.prompt or "")
        if found not in ids:
            told = named if named is not None else line.prompt
            why = (
                'it names no item; give "id", "key" or "prompt"' if told is None else f"{quoted(str(told))} is no item of {items}"
            )
            problems.append(f"{path}, line {number}: {why}")
        elif found in given:
            problems.append(f"{path}, line {number}: item {quoted(found)} has a response already")
        given[found or ""] = line.response
    problems += [f"{path}: there is no response for item {quoted(item.id)}" for item in known if item.id not in given]
    refuse(problems)
    return given


@click.command()
@click.argument("run")
@click.option("--name", required=True, help="Who signs.")
@click.option("--note", default="", help="What the signer wants kept with the verdict.")
@click.option("--json", "as_json", is_flag=True, help="Print the signature as JSON.")
def signoff(run: str, name: str, note: str, as_json: bool) -> int:
    """Sign the verdict of a run; the signature is kept with the run and shown in the report."""
    found = find_run(run, workspace())
    from engine.protocol.evaluation import Signature
    from engine.report.signature import sign_verdict

    signature = Signature(name=name.strip(), note=note, time=utc_now())
    verdict = sign_verdict(found, signature).verdict
    if as_json:
        print_json(signature)
    elif verdict is not None:
        say(f"run {found.run_id}: {verdict.decision} signed by {signature.name}")
    return verdict_status(found)


@click.command()
@click.argument("name")
def schema(name: str) -> None:
    """Print the JSON Schema of a public file: config, evaluation, events, gates, prereg or review."""
    from engine.protocol.schemas import schema_text

    click.echo(schema_text(name), nl=False)
