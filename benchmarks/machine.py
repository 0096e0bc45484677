"""What numbers were measured on: a line or two that every table of the benchmarks begins with."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import numpy as np


def describe(threads: int) -> str:
    """The processor, who else uses it, and the versions of all that computes."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return (
        f"{_processor()}, {os.cpu_count()} cores, {threads} threads, "
        f"load {os.getloadavg()[0]:.1f} before the start\n"
        f"Python {platform.python_version()}, NumPy {np.__version__} with {blas['name']} "
        f"{blas['version']}, PyTorch {_version('torch')}"
    )


def _processor():
    cpuinfo = Path("/proc/cpuinfo")  # elsewhere than on Linux, what Python knows
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(package):
    """Without importing it, which takes a second."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
