"""NumPy's polynomials on Tensors: arrays of coefficients, that of the highest power first.

All are made of other functions. np.poly1d is an array of coefficients too: np.poly1d(p)(t), of
numbers p and a Tensor t, is np.polyval(p, t).
"""

from __future__ import annotations

import numpy as np

from .dispatch import implements
from .linalg import lstsq
from .movement import as_tensor, pad
from .ops import stack
from .tensor import Tensor, array_of


@implements(np.polyval)
def polyval(p, x):
    """p[0] * x**(n - 1) + ... + p[n - 1], by Horner's rule."""
    if isinstance(x, np.poly1d):
        raise TypeError("polyval at a poly1d: Tensors are no coefficients of one; give numbers")
    p, x = as_tensor(p), as_tensor(x)
    y = x * 0
    for coefficient in p:
        y = y * x + coefficient
    return y


@implements(np.polyadd)
def polyadd(a1, a2):
    """The sum."""
    x, y = (np.atleast_1d(as_tensor(a)) for a in (a1, a2))
    n = max(len(x), len(y))
    return pad(x, (n - len(x), 0)) + pad(y, (n - len(y), 0))


implements(np.polysub)(lambda a1, a2: polyadd(a1, -as_tensor(a2)))


@implements(np.polymul)
def polymul(a1, a2):
    """The product. Leading zeros are left out first, as NumPy does."""
    return np.convolve(_trimmed(a1), _trimmed(a2))


def _trimmed(a):
    a = np.atleast_1d(as_tensor(a))
    rest = np.trim_zeros(a, "f")
    return rest if rest.size else a[-1:]


@implements(np.polyder)
def polyder(p, m=1):
    """The derivative of order m."""
    np.polyder(p.data, m)  # refuses what cannot be
    for _ in range(int(m)):
        p = p[:-1] * np.arange(len(p) - 1, 0, -1)
    return p


@implements(np.polyint)
def polyint(p, m=1, k=None):
    """The integral of order m; `k` are the constants of integration, or the one for all."""
    np.polyint(p.data, m, array_of(k))  # refuses what cannot be
    k = np.atleast_1d(0.0 if k is None else k)
    for i in range(int(m)):
        p = np.append(p / np.arange(len(p), 0, -1), k[i % len(k)])
    return p


@implements(np.poly)
def poly(seq_of_zeros):
    """The polynomial with these zeros, whose first coefficient is 1."""
    zeros = np.atleast_1d(seq_of_zeros)
    zeros = zeros if zeros.dtype.kind == "f" else zeros.astype(float)
    if zeros.ndim != 1:
        raise ValueError(f"poly of a matrix, of shape {zeros.shape}, needs its eigenvalues, which "
                         "may be complex: give them, such as np.linalg.eigvalsh(a)")  # fmt: skip
    p = Tensor(np.ones(1, zeros.dtype))
    for zero in zeros:
        p = pad(p, (0, 1)) - zero * pad(p, (1, 0))
    return p


@implements(np.vander)
def vander(x, N=None, increasing=False):
    """The powers n - 1, ..., 1, 0 of x, as columns; in the other order if `increasing`."""
    n = np.vander(array_of(x), N).shape[1]
    x = as_tensor(x)
    x = x.astype(np.promote_types(x.dtype, int))  # as NumPy does
    powers = [Tensor(np.ones_like(x))]
    for _ in range(1, n):
        powers.append(powers[-1] * x)
    y = stack(powers, axis=1)[:, :n]
    return y if increasing else y[:, ::-1]


@implements(np.polyfit)
def polyfit(x, y, deg, rcond=None, w=None):
    """The p of degree `deg` whose sum of squares of w * (polyval(p, x) - y) is the least."""
    like = np.polyfit(array_of(x), array_of(y), deg, rcond, w=array_of(w))
    x, y = as_tensor(x) * 1.0, as_tensor(y) * 1.0
    a = vander(x, int(deg) + 1)
    if w is not None:
        a, y = a * np.reshape(w, (-1, 1)), (y.T * w).T
    size = np.sqrt((a * a).sum(axis=0))
    rcond = len(x) * float(np.finfo(x.dtype).eps) if rcond is None else rcond
    p = lstsq(a / size, y, rcond)[0]
    return (p.T / size).T.astype(like.dtype)
