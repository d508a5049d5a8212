"""What the GPU's memory will have to hold: the peak of the largest row still to come, the room beside it, and the risk.

The peaks that were measured by row width are interpolated; beyond the widest measured row they are carried on along a line whose slope
leans on a prior until the measurements outweigh it. Pure figures in bytes and tokens. It refuses to look at a device, and to forecast
before anything was measured.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import Literal

from engine.protocol.event_texts import gib

Risk = Literal["low", "watch", "high"]
# The prior slope counts as much as two measured rows this far apart.
PRIOR_TOKENS = 256.0
# Without a list of processes, what a first look finds outside torch's own memory is taken for this process's context up to here.
MOST_CONTEXT_BYTES = 1 << 30
# Contexts grow by some hundred MB as kernels are loaded; less than this is nobody else.
LEAST_OTHERS_BYTES = 512 << 20
# A plan leaves plan.margin (4%) of the card free, so one that keeps its promise is at low risk.
WATCH_SHARE, HIGH_SHARE = 0.03, 0.01


@dataclass(frozen=True, slots=True)
class Reading:
    """The card at one moment, in bytes. `peak` is the most that torch had allocated so far; `device_used` counts every process.

    `context` is what this process holds outside torch's allocator; `limit` a cap of torch's allocator, where one is set.
    """

    allocated: int
    reserved: int
    peak: int
    device_used: int
    device_total: int
    context: int
    limit: int | None = None

    @property
    def others(self) -> int:
        """What other processes hold, 0 where that cannot be told from this one's own context."""
        found = self.device_used - self.reserved - self.context
        return found if found >= LEAST_OTHERS_BYTES else 0

    @property
    def fragmentation(self) -> int:
        """What the allocator reserved beyond the most that was ever allocated: blocks cut so that they fit nothing."""
        return max(0, self.reserved - max(self.peak, self.allocated))

    @property
    def usable(self) -> int:
        """What torch may have of the card."""
        free_of_others = self.device_total - self.context - self.others
        return free_of_others if self.limit is None else min(free_of_others, self.limit)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is to come: torch's peak, the room that it leaves, the risk, and why (short where it is low: it goes with every step)."""

    predicted_peak: int
    headroom: int
    risk: Risk
    reason: str


class PeakFit:
    """Peaks by row width. `prior_bytes_per_token` is the planner's slope; None takes it from the first measured row."""

    def __init__(self, prior_bytes_per_token: float | None = None) -> None:
        self._prior = prior_bytes_per_token
        self._widths: list[int] = []
        self._peaks: dict[int, int] = {}
        self._resting: int | None = None
        self._slope: float | None = None
        self._told: dict[int, int] = {}

    def measured(self, width: int, peak: int, resting: int) -> None:
        """A step whose widest row had `width` tokens reached `peak`; between steps `resting` stays allocated."""
        if peak <= self._peaks.get(width, -1):
            return
        if width not in self._peaks:
            insort(self._widths, width)
        self._peaks[width] = peak
        self._resting = resting if self._resting is None else min(self._resting, resting)
        self._slope = None
        self._told.clear()

    def peak(self, width: int) -> int | None:
        """The peak that a row of `width` tokens will reach; None before anything was measured."""
        if not self._widths:
            return None
        if width not in self._told:
            self._told[width] = self._predicted(width)
        return self._told[width]

    def _predicted(self, width: int) -> int:
        place = bisect_left(self._widths, width)
        if place == len(self._widths):
            widest = self._widths[-1]
            return round(self._highest(widest) + self._bytes_per_token() * (width - widest))
        above = self._widths[place]
        if above == width or place == 0:
            return self._highest(above)
        below = self._widths[place - 1]
        low, high = self._highest(below), self._highest(above)
        return round(low + (high - low) * (width - below) / (above - below))

    def _highest(self, width: int) -> int:
        """The highest peak of all rows up to `width`: a wider row never needs less."""
        return max(self._peaks[known] for known in self._widths if known <= width)

    def _bytes_per_token(self) -> float:
        """Least squares through the measured points, drawn towards the prior slope (ridge on the slope alone); never negative."""
        if self._slope is None:
            count = len(self._widths)
            mean_width, mean_peak = sum(self._widths) / count, sum(self._peaks.values()) / count
            moved = [(width - mean_width, self._peaks[width] - mean_peak) for width in self._widths]
            weight = PRIOR_TOKENS**2 / 2
            products = sum(dx * dy for dx, dy in moved) + weight * self._prior_slope()
            self._slope = max(0.0, products / (sum(dx * dx for dx, _ in moved) + weight))
        return self._slope

    def _prior_slope(self) -> float:
        if self._prior is not None:
            return self._prior
        narrowest = self._widths[0]
        return max(0.0, (self._peaks[narrowest] - (self._resting or 0)) / max(1, narrowest))


def own_context(device_used: int, reserved: int, of_this_process: int | None) -> int:
    """What this process holds outside torch's allocator: from the driver's list of processes, else a first look, up to 1 GiB."""
    if of_this_process is not None:
        return max(0, of_this_process - reserved)
    return min(max(0, device_used - reserved), MOST_CONTEXT_BYTES)


def forecast(reading: Reading, predicted_peak: int, largest_row_tokens: int) -> Forecast:
    """Headroom and risk with the largest row still to come, whose peak is `predicted_peak` or what was reached already."""
    peak = max(predicted_peak, reading.allocated)
    headroom = reading.usable - peak
    share = (headroom - reading.fragmentation) / max(1, reading.device_total)
    risk: Risk = "high" if share < HIGH_SHARE else "watch" if share < WATCH_SHARE else "low"
    low = f"needs {gib(peak)} of {gib(reading.usable)}"
    return Forecast(peak, headroom, risk, low if risk == "low" else _reason(reading, peak, headroom, largest_row_tokens))


def _reason(reading: Reading, peak: int, headroom: int, tokens: int) -> str:
    need = f"the largest row to come ({tokens:,} tokens) needs {gib(peak)} of {gib(reading.usable)}"
    parts = [f"{need}; {gib(headroom)} stay free" if headroom >= 0 else f"{need}; {gib(-headroom)} too little"]
    if reading.fragmentation > HIGH_SHARE * reading.device_total:
        parts.append(f"{gib(reading.fragmentation)} are lost to fragmentation")
    if reading.others:
        parts.append(f"other processes hold {gib(reading.others)} of the card")
    return "; ".join(parts)
