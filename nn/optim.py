"""Optimizers: what a step does with the gradients. They change `parameter.data` in place."""

from __future__ import annotations

import functools
import math
import sys
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from autograd import Tensor

from .memory import training_begins
from .module import Module
from .threads import BLOCK, for_each

__all__ = ["SGD", "AdamW", "Muon", "clip_grad_norm", "flatten", "warmup_cosine", "warmup_linear"]

# {id: gradient} of the vectors that flatten() has made, so that clip_grad_norm finds them.
_flat: weakref.WeakValueDictionary[int, np.ndarray] = weakref.WeakValueDictionary()


def flatten(parameters: Sequence[Tensor]) -> Tensor:
    """One vector of all entries of the parameters, whose `data` and `grad` become parts of it.

    What changes the vector changes the parameters, so that an optimizer, clip_grad_norm or a sum
    over processes works on one array. Between two steps set the `grad` of each parameter to None,
    but keep `vector.grad`: backward writes the new gradients into it. If a parameter gets no new
    gradient, its old one is still in `vector.grad`: fill that part with 0. A copy of the parameters
    and the vector, by copy.deepcopy or pickle, is not joined: call flatten on the copies.

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
    _flat[id(vector.grad)] = vector.grad
    end = 0
    for p in parameters:
        begin, end = end, end + p.size
        p.grad, p.grad_buffer = None, vector.grad[begin:end].reshape(p.shape)
        p.data = vector.data[begin:end].reshape(p.shape)
    return vector


Tensors = Module | Tensor | Iterable[Tensor] | Iterable[tuple[str, Tensor]]
Parameters = Tensors | Iterable[Mapping[str, Any]]


def _tensors(given: Any) -> list[Tensor]:
    """The parameters of a model, or one, or many, with or without their names."""
    if isinstance(given, Module):
        return given.parameters()
    if isinstance(given, (set, frozenset)) or not isinstance(given, Iterable):
        raise TypeError(f"expected a model, or a list of parameters, got a {type(given).__name__}")
    found = [given] if isinstance(given, Tensor) else list(given)
    found = [x[1] if isinstance(x, tuple) and len(x) == 2 else x for x in found]
    for x in found:
        if not isinstance(x, Tensor):
            kind = type(x).__name__
            raise TypeError(f"expected Tensors as parameters (model.parameters()), got a {kind}")
        if not x.is_leaf:
            raise TypeError(
                f"a parameter of shape {x.shape} was computed by an op, and will get no gradient: "
                "pass the Tensors that it was computed from"
            )
    return found


def _make_gradient_fit(p):
    """A `grad` that was set by hand becomes an array like the parameter, or is refused."""
    g = p.grad
    fits = type(g) is np.ndarray and g.shape == p.data.shape and g.dtype == p.data.dtype
    if fits and g.flags.writeable:
        return
    g = Tensor(g).data
    if g.shape != p.shape or g.dtype.kind not in "fiu":
        raise ValueError(
            f"a parameter of shape {p.shape} has a grad of shape {g.shape} and dtype {g.dtype}: "
            "set it to None, or to real numbers of the shape of the parameter"
        )
    p.grad = np.array(g, p.dtype)


class Optimizer:
    """Parameters, in groups, and their learning rate `lr`, which a schedule may set.

    It takes a model, or parameters, or groups of them: mappings with "params" and, if a group is to
    differ, "lr_scale" (its learning rate is `lr` times that) and "weight_decay". It may move the
    small parameters of a group into one array, as `flatten` does; each backward() then writes their
    gradients into the same memory, so copy a `grad` that is to be kept.
    """

    _options = frozenset({"params", "lr_scale", "weight_decay"})
    _moments: tuple[str, ...] = ()  # what is kept for each parameter, in arrays
    _by_entry = False  # whether the _update of this class moves each entry by itself

    def __init__(self, parameters: Parameters, lr: float, *, weight_decay: float = 0.0):
        training_begins()
        groups = self._grouped(parameters)
        self.lr, self.steps, self.weight_decay = lr, 0, weight_decay
        self.groups = [{**group, "params": (*_tensors(group["params"]),)} for group in groups]
        self._pairs = [(group, p) for group in self.groups for p in group["params"]]
        self.parameters: list[Tensor] = [p for _, p in self._pairs]
        if len({id(p) for p in self.parameters}) < len(self.parameters):
            raise ValueError("a parameter is in two groups, or twice in one: it would move twice")
        for p in self.parameters:
            p.data = np.require(p.data, requirements="W")  # zeros to be loaded are read-only
        self._state = [self._zeros_for(p) for p in self.parameters]
        self._counts = [0] * len(self.parameters)  # of the steps in which each had a gradient
        mover = next(c for c in type(self).__mro__ if "_update" in vars(c))
        self._laid = self._laid_end_to_end() if vars(mover).get("_by_entry") else []

    def _grouped(self, parameters):
        """Groups of parameters; those that came without groups are one."""
        if isinstance(parameters, (Module, Tensor)) or not isinstance(parameters, Iterable):
            return [{"params": parameters}]
        groups = parameters if isinstance(parameters, (set, frozenset)) else list(parameters)
        if not any(isinstance(group, Mapping) for group in groups):
            return [{"params": groups}]
        for group in groups:
            if not isinstance(group, Mapping) or "params" not in group:
                raise TypeError(f'a group of parameters is a mapping with "params", got {group!r}')
            if unknown := group.keys() - self._options:
                raise ValueError(f"a group of parameters has no option {', '.join(unknown)}")
        return groups

    def _zeros_for(self, p):
        """What is kept for a parameter, in float32 if it is float16: its squares would be 0."""
        dtype = np.result_type(p.dtype, np.float32)
        return [np.zeros_like(p.data, dtype) for _ in self._moments]

    def __getstate__(self) -> dict[str, Any]:
        """For copies, whose parameters have arrays of their own: they move one by one."""
        return {**vars(self), "_laid": []}

    def _laid_end_to_end(self):
        """A _Laid for each set of small parameters that move alike and own their arrays alone."""
        alike: dict[tuple, list[int]] = {}
        for n, (group, p) in enumerate(self._pairs):
            alone = p.data.base is None and sys.getrefcount(p.data) == 2  # p, and this call
            if alone and p.requires_grad and p.size < BLOCK and id(p.grad) not in _flat:
                alike.setdefault((id(group), p.ndim >= 2, p.dtype), []).append(n)
        return [_Laid(self, numbers) for numbers in alike.values() if len(numbers) > 1]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for p in self.parameters:
            p.grad = None

    def step(self, rank: int = 0, size: int = 1) -> None:
        """Update every parameter that has a gradient.

        Of `size` processes, each may update only a part: every size-th parameter from `rank` on.
        """
        given = [n for n, p in enumerate(self.parameters) if p.grad is not None]
        for n in given:
            _make_gradient_fit(self.parameters[n])
        for n in given:
            self._counts[n] += 1
        self.steps += 1
        laid = [one for one in self._laid if size == 1 and one.whole(self._counts)]
        done = {n for one in laid for n in one.numbers}
        moves = [(one.numbers[0], one.vector, one.state) for one in laid]
        moves += [
            (n, self.parameters[n], self._state[n])
            for n in given
            if n not in done and n % size == rank
        ]
        self._move([
            functools.partial(self._update, p, *self._rates(n), self._counts[n], *state)
            for n, p, state in moves
        ])  # fmt: skip

    def _rates(self, n):
        """The learning rate and the weight decay of parameter n, and its group."""
        group, p = self._pairs[n]
        lr = self.lr * group.get("lr_scale", 1.0)
        return lr, lr * group.get("weight_decay", self._decay_of(p)), group

    def _decay_of(self, p):
        return self.weight_decay

    def _move(self, updates):
        for update in updates:
            update()

    def _update(self, p, lr, decay, group, count, *moments):
        raise NotImplementedError

    def state_dict(self) -> dict[str, np.ndarray]:
        """{name: array} of all that a later step depends on: moments, and the number of steps."""
        state = {
            f"{number}.{name}": array
            for number, arrays in enumerate(self._state)
            for name, array in zip(self._moments, arrays, strict=True)
        }
        steps: dict[str, Any] = {"steps": np.array(self.steps)}
        if any(count != self.steps for count in self._counts):
            steps["counts"] = np.array(self._counts)
        return {**steps, **state}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a state_dict(). Raises ValueError, and changes nothing, if it does not fit."""
        own = {**self.state_dict(), "counts": np.array(self._counts, int)}
        state = {"counts": np.full(len(self._counts), state.get("steps", 0)), **state}
        shapes, expected = ({k: v.shape for k, v in d.items()} for d in (state, own))
        if shapes != expected:
            wrong = sorted(k for k in {*own, *state} if shapes.get(k) != expected.get(k))
            raise ValueError(f"the state of another optimizer: {', '.join(wrong[:5])} do not fit")
        for name, array in own.items():
            array[...] = state[name]
        self.steps, self._counts = int(own["steps"]), own["counts"].tolist()


class _Laid:
    """Small parameters of an optimizer end to end: one `vector`, and its moments in `state`."""

    def __init__(self, optimizer, numbers):
        self.numbers = numbers
        parameters = [optimizer.parameters[n] for n in numbers]
        gradients = [p.grad for p in parameters]
        self.vector = flatten(parameters)
        self.state = optimizer._zeros_for(self.vector)
        end = 0
        for n, p, gradient in zip(numbers, parameters, gradients, strict=True):
            begin, end, p.grad = end, end + p.size, gradient
            optimizer._state[n] = [a[begin:end].reshape(p.shape) for a in self.state]
        self._arrays = [(p, p.data, p.grad_buffer) for p in parameters]

    def whole(self, counts):
        """Whether all have gradients, as often as each other, and are still parts of the vector."""
        return all(p.grad is g and p.data is d for p, d, g in self._arrays) and (
            len({counts[n] for n in self.numbers}) == 1
        )


class SGD(Optimizer):
    """velocity = momentum * velocity + grad; parameter -= lr * velocity."""

    _moments = ("velocity",)
    _by_entry = True

    def __init__(self, parameters: Parameters, lr: float, *, momentum: float = 0.0):
        super().__init__(parameters, lr)
        self.momentum = momentum

    def _update(self, p, lr, decay, group, count, velocity):
        velocity *= self.momentum
        velocity += p.grad
        p.data *= 1 - decay
        p.data -= lr * velocity


class AdamW(Optimizer):
    """Adam with decoupled weight decay: by default of matrices only, not of biases and norms.

    A group's own "weight_decay" applies to all of its parameters. The correction for the first
    steps counts them for each parameter, from its first gradient on. Loshchilov, Hutter: Decoupled
    Weight Decay Regularization, arXiv:1711.05101.

    >>> x = Tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = AdamW([x], lr=0.5)
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> print(x.data)  # the first step is lr long, whatever the gradient
    [ 0.5 -1.5]
    """

    _moments = ("sum", "squares")  # decayed sums of gradients and of their squares
    _by_entry = True

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ):
        super().__init__(parameters, lr, weight_decay=weight_decay)
        self.betas, self.eps = betas, eps

    def _decay_of(self, p):
        return self.weight_decay if p.ndim >= 2 else 0.0

    def _update(self, p, lr, decay, group, count, *moments):
        arrays = [np.atleast_1d(a) for a in (p.data, p.grad, *moments)]
        rows = max(1, BLOCK * len(arrays[0]) // max(1, p.size))

        def update(i):
            self._update_block([a[i : i + rows] for a in arrays], lr, decay, count)

        for_each(update, range(0, len(arrays[0]), rows))

    def _update_block(self, arrays, lr, decay, count):
        data, grad, sum, squares = arrays
        grad = grad.astype(sum.dtype, copy=False)  # from float16
        # Divided by the total weight of their terms, the sums become means.
        sum_weight, square_weight = ((1 - beta**count) / (1 - beta) for beta in self.betas)
        root = math.sqrt(square_weight)
        sum *= self.betas[0]
        sum += grad
        t = grad * grad
        squares *= self.betas[1]
        squares += t
        np.sqrt(squares, out=t)
        t += self.eps * root
        np.divide(sum, t, out=t)
        t *= lr * root / sum_weight  # lr * (sum / sum_weight) / (sqrt(squares) / root + eps)
        if decay:
            data *= 1 - decay
        data -= t


class Muon(Optimizer):
    """Momentum with orthogonal steps, for the matrices inside a network (not tables, not heads).

    A step goes equally far in all directions of the momentum, sqrt(max(1, out / in)) times lr. A
    group with "split": 3 has parameters that are 3 matrices side by side, such as the q, k and v of
    attention; each of the 3 is moved separately. Jordan et al. 2024,
    https://kellerjordan.github.io/posts/muon.

    With `even_rows` each row of a step (the weights of one input) is divided by the root of a
    running mean of its squares; then the step is scaled back to its norm. NorMuon does so for each
    output: Li et al., arXiv:2510.05491.
    """

    _options = Optimizer._options | {"split"}

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 0.02,
        *,
        momentum: float = 0.95,
        even_rows: bool = False,
        weight_decay: float = 0.0,
    ):
        self._moments = ("mean", "squares") if even_rows else ("mean",)
        super().__init__(parameters, lr, weight_decay=weight_decay)
        self.momentum = momentum
        if wrong := [p.shape for p in self.parameters if p.ndim != 2]:
            raise ValueError(f"Muon moves matrices, got a parameter of shape {wrong[0]}: use AdamW")

    def _zeros_for(self, p):
        mean, *squares = super()._zeros_for(p)
        split = next(group.get("split", 1) for group, q in self._pairs if q is p)
        return [mean, *(np.zeros((*p.shape[:1], split), s.dtype) for s in squares)]  # of each row

    def _move(self, updates):
        for_each(lambda update: update(), updates)

    def _update(self, p, lr, decay, group, count, mean, squares=None):
        gradient = p.grad.astype(mean.dtype, copy=False)  # from float16
        mean *= self.momentum
        mean += (1 - self.momentum) * gradient
        ahead = self.momentum * mean + (1 - self.momentum) * gradient  # Nesterov's momentum
        parts = np.split(ahead, group.get("split", 1), axis=1)
        scale = math.sqrt(max(1, parts[0].shape[1] / parts[0].shape[0]))
        steps = [orthogonalize(part) for part in parts]
        if squares is not None:
            steps = [_even_rows(step, squares[:, n : n + 1]) for n, step in enumerate(steps)]
        p.data *= 1 - decay
        p.data -= lr * scale * np.concatenate(steps, axis=1)


def _even_rows(step, squares):
    """A step (m, n) with rows divided by the root of `squares` (m, 1), and its norm as before.

    `squares`, the running mean of the squares of each row, is changed in place. That it begins with
    0 makes no difference, as the norm is restored.
    """
    now = np.vecdot(step, step)[:, None] / step.shape[1]
    squares *= 0.95
    squares += 0.05 * now
    factors = 1 / np.sqrt(squares + 1e-12)
    factors *= np.sqrt(now.sum() / ((now * factors**2).sum() + 1e-12))
    return step * factors


def orthogonalize(x: np.ndarray) -> np.ndarray:
    """x (m, n) with its singular values brought towards 1, in float32 or float64.

    Those of at least 1 % of the norm of x end between 0.18 and 1.87. An odd polynomial of x changes
    the singular values and keeps the singular vectors. Three polynomials in a row train as well as
    five. Amsel et al., arXiv:2505.16932.
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


def clip_grad_norm(parameters: Tensors, max_norm: float) -> float:
    """Scale all gradients so that their common norm is at most max_norm; returns the norm before.

    >>> x = Tensor([3.0, 4.0], requires_grad=True)
    >>> x.grad = np.array([6.0, 8.0])
    >>> print(clip_grad_norm([x], 1.0), x.grad)
    10.0 [0.6 0.8]
    """
    given = [p for p in _tensors(parameters) if p.grad is not None]
    for p in given:
        _make_gradient_fit(p)
    gradients = _joined([p.grad for p in given])
    rows, step = [g.reshape(-1) for g in gradients], 8 * BLOCK
    parts = (g[i : i + step] for g in rows for i in range(0, len(g), step))
    total = math.sqrt(sum(map(_squared_length, parts)))
    if total > max_norm:
        for g in gradients:  # a small factor is 0 in float16
            wide = np.result_type(g, np.float32)
            np.multiply(g, max_norm / total, out=g, dtype=wide, casting="same_kind")
    return total


def _squared_length(part):
    part = part.astype(np.result_type(part, np.float32), copy=False)  # in float16 it overflows
    return float(np.dot(part, part))


def _joined(gradients):
    """The same gradients in fewer arrays: a vector of flatten() replaces its parts, if complete."""
    sizes: dict[int, int] = {}
    for g in {id(g): g for g in gradients}.values():  # one that is given twice counts once
        sizes[id(g.base)] = sizes.get(id(g.base), 0) + g.size
    flat = {i: _flat[i] for i, size in sizes.items() if i in _flat and _flat[i].size == size}
    return [*flat.values(), *(g for g in gradients if id(g.base) not in flat)]


def warmup_linear(step: int, steps: int, lr: float, min_lr: float, warmup: int) -> float:
    """The learning rate of a step: rises to lr in `warmup` steps, then falls evenly to min_lr.

    >>> [round(warmup_linear(i, 100, lr=1.0, min_lr=0.0, warmup=20), 3) for i in (0, 20, 60, 100)]
    [0.048, 1.0, 0.5, 0.0]
    """
    if step < warmup:
        return lr * (step + 1) / (warmup + 1)
    left = max(0.0, (steps - step) / max(1, steps - warmup))
    return min_lr + (lr - min_lr) * left


def warmup_cosine(step: int, steps: int, lr: float, min_lr: float, warmup: int) -> float:
    """The learning rate of a step: rises to lr in `warmup` steps, then falls to min_lr as a cosine.

    >>> [round(warmup_cosine(i, 100, lr=1.0, min_lr=0.1, warmup=9), 3) for i in (0, 9, 100)]
    [0.1, 1.0, 0.1]
    """
    if step < warmup:
        return lr * (step + 1) / (warmup + 1)
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    return min_lr + (lr - min_lr) * (1 + math.cos(math.pi * done)) / 2
