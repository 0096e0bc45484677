"""The ops, each with its derivative beside it.

`x, y` are inputs, `g` is the gradient of the value, and each vjp returns the gradient of one
argument. Nothing here undoes broadcasting: the engine sums a gradient down to its argument's
shape. Bodies run on arrays, and on Tensors where gradients of gradients are asked for; a vjp is a
closure that uses what the body has computed.

In order: arithmetic, functions, choices, reductions, normalizations, products, shapes, indexing.
Next to read: check.py, which compares derivatives with finite differences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from .dispatch import implements, register
from .gradients import GradientWriter, in_float32, widened
from .tensor import Tensor, op

# ---------------------------------------------------------------- arithmetic


@op
def add(x, y):
    """x + y, elementwise."""
    return x + y, (lambda g: g, lambda g: g)


@op
def subtract(x, y):
    """x - y, elementwise."""
    return x - y, (lambda g: g, lambda g: -g)


@op
def multiply(x, y):
    """x * y, elementwise."""
    return x * y, (lambda g: g * y, lambda g: g * x)


@op
def divide(x, y):
    """x / y, elementwise."""
    z = x / y
    return z, (lambda g: g / y, lambda g: -widened(g) * z / y)  # g z may be beyond float16


@op
def negative(x):
    """-x."""
    return -x, (lambda g: -g,)


@op
def power(x, y):
    """x ** y, elementwise. At 0 ** 0 both derivatives are 0, and so are those of higher order."""
    if isinstance(x, (int, float)):
        x = np.asarray(x, np.result_type(x, y))
    y = np.asarray(y) if type(y) is tuple else y
    if isinstance(y, (int, float)) and y in (2, 3) and x.dtype.kind == "f":
        z = x * x if y == 2 else x * x * x  # 40 times as fast as float32 ** 3
    else:
        z = x**y

    def vjp_x(g):
        both = (x == 0) & (y == 0)
        return g * np.where(both, 0, y * np.where(both, 1, widened(x)) ** (y - 1))

    return z, (
        vjp_x,
        lambda g: widened(g) * z * np.log(np.where(x == 0, 1, x)),
    )


# ---------------------------------------------------------------- functions


@op
def exp(x):
    """e ** x."""
    y = np.exp(x)
    return y, (lambda g: g * y,)


@op
def expm1(x):
    """e ** x - 1, exact near 0."""
    return np.expm1(x), (lambda g: g * np.exp(x),)


@op
def log(x):
    """The natural logarithm."""
    return np.log(x), (lambda g: g / x,)


@op
def log1p(x):
    """log(1 + x), exact near 0."""
    return np.log1p(x), (lambda g: g / (1 + x),)


@op
def sqrt(x):
    """The square root. At 0 the derivative is inf, with NumPy's warning."""
    y = np.sqrt(x)
    return y, (lambda g: g / (2 * y),)


@op
def sin(x):
    """sin x, x in radians."""
    return np.sin(x), (lambda g: g * np.cos(x),)


@op
def cos(x):
    """cos x, x in radians."""
    return np.cos(x), (lambda g: -g * np.sin(x),)


@op
def tanh(x):
    """The hyperbolic tangent."""
    y = np.tanh(x)
    return y, (lambda g: g * (1 - y * y),)


@op
@in_float32
def sigmoid(x):
    """1 / (1 + e ** -x). Where e ** -x would overflow the value is as good as 0."""
    bound = 700 if x.dtype == np.float64 else 80
    y = np.exp(np.minimum(-x, bound))
    y += 1
    y = 1 / y
    return y, (lambda g: g * y * (1 - y),)


@op
def relu(x):
    """max(x, 0). At 0 the derivative is 0."""
    return np.maximum(x, 0), (
        lambda g: np.where(x > 0, g, np.where(x <= 0, 0, x)),  # nan at nan
    )


@op
def abs(x):
    """|x|. At 0 the derivative is 0."""
    return np.abs(x), (lambda g: g * np.sign(x),)


# ---------------------------------------------------------------- choices


def _if_larger(g, x, y, z):
    """g where x is larger than y, half of it where they are equal; nan where the value z is nan."""
    return np.where(x > y, g, np.where(x == y, g / 2, np.where(x < y, 0, z)))


@op
def maximum(x, y):
    """The larger of x and y, elementwise. At a tie each gets half of the gradient."""
    z = np.maximum(x, y)
    return z, (lambda g: _if_larger(g, x, y, z), lambda g: _if_larger(g, y, x, z))


@op
def minimum(x, y):
    """The smaller of x and y, elementwise. At a tie each gets half of the gradient."""
    z = np.minimum(x, y)
    return z, (lambda g: _if_larger(g, y, x, z), lambda g: _if_larger(g, x, y, z))


@op
@in_float32
def _clip(x, low=-math.inf, high=math.inf):
    return np.minimum(np.maximum(x, low), high), (
        lambda g: np.where((x < low) | (x > high), 0, np.where(x == x, g, x)),
    )


@register
def clip(x: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    """x limited to bounds. At a constant bound the derivative is 1, beyond it 0.

    With a Tensor as a bound it is minimum(maximum(x, a_min), a_max).
    """
    low, high = a_min if min is None else min, a_max if max is None else max
    if type(low) is Tensor or type(high) is Tensor:
        x = x if low is None else maximum(x, low)
        return x if high is None else minimum(x, high)
    bounds = {name: x for name, x in (("low", low), ("high", high)) if x is not None}
    return _clip(x, **bounds)


@op
def where(condition, x, y):
    """x where `condition` holds, y elsewhere.

    The gradient of the branch not taken is 0, but what is computed *before* on that branch may
    turn this 0 into nan: write sqrt(where(x > 0, x, 1)), not where(x > 0, sqrt(x), 1).
    """
    return np.where(condition, x, y), (
        None,
        lambda g: np.where(condition, g, 0),
        lambda g: np.where(condition, 0, g),
    )


@op
def astype(x, dtype):
    """x converted to another floating-point dtype; its gradient is converted back."""
    if x.dtype.kind == "f" and np.dtype(dtype).kind != "f":
        raise TypeError(
            f"astype({np.dtype(dtype)}) has no derivative: use t.data.astype(...) for a constant"
        )
    return x.astype(dtype), (lambda g: g,)  # the engine converts it


# ---------------------------------------------------------------- reductions
# `axis` is None (all axes), an int or a tuple; with `keepdims` reduced axes stay, of size 1. Over
# no entries sum is 0, prod 1, mean and var are nan with a warning, max and min raise, as in NumPy.


def _count(x, y):
    """How many entries of x went into each entry of y."""
    return x.size // y.size if x.size else 1


def _unreduce(g, axis, keepdims):
    """The gradient of a reduction with the reduced axes back, of size 1: it broadcasts to x."""
    return g if keepdims or axis is None else np.expand_dims(g, axis)


@op
@in_float32
def sum(x, axis=None, keepdims=False):
    """The sum over `axis`; over no entries it is 0."""
    return x.sum(axis=axis, keepdims=keepdims), (
        lambda g: np.broadcast_to(_unreduce(g, axis, keepdims), x.shape or 1),  # 0-d has an axis 0
    )


@op
@in_float32
def mean(x, axis=None, keepdims=False):
    """The mean over `axis`."""
    y = x.mean(axis=axis, keepdims=keepdims)
    return y, (lambda g: np.broadcast_to(_unreduce(g / _count(x, y), axis, keepdims), x.shape),)


@op
@in_float32
def var(x, axis=None, ddof=0, keepdims=False):
    """The variance over `axis`: sum((x - mean)**2) / (n - ddof)."""
    y = x.var(axis=axis, ddof=ddof, keepdims=keepdims)

    def vjp(g):
        centered = x - x.mean(axis=axis, keepdims=True)
        return _unreduce(2 * g / (_count(x, y) - ddof), axis, keepdims) * centered

    return y, (vjp,)


@op
@in_float32
def std(x, axis=None, ddof=0, keepdims=False):
    """The standard deviation over `axis`. Where it is 0 the derivatives of all orders are 0."""
    y = x.std(axis=axis, ddof=ddof, keepdims=keepdims)

    def vjp(g):
        centered = x - x.mean(axis=axis, keepdims=True)
        slope = np.where(y == 0, 0, g / np.where(y == 0, 1, y)) / (_count(x, y) - ddof)
        return _unreduce(slope, axis, keepdims) * centered

    return y, (vjp,)


def _share(x, y, axis, keepdims):
    """The vjp of max and min: the entries of x equal to y share the gradient evenly."""

    def vjp(g):
        tied = x == _unreduce(y, axis, keepdims)
        n = tied.sum(axis=axis, keepdims=True, dtype=x.dtype)
        n = np.where(n == 0, math.nan, n)  # where y is nan, which equals nothing
        return _unreduce(g, axis, keepdims) * (tied / n)

    return vjp


@op
@in_float32
def max(x, axis=None, keepdims=False):
    """The largest entry over `axis`. Ties share the gradient evenly."""
    y = x.max(axis=axis, keepdims=keepdims)
    return y, (_share(x, y, axis, keepdims),)


@op
@in_float32
def min(x, axis=None, keepdims=False):
    """The smallest entry over `axis`. Ties share the gradient evenly."""
    y = x.min(axis=axis, keepdims=keepdims)
    return y, (_share(x, y, axis, keepdims),)


@op
@in_float32
def prod(x, axis=None, keepdims=False):
    """The product over `axis`."""
    y = x.prod(axis=axis, keepdims=keepdims)

    def vjp(g):
        if (x == 0).any():
            return _unreduce(g, axis, keepdims) * _product_of_others(x, axis)
        return _unreduce(g * y, axis, keepdims) / x

    return y, (vjp,)


def _product_of_others(x, axis):
    """For each entry the product of all others along `axis`, without dividing by zeros."""
    axes = normalize_axis_tuple(range(x.ndim) if axis is None else axis, x.ndim)
    order = [i for i in range(x.ndim) if i not in axes] + list(axes)
    z = x.transpose(order)  # the reduced axes last, then as one
    n = math.prod(x.shape[i] for i in axes)
    rows = z.reshape((*z.shape[: x.ndim - len(axes)], 1, n))
    others = np.where(np.eye(n), 1, rows).prod(axis=-1)  # (..., n)
    return others.reshape(z.shape).transpose([order.index(i) for i in range(x.ndim)])


@op
@in_float32
def cumsum(x, axis=None):
    """The running sum along `axis`; of the flattened array if None."""

    def vjp(g):
        i = normalize_axis_index(0 if axis is None else axis, g.ndim)
        backwards = (slice(None),) * i + (slice(None, None, -1),)
        return np.cumsum(g[backwards], axis=axis)[backwards].reshape(x.shape)

    return np.cumsum(x, axis=axis), (vjp,)


@op
@in_float32
def norm(x, ord=None, axis=None, keepdims=False):
    """The Euclidean (Frobenius) norm sqrt(sum(x**2)) over `axis`. At 0 all derivatives are 0."""
    if ord is not None:
        raise ValueError(f"norm(ord={ord}): only the Euclidean norm is defined; use np.linalg.norm")
    total = (x * x).sum(axis=axis, keepdims=keepdims)

    def vjp(g):
        length = np.sqrt(np.where(total == 0, 1, total))
        return _unreduce(np.where(total == 0, 0, g / length), axis, keepdims) * x

    return np.sqrt(total), (vjp,)


def _largest(x, axis):
    """The largest entry over `axis`, which stays, of size 1; 0 where there is none."""
    return x.max(axis=axis, keepdims=True) if x.size else x.sum(axis=axis, keepdims=True)


@op
@in_float32
def logsumexp(x, axis=None, keepdims=False):
    """log(sum(exp(x))) over `axis`, shifted by the maximum so that exp cannot overflow.

    Where all entries are -inf it is -inf, with derivative 0.
    """
    m = _largest(x, axis)
    m = np.where(np.isfinite(m), m, 0)
    e = np.exp(x - m)
    s = e.sum(axis=axis, keepdims=True)
    with np.errstate(divide="ignore"):  # all entries -inf: the logarithm of 0
        y = np.log(s) + m
    y = y if keepdims else y.squeeze(axis)
    return y, (lambda g: _unreduce(g, axis, keepdims) * (e / np.where(s == 0, 1, s)),)


# ---------------------------------------------------------------- normalizations


@op
@in_float32
def softmax(x, axis=-1):
    """exp(x) / sum(exp(x)) along `axis`, shifted by the maximum so that exp cannot overflow."""
    p = np.exp(x - _largest(x, axis))
    p /= p.sum(axis=axis, keepdims=True)

    def vjp(g):
        gx = g * p
        gx -= p * gx.sum(axis=axis, keepdims=True)
        return gx

    return p, (vjp,)


@op
@in_float32
def log_softmax(x, axis=-1):
    """log(softmax(x)) along `axis`, exact even where softmax(x) is so small that it is 0."""
    z = x - _largest(x, axis)
    with np.errstate(divide="ignore"):  # an axis of size 0
        y = z - np.log(np.exp(z).sum(axis=axis, keepdims=True))
    return y, (lambda g: g - np.exp(y) * g.sum(axis=axis, keepdims=True),)


@in_float32
def _plain_layer_norm(x, weight=None, bias=None, eps=1e-5):
    centered = x - x.mean(axis=-1, keepdims=True)  # (..., C)
    scale = 1 / np.sqrt((centered * centered).mean(axis=-1, keepdims=True) + eps)  # (..., 1)
    n = centered * scale
    y = n if weight is None else n * weight
    y = y if bias is None else y + bias

    def vjp_x(g):
        gn = g if weight is None else g * weight
        gx = gn - gn.mean(axis=-1, keepdims=True)
        gx -= n * (gn * n).mean(axis=-1, keepdims=True)
        return gx * scale

    return y, (vjp_x, lambda g: g * n, lambda g: g)


def _centered(rows, average):
    """Rows minus their means, as a product with 1 / C everywhere: it is faster than mean()."""
    return rows - (rows @ average)[:, None]


_BLOCK = 65_536  # entries worked on at a time, so that all arrays of a step stay in cache


@op(reference=_plain_layer_norm)
@in_float32
def layer_norm(x, weight=None, bias=None, eps=1e-5):
    """(x - mean) / sqrt(var + eps) over the last axis, times `weight` plus `bias`, both (C,).

    Ba, Kiros, Hinton: Layer Normalization, arXiv:1607.06450.
    """
    dtype = np.result_type(*(a for a in (x, weight, bias) if a is not None), 0.0)
    C = x.shape[-1]
    rows = x.reshape((math.prod(x.shape[:-1]), C)).astype(dtype, copy=False)
    y, scale = np.empty(rows.shape, dtype), np.empty((len(rows), 1), dtype)
    average = np.full(C, 1 / (C or 1), dtype)
    w = np.ones(C, dtype) if weight is None else weight
    step = _BLOCK // (C or 1) or 1
    blocks = [slice(i, i + step) for i in range(0, len(rows), step)]
    for b in blocks:
        n = _centered(rows[b], average)
        scale[b, 0] = 1 / np.sqrt(np.vecdot(n, n) / (C or 1) + eps)
        n *= scale[b]
        np.multiply(n, w, out=y[b])
        if bias is not None:
            y[b] += bias

    def vjp(g):
        g, gx = g.reshape(rows.shape), np.empty(rows.shape, dtype)
        gw, gb, share = np.zeros(C, dtype), np.zeros(C, dtype), w * average
        for b in blocks:
            n = _centered(rows[b], average)  # computed again, which saves its memory
            n *= scale[b]
            t, ones = g[b] * n, np.ones(len(n), dtype)
            gw += ones @ t
            gb += ones @ g[b]
            np.multiply(n, (t @ share)[:, None], out=t)
            t += (g[b] @ share)[:, None]
            np.multiply(g[b], w, out=gx[b])
            gx[b] -= t
            gx[b] *= scale[b]
        return gx.reshape(x.shape), gw, gb

    return y.reshape(x.shape), vjp


# ---------------------------------------------------------------- products


@op
def matmul(x, y):
    """x @ y: rows times columns over the last two axes, the others broadcast.

    A 1-D x is one row, a 1-D y one column, and that axis is dropped from the value.
    """
    x = np.asarray(x) if type(x) is tuple else x
    y = np.asarray(y) if type(y) is tuple else y

    def vjp_x(g):
        if y.ndim == 1:
            return g[..., None] * y
        if x.ndim == 1:
            return (y @ g[..., None])[..., 0]
        return g @ y.swapaxes(-1, -2)

    def vjp_y(g):
        if x.ndim == 1:
            return x * g if y.ndim == 1 else x[:, None] * g[..., None, :]
        if y.ndim > 2:
            return x.swapaxes(-1, -2) @ g
        rows = math.prod(x.shape[:-1])  # one product instead of a batch of them to add up
        return x.reshape(rows, x.shape[-1]).T @ g.reshape(rows, *y.shape[1:])

    return x @ y, (vjp_x, vjp_y)


# ---------------------------------------------------------------- shapes


@op
def reshape(x, shape):
    """The same entries in another shape; one size may be -1."""
    return x.reshape(shape), (lambda g: g.reshape(x.shape),)


@op
def transpose(x, axes=None):
    """The axes in the order `axes`; reversed if None."""
    inverse = None if axes is None else np.argsort([i % x.ndim for i in axes])
    return x.transpose(axes), (lambda g: g.transpose(inverse),)


@op
def swapaxes(x, axis1, axis2):
    """Two axes exchanged."""
    return x.swapaxes(axis1, axis2), (lambda g: g.swapaxes(axis1, axis2),)


@op
def expand_dims(x, axis):
    """A new axis of size 1 at `axis` (int or a sequence of them)."""
    axis = tuple(axis) if np.ndim(axis) else axis
    return np.expand_dims(x, axis), (lambda g: g.reshape(x.shape),)


@op
def squeeze(x, axis=None):
    """Axes of size 1 removed: those in `axis`, or all."""
    return x.squeeze(axis), (lambda g: g.reshape(x.shape),)


@op
def broadcast_to(x, shape):
    """x repeated along new axes and axes of size 1, without a copy."""
    return np.broadcast_to(x, shape), (lambda g: g,)


@op
def _concatenate(*arrays, axis):
    y = np.concatenate(arrays, axis=axis)
    axis = normalize_axis_index(axis, y.ndim)
    ends = np.cumsum([x.shape[axis] for x in arrays])
    parts = [(slice(None),) * axis + (slice(i, j),) for i, j in pairwise([0, *ends])]
    return y, tuple(lambda g, part=part: g[part] for part in parts)


@register
def concatenate(arrays: Sequence[Any], axis: int | None = 0) -> Tensor:
    """A sequence of arrays joined along an axis they have; flattened first if None."""
    if axis is None:
        arrays, axis = [reshape(x, -1) for x in arrays], 0
    _require_some("concatenate", arrays)
    return _concatenate(*arrays, axis=axis)


def _require_some(name, arrays):
    if len(arrays) == 0:
        raise ValueError(f"{name}: the sequence of arrays is empty, give one or more")


@register
def stack(arrays: Sequence[Any], axis: int = 0) -> Tensor:
    """A sequence of arrays of one shape, joined along a new axis."""
    _require_some("stack", arrays)
    return _concatenate(*(expand_dims(x, axis) for x in arrays), axis=axis)


@register
def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    """A list of parts along `axis`: a number of equal ones, or cut before each of the indices."""
    x = x if type(x) is Tensor else Tensor(x)
    axis = normalize_axis_index(axis, x.ndim)
    n, cuts = x.shape[axis], indices_or_sections
    if isinstance(cuts, int) and n % cuts:
        raise ValueError(f"split: axis {axis} of {n} cannot be cut into {cuts} equal parts")
    return cut_along(x, axis, np.split, cuts)


def cut_along(x, axis, split, cuts):
    """The parts of x where `split`, a function of NumPy, cuts the indices along the axis."""
    parts = split(np.arange(x.shape[axis]), cuts)
    ranges = [slice(part[0], part[-1] + 1) if part.size else slice(0, 0) for part in parts]
    return [getitem(x, (slice(None),) * axis + (r,)) for r in ranges]


# ---------------------------------------------------------------- indexing


@op
def getitem(x, index):
    """x[index], with all that NumPy can index with. An element picked twice gets both gradients."""

    def vjp(g):
        if type(g) is Tensor:
            return scatter(g, index, x.shape)

        def write(out, add):
            if not add:
                out.fill(0)
            _add_at(out, index, g)

        return GradientWriter(write)

    return x[index], (vjp,)


def _traceable_scatter(x, index, shape):
    return scatter(x, index, shape), (lambda g: g[index],)


@op(reference=_traceable_scatter)
def scatter(x, index, shape):
    """Zeros of `shape` with x added at [index]: what getitem does to a gradient."""
    y = np.zeros(shape, x.dtype)
    _add_at(y, index, x)
    return y, (lambda g: g[index],)


def _add_at(y, index, x):
    """y[index] += x; to an entry that is picked twice both are added."""
    if y.dtype == np.float16:  # in which a sum stops growing
        total = y.astype(np.float32)
        _add_at(total, index, x.astype(np.float32))
        y[...] = total
        return
    parts = index if isinstance(index, tuple) else (index,)
    arrays = [np.asarray(i) for i in parts if isinstance(i, (list, tuple, np.ndarray, Tensor))]
    if all(i.dtype == bool for i in arrays):
        y[index] += x  # nothing is picked twice
    elif len(parts) == 1 and y.ndim > 1 and x.shape == arrays[0].shape + y.shape[1:]:
        _add_rows(y, arrays[0], x)
    else:
        np.add.at(y, index, x)


def _add_rows(y, index, x):
    """y[index] += x with repeats: rows sorted by index, then added up run by run."""
    index = index.ravel() if index.size else np.empty(0, np.intp)  # [] is an array of floats
    index = np.arange(len(y))[index]  # from 0, all within the bounds
    order = index.argsort(kind="stable")
    index = index[order]
    first = np.ones(len(index), dtype=bool)
    np.not_equal(index[1:], index[:-1], out=first[1:])
    starts = np.flatnonzero(first)
    y[index[starts]] += np.add.reduceat(x.reshape(len(index), *y.shape[1:])[order], starts)


@register
def take(x: Any, indices: Any, axis: int | None = None, *, mode: str = "raise") -> Tensor:
    """x[indices] along `axis`; from the flattened array if None.

    With `mode` "clip" or "wrap" an index that is out of bounds means the nearest one, or one
    counted around.
    """
    indices = Tensor(indices).data
    if indices.dtype == bool or not indices.size:  # [] is an array of floats
        indices = indices.astype(int)
    if mode != "raise":
        entries: Any = np.arange(x.size if axis is None else x.shape[axis])
        indices = entries.take(indices, mode=mode)
    if axis is None:
        return getitem(reshape(x, -1), indices)
    axis = normalize_axis_index(axis, x.ndim)
    return getitem(x, (slice(None),) * axis + (indices,))


@register
def take_along_axis(x: Any, indices: Any, axis: int | None = -1) -> Tensor:
    """x picked along `axis` by an array of indices with as many axes as x."""
    if axis is None:
        x, axis = reshape(x, -1), 0
    axis, indices = normalize_axis_index(axis, x.ndim), Tensor(indices).data
    if indices.ndim != x.ndim or indices.dtype.kind not in "iu":
        raise (ValueError if indices.ndim != x.ndim else IndexError)(
            f"take_along_axis: indices have {indices.ndim} axes and dtype {indices.dtype}, x has "
            f"{x.ndim}; they must agree (indices[..., None] adds one), and indices be integers"
        )
    grid = np.ogrid[tuple(slice(n) for n in x.shape)]
    return getitem(x, tuple(indices if i == axis else grid[i] for i in range(x.ndim)))


implements(np.linalg.matmul)(matmul)
implements(np.where)(lambda condition, *xy: where(condition, *xy) if xy else np.nonzero(condition))
