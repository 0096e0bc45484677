"""Llama: the transformer of SmolLM2, Llama 2 and 3, Mistral, Qwen 2 and Qwen 3.

GPT-2 adds a learned vector for each position; here queries and keys are turned by an angle that
grows with the position (`rotary`). Several heads share keys and values. The feed-forward layer is
multiplied by a gate. Norms divide by the root mean square only, and most models have no biases.
Touvron et al., arXiv:2302.13971; Grattafiori et al., arXiv:2407.21783; Jiang et al.,
arXiv:2310.06825; Yang et al., arXiv:2505.09388.

Read it from top to bottom. The folders and files of other programs are read in llama_files.py and
gguf.py. In shapes: B sequences, T positions, S positions with those in the cache, C channels,
H heads, G heads of keys and values, D channels of a head, V tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from autograd import Tensor, no_grad

from . import functional as F
from . import sampling
from .layers import Embedding, Linear, in_dtype_of
from .llama_config import LlamaConfig
from .llama_files import load_llama, save_llama
from .module import Module
from .transformer import KVCache, cached_decoder, checkpoint_activations, share_batch

__all__ = ["Llama", "LlamaConfig"]


class RMSNorm(Module):
    """Vectors (..., size) divided by their root mean square, times weight (size,)."""

    def __init__(self, size: int, eps: float):
        self.weight = Tensor(np.ones(size, np.float32), requires_grad=True)
        self.eps = eps

    def __call__(self, x: Tensor) -> Tensor:
        """(..., size) to the same shape."""
        return F.rms_norm(in_dtype_of(self.weight, x), self.weight, eps=self.eps)

    def describe(self) -> str:
        """Its size, for print(model)."""
        return str(self.weight.size)


class Attention(Module):
    """Causal self-attention in which H heads share G heads of keys and values: (..., T, C)."""

    def __init__(self, c: LlamaConfig, rng: np.random.Generator | None):
        self.head_dim = c.head_dim
        self.q = Linear(c.n_embd, c.n_head * c.head_dim, rng, bias=c.qkv_bias)
        self.k = Linear(c.n_embd, c.n_kv_head * c.head_dim, rng, bias=c.qkv_bias)
        self.v = Linear(c.n_embd, c.n_kv_head * c.head_dim, rng, bias=c.qkv_bias)
        self.output = Linear(c.n_head * c.head_dim, c.n_embd, rng, bias=c.output_bias)
        if c.qk_norm:
            self.q_norm, self.k_norm = RMSNorm(c.head_dim, c.eps), RMSNorm(c.head_dim, c.eps)

    def __call__(self, x: Tensor, rotation: Any, mask: Any = None, cache: Any = None) -> Tensor:
        """(..., T, C) to (..., T, C).

        `rotation` are the rotary_tables of the angles, (..., T, 1 or H, D); `mask` is broadcast to
        (..., G, H / G, T, S), True where a position may look. With a `cache`, T follow those in it.
        """
        q, k, v = self._heads(x, rotation)
        if cache is not None:
            first = cache.length == 0
            k, v = cache.append(*(y.swapaxes(-3, -2) for y in (k, v)))
            k, v = (y.swapaxes(-3, -2) for y in (k, v))  # (..., S, G, D)
        if mask is None and (cache is None or first):
            y = F.grouped_attention(q, k, v)
        else:
            y = F.attention(*_grouped(q, k, v), mask=mask, causal=True)  # (..., G, H / G, T, D)
            y = y.swapaxes(-3, -2).swapaxes(-4, -3)
        return self.output(y.reshape((*x.shape[:-1], -1)))

    def _heads(self, x, rotation):
        """Queries (..., T, H, D), keys and values (..., T, G, D) of x (..., T, C)."""
        shape = (*x.shape[:-1], -1, self.head_dim)
        q, k, v = (layer(x).reshape(shape) for layer in (self.q, self.k, self.v))
        if hasattr(self, "q_norm"):
            q, k = self.q_norm(q), self.k_norm(k)
        return F.rotary(q, *rotation), F.rotary(k, *(t[..., : k.shape[-2], :] for t in rotation)), v

    def weights(self, x: Tensor, rotation: Any, mask: Any) -> Tensor:
        """How much each position looks at each position: (..., H, T, T); each row sums to 1."""
        q, k, v = self._heads(x, rotation)
        q, k, _ = _grouped(q, k, v)
        one_hot = Tensor(np.eye(x.shape[-2], dtype=x.dtype))  # as values: their mean is the weights
        y = F.attention(q, k, one_hot, mask=mask, causal=True)
        return y.reshape((*y.shape[:-4], -1, *y.shape[-2:]))


def _grouped(q, k, v):
    """q (..., T, H, D) as (..., G, H / G, T, D); k and v (..., S, G, D) as (..., G, 1, S, D)."""
    *lead, H, D = q.shape
    q = q.reshape((*lead, k.shape[-2], H // k.shape[-2], D)).swapaxes(-4, -3).swapaxes(-3, -2)
    return q, *(x.swapaxes(-3, -2)[..., None, :, :] for x in (k, v))


class FeedForward(Module):
    """down(silu(gate(x)) * up(x)): (..., C) to (..., d_ff) to (..., C)."""

    def __init__(self, c: LlamaConfig, rng: np.random.Generator | None):
        self.gate = Linear(c.n_embd, c.d_ff, rng, bias=c.mlp_bias)
        self.up = Linear(c.n_embd, c.d_ff, rng, bias=c.mlp_bias)
        self.down = Linear(c.d_ff, c.n_embd, rng, bias=c.mlp_bias)

    def __call__(self, x: Tensor) -> Tensor:
        """(..., C) to (..., C)."""
        return self.down(F.swiglu(self.gate(x), self.up(x)))


class Block(Module):
    """Attention, then feed-forward, each of normalized inputs and added to them."""

    def __init__(self, c: LlamaConfig, rng: np.random.Generator | None):
        self.norm1, self.attention = RMSNorm(c.n_embd, c.eps), Attention(c, rng)
        self.norm2, self.feed_forward = RMSNorm(c.n_embd, c.eps), FeedForward(c, rng)

    def __call__(self, x: Tensor, rotation: Any, mask: Any = None, cache: Any = None) -> Tensor:
        """(..., T, C) to (..., T, C); the others are those of Attention."""
        x = x + self.attention(self.norm1(x), rotation, mask, cache)
        return x + self.feed_forward(self.norm2(x))


class Llama(Module):
    """A decoder-only transformer: integers (T,) or (B, T) to logits (..., T, V)."""

    activation_checkpointing = False  # True: training keeps only the input of each block

    def __init__(self, config: LlamaConfig, rng: np.random.Generator | None):
        """Draws the weights from `rng`; zeros, to be loaded, if it is None."""
        c = self.config = config
        self.frequencies = c.frequencies()
        self.token_embedding = Embedding(c.vocab_size, c.n_embd, rng)
        self.blocks = [Block(c, rng) for _ in range(c.n_layer)]
        for name, p in self.named_parameters():  # as in GPT-2: sums over blocks stay small
            if rng and p.ndim == 2 and name.startswith("blocks."):
                last = name.endswith(("output.weight", "down.weight"))
                std = 0.02 / (math.sqrt(2 * c.n_layer) if last else 1)
                p.data *= std * math.sqrt(len(p.data))  # from the std of Linear, 1 / sqrt(in)
        self.norm = RMSNorm(c.n_embd, c.eps)
        if not c.tie_weights:
            self.head = Linear(c.n_embd, c.vocab_size, rng, bias=False)

    def __call__(self, ids: Any, caches: list[KVCache] | None = None, padding: Any = None,
                 last: int = 0) -> Tensor:  # fmt: skip
        """The logits of the next token after each position, or after the `last` ones.

        `caches`, one for each block, hold the positions before ids. `padding` (B,) says how many
        positions at the start of each row hold no token.
        """
        x = self._hidden(ids, caches, padding)  # (..., T, C)
        return F.linear(x[..., -last:, :] if last else x, self._table().T)

    def loss(self, ids: Any, targets: Any, ignore_index: int = F.IGNORE_INDEX) -> Tensor:
        """The mean cross entropy of targets, which have the shape of ids, in nats per token."""

        def loss(ids, targets):
            return F.linear_cross_entropy(self._hidden(ids), self._table(), targets, ignore_index)

        return share_batch(loss, self, ids, targets, ignore_index=ignore_index)  # by threads

    def _hidden(self, ids, caches=None, padding=None):
        ids = np.asarray(ids)
        rotation, masks = self._places(ids.shape, caches[0].length if caches else 0, padding)
        x = self.token_embedding(ids)
        for n, block in enumerate(self.blocks):
            if self.activation_checkpointing and self.training:
                x = checkpoint_activations(block, x, rotation, masks[n])
            else:
                x = block(x, rotation, masks[n], caches[n] if caches else None)
        return self.norm(x)

    def _places(self, shape, before, padding):
        """The rotation of ids of this shape after `before` others, and the mask of each block."""
        S = before + shape[-1]
        if self.config.block_size < S:
            raise ValueError(f"{S} tokens do not fit into block_size {self.config.block_size}")
        positions, tokens = np.arange(before, S), None
        if padding is not None:
            tokens = (np.arange(S) >= padding[:, None])[:, None, None, None]  # (B, 1, 1, 1, S)
            positions = np.maximum(positions - padding[:, None], 0)  # (B, T)
        angles = positions[..., None, None] * self.frequencies  # (..., T, 1, D/2)
        cos, sin = (f(angles).astype(self.norm.weight.dtype) for f in (np.cos, np.sin))

        def mask(window):
            if window is None or window >= S:
                return tokens
            near = np.arange(before, S)[:, None] - np.arange(S) < window  # (T, S)
            return near if tokens is None else near & tokens

        windows = self.config.windows or [None] * self.config.n_layer
        each = {window: mask(window) for window in windows}
        rotation = F.rotary_tables(cos, sin, self.config.n_head)
        return rotation, [each[window] for window in windows]

    def _table(self):
        """The weights of the last layer: a vector for each token, (V, C)."""
        return self.token_embedding.weight if self.config.tie_weights else self.head.weight.T

    def matrices(self) -> list[Tensor]:
        """The matrices of the blocks, which nn.Muon moves."""
        return [p for n, p in self.named_parameters() if n.startswith("blocks.") and p.ndim == 2]

    @no_grad()
    def attention_weights(self, ids: Any) -> np.ndarray:
        """How much each position of ids (T,) looks at each position, per head: (L, H, T, T)."""
        ids = np.asarray(ids)
        rotation, masks = self._places(ids.shape, 0, None)
        x, weights = self.token_embedding(ids), []
        for block, mask in zip(self.blocks, masks, strict=True):
            weights.append(block.attention.weights(block.norm1(x), rotation, mask).data)
            x = block(x, rotation, mask)
        return np.array(weights)

    # Generation with a cache, and files.

    def generate(self, ids: Any, max_new_tokens: int, **options: Any) -> Any:
        """ids (T,) or (B, T), or a list of prompts, with up to max_new_tokens more each.

        `options` are those of nn.sampling.stream: the fields of Sampling, and stop and rng.
        """
        return sampling.generate(self, ids, max_new_tokens, **options)

    def stream(self, ids: Any, max_new_tokens: int, **options: Any) -> Iterator[Any]:
        """Yields each new token as it is drawn: an int for ids (T,), an array (B,) for prompts."""
        return sampling.stream(self, ids, max_new_tokens, **options)

    def decoder(self) -> Callable[..., np.ndarray]:
        """A function from rows (B, T) and their padding (B,) to the next logits (B, V)."""
        return cached_decoder(self)

    @classmethod
    def from_pretrained(cls, directory: Path | str) -> Llama:
        """The model of a run, or of a folder of Hugging Face's, with float32 weights mapped.

        Raises ValueError naming the key of config.json or the weight that is wrong or not built.
        """
        return load_llama(directory, cls, LlamaConfig)

    def save_pretrained(self, directory: Path | str, tokenizer: Any = None) -> None:
        """Write a folder that from_pretrained and Hugging Face's classes can open."""
        save_llama(directory, self, tokenizer)
