"""SciPy's functions on Tensors, for programs that import SciPy: nothing here imports it by itself.

The ufuncs of scipy.special find their derivatives in the table below, as np.exp(t) finds exp:
`scipy.special.erf(t)` needs no further import. What SciPy would convert to an array first has a
namesake here that takes Tensors and arrays:

    from autograd.scipy import logsumexp, norm, polygamma

`norm` is scipy.stats.norm as far as a likelihood needs it.
"""

from __future__ import annotations

import functools
import importlib
import math
from types import SimpleNamespace

import numpy as np

from . import ops
from .dispatch import implements
from .tensor import Tensor, array_of, op

_SQRT_PI = math.sqrt(math.pi)
_SQRT_2PI = math.sqrt(2 * math.pi)


class _Special:
    """scipy.special, imported where it is used first."""

    def __getattr__(self, name):
        return getattr(importlib.import_module("scipy.special"), name)


special = _Special()


def _where_not(zero, function, *args):
    """function(*args), and 0 where `zero` holds, with all its derivatives."""
    return np.where(zero, 0, function(*(np.where(zero, 1, x) for x in args)))


def _hazard(x):
    """The density of the normal distribution by its distribution function, exact far out."""
    left, right = np.where(x < 0, x, 0), np.where(x < 0, 0, x)
    far = math.sqrt(2 / math.pi) / special.erfcx(left * -math.sqrt(0.5))
    return np.where(x < 0, far, np.exp(-right * right / 2) / _SQRT_2PI / special.ndtr(right))


# For each ufunc its derivatives at its arguments, of the arguments and the value; None where there
# is none. 0 * log(0) is 0, with derivatives 0.
_UFUNCS = {
    "expit": [lambda x, y: y * (1 - y)],
    "logit": [lambda x, y: 1 / (x * (1 - x))],
    "log_expit": [lambda x, y: special.expit(-x)],
    "erf": [lambda x, y: 2 / _SQRT_PI * np.exp(-x * x)],
    "erfc": [lambda x, y: -2 / _SQRT_PI * np.exp(-x * x)],
    "erfcx": [lambda x, y: 2 * x * y - 2 / _SQRT_PI],
    "erfinv": [lambda x, y: _SQRT_PI / 2 * np.exp(y * y)],
    "erfcinv": [lambda x, y: -_SQRT_PI / 2 * np.exp(y * y)],
    "gammaln": [lambda x, y: special.psi(x)],
    "gamma": [lambda x, y: y * special.psi(x)],
    "psi": [lambda x, y: polygamma(1, x).astype(x.dtype)],
    "beta": [lambda a, b, y: y * (special.psi(a) - special.psi(a + b)),
             lambda a, b, y: y * (special.psi(b) - special.psi(a + b))],
    "betaln": [lambda a, b, y: special.psi(a) - special.psi(a + b),
               lambda a, b, y: special.psi(b) - special.psi(a + b)],
    "i0": [lambda x, y: special.i1(x)],
    "i1": [lambda x, y: (special.i0(x) + special.iv(2, x)) / 2],
    "iv": [None, lambda v, x, y: (special.iv(v - 1, x) + special.iv(v + 1, x)) / 2],
    "xlogy": [lambda x, y, z: _where_not((x == 0) & (y <= 0), np.log, y),
              lambda x, y, z: _where_not((x == 0) & (y <= 0), np.divide, x, y)],
    "xlog1py": [lambda x, y, z: _where_not((x == 0) & (y <= -1), np.log1p, y),
                lambda x, y, z: _where_not((x == 0) & (y <= -1), np.divide, x, 1 + y)],
    "entr": [lambda x, y: -np.log(x) - 1],
    "rel_entr": [lambda x, y, z: np.log(x / y) + 1,
                 lambda x, y, z: -_where_not(x == 0, np.divide, x, y)],
    "kl_div": [lambda x, y, z: np.log(x / y),
               lambda x, y, z: 1 - _where_not(x == 0, np.divide, x, y)],
    "ndtr": [lambda x, y: np.exp(-x * x / 2) / _SQRT_2PI],
    "log_ndtr": [lambda x, y: _hazard(x)],
    "ndtri": [lambda x, y: _SQRT_2PI * np.exp(y * y / 2)],
}  # fmt: skip


def _enter(name, slopes):
    def body(*args):
        dtype = np.result_type(*args)  # by itself SciPy makes float64 of 2.0 and float32
        xs = [np.asarray(x, dtype) if isinstance(x, (int, float)) else x for x in args]
        y = getattr(special, name)(*xs)
        return y, tuple(s and (lambda g, slope=s: g * slope(*xs, y)) for s in slopes)

    body.__name__, body.__doc__ = name, f"SciPy's {name}, elementwise."
    implements(f"scipy.special.{name}")(op(body))


for _name, _slopes in _UFUNCS.items():
    _enter(_name, _slopes)
for _name in "expm1 log1p exp2 cbrt".split():
    implements(f"scipy.special.{_name}")(getattr(np, _name))


# ---------------------------------------------------------------- not ufuncs in SciPy


def _of_tensors(function):
    """`function` where an argument is a Tensor, otherwise its namesake in scipy.special."""

    @functools.wraps(function)
    def call(*args, **options):
        if any(type(x) is Tensor for x in (*args, *options.values())):
            return function(*args, **options)
        return getattr(special, function.__name__)(*args, **options)

    return call


@op
def _polygamma(n, x):
    y = polygamma(n, x).astype(x.dtype)
    return y, (None, lambda g: g * polygamma(n + 1, x).astype(x.dtype))


@_of_tensors
def polygamma(n, x):
    """The derivative of order n of digamma."""
    return _polygamma(n, x)


@_of_tensors
def multigammaln(a, d):
    """The logarithm of the gamma function of d dimensions, for a > (d - 1) / 2."""
    if (a <= (d - 1) / 2).any():
        raise ValueError(f"multigammaln(a, d={d}): a must be greater than (d - 1) / 2")
    total = d * (d - 1) / 4 * math.log(math.pi)
    return total + np.stack([special.gammaln(a - j / 2) for j in range(d)]).sum(axis=0)


@_of_tensors
def logsumexp(a, axis=None, b=None, keepdims=False, return_sign=False):
    """log(sum(b * exp(a))) over `axis`; nan where the sum is negative, -inf with slope 0 at 0.

    An entry whose weight in b is 0 is left out where its exponential could overflow.
    """
    if return_sign:
        raise ValueError("logsumexp(return_sign=True) is not defined for Tensors")
    if b is None:
        return ops.logsumexp(a, axis=axis, keepdims=keepdims)
    m = np.where(np.equal(b, 0), -np.inf, array_of(a)).max(axis=axis, keepdims=True)
    m = np.where(np.isfinite(m), m, 0)
    out = np.equal(b, 0) & np.greater(a, m + 80)
    s = (b * np.exp(np.where(out, -np.inf, a) - m)).sum(axis=axis, keepdims=True)
    s = s * np.where(s < 0, np.nan, 1).astype(s.dtype)
    y = np.where(s == 0, -np.inf, np.log(np.where(s == 0, 1, s)) + m)
    return y if keepdims else y.squeeze(axis)


@_of_tensors
def softmax(x, axis=None):
    """exp(x) / sum(exp(x)) over `axis`; over all entries if None."""
    return ops.softmax(x, axis=axis)


@_of_tensors
def log_softmax(x, axis=None):
    """log(softmax(x)), exact even where softmax(x) is so small that it is 0."""
    return ops.log_softmax(x, axis=axis)


# ---------------------------------------------------------------- stats.norm


def _standard(x, loc, scale):
    """(x - loc) / scale, and the scale; nan where it is not positive."""
    scale = np.where(np.greater(scale, 0), scale, np.nan)
    return np.divide(np.subtract(x, loc), scale), scale


def _logpdf(x, loc=0, scale=1):
    z, scale = _standard(x, loc, scale)
    return -z * z / 2 - np.log(scale) - math.log(2 * math.pi) / 2


def _ppf(q, loc=0, scale=1):
    return special.ndtri(q) * np.where(np.greater(scale, 0), scale, np.nan) + loc


norm = SimpleNamespace(
    logpdf=_logpdf,
    pdf=lambda x, loc=0, scale=1: np.exp(_logpdf(x, loc, scale)),
    cdf=lambda x, loc=0, scale=1: special.ndtr(_standard(x, loc, scale)[0]),
    logcdf=lambda x, loc=0, scale=1: special.log_ndtr(_standard(x, loc, scale)[0]),
    sf=lambda x, loc=0, scale=1: special.ndtr(-_standard(x, loc, scale)[0]),
    logsf=lambda x, loc=0, scale=1: special.log_ndtr(-_standard(x, loc, scale)[0]),
    ppf=_ppf,
)
