"""Threads that share the work of one process. They save time where arrays are large.

There are as many as BLAS, the library of matrix products, was told to use (OPENBLAS_NUM_THREADS,
...): they take the place of its own threads. TINYGPT_NUM_THREADS gives another number. Threads
share one interpreter and one memory; several processes (run/team.py) share neither, and are often
faster.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from autograd import in_this_mode

__all__ = [
    "BLAS_VARIABLES", "BLOCK", "for_each", "in_task", "in_threads", "thread_count", "threads_for",
]  # fmt: skip

# The environment variables that set the number of threads of OpenBLAS, MKL, Accelerate and BLIS.
BLAS_VARIABLES = (
    "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "BLIS_NUM_THREADS",
)  # fmt: skip

BLOCK = 131_072  # entries worked on at a time, so that their arrays stay in the cache


class _ThisThread(threading.local):
    in_task = False


_this_thread = _ThisThread()


@functools.cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController().select(user_api="blas")


@functools.cache
def thread_count() -> int:
    """TINYGPT_NUM_THREADS, or how many threads the matrix products of NumPy use.

    Not every BLAS tells how many it uses. Where it does not, they are as many as one of
    BLAS_VARIABLES says, or as this process may use cores. The first call decides.
    """
    if own := os.environ.get("TINYGPT_NUM_THREADS"):
        if not own.isdecimal() or int(own) < 1:
            raise ValueError(f"TINYGPT_NUM_THREADS must be a number from 1 on, got {own!r}")
        return int(own)
    if libraries := _controller().info():
        return max(library["num_threads"] for library in libraries)
    asked = [os.environ.get(name, "").partition(",")[0] for name in BLAS_VARIABLES]
    return next((int(n) for n in asked if n.isdecimal() and int(n)), 0) or _cores()


def _cores():
    """How many cores this process may use: fewer than there are, in a container for example."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        cores = os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


_THREAD_TOKENS = 256  # each thread gets at least so many tokens of a batch
_THREAD_WEIGHTS = 1 << 25  # a model with more is not shared: each thread has its own gradients


def threads_for(parameters: int, B: int, T: int) -> int:
    """How many threads should share a batch of B sequences, each with one thread for BLAS.

    A large model, or a single sequence, is left to the threads of BLAS.
    """
    if parameters > _THREAD_WEIGHTS:
        return 1
    return max(1, min(thread_count(), B, B * T // _THREAD_TOKENS))


@functools.cache
def _pool() -> Any:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(max(1, thread_count() - 1))


if hasattr(os, "register_at_fork"):  # the threads of a pool do not exist in a forked process
    os.register_at_fork(after_in_child=_pool.cache_clear)


def in_task() -> bool:
    """Whether this thread runs one of several tasks of in_threads: other cores are busy then."""
    return _this_thread.in_task


def in_threads(tasks: Sequence[Callable[[], Any]]) -> list[Any]:
    """Call all tasks at once, the first of them in this thread; returns what they return.

    Meanwhile a matrix product uses one thread. An error of a task is raised when all have ended.
    Inside such a task, tasks run one after the other.
    """
    first, *others = tasks
    if not others or in_task():
        return [task() for task in tasks]
    with _controller().limit(limits=1):
        contexts = [contextvars.copy_context() for _ in others]  # for np.errstate, among others
        pairs = zip(contexts, others, strict=True)
        run = in_this_mode(_call)
        futures = [_pool().submit(context.run, run, task) for context, task in pairs]
        try:
            result = _call(first)
        finally:
            _wait(futures)
    return [result, *(future.result() for future in futures)]


def for_each(function: Callable[[Any], object], blocks: Iterable[Any]) -> None:
    """Call function(block) for all blocks in threads; a thread that is free takes the next one."""
    blocks = list(blocks)
    threads = 1 if len(blocks) < 2 or in_task() else min(len(blocks), thread_count())
    left = iter(blocks)  # one iterator for all threads: each block is taken once

    def work() -> None:
        for block in left:
            function(block)

    in_threads([work] * max(1, threads))


def _call(task):
    _this_thread.in_task = True
    try:
        return task()
    finally:
        _this_thread.in_task = False


def _wait(futures):
    """Wait until all have ended, even after Ctrl-C: they write to arrays that are used later."""
    try:
        for future in futures:
            future.exception()
    except BaseException:
        _wait(futures)
        raise
