"""NumPy's products on Tensors: einsum, and what is a line in terms of it or of matmul.

einsum multiplies two operands at a time, as one matmul over axes that are transposed and joined.
So its derivatives, of every order, are those of the ops it is made of.
"""

from __future__ import annotations

import functools
import math
import string
from typing import Any

import numpy as np

from .dispatch import implements
from .movement import as_tensor
from .ops import concatenate, reshape, sum, transpose, where
from .tensor import op

# ---------------------------------------------------------------- einsum

_LETTERS = string.ascii_uppercase + string.ascii_lowercase  # which NumPy means by 0, 1, 2, ...


@implements(np.einsum)
def einsum(*operands, optimize="greedy"):
    """The sum of products that `subscripts` tell; `optimize` chooses the order of the products.

    False means the same as True: two operands at a time.
    """
    subscripts, *arrays = operands if isinstance(operands[0], str) else _from_lists(operands)
    tensors = [as_tensor(x) for x in arrays]
    order = tuple(optimize) if isinstance(optimize, list) else optimize or "greedy"
    inputs, output, path = _plan(subscripts, order, *(x.shape for x in tensors))
    sizes: dict[str, int] = {}
    for x, letters in zip(tensors, inputs, strict=True):
        for letter, n in zip(letters, x.shape, strict=True):
            sizes[letter] = n if sizes.get(letter, 1) == 1 else sizes[letter]
    waiting = [_plain_axes(x, a, sizes) for x, a in zip(tensors, inputs, strict=True)]
    for places in path:
        chosen = [waiting.pop(i) for i in sorted(places, reverse=True)]
        x, a = chosen.pop()
        while chosen:
            y, b = chosen.pop()
            kept = {*output, *(c for _, letters in (*waiting, *chosen) for c in letters)}
            (x, a), (y, b) = _alone(x, a, kept.union(b)), _alone(y, b, kept.union(a))
            x, a = _product(x, a, y, b, kept)
        waiting.append((x, a))
    x, a = _alone(x, a, output)  # of the last one
    return _axes_in(x, a, output)


def _from_lists(operands):
    """einsum(x, [0, 1], y, [1, 2], [0, 2]) as einsum("AB,BC->AC", x, y)."""
    texts = ["".join("..." if i is Ellipsis else _LETTERS[i] for i in axes)
             for axes in (*operands[1::2], *operands[len(operands) // 2 * 2:])]  # fmt: skip
    arrow = "->" + texts.pop() if len(operands) % 2 else ""
    return [",".join(texts) + arrow, *operands[: len(operands) // 2 * 2 : 2]]


@functools.lru_cache(1024)
def _plan(subscripts, optimize, *shapes):
    """The letters of each operand and of the value, and which operands to multiply in turn."""
    order = optimize if isinstance(optimize, (str, bool)) else list(optimize)
    arrays = [np.broadcast_to(0.0, shape) for shape in shapes]
    path, text = np.einsum_path(subscripts, *arrays, optimize=order)
    inputs, output = text.split()[2].split("->")  # "Complete contraction:  ij,jk->ik"
    return inputs.split(","), output, path[1:]


def _plain_axes(x, letters, sizes):
    """x with no letter twice, by diagonals, and no axis of size 1 that is broadcast."""
    for letter in sorted(set(letters)):
        while letters.count(letter) > 1:
            i = letters.index(letter)
            j = letters.index(letter, i + 1)
            if x.shape[i] != x.shape[j]:
                raise ValueError(
                    f"einsum: axes {i} and {j} of an operand are both {letter!r} and must have one "
                    f"size, got {x.shape[i]} and {x.shape[j]}"
                )
            x = np.diagonal(x, axis1=i, axis2=j)
            letters = letters[:i] + letters[i + 1 : j] + letters[j + 1 :] + letter
    single = [i for i, c in enumerate(letters) if x.shape[i] == 1 != sizes[c]]
    if single:
        x = reshape(x, tuple(n for i, n in enumerate(x.shape) if i not in single))
    return x, "".join(c for i, c in enumerate(letters) if i not in single)


def _alone(x, letters, kept):
    """x summed over the letters that nobody else has."""
    axes = tuple(i for i, c in enumerate(letters) if c not in kept)
    return (sum(x, axes) if axes else x), "".join(c for c in letters if c in kept)


def _axes_in(x, letters, order):
    """x with its letters in that order."""
    return x if letters == order else transpose(x, [letters.index(c) for c in order])


def _product(x, a, y, b, kept):
    """x * y, with letters a and b, and its letters. Those not kept are in both, and summed over."""
    batch = "".join(c for c in a if c in b and c in kept)
    summed = "".join(c for c in a if c not in kept)
    rows, columns = ("".join(c for c in p if c not in q) for p, q in ((a, b), (b, a)))
    letters = batch + rows + columns
    x, y = _axes_in(x, a, batch + rows + summed), _axes_in(y, b, batch + summed + columns)
    n, m = len(batch), len(batch) + len(rows)
    sizes = x.shape[:m] + y.shape[n + len(summed) :]
    if summed:
        x = _reshaped(x, (*sizes[:n], math.prod(sizes[n:m]), math.prod(x.shape[m:])))
        y = _reshaped(y, (*sizes[:n], x.shape[-1], math.prod(sizes[m:])))
        return _reshaped(x @ y, sizes), letters
    x = _reshaped(x, x.shape + (1,) * len(columns))
    return x * _reshaped(y, sizes[:n] + (1,) * len(rows) + sizes[m:]), letters


def _reshaped(x, shape):
    return x if x.shape == shape else reshape(x, shape)


# ---------------------------------------------------------------- products of two


@implements(np.dot)
def dot(a, b):
    """The sum of products over the last axis of a and the last but one of b, or its only one."""
    a, b = as_tensor(a), as_tensor(b)
    if not a.ndim or not b.ndim:
        return a * b
    return a @ b if b.ndim < 3 else tensordot(a, b, (-1, -2))


@implements(np.inner)
def inner(a, b):
    """The sum of products over the last axes."""
    return tensordot(a, b, (-1, -1)) if np.ndim(a) and np.ndim(b) else dot(a, b)


@op
def _vecdot(x, y):
    """The dot products of the vectors along the last axis; the other axes broadcast."""
    return np.vecdot(x, y), (lambda g: g[..., None] * y, lambda g: g[..., None] * x)


implements(np.vdot)(lambda a, b: np.ravel(a) @ np.ravel(b))
implements(np.outer)(lambda a, b: reshape(as_tensor(a), (-1, 1)) * reshape(as_tensor(b), -1))
implements(np.vecdot, np.linalg.vecdot)(
    lambda x1, x2, axis=-1: _vecdot(*(np.moveaxis(as_tensor(x), axis, -1) for x in (x1, x2)))
)


@implements(np.tensordot, np.linalg.tensordot)
def tensordot(a, b, axes=2):
    """The sum of products over `axes`: the last of a and first of b, so many; or lists of both."""
    a, b = as_tensor(a), as_tensor(b)
    if np.iterable(axes):
        pairs = [i if np.iterable(i) else [i] for i in axes]
    else:
        pairs = [list(range(-axes, 0)), list(range(axes))]
    if [a.shape[i] for i in pairs[0]] != [b.shape[i] for i in pairs[1]]:
        raise ValueError(f"tensordot of shapes {a.shape}, {b.shape}: axes {pairs[0]} of the first "
                         f"and {pairs[1]} of the second must have the same sizes")  # fmt: skip
    letters = iter(_LETTERS)
    first, second = ([next(letters) for _ in x.shape] for x in (a, b))
    for i, j in zip(*pairs, strict=True):
        second[j] = first[i]
    x, y = "".join(first), "".join(second)
    return _product(a, x, b, y, {c for c in x + y if (c in x) != (c in y)})[0]


@implements(np.linalg.outer)
def outer(x1, x2):
    x1, x2 = as_tensor(x1), as_tensor(x2)
    if x1.ndim != 1 or x2.ndim != 1:
        raise ValueError(f"outer needs two arrays of one axis, got {x1.shape}, {x2.shape}")
    return np.outer(x1, x2)


_np: Any = np  # whose types lack the two in versions that do not have them


@op
def matvec(x, y):
    """Matrices times vectors; the other axes broadcast."""
    return _np.matvec(x, y), (lambda g: g[..., None] * y[..., None, :], lambda g: _np.vecmat(g, x))


@op
def vecmat(x, y):
    """Vectors times matrices; the other axes broadcast."""
    return _np.vecmat(x, y), (lambda g: _np.matvec(y, g), lambda g: x[..., None] * g[..., None, :])


@implements(np.kron)
def kron(a, b):
    """Every entry of a times the whole of b, as blocks."""
    a, b = as_tensor(a), as_tensor(b)
    n = max(a.ndim, b.ndim)
    rows, columns = ((1,) * (n - x.ndim) + x.shape for x in (a, b))
    a = reshape(a, [size for m in rows for size in (m, 1)])
    b = reshape(b, [size for m in columns for size in (1, m)])
    return reshape(a * b, [i * j for i, j in zip(rows, columns, strict=True)])


@implements(np.cross)
def cross(a, b, axisa=-1, axisb=-1, axisc=-1, axis=None):
    """The vector product; of vectors with two entries, both, its third entry."""
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = np.moveaxis(a, axisa, -1), np.moveaxis(b, axisb, -1)
    np.cross(np.zeros(a.shape[-1]), np.zeros(b.shape[-1]))  # refuses what cannot be
    flat = a.shape[-1] == b.shape[-1] == 2
    a, b = (x if x.shape[-1] == 3 else concatenate([x, x[..., :1] * 0], -1) for x in (a, b))
    c = a[..., [1, 2, 0]] * b[..., [2, 0, 1]] - a[..., [2, 0, 1]] * b[..., [1, 2, 0]]
    return c[..., 2] if flat else np.moveaxis(c, -1, axisc)


@implements(np.linalg.cross)
def _cross(x1, x2, axis=-1):
    x1, x2 = as_tensor(x1), as_tensor(x2)
    np.linalg.cross(np.zeros(x1.shape[axis]), np.zeros(x2.shape[axis]))  # three entries, or refuse
    return cross(x1, x2, axis=axis)


# ---------------------------------------------------------------- sums of shifted products


@op
def _convolve(x, y):
    """sum(x[i] * y[k - i]) for every k, of two arrays of one axis, not empty."""
    return np.convolve(x, y), (lambda g: np.correlate(g, y), lambda g: np.correlate(g, x))


@implements(np.convolve)
def convolve(a, v, mode="full"):
    """sum(a[i] * v[k - i]) for every k: "full", or of the middle "same" or "valid"."""
    a, v = np.atleast_1d(as_tensor(a)), np.atleast_1d(as_tensor(v))
    np.convolve([1.0], [1.0], mode)  # refuses what is no mode
    n, m = sorted([a.size, v.size])
    start, length = {"same": ((n - 1) // 2, m), "valid": (n - 1, m - n + 1)}.get(mode, (0, n + m))
    return _convolve(a, v)[start : start + length]


@implements(np.correlate)
def correlate(a, v, mode="valid"):
    """sum(a[i + k] * v[i]) for every k: "full", or of the middle "same" or "valid"."""
    a, v = as_tensor(a), as_tensor(v)
    if a.ndim != 1 or v.ndim != 1:
        raise ValueError(f"correlate needs two arrays of one axis, got {a.shape}, {v.shape}")
    if a.size < v.size:
        return convolve(a[::-1], v, mode)[::-1]
    return convolve(a, v[::-1], mode)


# ---------------------------------------------------------------- products of many


@implements(np.linalg.multi_dot)
def multi_dot(arrays):
    """The matrix product of all; the first and last may be vectors."""
    tensors = [as_tensor(x) for x in arrays]
    if len(tensors) < 2:
        raise ValueError(f"multi_dot needs two arrays or more, got {len(tensors)}")
    n = len(tensors) - 1
    letters = [_LETTERS[i : i + 2] for i in range(n + 1)]
    for i, x in enumerate(tensors):
        if x.ndim != 2 and not (x.ndim == 1 and i in (0, n)):
            raise np.linalg.LinAlgError(f"multi_dot: array {i} of {n + 1} must have two axes, got "
                                        f"shape {x.shape}")  # fmt: skip
        if i and tensors[i - 1].shape[-1] != x.shape[0]:
            raise ValueError(f"multi_dot: shapes {tensors[i - 1].shape} and {x.shape} do not fit")
    first, last = tensors[0].ndim - 1, tensors[n].ndim - 1  # 0 if it is a vector
    letters[0], letters[n] = letters[0][1 - first :], letters[n][: 1 + last]
    return einsum(f"{','.join(letters)}->{letters[0][:first]}{letters[n][1:]}", *tensors)


@implements(np.linalg.matrix_power)
def matrix_power(a, n):
    """The product of n matrices a; of inverses if n is negative, and at 0 the identity."""
    np.linalg.matrix_power(a.data, 0 * n)  # refuses what is not square, or no whole number
    if n < 0:
        return matrix_power(np.linalg.inv(a), -n)
    power = where(True, np.eye(a.shape[-1], dtype=a.dtype), a) if n == 0 else None
    while n:
        if n % 2:
            power = a if power is None else power @ a
        n //= 2
        a = a @ a if n else a
    return power
