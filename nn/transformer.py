"""The transformer: attention with several heads, feed-forward, and the block that joins them.

B sequences, T positions, C channels, H heads, D = C / H. Next to read: ../tinygpt.py.
"""

from __future__ import annotations

import numpy as np

from autograd import Tensor, relu, split

from . import functional as F
from .layers import Dropout, LayerNorm, Linear
from .module import Module

__all__ = ["Block", "FeedForward", "MultiHeadAttention", "sinusoidal_positions"]


class MultiHeadAttention(Module):
    """Self-attention with `n_head` heads: (..., T, C) to (..., T, C).

    Causal unless `causal=False`. A boolean `mask`, broadcast to (..., H, T, T), is True where
    the position of the row may look at the position of the column.
    """

    def __init__(
        self,
        n_embd: int,
        n_head: int,
        rng: np.random.Generator,
        bias: bool = True,
        dropout: float = 0.0,
        causal: bool = True,
    ):
        if n_head < 1 or n_embd % n_head:
            raise ValueError(
                f"attention: width {n_embd} cannot be divided among {n_head} heads; choose an "
                "n_embd that is a multiple of n_head"
            )
        self.n_head, self.causal = n_head, causal
        self.qkv = Linear(n_embd, 3 * n_embd, rng, bias)
        self.projection = Linear(n_embd, n_embd, rng, bias)
        self.dropout = Dropout(dropout, rng)

    def __call__(self, x: Tensor, mask: np.ndarray | None = None) -> Tensor:
        q, k, v = (self._heads(part) for part in split(self.qkv(x), 3, axis=-1))
        dropout_mask = self._dropout_mask(q) if self.training and self.dropout.p else None
        y = F.attention(q, k, v, mask=mask, causal=self.causal, dropout_mask=dropout_mask)
        y = y.swapaxes(-3, -2).reshape(x.shape)  # (..., H, T, D) to (..., T, C)
        return self.dropout(self.projection(y))

    def _heads(self, x):
        """(..., T, C) to (..., H, T, D)."""
        return x.reshape((*x.shape[:-1], self.n_head, -1)).swapaxes(-3, -2)

    def _dropout_mask(self, q):
        shape = (*q.shape[:-1], q.shape[-2])  # (..., H, T, T)
        return F._dropout_mask(shape, self.dropout.p, self.dropout.rng, q.dtype)


ACTIVATIONS = {"gelu": F.gelu, "gelu_erf": lambda x: F.gelu(x, approximate="none"), "relu": relu}


class FeedForward(Module):
    """Two linear layers around an activation: (..., C) to (..., d_ff) to (..., C).

    `activation` is "gelu" (the tanh formula), "gelu_erf" or "relu".
    """

    def __init__(
        self,
        n_embd: int,
        d_ff: int,
        rng: np.random.Generator,
        activation: str = "gelu",
        bias: bool = True,
        dropout: float = 0.0,
    ):
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"feed-forward: activation {activation!r} is not one of {', '.join(ACTIVATIONS)}"
            )
        self.activation = activation
        self.expand = Linear(n_embd, d_ff, rng, bias)
        self.projection = Linear(d_ff, n_embd, rng, bias)
        self.dropout = Dropout(dropout, rng)

    def __call__(self, x: Tensor) -> Tensor:
        hidden = ACTIVATIONS[self.activation](self.expand(x))
        return self.dropout(self.projection(hidden))


class Block(Module):
    """Attention, then feed-forward, each added to its input: (..., T, C) to (..., T, C).

    With `norm_first` (GPT-2) the layers see a normalized input; without (Vaswani et al. 2017)
    the sum is normalized.
    """

    def __init__(
        self,
        n_embd: int,
        n_head: int,
        d_ff: int,
        rng: np.random.Generator,
        norm_first: bool = True,
        activation: str = "gelu",
        bias: bool = True,
        dropout: float = 0.0,
        causal: bool = True,
    ):
        self.norm_first = norm_first
        self.norm1 = LayerNorm(n_embd, bias)
        self.attention = MultiHeadAttention(n_embd, n_head, rng, bias, dropout, causal)
        self.norm2 = LayerNorm(n_embd, bias)
        self.feed_forward = FeedForward(n_embd, d_ff, rng, activation, bias, dropout)

    def __call__(self, x: Tensor, mask: np.ndarray | None = None) -> Tensor:
        if self.norm_first:
            x = x + self.attention(self.norm1(x), mask)
            return x + self.feed_forward(self.norm2(x))
        x = self.norm1(x + self.attention(x, mask))
        return self.norm2(x + self.feed_forward(x))


def sinusoidal_positions(length: int, n_embd: int) -> np.ndarray:
    """The fixed position vectors (T, C) of Vaswani et al. (2017), section 3.5, in float64.

    Channel 2i is sin(t / 10000^(2i/C)), channel 2i + 1 the cosine of the same angle.
    """
    angles = np.arange(length)[:, None] / 10000 ** (np.arange(0, n_embd, 2) / n_embd)  # (T, C/2)
    table = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(length, -1)
    return table[:, :n_embd]
