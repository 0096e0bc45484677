"""The loss of a model on a whole text: nats per token, perplexity, bits per byte."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from autograd import no_grad

from ..functional import IGNORE_INDEX
from .monitor import Progress
from .tokenizers import Tokenizer
from .tokens import read_pieces, text_files

__all__ = ["describe_loss", "evaluate_text", "guessing", "mean_loss"]


def evaluate_text(
    model: Any, tokenizer: Tokenizer, path: str, window: int | None, stride: int | None
) -> str:
    """The loss of a model on a text file, or a folder of them, in words; see mean_loss."""
    window = model.config.block_size if window is None else window
    stride = window if stride is None else stride
    parts, size = [], 0

    def counted(pieces):
        nonlocal size
        for piece in pieces:
            size += len(piece.encode())
            yield piece

    for file in text_files([path]):
        pieces = counted(read_pieces(file, strict=True))
        parts += [np.array(ids, np.int32) for ids in tokenizer.encode_pieces(pieces)]
    tokens = np.concatenate(parts)
    if len(tokens) < 2:
        count = {0: "no token", 1: "one token only"}[len(tokens)]
        raise ValueError(f"{path} has {count} for this model: two are needed to predict one")
    with Progress(len(tokens) - 1, job="evaluating", unit=" tokens") as progress:
        loss = mean_loss(model, tokens, stride, window, advance=progress.update)
    if not math.isfinite(loss):
        raise ValueError(
            f"{path}: the loss is {loss}: the training of the model has diverged, or its weights "
            "are damaged"
        )
    size -= len(tokenizer.decode(tokens[:1]).encode())  # the first token is not predicted
    unknown = 0 if tokenizer.unk is None else int((tokens == tokenizer.unk).sum())
    scored = len(tokens) - 1
    text = f"{path}: loss {describe_loss(loss, scored, 0 if unknown else size, window, stride)}"
    text += guessing(loss, tokenizer.vocab_size)
    if unknown:
        unit = "words" if tokenizer.kind == "word" else "tokens"
        text += (
            f"\n{unknown:,} of {len(tokens):,} {unit} are {tokenizer.decode([tokenizer.unk])}, "
            "which is easy to predict: do not compare this with the loss of other tokenizers"
        )
    return text


def describe_loss(loss: float, scored: int, size: int, window: int, stride: int) -> str:
    """A loss (nats per token) in all its forms, in words.

    `size` is that of the text in bytes, 0 if its tokens do not tell all of it.
    """
    bits = f", {loss * scored / math.log(2) / size:.3f} bits per byte" if size > 0 else ""
    perplexity = f"{math.exp(loss):.3f}" if loss < 14 else f"e^{loss:.1f}"
    return (
        f"{loss:.4f} nats per token, perplexity {perplexity}{bits} "
        f"({scored:,} tokens scored, window {window}, stride {stride})"
    )


def guessing(loss: float, vocab_size: int) -> str:
    """Words for a loss that is not below that of guessing, which is log(vocab_size); else none."""
    chance = math.log(vocab_size)
    if loss < chance:
        return ""
    return f", no better than guessing among {vocab_size:,} tokens ({chance:.3f})"


@no_grad()
def mean_loss(
    model: Any,
    tokens: Any,
    stride: int | None = None,
    window: int | None = None,
    batch_size: int | None = None,
    advance: Callable[[int], object] = lambda scored: None,
) -> float:
    """The mean loss of a whole text in nats per token. Each token but the first is scored once.

    Windows of `window` tokens (None: block_size) begin `stride` tokens apart (None: `window`). Each
    scores the tokens that no earlier window has scored. With stride 1 every token has its full
    context; with stride `window` the first token that a window scores is predicted from one token.
    """
    window = model.config.block_size if window is None else window
    stride = window if stride is None else stride
    if not 1 <= stride <= window <= model.config.block_size:
        raise ValueError(
            f"window {window} and stride {stride}: 1 <= stride <= window <= block_size "
            f"{model.config.block_size} is needed"
        )
    n = len(tokens) - 1
    if n < 1:
        raise ValueError(f"a text of {n + 1} tokens has none to predict: two are needed")
    window = min(window, n)
    if batch_size is None:
        batch_size = max(1, 2048 // window)
    stride, total = min(stride, window), 0.0
    begins = np.arange(0, n - window + stride, stride)
    for i in range(0, len(begins), batch_size):
        at = begins[i : i + batch_size, None] + np.arange(window + 1)
        windows = tokens[np.minimum(at, n)]  # the last window may reach beyond the end
        targets = np.where(at <= n, windows, IGNORE_INDEX)[:, 1:]
        targets[at[:, 0] > 0, : window - stride] = IGNORE_INDEX  # scored before
        count = int((targets != IGNORE_INDEX).sum())
        total += model.eval().loss(windows[:, :-1], targets).item() * count
        advance(count)
    return total / n
