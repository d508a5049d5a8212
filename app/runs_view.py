"""The list of runs as text: which runs fit a filter, in which order, as rows and as the figures of one run. Pure."""

from collections.abc import Callable, Sequence
from pathlib import Path

from textual.content import Content

from app.figures import NONE, age, clock_duration
from app.inert import inert, inert_line
from app.listing_text import given_name, what
from app.state_words import DECISIONS, STATES
from app.widgets.bars import bar
from app.widgets.line import rule
from app.widgets.row_table import Column, Row
from engine.protocol.listing import Listed, utc_seconds

COLUMNS = (
    Column(title="run", width=0),
    Column(title="state", width=13),
    Column(title="stage", width=6),
    Column(title="done", width=5, right=True, below_width=100),
    Column(title="progress", exported=None, width=16, from_width=100),
    Column(title="ETA", width=6, right=True, from_width=100),
    Column(title="verdict", width=14),
    Column(title="age", width=6, right=True),
    Column(title="what", width=0, from_width=134),
)
FILTERS: dict[str, Callable[[Listed], bool]] = {
    "all": lambda listed: True,
    "going on": lambda listed: listed.live,
    "resting": lambda listed: not listed.live and listed.state != "finished",
    "finished": lambda listed: listed.state == "finished",
}
ORDERS: dict[str, Callable[[Listed], tuple[object, ...]]] = {
    "newest": lambda listed: (),
    "name": lambda listed: (given_name(listed) or listed.run.run_id.split("-", 2)[-1], listed.run.run_id),
    "state": lambda listed: (list(STATES).index(listed.state),),
    "verdict": lambda listed: (
        [*DECISIONS, None].index(listed.summary.decision if listed.summary.decision in DECISIONS else None),
    ),
}
MARKED = "◆"


def chosen(listed: Sequence[Listed], *, name: str, order: str, wanted: str) -> list[Listed]:
    """The runs that pass the filter and hold the words looked for, ordered; what is equal stays newest first."""
    words = wanted.lower().split()
    kept = [each for each in listed if FILTERS.get(name, FILTERS["all"])(each) and all(word in _searched(each) for word in words)]
    key = ORDERS.get(order, ORDERS["newest"])
    return sorted(kept, key=lambda each: tuple(map(str, key(each))) if order == "name" else key(each))


def _searched(listed: Listed) -> str:
    summary = listed.summary
    return " ".join(
        (listed.run.run_id, summary.name, summary.note, summary.parent or "", listed.state, summary.decision or "")
    ).lower()


def run_row(listed: Listed, now_s: float, *, marked: bool) -> Row:
    """One run; a cell for each column."""
    summary = listed.summary
    decision = DECISIONS[summary.decision].content(bold=True) if summary.decision in DECISIONS else Content(NONE)
    if summary.decision in DECISIONS and summary.flags:
        decision = Content.assemble(decision, (" !", "bold $warning"))
    cells: tuple[Content | str, ...] = (
        _title(listed, marked), STATES[listed.state].content(), summary.stage, f"{100 * summary.progress:.0f} %",
        Content.assemble(bar(summary.progress, 8), f" {100 * summary.progress:3.0f} %"),
        clock_duration(summary.eta_s) if summary.eta_s is not None and listed.live else NONE,
        decision, age(now_s - utc_seconds(summary.created_at)) if summary.created_at else NONE,
        inert_line(summary.note or what(listed, now_s), 160),
    )  # fmt: skip
    return Row(listed.run.run_id, cells)


def _title(listed: Listed, marked: bool) -> Content:
    """The name a person gave it, its id, and whose rerun it is."""
    name, parent = given_name(listed), listed.summary.parent
    return Content.assemble(
        (f"{MARKED} ", "bold $accent") if marked else "", (inert_line(f"{name} ", 33).plain, "bold") if name else "",
        (inert_line(listed.run.run_id, 60).plain, "$muted" if name else ""),
        (f" ↳ {inert_line(parent, 60).plain}", "$muted") if parent else "",
    )  # fmt: skip


def note_lines(listed: Listed | None, marked: str, now_s: float, width: int) -> Content:
    """Two lines on the run under the cursor: its state in a sentence; its note, parent, flags or place."""
    if listed is None:
        return Content("\n")
    summary = listed.summary
    word = STATES[listed.state]
    first = Content.assemble((f"{word.glyph} {listed.state}", word.style), inert_line(_dashed(what(listed, now_s)), width))
    more = [
        f"c compares it with {marked}" if marked and marked != listed.run.run_id else "",
        "c on another run compares the two" if marked == listed.run.run_id else "",
        listed.run.run_id if given_name(listed) else "",
        summary.note,
        f"rerun of {summary.parent}" if summary.parent else "",
        f"flags {', '.join(summary.flags)}" if summary.flags else "",
    ]
    second = " · ".join(text for text in more if text) or str(listed.run.path)
    return Content("\n").join((first.truncate(width, ellipsis=True), inert_line(second, width, style="$muted")))


def _dashed(text: str) -> str:
    return f" · {text}" if text else ""


def run_detail(listed: Listed, now_s: float, width: int) -> Content:
    """Everything that state.json knows of one run, for the side pane."""
    summary = listed.summary
    word = STATES[listed.state]
    decision = DECISIONS.get(summary.decision or "")
    rows: list[tuple[str, Content]] = [
        ("name", inert(summary.name)),
        ("state", Content.assemble(word.content(bold=True), inert(_dashed(what(listed, now_s)), limit=400))),
        ("stage", Content(summary.stage)),
        ("progress", Content.assemble(bar(summary.progress, 20), f" {100 * summary.progress:.0f} %")),
        ("ETA", Content(clock_duration(summary.eta_s) if summary.eta_s is not None and listed.live else NONE)),
        ("verdict", decision.content(bold=True) if decision else Content(f"{NONE} (comes when both arms are complete)")),
        ("flags", Content(", ".join(summary.flags) or NONE)),
        ("rerun of", inert(summary.parent or NONE)),
        ("made", inert(f"{summary.created_at[:19].replace('T', ' ')} UTC" if summary.created_at else NONE)),
        ("state since", Content(f"{age(now_s - utc_seconds(summary.since))} ago" if summary.since else NONE)),
        ("note", inert(summary.note or NONE)),
        ("detail", inert(summary.detail or NONE, limit=600)),
        ("folder", inert(str(listed.run.path))),
    ]
    lines = [rule(listed.run.run_id, width)]
    lines += [Content.assemble((name.ljust(12), "$muted"), text) for name, text in rows]
    return Content("\n").join(lines)


def head_line(listed: Sequence[Listed], width: int) -> Content:
    """How many runs there are and go on."""
    live = sum(each.live for each in listed)
    counted = f"{len(listed)} run{'s' if len(listed) != 1 else ''}" + (f", {live} going on" if live else "")
    return Content.assemble(("sluice", "bold $primary"), " › ", ("Runs", "bold"), f"   {counted}").truncate(width, ellipsis=True)


def place_line(root: Path, lost: str, width: int) -> Content:
    """The workspace, and a warning where it goes with the pod; the path gives way before the warning does."""
    tail = f"  ! {lost}" if lost else ""
    short = tail.split(";")[0] if len(tail) > width // 2 else tail
    room = max(16, width - len(short) - 10)
    return Content.assemble(("workspace ", "$muted"), inert_line(str(root), room), (short, "bold $warning"))


EMPTY = Content.assemble(
    ("No runs yet.\n\n", "bold"),
    ("D", "bold $primary"), "  starts the demo: gates, QLoRA training and a real verdict on a small\n"
    "   embedded model, in about a minute, without a GPU or a network.\n\n",
    ("n", "bold $primary"), "  starts a run on a model and a dataset of your own: a form asks for them,\n"
    "   and the dataset's gates come before anything is trained.\n\n",
    ("?", "bold $primary"), "  shows every key.  ", ("q", "bold $primary"), "  leaves.\n\n",
    ("A run stands here from then on, and goes on when you close the terminal.", "$muted"),
)  # fmt: skip
