"""Memory figures of this process and of its GPU, and the forecast for the rows still to come; cheap enough for every step.

Everything that asks a device is in `DeviceGauge`; on ROCm torch answers under the same names, and NVML is asked where it is installed.
It refuses to guess: what the platform does not tell is None.
"""

import os
import resource
import sys
from pathlib import Path
from typing import NamedTuple, Protocol

import torch

from engine.core.memory_forecast import PeakFit, Reading, forecast, own_context
from engine.protocol.events import Memory

_STATM = Path("/proc/self/statm")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def rss_bytes() -> int:
    """Resident memory of this process now; where /proc is missing the peak instead."""
    try:
        return int(_STATM.read_bytes().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Figures(NamedTuple):
    """What the device says, in bytes; `peak` is the most that was allocated since the last `reset_peak`."""

    allocated: int
    reserved: int
    peak: int
    device_used: int
    device_total: int


class Gauge(Protocol):
    """A device's memory as `MemoryWatch` sees it."""

    def figures(self) -> Figures | None:
        """The figures now; None for a device that has none."""

    def reset_peak(self) -> None:
        """Begin a new peak."""

    def own_bytes(self) -> int | None:
        """What the driver says this process holds of the card, None where it does not say."""

    def limit_bytes(self) -> int | None:
        """The cap of torch's allocator, None without one."""


class DeviceGauge:
    """The gauge of a torch device; a CPU has no figures."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._cuda = device, device.type == "cuda"

    def figures(self) -> Figures | None:
        """See Gauge."""
        if not self._cuda:
            return None
        free, total = torch.cuda.mem_get_info(self._device)
        # one call for all of them: each of torch's single figures builds the whole table anew
        stats = torch.cuda.memory_stats_as_nested_dict(self._device)
        allocated, reserved = (stats.get(name, {}).get("all", {}) for name in ("allocated_bytes", "reserved_bytes"))
        return Figures(
            allocated.get("current", 0), reserved.get("current", 0), allocated.get("peak", 0), total - free, total
        )  # fmt: skip

    def reset_peak(self) -> None:
        """See Gauge."""
        if self._cuda:
            torch.cuda.reset_peak_memory_stats(self._device)

    def own_bytes(self) -> int | None:
        """See Gauge; needs the `gpu` extra and a driver that sees this container's process ids."""
        if not self._cuda or torch.version.hip is not None:
            return None
        try:
            import pynvml
        except ImportError:
            return None
        try:
            pynvml.nvmlInit()
            uuid = str(torch.cuda.get_device_properties(self._device).uuid)
            handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid.removeprefix('GPU-')}")
            found = [one.usedGpuMemory for one in pynvml.nvmlDeviceGetComputeRunningProcesses(handle) if one.pid == os.getpid()]
        except (pynvml.NVMLError, AttributeError):
            return None
        return int(found[0]) if found and found[0] else None

    def limit_bytes(self) -> int | None:
        """See Gauge."""
        # since torch 2.9
        share_of = getattr(torch.cuda, "get_per_process_memory_fraction", None) if self._cuda else None
        if share_of is None:
            return None
        share = float(share_of(self._device))
        return None if share >= 1 else int(share * torch.cuda.mem_get_info(self._device)[1])


def memory_now(device: torch.device) -> Memory:
    """Memory at this moment; on a GPU also what torch allocated and reserved, and what every process together uses on the card."""
    found = DeviceGauge(device).figures()
    if found is None:
        return Memory(rss_bytes=rss_bytes())
    return Memory(
        rss_bytes=rss_bytes(), allocated_bytes=found.allocated, reserved_bytes=found.reserved, peak_allocated_bytes=found.peak,
        device_used_bytes=found.device_used, device_total_bytes=found.device_total,
    )  # fmt: skip


class MemoryWatch:
    """Watches the memory of training: peaks by row width as they are measured, and from them what is still to come.

    `bytes_per_token` is the planner's slope of the peak over the row's width, None where it has none.
    """

    def __init__(self, gauge: Gauge, bytes_per_token: float | None = None) -> None:
        self._gauge, self._fit = gauge, PeakFit(bytes_per_token)
        self._peak = 0
        first = gauge.figures()
        self._context = 0 if first is None else own_context(first.device_used, first.reserved, gauge.own_bytes())
        self._limit = gauge.limit_bytes()

    @property
    def peak_bytes(self) -> int | None:
        """The most that was allocated at once since this watch began, None where the device tells nothing."""
        found = self._gauge.figures()
        return None if found is None else max(self._peak, found.peak)

    def begin(self) -> None:
        """A step begins: its peak is its own."""
        found = self._gauge.figures()
        if found is not None:
            self._peak = max(self._peak, found.peak)
            self._gauge.reset_peak()

    def measured(self, width: int) -> int | None:
        """The step is over, its widest row had `width` tokens; its peak, where the device tells one."""
        found = self._gauge.figures()
        if found is None:
            return None
        self._take(found, width)
        return found.peak

    def after_step(self, width: int, largest_to_come: int | None) -> Memory:
        """Memory after a step whose widest row had `width` tokens, with the forecast for the largest row still to come."""
        found = self._gauge.figures()
        if found is None:
            return Memory(rss_bytes=rss_bytes())
        self._take(found, width)
        reading = Reading(
            found.allocated, found.reserved, self._peak, found.device_used, found.device_total, self._context, self._limit
        )
        shown = Memory(
            rss_bytes=rss_bytes(), allocated_bytes=found.allocated, reserved_bytes=found.reserved, peak_allocated_bytes=self._peak,
            device_used_bytes=found.device_used, device_total_bytes=found.device_total,
            fragmentation_bytes=reading.fragmentation, others_bytes=reading.others or None,
        )  # fmt: skip
        predicted = None if largest_to_come is None else self._fit.peak(largest_to_come)
        return (
            shown if largest_to_come is None or predicted is None else _with_forecast(shown, reading, predicted, largest_to_come)
        )

    def _take(self, found: Figures, width: int) -> None:
        self._peak = max(self._peak, found.peak)
        self._fit.measured(width, found.peak, found.allocated)


def _with_forecast(shown: Memory, reading: Reading, predicted: int, largest_to_come: int) -> Memory:
    coming = forecast(reading, predicted, largest_to_come)
    return Memory(
        rss_bytes=shown.rss_bytes, allocated_bytes=shown.allocated_bytes, reserved_bytes=shown.reserved_bytes,
        peak_allocated_bytes=shown.peak_allocated_bytes, device_used_bytes=shown.device_used_bytes,
        device_total_bytes=shown.device_total_bytes, fragmentation_bytes=shown.fragmentation_bytes, others_bytes=shown.others_bytes,
        predicted_peak_bytes=coming.predicted_peak, headroom_bytes=coming.headroom, risk=coming.risk, risk_reason=coming.reason,
        largest_row_tokens=largest_to_come,
    )  # fmt: skip
