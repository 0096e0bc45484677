"""detect_anomaly: which op made the first nan or inf, and which array was changed too early.

Inside of `with detect_anomaly():` the engine calls `made` for every op it records, and `watched`
to get the function that makes one step of backward.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from .mode import mode
from .tensor import Tensor, array_of

__all__ = ["detect_anomaly"]

_HERE = os.path.dirname(os.path.abspath(__file__))
_LIBRARIES = tuple(
    os.path.join(folder, "")
    for folder in (_HERE, os.path.join(os.path.dirname(_HERE), "nn"), os.path.dirname(np.__file__))
)


@contextlib.contextmanager
def detect_anomaly() -> Iterator[None]:
    """Inside of `with detect_anomaly():` the first nan or inf names its op and your line.

    Raises FloatingPointError for the op that made it, forward or backward, and ValueError when
    an array that an op has used was changed in place before its backward. Slow: every array is
    read again several times.

    >>> x = Tensor([0.0, 1.0], requires_grad=True)
    >>> with detect_anomaly():
    ...     y = x.sqrt().sum()
    ...     with np.errstate(divide="ignore"):
    ...         y.backward()
    Traceback (most recent call last):
        ...
    FloatingPointError: the gradient of sqrt for argument 0 has inf at [0], first in this \
backward; sqrt was called in <doctest autograd.anomaly.detect_anomaly[1]>, line 2: \
y = x.sqrt().sum()
    """
    outer = mode.watch
    if mode.recording and outer is None:
        mode.watch = _Watch()
    try:
        yield
    finally:
        mode.watch = outer


class _Watch:
    """What the engine tells of each op it records, and of each step of backward."""

    def __init__(self):
        self.notes: dict[int, Any] = {}  # {number of a node: (who called the op, fingerprints)}

    def made(self, out: Tensor) -> None:
        """Check a value that was just computed; remember the caller and the arrays' checksums."""
        caller = _caller()
        # While a body is traced it may use infinite numbers, such as -inf where a mask is.
        if not mode.tracing and not np.isfinite(out.data).all():
            raise FloatingPointError(
                f"{out._op.__name__} made {_first(out.data)}{_blame(out._args)}; it was called in "
                f"{caller}"
            )
        self.notes[out._number] = caller, _fingerprints(out)

    def watched(self, step):
        """A step of backward with checks before and after it."""

        def checked(node, g, gradients):
            op, args = node._op.__name__, node._args
            note = self.notes.pop(node._number, None)
            caller = note[0] if note else "code outside of detect_anomaly"
            if note:
                _check_unchanged(note[1], _fingerprints(node), op, caller)
            step(node, g, gradients)
            for i, x in enumerate(args):
                gx = gradients.get(id(x))
                if gx is not None and not np.isfinite(gx).all():
                    raise FloatingPointError(
                        f"the gradient of {op} for argument {i} has {_first(gx)}, first in this "
                        f"backward; {op} was called in {caller}"
                    )

        return checked


def _check_unchanged(before, after, op, caller):
    """Raise ValueError if an array has another fingerprint than when the op was called."""
    for what, fingerprint in before.items():
        if after[what] != fingerprint:
            raise ValueError(
                f"{what} of {op} was changed in place between forward and backward: its gradient "
                f"would be wrong; write to a copy. {op} was called in {caller}"
            )


def _fingerprints(node):
    """{name: checksum} of the arguments, the options and the value of a node."""
    named = {f"argument {i}": x for i, x in enumerate(node._args)}
    named |= {f"option {name}": x for name, x in node._kwargs.items()}
    return {name: _fingerprint(x) for name, x in [*named.items(), ("the value", node)]}


def _fingerprint(x):
    if isinstance(x, (tuple, list)):  # of indices
        return tuple(map(_fingerprint, x))
    x = array_of(x)
    return zlib.crc32(np.ascontiguousarray(x).data) if isinstance(x, np.ndarray) else None


def _first(array):
    """The first entry that is not finite, and where it is."""
    index = np.argwhere(~np.isfinite(array))[0].tolist()
    return f"{array[tuple(index)]} at {index}"


def _blame(args):
    """Whether an argument was nan or inf already, as the end of a message."""
    for i, x in enumerate(map(array_of, args)):
        if isinstance(x, (float, np.ndarray)) and not np.isfinite(x).all():
            return f" of argument {i}, which has {_first(np.asarray(x))} already"
    return " of finite arguments"


def _caller():
    """File, line and text of the innermost call from code outside of autograd, nn and NumPy."""
    frame: Any = sys._getframe(1)
    while frame.f_code.co_filename.startswith(_LIBRARIES):
        frame = frame.f_back
    summary = traceback.extract_stack(frame, limit=1)[0]
    text = f": {summary.line}" if summary.line else ""
    return f"{summary.filename}, line {summary.lineno}{text}"
