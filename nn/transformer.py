"""The transformer: attention with several heads, feed-forward, and the block that joins them.

B sequences, T positions, C channels, H heads, D = C / H. Next to read: ../tinygpt.py.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np

from autograd import Tensor, grad, no_grad, op, relu, split, tanh

from . import functional as F
from .layers import Dropout, LayerNorm, Linear, in_dtype_of
from .module import Module, walk
from .threads import in_task, in_threads, threads_for

__all__ = [
    "Activation", "Block", "FeedForward", "KVCache", "MultiHeadAttention",
    "cached_decoder", "checkpoint_activations", "share_batch", "sinusoidal_positions",
]  # fmt: skip


class KVCache:
    """The keys and values that an attention layer has computed; each call adds more.

    For generation, under no_grad: only new positions are computed then, not all of them.
    """

    def __init__(self, capacity: int):
        self.capacity, self.length = capacity, 0
        self._arrays: np.ndarray | None = None  # keys and values, (2, ..., capacity, D)

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add keys and values of T positions, (..., T, D) each; returns all S, (..., S, D)."""
        begin, self.length = self.length, self.length + k.shape[-2]
        if self.length > self.capacity:
            raise ValueError(f"KVCache: {self.length} positions, there is room for {self.capacity}")
        if self._arrays is None or self._arrays.shape[-2] < self.length:
            size = min(self.capacity, max(64, 2 * self.length))  # grows: most texts are short
            arrays = np.empty((2, *k.shape[:-2], size, k.shape[-1]), k.dtype)
            if self._arrays is not None:
                arrays[..., :begin, :] = self._arrays[..., :begin, :]
            self._arrays = arrays
        for array, new in zip(self._arrays, (k, v), strict=True):
            array[..., begin : self.length, :] = new.data
        k, v = (Tensor(array[..., : self.length, :]) for array in self._arrays)
        return k, v


def cached_decoder(model: Any) -> Callable[..., np.ndarray]:
    """A function from rows (B, T) and their padding (B,) to the next logits of `model`, (B, V).

    It keeps keys and values, for the longest beginning that the rows of the next call share with
    those of this one. With a third argument n it gives the logits after the last n positions,
    (B, n, V). Beyond block_size tokens each new token moves all positions by one, so nothing can be
    kept. `model(ids, caches, padding, last)` is called with one KVCache for each of model.blocks.
    """
    size = model.config.block_size
    caches: list[KVCache] = []
    rows = padding = np.zeros((0, 0), int)  # what the caches hold

    def next_logits(new, its_padding, last=None):
        nonlocal rows, padding, caches
        kept, T = 0, new.shape[1]
        if len(new) == len(rows) and np.array_equal(its_padding, padding):
            n = min(T, rows.shape[1])
            differ = (new[:, :n] != rows[:, :n]).any(axis=0)
            kept = max(0, min(int(differ.argmax()) if differ.any() else n, T - (last or 1)))
        used: Any = caches if kept > 0 else [KVCache(size) for _ in model.blocks]
        if size < T:
            used, new, its_padding, kept = None, new[:, -size:], its_padding - (T - size), 0
        else:
            caches, rows, padding = used, new[:, :kept], its_padding  # if this is interrupted
        for cache in used or []:
            cache.length = kept
        hidden = np.maximum(its_padding, 0) if its_padding.max(initial=0) > 0 else None
        logits = model(new[:, kept:], used, hidden, last or 1).data
        if used:
            rows = new
        return logits[:, -1] if last is None else logits

    return next_logits


class MultiHeadAttention(Module):
    """Self-attention with `n_head` heads: (..., T, C) to (..., T, C).

    Causal unless `causal=False`: a position looks at itself and those before it. `scale` replaces
    1 / sqrt(C / H) in the scores.
    """

    def __init__(
        self,
        n_embd: int,
        n_head: int,
        rng: np.random.Generator | None,
        *,
        bias: bool = True,
        dropout: float = 0.0,
        causal: bool = True,
        scale: float | None = None,
    ):
        if n_head < 1 or n_embd % n_head:
            raise ValueError(
                f"attention: width {n_embd} cannot be divided among {n_head} heads; choose an "
                "n_embd that is a multiple of n_head"
            )
        self.n_head, self.causal, self.scale = n_head, causal, scale
        self.qkv = Linear(n_embd, 3 * n_embd, rng, bias=bias)
        self.projection = Linear(n_embd, n_embd, rng, bias=bias)
        self.dropout = Dropout(dropout, rng)

    def __call__(
        self, x: Tensor, mask: np.ndarray | None = None, cache: KVCache | None = None
    ) -> Tensor:
        """(..., T, C) to (..., T, C).

        A boolean `mask`, broadcast to (..., H, T, T), is True where the position of the row may
        look at the position of the column. With a `cache`, the T positions follow the cached ones.
        There are S in all, and the mask is (..., H, T, S).
        """
        x = in_dtype_of(self.qkv.weight, x)
        dropout_mask = self._dropout_mask(x) if self.training and self.dropout.p else None
        qkv = self.qkv(x)
        if self.causal and mask is None and cache is None:
            y = F.causal_attention(qkv, self.n_head, dropout_mask=dropout_mask, scale=self.scale)
            return self.dropout(self.projection(y))
        q, k, v = (self._heads(part) for part in split(qkv, 3, axis=-1))
        if cache is not None:
            k, v = cache.append(k, v)
        y = F.attention(
            q, k, v, mask=mask, causal=self.causal, dropout_mask=dropout_mask, scale=self.scale
        )
        y = y.swapaxes(-3, -2).reshape(x.shape)  # (..., H, T, D) to (..., T, C)
        return self.dropout(self.projection(y))

    def weights(self, x: Tensor) -> Tensor:
        """How much each position looks at each position: (..., H, T, T); each row sums to 1."""
        x = in_dtype_of(self.qkv.weight, x)
        q, k, _ = (self._heads(part) for part in split(self.qkv(x), 3, axis=-1))
        one_hot = Tensor(np.eye(x.shape[-2], dtype=x.dtype))  # as values: their mean is the weights
        return F.attention(q, k, one_hot, causal=self.causal, scale=self.scale)

    def _heads(self, x):
        """(..., T, C) to (..., H, T, D)."""
        return x.reshape((*x.shape[:-1], self.n_head, -1)).swapaxes(-3, -2)

    def _dropout_mask(self, x):
        shape = (*x.shape[:-2], self.n_head, x.shape[-2], x.shape[-2])  # (..., H, T, T)
        return F.dropout_mask(shape, self.dropout.p, self.dropout.rng, x.dtype)


Activation = Literal["gelu", "gelu_erf", "relu", "silu", "tanh"]


def _activation(name: Activation) -> Callable[[Tensor], Tensor]:
    functions: dict[Activation, Callable[[Tensor], Tensor]] = {
        "gelu": F.gelu,
        "gelu_erf": lambda x: F.gelu(x, approximate="none"),
        "relu": relu,
        "silu": F.silu,
        "tanh": tanh,
    }
    return functions[name]


class FeedForward(Module):
    """Two linear layers around an activation: (..., C) to (..., d_ff) to (..., C).

    `activation` is "gelu" (the tanh formula), "gelu_erf", "relu", "silu" or "tanh".
    """

    def __init__(
        self,
        n_embd: int,
        d_ff: int,
        rng: np.random.Generator | None,
        *,
        activation: Activation = "gelu",
        bias: bool = True,
        dropout: float = 0.0,
    ):
        if activation not in (known := get_args(Activation)):
            raise ValueError(
                f"feed-forward: activation {activation!r} is not one of {', '.join(known)}"
            )
        self.activation: Activation = activation
        self.expand = Linear(n_embd, d_ff, rng, bias=bias)
        self.projection = Linear(d_ff, n_embd, rng, bias=bias)
        self.dropout = Dropout(dropout, rng)

    def __call__(self, x: Tensor) -> Tensor:
        """(..., C) to (..., C)."""
        hidden = _activation(self.activation)(self.expand(x))
        return self.dropout(self.projection(hidden))


class Block(Module):
    """Attention, then feed-forward, each added to its input: (..., T, C) to (..., T, C).

    With `norm_first` (GPT-2) the input of each layer is normalized; without it (Vaswani et al.
    2017) the sum is.
    """

    def __init__(
        self,
        n_embd: int,
        n_head: int,
        d_ff: int,
        rng: np.random.Generator | None,
        *,
        norm_first: bool = True,
        activation: Activation = "gelu",
        bias: bool = True,
        dropout: float = 0.0,
        causal: bool = True,
        eps: float = 1e-5,
        scale: float | None = None,
    ):
        self.norm_first = norm_first
        self.norm1 = LayerNorm(n_embd, bias=bias, eps=eps)
        self.attention = MultiHeadAttention(
            n_embd, n_head, rng, bias=bias, dropout=dropout, causal=causal, scale=scale
        )
        self.norm2 = LayerNorm(n_embd, bias=bias, eps=eps)
        self.feed_forward = FeedForward(
            n_embd, d_ff, rng, activation=activation, bias=bias, dropout=dropout
        )

    def __call__(
        self, x: Tensor, mask: np.ndarray | None = None, cache: KVCache | None = None
    ) -> Tensor:
        """(..., T, C) to (..., T, C); `mask` and `cache` are those of MultiHeadAttention."""
        x = in_dtype_of(self.norm1.weight, x)
        if self.norm_first:
            x = x + self.attention(self.norm1(x), mask, cache)
            return x + self.feed_forward(self.norm2(x))
        x = self.norm1(x + self.attention(x, mask, cache))
        return self.norm2(x + self.feed_forward(x))


def checkpoint_activations(module: Module, x: Tensor, *options: Any) -> Tensor:
    """module(x, *options), of which only x is kept: backward computes the rest again.

    This takes less memory and about a third more time. The gradients of x and of the module's
    parameters are the same: dropout draws the same numbers again. Options, such as a mask, are
    constants. Chen et al.: Training Deep Nets with Sublinear Memory Cost, arXiv:1604.06174.
    """
    if x.dtype.kind != "f" or any(type(o) is Tensor and o.requires_grad for o in options):
        raise TypeError(
            f"checkpoint_activations: x must be floating-point (it is {x.dtype}), and options must "
            "not require gradients: let the module compute from x, or from its own parameters"
        )
    states = [rng.bit_generator.state for rng in _generators(module)]
    return _checkpointed(x, *_trained(module), module=module, options=options, states=states)


def _trained(module):
    return tuple(p for p in module.parameters() if p.requires_grad)


def _plain_checkpointed(x, *weights, module, options, states):
    with _drawing_again(_generators(module), states):
        y = module(x, *options)
    return y, lambda g: grad(y, [x, *weights], g, create_graph=True)


@op(reference=_plain_checkpointed)
def _checkpointed(x, *weights, module, options, states):
    with no_grad():
        y = module(Tensor(x), *options).data

    def vjp(g):
        inputs = [Tensor(x, requires_grad=True), *_trained(module)]
        with _drawing_again(_generators(module), states):
            output = module(inputs[0], *options)
        return tuple(gx.data for gx in grad(output, inputs, g))

    return y, vjp


def _generators(module):
    """The random generators that dropout draws from, each once."""
    found = {id(m.rng): m.rng for m in module.modules() if isinstance(m, Dropout)}
    return list(found.values())


@contextlib.contextmanager
def _drawing_again(generators, states):
    """Inside the `with`, generators draw again what they drew when they had these states."""
    after = [rng.bit_generator.state for rng in generators]
    try:
        for rng, state in zip(generators, states, strict=True):
            rng.bit_generator.state = state
        yield
    finally:
        for rng, state in zip(generators, after, strict=True):
            rng.bit_generator.state = state


def share_batch(
    loss: Callable[[np.ndarray, np.ndarray], Tensor],
    module: Module,
    ids: Any,
    targets: Any,
    *,
    ignore_index: int = F.IGNORE_INDEX,
) -> Tensor:
    """loss(ids, targets) of a batch (B, T), computed by several threads, each for some sequences.

    `loss` must be a mean over all targets except `ignore_index`; only the module's parameters get
    gradients. One thread computes the whole batch if sharing would not pay (see `threads_for`),
    after eval(), with dropout (all threads would draw from one generator), and if weights are
    computed from other Tensors. If a batch is shared, parameters that the loss does not depend on
    get a gradient of zeros.
    """
    ids, targets = np.asarray(ids), np.asarray(targets)
    parts, trained = _parts(module, ids.shape) if ids.shape == targets.shape else (1, ())
    if parts < 2:
        return loss(ids, targets)
    pieces = [*zip(np.array_split(ids, parts), np.array_split(targets, parts), strict=True)]
    losses = tuple(in_threads([functools.partial(loss, *piece) for piece in pieces]))
    counts = [int(np.count_nonzero(piece != ignore_index)) for _, piece in pieces]
    shares = tuple(count / max(1, sum(counts)) for count in counts)
    again = functools.partial(loss, ids, targets)
    return _shared_loss(*trained, trained=trained, losses=losses, shares=shares, again=again)


def _parts(module, shape):
    """How many threads share a batch of this shape, and the parameters that are trained."""
    if in_task() or len(shape) != 2 or not module.training or threads_for(0, *shape) < 2:
        return 1, ()
    trained = _trained(module)
    tensors = [x for _, x in walk(module, "", set()) if isinstance(x, Tensor)]
    computed = any(x.requires_grad and not x.is_leaf for x in tensors)
    dropout = any(isinstance(m, Dropout) and m.training and m.p for m in module.modules())
    recording = (Tensor(1.0, requires_grad=True) * 1.0).requires_grad  # not inside no_grad()
    if computed or dropout or not (trained and recording):
        return 1, ()
    return threads_for(sum(p.size for p in trained), *shape), trained


def _plain_shared_loss(*weights, trained, losses, shares, again):
    y = again()
    return y, lambda g: grad(y, weights, g, create_graph=True)


@op(reference=_plain_shared_loss)
def _shared_loss(*weights, trained, losses, shares, again):
    parts = [*zip(losses, shares, strict=True)]

    def vjp(g):
        first, *others = in_threads([
            functools.partial(grad, loss, trained, g * share) for loss, share in parts
        ])  # fmt: skip
        for sums in zip(first, *others, strict=True):
            for gradient in sums[1:]:
                sums[0].data += gradient.data
        return tuple(gradient.data for gradient in first)

    return sum(loss.data * share for loss, share in parts), vjp


def sinusoidal_positions(length: int, n_embd: int) -> np.ndarray:
    """The fixed position vectors (T, C) of Vaswani et al. (2017), section 3.5, in float64.

    Channel 2i is sin(t / 10000^(2i/C)), channel 2i + 1 the cosine of the same angle.
    """
    angles = np.arange(length)[:, None] / 10000 ** (np.arange(0, n_embd, 2) / n_embd)  # (T, C/2)
    table = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(length, -1)
    return table[:, :n_embd]
