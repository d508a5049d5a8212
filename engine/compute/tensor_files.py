"""Tensors in safetensors files, in one canonical form and by a call that lets other threads run.

It refuses to raise anything but an OSError where the file cannot be written.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch

_NUMBER = re.compile(r"\(os error (\d+)\)")


def save_tensors(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write the tensors, names sorted, so that equal tensors are equal bytes.

    Raises: OSError, with its number where the library tells it.
    """
    try:
        safetensors.torch.save_file(dict(sorted(tensors.items())), path, metadata={"format": "pt"})
    except safetensors.SafetensorError as error:
        found = _NUMBER.search(str(error))
        raise OSError(*([int(found[1])] if found else []), str(error)) from error
