"""Drawing tokens from a model: the options of sampling, and texts that grow token by token.

B prompts, T positions, V tokens in the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from autograd import no_grad

from .config import check_types, option

__all__ = ["Sampling", "generate", "stream"]


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn. Raises ValueError for an option that makes no sense.

    >>> logits = np.log([[0.1, 0.6, 0.3]])
    >>> Sampling(temperature=0).draw(logits, np.random.default_rng(0)).tolist()
    [1]
    """

    temperature: float = option(1.0, "0: always the likeliest token; above 1: more variety")
    top_k: int | None = option(None, "draw only from the N likeliest tokens")
    top_p: float | None = option(None, "draw from the fewest tokens with probability N together")
    min_p: float | None = option(None, "leave out tokens below N times the highest probability")
    repetition_penalty: float = option(1.0, "above 1: fewer repeats")
    speculate: int = option(0, "guess the next N tokens where the text repeats itself, and check "
                            "them at once: the same text, faster")  # fmt: skip

    def __post_init__(self):
        check_types(self)
        if not 0 <= self.temperature < math.inf:
            raise ValueError(
                f"temperature must be 0 (always the likeliest) or more, got {self.temperature}"
            )
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(
                f"top_k must be at least 1, got {self.top_k}; leave it out for no limit"
            )
        for name in ("top_p", "min_p"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, got {value}")
        if self.speculate < 0:
            raise ValueError(f"speculate must be 0 (guess nothing) or more, got {self.speculate}")
        if not 0 < self.repetition_penalty < math.inf:
            raise ValueError(
                f"repetition_penalty must be above 0 (1: none), got {self.repetition_penalty}"
            )

    def draw(
        self, logits: np.ndarray, rng: np.random.Generator, before: Sequence[Any] = ()
    ) -> np.ndarray:
        """A token for each row of logits (B, V), drawn from softmax(logits / temperature): (B,).

        Only the top_k likeliest tokens can be drawn; of these, the fewest that hold the share top_p
        of their probability; of these, the ones at least min_p times as likely as the likeliest.
        `before` has the tokens of each row so far, for the repetition penalty. At temperature 0 the
        likeliest token is taken, and rng is not used. A logit of -inf is a token that cannot be
        drawn. Raises ValueError for nan, for inf, and for a row that has nothing but -inf.
        """
        _check_logits(logits, "the model gives", "its training has diverged, or a file is damaged")
        if self.repetition_penalty != 1:
            rows = zip(logits, before, strict=True)
            logits = np.array([penalize(row, ids, self.repetition_penalty) for row, ids in rows])
            penalty = f"the repetition_penalty {self.repetition_penalty} gives"
            _check_logits(logits, penalty, "take one that is nearer to 1")
        if self.temperature == 0:
            return logits.argmax(axis=-1)
        cumulative = np.cumsum(self._weights(logits), axis=-1)  # (B, V)
        at = rng.random(len(logits)) * cumulative[:, -1]
        return (cumulative <= at[:, None]).sum(axis=-1)

    def _weights(self, logits):
        """Probabilities (B, V), up to a factor for each row; 0 for tokens that cannot be drawn."""
        scores = logits.astype(float) - logits.max(axis=-1, keepdims=True)
        with np.errstate(over="ignore"):  # a tiny temperature: -inf, probability 0
            p = np.exp(scores / self.temperature)
        if self.top_k is not None and self.top_k < p.shape[-1]:
            p *= _largest(logits, self.top_k)
        if self.top_p is not None:
            order = np.argsort(-p, axis=-1, kind="stable")  # likeliest first
            sums = np.cumsum(np.take_along_axis(p, order, -1), axis=-1)
            enough = sums >= self.top_p * sums[:, -1:]
            enough[:, -1] = False
            beyond = np.roll(enough, 1, axis=-1)  # the token that reaches top_p is kept
            np.put_along_axis(p, order, np.take_along_axis(p, order, -1) * ~beyond, -1)
        if self.min_p is not None:
            p *= p >= self.min_p  # the likeliest has p = 1
        return p


def _check_logits(logits, source, advice):
    """Raise ValueError unless each row of logits (B, V) has a largest one, which is finite."""
    largest = np.atleast_1d(logits.max(axis=-1))  # nan where one of a row is nan
    if (wrong := largest[~np.isfinite(largest)]).size:
        what = "-inf for every token" if wrong[0] < 0 else f"{wrong[0]} for a token"
        raise ValueError(f"{source} {what}: {advice}")


def penalize(logits: np.ndarray, before: np.ndarray, penalty: float) -> np.ndarray:
    """Logits (V,) in which the tokens `before` are less likely if `penalty` is above 1.

    It divides positive logits and multiplies negative ones: Keskar et al., arXiv:1909.05858.
    """
    seen, logits = np.unique(before), logits.copy()
    with np.errstate(over="ignore"):  # refused after it
        logits[seen] *= np.where(logits[seen] > 0, 1 / penalty, penalty)
    return logits


def _largest(x, k):
    """Marks the k largest entries of each row, (B, V); among equal entries, the first ones."""
    least = np.partition(x, -k, axis=-1)[:, -k, None]
    above, equal = x > least, x == least
    missing = k - above.sum(axis=-1, keepdims=True)
    return above | (equal & (np.cumsum(equal, axis=-1) <= missing))


# ---------------------------------------------------------------- texts


def generate(
    model: Any, ids: Any, max_new_tokens: int, sampling: Sampling | None = None, **options: Any
) -> np.ndarray | list[np.ndarray]:
    """ids (T,) or (B, T) with up to max_new_tokens more, each drawn given those before it.

    If ids is a list of prompts of different lengths, a list is returned. A sequence ends with a
    token of `stop`, which is kept. Shorter sequences are filled up with the first token of `stop`.
    The other arguments are those of `stream`.
    """
    prompts, single = _prompts(ids)
    drawn = [*stream(model, prompts, max_new_tokens, sampling, **options)]
    new = np.array(drawn, dtype=np.int64).reshape(-1, len(prompts)).T  # (B, new)
    rows = [np.concatenate(pair) for pair in zip(prompts, new, strict=True)]
    if single:
        return rows[0]
    return np.array(rows) if len({*map(len, prompts)}) == 1 else rows


def stream(
    model: Any,
    ids: Any,
    max_new_tokens: int,
    sampling: Sampling | None = None,
    *,
    stop: int | Sequence[int] | None = None,
    rng: np.random.Generator | None = None,
    allowed: np.ndarray | None = None,
    next_logits: Callable[..., np.ndarray] | None = None,
    **options: Any,
) -> Iterator[Any]:
    """Yields each new token as it is drawn: an int for ids (T,), an array (B,) for B prompts.

    `sampling`, or its fields as `options`, says how to draw. `allowed` (V,), if given, is True for
    the tokens that may be drawn: a model can have rows that stand for none. A token depends on the
    block_size tokens before it. If the model has a `decoder()`, the function that this returns
    gives the logits: it may keep what it has computed, which saves time and changes no token. To
    `speculate` it takes a third argument n: the logits after the last n positions, (B, n, V). For
    texts that begin alike, get that function once and give it to each call, as `next_logits`.
    """
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must not be negative, got {max_new_tokens}")
    sampling = _sampling(sampling, options)
    rng = np.random.default_rng() if rng is None else rng
    ends = np.ravel([] if stop is None else stop).astype(int)  # type: ignore[arg-type]
    rows, padding, single = _of_one_length(ids)
    done = np.zeros(len(rows), dtype=bool)
    next_logits = _decoder(model, next_logits, sampling.speculate if len(rows) == 1 else 0)
    for _ in range(max_new_tokens):
        logits = _without_dropout(model, next_logits, rows, padding)[~done]
        logits = logits if allowed is None else np.where(allowed, logits, -np.inf)
        before = [rows[b, padding[b] :] for b in np.flatnonzero(~done)]
        new = np.full(len(rows), ends[0] if ends.size else 0)
        new[~done] = sampling.draw(logits, rng, before)
        rows = np.concatenate([rows, new[:, None]], axis=1)
        yield int(new[0]) if single else new
        done |= np.isin(new, ends)
        if done.all():
            return


def _sampling(sampling, options):
    if sampling is not None and options:
        raise TypeError(f"{', '.join(options)} beside `sampling`: give one or the other")
    return Sampling(**options) if sampling is None else sampling


def _decoder(model, next_logits, speculate):
    """The function that gives the logits: next_logits, the model's own, or the plain one."""
    decoder = getattr(model, "decoder", None)
    if next_logits is None:
        next_logits = decoder() if decoder else _plain_decoder(model)
    if decoder and speculate:
        return _looking_ahead(next_logits, speculate, model.config.block_size)
    return next_logits


def _of_one_length(ids):
    """Prompts as rows (B, T), with zeros before the shorter ones; how many zeros (B,); if it is one
    prompt, given as (T,)."""
    prompts, single = _prompts(ids)
    longest = max(map(len, prompts))
    padding = np.array([longest - len(prompt) for prompt in prompts])
    return np.array([[0] * (longest - len(p)) + [*p] for p in prompts]), padding, single


def _plain_decoder(model):
    """Like model.decoder(), but keeps nothing: rows (B, T), padding (B,) to logits (B, V)."""

    def next_logits(rows, padding):
        T = model.config.block_size
        prompts = [row[n:][-T:] for row, n in zip(rows, padding, strict=True)]
        return np.stack([model(prompt).data[-1] for prompt in prompts])

    return next_logits


def _looking_ahead(next_logits, n, size):
    """next_logits that computes those after up to n guessed tokens, too, all in one pass.

    The next calls take the logits from there, as long as the tokens drawn are those guessed. So
    each token is drawn from the model's own logits. Leviathan et al., arXiv:2211.17192, with the
    guesses of github.com/apoorvumang/prompt-lookup-decoding.
    """
    ahead, first, logits = np.zeros((1, 0), int), 1, np.zeros(0)

    def looked_up(rows, padding):
        nonlocal ahead, first, logits
        T = rows.shape[1]
        if first > T or not np.array_equal(rows, ahead[:, :T]):
            guess = _continuation(rows[0, padding[0] :], max(0, min(n, size - T)))
            ahead, first = np.append(rows, guess[None], axis=1), T
            logits = next_logits(ahead, padding, len(guess) + 1)  # (1, N, V)
        return logits[:, T - first]

    return looked_up


def _continuation(ids, n):
    """n ids that may come next: those after the latest occurrence before of the last 3 or 2."""
    for length in (3, 2):
        if n and len(ids) > length:
            windows = sliding_window_view(ids[:-1], length)
            if (found := np.flatnonzero((windows == ids[-length:]).all(axis=1))).size:
                return np.resize(ids[found[-1] + length :], n)  # over and over, if it is too short
    return ids[:0]


@no_grad()
def _without_dropout(model, next_logits: Callable, rows, padding):
    """next_logits(rows, padding) in evaluation mode; afterwards the model has its mode back."""
    was_training = model.training
    if was_training:
        model.eval()
    try:
        return next_logits(rows, padding)
    finally:
        if was_training:
            model.train()


def _prompts(ids):
    """The prompts as a list of arrays, and whether ids was a single prompt."""
    single = np.ndim(ids[0]) == 0 if len(ids) else True
    prompts = [np.asarray(prompt) for prompt in ([ids] if single else ids)]
    if not all(prompt.ndim == 1 and prompt.size for prompt in prompts):
        shapes = ", ".join(str(prompt.shape) for prompt in prompts)
        raise ValueError(f"generate: ids of shape {shapes}, expected (T,) or (B, T), T > 0")
    return prompts, single
