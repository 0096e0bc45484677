"""What a vjp returns, and how it is added up: imported by tensor.py, which it does not import.

`match` and `fit` check what the vjp of an op returned and make it the gradient of each argument;
`Sums` adds up the gradients that come from the uses of a Tensor.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import ndarray

from . import errors

__all__ = ["GradientWriter", "in_float32"]

_HALF = np.dtype(np.float16)


class GradientWriter:
    """A gradient that is written into a given array: a vjp may return it in place of an array.

    It saves the memory of a large gradient. The engine calls `write(out, add)` once, which adds
    the gradient to the array `out` if `add` is true, and overwrites `out` with it otherwise.
    Where g is a Tensor (see `op`) a vjp must return the gradient itself.

    >>> from autograd import Tensor, op
    >>> @op
    ... def plus_one(x):
    ...     def vjp(g):
    ...         if type(g) is Tensor:
    ...             return g
    ...         return GradientWriter(lambda out, add: np.add(out if add else 0, g, out=out))
    ...     return x + 1, (vjp,)
    >>> x = Tensor(1.0, requires_grad=True)
    >>> (plus_one(x) + plus_one(x)).backward()
    >>> x.grad
    array(2.)
    """

    __slots__ = ("write",)

    def __init__(self, write: Callable[[ndarray, bool], Any]):
        self.write = write


def in_float32(body: Callable[..., Any]) -> Callable[..., Any]:
    """A body for `op` that computes in float32 where its first argument is float16.

    Its value and gradients are rounded to float16 once, at the end. For all that adds up, or uses
    constants or intermediate results which float16 cannot hold: in it 2048 + 1 is 2048, 65,520 is
    infinite, and 1e-8 is 0.

    >>> from autograd import Tensor, op
    >>> @op
    ... @in_float32
    ... def mean_square(x):
    ...     return (x * x).sum() / x.size, (lambda g: 2 * g * x / x.size,)
    >>> x = Tensor(np.full(100_000, 200, np.float16))
    >>> mean_square(x * 0.5).item()
    10000.0
    """

    @functools.wraps(body)
    def run(*args: Any, **options: Any) -> Any:
        half = args and getattr(args[0], "dtype", None) is _HALF
        return as_float32(body)(*args, **options) if half else body(*args, **options)

    return run


def as_float32(body):
    """The body of an op with all float16 arguments as float32, and a float16 value if all were."""

    def run(*args, **options):
        dtypes = {x.dtype for x in args if getattr(x, "dtype", np.dtype(bool)).kind == "f"}
        result = body(*map(widened, args), **options)
        if _HALF not in dtypes or type(result) is not tuple or len(result) != 2:
            return result  # as it is, or to be refused by the caller
        value, vjp = result
        if dtypes == {_HALF}:
            value = value.astype(_HALF)
        if type(vjp) is tuple:
            return value, tuple(f and functools.partial(_pull_widened, f) for f in vjp)
        return value, functools.partial(_pull_widened, vjp)

    return run


def beyond_float16(x):
    """Whether x is a number that float16 does not hold, or only with fewer digits than others."""
    return type(x) in (float, int) and x != 0 and not 6.2e-5 < abs(x) < 65504


def widened(x):
    """float16 as float32, anything else as it is."""
    return x.astype(np.float32) if getattr(x, "dtype", None) is _HALF else x


def _pull_widened(vjp, g):
    return vjp(widened(g))  # what comes back is rounded by `fit`


class Sums(dict):
    """The gradients of Tensors, by their ids: each is the sum of what comes from its uses."""

    def __init__(self, leaves):
        self.owned = set()  # ids of sums in arrays that nothing else uses: added to in place
        self.empty = {}  # arrays in which a sum shall begin
        for x in leaves:
            if x.grad is not None:
                if (given := np.shape(x.grad)) != x.shape:
                    raise ValueError(errors.GRAD_SHAPE.format(given=given, shape=x.shape))
                self[id(x)] = np.asarray(x.grad, x.dtype)
                if self[id(x)] is x.grad and x.grad.flags.writeable:
                    self.owned.add(id(x))
            elif x.grad_buffer is not None and _alike(x.grad_buffer, x):
                self.empty[id(x)] = x.grad_buffer

    def add(self, x, g):
        """Add an array or Tensor to the sum of x."""
        before = self.get(id(x))
        if before is None:
            if id(x) in self.empty:
                np.copyto(self.own_array(x)[0], g)
            else:
                self[id(x)] = g
        elif id(x) in self.owned:
            np.add(before, g, out=before)
        elif type(g) is not ndarray:  # a Tensor
            self[id(x)] = before + g
        else:
            self[id(x)] = np.asarray(before + g)  # 0-d arrays add up to scalars
            self.owned.add(id(x))

    def own_array(self, x):
        """An array for the sum of x that nothing else uses, and whether a sum is in it already."""
        out = self.get(id(x))
        begun = out is not None
        if not begun:
            out = self.empty.pop(id(x), None)
            out = np.empty(x.shape, x.dtype) if out is None else out
        elif id(x) not in self.owned:
            out = np.array(out)
        self[id(x)] = out
        self.owned.add(id(x))
        return out, begun


def _alike(buffer, x):
    """Whether a buffer still fits x, whose array may have been replaced since."""
    return buffer.shape == x.shape and buffer.dtype == x.dtype


def match(op, each, args, needed):
    """One entry per argument: None for those without, unless they are of the `needed` ones."""
    if type(each) is not tuple:
        raise TypeError(errors.NOT_A_TUPLE.format(op=op.__name__, result=type(each).__name__))
    if len(each) > (_arity(op) or len(args)) or needed[-1] >= len(each):
        raise TypeError(errors.WRONG_NUMBER.format(op=op.__name__, n=len(each), needed=needed))
    return (each + (None,) * len(args))[: len(args)]


@functools.cache
def _arity(op):
    """How many arguments an op has; None if any number."""
    kinds = [p.kind for p in inspect.signature(op).parameters.values()]
    return None if inspect.Parameter.VAR_POSITIONAL in kinds else len(kinds)


def fit(op, gx, x, g, kind):
    """A gradient as its argument x needs it: of `kind`, of x's dtype, without broadcast axes."""
    name = op.__name__
    if gx is None:
        raise TypeError(errors.NO_GRADIENT.format(op=name))
    if type(gx) is GradientWriter:
        raise TypeError(errors.WRITER_OF_TENSORS.format(op=name))
    if type(gx) is not kind:
        gx = np.asarray(gx) if kind is ndarray else kind(gx)
    shape = gx.shape
    if shape != x.shape:
        gx = widened(gx)  # it is added up
    if len(shape) > x.ndim:
        gx = gx.sum(axis=tuple(range(len(shape) - x.ndim)))
    if gx.shape != x.shape and gx.ndim == x.ndim:
        stretched = tuple(i for i, n in enumerate(x.shape) if n == 1)
        gx = gx.sum(axis=stretched, keepdims=True)
    if gx.shape != x.shape:
        raise ValueError(errors.GRADIENT_SHAPE.format(op=name, given=shape, shape=x.shape))
    if gx.dtype != x.dtype:
        if x.dtype.kind != "f":
            raise TypeError(errors.INTEGER_ARGUMENT.format(op=name, dtype=x.dtype))
        # otherwise the op has promoted its arguments, and that is fine
        if g.dtype == x.dtype != _HALF:
            raise TypeError(errors.GRADIENT_DTYPE.format(op=name, dtype=g.dtype, given=gx.dtype))
        gx = gx.astype(x.dtype)
    return gx if type(gx) is kind else np.asarray(gx)  # 0-d arrays reduce to scalars
