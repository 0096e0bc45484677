"""Drawing the next token from the logits of a model."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["check_sampling", "sample"]


def check_sampling(
    max_new_tokens: int, temperature: float, top_k: int | None, top_p: float | None
) -> None:
    """Raises ValueError for an option that makes no sense."""
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must not be negative, got {max_new_tokens}")
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be 0 (always the likeliest) or more, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}; leave it out for no limit")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1, got {top_p}")


def sample(
    logits: np.ndarray,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    rng: np.random.Generator,
) -> int:
    """A token drawn from softmax(logits / temperature), logits (V,).

    Only the top_k likeliest are eligible, and of those the fewest that hold probability top_p.
    """
    if not np.isfinite(logits).any() or np.isnan(logits).any():
        raise ValueError("the model gives nan: its training has diverged")
    if temperature == 0:
        return int(logits.argmax())
    order = np.argsort(-logits, kind="stable")[:top_k]  # likeliest first
    scores = logits[order].astype(float) - logits[order[0]]
    with np.errstate(over="ignore"):  # a tiny temperature: -inf, probability 0
        p = np.exp(scores / temperature)
    cumulative = np.cumsum(p / p.sum())
    if top_p is not None:
        cumulative = cumulative[: np.searchsorted(cumulative, top_p) + 1]
    return int(order[np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right")])
