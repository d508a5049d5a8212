"""What the terminal can show: glyphs and colours, and filters on the finished lines for terminals that can do less.

Screens are written with Unicode signs; where those cannot be shown, one filter replaces them cell by cell at the very end, so that
nothing is forgotten, borders, charts and foreign widgets included. It refuses to guess from the terminal's name.
"""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

_LETTERS = {
    "✓": "+", "✗": "x", "…": "~", "♥": "*", "▇": "#", "█": "#", "▁": ".", "·": "-", "–": "-", "—": "-", "›": ">", "‹": "<",
    "»": '"', "«": '"', "†": "#", "●": "*", "○": "o", "◆": "@", "▶": ">", "◀": "<", "→": ">", "←": "<", "↑": "^", "↓": "v", "↵": "E",
    "├": "|", "┤": "|", "│": "|", "┃": "|", "║": "|", "▏": "|", "▎": "|", "▍": "|", "▌": "|", "▐": "|", "▕": "|", "▊": "|",
    "─": "-", "━": "-", "═": "-", "╌": "-", "┄": "-", "▔": "-", "▀": "-", "▄": "-", "▂": "_", "▃": "_",
    "×": "x", "≠": "!", "≥": ">", "≤": "<", "±": "~", "−": "-", "’": "'", "‘": "'", "“": '"', "”": '"', "α": "a", "⠀": " ",
    "⭘": "o", "•": "*", "↳": "<", "▋": "#", "▅": "#", "▆": "#", "◐": "~", "■": "#", "□": ".", "░": ".", "▒": ":", "▓": "#", "\u00a0": " ",
    "🔎": "/ ",
}  # fmt: skip


def wants_ascii(environ: Mapping[str, str], tmux_utf8: bool | None) -> bool:
    """True where the locale names something other than UTF-8, or tmux would print every sign as `_` (`tmux_utf8` False)."""
    if tmux_utf8 is False:
        return True
    named = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    return bool(named) and "utf8" not in named.lower().replace("-", "")


def started_environ() -> Mapping[str, str]:
    """The environment as the process was given it: Python itself puts LC_CTYPE=C.UTF-8 into it under LANG=C (PEP 538)."""
    try:
        entries = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return os.environ
    return dict(os.fsdecode(entry).split("=", 1) for entry in entries if b"=" in entry)


def tmux_client_utf8(environ: Mapping[str, str] = os.environ) -> bool | None:
    """Whether the tmux client around this process takes UTF-8; None outside tmux or where tmux does not say."""
    if not environ.get("TMUX"):
        return None
    command = ["tmux", "display-message", "-p", "#{client_utf8}"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=1, check=False).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"1": True, "0": False}.get(said)


def ascii_text(text: str) -> str:
    """`text` in ASCII with the same number of cells: known signs by a likeness, Braille by a dot, others by `?`."""
    if text.isascii():
        return text
    # "≥ 5" has a blank to spare, so the sign keeps its meaning
    text = text.replace("≥ ", ">=").replace("≤ ", "<=").replace("≠ ", "!=")
    return "".join(character if character.isascii() else _likeness(character) for character in text)


def _likeness(character: str) -> str:
    if character in _LETTERS:
        return _LETTERS[character]
    code = ord(character)
    if 0x2800 <= code <= 0x28FF:
        return "."
    if 0x2500 <= code <= 0x257F:
        return "+"
    if 0x2400 <= code <= 0x2421:
        return "^"
    return "?" * cell_len(character)


class AsciiFilter(LineFilter):
    """Replaces every sign beyond ASCII on its way to the terminal."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same cells in ASCII."""
        return [Segment(ascii_text(text), style, control) for text, style, control in segments]


class ColourlessFilter(LineFilter):
    """Removes every colour, so that no colour code is sent at all; bold, underline and reverse stay."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same text without colours."""
        return [Segment(text, _colourless(style), control) for text, style, control in segments]


def _colourless(style: Style | None) -> Style | None:
    return None if style is None else style.without_color + Style(dim=False)
