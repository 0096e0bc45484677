"""Threads that share the work of one process, on arrays so large that NumPy lets others run.

How many there are is for BLAS to say (OPENBLAS_NUM_THREADS, ...): they take the place of its own.
They share interpreter and memory; processes (parallel.py) share neither and gain more.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["in_threads", "thread_count"]


@functools.cache
def _controller():
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


@functools.cache
def thread_count() -> int:
    """How many threads the matrix products of NumPy use when they are first asked for."""
    return max((library["num_threads"] for library in _controller().info()), default=1)


@functools.cache
def _pool():
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(max(1, thread_count() - 1))


if hasattr(os, "register_at_fork"):  # the threads of a pool do not come along
    os.register_at_fork(after_in_child=_pool.cache_clear)


def in_threads(tasks: Sequence[Callable[[], Any]]) -> list[Any]:
    """Call all tasks at once, the first of them in this thread; returns what they return.

    Meanwhile a matrix product has one thread. An error of a task is raised when all have ended.
    """
    first, *others = tasks
    with _controller().limit(limits=1) if others else contextlib.nullcontext():
        futures = [_pool().submit(task) for task in others]
        try:
            result = first()
        finally:
            _wait(futures)
    return [result, *(future.result() for future in futures)]


def _wait(futures):
    """Until all have ended, after Ctrl-C too: they write to arrays that others will use."""
    try:
        for future in futures:
            future.exception()
    except BaseException:
        _wait(futures)
        raise
