"""What every command prints with: one rich console for people, plain JSON for programs.

Text from datasets and models is printed through `inert`, never as markup and never with its control characters.
"""

import sys
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.text import Text

from app.visible import visible_parts


def console(*, stderr: bool = False) -> Console:
    """A console that obeys NO_COLOR and the terminal's width; markup and emoji codes are off, so that text stays text."""
    return _Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=False)


class _Console(Console):
    """Leaves a reader that went away (`| head`) to `app.cli`, where rich itself would end the process with status 1."""

    def on_broken_pipe(self) -> None:
        """Called while the BrokenPipeError is handled."""
        raise BrokenPipeError


def say(text: str, *, err: bool = False) -> None:
    """Plain lines, not wrapped. Whatever of them came from files or a model is made visible first, as with `inert`; line ends stay."""
    click.echo("".join(part.text for part in visible_parts(text)), err=err)


def print_json(value: Any) -> None:
    """One JSON document on standard output, indented, with a final newline."""
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
    sys.stdout.flush()


def inert(text: str, style: str = "") -> Text:
    """Foreign text on one line, without markup, what a terminal would obey shown as a mark (␛, ␊, ‹RLO›)."""
    shown = Text(style=style)
    for part in visible_parts(text, newline=False):
        shown.append(part.text, "reverse" if part.mark else "")
    return shown
