"""How NumPy's functions find their ops, and how NumPy's numbers come to them.

np.exp(t) of a Tensor t calls the op named exp: NumPy hands the call to `Tensor.__array_ufunc__`
or `Tensor.__array_function__`, which hand it to this file. tensor.py imports it; the function
that takes the array out of a Tensor is the argument `data_of`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from . import errors

registry: dict[str, Callable[..., Any]] = {}  # every op by its name

# NumPy functions whose derivative is zero wherever it exists: they see the arrays.
_CONSTANT = frozenset(
    """all allclose any argmax argmin argsort array_equal ceil count_nonzero empty_like equal
    flatnonzero floor greater greater_equal isclose isfinite isinf isnan less less_equal
    logical_and logical_not logical_or may_share_memory ndim nonzero not_equal ones_like
    result_type rint shape shares_memory sign signbit size trunc zeros_like""".split()
)
_ALIASES = {"absolute": "abs", "amax": "max", "amin": "min"}


def op_for(function, data_of):
    """What runs instead of a NumPy function: the op of its name, or itself on the arrays."""
    name = function.__name__
    if name in _CONSTANT:
        return lambda *args, **kwargs: function(
            *map(data_of, args), **{key: data_of(x) for key, x in kwargs.items()}
        )
    found = registry.get(_ALIASES.get(name, name))
    if found is None:
        raise TypeError(errors.NO_OP.format(name=name))
    return found


def call(function, args, kwargs, data_of):
    """The result of function(*args, **kwargs) for a NumPy function that is written in Python."""
    op = op_for(function, data_of)
    args, kwargs = _as_keywords(function, args, kwargs)
    return op(*args, **kwargs)


def _as_keywords(function, args, kwargs):
    """A call as (first argument, options by name), without options that have their default.

    NumPy's order of the options differs from that of the ops, which also have fewer of them.
    """
    signature = _signature(function)
    if signature is None or function.__name__ in _CONSTANT:
        return args, kwargs
    (_, first), *rest = signature.bind(*args, **kwargs).arguments.items()
    given: dict[str, Any] = {}
    for name, value in rest:
        parameter = signature.parameters[name]
        if parameter.kind is parameter.VAR_KEYWORD:
            given |= value
        elif value is not parameter.default:
            given[name] = value
    return (first,), given


@functools.cache
def _signature(function):
    try:
        return inspect.signature(function)
    except ValueError:  # a function written in C may not tell it
        return None


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
    elif isinstance(x, np.ndarray) or hasattr(type(x), "__array__") or _foreign(x):
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
