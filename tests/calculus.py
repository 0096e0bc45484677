"""What is tested of every function of NumPy that Tensors have beyond the ops of records.py.

A row is a call, written once: on arrays it says what NumPy gives, on Tensors it must give the same
value, shape and dtype, and every derivative must agree with finite differences.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from autograd import Tensor
from autograd.dispatch import implementations
from autograd.testing import check_op


@dataclass(frozen=True)
class Row:
    name: str
    call: Callable
    shapes: tuple[tuple[int, ...], ...]
    low: float = -2.0
    high: float = 2.0
    kinks: tuple[float, ...] = ()  # inputs are kept away from these values
    distinct: bool = False  # ... and from each other
    order: int = 2

    def draw(self):
        """Float64 inputs, 0.05 or more away from kinks and, if distinct, from each other."""
        rng = np.random.default_rng([*map(ord, self.name), *map(len, self.shapes)])
        sizes = [math.prod(shape) for shape in self.shapes]
        values = rng.uniform(self.low, self.high, sum(sizes))
        if self.distinct:
            values = rng.permutation(np.linspace(self.low, self.high, max(2, sum(sizes))))
            values = values[: sum(sizes)]
        for kink in self.kinks:
            near = np.abs(values - kink) < 0.05
            values[near] = kink + 0.05 + 0.1 * rng.random(near.sum())
        parts = np.split(values, np.cumsum(sizes)[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def __str__(self):
        return f"{self.name}-{'x'.join(map(str, self.shapes))}".replace(" ", "")


def row(name: str, call: Callable, *shapes: tuple[int, ...], **more) -> Row:
    return Row(name, call, shapes, **more)


def flat(result):
    """What a function gives, as a list of arrays or Tensors."""
    return list(result) if isinstance(result, (tuple, list)) else [result]


def check(row: Row) -> None:
    """The value on Tensors is NumPy's, and check_op finds nothing."""
    arrays = row.draw()
    for dtype in (np.float64, np.float32):
        inputs = [x.astype(dtype) for x in arrays]
        expected = row.call(*inputs)
        made = row.call(*(Tensor(x, requires_grad=True) for x in inputs))
        several = isinstance(expected, (tuple, list))
        assert isinstance(made, type(expected) if several else Tensor)
        assert len(flat(made)) == len(flat(expected))
        for a, b in zip(flat(made), flat(expected), strict=True):
            assert type(a) is Tensor and a.shape == np.shape(b)
            assert a.dtype == np.asarray(b).dtype
            tight = {"rtol": 1e-10, "atol": 1e-12} if dtype is np.float64 else {"rtol": 1e-4,
                                                                              "atol": 1e-4}
            np.testing.assert_allclose(a.data, b, **tight)
    check_op(row.call, *arrays, order=row.order)


def each_name(rows: list[Row]):
    """One test for each function, with all its rows."""
    names = sorted({row.name for row in rows})
    groups = [[row for row in rows if row.name == name] for name in names]
    return pytest.mark.parametrize("rows", groups, ids=names)


def entered(module: str) -> set[str]:
    """The names of NumPy's functions that a module of autograd computes on Tensors."""
    return {
        function.split(".")[-1] if isinstance(function, str) else function.__name__
        for function, found in implementations.items()
        if getattr(found, "__module__", "") == module
    }
