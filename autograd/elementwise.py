"""NumPy's functions of one entry at a time that ops.py has no need of.

Most are a line of a table: the function, and its derivative. As everywhere, the derivatives are
written with operators and np.* functions, so they run on Tensors and have derivatives themselves.
"""

from __future__ import annotations

import math

import numpy as np

from .dispatch import implements, registry
from .tensor import Tensor, op

# ---------------------------------------------------------------- of one argument


def _slope_of_sinc(x):
    """The derivative of sin(pi x) / (pi x): by its power series near 0, where it is 0."""
    near = np.abs(x) < 0.25
    far = np.where(near, 1, x)
    small = np.where(near, x, 0) * math.pi
    series = [(-1) ** k * 2 * k * math.pi / math.factorial(2 * k + 1) for k in range(1, 9)]
    total = 0 * x
    for term in reversed(series):
        total = total * small * small + term * small
    return np.where(near, total, (np.cos(math.pi * far) - np.sinc(far)) / far)


# The derivative of each function at x, where its value is y.
_OF_ONE = {
    np.square: lambda x, y: 2 * x,
    np.reciprocal: lambda x, y: -y * y,
    np.positive: lambda x, y: 1,
    np.tan: lambda x, y: 1 + y * y,
    np.sinh: lambda x, y: np.cosh(x),
    np.cosh: lambda x, y: np.sinh(x),
    np.arcsin: lambda x, y: 1 / np.sqrt((1 - x) * (1 + x)),
    np.arccos: lambda x, y: -1 / np.sqrt((1 - x) * (1 + x)),
    np.arctan: lambda x, y: np.square(1 / np.hypot(1, x)),  # 1 / (1 + x * x) may overflow
    np.arcsinh: lambda x, y: 1 / np.hypot(1, x),
    np.arccosh: lambda x, y: 1 / (np.sqrt(x - 1) * np.sqrt(x + 1)),
    np.arctanh: lambda x, y: 1 / ((1 - x) * (1 + x)),
    np.log2: lambda x, y: 1 / (math.log(2) * x),
    np.log10: lambda x, y: 1 / (math.log(10) * x),
    np.exp2: lambda x, y: math.log(2) * y,
    np.cbrt: lambda x, y: 1 / (3 * y * y),  # at 0 it is inf, with NumPy's warning
    np.fabs: lambda x, y: np.sign(x),  # 0 at 0
    np.sinc: lambda x, y: _slope_of_sinc(x),
    np.deg2rad: lambda x, y: math.pi / 180,
    np.radians: lambda x, y: math.pi / 180,
    np.rad2deg: lambda x, y: 180 / math.pi,
    np.degrees: lambda x, y: 180 / math.pi,
}


# ---------------------------------------------------------------- of two arguments


def _ratio(x, y):
    """x / y, and 0 where y is 0, as all its derivatives."""
    return np.where(y == 0, 0, x / np.where(y == 0, 1, y))


def _part(function, power):
    """What part of e**x + e**y is e**x, where `function` is logaddexp; if both are 0 it is 0."""

    def part(x, y, z):
        lost = z == -np.inf
        return power(-function(0, np.where(lost, np.inf, y) - np.where(lost, 0, x)))

    return lambda x, y, z: part(x, y, z), lambda x, y, z: part(y, x, z)


# The derivatives of each function at x and at y, where its value is z. At a point where there is
# none it is 0: hypot and arctan2 at (0, 0), heaviside and copysign at x = 0.
_OF_TWO = {
    np.hypot: (lambda x, y, z: _ratio(x, z), lambda x, y, z: _ratio(y, z)),
    np.arctan2: (
        lambda x, y, z: _ratio(_ratio(y, np.hypot(x, y)), np.hypot(x, y)),
        lambda x, y, z: -_ratio(_ratio(x, np.hypot(x, y)), np.hypot(x, y)),
    ),
    np.remainder: (lambda x, y, z: 1, lambda x, y, z: np.rint((z - x) / y)),
    np.fmod: (lambda x, y, z: 1, lambda x, y, z: np.rint((z - x) / y)),
    np.heaviside: (lambda x, y, z: 0, lambda x, y, z: x == 0),
    np.copysign: (lambda x, y, z: np.sign(x) * np.copysign(1, y), lambda x, y, z: 0),
    np.logaddexp: _part(np.logaddexp, np.exp),
    np.logaddexp2: _part(np.logaddexp2, np.exp2),
}


# ---------------------------------------------------------------- the tables as ops


def _enter(function, body):
    body.__name__ = body.__qualname__ = function.__name__
    body.__doc__ = f"NumPy's {function.__name__}, elementwise."
    op(body)


def _enter_one(function, slope):
    def body(x):
        y = function(x)
        return y, (lambda g: g * slope(x, y),)

    _enter(function, body)


def _enter_two(function, slope_x, slope_y):
    def body(x, y):
        x, y = (
            np.asarray(v, np.result_type(x, y)) if isinstance(v, (int, float)) else v
            for v in (x, y)
        )
        z = function(x, y)
        return z, (lambda g: g * slope_x(x, y, z), lambda g: g * slope_y(x, y, z))

    _enter(function, body)


for _function, _slope in _OF_ONE.items():
    _enter_one(_function, _slope)
for _function, _slopes in _OF_TWO.items():
    _enter_two(_function, *_slopes)
implements(np.real, np.conjugate, np.real_if_close)(registry["positive"])

# ---------------------------------------------------------------- others


@op
def nan_to_num(x, nan=0.0, posinf=None, neginf=None):
    """x with numbers in place of nan and of the infinities, which do not depend on x."""
    y = np.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)
    return y, (lambda g: np.where(np.isfinite(x), g, 0),)


@op
def ldexp(x, i):
    """x * 2**i, where i are integers."""
    return np.ldexp(x, i), (lambda g: np.ldexp(g, i),)


@implements(np.float_power)
def float_power(x, y):
    """x ** y in float64."""
    x, y = (v.astype(float) if type(v) is Tensor else np.asarray(v, float) for v in (x, y))
    return np.power(x, y)


@implements(np.fmax)
def fmax(x, y):
    """The larger of x and y, or the one that is not nan. At a tie each gets half of the gradient."""
    return np.maximum(np.where(np.isnan(x), y, x), np.where(np.isnan(y), x, y))


@implements(np.fmin)
def fmin(x, y):
    """The smaller of x and y, as fmax."""
    return np.minimum(np.where(np.isnan(x), y, x), np.where(np.isnan(y), x, y))


@implements(np.divmod)
def divmod(x, y):
    """x // y, a constant array, and the remainder."""
    return np.floor_divide(x, y), np.remainder(x, y)


@implements(np.select)
def select(condlist, choicelist, default=0):
    """For each entry the first of the choices whose condition holds, or else `default`."""
    if len(condlist) != len(choicelist) or len(condlist) == 0:
        raise ValueError(
            f"select: got {len(condlist)} conditions and {len(choicelist)} choices, it needs as "
            "many of both, one or more"
        )
    for i, condition in enumerate(condlist):
        if np.result_type(condition) != bool:
            raise TypeError(f"select: condition {i} must be boolean, such as x > 0")
    result = default
    for condition, choice in zip(condlist[::-1], choicelist[::-1], strict=True):
        result = np.where(condition, choice, result)
    return result
