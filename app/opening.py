"""How a command opens the panel: loading and the first paint happen without garbage collections.

Loading Textual and building a screen makes tens of thousands of objects that stay; looking through them for garbage again and again took
a tenth of the start (docs/LOG.md). `Panel.on_ready` has them kept out of later collections and turns collecting on again.
"""

import gc
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.protocol.runs import RunFolder


def open_panel(root: Path, run: "RunFolder | None" = None, *, ascii_only: bool = False) -> None:
    """Show the panel on a workspace, or on one run, until it is left."""
    gc.disable()
    from app.panel import run_panel

    run_panel(root, run, ascii_only=ascii_only)
