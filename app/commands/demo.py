"""The command `demo`: the whole job on the embedded base model and data, with no GPU and no network."""

import sys
from pathlib import Path

import click

from app.commands.launch import conclude, launch
from app.commands.output import console
from engine import __version__
from engine.protocol.config_file import load_config
from engine.protocol.launch import start_supervisor
from engine.protocol.runs import RunFolder, workspace


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Workspace for the demo; default: the usual workspace."
)
@click.option("--faulty", is_flag=True, help="Use the dataset with planted faults, which the gates refuse.")
@click.option("--headless", is_flag=True, help="Without the panel; plain lines where there is no terminal.")
@click.option("--detach", is_flag=True, help="Start it and return at once.")
@click.option("--json", "as_json", is_flag=True, help="Print only a JSON summary, at the end.")
def demo(out: Path | None, faulty: bool, headless: bool, detach: bool, as_json: bool) -> int:
    """Gate, train and judge a small real model: a verdict in about a minute on two CPU cores."""
    root = out.absolute() if out else workspace()
    run = make_demo_run(root, faulty=faulty)
    if detach or as_json or headless or not (sys.stdout.isatty() and sys.stdin.isatty()):
        return launch(run, until="report", detach=detach, as_json=as_json)
    from app.opening import open_panel

    start_supervisor(run)
    open_panel(root, run)
    return _after_panel(run)


def make_demo_run(root: Path, *, faulty: bool = False) -> RunFolder:
    """Lay the demo's inputs into a folder of the workspace and make a run from its sluice.toml."""
    from engine.demo.setup import lay_demo
    from engine.store.create_run import create_run

    folder = root / f"{'demo-faulty' if faulty else 'demo'}-{__version__}"
    path = lay_demo(folder, faulty=faulty)
    return create_run(load_config(path), root, source=path)


def _after_panel(run: RunFolder) -> int:
    """Once the panel is closed: the run's status where it rests, else 0 with how to come back."""
    from engine.protocol.journal_tail import JournalTail
    from engine.protocol.run_fold import replay

    state = replay(JournalTail(run.journal).poll_all())
    if state.live:
        return 0
    console().print()
    return conclude(run, state, as_json=False)
