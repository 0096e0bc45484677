"""How much memory and time a training will need, told before it begins."""

from __future__ import annotations

import contextlib
import math
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..threads import threads_for
from .contract import Architecture
from .crew import rows_at_once
from .team import Team
from .training import TrainConfig, Training

__all__ = ["check_memory", "check_procs", "expected_seconds", "machine_memory", "memory_needed"]


def memory_needed(
    architecture: Architecture, config: Any, training: TrainConfig, procs: int = 1
) -> float:
    """About how many bytes each process needs, as measured at several sizes.

    For a class of models that does not say what it keeps for backward, only weights, moments and
    gradients count.
    """
    parameters = parameter_count(architecture, config)
    threads = threads_for(parameters, training.batch_size // procs, training.tokens(config))
    copies = 3 + (threads if procs == 1 else 1)  # weights, two moments, and gradients
    return 4 * copies * parameters + _kept(architecture, config, training, procs) + 50e6


def _kept(architecture, config, training, procs):
    """About how many bytes a forward pass of a process leaves for backward."""
    tokens = training.tokens(config)
    per_token = architecture.kept(
        replace(config, block_size=tokens), training.activation_checkpointing
    )
    return 4 * _rows(config, training, procs) * tokens * per_token


def parameter_count(architecture: Architecture, config: Any) -> int:
    """How many parameters a model of this config has; its weights take no memory here."""
    try:
        return sum(p.size for p in architecture.model(config, None).parameters())
    except (MemoryError, ValueError) as error:
        raise ValueError(f"a model of this size cannot be made here: {error}") from error


def _rows(config, training, procs):
    """How many sequences go through the model of a process at a time."""
    each = -(-training.batch_size // procs)
    return min(each, training.micro_batch_size or rows_at_once(each, training.tokens(config)))


def check_procs(training: TrainConfig, team: Team) -> None:
    """Raises ValueError if a batch has less than one sequence for each process."""
    if team.size > training.batch_size:
        raise ValueError(
            f"{team.size} processes cannot share a batch of {training.batch_size} sequences: take "
            f"{training.batch_size} at most, or for a new run a larger --batch-size"
        )


def check_memory(
    architecture: Architecture, config: Any, training: TrainConfig, team: Team
) -> None:
    """Raises ValueError if the machine does not have the memory for a training."""
    available = machine_memory()
    needed = team.here * _kept(architecture, config, training, team.size)
    size, least = "this size", "more than"  # such a model is not made, not even to be counted
    if needed <= available:
        needed = team.here * memory_needed(architecture, config, training, team.size)
        size, least = f"{parameter_count(architecture, config):,} parameters", "about"
    if needed > available:
        where = f" in each of {team.here} processes" if team.here > 1 else ""
        fewer = ", or fewer processes" if team.here > 1 else ""
        raise ValueError(
            f"a model of {size}, {training.tokens(config)} tokens and "
            f"{_rows(config, training, team.size)} sequences at once{where} takes {least} "
            f"{needed / 1e9:,.1f} GB of memory, this machine has {available / 1e9:.1f} GB: take a "
            f"smaller model, --context, --block-size or --micro-batch-size{fewer}"
        )


def machine_memory() -> float:
    """Bytes of memory that a process may have here; infinite if the system does not tell."""
    sizes = [math.inf]
    with contextlib.suppress(AttributeError, ValueError, OSError):  # not on Windows
        sizes.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):  # of a container
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
            sizes.append(int(Path("/sys/fs/cgroup", limit).read_text()))
    return min(sizes)


def expected_seconds(training: Training, ids: np.ndarray, targets: np.ndarray) -> float:
    """How long the iterations left will take, measured on a part of one batch (B, T)."""
    c, procs = training.config, training.team.size
    rows = min(c.batch_size, procs * _rows(training.model.config, c, procs))
    for _ in range(2):  # the first is slower
        started = time.monotonic()
        training.backward(ids[:rows], targets[:rows])
        seconds = (time.monotonic() - started) * c.batch_size / rows
    return seconds * (c.max_iters - training.iteration)
