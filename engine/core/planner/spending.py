"""How the memory that is left can be spent: which layers are recomputed and which are mirrored, for rows of one width.

Recomputation frees memory for time, a mirror costs memory for time. It refuses to weigh anything but these two.
"""

from collections.abc import Callable, Iterator

from engine.core.planner.device import DeviceFigures
from engine.core.planner.memory import FP32_BYTES
from engine.core.planner.shape import ModelShape
from engine.protocol.config import PlanTable
from engine.protocol.errors import ConfigError

Peak = Callable[[int, int], int]
Seconds = Callable[[int, int], float]


HOST_SHARE = 0.25
"""Share of a CPU's free memory that mirrored weights may take."""


def mirrored_on_host(shape: ModelShape, device: DeviceFigures) -> int:
    """Layers mirrored on a CPU, where dequantising at every use costs most: all, where they take little of its memory."""
    dense = shape.layers * shape.layer_parameters * FP32_BYTES
    return shape.layers if shape.quantized and not shape.unknown and dense <= HOST_SHARE * device.free_bytes else 0


def recomputable(settings: PlanTable, layers: int) -> range:
    """The numbers of recomputed layers that the settings allow.

    Raises: ConfigError for selective checkpointing of a model with one layer.
    """
    if settings.checkpointing == "selective" and layers < 2:
        raise ConfigError('plan.checkpointing is "selective" but the model has one layer only; take "auto", "none" or "full"')
    allowed = {"none": range(1), "full": range(layers, layers + 1), "selective": range(1, layers), "auto": range(layers + 1)}
    return allowed[settings.checkpointing]


def mirrorable(settings: PlanTable, shape: ModelShape, *, bf16: bool) -> range:
    """The numbers of mirrored layers that the settings allow.

    Raises: ConfigError where more layers are asked for than there are.
    """
    if settings.mirror in ("auto", "none"):
        possible = shape.quantized and bf16 and settings.mirror == "auto"
        return range(shape.layers + 1) if possible else range(1)
    number = shape.layers if settings.mirror == "full" else int(settings.mirror)
    if number > shape.layers:
        raise ConfigError(f"plan.mirror is {number} but the model has {shape.layers} layers; take that many at most, or full")
    return range(number, number + 1)


def spendings(recomputed: range, mirrored: range, *, peak: Peak, seconds: Seconds, budget: int) -> list[tuple[int, int]]:
    """(recomputed, mirrored) layers worth a look: the four extremes, and the fastest that `budget` bytes allow."""
    extremes = [(one, other) for one in (recomputed[0], recomputed[-1]) for other in (mirrored[-1], mirrored[0])]
    fitting = list(_fitting(recomputed, mirrored, peak=peak, budget=budget))
    best = [min(fitting, key=lambda pair: (seconds(*pair), pair))] if fitting else []
    return list(dict.fromkeys(best + extremes))


def _fitting(recomputed: range, mirrored: range, *, peak: Peak, budget: int) -> Iterator[tuple[int, int]]:
    """For each number of mirrored layers the fewest recomputed layers that fit (memory falls as they become more)."""
    for mirror in mirrored:
        low, high = 0, len(recomputed)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if peak(recomputed[middle], mirror) <= budget else (middle + 1, high)
        if low < len(recomputed):
            yield recomputed[low], mirror
