"""The recipes of speedrun.py: how to train, and what was tried, each change in a line.

A recipe is the defaults of `train` with other options of LlamaConfig (`model`) and TrainConfig
(`train`), and what is no option: `parts`, functions that change a new model, and hooks below. The
latter work in one process only.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import nn.functional as F
import nn.optim
from autograd import Tensor, concatenate, relu, tanh
from nn import Linear, Module
from nn.llama import Attention, RMSNorm
from nn.run.tokens import random_batch
from tinygpt import GPTConfig, Llama, LlamaConfig, TinyGPT, TrainConfig, Training


@dataclass(frozen=True)
class Recipe:
    """How to train in a race."""

    model: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    parts: Callable[[Any, np.random.Generator], object] | None = None
    gpt: bool = False
    pytorch: bool = False
    procs: int = 1
    every: int = 0  # evaluate every so many iterations, and at the end
    after_iteration: int = 0  # and not before this one
    stops: bool = False  # at the mark, and not at the end
    warm_momentum: int = 0  # iterations in which Muon's momentum rises from 0.8
    polynomials: int = 3
    average: float = 0.0  # weights of the evaluation: a running mean with this decay
    repeats: bool = True  # False: all windows of the text once, then again, each time shifted
    contexts: tuple[int, ...] = ()  # tokens of a sequence in equal parts of the training
    batches: tuple[int, ...] = ()  # sequences of a batch, likewise

    def training(self, vocab_size: int, seed: int) -> Training:
        """A new model and all that is needed to train it."""
        rng = np.random.default_rng(seed)
        model: Any
        if self.gpt:
            model = TinyGPT(GPTConfig(vocab_size, **self.model), rng)
        else:
            model = Llama(LlamaConfig(vocab_size, **self.model), rng)
        if self.parts:
            self.parts(model, rng)
        training = Training(model, TrainConfig(seed=seed, **self.train))
        if self.warm_momentum:
            training.muon.momentum = 0.8
        nn.optim._POLYNOMIALS = POLYNOMIALS[: self.polynomials]
        return training

    def is_due(self, iteration: int, config: TrainConfig) -> bool:
        """Whether to evaluate after an iteration."""
        between = self.every and iteration % self.every == 0 and iteration >= self.after_iteration
        return bool(between) or iteration == config.max_iters

    def batches_of(self, tokens: np.ndarray, T: int, c: TrainConfig) -> Callable[..., Any]:
        """A function from an iteration and a generator to a batch (ids, targets), (B, T) each."""

        @functools.cache
        def starts(number):  # of all windows of a text, in the order of one pass over it
            rng = np.random.default_rng((c.seed, number))
            return rng.integers(T) + T * rng.permutation((len(tokens) - 1) // T - 1)

        def batch(iteration, rng):
            length, B = T, c.batch_size
            if self.contexts:  # as many tokens in each batch
                length = self.contexts[iteration * len(self.contexts) // c.max_iters]
                B = B * T // length
            if self.batches:
                B = self.batches[iteration * len(self.batches) // c.max_iters]
            if self.repeats:
                return random_batch(tokens, length, B, rng)
            rounds = [divmod(n, len(starts(0))) for n in range(iteration * B, iteration * B + B)]
            at = np.array([starts(number)[n] for number, n in rounds])
            rows = tokens[at[:, None] + np.arange(T + 1)]
            return rows[:, :-1], rows[:, 1:]

        return batch

    def after(self, training: Training) -> None:
        """What else happens after an iteration."""
        if self.warm_momentum:
            part = min(1, training.iteration / self.warm_momentum)
            training.muon.momentum = 0.8 + part * (training.config.muon_momentum - 0.8)
        if self.average:
            if training.iteration == 1:
                training.__dict__["means"] = [p.data.copy() for p in training.vectors]
            for mean, p in zip(training.__dict__["means"], training.vectors, strict=True):
                mean += (1 - self.average) * (p.data - mean)

    def evaluated(self, training: Training) -> None:
        """Before the last evaluation: put the averaged weights in place."""
        if self.average and training.iteration == training.config.max_iters:
            for mean, p in zip(training.__dict__["means"], training.vectors, strict=True):
                p.data[...] = mean


# Five in a row, the first three of them those of nn.optim. Amsel et al., arXiv:2505.16932.
POLYNOMIALS = [
    *nn.optim._POLYNOMIALS,
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
]

# ---------------------------------------------------------------- parts that no option has


class Changed(Module):
    """A layer whose result another function changes; both keep their weights."""

    def __init__(self, layer: Any, change: Callable[..., Any], *weights: Tensor):
        self.layer, self.change, self.weights = layer, change, list(weights)

    @property
    def weight(self):
        """That of the layer: the table of the tokens, for the last layer."""
        return self.layer.weight

    def __call__(self, x: Any) -> Tensor:
        """What the layer gives for x, changed."""
        return self.change(self.layer(x), *self.weights)


class TwoLayers(Module):
    """down(activation(up(x))), without a gate, with as many weights as one with a gate."""

    def __init__(self, c: LlamaConfig, activation: Callable[[Tensor], Tensor], rng: Any):
        self.up = Linear(c.n_embd, c.d_ff * 3 // 2, rng, bias=False)
        self.down = Linear(c.d_ff * 3 // 2, c.n_embd, rng, bias=False)
        self.activation = activation
        self.up.weight.data *= 0.02 * c.n_embd**0.5  # as Llama draws its own
        self.down.weight.data *= 0.02 * (c.d_ff * 3 / 2 / (2 * c.n_layer)) ** 0.5

    def __call__(self, x: Tensor) -> Tensor:
        """(..., C) to (..., C)."""
        return self.down(self.activation(self.up(x)))


def without_gate(activation):
    def change(model, rng):
        for block in model.blocks:
            block.feed_forward = TwoLayers(model.config, activation, rng)

    return change


def squared_relu(x):
    return relu(x) * relu(x)


def fixed_norms(model, rng):
    for module in model.modules():
        if isinstance(module, RMSNorm) and module.weight.size == model.config.n_embd:
            module.weight.requires_grad = False


def no_positions(model, rng):
    model.frequencies = 0 * model.frequencies  # nothing turns


def learned_positions(model, rng):
    no_positions(model, rng)
    c = model.config
    table = Tensor(0.02 * rng.standard_normal((c.block_size, c.n_embd), np.float32), True)
    model.token_embedding = Changed(
        model.token_embedding, lambda x, table: x + table[: x.shape[-2]], table
    )


class Factored(Module):
    """A table of tokens (V, width) times a matrix (width, C)."""

    def __init__(self, V: int, C: int, rng: np.random.Generator, width: int = 32):
        self.table = Tensor(0.02 * rng.standard_normal((V, width), np.float32), True)
        self.up = Linear(width, C, rng, bias=False)

    @property
    def weight(self):
        """The whole table (V, C)."""
        return self.up(self.table)

    def __call__(self, ids: Any) -> Tensor:
        """Integers (..., T) to (..., T, C)."""
        return self.up(F.embedding(self.table, ids))


def factored_embedding(model, rng):
    model.token_embedding = Factored(model.config.vocab_size, model.config.n_embd, rng)


class Kept:
    """The values of the first layer, for the others. Each copy of a model has its own."""

    v: Any = None

    def __deepcopy__(self, memo):
        return memo.setdefault(id(self), Kept())


class ValueResidual(Attention):
    """Attention whose values are mixed with those of the first layer: arXiv:2410.17897."""

    def _heads(self, x, rotation):
        q, k, v = super()._heads(x, rotation)
        if hasattr(self, "part"):
            return q, k, self.part * v + (1 - self.part) * self.kept.v
        self.kept.v = v
        return q, k, v


def value_residual(model, rng):
    kept = Kept()
    for n, block in enumerate(model.blocks):
        block.attention.__class__, block.attention.kept = ValueResidual, kept
        if n:
            block.attention.part = Tensor(np.full(1, 0.5, np.float32), True)


def normalized_embedding(model, rng):
    one = Tensor(np.ones(model.config.n_embd, np.float32))
    model.token_embedding = Changed(model.token_embedding, lambda x: F.rms_norm(x, one))


def zero_outputs(model, rng):
    for block in model.blocks:
        block.attention.output.weight.data[...] = 0
        block.feed_forward.down.weight.data[...] = 0


class Capped(Llama):
    """A Llama whose logits lie between -15 and 15, as in Gemma 2."""

    def loss(self, ids: Any, targets: Any, ignore_index: int = F.IGNORE_INDEX) -> Tensor:
        """The mean cross entropy."""
        logits = F.linear(self._hidden(ids), self._table().T)
        return F.cross_entropy(15 * tanh(logits / 15), targets, ignore_index)


def softcap(model, rng):
    model.__class__ = Capped


def earlier(x, n):
    """x (..., T, C), each position replaced by the one n before it."""
    zeros = Tensor(np.zeros((*x.shape[:-2], n, x.shape[-1]), x.dtype))
    return concatenate([zeros, x[..., :-n, :]], axis=-2)


def mixed_tokens(model, rng):
    """A part of each channel comes from the position before, as in RWKV."""
    for block in model.blocks:
        part = Tensor(np.zeros(model.config.n_embd, np.float32), True)
        block.norm1 = Changed(block.norm1, lambda x, p: x + (earlier(x, 1) - x) * p, part)


def convolution(model, rng):
    """A causal convolution of each channel over three positions, before the attention."""
    for block in model.blocks:
        taps = [Tensor(np.zeros(model.config.n_embd, np.float32), True) for _ in range(3)]
        block.norm1 = Changed(
            block.norm1,
            lambda x, a, b, c: x + x * a + earlier(x, 1) * b + earlier(x, 2) * c, *taps,
        )  # fmt: skip


# ---------------------------------------------------------------- recipes

# `train` as it was before: Muon as Jordan wrote it, along a cosine, without norms of q and k.
_OLD_OPTIMIZER = dict(muon_lr=0.02, schedule="cosine", min_lr=4e-4, warmup_iters=100, beta2=0.99,
                      weight_decay=0.1, muon_momentum=0.95, even_rows=False)  # fmt: skip
_OLD_MODEL = dict(qk_norm=False, rope_theta=1e4)
_NANOGPT = dict(optimizer="adamw", learning_rate=1e-3, min_lr=1e-4, schedule="cosine",
                warmup_iters=100, beta2=0.99, weight_decay=0.1)  # fmt: skip
_SMALL = dict(n_layer=2, n_embd=96, tie_weights=False)
_LARGE = dict(n_layer=6, n_head=6, n_embd=384, block_size=256)
_FAST = dict(muon_lr=0.02, learning_rate=0.012, warmup_iters=0, weight_decay=0.0)

SPRINT = Recipe(_SMALL, dict(_FAST, batch_size=24, max_iters=140))

RECIPES = {
    # Whole trainings of 2000 iterations with batches of 12 x 64.
    "train": Recipe(every=250, after_iteration=750),
    "before": Recipe(_OLD_MODEL, _OLD_OPTIMIZER, every=250, after_iteration=750, stops=True),
    "gpt": Recipe(gpt=True, every=250, after_iteration=750),
    "gpt before": Recipe({}, _OLD_OPTIMIZER, gpt=True, every=250, after_iteration=750),
    "nanogpt": Recipe({}, _NANOGPT, gpt=True, every=250, after_iteration=1750),
    "pytorch": Recipe({}, _NANOGPT, gpt=True, every=250, after_iteration=1750, pytorch=True),
    # The way to the mark, line by line: each has the changes of those above it.
    "1 short": Recipe(_OLD_MODEL, dict(_OLD_OPTIMIZER, max_iters=360)),
    "2 and optimizer": Recipe(_OLD_MODEL, dict(max_iters=300)),
    "3 and q/k norm, angles": Recipe({}, dict(max_iters=225)),
    "4 and small, untied": Recipe(_SMALL, dict(max_iters=265)),
    "5 and fast rates": Recipe(_SMALL, dict(_FAST, max_iters=235)),
    "6 and batches of 24": SPRINT,
    "sprint": replace(SPRINT, procs=2),
    # A quarter as long, for other texts; and a model that is too large for the race.
    "quarter": Recipe(train=dict(max_iters=500)),
    "quarter before": Recipe(_OLD_MODEL, dict(_OLD_OPTIMIZER, max_iters=500)),
    "large": Recipe(_LARGE, dict(batch_size=8, max_iters=200)),
    "large before": Recipe({**_LARGE, **_OLD_MODEL},
                           dict(_OLD_OPTIMIZER, batch_size=8, max_iters=200)),
    # For other marks.
    "minute": Recipe(_SMALL, dict(max_iters=1900), procs=2),
    "long": Recipe({}, dict(max_iters=1200), procs=2),
    "longest": Recipe({}, dict(max_iters=5500), procs=2),
}


def _changed(model=None, train=None, **others):
    """The sprint, on one process, with a change."""
    return replace(
        SPRINT, model={**SPRINT.model, **(model or {})}, train={**SPRINT.train, **(train or {})},
        **others,
    )  # fmt: skip


# One change of the sprint each; the name says which.
ALONE = {
    "a tenth longer": _changed(train=dict(max_iters=154)),
    "no q/k norm": _changed(dict(qk_norm=False)),
    "angles of 10,000": _changed(dict(rope_theta=1e4)),
    "no positions": _changed(parts=no_positions),
    "learned positions": _changed(parts=learned_positions),
    "tied embedding": _changed(dict(tie_weights=True)),
    "factored embedding": _changed(dict(tie_weights=True), parts=factored_embedding),
    "normalized embedding": _changed(parts=normalized_embedding),
    "fixed norms": _changed(parts=fixed_norms),
    "gelu": _changed(parts=without_gate(F.gelu)),
    "squared relu": _changed(parts=without_gate(squared_relu)),
    "zero outputs": _changed(parts=zero_outputs),
    "softcap": _changed(parts=softcap),
    "mixed tokens": _changed(parts=mixed_tokens),
    "value residual": _changed(parts=value_residual),
    "convolution": _changed(parts=convolution),
    "one head of k, v": _changed(dict(n_kv_head=1)),
    "2 heads": _changed(dict(n_head=2)),
    "8 heads": _changed(dict(n_head=8)),
    "1 layer, 136 wide": _changed(dict(n_layer=1, n_embd=136)),
    "3 layers, 80 wide": _changed(dict(n_layer=3, n_embd=80)),
    "4 layers, 72 wide": _changed(dict(n_layer=4, n_embd=72)),
    "batches of 12": _changed(train=dict(batch_size=12, max_iters=280)),
    "batches of 48": _changed(train=dict(batch_size=48, max_iters=70)),
    "batches of 12, then 36": _changed(batches=(12, 36)),
    "context 32, then 64": _changed(contexts=(32, 64)),
    "no repeats": _changed(repeats=False),
    "Muon 0.01": _changed(train=dict(muon_lr=0.01)),
    "Muon 0.04": _changed(train=dict(muon_lr=0.04)),
    "AdamW 0.004": _changed(train=dict(learning_rate=0.004)),
    "AdamW 0.03": _changed(train=dict(learning_rate=0.03)),
    "AdamW for all": _changed(train=dict(optimizer="adamw", learning_rate=0.006)),
    "beta2 0.99": _changed(train=dict(beta2=0.99)),
    "beta2 0.95": _changed(train=dict(beta2=0.95)),
    "weight decay 0.1": _changed(train=dict(weight_decay=0.1)),
    "warm-up of 20": _changed(train=dict(warmup_iters=20)),
    "cosine to a tenth": _changed(train=dict(schedule="cosine", min_lr=0.0012)),
    "uneven rows": _changed(train=dict(even_rows=False)),
    "momentum 0.95": _changed(train=dict(muon_momentum=0.95)),
    "momentum 0.8": _changed(train=dict(muon_momentum=0.8)),
    "momentum from 0.8": _changed(warm_momentum=50),
    "2 polynomials": _changed(polynomials=2),
    "5 polynomials": _changed(polynomials=5),
    "averaged weights": _changed(average=0.9),
    "no clipping": _changed(train=dict(grad_clip=0.0)),
}
