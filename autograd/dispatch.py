"""How NumPy's functions find what computes them on Tensors.

np.exp(t) of a Tensor t calls the op exp: NumPy hands the call to `Tensor.__array_ufunc__` or
`Tensor.__array_function__`, which hand it to this file. `implementations` has the op, or any other
function of Tensors, for each of NumPy's functions; an op is entered under the function of its
name, and `implements` enters the rest. tensor.py imports this file; the function that takes the
array out of a Tensor is the argument `data_of`.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from . import errors
from .mode import mode

__all__ = ["implements"]

_F = TypeVar("_F", bound=Callable[..., Any])

registry: dict[str, Callable[..., Any]] = {}  # every op by its name
implementations: dict[Any, Callable[..., Any]] = {}  # what computes a function of NumPy on Tensors

# NumPy functions whose derivative is zero wherever it exists: they see the arrays.
CONSTANT = {
    getattr(np, name)
    for name in """all allclose any argmax argmin argpartition argsort argwhere around
    array2string array_equal array_equiv array_repr array_str can_cast ceil common_type
    count_nonzero diag_indices_from digitize einsum_path empty_like equal fix flatnonzero floor
    floor_divide greater greater_equal histogram_bin_edges imag isclose iscomplex iscomplexobj
    isfinite isin isinf isnan isneginf isposinf isreal isrealobj less less_equal lexsort
    logical_and logical_not logical_or logical_xor may_share_memory min_scalar_type nanargmax
    nanargmin ndim nonzero not_equal ones_like result_type rint round save savetxt savez
    savez_compressed searchsorted shape shares_memory sign signbit size spacing tril_indices_from
    triu_indices_from trunc zeros_like""".split()
} | {np.linalg.matrix_rank}  # fmt: skip

# How the names of those begin that give complex numbers.
OF_COMPLEX = ("np.fft.", "np.emath.", "np.linalg.eig", "np.roots", "np.sort_complex")

# NumPy functions that write into their argument.
WRITERS = {np.copyto, np.fill_diagonal, np.place, np.put, np.put_along_axis, np.putmask}


def implements(*functions: Callable[..., Any] | str) -> Callable[[_F], _F]:
    """Let a function of Tensors stand for functions of NumPy, whose arguments it takes.

    For what a single op cannot be: a function that takes a list, or gives several results. A
    ufunc of SciPy may be given as a string, "scipy.special.expit", which imports nothing.

    >>> import numpy as np
    >>> from autograd import Tensor
    >>> @implements(np.emath.logn)
    ... def logn(n, x):
    ...     return np.log(x) / np.log(n)
    >>> np.emath.logn(2, Tensor([4.0, 8.0]))
    Tensor([2., 3.])
    """

    def enter(function: _F) -> _F:
        implementations.update(dict.fromkeys(functions, function))
        return function

    return enter


def named(name):
    """The function of NumPy that a bare name means, np.name or else np.linalg.name; or None."""
    function = getattr(np, name, None) or getattr(np.linalg, name, None)
    return function if callable(function) else None


def register(call: _F) -> _F:
    """Enter an op under its name, and as what computes NumPy's function of that name.

    A name of ops.py, or one that belongs to another module of the user's, is refused; the
    functions of the other rooms can be replaced.
    """
    name, known, function = call.__name__, registry.get(call.__name__), named(call.__name__)
    if known and known.__module__ != call.__module__:  # the same one is a notebook cell, run again
        core = known.__module__ == f"{__package__}.ops"
        if core or (function and not known.__module__.startswith(f"{__package__}.")):
            raise ValueError(
                errors.TAKEN.format(name=name, known=known.__module__, new=call.__module__)
            )
    registry[name] = call
    if function is not None:
        implementations[function] = call
    return call


def name_of(function):
    """How a function is written, such as np.linalg.inv; scipy.special.expit if it is of SciPy."""
    module, name = getattr(function, "__module__", None), function.__name__
    if module is None:  # ufuncs have none
        of_scipy = getattr(sys.modules.get("scipy.special"), name, None) is function
        return f"scipy.special.{name}" if of_scipy else f"np.{name}"
    module = module.replace("lib.scimath", "emath").replace("lib._scimath_impl", "emath")
    return f"{module.replace('numpy', 'np', 1)}.{name}"


def call(function, args, kwargs, data_of):
    """The result of function(*args, **kwargs), a function of NumPy, with Tensors among `args`."""
    found = implementations.get(function) or implementations.get(name_of(function))
    if found is None:
        return on_data(function, args, kwargs, data_of)
    args, kwargs = _translated(function, found, args, kwargs)
    try:
        return found(*args, **kwargs)
    except (ValueError, TypeError, IndexError) as error:
        if function.__name__ in re.findall(r"\w+", str(error)):
            raise
        raise type(error)(f"{name_of(function)}: {error}") from error


def on_data(function, args, kwargs, data_of):
    """A function of NumPy on the arrays, where that loses no graph."""
    if function not in CONSTANT and _any_recorded((args, kwargs)):
        name, op = name_of(function), function.__name__
        text = errors.NO_OP if named(op) is function else errors.NO_OP_OF_THAT_NAME
        if name.startswith(OF_COMPLEX):
            text = errors.COMPLEX
        elif function in WRITERS:
            text = errors.ASSIGNMENT
        raise TypeError(text.format(name=name, op=op))
    return function(*map_nested(data_of, args), **map_nested(data_of, kwargs))


def unrecorded(ufunc, method, inputs, kwargs, data_of):
    """A method of a ufunc, or one that writes into an array: only where no graph is lost.

    `outer` is the ufunc itself, of arguments that broadcast.
    """
    if _any_recorded((inputs, kwargs)):
        if method == "outer" and all(value is None for value in kwargs.values()):
            x, y = inputs
            return ufunc(np.reshape(x, np.shape(x) + (1,) * np.ndim(y)), y)
        text = errors.UFUNC_METHOD if method != "__call__" else errors.OUT
        raise TypeError(text.format(name=ufunc.__name__, method=method))
    kwargs = {key: value for key, value in kwargs.items() if value is not None}
    inputs, kwargs = map_nested(data_of, (inputs, kwargs))
    return getattr(ufunc, method)(*inputs, **kwargs)


def _any_recorded(x):
    """Whether ops on x, or on the Tensors in a list, tuple or dict, would be recorded."""
    if isinstance(x, (list, tuple, dict)):
        return any(map(_any_recorded, x.values() if isinstance(x, dict) else x))
    return mode.recording and getattr(x, "requires_grad", False)


def map_nested(f, x):
    """x with f(entry) for every entry of the lists, tuples and dicts in it, however nested."""
    if isinstance(x, dict):
        return {key: map_nested(f, value) for key, value in x.items()}
    if isinstance(x, tuple) and hasattr(x, "_fields"):  # a namedtuple
        return type(x)(*(map_nested(f, value) for value in x))
    return type(x)(map_nested(f, v) for v in x) if isinstance(x, (list, tuple)) else f(x)


def _translated(function, op, args, kwargs):
    """The arguments of a call to a function of NumPy, as the op that stands for it has them.

    An argument goes to the op's parameter of the same name, or else to the one in the same
    position. If there is neither, only NumPy's default can be given.
    """
    table = _parameters(function, op)
    if table is None:
        require_options(function, op, kwargs)
        return args, kwargs
    first: list[Any] = []
    options: dict[str, Any] = {}
    for name, value in (*zip(table, args, strict=False), *kwargs.items()):
        default, own, place = table.get(name, (inspect.Parameter.empty, None, None))
        if own is None:
            if value is not default and not (type(value) is type(default) and value == default):
                raise TypeError(errors.NO_OPTION.format(name=name_of(function), option=name))
        elif place == len(first):
            first.append(value)
        else:
            options[own] = value
    return first, options


@functools.cache
def _parameters(function, op):
    """NumPy's parameters by name: the default, the op's name for it or None, and its position.

    None where the arguments must be passed as they are.
    """
    try:
        theirs, ours = (inspect.signature(f).parameters for f in (function, op))
    except ValueError:  # a function written in C may not tell it
        return None
    kinds = [p.kind for p in (*theirs.values(), *ours.values())]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return None
    places = [name for name, p in ours.items() if p.kind is not p.KEYWORD_ONLY]
    table = {}
    for i, (name, p) in enumerate(theirs.items()):
        own = name if name in ours else None
        if own is None and p.kind is not p.KEYWORD_ONLY and places[i:] and places[i] not in theirs:
            own = places[i]
        table[name] = p.default, own, places.index(own) if own in places else None
    for own in ours:  # which NumPy's **kwargs may hold
        table.setdefault(own, (inspect.Parameter.empty, own, None))
    return table


def require_options(function, op, options):
    """Refuse an option that the op does not have, by its name."""
    if options:
        ours = inspect.signature(op).parameters
        for name in options:
            if name not in ours and not any(p.kind is p.VAR_KEYWORD for p in ours.values()):
                raise TypeError(errors.NO_OPTION.format(name=name_of(function), option=name))
