"""The libraries of the engine, all loaded in one place and made quiet.

It refuses to let them write to the worker's terminal: progress and warnings that matter travel as events.
"""

# ruff: noqa: E402 (bitsandbytes comes first, in a context of its own: peft would import it without)
import importlib.metadata
import logging
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def _nothing_compiled() -> Iterator[None]:
    """Leave functions as they are that a library compiles when it is imported.

    bitsandbytes does so with fallbacks for devices without kernels of its own, and with that imports torch's whole compiler: 2 of the 8 s that
    the libraries take on 2 cores, once in every worker.
    """
    compiles: Any = torch.compile

    def as_it_is(function: Any = None, **_: Any) -> Any:
        return as_it_is if function is None else function

    torch.compile = as_it_is
    try:
        yield
    finally:
        torch.compile = compiles


with _nothing_compiled():
    import bitsandbytes

import peft
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from engine.compute import IMPORT_BEGAN_S
from engine.protocol.events import LibrariesLoaded

_NAMED = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "tokenizers", "safetensors")
__all__ = [
    "AutoConfig",
    "AutoModelForCausalLM",
    "AutoTokenizer",
    "PreTrainedTokenizerFast",
    "bitsandbytes",
    "libraries_loaded",
    "peft",
    "quieten",
    "versions",
]


def _installed(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def versions() -> dict[str, str]:
    """Python's, the libraries' and the GPU runtime's versions, for provenance and manifests."""
    found = {"python": platform.python_version()} | {name: _installed(name) for name in _NAMED}
    found["torch"] = str(torch.__version__)
    runtimes = {"cuda": torch.version.cuda, "rocm": getattr(torch.version, "hip", None)}
    return found | {name: version for name, version in runtimes.items() if version}


def quieten() -> None:
    """No progress bars and nothing below an error from transformers and bitsandbytes."""
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def libraries_loaded() -> LibrariesLoaded:
    """The event that says that the imports are done; `elapsed_s` counts from the first import of `engine.compute`."""
    return LibrariesLoaded(versions=versions(), elapsed_s=round(time.monotonic() - IMPORT_BEGAN_S, 3))
