"""Drawing the next token from the logits of a model."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["check_sampling", "penalize", "sample"]


def check_sampling(
    max_new_tokens: int = 0,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
) -> None:
    """Raises ValueError for an option that makes no sense."""
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must not be negative, got {max_new_tokens}")
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be 0 (always the likeliest) or more, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}; leave it out for no limit")
    for name, value in (("top_p", top_p), ("min_p", min_p)):
        if value is not None and not 0 < value <= 1:
            raise ValueError(f"{name} must be above 0 and at most 1, got {value}")
    if not 0 < repetition_penalty < math.inf:
        raise ValueError(f"repetition_penalty must be above 0 (1: none), got {repetition_penalty}")


def penalize(logits: np.ndarray, before: np.ndarray, penalty: float) -> np.ndarray:
    """Logits (V,) in which the tokens `before` are less likely, if penalty is above 1.

    Positive logits are divided by it, negative ones multiplied: Keskar et al., arXiv:1909.05858.
    """
    seen, logits = np.unique(before), logits.copy()
    logits[seen] *= np.where(logits[seen] > 0, 1 / penalty, penalty)
    return logits


def sample(
    logits: np.ndarray,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    rng: np.random.Generator,
    min_p: float | None = None,
) -> int:
    """A token drawn from softmax(logits / temperature), logits (V,).

    Only the top_k likeliest are eligible; of those the fewest that hold probability top_p; of
    those the ones that are at least min_p times as likely as the likeliest. Temperature 0 takes
    the likeliest, and uses no number of rng.
    """
    if not np.isfinite(logits).any() or np.isnan(logits).any():
        raise ValueError("the model gives nan: its training has diverged")
    if temperature == 0:
        return int(logits.argmax())
    scores = logits.astype(float) - logits.max()
    with np.errstate(over="ignore"):  # a tiny temperature: -inf, probability 0
        p = np.exp(scores / temperature)
    if top_k is not None and top_k < len(p):
        p *= _largest(logits, top_k)
    if top_p is not None:
        order = np.argsort(-p, kind="stable")  # likeliest first
        cumulative = np.cumsum(p[order])
        p[order[np.searchsorted(cumulative, top_p * cumulative[-1]) + 1 :]] = 0
    if min_p is not None:
        p *= p >= min_p  # the likeliest has 1
    cumulative = np.cumsum(p)
    return int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))


def _largest(x, k):
    """Whether an entry is among the k largest; of equal ones the first are."""
    least = np.partition(x, -k)[-k]
    chosen = x > least
    chosen[np.flatnonzero(x == least)[: k - np.count_nonzero(chosen)]] = True
    return chosen
