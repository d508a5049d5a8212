"""Run folders of invented runs for the panel's tests and pictures: journal, gates, evaluation, item records, state and owner.

Everything follows from the scene's name: two calls give equal files. Statistics and verdict come from the engine's own functions.
"""

import datetime
import math
import os
import random
from pathlib import Path

import msgspec

from engine.core.analysis import Settings, analyse, describe
from engine.core.analysis.pairs import Pair
from engine.core.verdict import Arm, Evidence, Measured, decide, gate_outcomes
from engine.protocol import evaluation as evaluation_file
from engine.protocol import events as ev
from engine.protocol.arms import ItemRecord, encode_records
from engine.protocol.codec import Stamp, encode_stamped
from engine.protocol.config import Config
from engine.protocol.gates import DatasetFacts, GateResult, GatesReport
from engine.protocol.gates import Evidence as GateEvidence
from engine.protocol.items import CheckOutcome
from engine.protocol.plans import ComputePlan, PlanEstimate
from engine.protocol.prereg import Frozen, Preregistration, encode_prereg
from engine.protocol.run_fold import apply
from engine.protocol.run_state import RunState
from engine.protocol.runs import Owner, RunFolder, RunSummary, boot_id, runs_folder, start_ticks

BEGAN = datetime.datetime(2026, 3, 14, 9, 0, tzinfo=datetime.UTC)
SCENES = (
    "training",
    "loading",
    "base",
    "sft",
    "go",
    "no-go",
    "inconclusive",
    "blocked",
    "failed",
    "interrupted",
    "recovered",
    "hostile",
)
GIB = 2**30
TYPES = (("arithmetic", 72), ("fact", 96), ("format", 84), ("list", 78), ("safety", 90), ("transform", 66))
PLACES = ("Orvane", "Tel Maris", "Quill", "Brask", "Nymoor", "Ostrel")
HOSTILE = "\x1b[2J\x1b]52;c;aGk=\x07 [/INST] [bold]x[/] \u202egnissap\u202c z\u200bw 漢字 é\u0301\u0301\u0301\u0301 \x9b31m"


class Scene:
    """Writes one run; `clock_s` is the time at its last event, for the panel's clock."""

    def __init__(self, root: Path, name: str, *, gpu: bool = True) -> None:
        self.name, self.gpu = name, gpu
        self.random = random.Random(f"scene {name}")
        self.run = RunFolder(runs_folder(root) / f"0314-0900-{name}-{SCENES.index(name) + 0xA7F0:04x}")
        self.run.path.mkdir(parents=True)
        self.run.config.write_text(f'[run]\nname = "{name}"\n', "utf-8")
        self.elapsed_s, self.seq = 0.0, 0
        self.state = RunState()
        self.lines: list[bytes] = []
        self.items = [(f"{kind}-{number:04d}", kind) for kind, size in TYPES for number in range(size)]
        self.random.shuffle(self.items)

    @property
    def clock_s(self) -> float:
        """Seconds since 1970 one second after the last event."""
        return BEGAN.timestamp() + self.elapsed_s + 1

    def say(self, event: ev.Event, after_s: float = 0.5) -> None:
        """Journal one event `after_s` later."""
        self.elapsed_s += after_s
        at = BEGAN + datetime.timedelta(seconds=self.elapsed_s)
        stamp = Stamp(seq=self.seq, t=at.strftime("%Y-%m-%dT%H:%M:%S.000Z"), mono_s=1000 + self.elapsed_s)
        self.seq += 1
        self.lines.append(encode_stamped(stamp, event))
        apply(self.state, event, stamp)

    def save(self, *, alive: bool) -> RunFolder:
        """Write journal, state and owner; `alive`: this process is the owner."""
        self.run.journal.write_bytes(b"\n".join(self.lines) + b"\n")
        summary = RunSummary(
            run_id=self.run.run_id, name=self.name, state=self.state.state, stage=self.state.stage, created_at=self.state.created_at,
            updated_at=self.state.last_t, progress=self.state.progress, eta_s=self.state.eta_s, detail=self.state.detail,
            decision=self.state.verdict.decision if self.state.verdict else None,
            flags=self.state.verdict.flags if self.state.verdict else (),
            step=self.state.last_step.step if self.state.last_step else None,
            steps=self.state.last_step.steps if self.state.last_step else None,
        )  # fmt: skip
        self.run.state.write_bytes(msgspec.json.encode(summary))
        pid = os.getpid()
        owner = Owner(uuid="0" * 32, epoch=1, hostname=os.uname().nodename, boot_id=boot_id(), pid=pid,
                      start_ticks=start_ticks(pid) or 0, counter=7, released=not alive)  # fmt: skip
        self.run.owner.write_bytes(msgspec.json.encode(owner))
        os.utime(self.run.owner, (self.clock_s - 2, self.clock_s - 2))
        for place, path in enumerate((self.run.config, self.run.state)):
            os.utime(path, (BEGAN.timestamp() + SCENES.index(self.name) * 60 + place,) * 2)
        return self.run

    def memory(self) -> ev.Memory:
        """Memory of a 32B run on one 140 GB card, or of a small run on the CPU."""
        if not self.gpu:
            return ev.Memory(rss_bytes=842 << 20)
        wobble = self.random.random()
        return ev.Memory(
            rss_bytes=9 * GIB, allocated_bytes=int((74 + wobble) * GIB), reserved_bytes=int(80.1 * GIB),
            device_used_bytes=int((83.5 + wobble) * GIB), device_total_bytes=int(139.8 * GIB), peak_allocated_bytes=int(82.4 * GIB),
            predicted_peak_bytes=int(82.9 * GIB), risk="low", risk_reason="rows this long have been seen; no other process on this GPU",
            largest_row_tokens=900, headroom_bytes=int(56.9 * GIB), fragmentation_bytes=int(5.6 * GIB), others_bytes=0,
        )  # fmt: skip

    def plan(self, name: str, row_tokens: int, peak_gib: float, *, recomputed: int, refused: tuple[str, float, str]) -> None:
        """The compute plan of a training worker, and its preflight."""
        estimates = [
            PlanEstimate(name=called, step_s=0.62, peak_bytes=int(gib * GIB), refused=why, plan=ComputePlan(
                row_tokens=row_tokens, buckets=(256, 512, row_tokens), recomputed_layers=layers, mirrored_layers=64, compiled=True,
                graph=True, attention="varlen", adapter_dtype="bfloat16",
            ))
            for called, gib, why, layers in ((name, peak_gib, "", recomputed), (*refused, 0))
        ]  # fmt: skip
        self.say(ev.PlanChosen(stage="train", chosen=estimates[0], free_bytes=int(138.2 * GIB), refused=(estimates[1],)))
        self.say(ev.PreflightMeasured(what="train", tokens=row_tokens, predicted_peak_bytes=int(peak_gib * GIB),
                                      measured_peak_bytes=int((peak_gib - 0.6) * GIB), elapsed_s=2.4), 2.4)  # fmt: skip

    # --- the parts of a run ------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """From creation to the first gate."""
        self.say(ev.RunCreated(
            run_id=self.run.run_id, name=self.name, profile="stage1", version="0.1.0", model="Qwen2.5-32B", train_path="train.jsonl",
            held_out_path="held_out.jsonl", device="cuda" if self.gpu else "cpu", price_per_hour=2.4 if self.gpu else 0.0,
        ))  # fmt: skip
        self.say(ev.SupervisorStarted(pid=4321, hostname="pod-7", epoch=1, resumed=False))
        self.say(ev.StageStarted(stage="gates"))
        self.say(ev.WorkerStarted(pid=4400, stage="gates"))
        self.say(ev.WorkerStarting(stage="gates"))

    def gates(self, *, faulty: bool = False) -> GatesReport:
        """All gates, gates.json, and what is frozen by them."""
        self.run.prereg.write_bytes(encode_prereg(_frozen(self.items)))
        results = _gates(faulty)
        for gate in results:
            self.say(ev.GateChecked(
                id=gate.id, severity=gate.severity, status=gate.status, declared=gate.declared, measured=gate.measured,
                threshold=gate.threshold, reason=gate.reason, evidence=len(gate.evidence),
            ))  # fmt: skip
        facts = DatasetFacts(path="train.jsonl", sha256="ab" * 32, records=1528, dropped={"empty response": 2})
        report = GatesReport(passed=not faulty, gates=results, dataset=facts, held_out=facts)
        self.run.gates.write_bytes(msgspec.json.encode(report))
        self.say(ev.GatesFinished(passed=report.passed, blocking=report.blocking, records=1528, dropped=2), 3)
        if faulty:
            self.say(ev.WorkerExited(pid=4400, stage="gates", exit_status=1))
            self.say(ev.RunBlocked(gates=report.blocking))
        else:
            self.say(ev.StageFinished(stage="gates", elapsed_s=41.0))
        return report

    def load(self, stage: ev.Stage) -> None:
        """A worker starts and loads the model."""
        self.say(ev.StageStarted(stage=stage))
        self.say(ev.WorkerStarted(pid=4500, stage=stage))
        self.say(ev.WorkerStarting(stage=stage))
        self.say(ev.LibrariesLoaded(versions={"torch": "2.13.0"}, elapsed_s=11.0), 11)
        self.say(ev.ModelLoadProgressed(done_bytes=31 * GIB, total_bytes=int(65.5 * GIB)), 90)
        if self.name == "loading":
            return
        self.say(ev.ModelLoaded(
            name="Qwen2.5-32B", device="cuda:0" if self.gpu else "cpu", quantization="nf4", compute_dtype="bfloat16",
            parameters=32_763_876_352, memory=self.memory(), elapsed_s=192.0,
        ), 102)  # fmt: skip

    def arm(self, arm: ev.Arm, rates: dict[str, float], share: float = 1.0) -> None:
        """An arm answers the first `share` of the items in batches of 32."""
        total = len(self.items)
        self.say(ev.EvaluationPlanned(arm=arm, items=total, batches=math.ceil(total / 32), done_items=0, digest="d" * 64))
        done = 0
        while done < int(total * share):
            batch = self.items[done : done + 32]
            done += len(batch)
            outcomes = tuple(self.outcome(arm, item_id, kind, rates[kind]) for item_id, kind in batch)
            if share < 1.0 or self.name == "sft":
                self.batch_file(arm, math.ceil(done / 32), outcomes)
            self.say(ev.BatchEvaluated(
                arm=arm, batch=done // 32, done_items=done, items=total, tokens=61 * len(batch), elapsed_s=9.5, outcomes=outcomes,
                memory=self.memory(),
            ), 9.5)  # fmt: skip
        if share == 1.0:
            self.say(ev.NoiseMeasured(kind="repeat", items=64, text_flips=0, success_flips=0))
            answered = self.state.arms[arm].outcomes.values()
            self.say(ev.EvaluationFinished(arm=arm, items=total, successes=sum(bool(o.success) for o in answered),
                                           unscored=sum(o.success is None for o in answered), tokens=61 * total, elapsed_s=150.0))  # fmt: skip
            self.say(ev.StageFinished(stage=arm, elapsed_s=160.0))

    def batch_file(self, arm: str, number: int, outcomes: tuple[ev.ItemOutcome, ...]) -> None:
        """The records of one batch of an arm that is at work."""
        folder = self.run.eval / arm
        folder.mkdir(parents=True, exist_ok=True)
        found = {"key": "k", "elapsed_s": 9.5, "records": [self.record(arm, outcome) for outcome in outcomes]}
        (folder / f"{number:04d}-{'d' * 12}.json").write_bytes(msgspec.json.encode(found))

    def outcome(self, arm: str, item_id: str, kind: str, rate: float) -> ev.ItemOutcome:
        """One answer; the same item passes with the type's rate."""
        success: bool | None = random.Random(f"{self.name} {arm} {item_id}").random() < rate
        if item_id.endswith("0033") and arm == "base" and kind == "list":
            success = None
        text = (
            HOSTILE
            if self.name == "hostile"
            else f"The capital of {PLACES[len(item_id) % 6]} is {PLACES[int(item_id[-2:]) % 6]}."
        )
        return ev.ItemOutcome(
            id=item_id, types=(kind,), success=success, preview=text, reason="" if success else "need 5 items, got 2"
        )

    def train(self, steps: int, share: float = 1.0, *, after: int = 0) -> None:
        """Steps with a falling loss, dev evaluations and checkpoints; `after`: the checkpoint that it goes on from."""
        self.say(ev.TrainingPlanned(examples=1450, dev_examples=76, dropped=2, truncated=3, tokens=181_234, response_tokens=64_010,
                                    steps=steps, epochs=3, row_tokens=1024, longest_row_tokens=1019, trainable_parameters=134_217_728))  # fmt: skip
        best = (9.0, 0)
        for step in range(after + 1, int(steps * share) + 1):
            level = 0.92 + 1.15 * math.exp(-step / (steps * 0.13)) + 0.05 * math.exp(-step / (steps * 0.6))
            loss = level + self.random.gauss(0, 0.045)
            self.say(ev.StepTrained(
                step=step, steps=steps, epoch=3 * step / steps, loss=loss,
                learning_rate=2e-4 * min(1, step / (0.03 * steps)) * (0.5 + 0.5 * math.cos(math.pi * step / steps)),
                grad_norm=0.4 + 0.1 * self.random.random(), tokens=1_150, response_tokens=380, micro_steps=2, elapsed_s=0.62,
                memory=self.memory(),
            ), 0.62)  # fmt: skip
            if step % max(1, steps // 18) == 0:
                dev = level + 0.06 + 0.25 * max(0.0, step / steps - 0.7)
                best = min(best, (dev, step))
                self.say(ev.DevEvaluated(step=step, loss=dev, best_loss=best[0], best_step=best[1], patience_left=3), 2)
            if step % max(1, steps // 4) == 0:
                self.say(
                    ev.CheckpointWritten(
                        step=step, path=f"checkpoints/step-{step}", size_bytes=int(1.6e9), elapsed_s=3.1, kept=2
                    ),
                    3,
                )
        if share == 1.0:
            self.say(ev.AdapterSaved(path="adapter", sha256="cd" * 32, size_bytes=536_870_912, step=best[1]), 3)
            self.say(ev.StageFinished(stage="train", elapsed_s=self.elapsed_s))

    def report(self, gates: GatesReport) -> None:
        """Item records of both arms, evaluation.json, the verdict."""
        self.run.eval.mkdir(exist_ok=True)
        for arm in ("base", "sft"):
            records = [self.record(arm, outcome) for outcome in self.state.arms[arm].outcomes.values()]
            (self.run.eval / f"{arm}.jsonl").write_bytes(encode_records(records))
        base, sft = self.state.arms["base"].outcomes, self.state.arms["sft"].outcomes
        pairs = [Pair(id=i, types=base[i].types, base=base[i].success, sft=sft[i].success) for i in base]
        settings = Settings()
        gates = self.settle(gates)
        analysis = analyse(pairs, settings)
        prereg = evaluation_file.Prereg(hash="ef" * 32, exploratory=False, attempt=1, alpha=0.01)
        stopped = describe([msgspec.structs.replace(p, base=p.base if p.id[-1] in "1234567" else p.sft) for p in pairs], settings)
        verdict = decide(Evidence(
            analysis=analysis, settings=settings, gates=gate_outcomes(gates), prereg=prereg, after_stop_rules=stopped,
            arms=tuple(Arm(name=arm, planned=len(pairs), done=len(pairs)) for arm in ("base", "sft")),
            measured=Measured(token_limit_share=0.021, train_share_by_type={"safety": 0.004}),
        ))  # fmt: skip
        noise = evaluation_file.NoiseFloor(repeat_flips=0, repeat_items=64, rebatch_flips=1, rebatch_items=32, base_drift_flips=0,
                                           base_drift_items=64)  # fmt: skip
        written = evaluation_file.Evaluation(
            schema_version=evaluation_file.SCHEMA_VERSION, overall=analysis.overall, by_type=analysis.by_type, bh=analysis.bh,
            secondary=evaluation_file.Secondary(after_stop_rules=stopped, after_blank_line=None, noise_floor=noise,
                                                unscored_worst_case=analysis.worst_case, after_blank_line_undecided="not taken"),
            power=analysis.power, prereg=prereg, verdict=verdict,
            metadata=evaluation_file.Metadata(labels={}, confidence_level=0.95, seeds={"run": 0}, git_sha={}, loader_version="0.1.0",
                                              environment={}, decoding={}, data_sha256={}, prereg_hash="ef" * 32, created_at=None, notes=()),
        )  # fmt: skip
        self.say(ev.StageStarted(stage="report"))
        self.run.evaluation.write_bytes(evaluation_file.encode_evaluation(written))
        self.say(
            ev.VerdictReached(decision=verdict.decision, flags=verdict.flags, reasons=tuple(r.text for r in verdict.reasons))
        )
        self.say(ev.StageFinished(stage="report", elapsed_s=2.0))
        self.say(ev.RunFinished(decision=verdict.decision))

    def settle(self, report: GatesReport) -> GatesReport:
        """The gates that waited for the model and the base arm have passed by now."""
        settled = tuple(
            msgspec.structs.replace(gate, status="pass", measured="ok", reason="decided after the base arm")
            if gate.status == "pending"
            else gate
            for gate in report.gates
        )
        found = msgspec.structs.replace(report, gates=settled)
        self.run.gates.write_bytes(msgspec.json.encode(found))
        return found

    def record(self, arm: str, outcome: ev.ItemOutcome) -> ItemRecord:
        """The record behind an outcome."""
        kind = outcome.types[0]
        instruction = (
            HOSTILE if self.name == "hostile" else f"Name the capital of {PLACES[len(outcome.id) % 6]} and say why it is one."
        )
        runaway = "" if arm == "sft" else "\n\nInstruction: Name another one.\nResponse:"
        if self.name == "hostile":
            # one line of a megabyte each: plain, of wide characters, of characters without a width
            lines = {"fact-0001": HOSTILE + "x" * 1_000_000, "fact-0002": "漢" * 350_000, "fact-0003": "\u200b\u0301" * 250_000}
            instruction, runaway = lines.get(outcome.id, instruction), lines.get(outcome.id, runaway)
        return ItemRecord(
            id=outcome.id, types=outcome.types, instruction=instruction, prompt_sha256="0" * 64, token_ids=(5, 6, 7), text=outcome.preview + runaway,
            success=outcome.success, tokens=61, stop="end" if arm == "sft" else "length", batch="b" * 64,
            checks=(CheckOutcome(kind="contains" if kind == "fact" else "list", success=outcome.success, reason=outcome.reason or "holds"),),
        )  # fmt: skip


def _frozen(items: list[tuple[str, str]]) -> Preregistration:
    """What the default settings freeze, with safety and format guarded."""
    verdict = {**msgspec.to_builtins(Config().verdict), "guarded": ["safety", "format"]}
    return Preregistration(hash="ef" * 32, frozen=Frozen(
        held_out_sha256="ab" * 32, subset=0, subset_seed=0, item_ids=tuple(name for name, _ in items), checks_sha256="cd" * 32,
        scorer_version="0.1.0", primary_test="mcnemar_midp", verdict=verdict, decoding={}, gates={}, profile="stage1",
    ))  # fmt: skip


def _gates(faulty: bool) -> tuple[GateResult, ...]:
    passed = ("ok", "ok", "present")
    rows: list[tuple[str, str, str, str, str, str, str]] = [
        ("manifest", "hard", "pass", *passed, "session manifest and both QC summaries are whole"),
        ("integrity", "hard", "pass", "1,528 records", "1,528 records", "equal", "sha256 and record count agree"),
        ("provenance", "hard", "pass", "–", "1.000", "≥ 0.99", "all records have full metadata"),
        ("qc-pilot.acceptance", "hard", "pass", "91.0 %", "–", "≥ 50 %", "declared by the pilot's QC summary"),
        ("qc-scale.runaway", "hard", "pass", "1.2 %", "1.1 %", "< 5 %", "17 of 1,528 responses go on into a new prompt"),
        ("qc-scale.token-limit", "hard", "pass", "0.8 %", "0.7 %", "< 10 %", "from the raw generations of 1,528 records"),
        ("qc-scale.median-tokens", "hard", "pass", "18", "18", "< 40", "median of the final responses"),
        ("contamination-guards", "hard", "pass", "ok", "0 tokens", "0", "no chat-control token in any text"),
        ("leakage", "hard", "pass", "–", "0 items", "0", "no held-out item was found in train"),
        ("duplicates", "advisory", "fail", "–", "7.1 %", "≤ 5 %", "108 of 1,528 instructions are near copies of another"),
        ("held-out", "hard", "pass", "–", "486 items", "≥ 300", "every check compiles; guarded types have 84 and 90 items"),
        ("sentinels", "hard", "pending", "–", "at load", "all pass", "known once the model is loaded"),
        ("headroom", "advisory", "pending", "–", "after base arm", "–", "known once the base arm is done"),
    ]  # fmt: skip
    if faulty:
        rows[4] = (
            "qc-scale.runaway",
            "hard",
            "fail",
            "1.2 %",
            "6.4 %",
            "< 5 %",
            "98 of 1,528 responses go on into a new prompt; 1.2 % were declared",
        )
        rows[5] = (
            "qc-scale.token-limit",
            "hard",
            "undecided",
            "–",
            "no field",
            "< 10 %",
            "no record has its raw completion and none was declared",
        )
        rows[8] = ("leakage", "hard", "fail", "–", "3 items", "0", "3 held-out items share 8-grams with train records")
    return tuple(
        GateResult(id=i, severity=severity, status=status, declared=declared, measured=measured, threshold=threshold, reason=reason,
                   evidence=_evidence(i) if faulty and status == "fail" else (), evidence_total=3 if faulty and status == "fail" else 0)
        for i, severity, status, declared, measured, threshold, reason in rows
    )  # fmt: skip


def _evidence(gate: str) -> tuple[GateEvidence, ...]:
    text = "Name the river that flows through the old town of Varna and say where it ends in the sea."
    start = text.index("flows")
    return tuple(
        GateEvidence(
            record=f"held-out fact-{n:04d} × train record 88{n}, containment 0.83", text=text, spans=((start, start + 42),)
        )
        for n in (113, 207, 340)
    )


BASE = {"arithmetic": 0.22, "fact": 0.31, "format": 0.13, "list": 0.18, "safety": 0.70, "transform": 0.12}
GOOD = {"arithmetic": 0.81, "fact": 0.84, "format": 0.9, "list": 0.78, "safety": 0.94, "transform": 0.76}
WORSE = {**GOOD, "safety": 0.25}
FLAT = {**BASE, "fact": 0.34, "arithmetic": 0.25, "list": 0.21}


def make_scene(root: Path, name: str, *, gpu: bool = True) -> Scene:
    """One run folder in a workspace."""
    scene = Scene(root, name, gpu=gpu)
    scene.begin()
    if name == "blocked":
        scene.gates(faulty=True)
        scene.save(alive=False)
        return scene
    gates = scene.gates()
    scene.load("base")
    if name == "loading":
        scene.save(alive=True)
        return scene
    scene.arm("base", BASE, 0.4 if name == "base" else 1.0)
    if name == "base":
        scene.save(alive=True)
        return scene
    scene.load("train")
    scene.plan("mirror-graph", 1024, 81.6, recomputed=0, refused=("mirror-graph-2048", 141.0, "needs 141.0 of 138.2 GiB"))
    if name == "recovered":
        scene.train(360, 0.3)
        scene.say(
            ev.MemoryRanOut(stage="train", step=108, predicted_peak_bytes=int(82.9 * GIB), reason="another process took 60.2 GiB")
        )
        problem = "out of GPU memory after step 108"
        scene.say(ev.WorkerFailed(stage="train", problems=(problem,), exit_status=4, retry=True, out_of_memory=True))
        scene.say(
            ev.WorkerExited(pid=4500, stage="train", exit_status=4, log_tail=("torch.OutOfMemoryError: CUDA out of memory",))
        )
        scene.say(ev.WorkerRestarted(reason=problem, without_progress=1, limit=3))
        scene.load("train")
        scene.say(ev.Rewound(step=90))
        scene.plan(
            "mirror-graph-recompute", 512, 41.3, recomputed=32, refused=("mirror-graph", 81.6, "as much ran out of memory")
        )
        scene.train(360, 0.7, after=90)
    else:
        scene.train(360, {"training": 0.62, "interrupted": 0.62, "failed": 0.4}.get(name, 1.0))
    if name == "failed":
        log = ("step 143 loss 0.981 grad 0.42", "step 144 loss 0.938 grad 0.48", "loss is nan at step 145")
        scene.run.engine_log.write_text(
            "\n".join(("worker of stage train, pid 4500", *log, "\x1b[31mFloatingPointError\x1b[0m: nan"))
        )
        scene.say(ev.WorkerFailed(stage="train", problems=("loss is not finite at step 145",), exit_status=4))
        scene.say(ev.RunFailed(reason="loss is not finite at step 145", mend="lower train.lr (2e-4)", log_tail=log))
    elif name not in ("training", "interrupted", "recovered"):
        scene.load("sft")
        scene.arm("sft", {"no-go": WORSE, "inconclusive": FLAT}.get(name, GOOD), 0.55 if name == "sft" else 1.0)
        if name != "sft":
            scene.report(gates)
    scene.save(alive=name in ("training", "sft", "recovered"))
    return scene
