"""Commands that start an engine: run and resume.

It refuses to start a second supervisor on a run, and a run on settings or inputs with problems: all of them are listed first.
"""

import shlex
from pathlib import Path

import click

from app.commands.control import summaries
from app.commands.follow import exit_status, follow
from app.commands.output import print_json, say
from engine.protocol.commands import utc_now, who
from engine.protocol.config_file import differences, load_config
from engine.protocol.errors import InputError, RunBusyError
from engine.protocol.events import STAGES, Stage
from engine.protocol.gates import GATE_IDS, Override
from engine.protocol.launch import start_supervisor
from engine.protocol.run_state import RunState
from engine.protocol.runs import OwnerWatch, RunFolder, find_run, read_launch, workspace

until_option = click.option(
    "--until",
    type=click.Choice(["gates", "train", "eval", "report"]),
    help="Stop after this stage; default: report, on resume as before.",
)
override_option = click.option(
    "--override", "overrides", multiple=True, metavar="GATE", help="Go on although this hard gate blocks."
)
reason_option = click.option("--reason", default="", help="Why the overrides are right; shown in the verdict for ever.")
detach_option = click.option("--detach", is_flag=True, help="Start it and return at once.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print only a JSON summary, at the end.")


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@until_option
@override_option
@reason_option
@detach_option
@json_option
def run(config: Path, until: str | None, overrides: tuple[str, ...], reason: str, detach: bool, as_json: bool) -> int:
    """Run the whole job of a sluice.toml: gates, base arm, training, SFT arm, verdict.

    The run lives on when this terminal goes away; Ctrl-C only stops following it.
    """
    path = _config_path(config)
    settings = load_config(path)
    checked = checked_overrides(overrides, reason)
    from engine.data.model_folder import open_model_folder
    from engine.data.overriding import check_overrides
    from engine.store.create_run import add_override, create_run

    check_overrides(settings, overrides)

    # what a look at files can tell is told before a run is made of it
    open_model_folder(settings.model.path, allow_instruction_tuned=settings.model.allow_instruction_tuned)

    stage = stage_of(until) or "report"
    made = create_run(settings, workspace(), until=stage, source=path)
    for override in checked:
        add_override(made, override)
    return launch(made, until=stage, detach=detach, as_json=as_json)


@click.command()
@click.argument("run", required=False)
@click.option("--all", "every", is_flag=True, help="Resume every interrupted run of the workspace, after a pod restart.")
@until_option
@click.option("--frozen", is_flag=True, help="Go on with the frozen settings although the sluice.toml was changed since.")
@override_option
@reason_option
@detach_option
@json_option
def resume(
    run: str | None,
    every: bool,
    until: str | None,
    frozen: bool,
    overrides: tuple[str, ...],
    reason: str,
    detach: bool,
    as_json: bool,
) -> int:
    """Go on with a run that was stopped, blocked, interrupted or failed, exactly where it was."""
    if every == (run is not None):
        raise InputError("resume: name one run, or --all for every interrupted one")
    if every:
        return _resume_all(stage_of(until))
    found = find_run(run or "", workspace())
    checked = checked_overrides(overrides, reason)
    from engine.data.overriding import check_overrides
    from engine.store.create_run import add_override

    if OwnerWatch(found).alive():
        raise RunBusyError(
            f"run {found.run_id}: another supervisor owns it and it goes on; sluice watch {found.run_id} follows it"
        )
    if not frozen:
        _refuse_changed_settings(found)
    check_overrides(load_config(found.config, inputs_must_exist=False), overrides)
    for override in checked:
        add_override(found, override)
    return launch(found, until=stage_of(until), detach=detach, as_json=as_json)


def launch(run: RunFolder, *, until: Stage | None, detach: bool, as_json: bool) -> int:
    """Start the supervisor of `run`, follow it unless detached, and return the process status."""
    start_supervisor(run, until)
    if detach:
        if as_json:
            print_json({"run_id": run.run_id, "path": str(run.path), "state": "starting"})
        else:
            say(f"run {run.run_id} goes on by itself: sluice watch {run.run_id} follows it, sluice open {run.run_id} shows it")
        return 0
    if not as_json:
        say(f"run {run.run_id} in {run.path} (Ctrl-C leaves it going)", err=True)
    state = follow(run, quiet=as_json)
    return conclude(run, state, as_json=as_json)


def conclude(run: RunFolder, state: RunState, *, as_json: bool) -> int:
    """Print how a run rests, with its summary where there is a verdict; the process status."""
    status = exit_status(run, state)
    if as_json:
        print_json(
            {"run_id": run.run_id, "path": str(run.path), "state": state.state, "detail": state.detail, "decision": state.decision,
             "blocking": list(state.gates_finished.blocking) if state.gates_finished else [], "exit_status": status}
        )  # fmt: skip
        return status
    if state.state == "finished" and run.summary.exists():
        say(run.summary.read_text(encoding="utf-8"))
    elif state.state == "blocked":
        _print_blocked(run)
    else:
        say(f"run {run.run_id}: {state.state}{': ' + state.detail if state.detail else ''}", err=True)
        for line in state.log_tail[-10:]:
            say(f"  {line}", err=True)
        if state.state in ("stopped", "interrupted", "failed"):
            say(f"sluice resume {run.run_id} goes on where it was; sluice logs {run.run_id} shows more", err=True)
    return status


def _print_blocked(run: RunFolder) -> None:
    from app.commands.gates import print_report
    from engine.protocol.gates import read_gates

    report = read_gates(run.gates)
    print_report(report)
    named = " ".join(f"--override {gate}" for gate in report.blocking)
    say(
        f"\nBlocked. Mend the data and run again, or go on with\n  sluice resume {run.run_id} {named} --reason TEXT\n"
        "A GO is then impossible, and the override is shown in the verdict for ever."
    )


def _refuse_changed_settings(run: RunFolder) -> None:
    """A resume uses the frozen settings; a sluice.toml that says something else by now would mislead whoever edited it."""
    source = read_launch(run).source
    if not source or not Path(source).is_file():
        return
    changed = differences(load_config(run.config, inputs_must_exist=False), load_config(Path(source), inputs_must_exist=False))
    if changed:
        given = shlex.join(f"{change.key}={change.after}" for change in changed)
        raise InputError(
            *(f"{source}: {change}" for change in changed),
            f"run {run.run_id} goes on with its frozen settings only: put the file back or say --frozen; for a new run with the changed "
            f"ones: sluice rerun {run.run_id} {given}",
        )


def _resume_all(until: Stage | None) -> int:
    interrupted = [listed.run for listed in summaries(workspace()) if listed.state == "interrupted"]
    for run in interrupted:
        start_supervisor(run, until)
        say(f"run {run.run_id} goes on")
    if not interrupted:
        say("no interrupted run in this workspace")
    return 0


def _config_path(path: Path) -> Path:
    return path / "sluice.toml" if path.is_dir() and (path / "sluice.toml").is_file() else path


def stage_of(until: str | None) -> Stage | None:
    """The engine's stage for what a person calls it."""
    # people know the evaluation as one thing; as stages it ends with the SFT arm
    return next((stage for stage in STAGES if stage == ("sft" if until == "eval" else until)), None)


def checked_overrides(gates: tuple[str, ...], reason: str) -> tuple[Override, ...]:
    """The overrides that were given.

    Raises: InputError for a gate that there is not, and for a missing reason.
    """
    unknown = [gate for gate in gates if gate not in GATE_IDS]
    if unknown:
        raise InputError(*(f"--override {gate}: there is no such gate; gates are {', '.join(GATE_IDS)}" for gate in unknown))
    if gates and not reason.strip():
        raise InputError(f"--override {gates[0]}: give the reason with --reason TEXT; it is shown in the verdict for ever")
    return tuple(Override(gate=gate, reason=reason.strip(), who=who(), at=utc_now()) for gate in gates)
