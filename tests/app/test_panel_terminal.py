"""The panel in a real pseudo-terminal, read by a terminal emulator."""

import base64
import re
import signal
import sys

import pytest

from tests.terminal import Terminal

LAUNCH = "import sys; from pathlib import Path; from app.opening import open_panel; from engine.protocol.runs import RunFolder; open_panel(Path(sys.argv[1]), RunFolder(Path(sys.argv[2])) if len(sys.argv) > 2 else None)"

FULL_BYTES = 4000
F9 = "\x1b[20~"


def colour_codes(raw: bytes) -> set[int]:
    """Every parameter of an SGR sequence that was sent."""
    return {int(code) for found in re.findall(rb"\x1b\[([0-9;]*)m", raw) for code in found.split(b";") if code}


@pytest.fixture
def terminal():
    opened = []

    def launch(*arguments: str, **environment: str) -> Terminal:
        opened.append(Terminal([sys.executable, "-c", LAUNCH, *arguments], **environment))
        return opened[-1]

    yield launch
    for each in opened:
        each.clear_away()


def test_open_see_the_run_walk_the_tabs_and_leave(terminal, workspace):
    panel = terminal(str(workspace))
    panel.until("0314-0900-training-a7f0")
    panel.press("\x1b[F")
    panel.until("›0314-0900-training-a7f0")
    panel.press("\r")
    panel.until("TRAIN 62 %")
    panel.press("1")
    panel.until("nothing blocks training")
    panel.press("q")
    assert panel.end() == 0
    assert b"run 0314-0900-training-a7f0 goes on; sluice open 0314-0900-training-a7f0 shows it again" in panel.raw


def test_the_closed_terminal_ends_the_panel_at_once(terminal, scene_of, tmp_path):
    panel = terminal(str(tmp_path), str(scene_of("training").run.path))
    panel.until("TRAIN 62 %")
    assert panel.close() == -signal.SIGHUP


def test_a_stalled_terminal_can_be_closed_too(terminal, scene_of, tmp_path):
    panel = terminal(str(tmp_path), str(scene_of("training").run.path))
    panel.until("TRAIN 62 %")
    panel.press("1t2t3t4t" * 30)
    # the terminal is full once the panel has written all that fits and still has the keys' screens to write
    while panel.unread() < FULL_BYTES:
        assert panel.process.poll() is None
    assert panel.close() == -signal.SIGHUP


def test_no_colour_and_no_unicode_where_they_are_not_wanted(terminal, scene_of, tmp_path):
    panel = terminal(str(tmp_path), str(scene_of("no-go").run.path), TERM="screen", LANG="C", NO_COLOR="1")
    panel.until("x safety #")
    assert panel.until("x NO-GO").isascii()
    panel.press("2")
    panel.until("smooth")
    panel.press("q")
    panel.end()
    assert not {code for code in colour_codes(panel.raw) if code >= 30}, "colour codes were sent under NO_COLOR"
    assert panel.raw.isascii()


def test_the_list_and_the_form_in_a_poor_terminal(terminal, workspace):
    panel = terminal(str(workspace), TERM="screen", LANG="C", NO_COLOR="1")
    for words in ("0314-0900-go-a7f4", "+ finished", "x NO-GO"):
        assert panel.until(words).isascii()
    panel.press("n")
    panel.until("training file")
    panel.press(f"{workspace}/none\r")
    panel.until("x ")
    panel.press(F9)
    panel.until("0314-0900-go-a7f4")
    panel.press("?")
    panel.until("Keys that work now")
    panel.press("qq")
    panel.end()
    assert not {code for code in colour_codes(panel.raw) if code >= 30}, "colour codes were sent under NO_COLOR"
    assert panel.raw.isascii()


def test_every_step_of_a_rerun_works_without_function_keys_or_escape(terminal, workspace, scene_of):
    run = workspace / "checkpoints" / "stage1_sft" / scene_of("go").run.run_id
    panel = terminal(str(workspace))
    panel.until(run.name)
    panel.press("/")
    panel.until("F1 Keys")
    panel.press("go")
    panel.press("\r")
    panel.until("R Rerun")
    panel.press("R")
    panel.until("nothing changed yet")
    panel.press("/")
    panel.until("F1 Keys")
    panel.press("seed\r")
    panel.until("Launch")
    panel.press("\r")
    panel.until("F1 Keys")
    panel.press("\x7f")
    panel.until("Enter takes it")
    panel.press("7\r")
    panel.until("1 changed")
    panel.press("l")
    panel.until("0 → 7")
    panel.press("n")
    panel.until_gone("0 → 7")
    panel.press("b")
    panel.until("c Compare")
    panel.press("q")
    assert panel.end() == 0


def test_a_copied_screen_goes_out_as_osc_52_and_into_a_file(terminal, workspace):
    panel = terminal(str(workspace))
    panel.until("0314-0900-go-a7f4")
    panel.press("y")
    panel.until("always in")
    copied = (workspace / "exports" / "copied.txt").read_text()
    assert "| 0314-0900-go-a7f4 |" in copied and str(workspace) in copied
    sent = re.search(rb"\x1b\]52;c;([A-Za-z0-9+/=]+)", panel.raw)
    assert sent is not None and base64.b64decode(sent[1]).decode() == copied.rstrip("\n")
    panel.press("q")
    panel.end()
