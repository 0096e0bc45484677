"""One record per op: everything its properties need. test_ops.py draws them all from here.

A record says how to call the op, what NumPy says its value is (the oracle, written without our
code), from where its inputs are drawn, and a list of cases: shapes of the differentiable
arguments and the options that go with them. A new op needs a record, and gets every property.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import autograd as ag
import nn
from nn import functional as F


@dataclass(frozen=True, eq=False)
class Case:
    shapes: tuple[tuple[int, ...], ...]
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self):
        options = ",".join(
            f"{k}={v.shape if isinstance(v, np.ndarray) else v}" for k, v in self.options.items()
        )
        return f"{'x'.join(map(str, self.shapes))} {options}".replace(" ", "")


@dataclass(frozen=True, eq=False)
class Record:
    name: str
    oracle: Callable
    cases: list[Case]
    call: Callable | None = None  # the op itself unless its arguments are not plain arrays
    low: float = -2.0
    high: float = 2.0
    analytic: bool = True  # the oracle takes complex numbers: the complex step is exact
    order: int = 3  # derivatives that exist and are checked
    kinks: tuple[float, ...] = ()  # inputs are kept away from these values
    distinct: bool = False  # ... and from each other
    large: float | None = 1e4  # inputs of +- this size give finite results

    @property
    def fn(self) -> Callable:
        return self.call or getattr(ag, self.name, None) or getattr(F, self.name)

    def draw(self, case: Case, seed: int = 0) -> list[np.ndarray]:
        """Float64 inputs for a case, 0.05 or more away from kinks and, if distinct, each other."""
        return [x.copy() for x in self._drawn(case, seed)]

    @functools.cache  # noqa: B019  # records live as long as the tests, which draw often
    def _drawn(self, case, seed):
        rng = np.random.default_rng([seed, *map(ord, self.name)])
        total = sum(math.prod(shape) for shape in case.shapes)
        if self.distinct:
            values = np.linspace(self.low, self.high, max(total, 2))[:total]
            values = rng.permutation(values + 0.01 * rng.random(total))
        else:
            values = rng.uniform(self.low, self.high, total)
        for kink in self.kinks:
            near = np.abs(values - kink) < 0.05
            values[near] = kink + 0.05 + 0.1 * rng.random(near.sum())
        parts = np.split(values, np.cumsum([math.prod(s) for s in case.shapes])[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, case.shapes, strict=True)]


def cases(*shapes, **options):
    """One case: the shapes of the differentiable arguments, and options."""
    return Case(tuple(shapes), options)


UNARY = [cases(s) for s in [(3, 4), (), (1,), (0, 3), (2, 1, 3)]]
BINARY = [
    cases(*s)
    for s in [
        ((3, 4), (3, 4)), ((3, 4), (4,)), ((4,), (3, 4)), ((3, 1), (1, 4)), ((), (2, 3)),
        ((2, 3), ()), ((1,), (2, 3)), ((0, 3), (3,)), ((1,), (0,)), ((), ()), ((2, 1, 3), (4, 1)),
    ]
]  # fmt: skip
REDUCED = [
    cases(s, axis=axis, keepdims=keepdims)
    for s, axis in [
        ((2, 3, 4), None), ((2, 3, 4), 1), ((2, 3, 4), -1), ((2, 3, 4), (0, 2)),
        ((2, 3, 4), (-1, 0)), ((3, 3), 0), ((3, 3), 1), ((1, 3), 0), ((3, 1), 0), ((0, 3), 1),
        ((5,), None), ((), None), ((2, 3), ()),
    ]
    for keepdims in (False, True)
] + [cases((2, 3)), cases((2, 3), axis=0), cases((3, 1, 2), keepdims=True)]  # fmt: skip
AXIS = [cases((2, 3)), cases((2, 3, 4))] + [
    cases(s, axis=axis)
    for s, axis in [
        ((3, 4), -1), ((3, 4), 0), ((3, 3), 0), ((3, 3), 1), ((2, 3, 4), 1), ((2, 3, 4), -2),
        ((2, 1, 3, 2), -2), ((5,), 0), ((1,), 0), ((0, 3), 1), ((3, 1), 1),
    ]
]  # fmt: skip


def c_var(x, axis=None, ddof=0, keepdims=False):
    n = np.sum(np.ones(x.shape), axis=axis, keepdims=True)
    m = np.sum(x, axis=axis, keepdims=True) / n
    total = np.sum((x - m) ** 2, axis=axis, keepdims=keepdims)
    return total / (n.reshape(total.shape) - ddof)


def c_softmax(x, axis=-1):
    return np.exp(x) / np.sum(np.exp(x), axis=axis, keepdims=True)


def c_layer_norm(x, weight=1.0, bias=0.0, eps=1e-5):
    m = np.mean(x, axis=-1, keepdims=True)
    v = np.mean((x - m) ** 2, axis=-1, keepdims=True)
    return (x - m) * (v + eps) ** -0.5 * weight + bias


def c_attention(q, k, v, mask=None, causal=False, dropout_mask=None, scale=None):
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    scores = np.einsum("...td,...sd->...ts", q, k) * scale
    allowed = np.ones(scores.shape, dtype=bool)
    if mask is not None:
        allowed = allowed & mask
    if causal:
        T, S = scores.shape[-2:]
        allowed = allowed & (np.arange(S)[None, :] <= np.arange(T)[:, None] + S - T)
    e = np.where(allowed, np.exp(scores), 0)
    total = np.sum(e, axis=-1, keepdims=True)
    p = e / np.where(total == 0, 1, total)
    if dropout_mask is not None:
        p = p * dropout_mask
    return np.einsum("...ts,...sd->...td", p, v)


def c_grouped_attention(q, k, v, scale=None):
    n = q.shape[-2] // k.shape[-2]
    q, k, v = (np.swapaxes(x, -3, -2) for x in (q, *(np.repeat(x, n, axis=-2) for x in (k, v))))
    return np.swapaxes(c_attention(q, k, v, causal=True, scale=scale), -3, -2)


def c_rotary(x, cos, sin):
    matrix = np.array([[cos, -sin], [sin, cos]])  # (2, 2, ..., D/2)
    pairs = np.stack(np.split(x, 2, axis=-1))  # (2, ..., D/2)
    return np.concatenate([*np.einsum("ij...,j...->i...", matrix, pairs)], axis=-1)


def c_cross_entropy(logits, targets, ignore_index=-100):
    losses = [
        np.log(np.sum(np.exp(logits[i]))) - logits[i][targets[i]]
        for i in np.ndindex(targets.shape)
        if targets[i] != ignore_index
    ]
    return np.sum(losses) / max(len(losses), 1)


def c_causal_attention(qkv, n_head, dropout_mask=None, scale=None):
    *lead, T, width = qkv.shape
    C = width // 3
    q, k, v = (
        np.swapaxes(qkv[..., i * C : (i + 1) * C].reshape((*lead, T, n_head, C // n_head)), -2, -3)
        for i in range(3)
    )
    y = c_attention(q, k, v, causal=True, dropout_mask=dropout_mask, scale=scale)
    return np.swapaxes(y, -2, -3).reshape((*lead, T, C))


def c_gelu(x, approximate="tanh"):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def c_scatter(x, index, shape):
    y = np.zeros(shape, np.asarray(x).dtype)
    np.add.at(y, index, x)
    return y


def c_prod(x, axis=None, keepdims=False):
    return np.prod(x, axis=axis, keepdims=keepdims)


erf_of_each = np.vectorize(math.erf, otypes=[float])

# Everything NumPy can index with: shape of x, index.
INDICES = [
    ((5,), 2), ((5,), -1), ((5,), slice(1, 4)), ((5,), slice(None, None, -2)), ((5,), slice(3, 3)),
    ((3, 4), (1, 2)), ((3, 4), (slice(None), -1)), ((3, 4), (Ellipsis, 0)), ((3, 4), None),
    ((3, 4), (None, slice(None), None, 1)), ((3, 4), (slice(2, 0, -1), slice(0, 4, 3))),
    ((3, 4), Ellipsis), ((3, 4), ()), ((), ()), ((), None), ((), Ellipsis),
    ((5,), [0, 0, 3]), ((5,), []), ((5,), np.array([4, -1, -1, 0])),
    ((5,), np.array([[0, 1], [1, 0]])),
    ((5,), np.array([], dtype=int)), ((4, 3), np.array([1, 1, 3, -3])), ((4, 3), [2, 2]),
    ((3, 4), (np.array([0, 0, 2]), np.array([1, 1, -1]))),
    ((3, 4), (np.array([[0], [2]]), np.array([3, 3]))),
    ((3, 4), (slice(None), np.array([0, 0, 1]))), ((3, 3), (slice(None), np.array([0, 0, 1]))),
    ((3, 4), (np.array([1, 1]), slice(1, 3))),
    ((2, 3, 4), (np.array([0, 0]), slice(None), np.array([2, 2]))),
    ((2, 3, 4), (Ellipsis, np.array([3, 3, 0]))), ((2, 3, 4), (0, slice(None), np.array([1, 1]))),
    ((2, 3, 4), (np.array([1, 1]), None, slice(None, None, 2), 0)),
    ((3, 4), np.arange(12).reshape(3, 4) % 3 == 0), ((3, 4), np.array([True, False, True])),
    ((3, 4), (np.array([True, False, True]), np.array([0, 0]))),
    ((3, 4), (slice(None), np.array([True, False, True, True]))), ((3, 4), np.zeros((3, 4), bool)),
    ((3,), True), ((2, 3), np.array(1)), ((2, 3), (np.int64(1), 0)),
]  # fmt: skip


def record(name, oracle, case_list, **more):
    return Record(name, oracle, case_list, **more)


def _where(x, y, condition):
    return ag.where(condition, x, y)


PAIRS = [cases(s, s) for s in [(3, 4), (), (1,), (2, 1, 3)]]
POOLS = [cases((2, 4, 6), size=2), cases((1, 2, 5, 4), size=2), cases((3, 3), size=1)]


def c_huber(x, target, delta=1.0):
    d = np.abs(x - target)
    return np.mean(np.where(d <= delta, d * d / 2, delta * (d - delta / 2)))


def c_conv2d(x, weight, bias=0.0, stride=1, padding=0):
    (h, w), edge = weight.shape[2:], (padding, padding)
    x = np.pad(x, [(0, 0), (0, 0), edge, edge])
    rows, columns = (range(0, n - k + 1, stride) for n, k in zip(x.shape[2:], (h, w), strict=True))
    y = [[np.tensordot(x[:, :, i : i + h, j : j + w], weight, [(1, 2, 3)] * 2) for j in columns]
         for i in rows]  # fmt: skip
    return np.moveaxis(np.array(y) + bias, (2, 3), (0, 1))


def c_pool(x, size, f):
    H, W = (n // size for n in x.shape[-2:])
    x = x[..., : H * size, : W * size].reshape(*x.shape[:-2], H, size, W, size)
    return f(x, axis=(-3, -1))


MASK = np.array([[True, False, True], [False, False, False], [True, True, True]])
ZEROS = (np.arange(24).reshape(2, 3, 4) % 5 > 0).astype(float)  # none, one or two along an axis
ANGLES = np.array([[0.0, 0.5], [1.0, -2.0], [3.0, 4.0]])
KEPT = np.array([[2.0, 0, 2], [0, 2, 2], [2, 2, 0]])

_ALL = [
    # arithmetic
    record("add", np.add, BINARY),
    record("subtract", np.subtract, BINARY),
    record("multiply", np.multiply, BINARY),
    record("divide", np.divide, BINARY, low=0.5),
    record("negative", np.negative, UNARY),
    record("power", np.power, BINARY, low=0.3, large=None),
    # functions
    record("exp", np.exp, UNARY, large=50.0),
    record("expm1", np.expm1, UNARY, large=50.0),
    record("log", np.log, UNARY, low=0.3, large=None),
    record("log1p", np.log1p, UNARY, low=-0.7, large=None),
    record("sqrt", np.sqrt, UNARY, low=0.3, large=None),
    record("sin", np.sin, UNARY),
    record("cos", np.cos, UNARY),
    record("tanh", np.tanh, UNARY),
    record("sigmoid", lambda x: 1 / (1 + np.exp(-x)), UNARY),
    record("relu", lambda x: np.where(x > 0, x, 0), UNARY, analytic=False, kinks=(0.0,)),
    record("abs", np.abs, UNARY, analytic=False, kinks=(0.0,)),
    # choices
    record("maximum", np.maximum, BINARY, analytic=False, distinct=True),
    record("minimum", np.minimum, BINARY, analytic=False, distinct=True),
    record(
        "clip",
        lambda x, a_min, a_max: np.clip(x, a_min, a_max),
        [cases(s, a_min=lo, a_max=hi)
         for s in [(3, 4), (), (0, 3)] for lo, hi in [(-1.0, 1.0), (None, 0.5), (-0.5, None)]],
        analytic=False,
        kinks=(-1.0, -0.5, 0.5, 1.0),
    ),
    record(
        "where",
        lambda x, y, condition: np.where(condition, x, y),
        [
            cases((2, 3), (2, 3), condition=MASK[:2]),
            cases((3,), (2, 1), condition=np.array([True, False, True])),
            cases((), (3, 3), condition=MASK),
            cases((3,), (3,), condition=True),
        ],
        call=_where,
    ),
    record("astype", lambda x, dtype: x.astype(np.result_type(x, dtype)),
           [cases(s, dtype=np.float64) for s in [(3, 4), (), (0, 3)]]),
    # reductions
    record("sum", np.sum, [*REDUCED, cases((0, 3), axis=0)]),
    record("mean", np.mean, REDUCED),
    record("var", c_var, [*REDUCED, cases((4, 3), axis=0, ddof=1), cases((3, 3), ddof=2)]),
    record(
        "std",
        lambda x, **options: np.sqrt(c_var(x, **options)),
        [
            cases(s, axis=axis, keepdims=keepdims, ddof=ddof)
            for s, axis in [((3, 4), None), ((3, 4), 0), ((3, 3), 0), ((2, 3, 4), (0, -1))]
            for keepdims in (False, True)
            for ddof in (0, 1)
        ]
        + [cases((3, 4)), cases((3, 4), axis=1)],
    ),
    record("max", np.max, REDUCED, analytic=False, distinct=True),
    record("min", np.min, REDUCED, analytic=False, distinct=True),
    record("prod", c_prod, [*REDUCED, cases((0, 3), axis=0)], large=None),
    record("cumsum", np.cumsum, [*AXIS, cases((2, 3)), cases((4,)), cases(())]),
    record(
        "norm",
        lambda x, axis=None, keepdims=False: np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims)),
        REDUCED,
        low=0.3,
    ),
    record(
        "logsumexp",
        lambda x, axis=None, keepdims=False: np.log(
            np.sum(np.exp(x), axis=axis, keepdims=keepdims)
        ),
        REDUCED,
    ),
    # normalizations
    record("softmax", c_softmax, AXIS),
    record("log_softmax", lambda x, axis=-1: np.log(c_softmax(x, axis)), AXIS),
    record(
        "layer_norm",
        c_layer_norm,
        [
            cases((3, 4)),
            cases((2, 3, 4), (4,)),
            cases((2, 3, 4), (4,), (4,)),
            cases((4,), (4,), (4,)),
            cases((3, 3), (3,), (3,), eps=0.1),
            cases((0, 3), (3,), (3,)),
        ],
    ),
    # products
    record(
        "matmul",
        np.matmul,
        [
            cases(*s)
            for s in [
                ((3,), (3,)), ((3,), (3, 4)), ((2, 3), (3,)), ((2, 3), (3, 4)), ((3, 3), (3, 3)),
                ((3,), (2, 3, 4)), ((2, 4, 3), (3,)), ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)),
                ((5, 2, 3), (5, 3, 4)), ((5, 1, 2, 3), (4, 3, 2)), ((1, 2, 3), (5, 3, 2)),
                ((2, 0), (0, 3)), ((0, 2), (2, 3)), ((1, 1), (1, 1)), ((2, 3, 0), (0, 2)),
            ]
        ],
    ),
    # shapes
    record(
        "reshape", lambda x, shape: np.reshape(x, shape),
        [cases((2, 6), shape=(3, 4)), cases((2, 6), shape=-1), cases((2, 6), shape=(3, -1, 2)),
         cases((), shape=(1, 1)), cases((1,), shape=()), cases((0, 3), shape=(3, 0))],
    ),
    record(
        "transpose", np.transpose,
        [cases((2, 3)), cases((3, 3)), cases((2, 3, 4), axes=(1, 2, 0)),
         cases((2, 3, 4), axes=(-1, 0, 1)), cases(()), cases((0, 3)), cases((4,))],
    ),
    record(
        "swapaxes", np.swapaxes,
        [cases((2, 3, 4), axis1=0, axis2=-1), cases((3, 3), axis1=0, axis2=1),
         cases((2, 0), axis1=-1, axis2=-2)],
    ),
    record(
        "expand_dims", np.expand_dims,
        [cases((2, 3), axis=a) for a in (0, 1, -1, (0, 2), (-1, 0))] + [cases((), axis=0)],
    ),
    record(
        "squeeze", np.squeeze,
        [cases((1, 3, 1)), cases((1, 3, 1), axis=0), cases((1, 3, 1), axis=-1),
         cases((1, 3, 1), axis=(0, 2)), cases((1,)), cases((1, 0))],
    ),
    record(
        "broadcast_to", np.broadcast_to,
        [cases((3,), shape=(2, 3)), cases((2, 1), shape=(4, 2, 3)), cases((), shape=(2, 2)),
         cases((2, 3), shape=(2, 3)), cases((1, 3), shape=(0, 3))],
    ),
    record(
        "concatenate", lambda *xs, axis=0: np.concatenate(xs, axis=axis),
        [cases((2, 3), (1, 3), axis=0), cases((2, 3), (2, 1), (2, 2), axis=-1),
         cases((3,), axis=0), cases((2, 3), (4,), axis=None), cases((0, 3), (2, 3), axis=0),
         cases((3, 3), (3, 3), axis=1)],
        call=lambda *xs, **options: ag.concatenate(xs, **options),
    ),
    record(
        "stack", lambda *xs, axis=0: np.stack(xs, axis=axis),
        [cases((2, 3), (2, 3), axis=a) for a in (0, 1, -1)]
        + [cases((), (), ()), cases((3,)), cases((2, 3), (2, 3)), cases((2, 2), (2, 2))],
        call=lambda *xs, **options: ag.stack(xs, **options),
    ),
    record(
        "split",
        lambda x, parts, pick, axis=0: np.split(x, parts, axis=axis)[pick],
        [cases((4, 3), parts=2, axis=0, pick=1), cases((2, 6), parts=3, axis=-1, pick=0),
         cases((5, 2), parts=[1, 3], axis=0, pick=1), cases((5, 2), parts=[1, 3], axis=0, pick=2),
         cases((3, 3), parts=[3], axis=1, pick=1), cases((2, 4), parts=2, pick=1)],
        call=lambda x, parts, pick, axis=0: ag.split(x, parts, axis=axis)[pick]
        if axis else ag.split(x, parts)[pick],
    ),
    record(
        "pad",
        lambda x, pad_width, constant_values=0: np.pad(
            x, pad_width, constant_values=constant_values),
        [cases((2, 3), pad_width=1), cases((2, 3), pad_width=(0, 2)),
         cases((2, 3), pad_width=((1, 0), (2, 3)), constant_values=7.0),
         cases((0, 2), pad_width=1)],
    ),
    # indexing
    record("getitem", lambda x, index: x[index], [cases(s, index=i) for s, i in INDICES]),
    record(
        "scatter", c_scatter,
        [cases(np.zeros(s)[i].shape, index=i, shape=s) for s, i in INDICES]
        + [cases((), index=[1, 1, 2], shape=(4,)), cases((3,), index=[0, 0], shape=(2, 3)),
           cases((2,), index=[0, 0], shape=(3, 2)), cases((2,), index=[0, 0], shape=(3, 2, 2))],
    ),
    record(
        "take", np.take,
        [cases((3, 4), indices=np.array([0, 0, 11])), cases((3, 4), indices=[2, 2, -1], axis=0),
         cases((3, 3), indices=[[0, 1], [1, 1]], axis=1), cases((3, 4), indices=1, axis=-1)],
    ),
    record(
        "take_along_axis",
        lambda x, indices, axis=-1: np.take_along_axis(x, indices, axis),
        [cases((3, 4), indices=np.array([[0, 0], [3, 1], [-1, -1]]), axis=1),
         cases((3, 3), indices=np.array([[0, 0, 2]]), axis=0),
         cases((2, 3), indices=np.array([5, 5, 0]), axis=None),
         cases((2, 3, 2), indices=np.zeros((2, 1, 2), int), axis=-2),
         cases((2, 2, 3), indices=np.array([[[0, 2]], [[1, 1]]]))],
    ),
    # nn.functional
    record(
        "linear", lambda x, weight, bias=0.0: np.matmul(x, weight) + bias,
        [cases((2, 3), (3, 4), (4,)), cases((2, 5, 3), (3, 3), (3,)), cases((3,), (3, 2)),
         cases((0, 3), (3, 2), (2,)), cases((3, 3), (3, 3))],
    ),
    record(
        "embedding", lambda weight, ids: weight[ids],
        [cases((5, 3), ids=np.array([[0, 4], [4, 4]])), cases((5, 3), ids=2),
         cases((5, 3), ids=np.zeros((0,), int))],
    ),
    record("gelu", c_gelu, UNARY),
    record("erf", erf_of_each, UNARY, analytic=False),
    record(
        "attention", c_attention,
        [cases((2, 3, 4), (2, 3, 4), (2, 3, 2), causal=True), cases((3, 4), (3, 4), (3, 4)),
         cases((3, 4), (3, 4), (3, 4), mask=MASK), cases((2, 4), (3, 4), (3, 4), causal=True),
         cases((2, 2, 3, 2), (2, 2, 3, 2), (2, 2, 3, 2), mask=MASK, causal=True),
         cases((2, 3, 4), (2, 3, 4), (2, 3, 4), dropout_mask=KEPT),
         cases((3, 4), (3, 4), (3, 4), scale=0.3), cases((2, 3, 2), (1, 3, 2), (3, 2)),
         cases((0, 3, 2), (0, 3, 2), (0, 3, 2))],
        large=100.0,
    ),
    record(
        "cross_entropy", c_cross_entropy,
        [cases((3, 4), targets=np.array([0, 3, 3])), cases((4,), targets=np.array(2)),
         cases((2, 3, 4), targets=np.array([[0, 1, 2], [3, 3, 0]]), ignore_index=3),
         cases((3, 3), targets=np.array([1, 1, 1]), ignore_index=1),
         cases((2, 1), targets=np.array([0, -100]))],
    ),
    record(
        "causal_attention", c_causal_attention,
        [cases((2, 3, 6), n_head=1), cases((2, 5, 12), n_head=2), cases((3, 5, 6), n_head=2),
         cases((4, 6), n_head=1, scale=0.3), cases((1, 3), n_head=1),
         cases((2, 2, 3, 6), n_head=2), cases((0, 3, 6), n_head=2),
         cases((3, 6), n_head=1, dropout_mask=KEPT[None]),
         cases((2, 3, 6), n_head=2, dropout_mask=np.array([[KEPT, KEPT.T], [KEPT[::-1], KEPT]]))],
        large=100.0,
    ),
    record(
        "grouped_attention", c_grouped_attention,
        [cases((3, 4, 2), (3, 2, 2), (3, 2, 2)), cases((2, 3, 2, 2), (2, 3, 1, 2), (2, 3, 1, 2)),
         cases((3, 2, 2), (3, 2, 2), (3, 2, 2), scale=0.3), cases((1, 3, 1), (1, 1, 1), (1, 1, 1)),
         cases((2, 2, 2, 4, 2), (2, 2, 2, 2, 2), (2, 2, 2, 2, 2)),
         cases((0, 3, 2, 2), (0, 3, 1, 2), (0, 3, 1, 2))],
        large=100.0,
    ),
    record(
        "rms_norm", lambda x, weight, eps=1e-5: x * weight * (
            np.sum(x * x, axis=-1, keepdims=True) / max(1, x.shape[-1]) + eps) ** -0.5,
        [cases((3, 4), (4,)), cases((4,), (4,)), cases((2, 3, 2), (2,), eps=0.1),
         cases((2, 1), (1,)), cases((0, 3), (3,)), cases((2, 0), (0,))],
    ),
    record(
        "rotary", c_rotary,
        [cases((3, 4), cos=np.cos(ANGLES), sin=np.sin(ANGLES)),
         cases((2, 3, 1, 4), cos=np.cos(ANGLES)[:, None], sin=np.sin(ANGLES)[:, None]),
         cases((2,), cos=np.array([0.6]), sin=np.array([0.8])),
         cases((0, 3, 4), cos=np.cos(ANGLES), sin=np.sin(ANGLES))],
    ),
    record("swiglu", lambda gate, up: gate / (1 + np.exp(-gate)) * up, PAIRS),
    record(
        "linear_cross_entropy",
        lambda x, weight, targets, ignore_index=-100: c_cross_entropy(
            np.matmul(x, weight.T), targets, ignore_index),
        [cases((3, 2), (4, 2), targets=np.array([0, 3, 3])),
         cases((2,), (4, 2), targets=np.array(2)),
         cases((2, 3, 3), (3, 3), targets=np.array([[0, 1, 2], [2, 2, 0]]), ignore_index=2),
         cases((3, 3), (3, 3), targets=np.array([1, 1, 1]), ignore_index=1),
         cases((2, 3), (1, 3), targets=np.array([0, -100])),
         cases((0, 3), (2, 3), targets=np.zeros(0, int))],
    ),
    record(
        "dropout", lambda x, p: x * np.where(np.random.default_rng(5).random(
            x.shape, dtype=np.float32) < p, 0.0, 1 / (1 - p)),
        [cases((3, 4), p=0.5), cases((3, 4), p=0.0), cases((2, 0), p=0.1)],
        call=lambda x, p: F.dropout(x, p, np.random.default_rng(5)),
    ),
    record("softplus", lambda x: np.log1p(np.exp(x)), UNARY, large=None),
    record("silu", lambda x: x / (1 + np.exp(-x)), UNARY),
    record("mse_loss", lambda x, target: np.mean((x - target) ** 2), PAIRS),
    record("huber_loss", c_huber, [*PAIRS, cases((3, 4), (3, 4), delta=0.5)], analytic=False),
    record("binary_cross_entropy_with_logits", lambda x, target: np.mean(
        -target * np.log(1 / (1 + np.exp(-x))) - (1 - target) * np.log(1 / (1 + np.exp(x)))),
        PAIRS, low=0.1, high=0.9, large=None),
    record("conv2d", c_conv2d,
           [cases((2, 2, 4, 3), (3, 2, 2, 2)), cases((1, 1, 3, 3), (1, 1, 3, 3), (1,)),
            cases((2, 2, 4, 5), (2, 2, 2, 3), (2,), stride=2, padding=1)]),
    record("max_pool2d", lambda x, size: c_pool(x, size, np.max), POOLS, analytic=False,
           distinct=True),
    record("avg_pool2d", lambda x, size: c_pool(x, size, np.mean), POOLS),
]  # fmt: skip


class Gate(nn.Module):
    def __call__(self, x):
        return x * np.tanh(x)


def shared_loss(x):
    """What share_batch makes of two parts of a batch with the losses (x * x) and sin(x), summed."""
    x = x if isinstance(x, ag.Tensor) else ag.Tensor(x)
    losses, shares = ((x * x).sum(), np.sin(x).sum()), (0.25, 0.75)
    again = lambda: 0.25 * (x * x).sum() + 0.75 * np.sin(x).sum()  # noqa: E731
    return nn.transformer._shared_loss(x, trained=(x,), losses=losses, shares=shares, again=again)


# The same op on other terms: further records beside the one that carries its name.
_MORE = [
    record("prod with zeros", lambda x, **options: c_prod(x * ZEROS, **options),
           [cases((2, 3, 4), axis=axis, keepdims=keepdims) for keepdims in (False, True)
            for axis in (None, 0, 1, -1, (0, 2), (2, 1), (1, 0))],
           call=lambda x, **options: ag.prod(x * ZEROS.astype(x.dtype), **options), large=None),
    record("power", lambda x, y: x**y,
           [cases((3, 4), y=y) for y in (0, 1, 2, 3, -1, 0.5, 2.5, -2)],
           low=0.3, large=None),
    record("power", lambda x, y: x**y, [cases((3, 4), y=y) for y in (0, 1, 2, 3, 4)]),
    record("power", lambda y, x: x**y, [cases((3, 4), x=x) for x in (2, 0.5)],
           call=lambda y, x: ag.power(x, y), large=None),
    record("gelu", lambda x, approximate: 0.5 * x * (1 + erf_of_each(x / np.sqrt(2))),
           [cases((3, 4), approximate="none")], analytic=False),
    record("multiply", lambda x, y: x * y, [cases((3, 4), y=y) for y in (2, -0.5)]),
    record("divide", lambda y, x: x / y, [cases((3, 4), x=3)], low=0.5,
           call=lambda y, x: ag.divide(x, y)),
    record("checkpoint_activations", lambda x: x * np.tanh(x), UNARY,
           call=lambda x: nn.checkpoint_activations(Gate(), x)),
    record("share_batch", lambda x: 0.25 * (x * x).sum() + 0.75 * np.sin(x).sum(), UNARY,
           call=shared_loss),
]  # fmt: skip

RECORDS = {r.name: r for r in _ALL}
ROWS = [(r, case) for r in [*_ALL, *_MORE] for case in r.cases]
