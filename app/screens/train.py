"""The tab of training: the loss curve, speed and time with the evaluations counted in, memory with its forecast, and what happened.

The chart is made when there is a first step to draw. What the tab says in words is in `app.train_text`.
"""

from typing import TYPE_CHECKING, cast

from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content

from app.following import RunView
from app.screens.pane import Pane
from app.train_text import headline, last_step_of, not_yet, numbers
from app.widgets.event_log import log_content
from app.widgets.line import TextBlock, rule

if TYPE_CHECKING:
    from app.widgets.loss_chart import LossChart

SIDE_FROM = 150
"""Columns of a screen from which the figures stand beside the chart."""


class TrainPane(Pane):
    """Loss, speed, memory, events."""

    def compose(self) -> ComposeResult:
        """Figures above and below the place of the chart."""
        yield TextBlock(widget_id="train-head")
        with Container(id="train-split"):
            yield Container(id="train-chart")
            with Container(id="train-side"):
                yield TextBlock(widget_id="train-numbers")
                yield TextBlock(widget_id="train-log")

    def paint(self, view: RunView) -> None:
        """Everything but the chart each time; the chart decides itself when there is more to see."""
        state = view.state
        self.query_one("#train-head", TextBlock).show(headline(state, self.text_width))
        figures = self.query_one("#train-numbers", TextBlock)
        width, wide = self.width_of(figures), self.app.size.width >= SIDE_FROM
        lines = [*numbers(view, width, wide=wide), rule("events", width, "e shows all")]
        figures.show(Content("\n").join(lines))
        log = self.query_one("#train-log", TextBlock)
        log.show(log_content(state.log, width, max(2, log.size.height or 6)))
        self._show_chart(view)

    def _show_chart(self, view: RunView) -> None:
        state = view.state
        place = self.query_one("#train-chart", Container)
        if not (place.is_running and place.is_attached):
            return
        if not state.points:
            if not place.children:
                empty = TextBlock(widget_id="train-empty")
                place.mount(empty)
            self.query_one("#train-empty", TextBlock).show(not_yet(state, going_on=view.going_on))
            return
        charts = place.query("#loss-chart")
        if not charts:
            # the plotting library is loaded once the figures are on the screen
            self.call_after_refresh(self._mount_chart)
            return
        cast("LossChart", charts.first()).show(state.points, state.dev, last_step_of(state))

    def _mount_chart(self) -> None:
        from app.widgets.loss_chart import LossChart

        place = self.query_one("#train-chart", Container)
        if place.is_running and place.is_attached and not place.query("#loss-chart"):
            place.remove_children()
            place.mount(LossChart(widget_id="loss-chart"))
            self.run_screen.paint_again()
