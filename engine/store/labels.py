"""Giving a run a name or a note. It refuses to write state.json of a live run: its supervisor copies the labels there by itself."""

import time

import msgspec

from engine.protocol.config_file import parse_config
from engine.protocol.errors import InputError
from engine.protocol.labels import NOTE_CHARS, Labels, labels_file, read_labels
from engine.protocol.listing import draft_summary
from engine.protocol.runs import OWNER_BEAT_S, OwnerWatch, RunFolder, name_in_id, read_summary
from engine.store.atomic import atomic_write

_LOOK_S = 0.1


def rename_run(run: RunFolder, name: str) -> Labels:
    """Call the run `name` in every list; its id and its folder stay.

    Raises: InputError for a name that no run may have (a setting's rules hold); DiskFullError; OSError where the folder cannot be written.
    """
    parse_config({"run": {"name": name}}, where="rename")
    if name == "last":
        raise InputError("name 'last': means the newest run in every command; take another")
    return _give(run, name=name)


def note_run(run: RunFolder, note: str) -> Labels:
    """Keep a line about the run; an empty one removes it.

    Raises: InputError for a note of several lines or more than 500 characters; DiskFullError; OSError.
    """
    if len(note) > NOTE_CHARS or "\n" in note:
        raise InputError(f"note: has {len(note)} characters; must be one line of at most {NOTE_CHARS}")
    return _give(run, note=note)


def _give(run: RunFolder, **given: str) -> Labels:
    labels = msgspec.structs.replace(read_labels(run) or _before(run), **given)
    atomic_write(labels_file(run), msgspec.json.encode(labels))
    if OwnerWatch(run).alive():
        _await_copied(run, labels)
    else:
        summary = read_summary(run) or draft_summary(run)
        named = msgspec.structs.replace(summary, name=labels.name or name_in_id(run.run_id), note=labels.note)
        atomic_write(run.state, msgspec.json.encode(named))
    return labels


def _await_copied(run: RunFolder, labels: Labels) -> None:
    """Until lists show the labels; a supervisor that does not write its state for a while, as on a full disk, does so later."""
    deadline = time.monotonic() + 2 * OWNER_BEAT_S
    while time.monotonic() < deadline:
        summary = read_summary(run)
        if summary is not None and (summary.name or name_in_id(run.run_id), summary.note) == (
            labels.name or summary.name,
            labels.note,
        ):
            return
        time.sleep(_LOOK_S)


def _before(run: RunFolder) -> Labels:
    """What state.json had before there was a file for it."""
    summary = read_summary(run)
    return Labels() if summary is None else Labels(name=summary.name, note=summary.note)
