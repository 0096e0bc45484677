"""What ops take beside Tensors: numbers, and arrays of numbers; what else there is, and why not."""

from __future__ import annotations

import functools

import numpy as np

from . import errors

_PLAIN = frozenset({int, float, bool, complex, str, type(None), slice, type(...)})


def constant(x):
    """A constant as an op takes it: NumPy's numbers as Python's, so that float32 * x stays float32;
    lists and all that converts to an array as plain arrays; anything else as it is."""
    if type(x) in _PLAIN:
        return x
    if isinstance(x, np.generic):
        return x.item()
    if type(x) is tuple:  # an index or a shape
        _refuse_foreign(x)
    elif type(x) is list:
        _refuse_foreign(x)
        return np.asarray(x) if x else x
    elif hasattr(type(x), "__array__") or _foreign(x):
        x = as_array(x)
        return x if x.ndim else x.item()
    return x


def without_tensors(args):
    """Arguments without a Tensor among them: the first may be a number."""
    if not args:
        return args
    first, *rest = args
    is_number = rest and isinstance(first, (int, float))
    return [first if is_number else as_array(first), *map(constant, rest)]


def as_array(x, dtype=None):
    """A plain array of numbers, or an error that says why x is none."""
    if type(x) is not np.ndarray:
        _refuse_foreign(x)
    array = np.asarray(x, dtype)
    if array.dtype.kind not in "biufc":
        raise TypeError(errors.NO_NUMBERS.format(kind=type(x).__name__, dtype=array.dtype))
    return array


def _refuse_foreign(x):
    entries = {type(y): y for y in x}.values() if type(x) in (list, tuple) else (x,)
    for y in entries:
        if isinstance(y, np.ndarray) and hasattr(type(y), "filled"):  # np.ma takes time to import
            raise TypeError(errors.MASKED)
        if type(y) not in _PLAIN and _foreign(y):
            raise TypeError(errors.FOREIGN.format(kind=f"{type(y).__module__}.{type(y).__name__}"))


def _foreign(x):
    """Whether x is an array, but another library's, that has a graph, a device or a layout."""
    if isinstance(x, (np.ndarray, np.generic)):
        return False
    has = functools.partial(hasattr, type(x))
    return has("__dlpack__") or (has("__array_priority__") and not has("__array__"))
