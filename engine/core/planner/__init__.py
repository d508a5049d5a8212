"""The planner: predicts time and peak memory of the ways to carry out a run, and chooses the fastest that fits.

Pure: sizes in, predictions out. It refuses to look at a device, a model's weights or a text.
"""

from engine.core.planner.choice import candidates, choose, forced_settings, plain_plan, usable_bytes
from engine.core.planner.decoding import DecodingWork, choose_decoding, decoding_bytes
from engine.core.planner.device import CONTEXT_BYTES, DeviceFigures, cpu_figures, gpu_figures
from engine.core.planner.memory import peak_of_row, weight_bytes
from engine.core.planner.shape import ModelShape
from engine.core.planner.timing import row_seconds
from engine.core.planner.workload import Workload

__all__ = [
    "CONTEXT_BYTES", "DecodingWork", "DeviceFigures", "ModelShape", "Workload", "candidates", "choose", "choose_decoding", "cpu_figures", "decoding_bytes", "forced_settings", "gpu_figures",
    "peak_of_row", "plain_plan", "row_seconds", "usable_bytes", "weight_bytes",
]  # fmt: skip
