"""Layers: ops with weights. Next to read: transformer.py, which is built of them.

Weights are float32, drawn from an explicit `numpy.random.Generator`. With None in its place they
are zeros, to be loaded; dropout then has a generator of its own. A layer computes in the dtype of
its weights: it converts its input.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from autograd import Tensor, astype, layer_norm

from . import functional as F
from .module import Module

__all__ = ["Dropout", "Embedding", "LayerNorm", "Linear"]


def in_dtype_of(weight: Tensor, x: Any) -> Tensor:
    """x as a Tensor of the dtype of `weight`: NumPy's float64 shall not spread through a model."""
    x = x if isinstance(x, Tensor) else Tensor(x)
    return x if x.data.dtype is weight.data.dtype else astype(x, weight.dtype)


def _require_generator(name, rng):
    if not (rng is None or isinstance(rng, np.random.Generator)):
        raise TypeError(
            f"{name}: expected a generator of random numbers, np.random.default_rng(seed), or None "
            f"for weights that will be loaded, got {rng!r}"
        )


def _normal(name, rng, std, *shape):
    _require_generator(name, rng)
    if rng is None:  # one read-only zero, broadcast: it takes no memory
        return Tensor(np.broadcast_to(np.float32(0), shape), requires_grad=True)
    return Tensor(std * rng.standard_normal(shape, dtype=np.float32), requires_grad=True)


def _full(value, size):
    return Tensor(np.full(size, value, dtype=np.float32), requires_grad=True)


class Linear(Module):
    """x @ weight + bias: (..., in_features) to (..., out_features).

    `weight` is (in_features, out_features), the transpose of PyTorch's. It starts as normal numbers
    of variance 1 / in_features, so that the outputs vary as much as the inputs.

    >>> layer = Linear(3, 2, np.random.default_rng(0))
    >>> layer(Tensor(np.ones((4, 3), np.float32))).shape
    (4, 2)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rng: np.random.Generator | None,
        *,
        bias: bool = True,
    ):
        std = 1 / math.sqrt(max(1, in_features))
        self.weight = _normal("Linear", rng, std, in_features, out_features)
        self.bias = _full(0, out_features) if bias else None

    def __call__(self, x: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        return F.linear(in_dtype_of(self.weight, x), self.weight, self.bias)

    def describe(self) -> str:
        """Its sizes, for print(model)."""
        return " -> ".join(map(str, self.weight.shape)) + ", bias" * (self.bias is not None)


class Embedding(Module):
    """A table of vectors: integers (...) to (..., embedding_dim).

    It starts as normal numbers of standard deviation 0.02, as in GPT-2: a head that shares the
    table then gives nearly equal probabilities at first.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, rng: np.random.Generator | None):
        self.weight = _normal("Embedding", rng, 0.02, num_embeddings, embedding_dim)

    def __call__(self, ids: Any) -> Tensor:
        """Integers (...) to (..., embedding_dim)."""
        return F.embedding(self.weight, ids)

    def describe(self) -> str:
        """Its sizes, for print(model)."""
        return ", ".join(map(str, self.weight.shape))


class LayerNorm(Module):
    """Vectors (..., size) brought to mean 0 and variance 1, then times weight, plus bias.

    Ba, Kiros, Hinton: Layer Normalization, arXiv:1607.06450.
    """

    def __init__(self, size: int, *, bias: bool = True, eps: float = 1e-5):
        self.weight = _full(1, size)
        self.bias = _full(0, size) if bias else None
        self.eps = eps

    def __call__(self, x: Tensor) -> Tensor:
        """(..., size) to the same shape."""
        x = in_dtype_of(self.weight, x)
        return layer_norm(x, self.weight, self.bias, eps=self.eps)

    def describe(self) -> str:
        """Its size, for print(model)."""
        return str(self.weight.size) + ", bias" * (self.bias is not None)


class Dropout(Module):
    """In training, zeroes entries with probability p and scales the others by 1 / (1 - p).

    With None in place of `rng` it draws from a generator of its own, other numbers each time; set
    its attribute `rng` to draw the same ones again.
    """

    def __init__(self, p: float, rng: np.random.Generator | None):
        if not 0 <= p < 1:
            raise ValueError(f"Dropout: p must be at least 0 and below 1, got {p}")
        _require_generator("Dropout", rng)
        self.p, self.rng = p, np.random.default_rng() if rng is None else rng

    def __call__(self, x: Tensor) -> Tensor:
        """x with entries zeroed; x itself after eval(), or if p is 0."""
        if not (self.training and self.p):
            return x
        return F.dropout(x, self.p, self.rng)

    def describe(self) -> str:
        """Its probability, for print(model)."""
        return f"p={self.p:g}"
