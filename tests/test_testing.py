"""The tester tested: what autograd.testing draws, and which wrong ops its tests catch."""

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

import autograd as ag
from autograd import Tensor, op, testing
from autograd.testing import arrays, axes, broadcastable, check_op, indices, programs

pytestmark = pytest.mark.usefixtures("registry")


# ---------------------------------------------------------------- wrong ops


def twice(x, wrong=lambda x: 1.0):
    """x * x, with a factor that may be wrong in its gradient."""

    @op
    def sawtooth(x):
        return x * x, (lambda g: g * 2 * x * wrong(x),)

    return sawtooth(x)


def everywhere(x):
    return twice(x, lambda x: 1.001)


def in_one_entry(x):
    def wrong(x):
        factor = np.ones(x.shape)
        factor[(-1,) * x.ndim] = 1.001
        return factor.astype(x.dtype)

    return twice(x, lambda x: wrong(x) if x.size > 1 else 1.0)


def in_float32(x):
    return twice(x, lambda x: 1.001 if x.dtype == np.float32 else 1.0)


def at_order_2(x):
    return twice(x, lambda x: 1.0) * 0.999 + 0.001 * x * 2 * x.data - 0.001 * Tensor(x.data**2)


def into_float64(x):
    return twice(x, lambda x: np.float64(1.0)) * np.ones(1)


@op(reference=lambda x: (x * x, (lambda g: g * 2 * x,)))
def by_its_layout(x):
    return x * x, (lambda g: g * 2 * x.ravel(order="K").reshape(x.shape),)


@op
def by_writing(x):
    def vjp(g):
        g *= 2 * x
        return g

    return x * x, (vjp,)


@op
def when_broadcast(x, y):
    def vjp_y(g):
        return g * x * (1.001 if x.shape != y.shape else 1.0)

    return x * y, (lambda g: g * y, vjp_y)


@op(reference=lambda x, index: (x[index], (lambda g: ag.scatter(g, index, x.shape),)))
def for_repeated_indices(x, index):
    def vjp(g):
        gx = np.zeros(x.shape, x.dtype)
        gx[index] = g  # the last one wins
        return gx

    return x[index], (vjp,)


@op
def for_axis_0_of_squares(x, axis=None, keepdims=False):
    def vjp(g):
        if axis == 0 and x.ndim == 2 and x.shape[0] == x.shape[1]:
            return np.broadcast_to(np.expand_dims(g, 1), x.shape)
        return np.broadcast_to(np.expand_dims(g, axis) if axis is not None else g, x.shape)

    return x.sum(axis=axis), (vjp,)


def test_of(fn):
    """The ten lines of the README for an op of one array."""

    @given(arrays())
    def test(x):
        check_op(fn, x)

    return test


def test_of_two(fn):
    @given(broadcastable(2))
    def test(xs):
        check_op(fn, *xs)

    return test


def test_of_an_index(fn):
    @given(st.data())
    def test(data):
        x = data.draw(arrays((3, 2)))
        check_op(fn, x, index=data.draw(indices(x.shape)))

    return test


def test_of_an_axis(fn):
    @given(st.data())
    def test(data):
        x = data.draw(arrays())
        check_op(fn, x, axis=data.draw(axes(x.ndim)))

    return test


for maker in (test_of, test_of_two, test_of_an_index, test_of_an_axis):
    maker.__test__ = False

WRONG = [
    (test_of, everywhere, "order 1, argument 0"),
    (test_of, in_one_entry, "order 1, argument 0"),
    (test_of, in_float32, "gradient 0 in float32"),
    (test_of, at_order_2, "order 2, argument 0"),
    (test_of, into_float64, "turns float32 into float64"),
    (test_of, by_its_layout, "depends on the memory layout"),
    (test_of, by_writing, "read-only"),
    (test_of_two, when_broadcast, "order 1, argument 1"),
    (test_of_an_index, for_repeated_indices, "order 1, argument 0"),
    (test_of_an_axis, for_axis_0_of_squares, "order 1, argument 0"),
]


@pytest.mark.parametrize(("maker", "fn", "message"), WRONG, ids=[fn.__name__ for _, fn, _ in WRONG])
def test_wrong_ops_are_caught(maker, fn, message):
    test = settings(report_multiple_bugs=False, print_blob=False, max_examples=100)(maker(fn))
    with pytest.raises((AssertionError, TypeError, ValueError), match=message):
        test()


@pytest.mark.parametrize(
    ("maker", "fn"),
    [(test_of, twice), (test_of_two, ag.multiply), (test_of_an_axis, ag.sum)],
)
def test_right_ops_pass(maker, fn):
    maker(fn)()


def test_several_outputs_and_integers():
    check_op(ag.split, np.arange(4.0), indices_or_sections=2)
    with pytest.raises(TypeError, match="argument 0 has dtype int64"):
        check_op(ag.exp, np.arange(3))


def test_options_and_order_reach_the_op():
    check_op(ag.sum, np.ones((2, 3)), axis=1, keepdims=True)
    check_op(at_order_2, np.ones(2), order=1)
    with pytest.raises(AssertionError, match="order 2"):
        check_op(at_order_2, np.ones(2))


def test_shared_memory_is_named(monkeypatch):
    monkeypatch.setattr(Tensor, "backward", lambda out, g: [setattr(x, "grad", g) for x in seen])
    seen = []
    with pytest.raises(AssertionError, match="gradient 0 shares memory with its cotangent"):
        check_gradients_only = lambda x: seen.append(x) or x * 1  # noqa: E731
        testing._pull(check_gradients_only, [np.ones(2)])


# ---------------------------------------------------------------- strategies


def drawn(strategy, condition):
    """An example that meets a condition, or a failure."""
    return find(strategy, condition, settings=settings(max_examples=3000, database=None))


def test_arrays_keep_away():
    @given(arrays((4, 4), low=-1, high=1, away_from=[0.0, 0.5], gap=0.1))
    def away(x):
        assert x.dtype == np.float64 and x.shape == (4, 4)
        assert (np.abs(x) >= 0.1).all() and (np.abs(x - 0.5) >= 0.1).all()
        assert (np.abs(x) <= 1).all()

    away()

    @given(arrays((3, 3), distinct=True, gap=0.01))
    def distinct(x):
        assert (np.diff(np.sort(x.ravel())) >= 0.0099).all()

    distinct()


def test_arrays_reach_what_matters():
    drawn(arrays(), lambda x: x.shape == ())
    drawn(arrays(), lambda x: x.ndim == 3 and 0 in x.shape)
    drawn(arrays(), lambda x: x.ndim == 2 and x.shape[0] == x.shape[1] > 1)
    drawn(arrays((3,)), lambda x: x[0] == 0 and x[1] == 1)
    drawn(arrays((3,)), lambda x: x[0] == x[1])
    drawn(broadcastable(2), lambda xs: xs[0].ndim > xs[1].ndim > 0)
    drawn(broadcastable(2), lambda xs: xs[0].ndim == 2 and xs[0].shape[0] == 1 < xs[1].size)


def test_axes_reach_what_matters():
    for wanted in (None, 0, -1, (), (0, 2), (-1, 0)):
        drawn(axes(3), lambda axis, wanted=wanted: axis == wanted)
    assert drawn(axes(0), lambda axis: True) in (None, ())


@pytest.mark.parametrize(
    "wanted",
    [
        lambda i: isinstance(i, slice) and i.step and i.step < 0,
        lambda i: i is Ellipsis or (isinstance(i, tuple) and any(p is Ellipsis for p in i)),
        lambda i: isinstance(i, tuple) and any(p is None for p in i),
        lambda i: isinstance(i, np.ndarray) and i.dtype == bool and i.any() and not i.all(),
        lambda i: isinstance(i, np.ndarray) and i.dtype == int and len({*i.ravel()}) < i.size,
        lambda i: isinstance(i, np.ndarray) and i.ndim == 2 and (i < 0).any(),
        lambda i: isinstance(i, tuple) and sum(isinstance(p, np.ndarray) for p in i) == 2,
        lambda i: isinstance(i, tuple)
        and any(isinstance(p, slice) for p in i) and any(isinstance(p, np.ndarray) for p in i),
        lambda i: isinstance(i, (int, np.integer)),
    ],
)  # fmt: skip
def test_indices_reach_what_matters(wanted):
    drawn(indices((3, 2, 2)), wanted)


@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (1,), (2, 3)])
def test_indices_index(shape):
    @given(indices(shape))
    def index(i):
        np.zeros(shape)[i]

    index()


def test_programs_reach_what_matters():
    drawn(programs(), lambda p: any(len(s) == 3 and s[1] == s[2] for s in p.steps))  # f(x, x)
    drawn(programs(), lambda p: {s[0] for s in p.steps} >= {"softmax", "multiply"})
    used = lambda p: {i for _, *operands in p.steps for i in operands}  # noqa: E731
    drawn(programs(), lambda p: len(p.steps) > 4 and not {2, 3} <= used(p))  # unused steps
    drawn(programs(inputs=3), lambda p: p.inputs == 3 and {0, 1, 2} <= used(p))
