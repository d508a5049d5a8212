"""Which exceptions are the device's memory running out."""

import pytest

from engine.core.out_of_memory import is_out_of_memory
from engine.protocol.errors import EngineError, MemoryRanOutError


def named(name: str, text: str, base: type[Exception] = RuntimeError) -> Exception:
    error: Exception = type(name, (base,), {})(text)
    return error


@pytest.mark.parametrize(
    "error",
    [
        named("OutOfMemoryError", "CUDA out of memory. Tried to allocate 20.00 MiB"),
        named("OutOfMemoryError", "HIP out of memory"),
        named("AcceleratorError", "CUDA error: out of memory\nCUDA kernel errors might be reported later"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("CUDA error: HIPBLAS_STATUS_ALLOC_FAILED when calling"),
        RuntimeError("CUDA error: out of memory"),
    ],
)
def test_each_way_of_saying_it(error: Exception) -> None:
    assert is_out_of_memory(error)
    wrapped = ValueError("a library failed")
    wrapped.__cause__ = error
    assert is_out_of_memory(wrapped)
    try:
        try:
            raise error
        except Exception:
            raise RuntimeError("capture was ended in a wrong state")  # noqa: B904 - as the library does
    except RuntimeError as raised:
        assert is_out_of_memory(raised), "what went wrong while handling it is no other cause"
    try:
        try:
            raise error
        except Exception:
            raise KeyError("another matter") from None
    except KeyError as raised:
        assert not is_out_of_memory(raised)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("out of memory"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        named("AcceleratorError", "CUDA error: device-side assert triggered"),
        ValueError("this text speaks of out of memory"),
        EngineError("out of memory"),
        MemoryRanOutError("out of GPU memory: CUDA out of memory"),
        RuntimeError("the run is out of memoryless states"),
    ],
)
def test_what_is_something_else(error: Exception) -> None:
    assert not is_out_of_memory(error)
