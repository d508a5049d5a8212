"""The command review: a person judges sampled responses without knowing which arm gave them or how they were scored.

Every answer is on the disk before the next response is shown, so it can be left at any moment. It refuses to show the result before the
last answer, and to ask where there is no terminal.
"""

import sys
from collections.abc import Callable

import click
import msgspec
from rich.text import Text

from app.commands.output import console, inert, print_json
from app.visible import visible_parts
from engine.protocol.errors import InputError
from engine.protocol.review import Label, Review, ReviewTask
from engine.protocol.runs import RunFolder, find_run, workspace

LABELS: dict[str, Label] = {"p": "pass", "f": "fail", "s": "skip"}
_KEYS = "p pass · f fail · s skip · u undo · c what the checks ask for · q leave, answers are kept"
_LEAVE = ("q", "\x1b", "\x04")
_MOST_CHARACTERS = 20_000


@click.command()
@click.argument("run")
@click.option("--items", type=click.IntRange(min=1), help="How many responses to review; a sample can only grow.")
@click.option("--json", "as_json", is_flag=True, help="Print sampled responses, answers and agreement instead of asking.")
def review(run: str, items: int | None, as_json: bool) -> int:
    """Check the scorer: judge a blinded sample of the responses, arms hidden and shuffled."""
    found = find_run(run, workspace())
    from engine.report.review import review_sheet

    if not (as_json or (sys.stdin.isatty() and sys.stdout.isatty())):
        raise InputError("review asks for single keys, so it needs a terminal; --json prints the sample without asking")
    sheet = review_sheet(found, items)
    if as_json:
        print_json(sheet)
        return 0
    at_work = Review(found.review, sheet)
    if not ask_all(at_work, _key):
        left = len(sheet.tasks) - at_work.done
        click.echo(f"\n{left} of {len(sheet.tasks)} responses left; `sluice review {found.run_id}` goes on")
        return 0
    click.echo("\n" + conclusion(found))
    return 0


def ask_all(at_work: Review, key: Callable[[], str]) -> bool:
    """Ask for every response without an answer, `key` waits for one key; False where the reviewer left before the last."""
    while (task := at_work.next) is not None:
        if not _asked(task, at_work, key):
            return False
        if at_work.next is None:
            click.echo("\nThat was the last one. Any key ends the review and tells the agreement; u takes the last answer back.")
            if key().lower() == "u":
                at_work.undo()
    return True


def _asked(task: ReviewTask, at_work: Review, key: Callable[[], str]) -> bool:
    """Show one response until it has an answer or the last one was taken back; False where the reviewer leaves."""
    saw_checks = False
    _show(task, f"response {at_work.done + 1} of {len(at_work.sheet.tasks)}")
    while True:
        pressed = key().lower()
        if pressed in LABELS:
            at_work.answer(task, LABELS[pressed], saw_checks=saw_checks)
            return True
        if pressed in _LEAVE:
            return False
        if pressed == "u" and at_work.undo():
            return True
        if pressed == "u":
            click.echo("there is no answer to undo")
        elif pressed == "c":
            saw_checks = True
            for check in task.checks:
                console().print(Text("  asked for: "), inert(msgspec.json.encode(check).decode()), sep="")
        else:
            click.echo(_KEYS)


def _key() -> str:
    """One key; the end of input is a wish to leave."""
    try:
        return click.getchar()
    except EOFError:
        return _LEAVE[0]


def _show(task: ReviewTask, title: str) -> None:
    click.clear()
    out = console()
    out.rule(title, align="left")
    for name, text in (("Instruction", task.instruction), ("Reference", task.reference), ("Response", task.response)):
        if text is not None:
            out.print(Text(f"\n{name}", "bold"))
            out.print(_lines(text) if text else Text("(empty)", "dim"))
    out.print()
    out.print(Text("Does the response do what the instruction asks?", "bold"))
    out.print(Text(_KEYS, "dim"))


def _lines(text: str) -> Text:
    """Foreign text over several lines, what a terminal would obey shown as a mark."""
    shown = Text()
    for part in visible_parts(text[:_MOST_CHARACTERS]):
        shown.append(part.text, "reverse" if part.mark else "")
    hidden = len(text) - _MOST_CHARACTERS
    return shown.append(f"\n… {hidden:,} more characters", "dim") if hidden > 0 else shown


def conclusion(run: RunFolder) -> str:
    """Write the report anew, as the review is part of it, and say how far scorer and reviewer agree."""
    from engine.core.summary import validation_lines
    from engine.report.write import write_report

    evaluation = write_report(run, lambda event: None)
    verdict = "" if evaluation.verdict is None else f"\nverdict, written anew: {evaluation.verdict.decision}"
    return "\n".join(validation_lines(evaluation.validation)) + verdict
