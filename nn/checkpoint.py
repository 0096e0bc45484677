"""Weights in safetensors files, written so that a crash leaves the old file in place."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

__all__ = ["load_arrays", "save_arrays", "write_atomically"]


def write_atomically(path: Path, write: Callable[[str], object]) -> None:
    """Call write(name) on a temporary file beside `path`, then rename it to `path`."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        write(temporary)
        os.chmod(temporary, 0o644)  # mkstemp makes files that only their owner reads
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def save_arrays(
    path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named arrays, and strings in the header, to a safetensors file."""
    from safetensors.numpy import save_file

    # safetensors writes the memory of an array, in whatever order that is
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    header = {"format": "pt", **(metadata or {})}  # the entry other readers ask for
    write_atomically(path, lambda name: save_file(arrays, name, header))


def load_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the header of a safetensors file. Raises ValueError if it is not one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file ({error})") from error
