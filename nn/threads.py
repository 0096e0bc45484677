"""Threads that share the work of one process. They pay where arrays are large.

The number of threads is the one that BLAS, the library of matrix products, was told
(OPENBLAS_NUM_THREADS, ...): these threads take the place of its own. All of them share one
interpreter and one memory; several processes (parallel.py) share neither and gain more.
"""

from __future__ import annotations

import contextvars
import functools
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from autograd import in_this_mode

__all__ = ["BLOCK", "for_each", "in_task", "in_threads", "thread_count", "threads_for"]

BLOCK = 131_072  # entries worked on at a time, so that all arrays of a step stay in cache


class _Here(threading.local):
    in_task = False


_here = _Here()


@functools.cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController().select(user_api="blas")


@functools.cache
def thread_count() -> int:
    """How many threads the matrix products of NumPy used when this was first called."""
    return max((library["num_threads"] for library in _controller().info()), default=1)


_THREAD_TOKENS = 256  # of a batch, at least, for each thread
_THREAD_WEIGHTS = 1 << 25  # of a model, at most: each thread has gradients of its own


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
    return _here.in_task


def in_threads(tasks: Sequence[Callable[[], Any]]) -> list[Any]:
    """Call all tasks at once, the first of them in this thread; returns what they return.

    Meanwhile a matrix product has one thread. An error of a task is raised when all have ended.
    Inside such a task, tasks run one after the other.
    """
    first, *others = tasks
    if not others or in_task():
        return [task() for task in tasks]
    with _controller().limit(limits=1):
        contexts = [contextvars.copy_context() for _ in others]  # np.errstate, for one
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
    left = iter(blocks)  # one for all threads: each block is taken once

    def work() -> None:
        for block in left:
            function(block)

    in_threads([work] * max(1, threads))


def _call(task):
    _here.in_task = True
    try:
        return task()
    finally:
        _here.in_task = False


def _wait(futures):
    """Until all have ended, after Ctrl-C too: they write to arrays that others will use."""
    try:
        for future in futures:
            future.exception()
    except BaseException:
        _wait(futures)
        raise
