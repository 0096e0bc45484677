"""What the ops of a thread do besides computing: record, trace, or tell an observer."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["in_this_mode"]


class Mode(threading.local):
    """Each thread has its own."""

    recording: bool = True  # ops keep their vjps in their results; False inside no_grad()
    tracing: bool = False  # the bodies and vjps of ops run on Tensors, for create_graph=True
    watch: Any = None  # detect_anomaly()'s observer, told of each recorded op and step of backward


mode = Mode()


def in_this_mode(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` for use in another thread: there, too, inside this thread's no_grad() and such.

    >>> from autograd import Tensor, no_grad
    >>> x = Tensor(3.0, requires_grad=True)
    >>> with no_grad():
    ...     double = in_this_mode(lambda: 2 * x)
    >>> double().requires_grad, (2 * x).requires_grad
    (False, True)
    """
    here = {"recording": mode.recording, "tracing": mode.tracing, "watch": mode.watch}

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        outer = {name: getattr(mode, name) for name in here}
        vars(mode).update(here)
        try:
            return function(*args)
        finally:
            vars(mode).update(outer)

    return call
