"""The pure parts of the panel: figures, forest plot, states, keys, item filters."""

import pytest

from app.figures import age, clock_duration, file_size, p_value, percent, percent_interval, points
from app.keys import Key, bindings
from app.train_text import not_yet, plan_lines
from app.widgets.bars import bar
from app.widgets.forest import axis, forest_row, shared_scale
from app.widgets.status_line import status_line
from engine.protocol.listing import SILENT_AFTER_S, shown_state, utc_seconds


def test_figures_have_sensible_digits_and_undefined_is_a_dash():
    assert (percent(0.761), points(-0.12), percent_interval((0.5, 1.0))) == ("76.1", "-12.0", "[50.0, 100.0]")
    small = {0.031: "0.031", 3.2e-12: "3.2e-12", 4e-4: "0.0004", 1.7e-123: "2e-123", 1.0: "1", 0.0: "<1e-300", None: "–"}
    assert {p: p_value(p) for p in small} == small
    assert [clock_duration(s) for s in (42, 391, 7080, None)] == ["42 s", "6m31", "1h58", "?"]
    assert [age(s) for s in (3, 250, 7200, 200_000, None)] == ["3 s", "4 min", "2 h", "2 d", "–"]
    assert [file_size(size) for size in (812, 76_332, 1_640_000)] == ["812 B", "76 kB", "1.6 MB"]
    assert percent(None) == points(None) == percent_interval(None) == "–"


def test_all_rows_of_the_forest_share_scale_and_zero_line():
    intervals = [(0.50, 0.60), (-0.197, -0.05), None]
    scale = shared_scale(intervals, 41)
    assert (scale.low, scale.high) == (-0.2, 0.6)
    zero = scale.cell(0.0)
    good, bad, none = (forest_row(scale, interval, interval and sum(interval) / 2).plain for interval in intervals)
    assert good[zero] == none[zero] == "│" and good.index("├") > zero > bad.index("┤")
    assert good.index("├") < good.index("●") < good.index("┤") and len(good) == len(bad) == 41
    assert axis(scale)[zero] == "0" and axis(scale).startswith("-20") and axis(scale).endswith("+60")


def test_a_bar_is_full_only_at_the_end():
    assert (
        bar(0.999, 8).plain == "▇" * 7 + "▁"
        and bar(1, 8).plain == "▇" * 8
        and bar(0.001, 8).plain[0] == "▇"
        and bar(0, 4).plain == "▁▁▁▁"
    )


def test_states_are_corrected_by_who_is_there():
    assert shown_state("running", live=True, owned=False, quiet_s=1) == "interrupted"
    assert shown_state("running", live=True, owned=True, quiet_s=SILENT_AFTER_S + 1) == "silent"
    assert shown_state("loading", live=True, owned=True, quiet_s=SILENT_AFTER_S + 1) == "loading"
    assert shown_state("finished", live=False, owned=False, quiet_s=None) == "finished"


def test_times_of_the_journal():
    assert utc_seconds("1970-01-01T00:01:00.500Z") == 60.5 and utc_seconds("nonsense") == 0.0


def test_a_key_that_terminals_keep_cannot_be_the_only_one():
    with pytest.raises(ValueError, match="may never reach"):
        bindings([Key(keys="escape", action="back", label="Back", help="")])
    assert bindings([Key(keys="b,escape", action="back", label="Back", help="")])


@pytest.mark.parametrize("width", [40, 60, 78, 120])
def test_the_status_line_fits_and_keeps_the_stage(scene_of, width):
    from app.following import RunFollower

    scene = scene_of("training")
    follower = RunFollower(scene.run, lambda: scene.clock_s)
    follower.look()
    line = status_line(follower.view, width)
    assert line.cell_length <= width and "TRAIN" in line.plain
    if width >= 78:
        assert "engine 2 s, worker 1 s" in line.plain and "LOW" in line.plain


@pytest.mark.parametrize(
    ("low", "high", "about", "whole", "labels"),
    [
        (0.0, 0.5, 5, False, ["0.0", "0.1", "0.2", "0.3", "0.4", "0.5"]),
        (0.31, 2.9, 3, False, ["1", "2"]),
        (0.0512, 0.0537, 3, False, ["0.052", "0.053"]),
        (0.0, 537.0, 5, True, ["0", "200", "400"]),
        (0.0, 3.0, 8, True, ["0", "1", "2", "3"]),
        (0.0, 12_000.0, 4, True, ["0", "5,000", "10,000"]),
    ],
)
def test_ticks_are_round_numbers_inside_the_range(low, high, about, whole, labels):
    from app.widgets.loss_chart import round_ticks

    ticks, shown = round_ticks(low, high, about, whole=whole)
    assert shown == labels and all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)


def test_a_finished_run_says_for_ever_what_was_overridden_and_intervals_their_level(scene_of):
    import msgspec

    from app.following import RunFollower
    from app.screens.report import columns
    from engine.protocol.gates import Override

    scene = scene_of("go")
    follower = RunFollower(scene.run, lambda: scene.clock_s)
    follower.look()
    assert "overridden" not in status_line(follower.view, 100).plain
    given = Override(gate="leakage", reason="known", who="Ada", at="2026-03-14T09:00:00Z")
    follower.view.gates = msgspec.structs.replace(follower.view.gates, overrides=(given,))
    assert "! overridden: leakage" in status_line(follower.view, 100).plain
    assert [column.title for column in columns(20, "", 0.9)][6] == "lift pp [90 % CI]"


def test_loading_tells_its_time_where_nobody_knows_the_bytes(scene_of):
    from app.following import RunFollower

    scene = scene_of("loading")
    follower = RunFollower(scene.run, lambda: scene.clock_s)
    follower.look()
    assert " of " in status_line(follower.view, 120).plain
    follower.view.state.load_progress = None
    follower.view.state.state_since = "1970-01-01T00:00:00.000Z"
    follower.view.clock = lambda: 34.0
    assert "loading for 34 s" in status_line(follower.view, 120).plain
    for width in (50, 62):
        narrow = status_line(follower.view, width).plain
        assert "loading for 34 s" in narrow and narrow.endswith("wrk 0 s") and ("ETA" in narrow) == (width == 62)


def test_a_run_at_rest_without_a_step_is_not_said_to_load(scene_of):
    from app.following import RunFollower

    scene = scene_of("loading")
    follower = RunFollower(scene.run, lambda: scene.clock_s)
    follower.look()
    assert "has not begun" in not_yet(follower.view.state, going_on=True).plain
    assert "came to rest" in not_yet(follower.view.state, going_on=False).plain


def test_a_finished_run_tells_the_size_of_its_report(copied):
    from app.following import RunFollower

    run = copied("go")
    follower = RunFollower(run, lambda: 0.0)
    follower.look()
    assert "report.html" not in status_line(follower.view, 120).plain
    run.report_html.write_bytes(b"x" * 76_332)
    follower.look()
    assert "report.html 76 kB" in status_line(follower.view, 120).plain


def test_a_plan_shows_no_prediction_that_it_does_not_have(scene_of):
    from msgspec.structs import replace

    from app.following import RunFollower

    scene = scene_of("training")
    follower = RunFollower(scene.run, lambda: scene.clock_s)
    follower.look()
    state = follower.view.state
    assert state.compute_plan is not None
    small = replace(state.compute_plan, chosen=replace(state.compute_plan.chosen, step_s=0.0036, peak_bytes=61 << 20))
    assert "3.6 ms/step · peak 61 MiB expected" in plan_lines(small, state, 120, wide=False)[0].plain
    taken_over = replace(
        small, chosen=replace(small.chosen, step_s=0.0, peak_bytes=0, plan=replace(small.chosen.plan, row_tokens=0))
    )
    for wide in (False, True):
        assert not {"ms/step", "s/step", "expected", "rows"} & set(plan_lines(taken_over, state, 120, wide=wide)[0].plain.split())
