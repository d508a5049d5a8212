"""The line that is always there: state, stage, time to the verdict, memory with its risk, and who was heard of when. Pure."""

from textual.content import Content

from app.figures import age, clock_duration, file_size, memory_size
from app.following import RunView
from app.state_words import DECISIONS, RISKS, STATES
from app.widgets.bars import bar
from engine.protocol.event_texts import gib
from engine.protocol.events import Memory
from engine.protocol.listing import utc_seconds

_DOT = Content(" · ")
_STAGE_WORDS = {"gates": "GATES", "base": "BASE ARM", "train": "TRAIN", "sft": "SFT ARM", "report": "REPORT"}


def status_line(view: RunView, width: int) -> Content:
    """The line, at most `width` cells; what it says depends on whether the run goes on."""
    if not view.caught_up and not view.state.created:
        return Content.styled("reading the journal …", "$muted")
    if not view.going_on:
        return _DOT.join(_resting(view)).truncate(width, ellipsis=True)
    # the more precise wordings go first where there is too little room
    wordings = ((8, True, True), (5, True, True), (4, False, True), (0, False, True), (0, False, False))
    lines = [_DOT.join(_live(view, cells, words, unknown)) for cells, words, unknown in wordings]
    return next((line for line in lines if line.cell_length <= width), lines[-1].truncate(width, ellipsis=True))


def _live(view: RunView, cells: int, words: bool, unknown: bool) -> list[Content]:
    """The parts; `cells` of a bar, whole `words`, and whether an `unknown` time left is mentioned."""
    state = view.state
    word = STATES[view.shown_state]
    stage = Content.assemble((f"{word.glyph} {_STAGE_WORDS[state.stage]}", f"bold {word.style}"), _how_far(view))
    parts = [stage]
    if view.shown_state != "running":
        parts.append(Content.styled(_state_words(view), word.style))
    eta = state.eta_s
    if eta is not None or unknown:
        parts.append(Content(f"ETA {clock_duration(eta)}" if eta is not None else "ETA not known yet" if words else "ETA –"))
    if state.memory is not None:
        parts.append(memory_content(state.memory, cells))
    parts.append(_heard(view, words))
    return parts


def _state_words(view: RunView) -> str:
    """The state with what explains it."""
    state = view.state
    if state.state == "queued":
        return f"queued behind {state.behind}"
    if state.state == "loading" and state.load_progress is not None:
        done, total = state.load_progress.done_bytes, state.load_progress.total_bytes
        if total:
            return f"loading {gib(done)} of {gib(total)}"
    if state.state == "loading" and state.state_since:
        # nobody knows how much is left: at least how long it has taken
        return f"loading for {age(view.clock() - utc_seconds(state.state_since))}"
    return view.shown_state


def _how_far(view: RunView) -> str:
    progress = view.state.progress
    return f" {100 * progress:.0f} %" if progress > 0 else ""


def memory_content(memory: Memory, cells: int) -> Content:
    """Device memory in use with a bar and the risk word; resident memory of the worker where there is no GPU."""
    if memory.device_used_bytes is None or not memory.device_total_bytes:
        return Content(f"mem {memory_size(memory.rss_bytes)} RSS")
    risk = RISKS.get(memory.risk or "")
    share = memory.device_used_bytes / memory.device_total_bytes
    used = f" {memory.device_used_bytes / 2**30:.0f}/{memory.device_total_bytes / 2**30:.0f}G"
    return Content.assemble(
        "mem ",
        bar(share, cells, risk.style if risk else "$primary"),
        used,
        (f" {risk.word}", f"bold {risk.style}") if risk else "",
    )


def _heard(view: RunView, words: bool) -> Content:
    """Ages of the engine's heartbeat and of the worker's last event."""
    engine, worker = age(view.engine_age_s), age(view.worker_age_s)
    return Content.assemble(("♥", "$error"), f" engine {engine}, worker {worker}" if words else f" eng {engine}, wrk {worker}")


def _resting(view: RunView) -> list[Content]:
    state, shown = view.state, view.shown_state
    word = STATES[shown]
    parts = [word.content(bold=True)]
    decision = state.verdict.decision if state.verdict else None
    if decision in DECISIONS:
        parts.append(DECISIONS[decision].content(bold=True))
    if shown == "finished":
        parts.append(Content(f"took {clock_duration(sum(state.stages_done.values()))}"))
        if view.report_bytes is not None:
            parts.append(Content(f"report.html {file_size(view.report_bytes)}"))
        if view.gates is not None and view.gates.overrides:
            names = ", ".join(override.gate for override in view.gates.overrides)
            parts.append(Content.styled(f"! overridden: {names}", "$warning"))
        return parts
    if shown == "interrupted":
        return [*parts, Content(f"in {_STAGE_WORDS[state.stage].lower()}: no live supervisor"), Content("r resumes")]
    if state.detail:
        parts.append(Content(state.detail.partition("\n")[0]))
    if shown in ("stopped", "failed"):
        parts.append(Content("r resumes"))
    return parts
