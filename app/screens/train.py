"""The tab of training: the loss curve, speed and time with the evaluations counted in, memory with its forecast, and what happened.

The chart is made when there is a first step to draw. It refuses to mix memory figures: each one carries its name.
"""

from typing import TYPE_CHECKING, cast

from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content

from app.figures import clock_duration, count, gibibytes, memory_size, rate
from app.following import RunView
from app.inert import inert_line
from app.screens.pane import Pane
from app.state_words import RISKS
from app.widgets.line import TextBlock, rule
from engine.protocol.events import Memory, StepTrained
from engine.protocol.listing import utc_seconds
from engine.protocol.run_state import LogLine, RunState

if TYPE_CHECKING:
    from app.widgets.loss_chart import LossChart

_LEVELS = {"info": "", "warning": "$warning", "error": "$error"}
_MARKS = {"info": " ", "warning": "!", "error": "✗"}


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
        """Everything but the chart each time; the chart decides itself when a second has passed."""
        state = view.state
        self.query_one("#train-head", TextBlock).show(headline(state))
        figures = self.query_one("#train-numbers", TextBlock)
        width = self.width_of(figures)
        figures.show(Content("\n").join(numbers(view, width)))
        log = self.query_one("#train-log", TextBlock)
        log.show(log_content(state, width, max(2, log.size.height or 6)))
        self._show_chart(state)

    def _show_chart(self, state: RunState) -> None:
        place = self.query_one("#train-chart", Container)
        if not (place.is_running and place.is_attached):
            return
        if not state.points:
            if not place.children:
                empty = TextBlock(widget_id="train-empty")
                place.mount(empty)
            self.query_one("#train-empty", TextBlock).show(not_yet(state))
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


def headline(state: RunState) -> Content:
    """Loss raw and smoothed, dev loss and its best, learning rate, gradient norm."""
    if not state.points or state.last_step is None:
        return Content.styled("no step yet", "$muted")
    point, step = state.points[-1], state.last_step
    parts = [
        Content.assemble(
            "loss ", (f"{point.loss:.3f}", "bold"), (" (smooth ", "$muted"), (f"{point.smooth:.3f}", "$primary"), (")", "$muted")
        )
    ]
    if state.dev:
        dev = state.dev[-1]
        best = (f"{dev.best_loss:.3f} @{dev.best_step}", "$success")
        parts.append(Content.assemble("dev ", (f"{dev.loss:.3f}", "$warning"), ", best ", best))
    parts += [Content(f"lr {step.learning_rate:.1e}".replace("e-0", "e-")), Content(f"grad {step.grad_norm:.2g}")]
    return Content("  ").join(parts)


def last_step_of(state: RunState) -> int:
    """Where the axis of steps ends: the last step planned, or the last one trained once training is over."""
    if state.last_step is None:
        return 0
    over = state.stopped_early is not None or "train" in state.stages_done
    return state.last_step.step if over else state.last_step.steps


def not_yet(state: RunState) -> Content:
    """When training comes, where there is no step yet."""
    text = {
        "gates": "Training has not begun: the gates come first, then the base arm.",
        "base": "Training has not begun: the base arm is answering the held-out items first.",
        "train": "The model is being loaded; the curve begins with the first step.",
    }.get(state.stage, "This run has no training step in its journal.")
    return Content.styled(text, "$muted")


def numbers(view: RunView, width: int) -> list[Content]:
    """Step, speed, time, cost and memory, a line each."""
    state, step = view.state, view.state.last_step
    lines = [_pace(step)] if step is not None else []
    if state.stopped_early is not None:
        early = state.stopped_early
        best = f"the adapter is that of step {count(early.best_step)}, dev loss {early.best_loss:.3f}"
        lines.append(Content(f"stopped early at step {count(early.step)}; {best}"))
    lines += [line for line in (_time(view), *(_memory(state.memory, view.going_on) if state.memory else ())) if line is not None]
    lines.append(rule("events", width))
    return lines


def _pace(step: StepTrained) -> Content:
    speed = step.tokens / step.elapsed_s if step.elapsed_s > 0 else None
    return Content(
        f"step {count(step.step)}/{count(step.steps)}  epoch {step.epoch:.2f}  {step.elapsed_s:.3f} s/step  {rate(speed)} tok/s"
    )


def _time(view: RunView) -> Content | None:
    """What is left of training and of the evaluations, and what it costs, where a price is configured."""
    state = view.state
    parts = []
    train, base, sft = state.train_left_s, state.arm_left_s("base"), state.arm_left_s("sft")
    if view.going_on and train is not None:
        known = base is not None and sft is not None
        evaluation = clock_duration(base + sft) if base is not None and sft is not None else "not known yet"
        parts.append(
            f"left: train {clock_duration(train)} + eval {evaluation}" + (f" = {clock_duration(state.eta_s)}" if known else "")
        )
    created = state.created
    if created is not None and created.price_per_hour > 0:
        spent = max(0.0, (view.clock() if view.going_on else utc_seconds(state.last_t)) - utc_seconds(state.created_at)) / 3600
        cost = f"cost {spent * created.price_per_hour:.2f}"
        if state.eta_s is not None:
            cost += f" of about {(spent + state.eta_s / 3600) * created.price_per_hour:.2f}"
        parts.append(f"{cost} {created.currency}")
    return inert_line(" · ".join(parts), 200) if parts else None


def _memory(memory: Memory, live: bool) -> list[Content]:
    """The figures with their names; on the CPU the worker's resident memory; a forecast only while there is something to come."""
    last = "" if live else " (last known)"
    if memory.device_used_bytes is None:
        return [Content.assemble(f"memory {memory_size(memory.rss_bytes)} resident{last} ", ("(CPU: no GPU figures)", "$muted"))]
    figures = (
        f"GiB  allocated {gibibytes(memory.allocated_bytes)} · reserved {gibibytes(memory.reserved_bytes)} · device used "
        f"{gibibytes(memory.device_used_bytes)}/{gibibytes(memory.device_total_bytes)} · peak {gibibytes(memory.peak_allocated_bytes)}{last}"
    )
    lines = [Content(figures)]
    if not live:
        return lines
    if memory.predicted_peak_bytes is not None and memory.device_total_bytes is not None:
        room = memory.device_total_bytes - memory.predicted_peak_bytes
        lines.append(Content(f"forecast peak {gibibytes(memory.predicted_peak_bytes)}, headroom {gibibytes(room)}"))
    word = RISKS.get(memory.risk or "")
    if word is not None:
        lines.append(
            Content.assemble(
                "risk ", (f"{word.glyph} {word.word}", f"bold {word.style}"), ": ", inert_line(memory.risk_reason, 200)
            )
        )
    return lines


def log_content(state: RunState, width: int, lines: int) -> Content:
    """The newest `lines` events, newest first."""
    newest = list(state.log)[-lines:][::-1]
    return Content("\n").join(log_row(line, width) for line in newest)


def log_row(line: LogLine, width: int) -> Content:
    """Time, mark and sentence on one line."""
    clock = line.t[11:19] or "–"
    text = inert_line(line.text, max(10, width - 11), style=_LEVELS.get(line.level, ""))
    return Content.assemble((clock, "$muted"), (f" {_MARKS.get(line.level, ' ')} ", _LEVELS.get(line.level, "")), text)
