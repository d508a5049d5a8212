"""Copying a text: to the clipboard with OSC 52, where the terminal takes it, and always also to a file, saying so.

Many terminals drop OSC 52 and none says so (tmux does by default), so the file is what can be relied on. The text that is given must be
inert already. It refuses to send a terminal more than it takes: a long text is in the file only.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from textual.screen import Screen
from textual.widget import Widget

from app.exporting import as_markdown
from app.private_files import replace_file
from app.widgets.line import ClickLine, TextBlock
from app.widgets.row_table import RowTable
from engine.protocol.errors import EngineError
from engine.protocol.runs import RunFolder

if TYPE_CHECKING:
    from app.panel import Panel

CLIPBOARD_BYTES = 74_000
"""What xterm takes in one OSC 52 sequence, before Base64; others take less or more."""


def copy_text(panel: "Panel", run: RunFolder, text: str) -> None:
    """Copy `text` of a run; a notice says where it is."""
    copy_into(panel, run.path / "exports", text)


def copy_into(panel: "Panel", folder: Path, text: str) -> None:
    """Copy `text`, the file into `folder`; a notice says where it is."""
    sent = len(text.encode()) <= CLIPBOARD_BYTES
    if sent:
        panel.copy_to_clipboard(text)
    panel.ask_engine(lambda: keep_copy(folder, text, sent=sent))


def keep_copy(folder: Path, text: str, *, sent: bool = True) -> str:
    """Write `copied.txt` (0600) into the folder; a sentence that says so.

    Raises: EngineError where it cannot be written.
    """
    path = folder / "copied.txt"
    try:
        replace_file(path, text.encode() + b"\n")
    except OSError as error:
        raise EngineError(f"{path}: {error.strerror}; the text was sent to the terminal's clipboard only") from None
    return f"copied, where the terminal takes it; always in {path}" if sent else f"too long for a clipboard; copied into {path}"


def screen_text(screen: Screen[object]) -> str:
    """Everything a screen has to read, whole where the screen cuts it: texts as they are, tables as Markdown."""
    texts = []
    for widget in screen.query("TextBlock, RowTable").results(Widget):
        if isinstance(widget, ClickLine) or not all(
            node.display for node in widget.ancestors_with_self if isinstance(node, Widget)
        ):
            continue
        if isinstance(widget, RowTable):
            texts.append(as_markdown(widget.texts()))
        elif isinstance(widget, TextBlock):
            texts.append(widget.text)
    return "\n\n".join(text.strip("\n") for text in texts if text.strip())
