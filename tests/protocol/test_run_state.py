from pathlib import Path

import pytest

from engine.protocol import events as ev
from engine.protocol.codec import SkimmedStep, Stamp, encode_stamped
from engine.protocol.journal_tail import JournalTail
from engine.protocol.run_fold import SMOOTHING, apply, apply_all, replay
from engine.protocol.run_state import MAX_POINTS, Pairs, RunState, pairs_of

GOLDEN = Path(__file__).parent / "golden" / "events.jsonl"
MEMORY = ev.Memory(rss_bytes=1)


def step(number: int, steps: int = 10, loss: float = 1.0, elapsed_s: float = 2.0) -> ev.StepTrained:
    return ev.StepTrained(
        step=number, steps=steps, epoch=0.1, loss=loss, learning_rate=1e-3, grad_norm=1.0, tokens=1, response_tokens=1,
        micro_steps=1, elapsed_s=elapsed_s, memory=MEMORY,
    )  # fmt: skip


def batch(arm: ev.Arm, done: int, items: int, *outcomes: ev.ItemOutcome, elapsed_s: float = 2.0) -> ev.BatchEvaluated:
    return ev.BatchEvaluated(arm=arm, batch=0, done_items=done, items=items, tokens=8, elapsed_s=elapsed_s, outcomes=outcomes)


def outcome(name: str, success: bool | None, *types: str) -> ev.ItemOutcome:
    return ev.ItemOutcome(id=name, types=types or ("fact",), success=success)


def after(*events: ev.Event) -> RunState:
    return replay((Stamp(seq=number, t=f"t{number}", mono_s=float(number)), event) for number, event in enumerate(events))


def test_the_golden_run_ends_as_it_was_told():
    state = replay(JournalTail(GOLDEN).poll_all())
    assert (state.state, state.live, state.stage, state.progress) == ("finished", False, "report", 1.0)
    assert state.created is not None
    assert (state.created.name, state.created_at) == ("pilot", "2026-11-22T11:00:00.500Z")
    assert state.pairs == Pairs(both=1, lost=1, won=1, neither=0, unscored=1)
    assert [point.step for point in state.points] == [1, 2, 3, 4]
    assert [point.loss for point in state.points] == [3.5, 2.5, 2.0, 1.5]
    assert [dev.step for dev in state.dev] == [2, 4]
    assert state.verdict is not None
    assert (state.verdict.decision, len(state.restarts), state.checkpoints) == ("INCONCLUSIVE", 1, 1)
    assert list(state.stages_done) == ["gates", "base", "train", "sft", "report"]
    assert state.gates["leakage"].overridden


def test_a_live_fold_and_a_replay_agree_at_every_event():
    live = RunState()
    stamped = JournalTail(GOLDEN).poll_all()
    for number, (stamp, event) in enumerate(stamped, start=1):
        apply(live, event, stamp)
        assert vars(replay(stamped[:number])).keys() == vars(live).keys()
        assert (live.state, live.stage, live.detail) == _shown(replay(stamped[:number]))


def _shown(state: RunState) -> tuple[str, str, str]:
    return state.state, state.stage, state.detail


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([ev.SupervisorStarted(pid=1, hostname="h", epoch=1, resumed=False)], "starting"),
        ([ev.StageStarted(stage="gates")], "gating"),
        ([ev.RunQueued(behind="other")], "queued"),
        ([ev.StageStarted(stage="base"), ev.WorkerStarting(stage="base")], "loading"),
        ([ev.WorkerStarting(stage="report")], "running"),
        ([step(1)], "running"),
        ([batch("base", 1, 2)], "running"),
        ([step(1), ev.WorkerRestarted(reason="r", without_progress=1, limit=3)], "recovering"),
        ([step(1), ev.RunStopping(reason="r")], "stopping"),
        ([step(1), ev.RunStopped(reason="r")], "stopped"),
        ([ev.RunBlocked(gates=("a", "b"))], "blocked"),
        ([ev.RunFailed(reason="r")], "failed"),
        ([ev.RunFinished()], "finished"),
        ([step(1), ev.DiskFilled(path="p", consequence="waiting")], "disk full"),
        ([step(1), ev.DiskFilled(path="events.jsonl", consequence="events wait in memory")], "running"),
    ],
)
def test_states(events: list[ev.Event], state: str):
    assert after(*events).state == state


@pytest.mark.parametrize("before", [ev.RunStopping(reason="r"), ev.StageStarted(stage="gates"), step(1)])
def test_a_disk_that_is_free_again_brings_the_state_before_back(before: ev.Event):
    waiting = ev.DiskFilled(path="p", consequence="waiting")
    assert after(before, waiting, waiting, ev.DiskFreed(path="p")).state == after(before).state
    assert after(before, ev.DiskFreed(path="p")).state == after(before).state


def test_rewinding_voids_later_steps_and_their_dev_losses():
    dev = [ev.DevEvaluated(step=number, loss=1.0, best_loss=1.0, best_step=number) for number in (2, 4)]
    state = after(step(1), step(2), dev[0], step(3), step(4), dev[1], ev.Rewound(step=2))
    assert [point.step for point in state.points] == [1, 2]
    assert [found.step for found in state.dev] == [2]
    assert state.last_step is not None
    assert state.last_step.step == 2
    assert after(step(1), ev.Rewound(step=5)).last_step == step(1)


def test_the_smooth_loss_is_the_weighted_mean_of_all_losses_so_far():
    losses = [4.0, 2.0, 1.0, 1.0, 3.0]
    state = after(*(step(number, loss=loss) for number, loss in enumerate(losses, start=1)))
    for number, point in enumerate(state.points, start=1):
        weights = [SMOOTHING ** (number - 1 - place) for place in range(number)]
        mean = sum(weight * loss for weight, loss in zip(weights, losses, strict=False)) / sum(weights)
        assert point.smooth == pytest.approx(mean)


def test_a_constant_loss_is_its_own_mean_and_a_high_first_one_is_forgotten():
    assert [point.smooth for point in after(step(1, loss=0.7), step(2, loss=0.7), step(3, loss=0.7)).points] == [0.7] * 3
    falling = after(step(1, loss=10.0), *(step(number, loss=1.0) for number in range(2, 6)))
    assert falling.points[-1].smooth < 3.0


def test_the_mean_goes_on_from_the_step_that_a_rewind_kept():
    kept = [step(1, loss=4.0), step(2, loss=2.0)]
    rewound = after(*kept, step(3, loss=9.0), ev.Rewound(step=2), step(3, loss=1.0))
    assert rewound.points == after(*kept, step(3, loss=1.0)).points


def test_a_long_run_keeps_its_shape_in_bounded_memory():
    state = after(*(step(number, steps=9999) for number in range(1, 3 * MAX_POINTS)))
    assert len(state.points) <= MAX_POINTS
    assert (state.points[0].step, state.points[-1].step) == (1, 3 * MAX_POINTS - 1)


def test_the_eta_counts_training_and_both_evaluations():
    base = [batch("base", 4, 4, *(outcome(str(n), True) for n in range(4)), elapsed_s=8.0),
            ev.EvaluationFinished(arm="base", items=4, successes=4, unscored=0, tokens=1, elapsed_s=8.0)]  # fmt: skip
    running = after(*base, step(4, steps=10))
    assert running.train_left_s == pytest.approx(6 * 2.0)
    assert running.arm_left_s("sft") == pytest.approx(4 / (4 / 8.0))
    assert running.eta_s == pytest.approx(12.0 + 8.0)


def test_an_eta_with_an_unknown_part_is_none():
    assert after(step(4)).eta_s is None
    assert after(batch("base", 1, 4, outcome("a", True))).eta_s is None
    assert after(ev.RunFinished()).eta_s is None


def test_the_speed_is_the_median_of_recent_steps():
    state = after(step(1, elapsed_s=60.0), *(step(number, elapsed_s=1.0) for number in range(2, 9)))
    assert state.step_s == 1.0
    assert RunState().step_s is None


def test_progress_is_that_of_the_stage():
    assert after(ev.StageStarted(stage="train"), step(3)).progress == pytest.approx(0.3)
    assert after(ev.StageStarted(stage="sft"), batch("sft", 1, 4)).progress == pytest.approx(0.25)
    assert after(ev.GateProgressed(what="w", done=3, total=4)).progress == pytest.approx(0.75)
    assert RunState().progress == 0.0


def test_pairs_are_the_cells_over_items_that_both_answered():
    base = {"1": outcome("1", True), "2": outcome("2", True), "3": outcome("3", False), "4": outcome("4", False, "safety"),
            "5": outcome("5", None), "6": outcome("6", True)}  # fmt: skip
    sft = {"1": outcome("1", True), "2": outcome("2", False), "3": outcome("3", True), "4": outcome("4", False, "safety"),
           "5": outcome("5", True), "7": outcome("7", True)}  # fmt: skip
    assert pairs_of(base, sft) == Pairs(both=1, lost=1, won=1, neither=1, unscored=1)
    assert pairs_of(base, sft).n == 4
    assert pairs_of(base, sft, "safety") == Pairs(both=0, lost=0, won=0, neither=1, unscored=0)
    assert pairs_of({}, sft).n == 0


def test_a_resumed_run_forgets_how_it_failed():
    state = after(ev.RunFailed(reason="r", log_tail=("x",)), ev.SupervisorStarted(pid=1, hostname="h", epoch=2, resumed=True))
    assert (state.state, state.detail, state.log_tail) == ("starting", "", ())


def test_the_age_of_the_workers_last_event_ignores_the_supervisors():
    state = after(step(1), ev.CommandReceived(uuid="u", command="stop", who="w", asked_at="t"))
    assert (state.worker_event_mono_s, state.last_mono_s) == (0.0, 1.0)


def test_the_log_has_time_text_and_level():
    lines = list(after(ev.Warned(text="careful"), ev.RunFailed(reason="r", mend="m")).log)
    assert [(line.t, line.text, line.level) for line in lines] == [("t0", "careful", "warning"), ("t1", "failed: r – m", "error")]


def test_the_noise_floor_counts_both_arms_and_a_repeated_measurement_once():
    def measured(flips: int) -> ev.NoiseMeasured:
        return ev.NoiseMeasured(kind="repeat", items=50, text_flips=9, success_flips=flips)

    state = after(ev.StageStarted(stage="base"), measured(1), ev.StageStarted(stage="sft"), measured(7), measured(2))
    assert state.noise_of("repeat") == (3, 100)
    assert state.noise_of("drift") is None


def test_a_long_run_keeps_points_of_all_its_parts():
    count = 20 * MAX_POINTS
    state = after(*(step(number, steps=count) for number in range(1, count)))
    steps = [point.step for point in state.points]
    assert len(steps) <= MAX_POINTS and steps == sorted(steps) and steps[-1] == count - 1
    quarters = [sum(low < one <= low + count // 4 for one in steps) for low in range(0, count, count // 4)]
    assert max(quarters) < 1.2 * min(quarters), quarters


def test_skimmed_steps_leave_the_same_state(tmp_path):
    journal = tmp_path / "events.jsonl"
    dev = ev.DevEvaluated(step=399, loss=1.0, best_loss=1.0, best_step=399)
    events = [*(step(number, loss=3 / number) for number in range(1, 400)), dev, step(400), ev.Rewound(step=390), step(391)]
    lines = [encode_stamped(Stamp(seq=n, t=f"t{n}", mono_s=float(n)), event) for n, event in enumerate(events)]
    journal.write_bytes(b"\n".join([*lines[:50], b'{"seq":9,"torn', *lines[50:]]) + b"\n")
    tail, skimmed = JournalTail(journal), RunState()
    found = tail.skim()
    apply_all(skimmed, found)
    assert sum(isinstance(each, SkimmedStep) for each in found) > 390 and tail.torn_lines == 1
    whole = replay(JournalTail(journal).poll_all())
    assert vars(skimmed).keys() == vars(whole).keys()
    differing = [name for name in vars(whole) if name != "arms" and getattr(skimmed, name) != getattr(whole, name)]
    assert not differing
