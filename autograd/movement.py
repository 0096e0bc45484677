"""NumPy's functions that only move entries about: they copy, repeat and leave out, and fill up.

The value is what NumPy makes of the arrays. For the gradient a function runs again, on positions:
the entries of all its Tensors, numbered 1, 2, ..., as the imaginary parts of complex numbers. What
it fills in, and what was no Tensor, is real, and comes out with position 0. The gradient of the
value is then added up at the positions. `_MOVERS` lists the functions for which that is all.

After them: what is a view or a join of core ops, for speed, and np.pad.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple
from numpy.lib.stride_tricks import sliding_window_view

from .dispatch import implements, map_nested, register
from .ops import broadcast_to, concatenate, cut_along, reshape, scatter, transpose, where
from .tensor import Tensor, array_of, op


def as_tensor(x):
    """x itself if it is a Tensor, else a constant one, of the dtype that NumPy gives it."""
    return x if type(x) is Tensor else Tensor(x)


def _is_data(x):
    return type(x) is Tensor and x.dtype.kind == "f"


def mover(function):
    """What computes `function`, one that only moves entries, of Tensors anywhere in its call."""

    def moved(*arrays, call):
        def vjp(g):
            marks, end = [], 1
            for x in arrays:  # with the same order of axes in memory, for order="K" or "A"
                mark = np.zeros_like(x, dtype=complex)
                mark.imag = np.arange(end, end + x.size).reshape(x.shape)
                marks.append(mark)
                end += x.size
            total = scatter(g, call(marks).imag.astype(np.intp), (end,))
            ends = np.cumsum([1, *(x.size for x in arrays)])
            return tuple(
                total[i : i + x.size].reshape(x.shape) for i, x in zip(ends, arrays, strict=False)
            )

        return call(arrays), vjp

    # With the underscore it takes no name that a user's op may want; errors are told without it.
    moved.__name__, moved.__doc__ = f"_{function.__name__}", function.__doc__
    recorded = op(moved)

    def on_tensors(*args, **options):
        tensors: list[Tensor] = []
        map_nested(lambda x: tensors.append(x) if _is_data(x) else None, [args, options])

        def call(arrays):
            rest = iter(arrays)
            put = map_nested(
                lambda x: next(rest) if _is_data(x) else array_of(x), (args, options)
            )
            return function(*put[0], **put[1])

        return recorded(*tensors, call=call)

    return on_tensors


_MOVERS = (
    np.block, np.delete, np.diag, np.diagflat, np.diagonal, np.extract, np.fft.fftshift,
    np.fft.ifftshift, np.flip, np.fliplr, np.flipud, np.linalg.diagonal, np.repeat, np.resize,
    np.roll, np.rot90, np.tile,
)  # fmt: skip
_function: Any
for _function in _MOVERS:
    implements(_function)(mover(_function))
_choose, _compress, _insert, _pad_with_entries, _in_memory = map(
    mover, (np.choose, np.compress, np.insert, np.pad, np.ravel)
)


# ---------------------------------------------------------------- views


def _permuter(function):
    """A function that reorders axes: of an array with sizes 1, 2, ... the result tells how."""

    def permute(a, *args, **options):
        sizes = np.broadcast_to(0, range(1, a.ndim + 1))
        return transpose(a, [n - 1 for n in function(sizes, *args, **options).shape])

    return permute


_MATRIX_TRANSPOSE = (np.matrix_transpose, np.linalg.matrix_transpose)
for _function in (np.moveaxis, np.rollaxis, *_MATRIX_TRANSPOSE):
    implements(_function)(_permuter(_function))


def _enlarger(function):
    """np.atleast_1d and its like: axes of size 1 are added."""

    def enlarge(*arys):
        made = [reshape(x, function(x.data).shape) for x in map(as_tensor, arys)]
        return made[0] if len(made) == 1 else tuple(made)

    return enlarge


for _function in (np.atleast_1d, np.atleast_2d, np.atleast_3d):
    implements(_function)(_enlarger(_function))


@implements(np.full_like)
def full_like(a, fill_value, dtype=None, order="K", subok=True, shape=None):
    """An array like `a` filled with a number: a constant, unless the number is a Tensor."""
    y = np.full_like(array_of(a), array_of(fill_value), dtype, order, subok, shape)
    return broadcast_to(fill_value, y.shape).astype(y.dtype) if _is_data(fill_value) else y


@implements(np.broadcast_arrays)
def broadcast_arrays(*args):
    """Each of the arrays, broadcast to the shape of all of them together."""
    shape = np.broadcast_shapes(*map(np.shape, map(array_of, args)))
    return tuple(broadcast_to(as_tensor(x), shape) for x in args)


@implements(np.meshgrid)
def meshgrid(*xi, copy=True, sparse=False, indexing="xy"):
    """Coordinate arrays of a grid, as a tuple; with `sparse` the other axes have size 1."""
    shapes = [x.shape for x in np.meshgrid(*map(array_of, xi), sparse=True, indexing=indexing)]
    made = tuple(reshape(as_tensor(x), shape) for x, shape in zip(xi, shapes, strict=True))
    return made if sparse else broadcast_arrays(*made)


def _cutter(function, default):
    """np.array_split and its like: slices where NumPy cuts the indices along the axis."""

    def cut(ary, indices_or_sections, axis=default):
        options = {"axis": axis} if function is np.array_split else {}
        function(ary.data, indices_or_sections, **options)  # refuses what cannot be
        axis = min(axis, ary.ndim - 1) % ary.ndim  # hsplit cuts the only axis, if there is one
        return cut_along(ary, axis, np.array_split, indices_or_sections)

    return cut


for _function, _axis in ((np.array_split, 0), (np.hsplit, 1), (np.vsplit, 0), (np.dsplit, 2)):
    implements(_function)(_cutter(_function, _axis))


def unstack(x, *, axis=0):
    """The entries along an axis, as a tuple."""
    axis = normalize_axis_index(axis, x.ndim)
    return tuple(x[(slice(None),) * axis + (i,)] for i in range(x.shape[axis]))


if hasattr(np, "unstack"):  # from NumPy 2.1 on
    implements(np.unstack)(unstack)


@implements(np.trim_zeros)
def trim_zeros(filt, trim="fb", axis=None):
    """Without the zeros at the front ("f") and the back ("b"), in all axes or in `axis`."""
    options = {} if axis is None else {"axis": axis}  # which NumPy has from 2.2 on
    kept = np.trim_zeros(filt.data, trim, **options)
    front = np.trim_zeros(filt.data, "f", **options) if "f" in trim.lower() else filt
    starts = [n - m for n, m in zip(filt.shape, front.shape, strict=True)]
    return filt[tuple(slice(i, i + n) for i, n in zip(starts, kept.shape, strict=True))]


@op
def _sliding_window_view(x, window, axes):
    """All windows of a shape, as a view: their axes come last."""

    def vjp(g):
        gx = np.zeros(x.shape, g.dtype)
        for index in np.ndindex(*window):  # entry by entry of the windows, for all windows at once
            starts = np.zeros(x.ndim, int)
            np.add.at(starts, list(axes), index)
            place = tuple(slice(i, i + n) for i, n in zip(starts, g.shape, strict=False))
            pick = (..., *index)
            if type(g) is Tensor:
                gx = gx + scatter(g[pick], place, x.shape)
            else:
                gx[place] += g[pick]
        return gx

    return sliding_window_view(array_of(x), window, axes), (vjp,)


@implements(sliding_window_view)
def windows(x, window_shape, axis=None):
    """All windows of x of the given shape, in all axes or in `axis`."""
    window = tuple(window_shape) if np.iterable(window_shape) else (window_shape,)
    axes = range(x.ndim) if axis is None else axis
    axes = normalize_axis_tuple(axes, x.ndim, allow_duplicate=True)
    return _sliding_window_view(x, window, axes)


# ---------------------------------------------------------------- lines in terms of others


def _joined(arrays, axis):
    return concatenate([as_tensor(x) for x in arrays], axis=axis)


_LINES: dict[Any, Any] = {  # under NumPy's names of the arguments
    np.append: lambda arr, values, axis=None: _joined([arr, values], axis),
    np.choose: lambda a, choices, mode="raise": _choose(a, choices, mode=mode),
    np.column_stack: lambda tup: _joined(
        [x if np.ndim(x) > 1 else np.reshape(x, (-1, 1)) for x in tup], 1
    ),
    np.compress: lambda condition, a, axis=None: _compress(condition, a, axis),
    np.copy: lambda a, order="K": a * 1,
    np.dstack: lambda tup: _joined([np.atleast_3d(x) for x in tup], 2),
    np.hstack: lambda tup: _joined(
        [np.atleast_1d(x) for x in tup], int(len(tup) > 0 and np.ndim(tup[0]) > 1)
    ),
    np.insert: lambda arr, obj, values, axis=None: _insert(as_tensor(arr), obj, values, axis),
    np.ravel: lambda a, order="C": reshape(a, -1) if order == "C" else _in_memory(a, order),
    np.tril: lambda m, k=0: where(np.tril(np.ones(m.shape[-2:], bool), k), m, 0),
    np.triu: lambda m, k=0: where(np.triu(np.ones(m.shape[-2:], bool), k), m, 0),
    np.vstack: lambda tup: _joined([np.atleast_2d(x) for x in tup], 0),
}  # fmt: skip
for _function, _line in _LINES.items():
    implements(_function)(_line)


# ---------------------------------------------------------------- pad

_np: Any = np  # whose types know no variable options
_STATISTICS: dict[str, Any] = {
    "maximum": np.max, "mean": np.mean, "median": np.median, "minimum": np.min,
}  # fmt: skip


def _pairs(x, ndim):
    """One (before, after) per axis, from all that np.pad takes for it."""
    if isinstance(x, dict):
        given = {axis % ndim: np.broadcast_to(pair, 2) for axis, pair in x.items()}
        return np.array([given.get(axis, (0, 0)) for axis in range(ndim)])
    return np.broadcast_to(x, (ndim, 2))


@op
def _pad(x, widths, options):
    """x with constants around it, `widths` of them before and after each axis."""
    inside = tuple(slice(i, i + n) for i, n in zip(widths[:, 0], x.shape, strict=True))
    return np.pad(x, widths, **options), (lambda g: g[inside],)


@register
def pad(
    x: Any,
    pad_width: Any,
    mode: str = "constant",
    constant_values: Any = None,
    *,
    stat_length: Any = None,
    end_values: Any = None,
    reflect_type: Any = None,
) -> Tensor:
    """x with entries around it: `pad_width` is n, (before, after), or one of these per axis.

    The modes are those of np.pad but for a function. In "maximum", "minimum" and "median" ties are
    treated as by these functions, and the entries that "empty" leaves undefined are 0.
    """
    if callable(mode):
        raise TypeError(
            "pad: a function as mode writes into an array, which no graph can record: give the "
            "name of a mode, or join the parts with concatenate()"
        )
    given = {"constant_values": constant_values, "stat_length": stat_length,
             "end_values": end_values, "reflect_type": reflect_type}  # fmt: skip
    options: dict[str, Any] = {name: v for name, v in given.items() if v is not None}
    x = as_tensor(x)
    if not x.ndim:
        return x * 1  # as np.pad
    widths = _pairs(pad_width, x.ndim)
    if mode == "constant":
        return _pad(x, widths, options)
    _np.pad(x.data, widths, mode, **options)  # refuses what cannot be
    if mode == "empty":
        return _pad(x, widths, {})
    if mode not in (*_STATISTICS, "linear_ramp") and reflect_type != "odd":
        return _pad_with_entries(x, widths, mode, **options)
    for axis, (before, after) in enumerate(widths.tolist()):  # one after the other, as np.pad
        if before or after:
            chosen = {name: _pairs(value, x.ndim)[axis] for name, value in options.items()}
            first = _padded(np.moveaxis(x, axis, 0), before, after, mode, **chosen)
            x = np.moveaxis(first, 0, axis)
    return x


def _padded(y, before, after, mode, stat_length=(None, None), end_values=(0, 0), reflect_type=""):
    """y with entries computed from it before and after its first axis."""
    if mode in ("reflect", "symmetric"):
        return _reflected(y, before, after, mode == "reflect" and len(y) > 1)
    sides = []
    for n, part, length, end in zip(
        (before, after), (y, y[::-1]), stat_length, end_values, strict=True
    ):
        if mode == "linear_ramp":
            slope = np.arange(n).reshape(-1, *[1] * (y.ndim - 1)).astype(y.dtype) / n
            sides.append(end + (part[:1] - end) * slope)
        else:
            entry = _STATISTICS[mode](part[:length], axis=0, keepdims=True)
            sides.append(broadcast_to(entry, (n, *y.shape[1:])))
    return concatenate([sides[0], y, sides[1][::-1]])


def _reflected(y, before, after, skip):
    """y reflected about its ends in both directions, again and again as far as needed."""
    n = len(y) - skip
    while before or after:
        i, j = min(before, n), min(after, n)
        left, right = y[skip : i + skip][::-1], y[::-1][skip : j + skip]
        y = concatenate([2 * y[:1] - left, y, 2 * y[-1:] - right])
        before, after = before - i, after - j
    return y


del _function, _axis, _line
