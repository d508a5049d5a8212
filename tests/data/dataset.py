"""A copy of the demo's data in a folder, to be spoilt one thing at a time and checked against every gate."""

import json
import shutil
from pathlib import Path

import engine.demo
from engine.data.gates import check_gates
from engine.protocol.config import Config, DataTable, EngineTable, ModelTable, RunTable

ASSETS = Path(engine.demo.__file__).parent / "assets"
MANIFESTS = ("qc_pilot", "qc_scale", "session_manifest")


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
        for name, rows in (("sft.jsonl", self.records), ("heldout.jsonl", self.items)):
            (self.folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    def edit(self, name, change):
        path = self.folder / f"{name}.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    def check(self, *, without=(), model=ASSETS / "model", overrides=(), **tables):
        paths = {name: "" if name in without else str(self.folder / f"{name}.json") for name in MANIFESTS}
        config = Config(
            model=ModelTable(path=str(model)),
            data=DataTable(train=str(self.folder / "sft.jsonl"), held_out=str(self.folder / "heldout.jsonl"), **paths),
            **{"engine": EngineTable(device="cpu"), **tables},
        )
        self.report = check_gates(config, emit=self.events.append, overrides=overrides)
        return {gate.id: gate for gate in self.report.gates}


EXTERNAL = {"run": RunTable(profile="external")}
GOOD = {"is_good": True, "confident": True}
