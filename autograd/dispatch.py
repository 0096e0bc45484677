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


def constant(x):
    """NumPy's numbers as Python's, so that float32 * x stays float32; lists as arrays."""
    if isinstance(x, (np.generic, np.ndarray)) and not x.ndim:
        return x.item()
    return np.asarray(x) if type(x) is list and x else x


def without_tensors(args):
    """Arguments without a Tensor among them: the first may be a number."""
    if not args or (len(args) > 1 and isinstance(args[0], (int, float))):
        return args
    return [np.asarray(args[0]), *args[1:]]
