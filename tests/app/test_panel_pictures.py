"""Layout snapshots of replayed journals: three sizes in one theme, every theme at 80×24."""

import pytest

from app.themes import load_palettes, shipped_folder

SCENES = {
    "blocked": "1",
    "training": "2",
    "recovered": "2",
    "failed": "2",
    "sft": "3",
    "go": "4",
    "no-go": "4",
    "inconclusive": "4",
}
THEMED = ("training", "recovered", "failed", "go", "no-go", "inconclusive")
SIZES = [(80, 24), (120, 40), (200, 60)]
THEMES = [palette.name for palette in load_palettes(shipped_folder())[0]]


def settled(until):
    async def before(pilot):
        screen = pilot.app.screen

        def done():
            # the second paint, once every widget knows its room, is the one to look at; the chart comes one refresh after the figures
            pane = screen.pane
            if not screen.view.caught_up or pane is None or pane.room != screen.painted_room:
                return False
            # of a report with both arms, what the items' answers say comes from a thread
            if pane.id == "report" and screen.view.evaluation is not None and pane._pairs is None:
                return False
            return pane.id != "train" or bool(pane.query("#loss-chart"))

        await until(pilot, done)
        screen.paint_again()
        await pilot.pause()
        await until(pilot, done)
        await pilot.pause()

    return before


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", SCENES)
def test_layout(snap_compare, panel_on, until, name, size):
    assert snap_compare(panel_on(name), press=[SCENES[name]], terminal_size=size, run_before=settled(until))


@pytest.mark.parametrize("name", THEMED)
@pytest.mark.parametrize("theme", THEMES)
def test_theme(snap_compare, panel_on, until, theme, name):
    panel = panel_on(name)
    panel.theme = theme
    assert snap_compare(panel, press=[SCENES[name]], terminal_size=(80, 24), run_before=settled(until))
