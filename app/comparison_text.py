"""A comparison of two runs as rows of text, for the panel and the command line alike. Pure; what is not there yet is a dash."""

from app.comparison import Comparison, Rates, Side
from app.figures import NONE, clock_duration, count, memory_size, p_value, percent, percent_interval, points

Row = tuple[str, str, str]


def figure_rows(found: Comparison) -> list[Row]:
    """State, verdict, rates, training and time: one row each, a cell for each run."""
    sides = (found.first, found.second)
    rows = [
        _row("name", *(side.name or NONE for side in sides)),
        _row("rerun of", *(side.parent or NONE for side in sides)),
        _row("state", *(side.state for side in sides)),
        _row("verdict", *(verdict_text(side) for side in sides)),
        _row("signed by", *(side.signed_by or NONE for side in sides)),
        _row("attempt on its held-out set", *(count(side.attempt) for side in sides)),
        _row("items", *(count(side.overall.n) if side.overall else NONE for side in sides)),
        _row("base %", *(percent(side.overall.base_rate) if side.overall else NONE for side in sides)),
        _row("SFT %", *(percent(side.overall.sft_rate) if side.overall else NONE for side in sides)),
        _row("lift pp [95 % CI]", *(lift_text(side.overall) for side in sides)),
        _row("p", *(p_value(side.overall.p) if side.overall else NONE for side in sides)),
        _row("best dev loss", *(f"{side.best_dev.loss:.3f} @{side.best_dev.step}" if side.best_dev else NONE for side in sides)),
        _row("last loss (smooth)", *(f"{side.curve[-1].smooth:.3f}" if side.curve else NONE for side in sides)),
        _row("steps", *(count(side.steps) for side in sides)),
        _row("training took", *(clock_duration(side.train_s) if side.train_s is not None else NONE for side in sides)),
        _row("all stages took", *(clock_duration(side.total_s) if side.total_s is not None else NONE for side in sides)),
        _row("peak allocated", *(memory_size(side.peak_bytes) if side.peak_bytes else NONE for side in sides)),
    ]
    return [row for row in rows if row[1:] != (NONE, NONE)]


def type_rows(found: Comparison) -> list[Row]:
    """Lift of every type that either run has."""
    names = dict.fromkeys([*found.first.by_type, *found.second.by_type])
    return [(name, lift_text(found.first.by_type.get(name)), lift_text(found.second.by_type.get(name))) for name in names]


def verdict_text(side: Side) -> str:
    """`GO · BORDERLINE`."""
    return " · ".join((side.decision, *side.flags)) if side.decision else NONE


def lift_text(rates: Rates | None) -> str:
    """`+57.1 [53.6, 60.3]`."""
    return NONE if rates is None else f"{points(rates.lift)} {percent_interval(rates.lift_ci)}"


def _row(name: str, first: str, second: str) -> Row:
    return name, first, second
