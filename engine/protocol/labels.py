"""What people call a run and note about it: labels.json, theirs alone, so that no heartbeat can overwrite it.

A supervisor copies it into state.json, where lists read it. It refuses to rename folders: a run's id stays what it is.
"""

from pathlib import Path

import msgspec

from engine.protocol.runs import RunFolder

NOTE_CHARS = 500


class Labels(msgspec.Struct, frozen=True, kw_only=True):
    """labels.json. An empty name means the one that the run was started with."""

    name: str = ""
    note: str = ""


def labels_file(run: RunFolder) -> Path:
    """Where a run's labels are."""
    return run.path / "labels.json"


def read_labels(run: RunFolder) -> Labels | None:
    """The labels, or None where nobody gave any or the file is not whole."""
    try:
        return msgspec.json.decode(labels_file(run).read_bytes(), type=Labels)
    except (OSError, ValueError):
        return None
