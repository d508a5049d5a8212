"""The report of a run from its files alone: numbers, verdict, repeatability, and what it refuses."""

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from engine.core.analysis import Pair
from engine.protocol import evaluation as evaluation_file
from engine.protocol.arms import ArmNoise, Attempt, NoiseReading, arm_file, attempt_file, encode_records, noise_file, read_arm
from engine.protocol.config import Config, DataTable, EvalTable, ModelTable, VerdictTable
from engine.protocol.config_file import dump_config
from engine.protocol.errors import GateBlockedError, InputError
from engine.protocol.evaluation import Signature
from engine.protocol.events import Event, VerdictReached
from engine.protocol.gates import Override, read_gates
from engine.protocol.items import CheckSpec, HeldOutItem
from engine.protocol.prereg import read_prereg
from engine.protocol.runs import RunFolder
from engine.report.pairs import evaluate_pairs
from engine.report.signature import sign_verdict
from engine.report.write import build_evaluation, what_if, write_report
from engine.store.arm_files import write_attempt
from engine.store.gate_results import write_gates
from engine.store.hashes import digest, sha256_file
from engine.store.ledger import Entry, ledger_of, record_attempt
from engine.store.preregistration import read_frozen_items

MakeRun = Callable[..., tuple[RunFolder, Config]]


def reason(evaluation: evaluation_file.Evaluation, name: str) -> evaluation_file.Reason:
    assert evaluation.verdict is not None
    return next(found for found in evaluation.verdict.reasons if found.id == name)


def test_a_clear_lift_is_go_and_its_files_say_the_same(make_run: MakeRun) -> None:
    run, _ = make_run()
    events: list[Event] = []
    written = write_report(run, events.append)
    assert evaluation_file.decode_evaluation(run.evaluation.read_bytes()) == written
    # base: every 4th; sft: all but every 10th; both: multiples of 4 that are none of 20
    assert (written.overall.a, written.overall.b, written.overall.c, written.overall.d) == (72, 18, 252, 18)
    assert written.verdict is not None
    assert written.verdict.decision == "GO"
    assert written.verdict.flags == ()
    (event,) = events
    assert isinstance(event, VerdictReached)
    assert (event.decision, len(event.reasons)) == ("GO", len(written.verdict.reasons))
    assert run.summary.read_text().startswith("GO ")
    assert set(written.by_type) == {"fact", "format", "safety"}
    assert written.by_type["safety"].guard is not None
    assert written.by_type["fact"].guard is None


def test_the_same_records_give_the_same_bytes_but_for_the_time(make_run: MakeRun) -> None:
    first, _ = make_run("first")
    second, _ = make_run("second")
    texts = []
    for run in (first, second):
        write_report(run, lambda event: None)
        found = evaluation_file.decode_evaluation(run.evaluation.read_bytes())
        metadata = msgspec.structs.replace(found.metadata, created_at=None)
        assert found.metadata.created_at
        texts.append(evaluation_file.encode_evaluation(msgspec.structs.replace(found, metadata=metadata)))
    assert texts[0] == texts[1]
    assert build_evaluation(first, created_at="t") == build_evaluation(first, created_at="t")


def test_every_file_of_the_report_is_written_again_to_the_byte_but_for_the_time(make_run: MakeRun) -> None:
    run, _ = make_run()
    files = (run.evaluation, run.summary, run.report_html, run.items)
    written = []
    for name in ("first", "second"):
        for file in files:
            file.unlink(missing_ok=True)
        evaluation = write_report(run, lambda event: None)
        assert evaluation.metadata.created_at is not None, name
        written.append([file.read_bytes().replace(evaluation.metadata.created_at.encode(), b"TIME") for file in files])
    assert written[0] == written[1]
    assert [content.count(b"TIME") for content in written[0]] == [1, 1, 1, 0]


def test_the_items_as_lines_are_pairs_that_give_the_same_numbers(make_run: MakeRun) -> None:
    checks = (CheckSpec(kind="contains", arguments={"all": ["yes"]}),)
    asked = [
        HeldOutItem(id=f"i{n}", types=("fact",), instruction=f"Answer {n}.", checks=checks, cluster=f"c{n // 3}")
        for n in range(330)
    ]
    run, _ = make_run(asked=asked)
    evaluation = write_report(run, lambda event: None)
    lines = [msgspec.json.decode(line) for line in run.items.read_bytes().splitlines()]
    made = [
        Pair(id=line["id"], types=tuple(line["type"]), base=line["base"], sft=line["sft"], cluster=line["cluster"])
        for line in lines
    ]
    assert [line["id"] for line in lines] == [item.id for item in read_frozen_items(run, read_prereg(run.prereg))]
    assert evaluate_pairs(tuple(made)).overall == evaluation.overall
    assert evaluation.overall.clustered.clusters == 110
    assert {line["base_answer"]["response"] for line in lines} == {"yes", "no"}
    assert lines[1]["base_answer"]["checks"][0] == {"kind": "contains", "success": False, "reason": 'lacks "yes"'}


def test_the_order_of_records_is_irrelevant(make_run: MakeRun) -> None:
    run, _ = make_run()
    before = build_evaluation(run, created_at=None)
    records = read_arm(arm_file(run, "sft"))
    random.Random(1).shuffle(records)
    arm_file(run, "sft").write_bytes(encode_records(records))
    after = build_evaluation(run, created_at=None)
    same = msgspec.structs.replace(after, metadata=before.metadata)
    assert same == before


def test_a_lift_that_is_only_stopping_is_flagged(make_run: MakeRun) -> None:
    run, _ = make_run(base=lambda item, place: "yes\nQuestion: and now?", sft=lambda item, place: "yes")
    evaluation = build_evaluation(run, created_at=None)
    after = evaluation.secondary.after_stop_rules
    assert after is not None
    assert (evaluation.overall.c, after.a, after.c) == (360, 360, 0)
    assert evaluation.verdict is not None
    assert "STOPPING ONLY" in evaluation.verdict.flags


def test_cutting_at_blank_lines_is_a_reading_of_its_own(make_run: MakeRun) -> None:
    run, _ = make_run(sft=lambda item, place: "no\n\nyes")
    evaluation = build_evaluation(run, created_at=None)
    blank, stop = evaluation.secondary.after_blank_line, evaluation.secondary.after_stop_rules
    assert blank is not None
    assert stop is not None
    assert (evaluation.overall.sft_rate, stop.sft_rate, blank.sft_rate) == (1.0, 1.0, 0.0)
    assert blank.base_rate == evaluation.overall.base_rate


def test_noise_is_summed_over_both_arms(make_run: MakeRun) -> None:
    run, _ = make_run()
    noise = build_evaluation(run, created_at=None).secondary.noise_floor
    assert noise is not None
    assert (noise.repeat_flips, noise.repeat_items) == (0, 16)
    assert (noise.rebatch_flips, noise.rebatch_items) == (2, 8)
    assert (noise.unpadded_flips, noise.unpadded_items, noise.unpadded_texts) == (2, 8, 4)
    assert (noise.base_drift_flips, noise.base_drift_items) == (0, 8)


def test_decoding_that_does_not_repeat_is_among_the_reasons(make_run: MakeRun) -> None:
    run, _ = make_run()
    noise = msgspec.json.decode(noise_file(run, "sft").read_bytes(), type=ArmNoise)
    flipped = NoiseReading(items=8, text_flips=("i001",), success_flips=("i001",))
    noise_file(run, "sft").write_bytes(msgspec.json.encode(msgspec.structs.replace(noise, repeat=flipped)))
    assert reason(build_evaluation(run, created_at=None), "noise.repeat").numbers == {"flips": 1, "items": 16}


def test_records_that_were_edited_by_hand_are_exploratory_and_no_go(make_run: MakeRun) -> None:
    run, _ = make_run()
    path = arm_file(run, "sft")
    path.write_bytes(path.read_bytes().replace(b'"success":false', b'"success":true', 1))
    evaluation = build_evaluation(run, created_at=None)
    assert evaluation.prereg is not None
    assert evaluation.prereg.differences == (
        "the records of the SFT arm were changed after they were written; evaluate the arm again",
    )
    assert evaluation.verdict is not None
    assert evaluation.verdict.decision == "INCONCLUSIVE"


def _noise_is_lost(run: RunFolder) -> None:
    noise_file(run, "base").unlink()


def _attempt_is_lost(run: RunFolder) -> None:
    attempt_file(run).unlink()


def _attempt_of_another_adapter(run: RunFolder) -> None:
    write_attempt(attempt_file(run), Attempt(held_out_sha256="a" * 64, adapter_sha256="f" * 64, attempt=1))


def _override_is_edited_away(run: RunFolder) -> None:
    report = read_gates(run.gates)
    override = Override(gate="integrity", reason="known file", who="me", at="t")
    failed = (msgspec.structs.replace(report.gates[0], status="fail"),)
    gated = digest(msgspec.structs.replace(report, gates=failed, overrides=(override,)))
    write_attempt(attempt_file(run), Attempt(held_out_sha256="a" * 64, adapter_sha256="c" * 64, attempt=1, gates_digest=gated))


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (_noise_is_lost, "the noise file of the base arm is missing"),
        (_attempt_is_lost, "eval/attempt.json is missing"),
        (_attempt_of_another_adapter, "another adapter or held-out set"),
        (_override_is_edited_away, "gates.json was changed"),
    ],
)
def test_what_cannot_be_checked_against_the_records_is_no_go(make_run: MakeRun, damage: Callable[[RunFolder], None], named: str):
    run, _ = make_run(base=lambda item, place: "no", sft=lambda item, place: "yes")
    before = build_evaluation(run, created_at=None).verdict
    assert before is not None and before.decision == "GO"
    damage(run)
    evaluation = build_evaluation(run, created_at=None)
    assert evaluation.prereg is not None and evaluation.verdict is not None
    assert len(evaluation.prereg.differences) == 1 and named in evaluation.prereg.differences[0]
    assert evaluation.verdict.decision == "INCONCLUSIVE"


def test_a_lost_attempt_file_does_not_begin_the_count_anew(make_run: MakeRun) -> None:
    run, _ = make_run()
    for adapter in ("x", "c" * 64):
        record_attempt(ledger_of(run), Entry(held_out_sha256="a" * 64, adapter_sha256=adapter, run_id="r", at="t"))
    attempt_file(run).unlink()
    prereg = build_evaluation(run, created_at=None).prereg
    assert prereg is not None and (prereg.attempt, prereg.alpha) == (2, 0.005)


def test_other_settings_than_those_frozen_are_exploratory_and_no_go(make_run: MakeRun) -> None:
    run, config = make_run()
    loose = msgspec.structs.replace(config, verdict=msgspec.structs.replace(config.verdict, alpha=0.2))
    run.config.write_text(dump_config(loose))
    evaluation = build_evaluation(run, created_at=None)
    assert evaluation.prereg is not None
    assert evaluation.prereg.exploratory
    assert evaluation.prereg.differences == ("verdict.alpha was 0.01 and is 0.2",)
    assert evaluation.verdict is not None
    assert evaluation.verdict.decision == "INCONCLUSIVE"


def test_a_forged_preregistration_is_exploratory(make_run: MakeRun) -> None:
    run, config = make_run()
    loose = msgspec.structs.replace(config, verdict=msgspec.structs.replace(config.verdict, alpha=0.2))
    run.config.write_text(dump_config(loose))
    run.prereg.write_text(run.prereg.read_text().replace('"alpha": 0.01', '"alpha": 0.2'))
    evaluation = build_evaluation(run, created_at=None)
    assert evaluation.prereg is not None
    assert evaluation.prereg.exploratory
    assert "hash" in evaluation.prereg.differences[0]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"device": "another GPU"}, "different conditions: device"),
        ({"decoding": {"do_sample": True, "temperature": 0.0, "max_new_tokens": 256}}, "decoded with do_sample True, not False"),
        ({"scorer_version": "other"}, "scorer_version was"),
    ],
)
def test_arms_under_different_conditions_are_exploratory(make_run: MakeRun, changes: dict[str, object], named: str) -> None:
    run, _ = make_run(sft_changes=changes)
    evaluation = build_evaluation(run, created_at=None)
    assert evaluation.prereg is not None
    assert any(named in difference for difference in evaluation.prereg.differences)


def test_a_later_attempt_is_tested_at_a_smaller_alpha(make_run: MakeRun) -> None:
    run, _ = make_run()
    for adapter in ("x", "y", "c" * 64):
        record_attempt(ledger_of(run), Entry(held_out_sha256="a" * 64, adapter_sha256=adapter, run_id="r", at="t"))
    evaluation = build_evaluation(run, created_at=None)
    assert evaluation.prereg is not None
    assert (evaluation.prereg.attempt, evaluation.prereg.alpha) == (3, 0.01 / 6)
    assert evaluation.power.alpha == 0.01 / 6


def test_a_copy_in_another_workspace_keeps_its_attempt(make_run: MakeRun) -> None:
    run, _ = make_run()
    write_attempt(attempt_file(run), Attempt(held_out_sha256="a" * 64, adapter_sha256="c" * 64, attempt=4))
    evaluation = build_evaluation(run, created_at=None)
    assert evaluation.prereg is not None
    assert evaluation.prereg.attempt == 4


def test_overridden_gates_and_relaxed_defaults_stay_in_the_verdict(make_run: MakeRun) -> None:
    run, _ = make_run()
    report = read_gates(run.gates)
    failed = msgspec.structs.replace(report.gates[0], status="fail")
    override = Override(gate="integrity", reason="known file", who="me", at="t")
    write_gates(run, msgspec.structs.replace(report, gates=(failed,), overrides=(override,), relaxed=("gates.max_runaway",)))
    evaluation = build_evaluation(run, created_at=None)
    assert evaluation.verdict is not None
    assert evaluation.verdict.decision == "INCONCLUSIVE"
    assert evaluation.verdict.overrides == ("integrity",)
    assert evaluation.verdict.relaxed == ("gates.max_runaway",)
    assert any("known file" in note for note in evaluation.metadata.notes)


def test_a_run_that_its_gates_stopped_says_so_instead_of_naming_files(make_run: MakeRun) -> None:
    run, _ = make_run()
    report = read_gates(run.gates)
    write_gates(run, msgspec.structs.replace(report, gates=(msgspec.structs.replace(report.gates[0], status="fail"),)))
    assert build_evaluation(run, created_at=None).overall.n == 360
    for arm in ("base", "sft"):
        arm_file(run, arm).unlink()
    with pytest.raises(GateBlockedError, match=r"hard gates failed or are undecided \(integrity\), so nothing was evaluated"):
        build_evaluation(run, created_at=None)


def test_a_signature_does_not_stand_under_flags_that_its_signer_never_saw(make_run: MakeRun) -> None:
    run, _ = make_run()
    write_report(run, lambda event: None)
    signed = sign_verdict(run, Signature(name="Ada", note="", time="t")).verdict
    assert signed is not None and signed.signed_off is not None and not signed.flags
    kept = build_evaluation(run, created_at=None).verdict
    assert kept is not None and kept.signed_off == signed.signed_off
    write_gates(run, msgspec.structs.replace(read_gates(run.gates), relaxed=("gates.max_runaway",)))
    flagged = build_evaluation(run, created_at=None).verdict
    assert flagged is not None and (flagged.decision, flagged.flags) == (signed.decision, ("RELAXED",))
    assert flagged.signed_off is None


def test_items_of_a_cluster_and_equal_instructions_go_together(make_run: MakeRun) -> None:
    asked = [
        HeldOutItem(
            id=f"i{number:03}",
            types=("fact",),
            instruction=f"Answer  number {number - number % 2}!" if number < 20 else f"Answer number {number}.",
            checks=(CheckSpec(kind="contains", arguments={"all": ["yes"]}),),
            cluster=f"c{number // 5}" if 100 <= number < 200 else None,
        )
        for number in range(360)
    ]
    run, _ = make_run(asked=asked)
    evaluation = build_evaluation(run, created_at=None)
    assert evaluation.overall.n == 360
    assert evaluation.overall.clustered.clusters == 360 - 10 - 80
    assert evaluation.overall.mcnemar.primary.name == "cluster_sign_flip"
    assert reason(evaluation, "items").status == "undecided"


def test_ids_in_one_arm_only_are_all_named_and_nothing_is_written(make_run: MakeRun) -> None:
    run, _ = make_run()
    path = arm_file(run, "sft")
    path.write_bytes(
        b"".join(line for line in path.read_bytes().splitlines(keepends=True) if b'"i007"' not in line and b'"i011"' not in line)
    )
    with pytest.raises(InputError, match=r"i007, i011"):
        write_report(run, lambda event: None)
    assert not run.evaluation.exists()
    assert not run.summary.exists()


def test_every_missing_or_damaged_file_is_named_at_once(make_run: MakeRun) -> None:
    run, _ = make_run()
    arm_file(run, "sft").unlink()
    arm_file(run, "base").write_bytes(b'{"id": 3}\n' + arm_file(run, "base").read_bytes() + b"oops\n")
    run.gates.write_bytes(b"{")
    run.config.write_text("[verdict]\nalpha = 3\n")
    with pytest.raises(InputError) as raised:
        write_report(run, lambda event: None)
    text = str(raised.value)
    for part in ("sft.jsonl: is not there", "base.jsonl, line 1", "base.jsonl, line 362", "gates.json", "alpha"):
        assert part in text


def test_it_needs_no_torch() -> None:
    code = "import sys, engine.report.write; sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'peft')))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_a_subset_is_what_is_evaluated_and_is_said(make_run: MakeRun) -> None:
    config = Config(
        model=ModelTable(path="/nowhere/m"), data=DataTable(train="/t", held_out="/h"), eval=EvalTable(subset=330, batch_items=32)
    )
    run, _ = make_run(config=config)
    evaluation = build_evaluation(run, created_at=None)
    assert evaluation.overall.n == 330
    assert evaluation.by_type["safety"].n == 110
    assert any("subset of 330" in note for note in evaluation.metadata.notes)
    assert evaluation.prereg is not None
    assert not evaluation.prereg.exploratory


def test_no_go_says_what_to_try_from_what_was_measured(make_run: MakeRun, tmp_path: Path) -> None:
    train = tmp_path / "train.jsonl"
    lines = [
        {
            "instruction": f"Say {number}.",
            "response": "yes\nQuestion: more?" if number < 10 else "yes",
            "metadata": {"type": "safety" if number < 20 else "fact"},
            "pair_critique": {"margin": 0.1 if number < 20 else 0.9, "confident": number >= 5},
        }
        for number in range(100)
    ]
    train.write_bytes(msgspec.json.Encoder().encode_lines(lines))
    config = Config(model=ModelTable(path="/nowhere/m"), data=DataTable(train=str(train), held_out="/h"))
    run, _ = make_run(config=config, base=lambda item, place: "yes", sft=lambda item, place: "no" if place % 3 == 2 else "yes")
    history = {"losses": [[step, 1.0, 0.1, 1.0] for step in range(40)], "dev": [[20, 0.9], [40, 0.91]]}
    for step, losses in ((9, []), (40, history["losses"])):
        state = run.checkpoints / f"step-{step}" / "trainer_state.json"
        state.parent.mkdir(parents=True)
        state.write_bytes(msgspec.json.encode({**history, "losses": losses}))
    report = read_gates(run.gates)
    facts = msgspec.structs.replace(report.dataset, sha256=sha256_file(train))
    write_gates(run, msgspec.structs.replace(report, dataset=facts))
    verdict = build_evaluation(run, created_at=None).verdict
    assert verdict is not None
    assert verdict.decision == "NO-GO"
    found = {suggestion.id: suggestion for suggestion in verdict.try_next}
    assert found["runaway"].numbers["share"] == 0.10
    assert found["low_confidence"].numbers["share"] == 0.05
    assert found["fell.safety"].numbers["train_share"] == 0.2
    assert found["slice.type safety"].numbers["records"] == 20
    assert "loss.plateaued" in found
    train.write_bytes(train.read_bytes() + b"\n")
    changed = build_evaluation(run, created_at=None).verdict
    assert changed is not None
    assert {suggestion.id for suggestion in changed.try_next} == {"ceiling", "loss.plateaued", "fell.safety"}


def test_what_if_is_exploratory_unsigned_and_changes_nothing(make_run: MakeRun) -> None:
    run, config = make_run()
    write_report(run, lambda event: None)
    sign_verdict(run, evaluation_file.Signature(name="Ada", note="", time="2026-03-14T09:00:00Z"))
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    recorded = evaluation_file.decode_evaluation(run.evaluation.read_bytes()).verdict
    table = build_evaluation(run, created_at=None)
    assert recorded is not None and recorded.decision == "GO" and table.prereg is not None and not table.prereg.exploratory
    tried = what_if(run, VerdictTable(alpha=0.05, guarded=("safety",)))
    assert tried.prereg is not None and tried.prereg.exploratory and tried.prereg.alpha == 0.05
    assert any("verdict.guarded was" in difference for difference in tried.prereg.differences)
    assert tried.by_type["format"].guard is None and table.by_type["format"].guard is not None
    assert tried.verdict is not None and tried.verdict.decision == "INCONCLUSIVE" and tried.verdict.signed_off is None
    same = what_if(run, config.verdict)
    assert same.prereg is not None and not same.prereg.exploratory
    assert same.verdict is not None and (same.verdict.decision, same.verdict.signed_off) == ("GO", None)
    assert before == {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
