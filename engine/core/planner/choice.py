"""The plans that could carry out a run on a device, each with its predicted time and memory, and the choice among them.

The fastest that fits is taken. What a setting forces is honoured, whatever it costs. It refuses to choose a plan that needs 95% of
what has run out of memory before. On a CPU there is one plan only, so that results stay the same to the bit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import msgspec

from engine.core.packing import row_width
from engine.core.planner.device import GIB, DeviceFigures
from engine.core.planner.memory import BF16_BYTES, peak_of_reading, peak_of_row
from engine.core.planner.shape import ModelShape
from engine.core.planner.spending import element_bytes, mirrorable, recomputable, spendings
from engine.core.planner.timing import optimizer_seconds, row_seconds
from engine.core.planner.workload import (
    GPU_MULTIPLE,
    RowWidths,
    Workload,
    bucket_widths,
    dev_row_tokens,
    packed_widths,
    row_limits,
)
from engine.protocol.config import Config
from engine.protocol.errors import ConfigError
from engine.protocol.plans import ComputePlan, PlanEstimate

LOSS_CHUNK_TOKENS = 512
"""Positions whose logits are held at once on a GPU: 1.1 GB of a vocabulary of 152,064 at the peak."""

AS_MUCH = 0.95
"""A plan that needs this share of what ran out of memory is taken to run out as well."""

PLAIN = "plain"
_FORCED = {
    "plan": ("checkpointing", "mirror", "compile", "graph", "attention", "adapters", "margin"),
    "train": ("row_tokens", "optimizer"),
}


def forced_settings(settings: Config) -> tuple[str, ...]:
    """`table.key = value` of every choice that the settings take out of the planner's hands."""
    default = Config()
    return tuple(
        f"{table}.{key} = {value}"
        for table, keys in _FORCED.items()
        for key in keys
        if (value := getattr(getattr(settings, table), key)) != getattr(getattr(default, table), key)
    )


def usable_bytes(device: DeviceFigures, settings: Config) -> int:
    """What a plan's peak may be: the free memory less the margin, a share of all of the device's memory."""
    return int(device.free_bytes - settings.plan.margin * device.total_bytes)


def candidates(
    shape: ModelShape, workload: Workload, device: DeviceFigures, settings: Config, *, failed_peaks: Sequence[int] = ()
) -> tuple[PlanEstimate, ...]:
    """Every plan worth a look, fastest first; `refused` says why one may not be taken.

    `failed_peaks` are the predicted peaks of plans that ran out of memory. The plan of a CPU, and that of a model whose shape is not
    known (predicted as 0 s and 0 bytes), is the plain one; there is no other, so that it is taken again where it ran out.

    Raises: ConfigError where a forced choice cannot be carried out.
    """
    refuse_impossible(shape, device.kind, settings)
    if device.kind == "cpu" or shape.unknown:
        return (_only_plan(shape, workload, device, settings),)
    planner = _Planner(shape, workload, device, settings, tuple(failed_peaks))
    found = {estimate.plan: estimate for estimate in planner.estimates()}
    return tuple(sorted(found.values(), key=_rank))


def _rank(estimate: PlanEstimate) -> tuple[float, int, bool, bool]:
    """Faster first; of equals what needs less memory, then what leaves less to the host."""
    return estimate.step_s, estimate.peak_bytes, not estimate.plan.graph, not estimate.plan.compiled


def choose(estimates: Sequence[PlanEstimate]) -> PlanEstimate:
    """The first plan that may be taken.

    Raises: ConfigError, with what to change, where there is none.
    """
    for estimate in estimates:
        if not estimate.refused:
            return estimate
    least = min(estimates, key=lambda estimate: estimate.peak_bytes)
    raise ConfigError(
        f"no plan for training fits this device: the one that needs least ({least.name}) {least.refused}; leave [plan] to auto, lower "
        'train.max_seq_len or train.lora_rank, set train.optimizer = "paged_adamw_8bit", free the GPU, or take one with more memory'
    )


def budget_bytes(device: DeviceFigures, settings: Config, failed_peaks: Sequence[int]) -> int:
    """What a plan may take: what is usable, and less than 95% of what any plan was predicted to take that ran out of memory."""
    return min((usable_bytes(device, settings), *(int(AS_MUCH * peak) - 1 for peak in failed_peaks)))


def still_fits(estimate: PlanEstimate, device: DeviceFigures, settings: Config, *, failed_peaks: Sequence[int] = ()) -> bool:
    """Whether a plan that was chosen before may be taken again: it fits what is free now, and nothing like it ran out of memory."""
    lost = any(estimate.peak_bytes >= AS_MUCH * peak for peak in failed_peaks)
    return not lost and (device.kind == "cpu" or 0 < estimate.peak_bytes <= usable_bytes(device, settings))


def plain_plan(settings: Config) -> ComputePlan:
    """The plan without any fast path, which works everywhere."""
    return ComputePlan(row_tokens=max(settings.train.row_tokens, settings.train.max_seq_len))


@dataclass(frozen=True)
class _Planner:
    """One call of `candidates` for a GPU and a known shape."""

    shape: ModelShape
    workload: Workload
    device: DeviceFigures
    settings: Config
    failed_peaks: tuple[int, ...]

    def estimates(self) -> Iterator[PlanEstimate]:
        rows = [packed_widths(self.workload, limit) for limit in self._row_limits()]
        for widths, plan in product(rows, self._kernels()):
            yield from self._spent(msgspec.structs.replace(plan, row_tokens=widths.row_tokens), widths)
        if not any(name.startswith("plan.") for name in forced_settings(self.settings)):
            plan = plain_plan(self.settings)
            yield self._estimate(plan, packed_widths(self.workload, plan.row_tokens), PLAIN)

    @property
    def _bf16(self) -> bool:
        return element_bytes(self.settings, self.device) == BF16_BYTES

    def _row_limits(self) -> tuple[int, ...]:
        limits = row_limits(self.workload)
        if not self.settings.train.row_tokens:
            return limits
        asked = -(-plain_plan(self.settings).row_tokens // GPU_MULTIPLE) * GPU_MULTIPLE
        return (min(max(asked, limits[-1]), limits[0]),)

    def _kernels(self) -> Iterator[ComputePlan]:
        """The plans' other parts, without rows: what is forced, else the fast path and, beside it, life without."""
        plan, fast = self.settings.plan, self._bf16 and self.device.kind == "cuda"
        attention = plan.attention if plan.attention != "auto" else "varlen" if fast and self.shape.own_attention else "masked"
        adapters = plan.adapters if plan.adapters != "auto" else "bfloat16" if self._bf16 else "float32"
        for compiled, graph in product(_choices(plan.compile, fast), _choices(plan.graph, fast)):
            yield ComputePlan(
                row_tokens=0, compiled=compiled, graph=graph, attention=attention, adapter_dtype=adapters,
                loss_chunk_tokens=LOSS_CHUNK_TOKENS if self.shape.own_attention else 0,
            )  # fmt: skip

    def _spent(self, base: ComputePlan, widths: RowWidths) -> Iterator[PlanEstimate]:
        base = msgspec.structs.replace(base, buckets=bucket_widths(widths.counts, widths.row_tokens, share=widths.share))

        def spent(recomputed: int, mirrored: int) -> ComputePlan:
            return msgspec.structs.replace(base, recomputed_layers=recomputed, mirrored_layers=mirrored)

        pairs = spendings(
            recomputable(self.settings.plan, self.shape.layers), mirrorable(self.settings, self.shape, self.device),
            peak=lambda recomputed, mirrored: self._peak(spent(recomputed, mirrored)),
            seconds=lambda recomputed, mirrored: row_seconds(self.shape, spent(recomputed, mirrored), base.row_tokens, self.device),
            budget=self._budget,
        )  # fmt: skip
        for pair in pairs:
            plan = spent(*pair)
            yield self._estimate(plan, widths, _name(plan, self.shape))

    def _estimate(self, plan: ComputePlan, widths: RowWidths, name: str) -> PlanEstimate:
        peak = self._peak(plan)
        step_s = mean_step_seconds(self.shape, plan, widths, self.device)
        return PlanEstimate(name=name, plan=plan, step_s=step_s, peak_bytes=peak, refused=self._refusal(peak))

    def _peak(self, plan: ComputePlan) -> int:
        return _peak(self.shape, plan, plan.row_tokens, self.workload, self.device, self.settings)

    @property
    def _budget(self) -> int:
        return budget_bytes(self.device, self.settings, self.failed_peaks)

    def _refusal(self, peak: int) -> str:
        usable = usable_bytes(self.device, self.settings)
        if peak > usable:
            return f"needs {peak / GIB:.1f} GiB and {max(0, usable) / GIB:.1f} GiB may be used"
        if peak > self._budget:
            return f"needs {peak / GIB:.1f} GiB and a plan that needed {min(self.failed_peaks) / GIB:.1f} GiB ran out of memory"
        return ""


def mean_step_seconds(shape: ModelShape, plan: ComputePlan, widths: RowWidths, device: DeviceFigures) -> float:
    """Seconds of the mean optimizer step: all rows of the steps looked at, padded as the plan pads, and the optimizer."""
    rows = sum(widths.counts.values())
    if not rows or shape.unknown:
        return 0.0
    times: dict[int, float] = {}
    total = 0.0
    for tokens, count in widths.counts.items():
        width = row_width(tokens, plan.row_tokens, plan.buckets)
        if width not in times:
            times[width] = row_seconds(shape, plan, width, device)
        total += count * times[width]
    return total / rows * widths.rows_per_step + optimizer_seconds(shape, device)


def _peak(
    shape: ModelShape, plan: ComputePlan, row_tokens: int, workload: Workload, device: DeviceFigures, settings: Config
) -> int:
    """Bytes at most in training: in the step of a row of `row_tokens`, or between steps, where the dev loss is read."""
    optimizer, width = settings.train.optimizer, element_bytes(settings, device)
    step = peak_of_row(shape, plan, row_tokens, optimizer=optimizer, element_bytes=width)
    read = min(sum(workload.dev), dev_row_tokens(plan))
    return max(step, peak_of_reading(shape, plan, read, optimizer=optimizer, element_bytes=width))


def _only_plan(shape: ModelShape, workload: Workload, device: DeviceFigures, settings: Config) -> PlanEstimate:
    plan = plain_plan(settings)
    if device.kind == "cpu":
        plan = msgspec.structs.replace(plan, mirrored_layers=mirrorable(settings, shape, device)[-1])
    widths = packed_widths(workload, plan.row_tokens)
    widest = max((row_width(tokens, plan.row_tokens) for tokens in widths.counts), default=plan.row_tokens)
    peak = _peak(shape, plan, widest, workload, device, settings)
    step_s = mean_step_seconds(shape, plan, widths, device)
    why = f" ({shape.unknown}: nothing can be predicted)" if shape.unknown else ""
    return PlanEstimate(name=f"{PLAIN}{why}", plan=plan, step_s=step_s, peak_bytes=peak, refused="")


def refuse_impossible(shape: ModelShape, device_kind: str, settings: Config) -> None:
    """Raises: ConfigError with every setting that such a device or model cannot carry out, where it would be ignored or fail later."""
    on_cpu, problems = device_kind == "cpu", []
    if on_cpu or shape.unknown:
        why = f"of this model ({shape.unknown})" if shape.unknown else "on a CPU"
        plain = {"checkpointing": "none", "compile": "off", "graph": "off", "attention": "masked", "adapters": "float32"}
        # a CPU mirrors as well
        plain |= {} if on_cpu and shape.quantized and not shape.unknown else {"mirror": "none"}
        problems = [
            f'plan.{key} is {value!r}, and {why} there is the plain plan only; take "auto" or "{only}"'
            for key, only in plain.items()
            if (value := getattr(settings.plan, key)) not in ("auto", only, 0)
        ]
    if on_cpu and settings.train.optimizer == "paged_adamw_8bit":
        problems.append("train.optimizer is 'paged_adamw_8bit', which needs a GPU; set it to 'adamw'")
    if problems:
        raise ConfigError(*problems)


def _choices(asked: str, possible: bool) -> tuple[bool, ...]:
    if asked != "auto":
        return (asked == "on",)
    return (True, False) if possible else (False,)


def _name(plan: ComputePlan, shape: ModelShape) -> str:
    kernels = [word for word, on in (("compiled", plan.compiled), ("graph", plan.graph)) if on]
    parts = [f"rows of {plan.row_tokens}"]
    parts += [f"mirror {plan.mirrored_layers}/{shape.layers}"] if shape.quantized else []
    parts += [f"recompute {plan.recomputed_layers}/{shape.layers}", " ".join(kernels) or "eager"]
    return ", ".join(parts)
