import re
from pathlib import Path

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.color import Color

import app
from app.glyphs import AsciiFilter, ColourlessFilter, ascii_text, wants_ascii


def test_every_sign_that_the_panel_writes_has_a_likeness_of_its_own_width():
    signs = set()
    for path in Path(app.__file__).parent.rglob("*.py"):
        if path.name not in ("inert.py", "glyphs.py") and "commands" not in path.parts:
            signs |= set(re.sub(r'"""(?s:.*?)"""|#.*', "", path.read_text("utf-8")))
    for sign in sorted(sign for sign in signs if not sign.isascii()):
        shown = ascii_text(sign)
        assert shown.isascii() and len(shown) == cell_len(sign), sign
        assert shown != "?" or sign in "␊", f"{sign} has no likeness"


def test_comparisons_keep_their_meaning_and_width():
    assert ascii_text("≥ 50 %") == ">=50 %" and ascii_text("≤ 5") == "<=5"


def test_signs_that_stand_beside_each_other_stay_distinct():
    assert len(set(ascii_text("✓†●○◆✗"))) == 6 and ascii_text("🔎 Search") == "/  Search"


def test_wide_characters_keep_their_cells():
    assert ascii_text("漢字 a") == "???? a"


def test_filters_change_text_or_colour_and_nothing_else():
    line = [Segment("✓ GO", Style.parse("bold red on blue"))]
    assert AsciiFilter().apply(line, Color(0, 0, 0))[0] == Segment("+ GO", Style.parse("bold red on blue"))
    colourless = ColourlessFilter().apply(line, Color(0, 0, 0))[0]
    assert colourless.text == "✓ GO" and colourless.style.bold and not colourless.style.color and not colourless.style.bgcolor


def test_ascii_is_for_other_locales_and_blind_tmux_clients():
    assert wants_ascii({"LANG": "C"}, None) and wants_ascii({"LC_ALL": "de_DE.ISO-8859-1", "LANG": "en_US.UTF-8"}, None)
    assert not wants_ascii({"LANG": "en_US.utf8"}, None) and not wants_ascii({}, None)
    assert wants_ascii({"LANG": "en_US.UTF-8"}, False) and not wants_ascii({"LANG": "en_US.UTF-8"}, True)
