"""Optimizers: what a step does with the gradients. They change `parameter.data` in place."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autograd import Tensor

from .threads import in_threads, thread_count

__all__ = ["SGD", "AdamW", "Muon", "clip_grad_norm", "flatten", "warmup_cosine"]

_BLOCK = 131_072  # entries worked on at a time, so that all arrays of a step stay in cache


def flatten(parameters: Sequence[Tensor]) -> Tensor:
    """A vector with the entries of all parameters, whose `data` and `grad` become parts of its own.

    What is done to the vector at once is done to each of them: an optimizer, clip_grad_norm and a
    sum over processes then run through one array. Between two steps set the `grad` of each
    parameter, and not that of the vector, to None: backward begins anew, in the same place. Where a
    parameter has got no gradient, its part of `vector.grad` is old: fill it with 0.

    >>> w, b = Tensor(np.ones((2, 2)), requires_grad=True), Tensor(np.zeros(2), requires_grad=True)
    >>> vector = flatten([w, b])
    >>> (w.sum() + 3 * b.sum()).backward()
    >>> print(vector.grad)
    [1. 1. 1. 1. 3. 3.]
    """
    if len(dtypes := {p.dtype for p in parameters}) > 1:
        names = " and ".join(sorted(map(str, dtypes)))
        raise TypeError(f"flatten: all parameters must have one dtype, got {names}")
    vector = Tensor(np.concatenate([p.data.reshape(-1) for p in parameters]), requires_grad=True)
    vector.grad = np.zeros_like(vector.data)
    end = 0
    for p in parameters:
        begin, end = end, end + p.size
        p.grad, p.grad_buffer = None, vector.grad[begin:end].reshape(p.shape)
        p.data = vector.data[begin:end].reshape(p.shape)
    return vector


class Optimizer:
    """Parameters, in groups, and their learning rate `lr`, which a schedule may set.

    Instead of parameters it takes groups of them: mappings with "params" and, where a group is to
    differ, "lr_scale" (its learning rate is `lr` times that) and "weight_decay".
    """

    _options = frozenset({"params", "lr_scale", "weight_decay"})
    _moments: tuple[str, ...] = ()  # what is kept for each parameter, an array of its shape

    def __init__(self, parameters: Sequence[Tensor] | Sequence[Mapping[str, Any]], lr: float):
        groups = list(parameters)
        if not (groups and isinstance(groups[0], Mapping)):
            groups = [{"params": groups}]
        self.lr, self.steps = lr, 0
        self.groups = [{**group, "params": list(group["params"])} for group in groups]
        for group in self.groups:
            if unknown := group.keys() - self._options:
                raise ValueError(f"a group of parameters has no option {', '.join(unknown)}")
        self.parameters = [p for group in self.groups for p in group["params"]]
        if len({id(p) for p in self.parameters}) < len(self.parameters):
            raise ValueError("a parameter is in two groups, or twice in one: it would move twice")
        self._state = [[np.zeros_like(p.data) for _ in self._moments] for p in self.parameters]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for p in self.parameters:
            p.grad = None

    def step(self, rank: int = 0, size: int = 1) -> None:
        """Update every parameter that has a gradient.

        Of `size` processes each may do a part: every size-th parameter, from number `rank` on.
        """
        self.steps += 1
        pairs, updates = [(group, p) for group in self.groups for p in group["params"]], []
        for n, (group, p) in enumerate(pairs):
            if p.grad is not None and n % size == rank:
                lr = self.lr * group.get("lr_scale", 1.0)
                updates.append(functools.partial(self._update, p, lr, group, *self._state[n]))
        self._run(updates)

    def _run(self, updates):
        _each(updates)

    def state_dict(self) -> dict[str, np.ndarray]:
        """{name: array} of all that a later step depends on: moments, and the steps taken."""
        state = {
            f"{number}.{name}": array
            for number, arrays in enumerate(self._state)
            for name, array in zip(self._moments, arrays, strict=True)
        }
        return {"steps": np.array(self.steps), **state}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a state_dict(). Raises ValueError, and changes nothing, if it does not fit."""
        own = self.state_dict()
        shapes, expected = ({k: v.shape for k, v in d.items()} for d in (state, own))
        if shapes != expected:
            wrong = sorted(k for k in {*own, *state} if shapes.get(k) != expected.get(k))
            raise ValueError(f"the state of another optimizer: {', '.join(wrong[:5])} do not fit")
        for name, array in own.items():
            array[...] = state[name]
        self.steps = int(own["steps"])


class SGD(Optimizer):
    """velocity = momentum * velocity + grad; parameter -= lr * velocity."""

    _moments = ("velocity",)

    def __init__(
        self,
        parameters: Sequence[Tensor] | Sequence[Mapping[str, Any]],
        lr: float,
        momentum: float = 0.0,
    ):
        super().__init__(parameters, lr)
        self.momentum = momentum

    def _update(self, p, lr, group, velocity):
        velocity *= self.momentum
        velocity += p.grad
        p.data *= 1 - lr * group.get("weight_decay", 0.0)
        p.data -= lr * velocity


class AdamW(Optimizer):
    """Adam with decoupled weight decay: of matrices only (not of biases and norms), by default.

    A group's own "weight_decay" is for all of its parameters. Loshchilov, Hutter: Decoupled
    Weight Decay Regularization, arXiv:1711.05101.
    """

    _moments = ("sum", "squares")  # decayed sums of gradients and of their squares

    def __init__(
        self,
        parameters: Sequence[Tensor] | Sequence[Mapping[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ):
        super().__init__(parameters, lr)
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay

    def _update(self, p, lr, group, *moments):
        weight_decay = group.get("weight_decay", self.weight_decay if p.ndim >= 2 else 0.0)
        arrays = [np.atleast_1d(a) for a in (p.data, p.grad, *moments)]
        rows = max(1, _BLOCK * len(arrays[0]) // max(1, p.size))
        begins = range(0, len(arrays[0]), rows)
        threads = min(len(begins), thread_count()) if len(begins) > 1 else 1

        def update(begins):
            for i in begins:
                self._update_block(*(a[i : i + rows] for a in arrays), lr, lr * weight_decay)

        in_threads([functools.partial(update, begins[n::threads]) for n in range(threads)])

    def _update_block(self, data, grad, sum, squares, lr, decay):
        # What these sums are divided by for a mean: the weights of the steps so far.
        weight, weights = ((1 - beta**self.steps) / (1 - beta) for beta in self.betas)
        root = math.sqrt(weights)
        sum *= self.betas[0]
        sum += grad
        t = grad * grad
        squares *= self.betas[1]
        squares += t
        np.sqrt(squares, out=t)
        t += self.eps * root
        np.divide(sum, t, out=t)  # sum / weight over sqrt(squares) / root + eps, but for a factor
        t *= lr * root / weight
        if decay:
            data *= 1 - decay
        data -= t


class Muon(Optimizer):
    """Momentum with orthogonal steps, for the matrices inside a network (not tables, not heads).

    Every direction that the momentum points to is followed equally far. The step is scaled by
    sqrt(max(1, out / in)). A group with "split": 3 has matrices of 3 side by side, such as the q,
    k and v of attention, which are moved each on its own. Jordan et al. 2024,
    https://kellerjordan.github.io/posts/muon.
    """

    _options = Optimizer._options | {"split"}
    _moments = ("mean",)

    def __init__(
        self,
        parameters: Sequence[Tensor] | Sequence[Mapping[str, Any]],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ):
        super().__init__(parameters, lr)
        self.momentum, self.weight_decay = momentum, weight_decay
        if wrong := [p.shape for p in self.parameters if p.ndim != 2]:
            raise ValueError(f"Muon moves matrices, got a parameter of shape {wrong[0]}: use AdamW")

    def _run(self, updates):
        n = max(1, min(len(updates), thread_count()))
        in_threads([functools.partial(_each, updates[i::n]) for i in range(n)])

    def _update(self, p, lr, group, mean):
        mean *= self.momentum
        mean += (1 - self.momentum) * p.grad
        ahead = self.momentum * mean + (1 - self.momentum) * p.grad  # Nesterov's
        parts = np.split(ahead, group.get("split", 1), axis=1)
        scale = math.sqrt(max(1, parts[0].shape[1] / parts[0].shape[0]))
        p.data *= 1 - lr * group.get("weight_decay", self.weight_decay)
        p.data -= lr * scale * np.concatenate([orthogonalize(part) for part in parts], axis=1)


def _each(tasks):
    for task in tasks:
        task()


def orthogonalize(x: np.ndarray) -> np.ndarray:
    """x (m, n) with its singular values brought towards 1, in float32 or float64.

    Those of 1 % of the norm and more end between 0.18 and 1.87.
    An odd polynomial of x moves the singular values and keeps the vectors; three of them, one
    after the other, are enough to train as well as with five. Amsel et al., arXiv:2505.16932.
    """
    wide = x if x.shape[0] <= x.shape[1] else x.T
    wide = wide / (1.01 * np.linalg.norm(wide) + 1e-7)
    for a, b, c in _POLYNOMIALS:  # a x + b x^3 + c x^5
        square = wide @ wide.T
        wide = a * wide + (b * square + c * square @ square) @ wide
    return wide if x.shape[0] <= x.shape[1] else wide.T


_POLYNOMIALS = [
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
]


def clip_grad_norm(parameters: Sequence[Tensor], max_norm: float) -> float:
    """Scale all gradients so that their common norm is at most max_norm; returns it as it was."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    rows = [g.reshape(-1) for g in gradients]
    step = 8 * _BLOCK
    parts = [g[i : i + step] for g in rows for i in range(0, len(g), step)]
    total = math.sqrt(sum(float(np.dot(part, part)) for part in parts))
    if total > max_norm:
        for g in gradients:
            g *= max_norm / total
    return total


def warmup_cosine(step: int, steps: int, lr: float, min_lr: float, warmup: int) -> float:
    """The learning rate of a step: up to lr in `warmup` steps, then down a cosine to min_lr.

    >>> [round(warmup_cosine(i, 100, lr=1.0, min_lr=0.1, warmup=9), 3) for i in (0, 9, 100)]
    [0.1, 1.0, 0.1]
    """
    if step < warmup:
        return lr * (step + 1) / (warmup + 1)
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    return min_lr + (lr - min_lr) * (1 + math.cos(math.pi * done)) / 2
