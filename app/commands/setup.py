"""Commands before a first run: init and doctor. They refuse to overwrite anything and to install anything."""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import click
import msgspec

from app.commands.output import console, inert, print_json
from engine import __version__
from engine.protocol.config import Config
from engine.protocol.config_changes import with_changes
from engine.protocol.config_file import dump_config
from engine.protocol.durability import warning
from engine.protocol.errors import InputError
from engine.protocol.event_texts import gib
from engine.protocol.runs import workspace

PROBE_LIMIT_S = 180
MIN_FREE_BYTES = 20 << 30


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
def init(folder: Path, settings: tuple[str, ...]) -> None:
    """Write a commented sluice.toml into DIR, with KEY=VALUE (data.train=sft.jsonl) filled in."""
    target = folder / "sluice.toml"
    if target.exists():
        raise InputError(f"{target}: is there already; edit it, or name another folder")
    # paths as they are written: they are relative to the file, as in every sluice.toml
    filled = with_changes(Config(), settings) if settings else Config()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        target.write_text(_TOP + dump_config(filled), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{target}: cannot be written: {error.strerror}") from None
    if all((filled.model.path, filled.data.train, filled.data.held_out)):
        click.echo(f"wrote {target}; then: sluice gates {folder}")
        return
    click.echo(f"wrote {target}; name your model, dataset and held-out items there, then: sluice gates {folder}")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the doctor: `ok` true, false, or None for a mere fact."""

    name: str
    status: Literal["ok", "lacks", "note"]
    found: str
    mend: str = ""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(as_json: bool) -> int:
    """Say what this machine has and lacks for a run."""
    found = list(_findings())
    if as_json:
        print_json({"version": __version__, "findings": found})
    else:
        out = console()
        for finding in found:
            glyph, style = {"ok": ("✓", "green"), "lacks": ("✗", "bold red"), "note": ("·", "dim")}[finding.status]
            out.print(inert(f"{glyph} {finding.name:<12} ", style), inert(finding.found), sep="")
            if finding.mend:
                out.print(f"{'':<15}{finding.mend}", style="yellow")
    return 4 if any(finding.status == "lacks" for finding in found) else 0


def _findings() -> Iterator[Finding]:
    yield Finding(name="sluice", status="note", found=f"{__version__} in {Path(sys.prefix)}")
    system = f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, {gib(_memory_bytes())} memory"
    if sys.platform == "linux":
        yield Finding(name="system", status="ok", found=system)
    else:
        yield Finding(name="system", status="lacks", found=system, mend="the engine needs Linux (/proc, parent-death signals)")
    probed = _probe()
    missing = [name for name, found in probed["versions"].items() if found == "missing"]
    listed = ", ".join(f"{name} {found}" for name, found in probed["versions"].items())
    yield Finding(name="libraries", status="lacks" if missing else "ok", found=listed,
                  mend=f"pip install {' '.join(missing)}" if missing else "")  # fmt: skip
    yield from _devices(probed)
    for problem in probed["problems"]:
        yield Finding(name="problem", status="lacks", found=problem)
    yield from _places()
    yield from _terminal()


def _devices(probed: dict[str, Any]) -> Iterator[Finding]:
    for device in probed["devices"]:
        memory = f"{gib(device['free_bytes'])} of {gib(device['total_bytes'])} free"
        bf16 = "bf16" if device["bf16"] else "no bf16"
        driver = f", driver {device['driver']}, {device['processes']} other processes on it" if "driver" in device else ""
        yield Finding(name="GPU", status="ok" if device["bf16"] else "lacks", found=f"{device['name']}, {memory}, {bf16}{driver}")
    if not probed["devices"]:
        yield Finding(name="GPU", status="note", found="none visible to torch: small models run on the CPU (sluice demo does)")
    for device, works in probed["nf4"].items():
        yield Finding(
            name=f"nf4 {device}", status="ok" if works else "lacks", found="4-bit layers work" if works else "4-bit layers fail"
        )


def _places() -> Iterator[Finding]:
    root = workspace()
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    free_bytes = shutil.disk_usage(existing).free
    enough = free_bytes >= MIN_FREE_BYTES
    yield Finding(
        name="workspace", status="ok" if os.access(existing, os.W_OK) else "lacks", found=f"{root}, {gib(free_bytes)} free",
        mend="" if enough else f"less than {gib(MIN_FREE_BYTES)} free: enough for small models, tight for checkpoints of large ones",
    )  # fmt: skip
    if lost := warning(root):
        yield Finding(name="durable", status="note", found=f"the workspace is {lost}")
    elif not os.environ.get("SLUICE_WORKSPACE") and not Path("/workspace").is_dir():
        yield Finding(
            name="durable", status="note", found="no /workspace and no SLUICE_WORKSPACE: runs go below the current folder"
        )
    cache = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    yield Finding(name="model cache", status="note", found=f"{cache}{'' if cache.exists() else ' (not there yet)'}")


def _terminal() -> Iterator[Finding]:
    encoding = os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG") or "unset"
    utf8 = "utf" in encoding.lower()
    yield Finding(
        name="terminal", status="note",
        found=f"TERM={os.environ.get('TERM', 'unset')}, {'UTF-8' if utf8 else f'locale {encoding}: ASCII glyphs are drawn'}"
        + (", inside tmux" if os.environ.get("TMUX") else ""),
    )  # fmt: skip


def _probe() -> dict[str, Any]:
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "engine.compute.probe"], capture_output=True, text=True, timeout=PROBE_LIMIT_S, check=False,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
        probed: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (subprocess.TimeoutExpired, OSError, IndexError, json.JSONDecodeError) as error:
        return {"versions": {}, "devices": [], "nf4": {}, "problems": [f"torch could not be tried: {type(error).__name__}"]}
    return probed


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


_TOP = """\
# Settings of a sluice run. Every key has a default, shown here; only model.path, data.train and data.held_out must be filled in.
# Check the dataset with `sluice gates .`, start with `sluice run sluice.toml`.

"""
