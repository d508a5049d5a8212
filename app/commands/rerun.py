"""The command `rerun`: a new run with the frozen settings of another, some of them changed.

It shows what differs and records the parent. It refuses to touch the parent, and to take over its overrides: those were for its data.
"""

from pathlib import Path

import click

from app.commands.launch import (
    checked_overrides,
    detach_option,
    json_option,
    launch,
    override_option,
    reason_option,
    stage_of,
    until_option,
)
from app.commands.output import print_json
from engine.protocol.config import Config
from engine.protocol.config_changes import with_changes
from engine.protocol.config_file import Difference, differences, load_config
from engine.protocol.runs import RunFolder, find_run, workspace, workspace_of


@click.command()
@click.argument("run")
@click.argument("changes", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--dry-run", is_flag=True, help="Show what would differ; make nothing.")
@until_option
@override_option
@reason_option
@detach_option
@json_option
def rerun(
    run: str,
    changes: tuple[str, ...],
    dry_run: bool,
    until: str | None,
    overrides: tuple[str, ...],
    reason: str,
    detach: bool,
    as_json: bool,
) -> int:
    """Start a new run with the settings of RUN, changed by KEY=VALUE (train.lr=1e-4). Paths are relative to this folder."""
    parent = find_run(run, workspace())
    before = load_config(parent.config, inputs_must_exist=False)
    after = with_changes(before, changes, Path.cwd())
    given = checked_overrides(overrides, reason)
    from engine.data.overriding import check_overrides

    check_overrides(after, overrides)
    _look_at_model(after)
    differing = differences(before, after)
    if not as_json:
        _print_differences(parent, differing)
    if dry_run:
        if as_json:
            print_json({"parent": parent.run_id, "differences": differing})
        return 0
    from engine.store.create_run import add_override, create_run

    stage = stage_of(until) or "report"
    made = create_run(after, workspace_of(parent), until=stage, parent=parent.run_id)
    for override in given:
        add_override(made, override)
    return launch(made, until=stage, detach=detach, as_json=as_json)


def _look_at_model(settings: Config) -> None:
    """What a look at files can tell is told before a run is made of it."""
    from engine.data.model_folder import open_model_folder

    open_model_folder(settings.model.path, allow_instruction_tuned=settings.model.allow_instruction_tuned)


def _print_differences(parent: RunFolder, differing: tuple[Difference, ...]) -> None:
    click.echo(f"rerun of {parent.run_id}: " + ("no setting differs" if not differing else "what differs"))
    for found in differing:
        click.echo(f"  {found.key:<28} {found.before} → {found.after}")
