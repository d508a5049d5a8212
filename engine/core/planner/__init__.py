"""The planner: predicts time and peak memory of the ways to carry out a run, and chooses the fastest that fits.

Pure: sizes in, predictions out. It refuses to look at a device, a model's weights or a text.
"""

from engine.core.planner.choice import (
    budget_bytes,
    candidates,
    choose,
    forced_settings,
    plain_plan,
    refuse_impossible,
    still_fits,
    usable_bytes,
)
from engine.core.planner.decoding import DecodingEstimate, cache_columns, decoding_estimate, decoding_peak, decoding_plan
from engine.core.planner.device import CONTEXT_BYTES, DeviceFigures, cpu_figures, gpu_figures
from engine.core.planner.disk import COPY_ROOM, quantised_copy_bytes, run_bytes
from engine.core.planner.memory import peak_of_reading, peak_of_row, weight_bytes
from engine.core.planner.shape import JOINED_ALIGNED, SHARED_INPUTS, ModelShape
from engine.core.planner.spending import element_bytes, mirrorable
from engine.core.planner.timing import row_seconds
from engine.core.planner.workload import Workload, dev_row_tokens

__all__ = [
    "CONTEXT_BYTES", "COPY_ROOM", "JOINED_ALIGNED", "SHARED_INPUTS", "DecodingEstimate", "DeviceFigures", "ModelShape", "Workload", "budget_bytes", "cache_columns", "candidates", "choose", "cpu_figures",
    "decoding_estimate", "decoding_peak", "decoding_plan", "dev_row_tokens", "element_bytes", "forced_settings", "gpu_figures", "mirrorable", "peak_of_reading", "peak_of_row", "plain_plan", "quantised_copy_bytes",
    "refuse_impossible", "row_seconds", "run_bytes", "still_fits", "usable_bytes", "weight_bytes",
]  # fmt: skip
