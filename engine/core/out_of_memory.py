"""Which exceptions mean that the device has no memory left, told by name and text so that torch need not be imported.

torch says it in three ways: OutOfMemoryError from its allocator, AcceleratorError (RuntimeError before torch 2.8) from the driver, and a
failed allocation inside a library. It refuses to take the host's MemoryError for one.
"""

import re

from engine.protocol.errors import SluiceError

_DEVICE_ERRORS = frozenset({"AcceleratorError", "RuntimeError"})
_TEXT = re.compile(r"\bout of memory\b|\b(CU|HIP|ROC)(BLAS|BLASLT|DNN|SOLVER|SPARSE)_STATUS_ALLOC_FAILED\b", re.IGNORECASE)
_DEVICE_TEXT = re.compile(r"\b(CUDA|HIP) error\b|\b(CU|HIP|ROC)(BLAS|BLASLT|DNN|SOLVER|SPARSE)_STATUS_", re.IGNORECASE)


def is_device_error(error: BaseException) -> bool:
    """True where the GPU or its driver failed, so that nothing is said about what it was working on."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return "AcceleratorError" in names or ("RuntimeError" in names and _DEVICE_TEXT.search(str(error)) is not None)


def is_out_of_memory(error: BaseException) -> bool:
    """True where `error`, or what it was raised from or while handling, says that the GPU's memory ran out."""
    found: BaseException | None = error
    while found is not None:
        if _says_so(found):
            return True
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
    return False


def _says_so(error: BaseException) -> bool:
    if isinstance(error, SluiceError | MemoryError):
        return False
    names = {kind.__name__ for kind in type(error).__mro__}
    if any(name.endswith("OutOfMemoryError") for name in names):
        return True
    return bool(names & _DEVICE_ERRORS) and _TEXT.search(str(error)) is not None
