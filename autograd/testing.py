"""Property-based gradient tests, for the ops here and for your own. Needs hypothesis.

`check_op` tests everything that an op must do; the strategies draw what it is called with: arrays
whose shapes broadcast, axes, every kind of index, and whole random programs of ops. Values are
kept away from kinks by construction, so that a failure is a wrong gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from . import ops
from .check import as_floats, check_gradients
from .tensor import Tensor, grad

__all__ = ["Program", "arrays", "axes", "broadcastable", "check_op", "indices", "programs"]

__tracebackhide__ = True  # pytest shows the line of the test, and not those here

# ---------------------------------------------------------------- strategies


def arrays(
    shape: tuple[int, ...] | st.SearchStrategy | None = None,
    low: float = -2.0,
    high: float = 2.0,
    *,
    away_from: Sequence[float] = (),
    gap: float = 0.05,
    distinct: bool = False,
) -> st.SearchStrategy[np.ndarray]:
    """Float64 arrays of a shape (or a strategy of shapes; up to 3 axes of 0 to 3 by default).

    Entries lie in [low, high], `gap` or more away from the kinks `away_from`; if `distinct` they
    lie that far from each other too, and may exceed `high`. Whole numbers are drawn often.
    """
    if shape is None:
        squares = st.sampled_from([(2, 2), (3, 3)])  # where a wrong axis or a transpose can hide
        shape = squares | hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
    if isinstance(shape, st.SearchStrategy):
        options: Any = {"away_from": away_from, "gap": gap, "distinct": distinct}
        return shape.flatmap(lambda s: arrays(s, low, high, **options))
    steps = max(64, 2 * math.prod(shape))
    if distinct:
        grid = low + max(gap, (high - low) / steps) * np.arange(steps + 1)
    else:
        grid = np.linspace(low, high, steps + 1)
    for kink in away_from:
        grid = grid[np.abs(grid - kink) >= gap]
    entries = st.integers(0, len(grid) - 1)
    if not distinct:
        entries |= st.sampled_from([0, *np.flatnonzero(grid == np.round(grid)).tolist()])
    picks = hnp.arrays(np.int64, shape, elements=entries, unique=distinct, fill=st.nothing())
    return picks.map(lambda k: np.asarray(grid[k], dtype=float))


def broadcastable(
    n: int, *, max_dims: int = 3, max_side: int = 3, **options: Any
) -> st.SearchStrategy[tuple[np.ndarray, ...]]:
    """n arrays whose shapes broadcast together; `options` are those of `arrays`."""
    shapes = hnp.mutually_broadcastable_shapes(
        num_shapes=n, min_dims=0, max_dims=max_dims, min_side=0, max_side=max_side
    )
    return shapes.flatmap(
        lambda drawn: st.tuples(*(arrays(shape, **options) for shape in drawn.input_shapes))
    )


def axes(ndim: int) -> st.SearchStrategy[int | tuple[int, ...] | None]:
    """What a reduction takes as `axis`: None, one axis, or a tuple, counted from either end."""
    if ndim == 0:
        return st.sampled_from([None, ()])
    one = st.integers(-ndim, ndim - 1)
    several = st.lists(one, unique_by=lambda i: i % ndim, max_size=ndim).map(tuple)
    return one | one | several | st.none()


def indices(shape: tuple[int, ...]) -> st.SearchStrategy[Any]:
    """Everything NumPy can index an array of this shape with.

    Integers, slices of any step, None and `...`; arrays of integers that pick entries several
    times, in every position; boolean masks of the whole array or of one axis.
    """
    basic = hnp.basic_indices(shape, allow_newaxis=True)
    masks = hnp.arrays(bool, shape)
    if not shape or 0 in shape:
        return basic | masks
    of_one_axis = st.integers(0, len(shape) - 1).flatmap(lambda axis: _mask(shape, axis))
    return basic | masks | of_one_axis | st.composite(_mixed_index)(shape)


def _mask(shape, axis):
    return hnp.arrays(bool, shape[axis]).map(lambda mask: (*[slice(None)] * axis, mask))


def _mixed_index(draw, shape):
    """Arrays of integers that broadcast together for some axes, slices and numbers for others."""
    picked = draw(hnp.array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=3))
    parts = []
    for n in shape[: draw(st.integers(1, len(shape)))]:
        kind = draw(st.sampled_from(["integers", "integers", "column", "slice", "number"]))
        whole = st.integers(-n, n - 1)
        if kind == "integers":
            parts.append(draw(hnp.arrays(np.int64, picked, elements=whole)))
        elif kind == "column":  # broadcasts against the other arrays
            parts.append(draw(hnp.arrays(np.int64, (picked[0], 1), elements=whole)))
        elif kind == "slice":
            parts.append(draw(st.slices(n)))
        else:
            parts.append(draw(whole))
    return parts[0] if len(parts) == 1 else tuple(parts)


# ---------------------------------------------------------------- programs

_BINARY = ("add", "subtract", "multiply")
_UNARY = ("sin", "tanh", "sigmoid", "negative")
_ELEMENTWISE = {name: getattr(ops, name) for name in (*_BINARY, *_UNARY)}
_ALONG_AN_AXIS: dict[str, Callable] = {
    "softmax": ops.softmax,
    "cumsum": lambda x: ops.cumsum(x, axis=-1),
    "mean": lambda x: ops.mean(x, axis=0, keepdims=True),
    "flip": lambda x: x[..., ::-1],
    "repeat": lambda x: x[..., [-1] * x.shape[-1]],
}


@dataclass(frozen=True)
class Program:
    """A function of `inputs` Tensors: each step applies an op to the inputs or earlier steps.

    >>> program = Program(2, (("multiply", 0, 1), ("sin", 2), ("add", 3, 0)))
    >>> print(program)
    v2 = multiply(v0, v1)
    v3 = sin(v2)
    v4 = add(v3, v0)
    >>> program(Tensor(2.0), Tensor(0.0)).item()
    2.0
    """

    inputs: int
    steps: tuple[tuple, ...]

    def __call__(self, *values: Any, functions: dict[str, Callable] | None = None) -> Any:
        """The last step's value; `functions` may put others in place of the ops."""
        functions = {**_ELEMENTWISE, **_ALONG_AN_AXIS, **(functions or {})}
        known = list(values)
        for name, *operands in self.steps:
            known.append(functions[name](*(known[i] for i in operands)))
        return known[-1]

    def __str__(self):
        return "\n".join(
            f"v{self.inputs + k} = {name}({', '.join(f'v{i}' for i in operands)})"
            for k, (name, *operands) in enumerate(self.steps)
        )

    __repr__ = __str__


@st.composite
def programs(draw, *, inputs: int = 2, max_steps: int = 8, elementwise: bool = False) -> Program:
    """Random programs of smooth ops, with shared values, repeated arguments and unused steps.

    For inputs that broadcast together and have one axis or more; any, if `elementwise`.
    """
    names = [*_ELEMENTWISE] if elementwise else [*_ELEMENTWISE, *_ALONG_AN_AXIS]
    steps = []
    for k in range(draw(st.integers(1, max_steps))):
        name = draw(st.sampled_from(names))
        value = st.integers(0, inputs + k - 1)
        steps.append((name, *(draw(value) for _ in range(2 if name in _BINARY else 1))))
    return Program(inputs, tuple(steps))


# ---------------------------------------------------------------- an op


def check_op(
    fn: Callable[..., Tensor | Sequence[Tensor]], *args: Any, order: int = 2, **options: Any
) -> None:
    """Test everything that an op must do on `fn(*args, **options)`, or raise AssertionError.

    `args` are arrays of floating-point numbers, `options` constants, and what fn returns is a
    Tensor or a sequence of them. The gradients up to `order` are those of finite differences; they
    and the value come out the same for arrays in any memory layout; float32 stays float32 and
    differs from float64 by rounding only; no input is written to, and no gradient shares memory
    with an input, the incoming gradient or another gradient.
    """
    arrays = [as_floats(i, x) for i, x in enumerate(args)]
    call = _with(fn, options)
    check_gradients(call, *arrays, order=order)
    expected, g = _pull(call, arrays)
    _check_layouts(call, arrays, expected, g)
    _check_float32(call, arrays, g)


def _with(fn, options):
    """fn with its options, and several outputs as one."""

    def call(*tensors):
        out = fn(*tensors, **options)
        return out if type(out) is Tensor else ops.concatenate(out, axis=None)

    return call


def _pull(call, arrays, g=None):
    """The value and gradients by name, for a random (or given) cotangent, and that cotangent."""
    for x in arrays:
        x.setflags(write=False)
    leaves = [Tensor(x, requires_grad=True) for x in arrays]
    out = call(*leaves)
    if g is None:
        g = np.random.default_rng(0).standard_normal(out.shape)
    g.setflags(write=False)
    gradients = [np.zeros(x.shape) for x in arrays]
    if out.requires_grad:
        gradients = [gx.data for gx in grad(out, leaves, g)]
    results, others = {"value": out.data}, [("an input", x) for x in arrays]
    others.append(("the incoming gradient", g))
    for i, gx in enumerate(gradients):
        for name, other in others:
            assert not np.shares_memory(gx, other), f"gradient {i} shares memory with {name}"
        results[f"gradient {i}"] = gx
        others.append((f"gradient {i}", gx))
    return results, g


def _check_layouts(call, arrays, expected, g):
    def reverse(x):
        flip = (slice(None, None, -1),) * x.ndim
        return x[flip].copy()[flip]

    for layout in (reverse, lambda x: np.array(x, order="F")):
        results, _ = _pull(call, [layout(x) for x in arrays], layout(g))
        for name, a in results.items():
            b = expected[name]
            assert np.array_equal(a, b) or np.allclose(a, b, rtol=1e-9, atol=1e-12), (
                f"{name} depends on the memory layout: {a} and {b}"
            )


def _check_float32(call, arrays, g):
    singles, g = [x.astype(np.float32) for x in arrays], g.astype(np.float32)
    expected, _ = _pull(call, [x.astype(float) for x in singles], g)
    results, _ = _pull(call, singles, g)
    dtype = results["value"].dtype
    assert dtype == np.float32, f"float32 gives {dtype}: use Python numbers"
    for name, a in results.items():
        b = expected[name]
        rtol, atol = 2e-5 if name == "value" else 2e-4, 2e-6 * (1 + np.abs(b).max(initial=0))
        assert np.allclose(a, b, rtol=rtol, atol=atol), f"{name} in float32: {a}, in float64: {b}"
