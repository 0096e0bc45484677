"""np.linalg on Tensors: inverses, determinants, decompositions and norms, over stacks of matrices.

A function with several results is an op that gives them in one array, beside the function that
cuts it into NumPy's named tuple. The derivatives are those of Giles, "An extended collection of
matrix derivative results" (2008), and for qr of Walter and Lehmann (2010), arXiv:1009.6112. What
holds for all:

- eigh and cholesky read one triangle of a matrix, which stands for the other one too: all of the
  gradient is in that triangle, as finite differences have it, and the other one has gradient 0.
- Eigenvectors and singular vectors have the signs that NumPy picks. Where two eigenvalues or two
  singular values are equal to rounding, 1 / (their difference) is taken as 0. The gradients of the
  values are right there, and those of what does not depend on how equal ones mix; gradients of
  the vectors, and second derivatives of the values, lack the part that does.
- A singular value of 0 has derivative 0, and pinv and lstsq the derivative at constant rank.
- A singular matrix is refused by inv and solve, and by the backward of qr (LinAlgError).
"""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from . import ops
from .dispatch import implements
from .tensor import Tensor, array_of, op

_results: Any = (np.linalg.slogdet, np.linalg.eigh, np.linalg.svd, np.linalg.qr)
_Slogdet, _Eigh, _SVD, _QR = (type(f(np.eye(1))) for f in _results)  # NumPy's named tuples


def _T(x):
    return x.swapaxes(-1, -2)


def _inverse(x, size):
    """1 / x, and 0 where x is 0 to rounding, beside numbers of that size."""
    zero = np.abs(x) <= float(np.finfo(x.dtype).eps) * size
    return ~zero / np.where(zero, 1, x)


# ---------------------------------------------------------------- inverses and determinants


@op
def inv(a):
    """The inverse."""
    y = np.linalg.inv(a)
    return y, (lambda g: -_T(y) @ g @ _T(y),)


@op
def solve(a, b):
    """The x of a @ x = b. A 1-D b is one column, any other is matrices."""
    x = np.linalg.solve(a, b)

    def vjp(g):
        gb = np.linalg.solve(_T(a), g[..., None] if b.ndim == 1 else g)
        ga = -gb @ (x[..., None, :] if b.ndim == 1 else _T(x))
        return ga, gb[..., 0] if b.ndim == 1 else gb

    return x, vjp


@op
def det(a):
    """The determinant, with all its derivatives at singular matrices, too."""
    y, n = np.linalg.det(a), a.shape[-1]

    def vjp(g):
        regular = (np.abs(y) > 0)[..., None, None]  # neither 0 nor nan
        inverse = np.linalg.inv(np.where(regular, a, np.eye(n, dtype=a.dtype)))
        size = np.abs(a).sum(axis=(-1, -2)) * np.abs(inverse).sum(axis=(-1, -2))
        limit = n * n / np.finfo(a.dtype).eps ** (1 if n > 16 else 1 / 4)
        if (y == 0).any() or (size > limit).any():
            return g[..., None, None] * _cofactors(a)
        return (g * y)[..., None, None] * _T(inverse)

    return y, (vjp,)


def _cofactors(a):
    """For each entry the determinant without its row and column, with its sign."""
    n = a.shape[-1]
    if isinstance(a, np.ndarray):
        known = np.isfinite(a).all(axis=(-1, -2), keepdims=True)
        u, s, vt = np.linalg.svd(np.where(known, a, 0))
        of_others = np.where(np.eye(n), 1, s[..., None, :]).prod(axis=-1)
        sign = np.sign(np.linalg.det(u @ vt))[..., None]
        return np.where(known, (u * (sign * of_others)[..., None, :]) @ vt, np.nan)
    others = np.nonzero(~np.eye(n, dtype=bool))[1].reshape(n, n - 1)
    minors = np.linalg.det(a[..., others[:, None, :, None], others[:, None, :]])
    return minors * (1 - 2 * (np.indices((n, n)).sum(axis=0) % 2)).astype(a.dtype)


@op
def _log_abs_det(a):
    sign, y = np.linalg.slogdet(a)
    regular = np.where((sign == 0)[..., None, None], np.nan, a)
    return y, (lambda g: g[..., None, None] * _T(np.linalg.inv(regular)),)


@implements(np.linalg.slogdet)
def slogdet(a):
    """The sign, a constant, and the logarithm of |det a|; where that is -inf the slope is nan."""
    return _Slogdet(Tensor(np.linalg.slogdet(a.data)[0]), _log_abs_det(a))


_linalg: Any = np.linalg  # whose types lack what newer versions have
_NO_VALUE = inspect.signature(np.linalg.pinv).parameters["rtol"].default  # None is another thing


@op
def pinv(a, rcond=None, hermitian=False, *, rtol=_NO_VALUE):
    """The pseudo-inverse; its derivative is the one at constant rank."""
    y = _linalg.pinv(a, rcond, hermitian, rtol=rtol)

    def vjp(g):
        left, right = _T(g) - a @ (y @ _T(g)), _T(g) - (_T(g) @ y) @ a
        ga = left @ y @ _T(y) + _T(y) @ y @ right - _T(y) @ g @ _T(y)
        return ga / 2 + _T(ga) / 2 if hermitian else ga

    return y, (vjp,)


@implements(np.linalg.lstsq)
def lstsq(a, b, rcond=None):
    """The x of the least |a @ x - b|, the sums of squares left, the rank, the singular values."""
    a, b = (x if type(x) is Tensor else np.asarray(x) for x in (a, b))
    _, left, rank, _ = np.linalg.lstsq(array_of(a), array_of(b), rcond)
    a, b, eps = a.astype(float), b.astype(float), float(np.finfo(float).eps)  # as NumPy computes
    cut = eps * max(a.shape) if rcond is None else rcond if 0 < rcond < 1 else eps / 2
    x = pinv(a, cut) @ b
    rest = b - a @ x
    squares = (rest * rest).sum(axis=0, keepdims=b.ndim == 1) if left.size else Tensor(left)
    x, squares, s = (ops.astype(y, left.dtype) for y in (x, squares, svdvals(a)))
    return x, squares, rank, s


@implements(np.linalg.tensorinv)
def tensorinv(a, ind=2):
    """The inverse of `a` as a matrix, whose rows are its first `ind` axes."""
    if ind <= 0:
        raise ValueError(f"tensorinv(ind={ind}): it must be 1 or more")
    rows, columns = a.shape[:ind], a.shape[ind:]
    return inv(a.reshape(math.prod(rows), math.prod(columns))).reshape(*columns, *rows)


@implements(np.linalg.tensorsolve)
def tensorsolve(a, b, axes=None):
    """The x of tensordot(a, x, x.ndim) = b; `axes` of `a` are moved to its end first."""
    last = [] if axes is None else list(axes)
    a = np.transpose(a, [i for i in range(np.ndim(a)) if i not in last] + last)
    shape = np.shape(a)[np.ndim(b) - np.ndim(a) :]
    a = np.reshape(a, (math.prod(np.shape(b)), math.prod(shape)))
    return solve(a, np.reshape(b, -1)).reshape(shape)


# ---------------------------------------------------------------- decompositions


@op
def cholesky(a, *, upper=False):
    """The lower triangular L of a = L @ L.T, or the upper triangular U of a = U.T @ U."""
    y, n = _linalg.cholesky(a, upper=upper), a.shape[-1]

    def vjp(g):
        low, g = (_T(y), _T(g)) if upper else (y, g)
        half = (np.tri(n) - np.eye(n) / 2).astype(a.dtype)  # the lower triangle, half the diagonal
        inner = _T(low) @ g * half
        inner = np.linalg.solve(_T(low), (inner + _T(inner)) / 2)
        return _in_one_triangle(np.linalg.solve(_T(low), _T(inner)), lower=not upper)

    return y, (vjp,)


def _in_one_triangle(g, lower):
    """A symmetric gradient as that of the triangle which was read."""
    twice = np.tri(g.shape[-1]) + np.tri(g.shape[-1], k=-1)
    return g * (twice if lower else twice.T).astype(g.dtype)


@op
def _eigh(a, UPLO="L"):
    w, v = np.linalg.eigh(a, UPLO)

    def vjp(g):
        gw, gv = g[..., :1, :], g[..., 1:, :]
        size = np.abs(w).sum(axis=-1)[..., None, None]
        inner = _T(v) @ gv * _inverse(w[..., None, :] - w[..., None], size)
        ga = (v * gw + v @ inner) @ _T(v)
        return _in_one_triangle(ga / 2 + _T(ga) / 2, lower=UPLO in "Ll")

    return np.concatenate([w[..., None, :], v], axis=-2), (vjp,)


@implements(np.linalg.eigh)
def eigh(a, UPLO="L"):
    """The eigenvalues, in ascending order, and the eigenvectors, which are columns."""
    both = _eigh(a, UPLO)
    return _Eigh(both[..., 0, :], both[..., 1:, :])


implements(np.linalg.eigvalsh)(lambda a, UPLO="L": eigh(a, UPLO).eigenvalues)


@op
def _svd(a):
    u, s, vt = np.linalg.svd(a, full_matrices=False)
    m, v = a.shape[-2], _T(vt)

    def vjp(g):
        gu, gs, gv = g[..., :m, :], g[..., m : m + 1, :], g[..., m + 1 :, :]
        size = s.sum(axis=-1)[..., None, None]
        row, column = s[..., None, :], s[..., None]
        gaps = _inverse(row - column, size) * _inverse(row + column, size)
        of_u, of_v, over = _T(u) @ gu, vt @ gv, _inverse(row, size)
        inner = gaps * (of_u - _T(of_u)) * row + column * gaps * (of_v - _T(of_v))
        left = u @ inner + u * gs * (over != 0) + (gu - u @ of_u) * over
        return left @ vt + u * over @ _T(gv - v @ of_v)

    return np.concatenate([u, s[..., None, :], v], axis=-2), (vjp,)


@implements(np.linalg.svd)
def svd(a, full_matrices=True, compute_uv=True):
    """a = U @ diag(S) @ Vh; full_matrices=False where `a` is not square."""
    parts, m = _svd(a), a.shape[-2]
    u, s, v = parts[..., :m, :], parts[..., m, :], parts[..., m + 1 :, :]
    if compute_uv and full_matrices and m != a.shape[-1]:
        raise ValueError(
            f"np.linalg.svd(full_matrices=True) of shape {a.shape}: the additional vectors are "
            "arbitrary and have no derivative; pass full_matrices=False"
        )
    return _SVD(u, s, _T(v)) if compute_uv else s


@implements(np.linalg.svdvals)
def svdvals(x):
    """The singular values, in descending order."""
    return svd(x, compute_uv=False)


@op
def _qr(a):
    q, r = np.linalg.qr(a)
    m, n = a.shape[-2:]

    def vjp(g):
        gq, gr = g[..., :m, :], g[..., m:, :]
        inner = r @ _T(gr) - _T(gq) @ q
        low = inner * np.tri(n, dtype=a.dtype)
        low += _T(inner * np.tri(n, k=-1, dtype=a.dtype))
        return _T(np.linalg.solve(r, _T(gq + q @ low)))

    return np.concatenate([q, r], axis=-2), (vjp,)


@implements(np.linalg.qr)
def qr(a, mode="reduced"):
    """a = Q @ R; mode "r" gives R alone."""
    if mode not in ("reduced", "r"):
        raise ValueError(f'np.linalg.qr(mode="{mode}"): only "reduced" and "r" are defined')
    both, m = _qr(a[..., : min(a.shape[-2:])]), a.shape[-2]
    q, r = both[..., :m, :], both[..., m:, :]
    if a.shape[-1] > m:
        r = ops.concatenate([r, _T(q) @ a[..., m:]], axis=-1)
    return _QR(q, r) if mode == "reduced" else r


# ---------------------------------------------------------------- norms


def _float(x):
    return x if x.dtype.kind == "f" else x.astype(float)


def _vector_norm(x, ord, axis, keepdims):
    sizes, over = np.abs(x), {"axis": axis, "keepdims": keepdims}
    if ord in (None, 2):
        return ops.norm(x, **over)
    if ord == 0:
        return Tensor((x != 0).sum(**over, dtype=x.dtype))
    if ord == 1 or (ord == np.inf and not x.size):
        return sizes.sum(**over)
    if ord in (np.inf, -np.inf):
        return sizes.max(**over) if ord > 0 else sizes.min(**over)
    if isinstance(ord, str):
        raise ValueError(f"norm: ord={ord!r} is for matrices, give two axes")
    powers = np.where(x == 0, 0 if ord > 0 else np.inf, np.where(x == 0, 1, sizes) ** ord)
    total = powers.sum(**over)
    return np.where(total == 0, 0, np.where(total == 0, 1, total) ** (1 / ord))


def _matrix_norm(x, ord, axis, keepdims):
    if ord in (None, "fro", "f"):
        return ops.norm(x, axis=axis, keepdims=keepdims)
    if ord in (2, -2, "nuc"):
        others = [i for i in range(x.ndim) if i not in axis]
        s = svdvals(x.transpose(*others, *axis))
        y = _vector_norm(s, {2: np.inf, -2: -np.inf, "nuc": 1}[ord], -1, False)
        return np.expand_dims(y, axis) if keepdims else y
    if ord not in (1, -1, np.inf, -np.inf):
        raise ValueError(f"norm: ord={ord!r} is not defined for matrices")
    first, second = axis if ord in (1, -1) else axis[::-1]
    sums = np.abs(x).sum(axis=first, keepdims=True)
    y = _vector_norm(sums, ord * np.inf, second, True)
    return y if keepdims else y.squeeze(axis)


@implements(np.linalg.norm)
def norm(x, ord=None, axis=None, keepdims=False):
    """The norm over one axis, or of the matrices in two. Where it is 0 the derivative is 0.

    Entries of 0 have derivative 0, ties share it, as in max and min; ord=0 counts: a constant.
    """
    x = _float(x)
    if axis is None and ord is None:
        return ops.norm(x, keepdims=keepdims)
    axes = normalize_axis_tuple(range(x.ndim) if axis is None else axis, x.ndim)
    if len(axes) not in (1, 2):
        raise ValueError(f"norm over {len(axes)} axes: it is defined for one axis and for two")
    return (_vector_norm, _matrix_norm)[len(axes) - 1](x, ord, axes, keepdims)


implements(np.linalg.matrix_norm)(
    lambda x, *, keepdims=False, ord="fro": norm(x, ord, (-2, -1), keepdims)
)
implements(np.linalg.vector_norm)(
    lambda x, *, axis=None, keepdims=False, ord=2: _vector_norm(_float(x), ord, axis, keepdims)
)


@implements(np.linalg.cond)
def cond(x, p=None):
    """The largest singular value by the smallest; where that is 0 it is inf, with slope 0."""
    if p not in (None, 2):
        raise ValueError(f"np.linalg.cond(p={p}): write norm(x, {p}) * norm(inv(x), {p})")
    s = svdvals(x)
    zero = s[..., -1] == 0
    return np.where(zero, np.inf, s[..., 0] / np.where(zero, 1, s[..., -1]))
