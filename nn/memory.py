"""Memory of freed arrays: kept by the process for the next arrays, or given back to the system.

A training step frees and allocates the same large arrays again and again. By default glibc, the C
library of most Linux systems, gives large blocks back to the system at once, and the system clears
each page again before its next use. For a small model this takes about a quarter of the time.
"""

from __future__ import annotations

import contextlib

__all__ = ["keep_freed_memory", "training_begins"]


class _State:
    allowed = True  # whether optimizers may change how glibc works
    kept = False


# {option of mallopt in <malloc.h>: (value that keeps memory, glibc's default)}
_OPTIONS = {
    -1: (-1, 128 * 1024),  # M_TRIM_THRESHOLD; -1 is never
    -4: (0, 65536),  # M_MMAP_MAX: no large array gets a mapping of its own
    -8: (1, 0),  # M_ARENA_MAX: all threads share what is kept
}


def keep_freed_memory(keep: bool = True) -> None:
    """From now on, keep the memory of freed arrays for the next arrays of this process.

    Making an optimizer does this, too, because training begins there. `keep=False` gives glibc its
    defaults back, and optimizers that are made later leave them: the process then takes less memory
    after a peak, and its training steps take more time. Without glibc (macOS, Windows) nothing
    happens.
    """
    _State.allowed = keep
    if keep != _State.kept:
        _State.kept = keep
        _set(keep)


def training_begins() -> None:
    """keep_freed_memory(), unless keep_freed_memory(False) was called before."""
    if _State.allowed:
        keep_freed_memory()


def _set(keep: bool) -> None:
    import ctypes

    with contextlib.suppress(AttributeError, OSError, TypeError):
        c = ctypes.CDLL(None)
        for option, (kept, default) in _OPTIONS.items():
            c.mallopt(option, kept if keep else default)
        if not keep:
            c.malloc_trim(0)  # what was kept until now
