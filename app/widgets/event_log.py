"""What happened in a run, a line an event: time, mark and sentence. Pure."""

from collections.abc import Sequence

from textual.content import Content

from app.inert import inert_line
from engine.protocol.run_state import LogLine

_LEVELS = {"info": "", "warning": "$warning", "error": "$error"}
_MARKS = {"info": " ", "warning": "!", "error": "✗"}
_LEAD = 11


def log_content(log: Sequence[LogLine], width: int, lines: int) -> Content:
    """The newest `lines` events, newest first."""
    newest = list(log)[-lines:][::-1]
    return Content("\n").join(log_row(line, width) for line in newest)


def log_row(line: LogLine, width: int) -> Content:
    """Time (UTC), mark and sentence on one line."""
    clock = line.t[11:19] or "–"
    text = inert_line(line.text, max(10, width - _LEAD), style=_LEVELS.get(line.level, ""))
    return Content.assemble((clock, "$muted"), (f" {_MARKS.get(line.level, ' ')} ", _LEVELS.get(line.level, "")), text)
