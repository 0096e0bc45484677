"""Layers: ops with weights. Next to read: transformer.py, which is built of them.

Weights are float32, drawn from an explicit `numpy.random.Generator`. With None in its place they
are zeros, to be loaded; dropout then has a generator of its own. A layer computes in the dtype of
its weights: it converts its input.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from autograd import Tensor, astype, layer_norm, sigmoid, split

from . import functional as F
from .module import Module

__all__ = ["Conv2d", "Dropout", "Embedding", "LSTMCell", "LayerNorm", "Linear", "Sequential"]


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


class Sequential(Module):
    """Layers, or functions such as np.tanh, one after the other.

    >>> rng = np.random.default_rng(0)
    >>> network = Sequential(Linear(2, 8, rng), np.tanh, Linear(8, 1, rng))
    >>> network(Tensor(np.ones((5, 2), np.float32))).shape
    (5, 1)
    """

    def __init__(self, *layers: Any):
        self.layers = list(layers)

    def __call__(self, x: Tensor) -> Tensor:
        """What the last layer gives."""
        for layer in self.layers:
            x = layer(x)
        return x


class Conv2d(Module):
    """Pictures (B, in_channels, H, W) to (B, out_channels, H', W'), see functional.conv2d.

    `weight` is (out_channels, in_channels, kernel_size, kernel_size). It starts as normal numbers
    of variance 1 / (in_channels * kernel_size ** 2).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        rng: np.random.Generator | None,
        *,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ):
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        self.weight = _normal("Conv2d", rng, 1 / math.sqrt(math.prod(shape[1:])), *shape)
        self.bias = _full(0, out_channels) if bias else None
        self.stride, self.padding = stride, padding

    def __call__(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H', W')."""
        x = in_dtype_of(self.weight, x)
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding)

    def describe(self) -> str:
        """Its sizes, for print(model)."""
        n_out, n_in, size, _ = self.weight.shape
        return f"{n_in} -> {n_out}, {size} x {size}" + ", bias" * (self.bias is not None)


class LSTMCell(Module):
    """One step of a long short-term memory: it keeps h and c, each (B, hidden_size).

    Hochreiter, Schmidhuber, Long Short-Term Memory (1997), with a gate that forgets.
    """

    def __init__(self, input_size: int, hidden_size: int, rng: np.random.Generator | None):
        self.input = Linear(input_size, 4 * hidden_size, rng)
        self.hidden = Linear(hidden_size, 4 * hidden_size, rng, bias=False)

    def __call__(self, x: Any, state: Any = None) -> Any:
        """The next (h, c) for x (B, input_size) and the last (h, c), zeros if None."""
        if state is None:
            weight = self.hidden.weight
            zeros = Tensor(np.zeros((len(x), len(weight)), weight.dtype))
            state = zeros, zeros
        h, c = state
        i, f, g, o = split(self.input(x) + self.hidden(h), 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c
