"""Two smoothed loss curves on one scale, on textual-plotext; told apart by colour and by name, the second one dotted.

It refuses to draw more points than the screen has dots.
"""

from collections.abc import Sequence
from typing import Any

from rich.text import Text
from textual.color import Color
from textual.widget import Widget
from textual_plotext import Plot

from app.widgets.loss_chart import clipped, loss_range, round_ticks, thinned
from engine.protocol.run_state import StepPoint

_STYLES = (("primary", "braille", 2), ("warning", "•", 1))
_DOT_GAP = 2


class LossCurves(Widget):
    """Loss in nats a response token over steps."""

    DEFAULT_CSS = "LossCurves { height: 1fr; min-height: 6; }"

    def __init__(self, curves: Sequence[Sequence[StepPoint]]) -> None:
        super().__init__()
        self._curves, self._plot = curves, Plot()

    def render(self) -> Text:
        """The chart at the present size and in the colours of the theme."""
        width, height = self.size
        if width < 20 or height < 4 or not any(self._curves):
            return Text("")
        plot: Any = self._plot
        plot.clear_figure()
        plot.plotsize(width, height)
        plot._set_size(width, height)
        plot.canvas_color(self._rgb("background"))
        plot.axes_color(self._rgb("background"))
        plot.ticks_color(self._rgb("muted"))
        low, high = loss_range([point for curve in self._curves for point in curve], [])
        for curve, (role, marker, dots) in zip(self._curves, _STYLES, strict=True):
            shown = thinned(curve, width * dots if dots > 1 else width // _DOT_GAP)
            steps, values = [point.step for point in shown], clipped([point.smooth for point in shown], low, high)
            draw = plot.plot if dots > 1 else plot.scatter
            if shown:
                draw(steps, values, marker=marker, color=self._rgb(role))
        plot.xaxes(True, False)
        plot.yaxes(True, False)
        plot.ylim(low, high)
        plot.yticks(*round_ticks(low, high, max(2, min(7, height // 3))))
        last = max(curve[-1].step for curve in self._curves if curve)
        plot.xlim(0, last)
        plot.xticks(*round_ticks(0, last, max(2, min(8, width // 14)), whole=True))
        return Text.from_ansi(plot.build())

    def _rgb(self, role: str) -> tuple[int, int, int]:
        return Color.parse(self.app.theme_variables[role]).rgb
