"""NumPy's functions along axes, but for those in ops.py.

In order: options of the reductions, running sums and products, those that skip nan, order,
differences and integrals, statistics, functions that are applied along axes. Nearly all are a line
in terms of others. Parameters have NumPy's names; an array may stand where `a` is, if another
argument is a Tensor.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from . import ops
from .dispatch import implements
from .tensor import Tensor, array_of, op


def _array(x, dtype=None):
    """A Tensor or an array, converted if a dtype is given."""
    x = x if type(x) is Tensor else np.asarray(x)
    return x if dtype is None or x.dtype == dtype else x.astype(dtype)


def _along(a, axis):
    """An array and one of its axes, not negative; without an axis, the flattened array."""
    a = a.reshape(-1) if axis is None or not a.ndim else a
    return a, normalize_axis_index(axis or 0, a.ndim)


def _part(axis, *cut):
    """The index that cuts along one axis."""
    return (*[slice(None)] * axis, slice(*cut))


def _upright(x, axis, ndim):
    """A 1-D array as one of `ndim` axes, that lies along `axis`."""
    return x.reshape([-1 if i == axis else 1 for i in range(ndim)])


def _checked(function):
    """Like implements, but NumPy's function runs first, on the arrays: it refuses bad arguments."""

    def enter(ours):
        @implements(function)
        @functools.wraps(ours)
        def checked(*args, **options):
            function(*map(array_of, args), **{k: array_of(x) for k, x in options.items()})
            return ours(*args, **options)

        return ours

    return enter


# ---------------------------------------------------------------- options of the reductions


def _reduction(reduce, join, nothing):
    """`reduce` with two more options: `where` puts `nothing` in place of the entries that are left
    out, and `initial` counts as one more entry."""

    def reduction(a, axis=None, *, dtype=None, keepdims=False, initial=None, where=True):
        if initial is None and where is not True and math.isinf(nothing):
            raise ValueError(f"{reduce.__name__}(where=) needs initial=, the value of no entries")
        a = _array(a, dtype)
        if where is not True:
            other = initial if math.isinf(nothing) and a.dtype.kind != "f" else nothing
            a = np.where(np.broadcast_to(where, a.shape), a, other)
        if initial is None:
            return reduce(a, axis, keepdims)
        if not a.size:
            return ops.sum(a, axis, keepdims) + initial
        return join(reduce(a, axis, keepdims), initial)

    return reduction


_sum, _prod = _reduction(ops.sum, np.add, 0), _reduction(ops.prod, np.multiply, 1)
_max = _reduction(ops.max, np.maximum, -np.inf)
_min = _reduction(ops.min, np.minimum, np.inf)
implements(np.sum)(_sum)
implements(np.prod)(_prod)
implements(np.max, np.amax)(_max)
implements(np.min, np.amin)(_min)


def _count(a, axis, keepdims, where):
    return np.broadcast_to(where, a.shape).sum(axis=axis, keepdims=keepdims, dtype=a.dtype)


@implements(np.mean)
def _mean(a, axis=None, *, dtype=None, keepdims=False, where=True):
    a = _array(a, dtype)
    if where is True:
        return ops.mean(a, axis, keepdims)
    return _sum(a, axis, keepdims=keepdims, where=where) / _count(a, axis, keepdims, where)


@implements(np.var)
def _var(a, axis=None, *, dtype=None, ddof=0, keepdims=False, where=True, correction=None):
    a, ddof = _array(a, dtype), ddof if correction is None else correction
    if where is True:
        return ops.var(a, axis, ddof, keepdims)
    centered = np.where(where, a - _mean(a, axis, keepdims=True, where=where), 0)
    total = ops.sum(centered * centered, axis, keepdims)
    return total / np.maximum(_count(a, axis, keepdims, where) - ddof, 0)


@implements(np.std)
def _std(a, axis=None, *, dtype=None, ddof=0, keepdims=False, where=True, correction=None):
    """Where it is 0 the derivatives are 0."""
    a, ddof = _array(a, dtype), ddof if correction is None else correction
    if where is True:
        return ops.std(a, axis, ddof, keepdims)
    y = _var(a, axis, ddof=ddof, keepdims=keepdims, where=where)
    return np.where(y == 0, 0, np.sqrt(np.where(y == 0, 1, y)))


# ---------------------------------------------------------------- running sums and products


@op
def _cumprod(x, axis):
    y = np.cumprod(x, axis=axis)

    def vjp(g):
        if (x == 0).any():
            return without_division(g)
        backwards = _part(axis, None, None, -1)
        return np.cumsum((g * y)[backwards], axis=axis)[backwards] / x

    def without_division(g):
        rows, n = x.swapaxes(axis, -1), x.shape[axis]
        others = np.cumprod(np.where(np.eye(n), 1, rows[..., None, :]), axis=-1)
        others = np.where(np.tri(n).T, others, 0) * g.swapaxes(axis, -1)[..., None, :]
        return others.sum(axis=-1).swapaxes(axis, -1)  # (..., n of x, n of y) -> (..., n of x)

    return y, (vjp,)


def _running(name, run, nothing):
    @implements(getattr(np, f"cum{name}"))
    def running(a, axis=None, dtype=None):
        return run(*_along(_array(a, dtype), axis))

    @implements(f"np.cumulative_{name}")  # a string: older versions of NumPy do not have it
    def cumulative(x, axis=None, dtype=None, include_initial=False):
        if axis is None and x.ndim > 1:
            raise ValueError(f"cumulative_{name}: axis= is needed, the array has {x.ndim} axes")
        x, axis = _along(_array(x, dtype), axis)
        first = np.full_like(x[_part(axis, 1)], nothing, shape=_one(x.shape, axis))
        return np.concatenate([first, run(x, axis)][not include_initial :], axis=axis)

    return running


def _one(shape, axis):
    return (*shape[:axis], 1, *shape[axis + 1 :])


_cumsum, _cumprod_of = _running("sum", ops.cumsum, 0), _running("prod", _cumprod, 1)

# ---------------------------------------------------------------- without nan


def _skipping(function, plain, nothing=None):
    """Let `function` be `plain` with `nothing` in place of nan, or with nan left out by `where`.

    Where only nan is there, the value is what NumPy gives.
    """

    @implements(function)
    @functools.wraps(plain)
    def skipping(a, *args, **options):
        lost = np.isnan(a)
        if nothing is None:
            there = ~lost & options.pop("where", True)
            return plain(a, *args, where=there, **options)
        if not lost.any():
            return plain(a, *args, **options)
        y = plain(np.where(lost, nothing, a), *args, **options)
        return np.where(np.isnan(function(array_of(a), *args, **options)), np.nan, y)


for _arguments in [
    (np.nansum, _sum, 0), (np.nanprod, _prod, 1), (np.nanmax, _max, -np.inf),
    (np.nanmin, _min, np.inf), (np.nancumsum, _cumsum, 0), (np.nancumprod, _cumprod_of, 1),
    (np.nanmean, _mean), (np.nanvar, _var), (np.nanstd, _std),
]:  # fmt: skip
    _skipping(*_arguments)

# ---------------------------------------------------------------- order
# The gradient goes to the entries that are picked: of equal ones to those that stand first. What is
# beside the values of unique are plain arrays.


@_checked(np.sort)
def _sort(a, axis=-1, kind=None, *, stable=None):
    return np.take_along_axis(a, np.argsort(a, axis, stable=True), axis)


@_checked(np.partition)
def _partition(a, kth, axis=-1, kind="introselect"):
    parted = np.partition(array_of(a), kth, axis, kind)
    ranks = np.argsort(np.argsort(parted, axis, stable=True), axis)
    picks = np.take_along_axis(np.argsort(a, axis, stable=True), ranks, axis)
    return np.take_along_axis(a, picks, axis)


def _quantile(function, like, a, q, axis, method):
    """A quantile is an entry or lies between two; which ones depends on their number alone.

    NumPy's `function`, given 0, 1, 2, ... for the entries, says where. `like` is NumPy's value.
    """
    if not a.size:
        return Tensor(like)
    axes = normalize_axis_tuple(range(a.ndim) if axis is None else axis, a.ndim)
    rest = [i for i in range(a.ndim) if i not in axes]
    rows = a.transpose([*rest, *axes]).reshape((*[a.shape[i] for i in rest], -1))
    order, n = np.argsort(rows, axis=-1, stable=True), rows.shape[-1]
    counts = n - np.isnan(rows).sum(axis=-1)
    at = np.full((*rows.shape[:-1], np.size(q)), n - 1.0)  # where nan is, if it is anywhere
    for count in np.unique(counts):
        if count == n or (count and "nan" in function.__name__):
            at[counts == count] = np.ravel(function(np.arange(1.0 * count), q, method=method))
    below, above = (
        np.take_along_axis(rows, np.take_along_axis(order, i.astype(int), -1), -1)
        for i in (np.floor(at), np.ceil(at))
    )
    part = np.where(at == np.floor(at), 0.5, at % 1).astype(like.dtype)
    y = below * (1 - part) + above * part
    return y.transpose([len(rest), *range(len(rest))]).reshape(like.shape)


def _enter_quantile(function):
    @implements(function)
    def quantile(a, q, axis=None, *, method="linear", keepdims=False):
        like = function(array_of(a), q, axis, method=method, keepdims=keepdims)
        return _quantile(function, like, a, q, axis, method)


def _enter_median(function, quantile):
    @implements(function)
    def median(a, axis=None, *, keepdims=False):
        like = function(array_of(a), axis, keepdims=keepdims)
        return _quantile(quantile, like, a, 0.5, axis, "linear")


for _function in (np.quantile, np.percentile, np.nanquantile, np.nanpercentile):
    _enter_quantile(_function)
_enter_median(np.median, np.quantile)
_enter_median(np.nanmedian, np.nanquantile)


@implements(np.unique)
def _unique(ar, return_index=False, return_inverse=False, return_counts=False, axis=None, *,
            equal_nan=True):  # fmt: skip
    options = return_inverse, return_counts, axis
    _, index, *others = np.unique(array_of(ar), True, *options, equal_nan=equal_nan)
    values = np.take(ar, index, axis)
    results = [values, *([index] if return_index else []), *others]
    return tuple(results) if len(results) > 1 else values


def _enter_unique(function):
    @implements(function)
    def unique(x):
        return function(x.data)._replace(values=_unique(x, equal_nan=False))


_enter_unique(np.unique_all)
_enter_unique(np.unique_counts)
_enter_unique(np.unique_inverse)
implements(np.unique_values)(lambda x: _unique(x, equal_nan=False))

# ---------------------------------------------------------------- differences and integrals


@implements(np.trace)
def _trace(a, offset=0, axis1=0, axis2=1, dtype=None):
    places = np.diagonal(np.arange(a.size).reshape(a.shape), offset, axis1, axis2)
    return _sum(a.reshape(-1)[places], -1, dtype=dtype)


@implements(np.linalg.trace)
def _trace_of_each(x, *, offset=0, dtype=None):
    return _trace(x, offset, -2, -1, dtype)


@_checked(np.diff)
def _diff(a, n=1, axis=-1, prepend=None, append=None):
    if n == 0:
        return a
    a, axis = _along(_array(a), axis)
    parts = [_array(x) for x in (prepend, a, append) if x is not None]
    parts = [x if x.ndim else np.broadcast_to(x, _one(a.shape, axis)) for x in parts]
    a = np.concatenate(parts, axis=axis)
    for _ in range(n):
        a = a[_part(axis, 1, None)] - a[_part(axis, None, -1)]
    return a


@_checked(np.ediff1d)
def _ediff1d(ary, to_end=None, to_begin=None):
    ary = _array(ary).reshape(-1)
    parts = [x for x in (to_begin, ary[1:] - ary[:-1], to_end) if x is not None]
    return np.concatenate([_array(x, ary.dtype).reshape(-1) for x in parts])


@_checked(np.gradient)
def _gradient(f, *varargs, axis=None, edge_order=1):
    f = _array(f)
    f = f if f.dtype.kind == "f" else _array(f, float)
    axes = normalize_axis_tuple(range(f.ndim) if axis is None else axis, f.ndim)
    if len(varargs) < 2:
        varargs = (varargs or (1.0,)) * len(axes)
    results = [_along_one(f, i, h, edge_order) for i, h in zip(axes, varargs, strict=True)]
    return results[0] if len(axes) == 1 else tuple(results)


def _along_one(f, axis, spacing, edge_order):
    """Between two entries the slope of the parabola through three; at an edge of the line through
    two, or with order 2 of the parabola."""
    h = np.diff(spacing) if np.ndim(spacing) else np.broadcast_to(spacing, f.shape[axis] - 1)
    h = _upright(_array(h, f.dtype), axis, f.ndim)
    slope, first, last = _diff(f, axis=axis) / h, _part(axis, 1), _part(axis, -1, None)
    before, after = _part(axis, None, -1), _part(axis, 1, None)
    width = h[before] + h[after]
    middle = (f[_part(axis, 2, None)] - f[_part(axis, None, -2)]) / width
    bend = (slope[after] - slope[before]) / width
    if type(spacing) is Tensor or (h[before] != h[after]).any():
        middle = middle + (h[before] - h[after]) * bend
    ends = [slope[first], slope[last]]
    if edge_order == 2:
        ends = [ends[0] - h[first] * bend[first], ends[1] + h[last] * bend[last]]
    return np.concatenate([ends[0], middle, ends[1]], axis=axis)


@implements(np.unwrap)
def _unwrap(p, discont=None, axis=-1, *, period=2 * math.pi):
    """At a jump the derivative is that beside it."""
    p = _array(p)
    y = np.unwrap(array_of(p), discont, axis, period=array_of(period))
    turns = np.rint((y - array_of(p)) / array_of(period)).astype(y.dtype)
    return p + turns * period


@implements("np.trapezoid", "np.trapz")  # the newer and the older name
def _trapezoid(y, x=None, dx=1.0, axis=-1):
    y = _array(y)
    i = normalize_axis_index(axis, y.ndim)
    if x is not None:
        x = _array(x)
        dx = np.diff(_upright(x, i, y.ndim) if x.ndim == 1 else x, axis=axis)
    return (dx * (y[_part(i, 1, None)] + y[_part(i, None, -1)]) / 2.0).sum(axis=axis)


@_checked(np.interp)
def _interp(x, xp, fp, left=None, right=None, period=None):
    """In float64, as NumPy's. At a point the derivative is that of the line to its right."""
    x, xp, fp = (_array(v, float) for v in (x, xp, fp))
    if period is not None:
        period, left, right = np.abs(period), None, None
        x, xp = x % period, xp % period
        order = np.argsort(xp)
        xp, fp = xp[order], fp[order]
        xp = np.concatenate([xp[-1:] - period, xp, xp[:1] + period])
        fp = np.concatenate([fp[-1:], fp, fp[:1]])
    first, last = array_of(xp)[0], array_of(xp)[-1]
    i = np.searchsorted(xp, x, "right")
    low, high = np.maximum(i - 1, 0), np.minimum(i, xp.size - 1)
    width = np.where(low == high, 1, xp[high] - xp[low])
    inside = (np.clip(x, first, last) - xp[low]) / width * (fp[high] - fp[low]) + fp[low]
    inside = inside if left is None else np.where(x < first, left, inside)
    return inside if right is None else np.where(x > last, right, inside)


# ---------------------------------------------------------------- statistics


@implements(np.ptp)
def _ptp(a, axis=None, *, keepdims=False):
    return ops.max(a, axis, keepdims) - ops.min(a, axis, keepdims)


@_checked(np.average)
def _average(a, axis=None, weights=None, returned=False, *, keepdims=False):
    a = _array(a)
    w = np.ones(a.shape, np.result_type(a, np.float16)) if weights is None else weights
    w = w if type(w) is Tensor else Tensor(w)  # so that the sum of the weights is one
    if w.shape != a.shape:  # those of some axes
        axes = normalize_axis_tuple(axis, a.ndim)
        w = w.transpose(np.argsort(axes)).reshape([n if i in axes else 1
                                                   for i, n in enumerate(a.shape)])  # fmt: skip
    total = ops.sum(w, axis, keepdims)
    y = np.sum(a * w, axis, keepdims=keepdims) / total
    return (y, ops.broadcast_to(total, y.shape)) if returned else y


@_checked(np.bincount)
def _bincount(x, weights=None, minlength=0):
    """Without weights these are counts, a constant array."""
    counts = np.bincount(array_of(x), minlength=minlength)
    places = np.asarray(array_of(x), np.intp)
    return counts if weights is None else ops.scatter(_array(weights, float), places, counts.shape)


@_checked(np.cov)
def _cov(m, y=None, rowvar=True, bias=False, ddof=None, fweights=None, aweights=None, *,
         dtype=None):  # fmt: skip
    parts = [_array(p) for p in (m, y) if p is not None]
    dtype = np.result_type(*(p.dtype for p in parts), float) if dtype is None else dtype
    columns = [not rowvar and p.ndim == 2 and (p is parts[0] or len(p) > 1) for p in parts]
    parts = [_array(p if p.ndim == 2 else p.reshape((1, -1)), dtype) for p in parts]
    x = np.concatenate([p.T if across else p for p, across in zip(parts, columns, strict=True)])
    ddof = int(not bias) if ddof is None else ddof
    w = np.ones(x.shape[1], dtype) if fweights is None else np.asarray(fweights, dtype)
    w = w if aweights is None else w * _array(aweights, dtype)
    lost = ddof if aweights is None else ddof * (w * aweights).sum() / w.sum()
    x = x - (x @ w / w.sum())[:, None]
    return ((x * w) @ x.T / np.maximum(w.sum() - lost, 0)).squeeze()


@_checked(np.corrcoef)
def _corrcoef(x, y=None, rowvar=True, *, dtype=None):
    c = _cov(x, y, rowvar, dtype=dtype)
    scale = np.sqrt(c[(np.arange(len(c)),) * 2]) if c.ndim else np.sqrt(c)
    return np.clip(c / scale[..., None] / scale, -1, 1) if c.ndim else c / c


# ---------------------------------------------------------------- functions of vectors, of axes


@implements(np.apply_along_axis)
def _apply_along_axis(func1d, axis, arr, *args, **kwargs):
    axis = normalize_axis_index(axis, arr.ndim)
    rows = np.moveaxis(arr, axis, -1)
    shape = rows.shape[:-1]
    found = [func1d(rows[i], *args, **kwargs) for i in np.ndindex(shape)]
    if not found:
        raise ValueError(f"apply_along_axis of shape {arr.shape}: there is no row along {axis}")
    y: Any = ops.stack([x if type(x) is Tensor else Tensor(x) for x in found])
    n = y.ndim - 1
    y = y.reshape(shape + y.shape[1:])
    return np.moveaxis(y, range(len(shape), len(shape) + n), range(axis, axis + n))


@implements(np.apply_over_axes)
def _apply_over_axes(func, a, axes):
    for axis in np.ravel(axes).tolist():
        axis = normalize_axis_index(axis, a.ndim)
        y = func(a, axis)
        y = y if y.ndim == a.ndim else np.expand_dims(y, axis)
        if y.ndim != a.ndim:
            raise ValueError(f"apply_over_axes: of shape {a.shape} the function made {y.shape}")
        a = y
    return a
