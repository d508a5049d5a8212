"""A table of the panel as CSV and Markdown in the run folder's `exports/`, replaced at each export.

Cells are written as they are seen: foreign text stays inert, in a spreadsheet too (no cell of text can be a formula) and where Markdown
is rendered. It refuses to compute, and leaves out columns that are drawings.
"""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from app.inert import inert_line
from app.private_files import replace_file
from engine.protocol.errors import EngineError
from engine.protocol.runs import RunFolder

Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Headings, and rows with a cell for each."""

CELL_CHARS = 5_000
_NUMBER = re.compile(r"[+-]\d[\d.,]*( \[[+-]?[\d.]+, [+-]?[\d.]+\])?")
_MARKDOWN = re.compile(r"([\\|`*_<>~])")


def export_table(run: RunFolder, name: str, table: Table) -> str:
    """Write `exports/NAME.csv` and `exports/NAME.md` (0600); a sentence that says where.

    Raises: EngineError where they cannot be written.
    """
    return export_into(run.path / "exports", name, table)


def export_into(folder: Path, name: str, table: Table) -> str:
    """The same into any folder.

    Raises: EngineError where they cannot be written.
    """
    stem = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "table"
    try:
        for suffix, text in (("csv", as_csv(table)), ("md", as_markdown(table))):
            replace_file(folder / f"{stem}.{suffix}", text.encode())
    except OSError as error:
        raise EngineError(f"{folder}: {error.strerror}; nothing was exported") from None
    return f"{len(table[1])} rows written: {folder / stem}.csv and .md"


def as_csv(table: Table) -> str:
    """RFC 4180 with line feeds; a text that a spreadsheet would take for a formula gets an apostrophe before it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table[0])
    writer.writerows([_unformulated(_inert(cell)) for cell in row] for row in table[1])
    return out.getvalue()


def as_markdown(table: Table) -> str:
    """A table in GitHub's form, its text without any markup."""
    lines = [[_escaped(title) for title in table[0]], ["---"] * len(table[0])]
    lines += [[_escaped(_inert(cell)) for cell in row] for row in table[1]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _inert(cell: str) -> str:
    return inert_line(cell, CELL_CHARS).plain


def _unformulated(cell: str) -> str:
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@") and not _NUMBER.fullmatch(cell) else cell


def _escaped(cell: str) -> str:
    return _MARKDOWN.sub(r"\\\1", cell).replace("](", "]\\(")
