"""What a device can do: memory, matrix rate, memory traffic.

Figures of named cards are what real work reaches, not the data sheet's. It refuses to look at the machine: that is the caller's part.
"""

from typing import Literal

import msgspec

DeviceKind = Literal["cuda", "rocm", "cpu"]
GIB = 2**30

CONTEXT_BYTES = 700 << 20
"""What a process takes of a card before its first tensor: CUDA context, kernels, cuBLAS workspaces (0.5 to 0.7 GiB on Hopper)."""


class DeviceFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One device. `free_bytes` is what this process may still take, its context already made. `matrix_tflops` is the bf16 rate that large
    matrix products reach (fp32 on a CPU), `bandwidth_gb_s` the memory traffic that large copies reach (10⁹ bytes a second)."""

    total_bytes: int
    free_bytes: int
    matrix_tflops: float
    bandwidth_gb_s: float
    kind: DeviceKind = "cuda"
    name: str = ""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """A known card: what its driver's name contains, and its figures as in `DeviceFigures`."""

    mark: str
    vram_gib: int
    matrix_tflops: float
    bandwidth_gb_s: float


# H200: measured (shared reference run, 791 TFLOP/s and 4.3 TB/s). The others: their data sheets times what the H200 reached of its own,
# 0.80 of 989 dense bf16 TFLOP/s and 0.90 of 4.8 TB/s; ordered so that the first mark found in a name is the right one.
CARDS = (
    Card(mark="H200", vram_gib=141, matrix_tflops=791.0, bandwidth_gb_s=4300.0),
    Card(mark="H100", vram_gib=80, matrix_tflops=791.0, bandwidth_gb_s=3000.0),
    Card(mark="A100", vram_gib=80, matrix_tflops=250.0, bandwidth_gb_s=1830.0),
    Card(mark="L40S", vram_gib=48, matrix_tflops=290.0, bandwidth_gb_s=778.0),
    Card(mark="RTX 4090", vram_gib=24, matrix_tflops=132.0, bandwidth_gb_s=907.0),
)

CPU_TFLOPS = 0.046
"""fp32 on 2 cores: 3,600 tokens/s of the demo's model (3.2 M linear parameters, 4 FLOPs a parameter and token)."""

CPU_BANDWIDTH_GB_S = 20.0


def card_named(name: str) -> Card | None:
    """The known card whose mark stands in a driver's name for it."""
    return next((card for card in CARDS if card.mark.lower() in name.lower()), None)


def card_of_size(total_bytes: int) -> Card:
    """The slowest known card with at least this much memory, the largest where none has: a careful guess from memory alone."""
    fitting = [card for card in CARDS if card.vram_gib * GIB >= total_bytes]
    return min(fitting, key=lambda card: (card.vram_gib, card.matrix_tflops)) if fitting else CARDS[0]


def gpu_figures(*, total_bytes: int, free_bytes: int, name: str = "", kind: DeviceKind = "cuda") -> DeviceFigures:
    """Figures of a GPU by its name, or by its memory where the name is not known."""
    card = card_named(name) or card_of_size(total_bytes)
    return DeviceFigures(
        total_bytes=total_bytes, free_bytes=free_bytes, matrix_tflops=card.matrix_tflops, bandwidth_gb_s=card.bandwidth_gb_s,
        kind=kind, name=name or f"a card like {card.mark}",
    )  # fmt: skip


def cpu_figures(*, total_bytes: int, free_bytes: int) -> DeviceFigures:
    """Figures of a CPU: those of the 2 cores that were measured, so times are rough."""
    return DeviceFigures(
        total_bytes=total_bytes, free_bytes=free_bytes, matrix_tflops=CPU_TFLOPS, bandwidth_gb_s=CPU_BANDWIDTH_GB_S, kind="cpu",
        name="CPU",
    )  # fmt: skip
