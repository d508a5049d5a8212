"""What the Train tab says in words: loss, pace, time and cost, memory by its names, the forecast, the plan, how a run died. Pure.

Every figure comes from the journal; what the engine did not say is left out. It refuses to mix memory figures: each carries its name.
"""

from textual.content import Content

from app.figures import clock_duration, count, gibibytes, memory_size, rate
from app.following import RunView
from app.inert import inert, inert_line
from app.state_words import RISKS, STATES
from app.widgets.line import flowed
from engine.protocol.event_texts import duration
from engine.protocol.events import Memory, PlanChosen, StepTrained
from engine.protocol.listing import utc_seconds
from engine.protocol.plans import ComputePlan
from engine.protocol.run_state import RunState

DEATHS = ("failed", "interrupted")
_DEATH_LINES = 3


def headline(state: RunState, width: int) -> Content:
    """Loss raw and smoothed, dev loss and its best with their signs in the chart, learning rate, gradient norm."""
    if not state.points or state.last_step is None:
        return Content.styled("no step yet", "$muted")
    marked = _headline(state, state.last_step, "○", "●")
    return marked if marked.cell_length <= width else _headline(state, state.last_step, "", "")


def _headline(state: RunState, step: StepTrained, dev_mark: str, best_mark: str) -> Content:
    point = state.points[-1]
    parts = [
        Content.assemble(
            "loss ", (f"{point.loss:.3f}", "bold"), (" (smooth ", "$muted"), (f"{point.smooth:.3f}", "$primary"), (")", "$muted")
        )
    ]
    if state.dev:
        dev = state.dev[-1]
        best = (f"{best_mark}{dev.best_loss:.3f} @{dev.best_step}", "$success")
        parts.append(Content.assemble("dev ", (f"{dev_mark}{dev.loss:.3f}", "$warning"), ", best ", best))
    parts += [Content(f"lr {step.learning_rate:.1e}".replace("e-0", "e-")), Content(f"grad {step.grad_norm:.2f}")]
    return Content("  ").join(parts)


def not_yet(state: RunState, *, going_on: bool) -> Content:
    """When training comes, where there is no step yet; of a run that rests only what is true of it."""
    if not going_on:
        return Content.styled("No step was trained before the run came to rest.", "$muted")
    text = {
        "gates": "Training has not begun: the gates come first, then the base arm answers the held-out items.",
        "base": "Training has not begun: the base arm is answering the held-out items first (Eval, 3).",
        "train": "The model is being loaded; the curve begins with the first step.",
    }.get(state.stage, "This run has no training step in its journal.")
    return Content.styled(text, "$muted")


def numbers(view: RunView, width: int, *, wide: bool) -> list[Content]:
    """Step, speed, time, cost, memory, forecast and plan; `wide`: there is room for whole sentences."""
    state, live = view.state, view.going_on
    lines = death(view, width) if view.shown_state in DEATHS else []
    lines += _pace(state, width)
    lines += time_left(view, width)
    if state.memory is not None:
        lines += memory_figures(state.memory, width, live=live, wide=wide)
        lines += forecast(state.memory, width, wide=wide) if live else []
    lines += _ran_out(state, width)
    if state.compute_plan is not None:
        lines += plan_lines(state.compute_plan, state, width, wide=wide)
    return lines


def death(view: RunView, width: int) -> list[Content]:
    """Why the run is dead, and the last words of its log; one key shows more."""
    state, word = view.state, STATES[view.shown_state]
    reason = state.detail or (
        "nobody works on it any more: the pod or its engine went away" if word.word == "interrupted" else ""
    )
    head = Content.assemble(word.content(bold=True), ": ", inert(reason, style="bold", limit=600))
    lines = list(head.wrap(width))
    lines += [inert_line(f"  {line}", width, style="$muted") for line in state.log_tail[-_DEATH_LINES:]]
    more = Content.assemble(
        ("  e", "bold $primary"), (" shows the whole log, ", "$muted"), ("r", "bold $primary"), (" resumes", "$muted")
    )
    return [*lines, more]


def _pace(state: RunState, width: int) -> list[Content]:
    step = state.last_step
    if step is None:
        return []
    lines = flowed(_pace_parts(step, state), width, "  ")
    if state.stopped_early is not None:
        early = state.stopped_early
        best = f"the adapter is that of step {count(early.best_step)}, dev loss {early.best_loss:.3f}"
        lines += flowed([f"stopped early at step {count(early.step)};", best], width, " ")
    return lines


def _pace_parts(step: StepTrained, state: RunState) -> list[str]:
    speed = step.tokens / step.elapsed_s if step.elapsed_s > 0 else None
    of = f"/{state.plan.epochs}" if state.plan is not None else ""
    micro = f"{step.micro_steps} micro-steps" if step.micro_steps > 1 else ""
    parts = [f"step {count(step.step)}/{count(step.steps)}", f"epoch {step.epoch:.2f}{of}", f"{step.elapsed_s:.3f} s/step",
             f"{rate(speed)} tok/s", micro]  # fmt: skip
    return [part for part in parts if part]


def time_left(view: RunView, width: int) -> list[Content]:
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
        parts.append(f"{cost} {inert_line(created.currency, 8).plain}")
    return flowed(parts, width)


def memory_figures(memory: Memory, width: int, *, live: bool, wide: bool) -> list[Content]:
    """The figures with their names, what lies idle between them where there is room; on the CPU the worker's resident memory."""
    last = "" if live else "last "
    if memory.device_used_bytes is None:
        return flowed([f"{last}memory {memory_size(memory.rss_bytes)} resident", "CPU: no GPU figures"], width)
    others = [f"other processes {gibibytes(memory.others_bytes)}"] if memory.others_bytes else []
    idle = [f"fragmented {gibibytes(memory.fragmentation_bytes)}"] if memory.fragmentation_bytes and wide else []
    figures = [
        f"{last}GiB  allocated {gibibytes(memory.allocated_bytes)}",
        f"reserved {gibibytes(memory.reserved_bytes)}",
        f"device used {gibibytes(memory.device_used_bytes)}/{gibibytes(memory.device_total_bytes)}",
        f"peak {gibibytes(memory.peak_allocated_bytes)}",
    ]
    return flowed([*figures, *idle, *others], width)


def forecast(memory: Memory, width: int, *, wide: bool) -> list[Content]:
    """The largest row still to come, its peak and the headroom; below it the risk as a word with its reason."""
    lines = []
    if memory.predicted_peak_bytes is not None:
        row = f"largest row to come {count(memory.largest_row_tokens)} tok → " if memory.largest_row_tokens is not None else ""
        head = f"forecast: {row}peak {gibibytes(memory.predicted_peak_bytes)} GiB"
        room = [f"headroom {gibibytes(memory.headroom_bytes)} GiB"] if memory.headroom_bytes is not None else []
        lines += flowed([head, *room], width, ", ")
    word = RISKS.get(memory.risk or "")
    if word is not None:
        said = Content.assemble(
            "risk ", (f"{word.glyph} {word.word}", f"bold {word.style}"), ": ", inert(memory.risk_reason, limit=400)
        )
        # nobody should have to guess why a risk is high: only a low one is cut to its line
        lines += list(said.wrap(width)) if wide or memory.risk != "low" else [said.truncate(width, ellipsis=True)]
    return lines


def _ran_out(state: RunState, width: int) -> list[Content]:
    if not state.ran_out:
        return []
    last, times = state.ran_out[-1], len(state.ran_out)
    where = (
        f"after step {count(last.step)}" if last.step is not None else f"at batch {last.batch}" if last.batch is not None else ""
    )
    text = f"! ran out of GPU memory {'once' if times == 1 else f'{times} times'}, {where or 'in stage ' + last.stage}; went on with less"
    return [Content.styled(text, "$warning").truncate(width, ellipsis=True)]


def plan_lines(event: PlanChosen, state: RunState, width: int, *, wide: bool) -> list[Content]:
    """The plan chosen: what it does and what it is expected to take; where there is room also what was measured and refused."""
    chosen = event.chosen
    # a plan taken over from the base arm carries no prediction for a training step
    pace = [duration_of_step(chosen.step_s)] if chosen.step_s > 0 else []
    expected = [*pace, f"peak {memory_size(chosen.peak_bytes)} expected"] if chosen.peak_bytes > 0 else pace
    head = f"plan {inert_line(chosen.name, 30).plain}" + (f": {expected.pop(0)}" if expected else "")
    forced = [f"set by hand: {', '.join(event.forced)}"] if event.forced else []
    if not wide:
        return [inert_line(" · ".join([head, *expected, *forced, *plan_facts(chosen.plan)]), width)]
    lines = flowed([head, *expected, *plan_facts(chosen.plan), *forced], width)
    measured = state.preflights.get("train")
    if measured is not None and measured.measured_peak_bytes is not None:
        said = f"preflight of {count(measured.tokens)} tok: peak {gibibytes(measured.measured_peak_bytes)} GiB measured"
        told = [f"{gibibytes(measured.predicted_peak_bytes)} predicted"] if measured.predicted_peak_bytes is not None else []
        lines += flowed([said, *told], width, ", ")
    for refused in event.refused[:2]:
        lines.append(inert_line(f"not {refused.name}: {refused.refused}", width, style="$muted"))
    return lines


def duration_of_step(seconds: float) -> str:
    """0.154 s/step below 10 s; longer ones as durations, and the shortest in milliseconds."""
    if seconds < 0.01:
        return f"{1000 * seconds:.2g} ms/step"
    return f"{seconds:.3f} s/step" if seconds < 10 else f"{duration(seconds)} a step"


def plan_facts(plan: ComputePlan) -> list[str]:
    """What a plan does, each as a few words."""
    facts = [f"rows ≤ {count(plan.row_tokens)} tok"] if plan.row_tokens else []
    facts += [f"{plan.mirrored_layers} layers mirrored in bf16"] if plan.mirrored_layers else []
    facts += [f"{plan.recomputed_layers} layers recomputed"] if plan.recomputed_layers else ["nothing recomputed"]
    facts += ["compiled"] if plan.compiled else []
    facts += ["CUDA graph"] if plan.graph else []
    facts += [f"attention {plan.attention}"]
    facts += [f"logits {count(plan.loss_chunk_tokens)} tok at once"] if plan.loss_chunk_tokens else []
    return facts


def last_step_of(state: RunState) -> int:
    """Where the axis of steps ends: the last step planned, or the last one trained once training is over."""
    if state.last_step is None:
        return 0
    over = state.stopped_early is not None or "train" in state.stages_done
    return state.last_step.step if over else state.last_step.steps
