"""The tab of the evaluation: both arms as they answer, the growing 2×2 table, rates by type, and the last items.

It refuses p-values and a verdict before both arms are complete, and says so.
"""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.content import Content
from textual.widget import Widget

from app.figures import clock_duration, count, percent, rate
from app.following import RunView
from app.inert import inert_line
from app.keys import Key, bindings
from app.screens.pane import EXPORT, Pane
from app.state_words import outcome_word
from app.widgets.bars import bar
from app.widgets.line import TextBlock, rule
from app.widgets.row_table import Column, Row, RowTable
from engine.protocol.events import Arm, ItemOutcome
from engine.protocol.run_state import RunState, pairs_of

ALL = ""
"""Key of the row of all types together: no type has an empty name."""
KEYS = (
    Key(keys="i,enter", action="items", label="Items", help="The items of the type under the cursor, as answered so far."),
    Key(keys="slash", action="search", label="Search", help="Search in the items of the type under the cursor."),
    Key(keys="f", action="lost", label="Lost", help="The items of the type under the cursor that only the base passes."),
    EXPORT,
)
COLUMNS = (
    Column(title="type († guarded)", width=0),
    Column(title="done", width=9, right=True),
    Column(title="base %", width=7, right=True),
    Column(title="SFT %", width=7, right=True),
    Column(title="lost", width=5, right=True),
    Column(title="won", width=5, right=True),
)
ARMS: dict[Arm, str] = {"base": "base", "sft": "SFT "}


class EvalPane(Pane):
    """Both arms."""

    KEYS = KEYS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(KEYS)]

    def compose(self) -> ComposeResult:
        """Bars, 2×2 table, types, last items."""
        yield TextBlock(widget_id="eval-arms")
        yield TextBlock(widget_id="eval-pairs")
        with Container(id="eval-split"):
            yield RowTable(COLUMNS, widget_id="eval-types")
            yield TextBlock(widget_id="eval-last")

    def focus_target(self) -> Widget:
        """The table."""
        return self.query_one(RowTable)

    def paint(self, view: RunView) -> None:
        """From the outcomes so far."""
        state = view.state
        width = self.text_width
        self.query_one("#eval-arms", TextBlock).show(
            Content("\n").join([*(arm_line(state, arm, width) for arm in ARMS), noise_line(state)])
        )
        self.query_one("#eval-pairs", TextBlock).show(pairs_content(state))
        self.query_one(RowTable).show(type_rows(state, view.guarded))
        last = self.query_one("#eval-last", TextBlock)
        last.show(last_items(state, self.width_of(last), max(2, last.size.height or 7)))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Items once some are answered, the lost ones once both arms answer."""
        if action == "lost":
            return bool(self.view.state.arms["sft"].outcomes)
        return bool(self.query_one(RowTable).rows) if action in ("items", "search", "export") else True

    def on_row_table_chosen(self, event: RowTable.Chosen) -> None:
        """Enter opens the items."""
        if self.check_action("items", ()):
            self.action_items()

    def action_items(self) -> None:
        """The items of the type under the cursor."""
        self._open("")

    def action_search(self) -> None:
        """The same, with the search open."""
        self._open("all", search=True)

    def action_lost(self) -> None:
        """The lost ones of them."""
        self._open("lost")

    def _open(self, filter_name: str, *, search: bool = False) -> None:
        from app.screens.items import ItemsScreen

        key = self.query_one(RowTable).key
        of_type = key or None
        self.app.push_screen(ItemsScreen(self.view.run, of_type=of_type, filter_name=filter_name, search=search))


def arm_line(state: RunState, arm: Arm, width: int) -> Content:
    """Bar, counts, speed and time left of one arm."""
    progress = state.arms[arm]
    share = progress.done_items / progress.items if progress.items else 0.0
    speed = progress.tokens / progress.elapsed_s if progress.elapsed_s > 0 and progress.tokens else None
    head = Content.assemble(
        (f"{ARMS[arm]} ", "bold"), bar(share, max(10, min(40, width - 58)), "$success" if progress.finished else "$primary")
    )
    counts = f" {progress.done_items:>5}/{progress.items or '–'}  "
    if progress.finished:
        words = "✓ complete" + (f", {clock_duration(progress.elapsed_s)} of decoding" if progress.elapsed_s else "")
    elif progress.items and progress.done_items >= progress.items:
        words = "all answered; some again, for the noise floor"
    elif progress.done_items or progress.items:
        left = state.arm_left_s(arm)
        words = f"{rate(speed)} tok/s" + (f", {clock_duration(left)} left" if left is not None else "")
    else:
        words = "comes before training" if arm == "base" else "comes after training"
    return Content.assemble(head, counts, (words, "$success" if progress.finished else "$muted"))


def noise_line(state: RunState) -> Content:
    """Flips where the same was decoded again."""
    names = {"repeat": "same batches", "rebatch": "other batches", "unpadded": "unpadded", "drift": "base again"}
    taken = [(name, state.noise_of(kind)) for kind, name in names.items()]
    said = " · ".join(f"{name} {found[0]}/{found[1]}" for name, found in taken if found)
    noise = f"noise floor: {said} flipped" if said else "noise floor: not measured yet"
    missed = {name: sum(outcome.success is None for outcome in arm.outcomes.values()) for name, arm in state.arms.items()}
    unscored = f"   unscored: base {missed['base']}, SFT {missed['sft']}" if any(missed.values()) else ""
    return Content.assemble((noise, "$muted"), (unscored, "$warning"))


def pairs_content(state: RunState) -> Content:
    """The 2×2 table with both rates beside it, and that it is interim while it is."""
    pairs = state.pairs
    if not pairs.n:
        return _one_arm(state)
    base, sft = (pairs.both + pairs.lost) / pairs.n, (pairs.both + pairs.won) / pairs.n
    so_far = "" if complete(state) else " so far"
    lines = [
        Content.assemble(("             SFT pass     SFT fail", "$muted"), f"         rates on the {pairs.n:,} pairs{so_far}"),
        Content.assemble(("base pass  ", "$muted"), f"{pairs.both:>10,}     ", (f"{pairs.lost:>8,} lost", "$error"), f"      base {percent(base):>5} %"),
        Content.assemble(("base fail  ", "$muted"), (f"{pairs.won:>10,} won ", "$success"), f"{pairs.neither:>8,}     ",
                         f"      SFT  {percent(sft):>5} %"),
    ]  # fmt: skip
    if not complete(state):
        lines.append(Content.styled("INTERIM: no p-value and no verdict until both arms are complete.", "bold $warning"))
    else:
        lines.append(Content.assemble(("Both arms are complete: ", "$success"), "the numbers that count are in the Report (4)."))
    return Content("\n").join(lines)


def _one_arm(state: RunState) -> Content:
    answered = [outcome for outcome in state.arms["base"].outcomes.values() if outcome.success is not None]
    if not answered:
        return Content.styled("No answers yet. The base arm comes after the gates, the SFT arm after training.", "$muted")
    share = sum(bool(outcome.success) for outcome in answered) / len(answered)
    so_far = "" if state.arms["base"].finished else " so far"
    return Content.assemble(
        f"base alone{so_far}: {percent(share)} % of {count(len(answered))} items; pairs come after training.\n",
        ("INTERIM: no p-value and no verdict until both arms are complete.", "bold $warning"),
    )


def complete(state: RunState) -> bool:
    """True once both arms have all their items."""
    return state.arms["base"].finished and state.arms["sft"].finished


def type_rows(state: RunState, guarded: frozenset[str]) -> list[Row]:
    """All types together, then each of them; before the SFT arm begins, the base arm's rates alone."""
    base, sft = state.arms["base"].outcomes, state.arms["sft"].outcomes
    if not base and not sft:
        return []
    by_type: dict[str, tuple[dict[str, ItemOutcome], dict[str, ItemOutcome]]] = {}
    for place, outcomes in enumerate((base, sft)):
        for outcome in outcomes.values():
            for name in outcome.types:
                by_type.setdefault(name, ({}, {}))[place][outcome.id] = outcome
    total = len(base) if state.arms["base"].finished else None
    rows = [_type_row(ALL, base, sft, total, guarded=False)]
    for name in sorted(by_type):
        mine = by_type[name]
        rows.append(_type_row(name, *mine, len(mine[0]) if total is not None else None, guarded=name in guarded))
    return rows


def _type_row(name: str, base: dict[str, ItemOutcome], sft: dict[str, ItemOutcome], total: int | None, *, guarded: bool) -> Row:
    """`total`: items of the type, known once the base arm is complete."""
    pairs = pairs_of(base, sft)
    title = inert_line(f"{name or 'all types'}{' †' if guarded else ''}", 40, style="bold" if name == ALL else "")
    if not pairs.n:
        scored = [outcome.success for outcome in base.values() if outcome.success is not None]
        return Row(name, (title, _of(len(base), None), percent(sum(scored) / len(scored)) if scored else "–", "–", "–", "–"))
    lost = Content.styled(f"{pairs.lost:,}", "$error" if pairs.lost else "")
    won = Content.styled(f"{pairs.won:,}", "$success" if pairs.won else "")
    base_rate, sft_rate = (pairs.both + pairs.lost) / pairs.n, (pairs.both + pairs.won) / pairs.n
    return Row(name, (title, _of(pairs.n + pairs.unscored, total), percent(base_rate), percent(sft_rate), lost, won))


def _of(done: int, total: int | None) -> str:
    return f"{done:,}" if total is None else f"{done:,}/{total:,}"


def last_items(state: RunState, width: int, lines: int) -> Content:
    """The newest items, newest first: arm, outcome, what the base did, id, and the beginning of the answer."""
    rows = [rule("last items", width)]
    for arm, outcome in list(state.last_items)[-(lines - 1) :][::-1]:
        rows.append(_item_line(state, arm, outcome, width))
    return Content("\n").join(rows)


def _item_line(state: RunState, arm: str, outcome: ItemOutcome, width: int) -> Content:
    word = outcome_word(outcome.success)
    head = [(f"{ARMS['sft' if arm == 'sft' else 'base']} ", ""), (f"{word.glyph} {word.word}", word.style)]
    theirs = state.arms["base"].outcomes.get(outcome.id)
    if arm == "sft" and theirs is not None:
        head.append((f" (base {outcome_word(theirs.success).glyph})", "$muted"))
    lead = Content.assemble(*head, " ", inert_line(outcome.id, 18, style="$secondary"), "  ")
    reason = inert_line(f"  {outcome.reason}", 40, style="$muted") if outcome.reason and not outcome.success else Content("")
    preview = inert_line(outcome.preview, max(8, width - lead.cell_length - reason.cell_length))
    return Content.assemble(lead, preview, reason).truncate(width, ellipsis=True)
