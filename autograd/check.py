"""check_gradients: whether a derivative is right, compared with finite differences.

For a random cotangent v (never all ones: the sum of a softmax is constant, and would show nothing)
the entries of d<v, f(x)>/dx are measured as central differences in float64 and compared with what
backward gives. That gradient is itself a function, of x and of v, so the check of order 2 is the
check of order 1 applied to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .tensor import Tensor, grad

__all__ = ["check_gradients"]

__tracebackhide__ = True  # pytest shows the line of the test, and not those here
_EPS = np.finfo(float).eps
_STEP = _EPS ** (1 / 3)  # balances truncation, step**2, with rounding, eps / step


def check_gradients(
    fn: Callable[..., Tensor | Sequence[Tensor]],
    *args: Any,
    order: int = 2,
    rtol: float = 1e-6,
    atol: float = 1e-8,
    entries: int = 64,
    seed: int = 0,
) -> None:
    """Compare the derivatives of `fn(*args)` up to `order` with central differences.

    Each of `args` is an array or Tensor of floating-point numbers, checked in float64; constants
    belong in `fn`: `check_gradients(lambda x: take(x, index), x)`. `fn` returns a Tensor or a
    sequence of them. An argument with more than `entries` entries is checked along that many
    random directions instead. Raises AssertionError naming the argument, the entry, both numbers
    and the tolerance; TypeError for an argument or a result that cannot be checked.

    >>> check_gradients(np.exp, [0.0, 1.0])
    >>> check_gradients(lambda x: x * x.data, [3.0])
    Traceback (most recent call last):
        ...
    AssertionError: derivative of order 1, argument 0, entry (0,): backward gives 0.377191, \
finite differences give 0.754381 (they may differ by 7.6e-07). Is its vjp right? If the argument \
lies on a kink, as relu does at 0, or at the edge of its domain, move it.
    """
    if order < 1:
        raise ValueError(f"check_gradients: order must be at least 1, got {order}")
    if not args:
        raise TypeError("check_gradients: nothing to check, pass the arguments of fn after it")
    arrays = [as_floats(i, x) for i, x in enumerate(args)]
    names = [f"argument {i}" for i in range(len(args))]
    outputs, rng = _outputs(fn), np.random.default_rng(seed)
    for level in range(1, order + 1):
        seeds = _check(outputs, arrays, names, level, rtol, atol, entries, rng)
        outputs = _derivative(outputs, len(arrays))
        arrays = [*arrays, *seeds]
        names = [*names, *(f"cotangent {i} of order {level}" for i in range(len(seeds)))]


def as_floats(i, x):
    data = (x if type(x) is Tensor else Tensor(x)).data
    if data.dtype.kind != "f":
        raise TypeError(
            f"check_gradients: argument {i} has dtype {data.dtype}, and derivatives need floating "
            "point: pass it as float to have it checked, or close over it (lambda x: fn(x, "
            "constant)) if it is a constant"
        )
    return data.astype(float)


def _outputs(fn):
    """fn as a function of a list of Tensors, that returns a list of them."""

    def outputs(tensors, create_graph):
        result = fn(*tensors)
        ys = result if isinstance(result, (tuple, list)) else [result]
        for y in ys:
            if type(y) is not Tensor:
                raise TypeError(
                    f"check_gradients: fn returned a {type(y).__name__}, not a Tensor: it lost the "
                    "graph, or was not made with @op"
                )
        return ys

    return outputs


def _derivative(outputs, n):
    """The gradients of sum <v, y> as a function of the n arguments and the cotangents v."""

    def gradients(tensors, create_graph):
        xs, seeds = tensors[:n], tensors[n:]
        ys = outputs(xs, True)
        if len(ys) == 1 and ys[0].requires_grad:  # the same in fewer steps
            return grad(ys[0], xs, seeds[0], create_graph=create_graph)
        total = sum((y * v).sum() for y, v in zip(ys, seeds, strict=True))
        return grad(total, xs, create_graph=create_graph)

    return gradients


def _evaluate(outputs, arrays, create_graph=False):
    tensors = [Tensor(x, requires_grad=True) for x in arrays]
    return [y.data for y in outputs(tensors, create_graph)]


def _check(outputs, arrays, names, level, rtol, atol, entries, rng):
    """Check the gradients of `outputs` at `arrays`; returns the cotangents that were drawn."""
    values = _evaluate(outputs, arrays)
    _require_equal(values, _evaluate(outputs, arrays), "fn gives two results for the same "
                   "arguments: what it draws at random must be a constant of it")  # fmt: skip
    _require_equal(values, _evaluate(outputs, arrays, create_graph=True), "a vjp gives one result "
                   "on arrays and another on Tensors (create_graph=True): its body must do the "
                   "same on both")  # fmt: skip
    seeds = [np.asarray(rng.standard_normal(y.shape)) for y in values]
    for seed in seeds:  # a vjp may be handed it as it is, and must not write to it
        seed.setflags(write=False)
    gradients = _evaluate(_derivative(outputs, len(arrays)), [*arrays, *seeds])
    # Where all values and gradients are small, the tolerance is as small.
    atol *= min(1.0, max(np.abs(a).max(initial=0) for a in [*values, *gradients]))
    for i, (x, gradient) in enumerate(zip(arrays, gradients, strict=True)):

        def along(offset, i=i, x=x):
            return _evaluate(outputs, [*arrays[:i], x + offset, *arrays[i + 1 :]])

        for label, direction in _directions(x, entries, rng):
            analytic = float(np.vdot(gradient, direction))
            step = _STEP * max(1.0, float(np.abs(x[direction != 0]).mean()))
            agrees, numeric, allowed = _settle(along, direction, step, seeds, analytic, rtol, atol)
            if not agrees:
                raise AssertionError(
                    f"derivative of order {level}, {names[i]}, {label}: backward gives "
                    f"{analytic:.6g}, finite differences give {numeric:.6g} (they may differ by "
                    f"{allowed:.1e}). Is its vjp right? If the argument lies on a kink, as relu "
                    "does at 0, or at the edge of its domain, move it."
                )
    return seeds


def _settle(along, direction, step, seeds, analytic, rtol, atol):
    """Whether finite differences agree: (yes or no, what they give, what they may differ by).

    Near a singularity, or for large arguments, the first step is too long: shorter ones are tried
    as long as they change the result.
    """
    before = math.nan
    with np.errstate(all="ignore"):  # a step may leave the domain
        for _ in range(6):
            numeric, noise = _difference(along, direction, step, seeds)
            allowed = atol + rtol * max(abs(analytic), abs(numeric)) + noise
            if abs(analytic - numeric) <= allowed:
                return True, numeric, allowed
            if abs(numeric - before) <= 2 * allowed:  # shorter steps change it no more
                break
            step, before = step / 8, numeric
    return False, numeric, allowed


def _require_equal(values, others, message):
    for a, b in zip(values, others, strict=True):
        if not (np.array_equal(a, b) or np.allclose(a, b, rtol=1e-9, atol=1e-12, equal_nan=True)):
            raise AssertionError(f"{message}; got {a} and {b}")


def _directions(x, entries, rng):
    if x.size > entries:
        for i in range(entries):
            yield f"random direction {i}", rng.standard_normal(x.shape)
    else:
        for index in np.ndindex(x.shape):
            direction = np.zeros(x.shape)
            direction[index] = 1.0
            yield f"entry {index}", direction


def _difference(along, direction, step, seeds):
    """The central difference of sum <v, y>, and the rounding error to expect in it."""
    above, below = along(step * direction), along(-step * direction)
    change = sum(np.vdot(v, a - b) for v, a, b in zip(seeds, above, below, strict=True))
    size = sum(np.vdot(np.abs(v), np.abs(a)) for v, a in zip(seeds, above, strict=True))
    return float(change) / (2 * step), float(4 * _EPS * size / step)
