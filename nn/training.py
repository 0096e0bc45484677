"""What any training needs: batches, gradients added up from parts, a stop that tears nothing."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["accumulate_gradients", "interrupts", "machine_memory", "parts_of", "random_batch"]


def random_batch(
    tokens: Any, T: int, B: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """B random windows (B, T) of a text, and the same one token later."""
    windows = tokens[rng.integers(len(tokens) - T, size=(B, 1)) + np.arange(T + 1)]
    return windows[:, :-1], windows[:, 1:]


def accumulate_gradients(
    model: Any, ids: np.ndarray, targets: np.ndarray, rows: int = 0, ignore_index: int = -100
) -> float:
    """model.loss(ids, targets), its gradients added up from parts of `rows` sequences.

    A part counts by the tokens it has: the sum is the gradient of the mean over the whole batch.
    """
    loss = 0.0
    for part_ids, part_targets, share in parts_of(ids, targets, rows, ignore_index):
        part = model.loss(part_ids, part_targets, ignore_index) * share
        part.backward()
        loss += part.item()
    return loss


def parts_of(
    ids: np.ndarray, targets: np.ndarray, rows: int, ignore_index: int = -100
) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """A batch in parts of `rows` sequences (0: in one), with the share of targets of each."""
    rows, total = rows or len(ids), max(1, int((targets != ignore_index).sum()))
    for i in range(0, len(ids), rows):
        part = targets[i : i + rows]
        yield ids[i : i + rows], part, float((part != ignore_index).sum() / total)


@contextlib.contextmanager
def interrupts() -> Iterator[list[int]]:
    """A list that Ctrl-C, or SIGTERM, puts something into, so that an iteration is not torn.

    The second Ctrl-C does what it always does.
    """
    caught, before = [], {}

    def catch(number, frame):
        caught.append(number)
        signal.signal(number, before[number])
        print("\nstopping after this iteration; once more stops at once", file=sys.stderr)

    if threading.current_thread() is threading.main_thread():  # others may not ask for signals
        before = {n: signal.signal(n, catch) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def machine_memory() -> float:
    """Bytes of memory that a process may have here; infinite if the system does not tell."""
    sizes = [math.inf]
    with contextlib.suppress(AttributeError, ValueError, OSError):  # not on Windows
        sizes.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):  # of a container
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
            sizes.append(int(Path("/sys/fs/cgroup", limit).read_text()))
    return min(sizes)
