"""A look inside a model: where each head looks, and which tokens it expects next."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autograd import no_grad, softmax

from ..files import write_atomically
from .monitor import fonts_for, plain
from .tokenizers import Tokenizer

__all__ = ["explain", "plot_attention"]

_SHOWN = 5  # how many of the likeliest next tokens are drawn
_MOST = 128  # tokens in a picture


@no_grad()
def explain(model: Any, tokenizer: Tokenizer, text: str, path: Path) -> str:
    """Draw where each head looks in a text, and what the model expects next; returns a summary.

    `model` has attention_weights(ids), as tinygpt.TinyGPT has.
    """
    ids = tokenizer.encode(text)
    most = min(model.config.block_size, _MOST)
    if not 1 <= len(ids) <= most:
        raise ValueError(
            f"a text of {len(ids)} tokens: give one of 1 to {most} (ten to thirty are easy to read)"
        )
    p = softmax(model(ids)).data  # (T, V)
    expected = [
        [(tokenizer.decode([i]), float(row[i])) for i in np.argsort(-row)[:_SHOWN].tolist()]
        for row in p
    ]
    weights = model.attention_weights(ids)
    note = plot_attention(path, [tokenizer.decode([i]) for i in ids], weights, expected)
    L, H, T, _ = weights.shape
    return f"{T} tokens, {L} layers of {H} heads: {path}" + (f"\n{note}" if note else "")


def plot_attention(
    path: Path, tokens: Sequence[str], weights: np.ndarray, expected: Sequence[Sequence[tuple]]
) -> str:
    """Draw attention weights (L, H, T, T) between T tokens, and what comes after each, as a PNG.

    `expected` has the likeliest next tokens of each position, as pairs (token, probability).
    Returns a line about letters that no font has, or "".
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    L, H, T, _ = weights.shape
    labels = [_label(token) for token in tokens]
    likely = [[(_label(t), p) for t, p in column if p >= 0.005] for column in expected]
    texts = [*labels, *(t for column in likely for t, _ in column)]
    with fonts_for(texts) as note:
        column = max(0.36, 0.06 * max(map(_width, texts)) + 0.1)  # inches
        cell = min(4.0, max(1.6, 0.1 * T))
        width = max(T * column, H * cell, 6)  # the title has 6
        across = H * min(L, max(1, int(width / (H * cell))))  # heads side by side: whole layers
        cell, rows = min(6.0, width / across), math.ceil(L * H / across)
        heights = [rows * (cell + 0.3) + 0.8, 0.28 * _SHOWN + 1.3]
        figure = Figure(figsize=(width + 1.5, sum(heights)), dpi=130, layout="constrained")
        halves: Any = figure.subfigures(2, 1, height_ratios=heights)
        _draw_heads(halves[0], halves[0].subplots(rows, across), weights, labels, cell)
        _draw_expected(halves[1], labels, likely)
        write_atomically(Path(path), FigureCanvasAgg(figure).print_png)
    return note


def _draw_heads(figure, axes, weights, labels, cell):
    from matplotlib.colors import PowerNorm

    figure.suptitle("Attention: how much a token (row) looks at each before it (column)")
    _, H, T, _ = weights.shape
    axes, across = np.ravel(axes), np.shape(axes)[-1] if np.ndim(axes) else 1
    size = min(9, 0.9 * 72 * cell / T)  # points
    step = math.ceil(4 / size)  # too many labels to read: every second, third, ...
    at, labels = range(0, T, step), labels[::step]
    future = np.triu(np.ones((T, T), bool), 1)
    for n, (ax, head) in enumerate(zip(axes, weights.reshape(-1, T, T), strict=False)):
        ax.set_facecolor("0.93")  # what lies in the future of a token
        image = ax.imshow(np.ma.masked_where(future, head), cmap="Blues",
                          norm=PowerNorm(0.5, 0, 1))  # fmt: skip  # small weights are seen, too
        ax.set_title(f"layer {n // H + 1}, head {n % H + 1}", fontsize=9, pad=3)
        below = n + across >= len(weights) * H
        ax.set_xticks(at, labels if below else [""] * len(at), fontsize=max(4, size))
        for label in ax.get_xticklabels():  # only a letter alone stands upright
            label.set_rotation(90 if _width(label.get_text()) > 2 else 0)
        ax.set_yticks(at, labels if n % across == 0 else [""] * len(at), fontsize=max(4, size))
        ax.tick_params(length=1.5, pad=1)
    for ax in axes[len(weights) * H :]:
        ax.set_axis_off()
    scale = figure.colorbar(image, ax=axes.tolist(), fraction=0.05, aspect=40, pad=0.01)
    shares = [0, 0.01, 0.05, 0.1, 0.25, 0.5, 1]
    scale.set_ticks(shares, labels=[f"{100 * share:.0f} %" for share in shares], fontsize=8)


def _draw_expected(figure, labels, expected):
    figure.suptitle("The likeliest next tokens after each (from half a percent)")
    ax = figure.subplots()
    p = np.zeros((_SHOWN, len(labels)))
    for t, column in enumerate(expected):
        for rank, (token, probability) in enumerate(column):
            p[rank, t] = probability
            color = "white" if probability > 0.6 else "black"
            text = f"{token}\n{100 * probability:.0f} %"
            ax.text(t, rank, text, ha="center", va="center", fontsize=6, color=color)
    ax.imshow(p, cmap="Oranges", vmin=0, vmax=1, aspect="auto")
    ax.set_xticks(range(len(labels)), labels, fontsize=7)
    ax.set_yticks([])


def _width(text):
    """The width of a text in letters; one of Chinese, Japanese or Korean counts twice."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _label(token):
    """A token as a short label, with its spaces and line ends visible."""
    seen = plain(token.replace(" ", "\u2423"))
    return seen if len(seen) <= 12 else f"{seen[:11]}\u2026"
