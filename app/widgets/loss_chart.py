"""The loss curve on textual-plotext: raw, smoothed, dev loss and its best point; drawn at most once a second, and only once the newest
step lies a dot further.

It is imported when the Train tab first has something to draw. It refuses to draw more points than the screen has dots.
"""

import math
import time
from collections.abc import Sequence
from typing import Any

from rich.text import Text
from textual.color import Color
from textual.timer import Timer
from textual.widget import Widget
from textual_plotext import Plot

from engine.protocol.events import DevEvaluated
from engine.protocol.run_state import StepPoint

PAUSE_S = 1.0
LONGEST_PAUSE_S = 10.0
_DOTS_A_CELL = 2


class LossChart(Widget):
    """Loss in nats a response token over steps."""

    DEFAULT_CSS = "LossChart { height: 1fr; min-height: 6; }"

    def __init__(self, *, widget_id: str | None = None) -> None:
        super().__init__(id=widget_id)
        self._plot: Any = Plot()
        self._points: Sequence[StepPoint] = ()
        self._dev: Sequence[DevEvaluated] = ()
        self._steps = 0
        self._drawn_at_s = -LONGEST_PAUSE_S
        self._drawn: tuple[int, int, int] = (0, 0, 0)
        self._later: Timer | None = None

    def show(self, points: Sequence[StepPoint], dev: Sequence[DevEvaluated], steps: int) -> None:
        """Take the curve so far; `steps` is the last step planned. Draws now, or when a second has passed."""
        if (len(points), points[-1:], len(dev), steps) == (len(self._points), self._points[-1:], len(self._dev), self._steps):
            return
        self._points, self._dev, self._steps = list(points), list(dev), steps
        pause = PAUSE_S if self._moved() else LONGEST_PAUSE_S
        wait = self._drawn_at_s + pause - time.monotonic()
        if wait <= 0:
            self._draw()
        elif self._later is None and pause == PAUSE_S:
            self._later = self.set_timer(wait, self._draw)

    def _moved(self) -> bool:
        """Whether a drawing would show more than the last one: another dot of the curve, another dev loss, another axis."""
        last, dev, steps = self._drawn
        dot = self._steps / max(1, self.size.width * _DOTS_A_CELL)
        return (dev, steps) != (len(self._dev), self._steps) or not last <= self._points[-1].step < last + dot

    def _draw(self) -> None:
        self._later, self._drawn_at_s = None, time.monotonic()
        self._drawn = (self._points[-1].step, len(self._dev), self._steps)
        self.refresh()

    def render(self) -> Text:
        """The chart at the present size and in the colours of the theme."""
        width, height = self.size
        if width < 20 or height < 4 or not self._points:
            return Text("")
        plot = self._plot
        plot.clear_figure()
        plot.plotsize(width, height)
        plot._set_size(width, height)
        self._colours(plot)
        shown = thinned(self._points, width * _DOTS_A_CELL)
        steps = [point.step for point in shown]
        low, high = loss_range(self._points, [dev.loss for dev in self._dev])
        plot.plot(steps, clipped([point.loss for point in shown], low, high), marker="braille", color=self._rgb("muted"))
        plot.plot(steps, clipped([point.smooth for point in shown], low, high), marker="braille", color=self._rgb("primary"))
        if self._dev:
            best = self._dev[-1]
            dev_loss = clipped([dev.loss for dev in self._dev], low, high)
            plot.scatter([dev.step for dev in self._dev], dev_loss, marker="○", color=self._rgb("warning"))
            plot.scatter([best.best_step], clipped([best.best_loss], low, high), marker="●", color=self._rgb("success"))
        plot.xaxes(True, False)
        plot.yaxes(True, False)
        plot.ylim(low, high)
        ticks, labels = round_ticks(low, high, max(2, min(7, height // 3)))
        plot.yticks(ticks, labels)
        last = max(self._steps, steps[-1], 1)
        plot.xlim(0, last)
        plot.xticks(*round_ticks(0, last, max(2, min(8, width // 14)), whole=True))
        return Text.from_ansi(plot.build())

    def _colours(self, plot: Any) -> None:
        plot.canvas_color(self._rgb("background"))
        plot.axes_color(self._rgb("background"))
        plot.ticks_color(self._rgb("muted"))

    def _rgb(self, role: str) -> tuple[int, int, int]:
        return Color.parse(self.app.theme_variables[role]).rgb


def thinned(points: Sequence[StepPoint], most: int) -> Sequence[StepPoint]:
    """At most about `most` points at even distances, the last one always among them."""
    stride = max(1, -(-len(points) // max(1, most)))
    return points if stride == 1 else [*points[:-1:stride], points[-1]]


def round_ticks(low: float, high: float, about: int, *, whole: bool = False) -> tuple[list[float], list[str]]:
    """About `about` ticks from `low` to `high` at 1, 2 or 5 times a power of ten, and their labels; `whole`: at integers only."""
    rough = max((high - low) / about, 1.0 if whole else 1e-12)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= rough * 0.999)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    ticks = [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
    return ticks, [f"{tick:,.{digits}f}" for tick in ticks]


def loss_range(points: Sequence[StepPoint], dev: Sequence[float]) -> tuple[float, float]:
    """The range of the loss axis: all of the smoothed and dev losses, and the raw ones but for the highest 2%."""
    raw = sorted(point.loss for point in points)
    kept = raw[: max(1, int(len(raw) * 0.98))]
    values = [*kept, *(point.smooth for point in points), *dev]
    low, high = min(values), max(values)
    room = max((high - low) * 0.04, 1e-3)
    return max(0.0, low - room), high + room


def clipped(values: Sequence[float], low: float, high: float) -> list[float]:
    """Values outside the range at its edge."""
    return [min(high, max(low, value)) for value in values]
