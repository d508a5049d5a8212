"""Commands that keep runs in order: rename, note, rm, export. They refuse to change what a run measured or decided."""

import getpass
import os
import shlex
import socket
import sys
from pathlib import Path

import click

from app.commands.output import print_json
from engine.protocol.errors import InputError, RunBusyError
from engine.protocol.event_texts import gib
from engine.protocol.runs import OwnerWatch, RunFolder, find_run, workspace


@click.command()
@click.argument("run")
@click.argument("name")
def rename(run: str, name: str) -> None:
    """Call a run NAME in every list; its id and its folder stay as they are."""
    found = find_run(run, workspace())
    from engine.store.labels import rename_run

    labels = rename_run(found, name)
    click.echo(f"run {found.run_id} is called {labels.name}")


@click.command()
@click.argument("run")
@click.argument("text", nargs=-1)
def note(run: str, text: tuple[str, ...]) -> None:
    """Keep a line about a run; without TEXT the line is removed."""
    found = find_run(run, workspace())
    from engine.store.labels import note_run

    labels = note_run(found, " ".join(text).strip())
    click.echo(f"run {found.run_id}: {'noted' if labels.note else 'its note is removed'}")


@click.command()
@click.argument("run")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--sizes", is_flag=True, help="Only show what there is and how large it is.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; needs --yes or --sizes.")
def rm(run: str, yes: bool, sizes: bool, as_json: bool) -> int:
    """Remove a run with everything in it, for ever. A live run is refused."""
    found = find_run(run, workspace())
    from engine.store.run_folders import remove_run, run_sizes

    held = run_sizes(found)
    parts = {"checkpoints": held.checkpoints, "adapter": held.adapter, "evaluation": held.evaluation, "rest": held.rest}
    if sizes:
        if as_json:
            print_json({"run_id": found.run_id, "total": held.total, **parts, "signed": found.signoff.is_file()})
        else:
            click.echo(_sizes_text(found, parts))
        return 0
    if OwnerWatch(found).alive():
        raise RunBusyError(f"run {found.run_id}: goes on; stop it first with sluice stop {found.run_id}")
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise InputError(f"rm {found.run_id}: nobody can be asked here; say --yes to remove {gib(held.total)} for ever")
        click.echo(_sizes_text(found, parts))
        if not click.confirm(f"Remove {found.run_id} for ever?"):
            click.echo("nothing was removed")
            return 0
    freed_bytes = remove_run(found)
    if as_json:
        print_json({"run_id": found.run_id, "freed_bytes": freed_bytes})
    else:
        click.echo(f"run {found.run_id} removed, {gib(freed_bytes)} freed; attempts on its held-out set stay counted")
    return 0


def _sizes_text(run: RunFolder, parts: dict[str, int]) -> str:
    listed = ", ".join(f"{name} {gib(size)}" for name, size in parts.items())
    signed = "; its verdict is signed" if run.signoff.is_file() else ""
    return f"{run.path}: {gib(sum(parts.values()))} ({listed}){signed}"


@click.command()
@click.argument("run")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for it; default: exports in the workspace.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def export(run: str, out: Path | None, as_json: bool) -> None:
    """Pack a run without its checkpoints, with sha256 sums, and show the line that copies it off this machine."""
    found = find_run(run, workspace())
    from engine.store.export import export_run

    packed = export_run(found, out.expanduser().absolute() if out else None)
    line = copy_line(Path(packed.archive).parent, dict(os.environ))
    if as_json:
        print_json({"run_id": found.run_id, **{name: getattr(packed, name) for name in packed.__struct_fields__}, "copy": line})
        return
    click.echo(f"{packed.archive}  {gib(packed.size_bytes)}, {packed.files} files, no checkpoints")
    click.echo(f"sha256 {packed.sha256}")
    click.echo(f"on your own machine:\n  {line}\n  cd {found.run_id} && sha256sum -c SHA256SUMS")
    if OwnerWatch(found).alive():
        click.echo("the run goes on: this is what it had written so far")


def copy_line(folder: Path, environ: dict[str, str]) -> str:
    """`scp` as it reaches this machine from outside, as far as its environment tells: RunPod's public address, else SSH's own."""
    host, port = environ.get("RUNPOD_PUBLIC_IP", ""), environ.get("RUNPOD_TCP_PORT_22", "")
    if not (host and port):
        # client's address and port, then ours
        reached = environ.get("SSH_CONNECTION", "").split()
        host, port = (reached[2], reached[3]) if len(reached) == 4 else (socket.gethostname(), "22")
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "root"
    bracketed = f"[{host}]" if ":" in host else host
    at_port = [] if port == "22" else ["-P", port]
    return shlex.join(["scp", "-r", *at_port, f"{user}@{bracketed}:{folder}", "."])
