"""Ops of neural networks, each fused into one node with its gradient written out.

They are ordinary ops, made with `autograd.op` as a user's own would be. In shapes: B sequences,
T positions, C channels, H heads, D channels a head, V classes. Next to read: layers.py, which
gives them weights.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from autograd import Tensor, multiply, op

__all__ = ["attention", "cross_entropy", "dropout", "embedding", "erf", "gelu", "linear"]


def _rows(x):
    """(..., C) as a matrix (N, C)."""
    return x.reshape((math.prod(x.shape[:-1]), x.shape[-1]))


@op
def linear(x, weight, bias=None):
    """x @ weight + bias for x (..., in), weight (in, out) and bias (out,) or None."""
    rows = _rows(x)  # one large product, whatever the leading axes
    y = rows @ weight
    if bias is not None:
        y += bias
    return y.reshape((*x.shape[:-1], weight.shape[1])), (
        lambda g: (_rows(g) @ weight.T).reshape(x.shape),
        lambda g: rows.T @ _rows(g),
        lambda g: g,
    )


def embedding(weight: Tensor, ids: Any) -> Tensor:
    """The rows of weight (V, C) that the integers ids (...) name: (..., C)."""
    ids = np.asarray(ids)
    if ids.dtype.kind not in "iu":
        raise TypeError(f"embedding: ids must be integers, got dtype {ids.dtype}")
    if ids.size and not 0 <= ids.min() <= ids.max() < weight.shape[0]:
        raise IndexError(
            f"embedding: ids go from {ids.min()} to {ids.max()}, the table has rows 0 to "
            f"{weight.shape[0] - 1}: is the text encoded with the tokenizer of this model?"
        )
    return weight[ids]


@op
def _gelu_tanh(x):
    c = math.sqrt(2 / math.pi)
    u = x * x
    u *= 0.044715 * c
    u += c
    u *= x
    t = np.tanh(u)
    y = t + 1
    y *= x
    y *= 0.5

    def vjp(g):  # 0.5 g (1 + t + x (1 - t^2) du/dx), with du/dx = c (1 + 3 * 0.044715 x^2)
        slope = x * x
        slope *= 3 * 0.044715 * c
        slope += c
        slope *= x
        slope *= 1 - t * t
        slope += t
        slope += 1
        slope *= 0.5
        slope *= g
        return slope

    return y, (vjp,)


def _traceable_erf(x):
    return erf(x), (lambda g: g * (2 / math.sqrt(math.pi)) * np.exp(-x * x),)


_erf_of_each = np.frompyfunc(math.erf, 1, 1)


@op(reference=_traceable_erf)
def erf(x):
    """The error function, entry by entry in Python: exact, and slow (0.1 s a million)."""
    y = np.asarray(_erf_of_each(x)).astype(x.dtype)
    return y, (lambda g: g * (2 / math.sqrt(math.pi)) * np.exp(-x * x),)


def gelu(x: Tensor, approximate: str = "tanh") -> Tensor:
    """x times the normal distribution function: the tanh formula of GPT-2, or "none" with erf.

    Hendrycks, Gimpel: Gaussian Error Linear Units, arXiv:1606.08415.
    """
    if approximate == "tanh":
        return _gelu_tanh(x)
    if approximate == "none":
        return x * (0.5 + 0.5 * erf(x * math.sqrt(0.5)))
    raise ValueError(f"gelu(approximate={approximate!r}): expected 'tanh' or 'none'")


def _dropout_mask(shape, p, rng, dtype):
    """0 with probability p, otherwise 1 / (1 - p), so that the mean stays."""
    if not 0 <= p < 1:
        raise ValueError(f"dropout: p must be at least 0 and below 1, got {p}")
    kept = rng.random(shape, dtype=np.float32) >= p
    return np.multiply(kept, 1 / (1 - p), dtype=dtype)


def dropout(x: Tensor, p: float, rng: np.random.Generator) -> Tensor:
    """x with entries zeroed with probability p and the others scaled by 1 / (1 - p)."""
    return multiply(x, _dropout_mask(x.shape, p, rng, x.dtype)) if p else x


@op
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


@op
def cross_entropy(logits, targets, ignore_index=-100):
    """The mean of -log softmax(logits)[target], in nats, for logits (..., V) and targets (...).

    Targets equal to `ignore_index` do not count; where none counts the mean is 0.
    """
    rows, picks = _rows(logits), np.ravel(targets)
    kept = picks != ignore_index
    _check_targets(logits.shape, np.shape(targets), picks[kept])
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


def _check_targets(logits_shape, shape, picks):
    if shape != logits_shape[:-1] or picks.dtype.kind not in "iu":
        raise ValueError(
            f"cross_entropy: logits of shape {logits_shape} need integer targets of shape "
            f"{logits_shape[:-1]}, got shape {shape}, dtype {picks.dtype}"
        )
    if picks.size and not 0 <= picks.min() <= picks.max() < logits_shape[-1]:
        raise IndexError(
            f"cross_entropy: targets go from {picks.min()} to {picks.max()}, the logits have "
            f"classes 0 to {logits_shape[-1] - 1}; set ignore_index to leave targets out"
        )
