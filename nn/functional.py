"""Ops of neural networks, each fused into one node with its gradient written out.

They are ordinary ops, made with `autograd.op` as a user's own would be. In shapes: B sequences,
T positions, C channels, H heads, D channels per head, V classes. Next to read: layers.py, which
gives them weights.
"""

from __future__ import annotations

import functools
import math
from typing import Any, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from autograd import GradientWriter, Tensor, in_float32, multiply, op, sigmoid

from .threads import BLOCK

__all__ = [
    "IGNORE_INDEX", "attention", "avg_pool2d", "binary_cross_entropy_with_logits",
    "causal_attention", "conv2d", "cross_entropy", "dropout", "dropout_mask", "embedding", "erf",
    "gelu", "grouped_attention", "huber_loss", "linear", "linear_cross_entropy", "max_pool2d",
    "mse_loss", "rms_norm", "rotary", "rotary_tables", "silu", "softplus", "swiglu",
]  # fmt: skip

IGNORE_INDEX = -100  # as a target: this position does not count in the loss


def _rows(x):
    """(..., C) as a matrix (N, C)."""
    return x.reshape((math.prod(x.shape[:-1]), x.shape[-1]))


@op
@in_float32
def linear(x, weight, bias=None):
    """x @ weight + bias for x (..., in), weight (in, out) and bias (out,) or None."""
    rows = _rows(x)  # one large product, whatever the leading axes
    y = rows @ weight
    if bias is not None:
        y += bias
    return y.reshape((*x.shape[:-1], weight.shape[1])), (
        lambda g: (_rows(g) @ weight.T).reshape(x.shape),
        lambda g: _product(rows.T, _rows(g)),
        lambda g: _rows(g).sum(axis=0),
    )


def _product(x, y):
    """x @ y as the gradient of an argument; arrays are multiplied right where it is to stand."""
    if type(x) is Tensor or type(y) is Tensor:
        return x @ y

    return GradientWriter(lambda out, add: _add_product(out, x, y, add))


def _add_product(out, x, y, add):
    """out += x @ y, or out = x @ y if there is nothing to add to."""
    if add:
        out += x @ y
    else:
        np.matmul(x, y, out=out)


def embedding(weight: Tensor, ids: Any) -> Tensor:
    """The rows of weight (V, C) whose numbers are ids (...): (..., C).

    >>> embedding(Tensor([[1.0, 2.0], [3.0, 4.0]]), [1, 0, 1]).data
    array([[3., 4.],
           [1., 2.],
           [3., 4.]])
    """
    ids = Tensor(ids).data
    ids = ids if ids.size else ids.astype(int)  # [] is an array of floats
    if ids.dtype.kind not in "iu":
        raise TypeError(f"embedding: ids must be integers, got dtype {ids.dtype}")
    if ids.size and not 0 <= ids.min() <= ids.max() < weight.shape[0]:
        raise IndexError(
            f"embedding: ids go from {ids.min()} to {ids.max()}, the table has rows 0 to "
            f"{weight.shape[0] - 1}: is the text encoded with the tokenizer of this model?"
        )
    return weight[ids]


_C, _A = math.sqrt(2 / math.pi), 0.044715


@in_float32
def _plain_gelu_tanh(x):
    t = np.tanh(_C * (x + _A * x * x * x))
    slope = lambda: (1 + t + x * (1 - t * t) * (_C * (1 + 3 * _A * x * x))) / 2  # noqa: E731
    return x * (1 + t) / 2, (lambda g: g * slope(),)


@op(reference=_plain_gelu_tanh)
@in_float32
def _gelu_tanh(x):
    dtype = np.result_type(x, 0.0)
    y, s = np.empty(x.shape, dtype), np.empty(x.shape, dtype)  # y = x s
    rows = x.reshape(-1), y.reshape(-1), s.reshape(-1)
    for x_, y_, s_ in _in_blocks(*rows):
        np.multiply(x_, x_, out=s_)
        s_ *= _A * _C
        s_ += _C
        s_ *= x_
        np.tanh(s_, out=s_)
        s_ *= 0.5
        s_ += 0.5
        np.multiply(x_, s_, out=y_)

    def vjp(g):  # of x s: s + (y - y s) d, where d = 2 c (1 + 3 a x^2)
        gx, d = np.empty(x.shape, dtype), np.empty(min(BLOCK, x.size), dtype)
        for x_, y_, s_, g_, gx_ in _in_blocks(*rows, g.reshape(-1), gx.reshape(-1)):
            d_ = d[: len(x_)]
            np.multiply(x_, x_, out=d_)
            d_ *= 6 * _A * _C
            d_ += 2 * _C
            np.multiply(y_, s_, out=gx_)
            np.subtract(y_, gx_, out=gx_)
            gx_ *= d_
            gx_ += s_
            gx_ *= g_
        return gx

    return y, (vjp,)


def _in_blocks(*arrays):
    """The arrays (N,) cut into parts of the same entries, small enough for the cache."""
    for i in range(0, len(arrays[0]), BLOCK):
        yield [array[i : i + BLOCK] for array in arrays]


@in_float32
def _traceable_erf(x):
    return erf(x), (lambda g: g * (2 / math.sqrt(math.pi)) * np.exp(-x * x),)


_erf_of_each = np.frompyfunc(math.erf, 1, 1)


@op(reference=_traceable_erf)
@in_float32
def erf(x):
    """The error function of each entry, by Python: exact, and slow (0.1 s for a million)."""
    y = np.asarray(_erf_of_each(x)).astype(x.dtype)
    return y, (lambda g: g * (2 / math.sqrt(math.pi)) * np.exp(-x * x),)


def gelu(x: Tensor, approximate: Literal["tanh", "none"] = "tanh") -> Tensor:
    """x times the normal distribution function of x: by GPT-2's tanh formula, or "none", by erf.

    Hendrycks, Gimpel: Gaussian Error Linear Units, arXiv:1606.08415.
    """
    if approximate == "tanh":
        return _gelu_tanh(x)
    if approximate == "none" and x.dtype == np.float16:
        return gelu(x.astype(np.float32), approximate).astype(np.float16)
    if approximate == "none":
        return x * (0.5 + 0.5 * erf(x * math.sqrt(0.5)))
    raise ValueError(f"gelu(approximate={approximate!r}): expected 'tanh' or 'none'")


def dropout_mask(
    shape: tuple[int, ...], p: float, rng: np.random.Generator, dtype: Any
) -> np.ndarray:
    """An array of `shape`: 0 with probability p, otherwise 1 / (1 - p), so that the mean is 1."""
    if not 0 <= p < 1:
        raise ValueError(f"dropout: p must be at least 0 and below 1, got {p}")
    if not hasattr(rng, "random"):
        raise TypeError(f"dropout: expected a generator, np.random.default_rng(seed), got {rng!r}")
    kept = rng.random(shape, dtype=np.float32) >= p
    return np.multiply(kept, 1 / (1 - p), dtype=dtype)


def dropout(x: Tensor, p: float, rng: np.random.Generator) -> Tensor:
    """x with entries zeroed with probability p and the others scaled by 1 / (1 - p)."""
    return multiply(x, dropout_mask(x.shape, p, rng, x.dtype)) if p else x


@op
@in_float32
def attention(q, k, v, mask=None, causal=False, dropout_mask=None, scale=None):
    """softmax(q k^T / sqrt(D)) v for q (..., T, D), k and v (..., S, D); `scale` for 1 / sqrt(D).

    `mask` is boolean, broadcast to (..., T, S), True where a query may look; `causal` lets
    query i see the keys up to i (the last query sees all). A query that may look nowhere gives
    0, with gradient 0. Vaswani et al.: Attention Is All You Need, arXiv:1706.03762.
    """
    if mask is not None and mask.dtype != bool:
        raise TypeError(
            f"attention: mask is {mask.dtype}, expected booleans: True where a query may look"
        )
    T, S = q.shape[-2], k.shape[-2]
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = (q * scale) @ k.swapaxes(-1, -2)  # (..., T, S)
    if causal:
        visible = np.tri(T, S, S - T, dtype=bool)
        mask = visible if mask is None else mask & visible
    if mask is not None:
        scores += np.where(mask, 0.0, -np.inf).astype(q.dtype)
    top = scores.max(axis=-1, keepdims=True)
    p = np.exp(scores - np.where(np.isfinite(top), top, 0))
    total = p.sum(axis=-1, keepdims=True)
    p /= np.where(total == 0, 1, total)  # (..., T, S)
    weights = p if dropout_mask is None else p * dropout_mask.astype(q.dtype)

    def vjp(g):
        gp = g @ v.swapaxes(-1, -2)
        if dropout_mask is not None:
            gp *= dropout_mask.astype(q.dtype)
        gp *= p
        gp -= p * gp.sum(axis=-1, keepdims=True)
        gp *= scale
        return gp @ k, gp.swapaxes(-1, -2) @ q, weights.swapaxes(-1, -2) @ g

    return weights @ v, vjp


@in_float32
def _plain_causal_attention(qkv, n_head, dropout_mask=None, scale=None):
    *lead, T, width = qkv.shape
    parts = qkv.reshape((*lead, T, 3, n_head, width // 3 // n_head))
    q, k, v = (parts[..., i, :, :].swapaxes(-3, -2) for i in range(3))  # (..., H, T, D)
    y, pull = attention.__wrapped__(q, k, v, causal=True, dropout_mask=dropout_mask, scale=scale)

    def vjp(g):
        g = g.reshape((*lead, T, n_head, width // 3 // n_head)).swapaxes(-3, -2)
        each = [gx.swapaxes(-3, -2) for gx in pull(g)]  # (..., T, H, D)
        return np.stack(each, axis=-3).reshape(qkv.shape)

    return y.swapaxes(-3, -2).reshape((*lead, T, width // 3)), (vjp,)


_QUERIES = 64  # computed at once, with the keys up to the last of them: half the work is saved
_SCORES = BLOCK  # computed at once: of several sequences, where they are short


@op(reference=_plain_causal_attention)
@in_float32
def causal_attention(qkv, n_head, dropout_mask=None, scale=None):
    """attention(q, k, v, causal=True) of heads side by side, qkv (..., T, 3C): (..., T, C).

    `dropout_mask` is (..., H, T, T). Sums and the gradient are written as in Dao et al.:
    FlashAttention, arXiv:2205.14135; the exponentials are kept for the gradient.
    """
    *lead, T, width = qkv.shape
    B, H, D, dtype = math.prod(lead), n_head, width // 3 // n_head, qkv.dtype
    y = np.empty((B, T, H, D), dtype)
    kept = _dropped(dropout_mask, (B, H, T, T), dtype)
    parts = qkv.reshape((B, T, 3, H, D)).transpose(2, 0, 1, 3, 4)
    pull = _causal(parts, y, scale, kept)

    def vjp(g):
        gx = np.empty((B, T, 3, H, D), dtype)
        pull(g, *gx.transpose(2, 0, 1, 3, 4))
        return gx.reshape(qkv.shape)

    return y.reshape((*lead, T, H * D)), (vjp,)


@in_float32
def _plain_grouped_attention(q, k, v, scale=None):
    *lead, T, H, D = q.shape
    by_group = (*lead, T, k.shape[-2], H // k.shape[-2], D)
    groups = q.reshape(by_group).swapaxes(-4, -3).swapaxes(-3, -2)  # (..., G, H / G, T, D)
    heads = [x.swapaxes(-3, -2)[..., None, :, :] for x in (k, v)]  # (..., G, 1, T, D)
    y, pull = attention.__wrapped__(groups, *heads, causal=True, scale=scale)

    def vjp(g):
        gq, gk, gv = pull(g.reshape(by_group).swapaxes(-4, -3).swapaxes(-3, -2))
        gq = gq.swapaxes(-3, -2).swapaxes(-4, -3).reshape(q.shape)
        return gq, *(gx.sum(axis=-3).swapaxes(-3, -2) for gx in (gk, gv))

    return y.swapaxes(-3, -2).swapaxes(-4, -3).reshape(q.shape), vjp


@op(reference=_plain_grouped_attention)
@in_float32
def grouped_attention(q, k, v, scale=None):
    """Causal attention of q (..., T, H, D) to fewer k and v (..., T, G, D): (..., T, H, D).

    Heads 0 to H / G - 1 share the first keys and values, the next ones the second. Ainslie et al.:
    GQA, arXiv:2305.13245.
    """
    shapes = [(math.prod(x.shape[:-3]), *x.shape[-3:]) for x in (q, k, v)]
    y = np.empty(shapes[0], q.dtype)
    parts = (x.reshape(shape) for x, shape in zip((q, k, v), shapes, strict=True))
    pull = _causal(parts, y, scale, lambda scores, *where: scores)

    def vjp(g):
        gradients = [np.empty(shape, q.dtype) for shape in shapes]
        pull(g, *gradients)
        return tuple(gx.reshape(x.shape) for gx, x in zip(gradients, (q, k, v), strict=True))

    return y.reshape(q.shape), vjp


def _causal(qkv, y, scale, kept):
    """Writes causal attention of q (B, T, H, D) to k and v (B, T, G, D) into y (B, T, H, D).

    Returns a function of the gradient of y and of three arrays, into which it writes the gradients
    of q, k and v. `kept` applies dropout to scores.
    """
    q, k, v = qkv
    (B, T, H, D), G, dtype = q.shape, k.shape[2], q.dtype
    scale = 1 / math.sqrt(D) if scale is None else scale
    by_group = (B, T, G, H // G, D)  # R = H / G heads look at the same keys
    q, heads = (x.reshape(by_group).transpose(0, 2, 3, 1, 4) for x in (q, y))  # (B, G, R, T, D)
    k, v = (x.swapaxes(1, 2) for x in (k, v))  # (B, G, T, D)
    kt = np.multiply(k.swapaxes(-1, -2), scale, order="C")  # (B, G, D, T)
    ones, saved = np.ones(T, dtype), []
    shift, tiles = not _bounded(q, k, scale), _tiles(B, H, T)
    for b, rows, keys in tiles:
        e = _side_by_side(q[b, :, :, rows]) @ kt[b, ..., keys]  # (n, G, R t, S)
        _exponentials(e.reshape((len(e), H, -1, keys.stop)), rows.start, shift)
        r = 1 / (e @ ones[keys])[..., None]
        sums = kept(e, b, rows, keys) @ v[b, :, keys]
        out = heads[b, :, :, rows]
        np.multiply(sums.reshape(out.shape), r.reshape((*out.shape[:-1], 1)), out=out)
        saved.append((e, r))

    def vjp(g, gq, gk, gv):
        g, gq = (x.reshape(by_group).transpose(0, 2, 3, 1, 4) for x in (g, gq))
        gk, gv = (x.swapaxes(1, 2) for x in (gk, gv))
        vt = np.multiply(v.swapaxes(-1, -2), scale, order="C")  # (B, G, D, T)
        for b, rows, keys in reversed(tiles):
            e, r = saved.pop()
            gr = np.multiply(_side_by_side(g[b, :, :, rows]), r, order="C")
            gs = kept(gr @ vt[b, ..., keys], b, rows, keys)  # of the scores
            gs -= np.vecdot(gr, _side_by_side(heads[b, :, :, rows]))[..., None] * scale
            gs *= e
            _write_product(gq[b, :, :, rows], gs, k[b, :, keys])
            pairs = (gk, gs, _side_by_side(q[b, :, :, rows])), (gv, kept(e, b, rows, keys), gr)
            for out, x, z in pairs:  # the last queries come first here, and see all keys
                _add_product(out[b, :, keys], x.swapaxes(-1, -2), z, add=keys.stop < T)

    return vjp


def _side_by_side(x):
    """(n, G, R, t, D) as (n, G, R t, D): one product does for all heads of a group."""
    n, G, R, t, D = x.shape
    return x[:, :, 0] if R == 1 else x.reshape((n, G, R * t, D))


def _write_product(out, x, y):
    """x @ y, (n, G, R t, D), into out (n, G, R, t, D)."""
    if out.shape[2] == 1:
        np.matmul(x, y, out=out[:, :, 0])
    else:
        out[...] = (x @ y).reshape(out.shape)


def _tiles(B, H, T):
    """(sequences, queries, keys) as slices: the scores of a tile fit into the cache."""
    n = max(1, _SCORES // max(1, H * min(T, _QUERIES) * T))
    return [
        (slice(b, b + n), slice(i, i + _QUERIES), slice(0, min(T, i + _QUERIES)))
        for b in range(0, B, n)
        for i in range(0, T, _QUERIES)
    ]


def _dropped(mask, shape, dtype):
    """A function of scores and of their place in (B, H, T, T): scores times the mask there."""
    if mask is None:
        return lambda scores, *where: scores
    mask = mask.astype(dtype, copy=False).reshape(shape)
    return lambda scores, b, rows, keys: scores * mask[b, :, rows, keys]


def _bounded(q, k, scale):
    """Whether all exp(q k scale), and sums of them, are far from overflow: |q k| <= |q| |k|."""
    longest, other = (math.sqrt(np.vecdot(x, x).max(initial=0)) for x in (q, k))
    return longest * other * abs(scale) < math.log(np.finfo(q.dtype).max) / 2


def _exponentials(scores, first, shift):
    """Scores become exp(scores), with `shift` exp(scores - maximum of the row).

    Row i is that of query first + i; it is 0 for the keys after that.
    """
    visible = _triangle(scores.shape[-2], scores.dtype)
    if shift:
        scores[..., first:] += np.where(visible, 0, -np.inf).astype(scores.dtype)
        scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores[..., first:] *= visible


@functools.cache
def _triangle(n, dtype):
    return np.tri(n, dtype=dtype)


@op
@in_float32
def cross_entropy(logits, targets, ignore_index=IGNORE_INDEX):
    """The mean of -log softmax(logits)[target], in nats, for logits (..., V) and targets (...).

    Targets equal to `ignore_index` do not count; where none counts the mean is 0.
    """
    rows, picks = _rows(logits), np.ravel(targets)
    kept = picks != ignore_index
    _check_targets("cross_entropy", logits.shape, np.shape(targets), picks[kept])
    n = max(int(np.count_nonzero(kept)), 1)
    z = rows - rows.max(axis=-1, keepdims=True)
    e = np.exp(z)
    total = e.sum(axis=-1, keepdims=True)
    losses = np.log(total[:, 0]) - z[np.arange(len(picks)), np.where(kept, picks, 0)]

    def vjp(g):
        gx = e / total
        gx -= np.arange(rows.shape[1]) == picks[:, None]
        gx *= kept[:, None] * (g / n)
        return gx.reshape(logits.shape)

    return np.where(kept, losses, 0).sum() / n, (vjp,)


@in_float32
def _plain_linear_cross_entropy(x, weight, targets, ignore_index=IGNORE_INDEX):
    loss, (pull,) = cross_entropy.__wrapped__(x @ weight.T, targets, ignore_index)

    def vjp(g):
        g = pull(g)
        return g @ weight, _rows(g).T @ _rows(x)

    return loss, vjp


_LOGITS = 1 << 26  # entries of the logits that exist at a time: 256 MB


@op(reference=_plain_linear_cross_entropy)
@in_float32
def linear_cross_entropy(x, weight, targets, ignore_index=IGNORE_INDEX):
    """cross_entropy(x @ weight.T, targets) for x (..., C) and weight (V, C).

    The logits become their gradient in place. Where they are many they exist for some rows at a
    time, and are computed again for the gradient: a large vocabulary does not cost gigabytes.
    """
    rows, picks, V = _rows(x), np.ravel(targets), len(weight)
    kept = picks != ignore_index
    _check_targets("linear_cross_entropy", (*x.shape[:-1], V), np.shape(targets), picks[kept])
    shares = kept / max(int(np.count_nonzero(kept)), 1)  # weights of the rows in the mean
    picks = np.where(kept, picks, 0)
    step = max(1, _LOGITS // max(1, V))
    blocks = [slice(i, i + step) for i in range(0, len(rows), step)]
    loss, z = 0.0, None
    for b in blocks:
        z = None  # before there is another
        part, z = _loss_and_slope(rows[b] @ weight.T, picks[b], shares[b])
        loss += part
    z = z if len(blocks) == 1 else None

    def vjp(g):
        if z is not None:
            return (z @ weight).reshape(x.shape) * g, _product(z.T, rows * g)
        gx, gw = np.empty(rows.shape, x.dtype), np.zeros(weight.shape, weight.dtype)
        for b in blocks:
            _, slope = _loss_and_slope(rows[b] @ weight.T, picks[b], shares[b])
            np.matmul(slope, weight, out=gx[b])
            gw += slope.T @ rows[b]
        return gx.reshape(x.shape) * g, gw * g

    return np.asarray(loss, x.dtype), vjp


def _loss_and_slope(z, picks, shares):
    """The sum of shares * losses of logits z (N, V), and z, overwritten by its gradient."""
    at = np.arange(len(picks)), picks
    z -= z.max(axis=-1, keepdims=True)
    losses = -z[at]
    np.exp(z, out=z)
    sums = z.sum(axis=-1)
    losses += np.log(sums)
    z *= (shares / sums).astype(z.dtype)[:, None]
    z[at] -= shares.astype(z.dtype)
    kept = shares > 0  # the others may be infinite
    return (losses[kept] * shares[kept]).sum(), z


def _check_targets(name, logits_shape, shape, picks):
    if shape != logits_shape[:-1] or picks.dtype.kind not in "iu":
        raise ValueError(
            f"{name}: logits of shape {logits_shape} need integer targets of shape "
            f"{logits_shape[:-1]}, got shape {shape}, dtype {picks.dtype}"
        )
    if picks.size and not 0 <= picks.min() <= picks.max() < logits_shape[-1]:
        raise IndexError(
            f"{name}: targets go from {picks.min()} to {picks.max()}, the logits have "
            f"classes 0 to {logits_shape[-1] - 1}; set ignore_index to leave targets out"
        )


# ---------------------------------------------------------------- what Llama's family adds


@op
@in_float32
def rms_norm(x, weight, eps=1e-5):
    """x / sqrt(mean(x * x) + eps) over the last axis, times `weight` (C,).

    Zhang, Sennrich: Root Mean Square Layer Normalization, arXiv:1910.07467.
    """
    C = x.shape[-1]
    r = 1 / np.sqrt(np.vecdot(x, x)[..., None] / (C or 1) + eps)  # (..., 1)
    n = x * r

    def vjp(g):
        gn = g * weight
        gn -= n * (np.vecdot(gn, n)[..., None] / (C or 1))
        gn *= r
        return gn, g * n

    return n * weight, vjp


@op
@in_float32
def rotary(x, cos, sin):
    """The pairs (i, i + D/2) of channels of x (..., D), each turned by an angle.

    `cos` and `sin` of the angles are constants (..., D/2), or what rotary_tables makes of them. If
    the angles grow in proportion to a position, the product of two turned vectors depends only on
    how far apart they are. Su et al.: RoFormer, arXiv:2104.09864.
    """
    if cos.shape[-1] < x.shape[-1]:
        cos, sin = rotary_tables(cos, sin)
    cos, sin = cos.astype(x.dtype, copy=False), sin.astype(x.dtype, copy=False)
    return _turned(x, cos, sin), (lambda g: _turned(g, cos, -sin),)


def rotary_tables(cos: Any, sin: Any, heads: int = 1) -> list[Any]:
    """[cos beside cos, -sin beside sin]: what `rotary` multiplies with, to be used several times.

    Tables (..., 1, D) are repeated for the heads while they fit into the cache: arrays of one shape
    multiply faster.
    """
    pairs = ([cos, cos], [-sin, sin])
    tables = [np.concatenate(pair, axis=-1) for pair in pairs]
    fit = heads > 1 and heads * tables[0].size <= BLOCK
    return [table.repeat(heads, axis=-2) for table in tables] if fit else tables


def _turned(x, cos, sin):
    half = x.shape[-1] // 2
    y = np.concatenate([x[..., half:], x[..., :half]], axis=-1)
    y *= sin
    y += x * cos
    return y


@op
@in_float32
def swiglu(gate, up):
    """silu(gate) * up, elementwise: the activation of Shazeer, GLU Variants Improve Transformer.

    arXiv:2002.05202.
    """
    s = sigmoid.__wrapped__(gate)[0]
    h = gate * s

    def vjp(g):
        slope = 1 - s  # of silu: s + h (1 - s)
        slope *= h
        slope += s
        slope *= up
        slope *= g
        return slope, g * h

    return h * up, vjp


# ---------------------------------------------------------------- of NumPy's functions
# What small networks need besides: a few lines each of what NumPy has, not fused.


def softplus(x: Any) -> Tensor:
    """log(1 + e ** x), elementwise: relu without its corner."""
    return np.logaddexp(x, 0)


def silu(x: Any) -> Tensor:
    """x * sigmoid(x), elementwise, also called swish (arXiv:1702.03118)."""
    return x * sigmoid(x)


def _difference(name, x, target):
    if np.shape(x) != np.shape(target):
        raise ValueError(
            f"{name}: the predictions have shape {np.shape(x)} and the targets "
            f"{np.shape(target)}: they must be equal"
        )
    return x - target


def mse_loss(x: Any, target: Any) -> Tensor:
    """The mean of (x - target) ** 2 over all entries; both have the same shape."""
    return np.mean(_difference("mse_loss", x, target) ** 2)


def huber_loss(x: Any, target: Any, delta: float = 1.0) -> Tensor:
    """The mean of d ** 2 / 2 for d = |x - target| up to `delta`, of delta * (d - delta / 2) beyond.

    Huber, Robust Estimation of a Location Parameter (1964).
    """
    d = np.abs(_difference("huber_loss", x, target))
    inside = np.minimum(d, delta)
    return np.mean(inside * (d - inside / 2))


def binary_cross_entropy_with_logits(x: Any, target: Any) -> Tensor:
    """The mean of -log(probability of target), where 1 has the probability sigmoid(x).

    `target` has the shape of x, and entries from 0 to 1.
    """
    _difference("binary_cross_entropy_with_logits", x, target)
    return np.mean(np.logaddexp(x, 0) - x * target)


def conv2d(x: Any, weight: Any, bias: Any = None, stride: int = 1,
           padding: int = 0) -> Tensor:  # fmt: skip
    """Pictures (B, C, H, W) with `weight` (out, C, h, w) laid over every place: (B, out, H', W').

    `padding` rows and columns of zeros are put around; `stride` is the step from place to place.
    `bias` is (out,) or None. As in other libraries the kernel is not turned around.
    """
    edge = (padding, padding)
    x = np.pad(x, ((0, 0), (0, 0), edge, edge)) if padding else x
    windows = sliding_window_view(x, weight.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    y = np.einsum("bchwij,ocij->bohw", windows, weight)
    return y if bias is None else y + bias[:, None, None]


def max_pool2d(x: Any, size: int) -> Tensor:
    """The largest entry of each `size` by `size` square: (..., H, W) to (..., H/size, W/size).

    Rows and columns that do not fill a square are left out.
    """
    return _squares(x, size).max(axis=(-1, -2))


def avg_pool2d(x: Any, size: int) -> Tensor:
    """The mean of each `size` by `size` square, as max_pool2d."""
    return _squares(x, size).mean(axis=(-1, -2))


def _squares(x, size):
    return sliding_window_view(x, (size, size), axis=(-2, -1))[..., ::size, ::size, :, :]
