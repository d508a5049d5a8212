"""A copy of the demo's data in a folder, to be spoilt one thing at a time and checked against every gate."""

import hashlib
import json
import shutil
from pathlib import Path

import engine.demo
from engine.data.gates import check_gates
from engine.data.inputs import count_tokens
from engine.data.tokens import RunTokenizer, TextSample
from engine.protocol.config import Config, DataTable, EngineTable, ModelTable, RunTable

ASSETS = Path(engine.demo.__file__).parent / "assets"
MANIFESTS = ("qc_pilot", "qc_scale", "session_manifest")


def write(path, rows):
    """JSONL."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


class Dataset:
    """A copy of the demo's data in a folder, to be spoilt one thing at a time."""

    def __init__(self, folder, source=ASSETS):
        self.folder = folder
        for name in ("sft.jsonl", "qc_pilot.json", "qc_scale.json", "session_manifest.json"):
            shutil.copy(source / name, folder / name)
        shutil.copy(ASSETS / "heldout.jsonl", folder / "heldout.jsonl")
        self.records = [json.loads(line) for line in (folder / "sft.jsonl").read_text().splitlines()]
        self.items = [json.loads(line) for line in (folder / "heldout.jsonl").read_text().splitlines()]
        self.events = []

    def write(self):
        write(self.folder / "sft.jsonl", self.records)
        write(self.folder / "heldout.jsonl", self.items)

    def edit(self, name, change):
        path = self.folder / f"{name}.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    def shorten(self, records):
        """The first of the records only, with manifests that declare these."""
        del self.records[records:]
        self.write()
        self.declare()

    def declare(self):
        """Makes the manifests tell the truth about the records as they are in the file."""
        path, sample = self.folder / "sft.jsonl", TextSample(0)
        for record in self.records:
            sample.offer(record["id"], (record["instruction"], record["response"]))
        counts = count_tokens(RunTokenizer.load(str(ASSETS / "model")), sample, 1024)
        stats = {"median": counts.median, "mean": counts.mean, "p95": counts.bounds("p95")[0]}
        sha256, number = hashlib.sha256(path.read_bytes()).hexdigest(), len(self.records)
        self.edit("qc_scale", lambda content: (content["counts"].update(kept=number), content.update(token_stats=stats)))
        artifact = {"path": "sft.jsonl", "sha256": sha256, "records": number}
        self.edit("session_manifest", lambda content: content.update(artifacts_generated=[artifact]))

    def check(self, *, without=(), model=ASSETS / "model", overrides=(), **tables):
        paths = {name: "" if name in without else str(self.folder / f"{name}.json") for name in MANIFESTS}
        config = Config(
            model=model if isinstance(model, ModelTable) else ModelTable(path=str(model)),
            data=DataTable(train=str(self.folder / "sft.jsonl"), held_out=str(self.folder / "heldout.jsonl"), **paths),
            **{"engine": EngineTable(device="cpu"), **tables},
        )
        self.report = check_gates(config, emit=self.events.append, overrides=overrides)
        return {gate.id: gate for gate in self.report.gates}


EXTERNAL = {"run": RunTable(profile="external")}
GOOD = {"is_good": True, "confident": True}
