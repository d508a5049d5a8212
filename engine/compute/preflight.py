"""Preflight: whether the heaviest work of a stage is tried before it counts, which row that is, and what is told of it.

It refuses to leave a trace: who runs it puts everything back.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch

from engine.core.packing import RowPlan
from engine.protocol.config import EngineTable
from engine.protocol.events import PreflightMeasured, Stage
from engine.protocol.recoveries import Preflight
from engine.protocol.runs import RunFolder
from engine.store.run_plan import note_preflight


def wanted(settings: EngineTable, device: torch.device) -> bool:
    """True where engine.preflight asks for one; auto does so on a GPU."""
    return settings.preflight == "on" or (settings.preflight == "auto" and device.type == "cuda")


def heaviest_row(rows: Iterable[RowPlan]) -> RowPlan:
    """The row that needs most: the widest, of equals the one with most learnt tokens, as those have logits."""
    return max(rows, key=lambda row: (row.width, row.response_tokens))


@contextmanager
def randomness_kept(device: torch.device) -> Iterator[None]:
    """The random numbers that are drawn inside change none that are drawn after."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def told(run: RunFolder, stage: Stage, measured: Preflight) -> PreflightMeasured:
    """Keep the measurement in plan.json; the event that tells it."""
    note_preflight(run, stage, measured)
    return PreflightMeasured(
        what="train" if stage == "train" else "decode", tokens=measured.tokens,
        predicted_peak_bytes=measured.predicted_peak_bytes, measured_peak_bytes=measured.measured_peak_bytes,
        elapsed_s=measured.elapsed_s,
    )  # fmt: skip
