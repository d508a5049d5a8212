"""Numbers as people read them: sensible digits, always a unit, one way for each kind all over the panel.

It computes nothing, and shows an undefined value as a dash, never as 0.
"""

NONE = "–"


def percent(share: float | None, digits: int = 1) -> str:
    """0.761 as 76.1 (the column says %)."""
    return NONE if share is None else f"{100 * share:.{digits}f}"


def percent_interval(interval: tuple[float, float] | None, digits: int = 1) -> str:
    """(0.734, 0.786) as [73.4, 78.6]."""
    return NONE if interval is None else f"[{percent(interval[0], digits)}, {percent(interval[1], digits)}]"


def points(lift: float | None) -> str:
    """0.571 as +57.1, percentage points."""
    return NONE if lift is None else f"{100 * lift:+.1f}"


def p_value(p: float | None) -> str:
    """Two significant digits, as in summary.txt and report.html: 0.031, 3.2e-12."""
    if p is None:
        return NONE
    if p < 1e-300:
        return "<1e-300"
    return f"{p:.0e}" if p < 1e-99 else f"{p:.2g}"


def clock_duration(seconds: float | None) -> str:
    """Seconds as 42 s, 6m31 or 1h58: for the status line."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60}m{whole % 60:02d}" if whole < 3600 else f"{whole // 3600}h{whole % 3600 // 60:02d}"


def age(seconds: float | None) -> str:
    """How long ago: 3 s, 4 min, 5 h, 6 d."""
    if seconds is None:
        return NONE
    whole = max(0, int(seconds))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if whole >= size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def gibibytes(size_bytes: float | None) -> str:
    """Bytes as GiB with one decimal, without the unit."""
    return NONE if size_bytes is None else f"{size_bytes / 2**30:.1f}"


def memory_size(size_bytes: float) -> str:
    """Bytes with the unit that keeps three digits: 204 KiB, 812 MiB, 75.0 GiB."""
    if size_bytes < 2**20:
        return f"{size_bytes / 2**10:.0f} KiB"
    return f"{size_bytes / 2**20:.0f} MiB" if size_bytes < 2**30 else f"{size_bytes / 2**30:.1f} GiB"


def file_size(size_bytes: float) -> str:
    """Bytes of a file as file managers count them: 812 B, 212 kB, 1.6 MB."""
    if size_bytes < 1000:
        return f"{size_bytes:.0f} B"
    return f"{size_bytes / 1e3:.0f} kB" if size_bytes < 1e6 else f"{size_bytes / 1e6:.1f} MB"


def count(number: float | None) -> str:
    """3712 as 3,712."""
    return NONE if number is None else f"{number:,.0f}"


def rate(per_second: float | None) -> str:
    """Tokens or items a second: 0.42, 8.1, 3,712."""
    if per_second is None:
        return NONE
    return f"{per_second:.2f}" if per_second < 1 else f"{per_second:.1f}" if per_second < 20 else f"{per_second:,.0f}"
