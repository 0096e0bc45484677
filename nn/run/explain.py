"""A look inside a model: where each head looks, and which tokens it expects next."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autograd import no_grad, softmax

from ..files import write_atomically
from .tokenizers import Tokenizer

__all__ = ["explain", "plot_attention"]

_SHOWN = 5  # how many of the likeliest next tokens are drawn
# Fonts with Hangul and other scripts, for letters that the default font lacks.
_FONTS = ["Noto Sans CJK KR", "Noto Sans KR", "NanumGothic", "Malgun Gothic", "AppleGothic"]


@no_grad()
def explain(model: Any, tokenizer: Tokenizer, text: str, path: Path) -> str:
    """Draw where each head looks in a text, and what the model expects next; returns a summary.

    `model` has attention_weights(ids), as tinygpt.TinyGPT has.
    """
    ids = tokenizer.encode(text)
    if not 1 <= len(ids) <= model.config.block_size:
        raise ValueError(
            f"a text of {len(ids)} tokens: give one of 1 to {model.config.block_size} (ten to "
            "thirty are easy to read)"
        )
    p = softmax(model(ids)).data  # (T, V)
    expected = [
        [(tokenizer.decode([i]), float(row[i])) for i in np.argsort(-row)[:_SHOWN].tolist()]
        for row in p
    ]
    weights = model.attention_weights(ids)
    plot_attention(path, [tokenizer.decode([i]) for i in ids], weights, expected)
    return f"{len(ids)} tokens, {weights.shape[0]} layers of {weights.shape[1]} heads: {path}"


def plot_attention(
    path: Path, tokens: Sequence[str], weights: np.ndarray, expected: Sequence[Sequence[tuple]]
) -> None:
    """Draw attention weights (L, H, T, T) between T tokens, and what comes after each, as a PNG.

    `expected` has the likeliest next tokens of each position, as pairs (token, probability).
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import fontManager

    known = {font.name for font in fontManager.ttflist}
    fonts = ["DejaVu Sans", *(name for name in _FONTS if name in known)]
    with matplotlib.rc_context({"font.family": fonts}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a box is drawn instead
        L, H, T, _ = weights.shape
        labels = [_label(token) for token in tokens]
        width = max(1.6 * H, 0.12 * T * H, 0.55 * T) + 1  # inches
        cell = min(4.0, (width - 1) / H)
        figure = Figure(figsize=(width, L * cell + 0.28 * _SHOWN + 2.2), dpi=110)
        figure.set_layout_engine("constrained")
        heights = [L * cell + 0.9, 0.28 * _SHOWN + 1.3]
        halves: Any = figure.subfigures(2, 1, height_ratios=heights)
        upper, lower = halves
        _draw_heads(upper, weights, labels, min(9, 0.75 * 72 * cell / T))
        _draw_expected(lower, labels, expected)
        write_atomically(Path(path), FigureCanvasAgg(figure).print_png)


def _draw_heads(figure, weights, labels, size):
    L, H, T, _ = weights.shape
    figure.suptitle("Attention: how much a token (row) looks at each before it (column)")
    axes = figure.subplots(L, H, squeeze=False)
    for layer in range(L):
        for head in range(H):
            ax = axes[layer, head]
            ax.imshow(weights[layer, head], cmap="Blues", vmin=0, vmax=1)
            ax.set_title(f"layer {layer + 1}, head {head + 1}", fontsize=9, pad=3)
            ax.set_xticks(range(T), labels if layer == L - 1 else [], rotation=90, fontsize=size)
            ax.set_yticks(range(T), labels if head == 0 else [], fontsize=size)
            ax.tick_params(length=1.5, pad=1)


def _draw_expected(figure, labels, expected):
    figure.suptitle("The likeliest next tokens after each")
    ax = figure.subplots()
    p = np.array([[probability for _, probability in column] for column in expected]).T
    ax.imshow(p, cmap="Oranges", vmin=0, vmax=1, aspect="auto")
    for t, column in enumerate(expected):
        for rank, (token, probability) in enumerate(column):
            color = "white" if probability > 0.6 else "black"
            text = f"{_label(token)}\n{100 * probability:.0f} %"
            ax.text(t, rank, text, ha="center", va="center", fontsize=6, color=color)
    ax.set_xticks(range(len(labels)), labels, fontsize=8, rotation=90 if len(labels) > 16 else 0)
    ax.set_yticks([])


def _label(token):
    """A token as a short label: its spaces and line ends are visible, and "$" is no formula."""
    seen = token.replace(" ", "\u2423").replace("\n", "\\n").replace("\t", "\\t")
    seen = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in seen)
    return (seen if len(seen) <= 12 else f"{seen[:11]}\u2026").replace("$", r"\$")
