"""What can be asked of the run under the cursor, each with its key: stop, resume, rerun, compare, name, note, pack, remove.

Every action goes through the command line in another process. What ends or removes something asks first.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from textual.content import Content
from textual.screen import Screen

from app.engine_calls import Packed, Sizes, ask, note, pack, remove, rename, resume, sizes, start_demo
from app.figures import memory_size
from app.inert import inert
from app.keys import Key
from app.listing_text import given_name
from app.messages import Open
from app.screens.panel_screen import PanelScreen
from app.state_words import RESUMABLE
from engine.protocol.listing import Listed

Result = TypeVar("Result")
RUN_KEYS = (
    Key(keys="s", action="stop", label="Stop…", help="Stop the run: it finishes its step and writes a checkpoint; asks first."),
    Key(keys="r", action="resume", label="Resume", help="Go on with a run that rests, exactly where it was."),
    Key(keys="R", action="rerun", label="Rerun…", help="A new run with this one's settings, some of them changed."),
    Key(keys="c", action="compare", label="Compare", help="On one run, then on another: settings that differ, curves, verdicts."),
    Key(keys="e", action="rename", label="Rename…", help="Give the run another name; its id stays.", footer=False),
    Key(keys="d", action="note", label="Note…", help="A line about the run, kept with it.", footer=False),
    Key(
        keys="p", action="pack", label="Pack", help="Pack the run without checkpoints, with sha256, to copy it off.", footer=False
    ),
    Key(keys="X,delete", action="remove", label="Remove…", help="Remove the run for ever; shows sizes and asks.", footer=False),
)
_NEEDS_RUN = frozenset({"rerun", "compare", "rename", "note", "pack"})


class RunActions(PanelScreen):
    """The part of the list of runs that acts on one of them."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.workspace = root
        self.listed: dict[str, Listed] = {}
        self.marked = ""

    @property
    def here(self) -> Listed | None:
        """The run under the cursor."""
        return None

    def look_again(self) -> None:
        """Read the list now."""

    def show_list(self) -> None:
        """Show it anew."""

    def check_run_action(self, action: str) -> bool:
        """Only what the run under the cursor allows."""
        here = self.here
        if action == "stop":
            return here is not None and here.live and here.state != "stopping"
        if action == "resume":
            return here is not None and (here.state in RESUMABLE or here.partial)
        if action == "remove":
            return here is not None and not here.live
        return here is not None if action in _NEEDS_RUN else True

    def action_demo(self) -> None:
        """Start the demo and open it."""
        root = self.workspace
        self.notify("starting the demo …", timeout=3, markup=False)
        self.panel.ask_engine(lambda: Open(start_demo(root)))

    def action_new(self) -> None:
        """The form for a new run."""
        from app.screens.new_run import NewRunScreen

        live = [listed.run.run_id for listed in self.listed.values() if listed.live]
        self._push(NewRunScreen(self.workspace, live))

    def action_stop(self) -> None:
        """Ask, then stop."""
        here = self.here
        if here is not None:
            self._confirm(
                f"Stop {here.run.run_id}?", "It finishes its step, writes a checkpoint and rests. Resume goes on from there.", "Stop",
                lambda: ask(here.run, "stop"),
            )  # fmt: skip

    def action_resume(self) -> None:
        """Go on with a resting run."""
        here = self.here
        if here is not None:
            self.panel.ask_engine(lambda: resume(here.run), self.look_again)

    def action_rerun(self) -> None:
        """Its settings, to be changed."""
        from app.screens.rerun import RerunScreen

        if self.here is not None:
            self._push(RerunScreen(self.here.run))

    def action_compare(self) -> None:
        """Mark a run; with one marked already, show both."""
        from app.screens.compare import CompareScreen

        here = self.here
        other = self.listed.get(self.marked)
        if here is None:
            return
        if other is None or other.run.run_id == here.run.run_id:
            self.marked = "" if other else here.run.run_id
        else:
            self.marked = ""
            self._push(CompareScreen(other.run, here.run))
        self.show_list()

    def action_rename(self) -> None:
        """Ask for the name."""
        from app.screens.ask import Ask

        here = self.here
        if here is not None:
            text = "Lists show the name before the id. The id and the folder stay as they are."
            dialog = Ask(f"Rename {here.run.run_id}", text, "Rename", lambda name: rename(here.run, name), here.summary.name)
            self._push(dialog, self._told)

    def action_note(self) -> None:
        """Ask for the line."""
        from app.screens.ask import Ask

        here = self.here
        if here is not None:
            text = "A line that stands in the list and is kept with the run. An empty one removes it."
            dialog = Ask(f"Note on {here.run.run_id}", text, "Keep", lambda line: note(here.run, line), here.summary.note)
            self._push(dialog, self._told)

    def action_pack(self) -> None:
        """Pack it and show where it is."""
        here = self.here
        if here is None:
            return
        self.notify(f"packing {here.run.run_id} …", timeout=4, markup=False)

        def show(packed: Packed) -> None:
            from app.screens.reading import ReadingScreen

            self._push(ReadingScreen(f"{here.run.run_id} › packed", packed_text(packed)))

        self.panel.ask_for(lambda: pack(here.run), show)

    def action_remove(self) -> None:
        """Show sizes, ask, then remove."""
        here = self.here
        if here is None:
            return

        def confirm(found: Sizes) -> None:
            self._confirm(f"Remove {here.run.run_id} for ever?", removal_text(here, found), "Remove", lambda: remove(here.run))

        self.panel.ask_for(lambda: sizes(here.run), confirm)

    def _confirm(self, title: str, text: str | Content, yes: str, call: Callable[[], str]) -> None:
        from app.screens.dialogs import Confirm

        def take(sure: bool | None) -> None:
            if sure:
                self.panel.ask_engine(call, self.look_again)

        self._push(Confirm(title, text, yes), take)

    def _told(self, said: str | None) -> None:
        if said:
            self.notify(said, timeout=5, markup=False)
            self.look_again()

    def _push(self, screen: Screen[Result], take: Callable[[Result | None], None] | None = None) -> None:
        self.app.push_screen(screen, take)


def packed_text(packed: Packed) -> Content:
    """Where the archive is, its sum, and how it gets off the machine."""
    return Content.assemble(
        inert(packed.archive), f"\n{memory_size(packed.size_bytes)}, {packed.files} files with their sums, no checkpoints\n\n",
        ("sha256  ", "$muted"), packed.sha256, "\n\n", ("On your own machine:\n\n", "bold"),
        "  ", inert(packed.copy, style="$secondary"), "\n  sha256sum -c SHA256SUMS", ("   in the folder that was copied\n\n", "$muted"),
        ("y", "bold $primary"), " copies this text.",
    )  # fmt: skip


def removal_text(listed: Listed, found: Sizes) -> Content:
    """What goes, in bytes, and what that means."""
    name = given_name(listed)
    rest = found.total - found.checkpoints - found.adapter - found.evaluation
    return Content.assemble(
        inert(f"{name}: " if name else ""), (memory_size(found.total), "bold"),
        f" go: checkpoints {memory_size(found.checkpoints)}, adapter {memory_size(found.adapter)}, evaluation "
        f"{memory_size(found.evaluation)}, rest {memory_size(rest)}.",
        ("\nIts verdict is signed: the signature goes too.", "bold $warning") if found.signed else "",
        "\nThis cannot be undone. Attempts on its held-out set stay counted.",
    )  # fmt: skip
