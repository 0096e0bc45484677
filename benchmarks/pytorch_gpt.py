"""TinyGPT in PyTorch, the ordinary way people write it: what the benchmarks compare with.

The names of the parameters and of the configuration are TinyGPT's. B sequences, T positions, C
channels, H heads, D channels a head, V tokens.
"""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ACTIVATIONS = {"gelu": nn.GELU(approximate="tanh"), "relu": nn.ReLU()}


class Attention(nn.Module):
    def __init__(self, c: SimpleNamespace):
        super().__init__()
        self.n_head = c.n_head
        self.qkv = nn.Linear(c.n_embd, 3 * c.n_embd, c.bias)
        self.projection = nn.Linear(c.n_embd, c.n_embd, c.bias)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part.unflatten(-1, (self.n_head, -1)).transpose(1, 2)  # (B, H, T, D)
            for part in self.qkv(x).chunk(3, -1)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.projection(y.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, c: SimpleNamespace):
        super().__init__()
        self.expand = nn.Linear(c.n_embd, c.d_ff, c.bias)
        self.activation = ACTIVATIONS[c.activation]
        self.projection = nn.Linear(c.d_ff, c.n_embd, c.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.projection(self.activation(self.expand(x)))


class Block(nn.Module):
    def __init__(self, c: SimpleNamespace):
        super().__init__()
        self.norm_first = c.norm_first
        self.norm1, self.attention = nn.LayerNorm(c.n_embd, bias=c.bias), Attention(c)
        self.norm2, self.feed_forward = nn.LayerNorm(c.n_embd, bias=c.bias), FeedForward(c)

    def forward(self, x: Tensor) -> Tensor:
        if self.norm_first:
            x = x + self.attention(self.norm1(x))
            return x + self.feed_forward(self.norm2(x))
        x = self.norm1(x + self.attention(x))
        return self.norm2(x + self.feed_forward(x))


class GPT(nn.Module):
    """Integers (B, T) and targets (B, T) to the mean cross entropy, with a tied head."""

    def __init__(self, **config):
        super().__init__()
        c = SimpleNamespace(**config)
        self.token_embedding = nn.Embedding(c.vocab_size, c.n_embd)
        if c.positions == "learned":
            self.position_embedding = nn.Embedding(c.block_size, c.n_embd)
        else:
            self.register_buffer("position_table", sinusoidal_positions(c.block_size, c.n_embd))
        self.blocks = nn.Sequential(*(Block(c) for _ in range(c.n_layer)))
        self.norm = nn.LayerNorm(c.n_embd, bias=c.bias) if c.norm_first else nn.Identity()

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        x = self.token_embedding(ids) + self._positions(ids.shape[1])
        logits = F.linear(self.norm(self.blocks(x)), self.token_embedding.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def _positions(self, T: int) -> Tensor:
        if hasattr(self, "position_embedding"):
            return self.position_embedding(torch.arange(T))
        return self.position_table[:T]

    @torch.no_grad()
    def load(self, weights) -> None:
        """Set every parameter to weights(name, shape), whose matrices are (in, out)."""
        for name, p in self.named_parameters():
            if "embedding" in name:
                p.copy_(torch.from_numpy(weights(name, p.shape)))
            else:  # nn.Linear holds the transpose; a vector stays as it is
                p.copy_(torch.from_numpy(weights(name, p.shape[::-1])).t())


def sinusoidal_positions(length: int, n_embd: int) -> Tensor:
    """(T, C): channel 2i is sin(t / 10000^(2i/C)), channel 2i + 1 the cosine."""
    angles = torch.arange(length)[:, None] / 10000 ** (torch.arange(0, n_embd, 2) / n_embd)
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


def adamw(model: nn.Module, lr: float, betas: tuple, weight_decay: float) -> torch.optim.AdamW:
    """torch.optim.AdamW in its fastest form, fused, with weight decay on matrices alone."""
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2]},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr, betas, weight_decay=weight_decay, fused=True)
