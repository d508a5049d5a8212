"""Device, arithmetic and threads of a worker.

Everything that changes the last bits is fixed here: threads, deterministic algorithms, the dtype of the arithmetic. It refuses to
fall back in silence: a GPU that was asked for and is not there is an error.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from engine.protocol.config import Config
from engine.protocol.errors import EngineError

MOST_THREADS = 8


def _physical_cores(allowed: set[int]) -> int:
    siblings = set()
    for core in allowed:
        try:
            siblings.add(Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list").read_text())
        except OSError:
            siblings.add(str(core))
    return len(siblings)


def _quota_cores() -> int | None:
    """Cores that the container's CPU quota amounts to, rounded up; None without a quota."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if quota == "max" else max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        return None


def cpu_threads(asked: int) -> int:
    """Threads of the arithmetic: `asked`, or where that is 0 the physical cores this process may use, at most 8."""
    if asked:
        return asked
    cores = _physical_cores(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1)))
    return max(1, min(cores, _quota_cores() or cores, MOST_THREADS))


def choose_device(asked: str) -> torch.device:
    """The device of the run; auto is the first GPU where one is visible (CUDA or ROCm).

    Raises: EngineError where cuda was asked for and torch sees no GPU.
    """
    seen = torch.cuda.is_available()
    if asked == "cuda" and not seen:
        raise EngineError(
            "engine.device is cuda, but torch sees no GPU; check the driver and CUDA_VISIBLE_DEVICES, or set engine.device = 'auto'"
        )
    return torch.device("cuda", 0) if seen and asked != "cpu" else torch.device("cpu")


def choose_dtype(asked: str, device: torch.device) -> torch.dtype:
    """The dtype of the arithmetic; auto is bfloat16 on a GPU that has it and float32 elsewhere."""
    if asked == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if asked == "bfloat16" else torch.float32


def configure_torch(config: Config) -> torch.device:
    """Fix threads, determinism and the seed of this process, and return the device of the run. To be called before the GPU is used.

    Deterministic algorithms are asked for with a warning where there is none, so on a GPU the attention's backward pass keeps its
    fast kernel; with `engine.deterministic` it takes the one that repeats itself, and an operation that has none is an error.
    """
    torch.set_num_threads(cpu_threads(config.engine.threads))
    device = choose_device(config.engine.device)
    exact = repeats_exactly(config, device)
    if exact:
        # cuBLAS splits its work by the workspace it finds; read when its first handle is made (hipBLAS has no such thing)
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=not exact)
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False
    if device.type == "cuda":
        torch.cuda.set_device(device)
    torch.manual_seed(config.run.seed)
    return device


@contextmanager
def unsorted() -> Iterator[None]:
    """Inside, indexed writes take their direct kernels: torch's deterministic ones sort the places first, some 20 launches on a GPU.

    For writes whose places are all different, which give the same bits either way.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def repeats_exactly(config: Config, device: torch.device) -> bool:
    """True where the GPU must give the same bits every time. A CPU does so by itself, as its threads are fixed."""
    return config.engine.deterministic and device.type == "cuda"


def device_name(device: torch.device) -> str:
    """What people call the device: the GPU's name, or the CPU with its threads."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    threads = torch.get_num_threads()
    return f"CPU ({threads} thread{'s' if threads > 1 else ''})"
