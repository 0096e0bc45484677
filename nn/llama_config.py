"""The sizes and parts of a model of Llama's family. Next to read: llama.py."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .config import option, require

__all__ = ["LlamaConfig", "kept_per_token"]

# The numbers that each kind of scaling of the positions needs, beside default.
_SCALINGS = {
    "linear": ["factor"],
    "llama3": ["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"],
}


@dataclass
class LlamaConfig:
    """The sizes and parts of a model. Raises ValueError naming a field that makes no sense."""

    vocab_size: int
    block_size: int = option(64, "tokens that the model sees at most; more: more memory, time")
    n_layer: int = option(4, "number of blocks; more: slower, better on much text")
    n_head: int = option(4, "heads of attention in each block")
    n_kv_head: int = option(None, "llama: heads of keys and values (default n_head)")
    n_embd: int = option(128, "width: numbers for each position")
    head_dim: int = option(None, "llama: width of a head (default n_embd / n_head)")
    d_ff: int = option(None, "width inside the feed-forward layers (default 8/3 n_embd)")
    rope_theta: float = option(
        None, "llama: longest wavelength of the positions, over 2 pi (default block_size, 100 at "
        "least)"
    )
    qk_norm: bool = option(True, "llama: normalize queries and keys, as in Qwen 3 (default)")
    eps: float = 1e-5  # of the norms
    rope_scaling: dict[str, Any] | None = None  # {"rope_type": "linear" or "llama3", ...}
    tie_weights: bool = option(True, "the last layer uses the table of the tokens (default: yes)")
    qkv_bias: bool = False  # of the queries, keys and values (Qwen 2)
    output_bias: bool = False  # of the last layer of the attention
    mlp_bias: bool = False
    windows: list[int | None] | None = None  # how many keys each layer sees; None: all
    token_ids: dict[str, Any] | None = None  # eos_token_id and others; None: of the tokenizer
    chat_template: str | None = None  # in Jinja; a folder or file has it beside the tokenizer
    arch: Literal["llama"] = "llama"

    def __post_init__(self):
        require(self, "vocab_size block_size n_layer n_head n_embd", 1)
        self.n_kv_head = self.n_head if self.n_kv_head is None else self.n_kv_head
        if self.rope_theta is None:
            self.rope_theta = float(max(100, self.block_size))
        self.d_ff = -(-self.n_embd // 3) * 8 if self.d_ff is None else self.d_ff
        if self.head_dim is None:
            if self.n_embd % self.n_head:
                raise ValueError(
                    f"n_embd {self.n_embd} cannot be divided among n_head {self.n_head}: choose a "
                    f"width such as {self.n_head * -(-self.n_embd // self.n_head)}, or a head_dim"
                )
            self.head_dim = self.n_embd // self.n_head
        require(self, "n_kv_head head_dim d_ff", 1)
        require(self, "eps", 0, below=1)
        require(self, "rope_theta", 1)
        if self.n_head % self.n_kv_head:
            raise ValueError(
                f"n_kv_head {self.n_kv_head} does not divide n_head {self.n_head}: heads share "
                "keys and values in groups of one size"
            )
        if self.head_dim % 2:
            raise ValueError(f"head_dim must be even: channels turn in pairs; got {self.head_dim}")
        if self.windows is not None and not (
            len(self.windows) == self.n_layer
            and all(w is None or (type(w) is int and w > 0) for w in self.windows)
        ):
            raise ValueError(
                f"windows must be {self.n_layer} entries, each None or how many keys a layer sees, "
                f"got {self.windows!r:.60}"
            )
        self._scaling()

    def _scaling(self):
        """The kind of the scaling of the positions, and its numbers."""
        scaling = dict(self.rope_scaling or {})
        kind = scaling.pop("rope_type", "default")
        if kind == "default":
            return kind, []
        if kind not in _SCALINGS:
            raise ValueError(
                f"rope_scaling is of rope_type {kind!r}; {', '.join(_SCALINGS)} and default are "
                "built"
            )
        numbers: list[Any] = [scaling.get(name) for name in _SCALINGS[kind]]
        if not all(type(x) in (int, float) and 0 < x < math.inf for x in numbers):
            raise ValueError(
                f"rope_scaling needs numbers above 0 for {', '.join(_SCALINGS[kind])}; "
                f"got {scaling}"
            )
        if kind == "llama3" and numbers[1] >= numbers[2]:
            raise ValueError(
                f"rope_scaling needs low_freq_factor < high_freq_factor, got {scaling}"
            )
        return kind, numbers

    def frequencies(self) -> np.ndarray:
        """The angle by which each pair of channels turns from one position to the next, (D/2,).

        `linear` slows all turns by a factor. `llama3` slows those whose wavelength is long beside
        the context that the model was first trained with, and leaves the short ones.
        """
        slow = self.rope_theta ** -(np.arange(0, self.head_dim, 2) / self.head_dim)
        kind, numbers = self._scaling()
        if kind == "default":
            return slow
        factor, *rest = numbers
        if kind == "linear":
            return slow / factor
        low, high, context = rest
        turns = context * slow / (2 * math.pi)  # in that context
        kept = np.clip((turns - low) / (high - low), 0, 1)
        return slow * (kept + (1 - kept) / factor)


def kept_per_token(config: LlamaConfig, checkpointing: bool) -> float:
    """About how many numbers are kept for backward per token, as measured at several sizes."""
    c, L = config, config.n_layer
    heads = (3 * c.n_head + 4 * c.n_kv_head) * c.head_dim + c.n_head * c.block_size
    heads += c.qk_norm * (c.n_head + c.n_kv_head) * c.head_dim
    block = 8 * c.n_embd + heads + 5 * c.d_ff
    return (block + L * c.n_embd if checkpointing else L * block) + 2 * c.vocab_size
