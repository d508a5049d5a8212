"""How the memory that is left can be spent: which layers are recomputed and which are mirrored, for rows of one width.

Recomputation frees memory for time, a mirror costs memory for time. It refuses to weigh anything but these two.
"""

from collections.abc import Callable, Iterator

from engine.core.planner.device import DeviceFigures
from engine.core.planner.memory import BF16_BYTES, FP32_BYTES
from engine.core.planner.shape import ModelShape
from engine.protocol.config import Config, PlanTable
from engine.protocol.errors import ConfigError

Peak = Callable[[int, int], int]
Seconds = Callable[[int, int], float]


def recomputable(settings: PlanTable, layers: int) -> range:
    """The numbers of recomputed layers that the settings allow.

    Raises: ConfigError for selective checkpointing of a model with one layer.
    """
    if settings.checkpointing == "selective" and layers < 2:
        raise ConfigError('plan.checkpointing is "selective" but the model has one layer only; take "auto", "none" or "full"')
    allowed = {"none": range(1), "full": range(layers, layers + 1), "selective": range(1, layers), "auto": range(layers + 1)}
    return allowed[settings.checkpointing]


HOST_SHARE = 0.25
"""Share of a CPU's free memory that mirrored weights may take."""


def mirrored_on_host(shape: ModelShape, device: DeviceFigures) -> int:
    """Layers mirrored on a CPU, where dequantising at every use costs most: all, where they take little of its memory."""
    dense = shape.layers * shape.layer_parameters * FP32_BYTES
    return shape.layers if shape.quantized and not shape.unknown and dense <= HOST_SHARE * device.free_bytes else 0


def mirrorable(settings: Config, shape: ModelShape, device: DeviceFigures) -> range:
    """The numbers of mirrored layers that settings, model and device allow.

    Raises: ConfigError where more layers are asked for than there are.
    """
    asked = settings.plan.mirror
    if device.kind == "cpu" and asked == "auto":
        return range(mirrored := mirrored_on_host(shape, device), mirrored + 1)
    if asked in ("auto", "none") or shape.unknown or (device.kind == "cpu" and not shape.quantized):
        possible = shape.quantized and asked == "auto" and element_bytes(settings, device) == BF16_BYTES
        return range(shape.layers + 1) if possible and not shape.unknown else range(1)
    number = shape.layers if asked == "full" else int(asked)
    if number > shape.layers:
        raise ConfigError(f"plan.mirror is {number} but the model has {shape.layers} layers; take that many at most, or full")
    return range(number, number + 1)


def element_bytes(settings: Config, device: DeviceFigures) -> int:
    """Bytes of one element of the arithmetic: `auto` is fp32 on a CPU and bf16 elsewhere."""
    asked = settings.model.compute_dtype
    return FP32_BYTES if asked == "float32" or (asked == "auto" and device.kind == "cpu") else BF16_BYTES


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
