"""What Hypothesis looks for: shapes, axes, indices and graphs that nobody thought of."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import autograd as ag
from autograd import Tensor, check_gradients, grad
from autograd import testing as at

SMOOTH = ["sin", "cos", "tanh", "sigmoid", "exp", "expm1", "negative"]
KINKED = {"relu": [0.0], "abs": [0.0]}


# ---------------------------------------------------------------- ops


@given(st.sampled_from(SMOOTH), at.arrays())
def test_functions(name, x):
    at.check_op(getattr(ag, name), x)


@given(st.sampled_from(["log", "sqrt", "log1p"]), at.arrays(low=0.2, high=3.0))
def test_functions_of_positive_numbers(name, x):
    at.check_op(getattr(ag, name), x)


@given(st.sampled_from(sorted(KINKED)), st.data())
def test_functions_with_kinks(name, data):
    at.check_op(getattr(ag, name), data.draw(at.arrays(away_from=KINKED[name])))


@given(st.sampled_from(["add", "subtract", "multiply"]), at.broadcastable(2))
def test_arithmetic_broadcasts(name, xs):
    at.check_op(getattr(ag, name), *xs)


@given(at.broadcastable(2, low=0.3, high=2.0))
def test_quotients_and_powers_broadcast(xs):
    at.check_op(ag.divide, *xs)
    at.check_op(ag.power, *xs)


@given(st.data(), at.broadcastable(3))
def test_where_broadcasts(data, xs):
    condition, x, y = xs
    at.check_op(lambda x, y: ag.where(condition > 0, x, y), x, y)


@given(st.sampled_from(["maximum", "minimum"]), at.arrays((2, 3, 2), distinct=True), st.data())
def test_choices_broadcast(name, values, data):
    """Two arrays cut from one of distinct numbers, so that there are no ties."""
    x = values[0] if data.draw(st.booleans()) else values[0][:, :1]
    y = values[1] if data.draw(st.booleans()) else values[1][:1]
    at.check_op(getattr(ag, name), x, y)


@given(st.sampled_from(["sum", "mean", "var", "prod", "logsumexp"]), st.booleans(), st.data())
def test_reductions(name, keepdims, data):
    x = data.draw(at.arrays())
    axis = data.draw(at.axes(x.ndim))
    reduced = range(x.ndim) if axis is None else np.atleast_1d(axis).astype(int).tolist()
    assume(name in ("sum", "prod") or 0 not in [x.shape[i] for i in reduced])
    at.check_op(getattr(ag, name), x, axis=axis, keepdims=keepdims)


@given(st.sampled_from(["max", "min"]), st.booleans(), st.data())
def test_extremes(name, keepdims, data):
    x = data.draw(at.arrays(distinct=True))
    axis = data.draw(at.axes(x.ndim))
    assume(x.size)
    at.check_op(getattr(ag, name), x, axis=axis, keepdims=keepdims)


@given(st.sampled_from(["softmax", "log_softmax", "cumsum"]), st.data())
def test_along_an_axis(name, data):
    x = data.draw(at.arrays())
    assume(x.ndim and 0 not in x.shape)
    at.check_op(getattr(ag, name), x, axis=data.draw(st.integers(-x.ndim, x.ndim - 1)))


@given(st.data())
def test_products(data):
    """matmul with any batch axes that broadcast, and with 1-D operands."""
    m, n, p = (data.draw(st.integers(1, 3)) for _ in range(3))
    a, b = data.draw(at.broadcastable(2, max_dims=2, max_side=2))
    left = () if data.draw(st.booleans()) and not a.ndim else (m,)
    right = () if data.draw(st.booleans()) and not b.ndim else (p,)
    x = data.draw(at.arrays((*a.shape, *left, n)))
    y = data.draw(at.arrays((*b.shape, n, *right) if right else (n,)))
    at.check_op(ag.matmul, x, y)


@given(st.data())
def test_indexing(data):
    x = data.draw(at.arrays())
    index = data.draw(at.indices(x.shape))
    try:
        picked = x[index]
    except IndexError:
        assume(False)  # arrays in it that do not broadcast together
    at.check_op(ag.getitem, x, index=index)
    at.check_op(ag.scatter, np.ones_like(picked), index=index, shape=x.shape)


@given(st.data())
def test_scatter_is_the_adjoint_of_getitem(data):
    x = data.draw(at.arrays())
    index = data.draw(at.indices(x.shape))
    try:
        y = np.asarray(x[index])
    except IndexError:
        assume(False)
    g = np.random.default_rng(0).standard_normal(y.shape)
    back = ag.scatter(g, index, x.shape).data
    assert np.sum(g * y) == pytest.approx(np.sum(back * x), abs=1e-9)


@given(st.data(), at.arrays())
def test_shapes(data, x):
    order = data.draw(st.permutations(range(x.ndim)))
    at.check_op(lambda x: ag.transpose(x, [i - x.ndim for i in order]), x)
    at.check_op(lambda x: x.reshape(x.size, 1), x)
    at.check_op(lambda x: ag.concatenate([x, x * 2], axis=None), x)
    at.check_op(lambda x: ag.stack([x, x * 2], axis=-1), x)
    at.check_op(lambda x: ag.pad(x, 1) if x.ndim else x * 1, x)


@given(st.data(), st.integers(2, 3), st.sampled_from([(), (2,), (0,), (1, 3)]))
def test_norms(data, n, batch):
    x = data.draw(at.arrays((*batch, n)))
    weight, bias = (data.draw(at.arrays(st.sampled_from([(n,), (1,), ()]))) for _ in range(2))
    at.check_op(ag.layer_norm, x + 3 * np.arange(n), weight, bias)
    at.check_op(ag.norm, 3 + x, axis=data.draw(at.axes(x.ndim)))


# ---------------------------------------------------------------- graphs


class Scalar:
    """A reference engine: one number, its parents, and d self / d parent for each."""

    def __init__(self, value, parents=()):
        self.value, self.parents = value, parents

    def derivative(self, x):
        """The sum over all paths from x to here, by recursion. Obviously right, and slow."""
        if self is x:
            return 1.0
        return sum(slope * parent.derivative(x) for parent, slope in self.parents)


def _sigmoid(x):
    s = 1 / (1 + math.exp(-x.value))
    return Scalar(s, [(x, s * (1 - s))])


REFERENCE = {
    "add": lambda x, y: Scalar(x.value + y.value, [(x, 1.0), (y, 1.0)]),
    "subtract": lambda x, y: Scalar(x.value - y.value, [(x, 1.0), (y, -1.0)]),
    "multiply": lambda x, y: Scalar(x.value * y.value, [(x, y.value), (y, x.value)]),
    "negative": lambda x: Scalar(-x.value, [(x, -1.0)]),
    "sin": lambda x: Scalar(math.sin(x.value), [(x, math.cos(x.value))]),
    "tanh": lambda x: Scalar(math.tanh(x.value), [(x, 1 - math.tanh(x.value) ** 2)]),
    "sigmoid": _sigmoid,
}


@given(at.programs(inputs=3, elementwise=True), st.tuples(*[st.floats(-1, 1)] * 3))
def test_programs_equal_the_reference(program, numbers):
    leaves = [Tensor(x, requires_grad=True) for x in numbers]
    scalars = [Scalar(x) for x in numbers]
    expected = program(*scalars, functions=REFERENCE)
    y = program(*leaves)
    assert y.item() == pytest.approx(expected.value, rel=1e-9, abs=1e-9)
    y.backward()
    for leaf, scalar in zip(leaves, scalars, strict=True):
        got = 0.0 if leaf.grad is None else leaf.grad.item()
        assert got == pytest.approx(expected.derivative(scalar), rel=1e-9, abs=1e-9)


@given(at.programs(), at.broadcastable(2, max_dims=2, low=-1, high=1))
def test_programs_equal_finite_differences(program, xs):
    assume(all(x.ndim and x.size for x in xs))
    check_gradients(program, *xs)


@given(at.programs(max_steps=5), at.programs(max_steps=5), at.arrays((2, 3), low=-1, high=1))
def test_composition(f, h, x):
    """The gradient of f(h(x)) is that of f at h(x), pulled through h."""
    whole = Tensor(x, requires_grad=True)
    inner = h(whole, whole)
    y = f(inner, whole)
    g = np.random.default_rng(0).standard_normal(y.shape)
    (expected,) = grad(y, whole, g, create_graph=True)
    middle, outer = Tensor(inner.data, requires_grad=True), Tensor(x, requires_grad=True)
    g_middle, g_outer = grad(f(middle, outer), [middle, outer], g)
    (pulled,) = grad(h(outer, outer), outer, g_middle)
    np.testing.assert_allclose(g_outer.data + pulled.data, expected.data, rtol=1e-9, atol=1e-12)


@given(at.programs(inputs=3), st.tuples(*[st.booleans()] * 3), at.arrays((3, 2, 2), -1, 1))
def test_partially_required_gradients(program, required, xs):
    """Constants and detached inputs change no other input's gradient."""
    everything = [Tensor(x, requires_grad=True) for x in xs]
    y = program(*everything)
    g = np.random.default_rng(0).standard_normal(y.shape)
    y.backward(g)
    some = [Tensor(x, requires_grad=r) for x, r in zip(xs, required, strict=True)]
    y = program(*some)
    if y.requires_grad:
        y.backward(g)
        for a, b in zip(some, everything, strict=True):
            if a.requires_grad and b.grad is not None:
                np.testing.assert_array_equal(a.grad, b.grad)
    assert all(t.grad is None for t, r in zip(some, required, strict=True) if not r)


@given(at.programs(max_steps=6), at.arrays((2, 2), low=-1, high=1))
def test_batches_are_permuted_with_their_gradients(program, x):
    """Stacked copies of a computation do not mix: rows in, rows out."""

    def run(order):
        leaf = Tensor(x[order][:, None], requires_grad=True)  # each row a batch of its own
        out = ag.concatenate([program(leaf[[i]][0], leaf[[i]][0] * 2) for i in range(2)])
        out.backward(np.ones(out.shape))
        return leaf.grad[np.argsort(order)]

    np.testing.assert_allclose(run([0, 1]), run([1, 0]), rtol=1e-12)
