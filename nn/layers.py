"""Layers: ops with weights. Next to read: transformer.py, which is built of them.

Weights are float32, drawn from an explicit `numpy.random.Generator`; None gives zeros, for
weights that are loaded at once.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from autograd import Tensor, layer_norm

from . import functional as F
from .module import Module

__all__ = ["Dropout", "Embedding", "LayerNorm", "Linear"]


def _normal(rng, std, *shape):
    if rng is None:
        return Tensor(np.zeros(shape, dtype=np.float32), requires_grad=True)
    return Tensor(std * rng.standard_normal(shape, dtype=np.float32), requires_grad=True)


def _full(value, size):
    return Tensor(np.full(size, value, dtype=np.float32), requires_grad=True)


class Linear(Module):
    """x @ weight + bias: (..., in_features) to (..., out_features).

    `weight` is (in_features, out_features), the transpose of PyTorch's, and starts as normal
    numbers of variance 1 / in_features: the outputs vary as much as the inputs.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rng: np.random.Generator | None,
        bias: bool = True,
    ):
        self.weight = _normal(rng, 1 / math.sqrt(in_features), in_features, out_features)
        self.bias = _full(0, out_features) if bias else None

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class Embedding(Module):
    """A table of vectors: integers (...) to (..., embedding_dim).

    It starts as normal numbers of standard deviation 0.02, as in GPT-2: a tied head then begins
    close to equal probabilities.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, rng: np.random.Generator | None):
        self.weight = _normal(rng, 0.02, num_embeddings, embedding_dim)

    def __call__(self, ids: Any) -> Tensor:
        return F.embedding(self.weight, ids)


class LayerNorm(Module):
    """Each vector (..., size) shifted and scaled to mean 0, variance 1, then by weight and bias."""

    def __init__(self, size: int, bias: bool = True, eps: float = 1e-5):
        self.weight = _full(1, size)
        self.bias = _full(0, size) if bias else None
        self.eps = eps

    def __call__(self, x: Tensor) -> Tensor:
        return layer_norm(x, self.weight, self.bias, eps=self.eps)


class Dropout(Module):
    """In training, zeroes entries with probability p and scales the others by 1 / (1 - p)."""

    def __init__(self, p: float, rng: np.random.Generator | None):
        if not 0 <= p < 1:
            raise ValueError(f"Dropout: p must be at least 0 and below 1, got {p}")
        self.p, self.rng = p, rng

    def __call__(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.rng) if self.training else x
