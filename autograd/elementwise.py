"""NumPy's elementwise functions, but for those in ops.py; and linspace and its like.

Most are a line in a table: the function and its derivatives, which are written with operators and
np.* functions as in any op, so that they have derivatives themselves.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .dispatch import implements, map_nested
from .movement import as_tensor
from .ops import broadcast_to, scatter, where
from .tensor import Tensor, array_of, op

# The derivative of each function at x, where its value is y.
OF_ONE = {
    np.square: lambda x, y: 2 * x,
    np.reciprocal: lambda x, y: -y * y,
    np.positive: lambda x, y: 1,
    np.tan: lambda x, y: 1 + y * y,
    np.sinh: lambda x, y: np.cosh(x),
    np.cosh: lambda x, y: np.sinh(x),
    np.arcsin: lambda x, y: 1 / np.sqrt((1 - x) * (1 + x)),
    np.arccos: lambda x, y: -1 / np.sqrt((1 - x) * (1 + x)),
    np.arctan: lambda x, y: np.square(1 / np.hypot(1, x)),  # x * x might overflow
    np.arcsinh: lambda x, y: 1 / np.hypot(1, x),
    np.arccosh: lambda x, y: 1 / (np.sqrt(x - 1) * np.sqrt(x + 1)),
    np.arctanh: lambda x, y: 1 / ((1 - x) * (1 + x)),
    np.log2: lambda x, y: 1 / (math.log(2) * x),
    np.log10: lambda x, y: 1 / (math.log(10) * x),
    np.exp2: lambda x, y: math.log(2) * y,
    np.cbrt: lambda x, y: 1 / (3 * y * y),  # at 0 it is inf, with NumPy's warning
    np.fabs: lambda x, y: np.sign(x),  # 0 at 0
    np.deg2rad: lambda x, y: math.pi / 180,
    np.radians: lambda x, y: math.pi / 180,
    np.rad2deg: lambda x, y: 180 / math.pi,
    np.degrees: lambda x, y: 180 / math.pi,
}


def _ratio(x, y):
    """x / y; where y is 0, it and all its derivatives are 0."""
    return np.where(y == 0, 0, x / np.where(y == 0, 1, y))


def _part(x, y, z, function, power):
    """For z = logaddexp(x, y), the share of e**x in e**z; 0 where x and y are -inf."""
    lost = z == -np.inf
    return power(-function(0, np.where(lost, np.inf, y) - np.where(lost, 0, x)))


# The derivatives of each function at x and at y, where its value is z. They are 0 where there is
# none: hypot and arctan2 at (0, 0), heaviside and copysign at x = 0.
OF_TWO = {
    np.hypot: (lambda x, y, z: _ratio(x, z), lambda x, y, z: _ratio(y, z)),
    np.arctan2: (
        lambda x, y, z: _ratio(_ratio(y, np.hypot(x, y)), np.hypot(x, y)),
        lambda x, y, z: -_ratio(_ratio(x, np.hypot(x, y)), np.hypot(x, y)),
    ),
    np.logaddexp: (
        lambda x, y, z: _part(x, y, z, np.logaddexp, np.exp),
        lambda x, y, z: _part(y, x, z, np.logaddexp, np.exp),
    ),
    np.logaddexp2: (
        lambda x, y, z: _part(x, y, z, np.logaddexp2, np.exp2),
        lambda x, y, z: _part(y, x, z, np.logaddexp2, np.exp2),
    ),
    np.remainder: (lambda x, y, z: 1, lambda x, y, z: np.rint((z - x) / y)),
    np.fmod: (lambda x, y, z: 1, lambda x, y, z: np.rint((z - x) / y)),
    np.heaviside: (lambda x, y, z: 0, lambda x, y, z: x == 0),
    np.copysign: (lambda x, y, z: np.sign(x) * np.copysign(1, y), lambda x, y, z: 0),
}


def _enter(function, *slopes):
    """Make an op of a line of a table."""

    def body(*given):
        dtype = np.result_type(*given)
        args = [np.asarray(x, dtype) if isinstance(x, (int, float)) else x for x in given]
        value = function(*args)
        return value, tuple(lambda g, slope=slope: g * slope(*args, value) for slope in slopes)

    body.__name__ = function.__name__
    body.__doc__ = f"NumPy's {function.__name__}, elementwise."
    op(body)


for _function, _slope in OF_ONE.items():
    _enter(_function, _slope)
for _of_two, _slopes in OF_TWO.items():
    _enter(_of_two, *_slopes)


def _of_real(function):
    return lambda x: np.positive(x) if x.dtype.kind == "f" else Tensor(function(x.data))


_complex: Any
for _complex in (np.real, np.conjugate, np.real_if_close):
    implements(_complex)(_of_real(_complex))


@op
def sinc(x):
    """sin(pi x) / (pi x), and 1 at 0. Near 0 the derivative is a power series."""

    def slope():
        near = np.abs(x) < 0.25
        far, close = np.where(near, 1, x), math.pi * np.where(near, x, 0)
        total = 0.0
        for k in range(8, 0, -1):
            total = total * close**2 + (-1) ** k * 2 * k * math.pi / math.factorial(2 * k + 1)
        return np.where(near, total * close, (np.cos(math.pi * far) - np.sinc(far)) / far)

    return np.sinc(x), (lambda g: g * slope(),)


@op
def nan_to_num(x, nan=0.0, posinf=None, neginf=None):
    """x with numbers in place of nan and of the infinities, where the derivative is 0."""
    y = np.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)
    return y, (lambda g: np.where(np.isfinite(x), g, 0),)


@op
def ldexp(x, i):
    """x * 2**i, where i are integers."""
    return np.ldexp(x, i), (lambda g: np.ldexp(g, i),)


@op
def _fraction(x):
    return np.modf(x)[0], (lambda g: g,)


@implements(np.modf)
def modf(x):
    """x without its whole part, and the whole part, which is a constant array."""
    return _fraction(x), np.trunc(x)


@implements(np.frexp)
def frexp(x):
    """m and n of x = m * 2**n with 0.5 <= |m| < 1. The integers n are a constant array."""
    n = np.frexp(x.data)[1]
    return np.ldexp(x, -n), n


@implements(np.float_power)
def float_power(x, y):
    """x ** y in float64."""
    x, y = (v.astype(float) if type(v) is Tensor else np.asarray(v, float) for v in (x, y))
    return np.power(x, y)


@implements(np.fmax)
def fmax(x, y):
    """The larger one, or the one that is not nan. At a tie each gets half of the gradient."""
    return np.maximum(np.where(np.isnan(x), y, x), np.where(np.isnan(y), x, y))


@implements(np.fmin)
def fmin(x, y):
    """The smaller one, or the one that is not nan. At a tie each gets half of the gradient."""
    return np.minimum(np.where(np.isnan(x), y, x), np.where(np.isnan(y), x, y))


@implements(np.divmod)
def divmod(x, y):
    """x // y, which is a constant array, and the remainder."""
    return np.floor_divide(x, y), np.remainder(x, y)


@implements(np.select)
def select(condlist, choicelist, default=0):
    """For each entry the first of the choices whose condition holds, or else `default`."""
    masks = [np.asarray(condition) for condition in condlist]
    if len(masks) != len(choicelist) or not masks or any(m.dtype.kind != "b" for m in masks):
        raise ValueError(
            f"select: {len(masks)} conditions and {len(choicelist)} choices: it takes as many of "
            "both, one or more, and the conditions are boolean arrays, such as x > 0"
        )
    y = default
    for mask, choice in zip(masks[::-1], choicelist[::-1], strict=True):
        y = np.where(mask, choice, y)
    return y


@implements(np.piecewise)
def piecewise(x, condlist, funclist, *args, **kw):
    """For each entry the last of the functions, or numbers, whose condition holds; 0 if none does.

    With one more function than conditions, the last one is for the entries where none holds.
    """
    x, n = as_tensor(x), len(funclist)
    which = np.piecewise(np.zeros(x.shape), map_nested(array_of, condlist), range(1, n + 1))
    y = Tensor(np.zeros_like(x))
    for i, function in enumerate(funclist, 1):
        mask = which == i
        if mask.any():
            value = function(x[mask], *args, **kw) if callable(function) else function
            value = broadcast_to(as_tensor(value).astype(x.dtype), (mask.sum(),))
            y = where(mask, scatter(value, mask, x.shape), y)
    return y


# ---------------------------------------------------------------- numbers from start to stop


def _places(num, ndim):
    """0, 1, ..., num - 1 along the first of ndim axes."""
    return np.arange(num).reshape(-1, *[1] * (ndim - 1))


@implements(np.linspace)
def linspace(start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0):
    """`num` numbers from start to stop, each one step after the one before."""
    like = np.linspace(array_of(start), array_of(stop), num, endpoint)
    first, last = (as_tensor(x).astype(like.dtype) for x in (start, stop))
    i, steps = _places(num, like.ndim), num - 1 if endpoint else num
    step = (last - first) / max(steps, 1)
    y = i.astype(like.dtype) * step + first
    y = np.where(i == max(steps, 1), last, y)  # the ends are exactly start and stop
    y = np.moveaxis(y, 0, axis)
    y = y if dtype is None else y.astype(dtype)
    return (y, step if steps > 0 else np.nan) if retstep else y


@implements(np.logspace)
def logspace(start, stop, num=50, endpoint=True, base=10.0, dtype=None, axis=0):
    """base ** linspace(start, stop, num)."""
    n = np.ndim(base) and max(np.ndim(x) for x in (start, stop, base))
    if n:  # the bases, too, lie along the axes of start and stop
        start, stop, base = (np.reshape(x, (1,) * (n - np.ndim(x)) + np.shape(x))
                             for x in (start, stop, base))  # fmt: skip
        base = np.expand_dims(base, axis)
    y = np.power(base, linspace(start, stop, num, endpoint, axis=axis))
    return y if dtype is None else y.astype(dtype)


@implements(np.geomspace)
def geomspace(start, stop, num=50, endpoint=True, dtype=None, axis=0):
    """`num` numbers from start to stop, each a factor times the one before."""
    like = np.geomspace(array_of(start), array_of(stop), num, endpoint)
    first, last = (as_tensor(x).astype(like.dtype) for x in (start, stop))
    i, end = _places(num, like.ndim), num - 1 if endpoint else num
    sign = np.sign(first)
    y = sign * logspace(np.log10(first * sign), np.log10(last * sign), num, endpoint)
    y = np.where(i == 0, first, np.where(i == end, last, y))
    y = np.moveaxis(y, 0, axis)
    return y if dtype is None else y.astype(dtype)
