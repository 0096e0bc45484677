"""What an op does where it has no derivative: at kinks, at ties, at the edge of its domain."""

import math
import warnings

import numpy as np
import pytest

import autograd as ag
from autograd import Tensor, check_gradients, grad
from autograd.functional import hessian
from nn import functional as F

INF, NAN = np.inf, np.nan


def gradients(fn, *arrays):
    leaves = [Tensor(np.asarray(x, float), requires_grad=True) for x in arrays]
    out = fn(*leaves)
    (out.sum() if out.ndim else out).backward()
    return [leaf.grad.tolist() for leaf in leaves]


TIES = [[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]
CONVENTIONS = {
    "relu at 0": (ag.relu, [[-1.0, 0.0, -0.0, 1.0]], [[0, 0, 0, 1]]),
    "abs at 0": (ag.abs, [[-1.0, 0.0, -0.0, 1.0]], [[-1, 0, 0, 1]]),
    "max at ties": (lambda x: x.max(axis=1), [TIES], [[[0, 0.5, 0.5], [1 / 3] * 3]]),
    "max of all": (ag.max, [TIES], [[[0, 0.5, 0.5], [0, 0, 0]]]),
    "min at ties": (lambda x: x.min(axis=0), [TIES], [[[1, 0, 0], [0, 1, 1]]]),
    "maximum at ties": (ag.maximum, [[1.0, 2.0, 3.0], [2.0, 2.0, 2.0]],
                        [[0, 0.5, 1], [1, 0.5, 0]]),
    "minimum at ties": (ag.minimum, [[1.0, 2.0, 3.0], [2.0, 2.0, 2.0]],
                        [[1, 0.5, 0], [0, 0.5, 1]]),
    "clip at its bounds": (lambda x: ag.clip(x, -1, 1), [[-2.0, -1, 0, 1, 2]], [[0, 1, 1, 1, 0]]),
    "norm at 0": (ag.norm, [[0.0, 0.0]], [[0, 0]]),
    "norm of one row at 0": (lambda x: ag.norm(x, axis=1), [[[0.0, 0], [3, 4]]],
                             [[[0, 0], [0.6, 0.8]]]),
    "std at 0": (ag.std, [[2.0, 2.0, 2.0]], [[0, 0, 0]]),
    "0 ** 0": (ag.power, [[0.0, 2.0], [0.0, 0.0]], [[0, 0], [0, np.log(2)]]),
    "0 ** 0, fixed": (lambda x: x**0, [[0.0, 2.0]], [[0, 0]]),
    "0 ** 2": (ag.power, [[0.0], [2.0]], [[0], [0]]),
    "prod with a zero": (ag.prod, [[2.0, 0.0, 3.0]], [[0, 6, 0]]),
    "prod with two zeros": (ag.prod, [[2.0, 0.0, 0.0]], [[0, 0, 0]]),
    "prod of zeros": (ag.prod, [[0.0, 0.0]], [[0, 0]]),
    "where, the branch not taken": (
        lambda x: ag.where(x > 0, x * 2, x * 3), [[-1.0, 1.0]], [[3, 2]]),
    "where, written safely": (
        lambda x: ag.where(x > 0, ag.sqrt(ag.where(x > 0, x, 1)), 0), [[-1.0, 0, 4]],
        [[0, 0, 0.25]]),
    "logsumexp of -inf": (ag.logsumexp, [[-INF, -INF]], [[0, 0]]),
    "logsumexp with one -inf": (ag.logsumexp, [[-INF, 1.0]], [[0, 1]]),
    "logsumexp with a maximum of 0": (
        ag.logsumexp, [[0.0, -1.0]], [[1 / (1 + np.exp(-1)), 1 / (1 + np.e)]]),
    "logsumexp with +inf keeps the others finite": (
        lambda x: ag.logsumexp(x, axis=1)[1], [[[INF, 0.0], [1.0, 1.0]]],
        [[[NAN, 0], [0.5, 0.5]]]),
    "softmax with one -inf": (lambda x: ag.softmax(x)[1], [[-INF, 1.0]], [[0, 0]]),
    "sum of nothing": (ag.sum, [np.zeros((0, 2))], [[]]),
    "prod of nothing": (lambda x: ag.prod(x, axis=0), [np.zeros((0, 2))], [[]]),
    "cross entropy of nothing": (
        lambda x: F.cross_entropy(x, [7, 7], ignore_index=7), [[[1.0, 2.0], [0.0, 0.0]]],
        [[[0, 0], [0, 0]]]),
    "a query that sees nothing": (
        lambda q: F.attention(q, Tensor(np.eye(2)), Tensor(np.eye(2)),
                              mask=np.array([[False, False], [True, False]])),
        [np.ones((2, 2))], [[[0, 0], [0, 0]]]),
}  # fmt: skip


@pytest.mark.parametrize("name", CONVENTIONS)
def test_convention(name):
    fn, arrays, expected = CONVENTIONS[name]
    with np.errstate(invalid="ignore" if "+inf" in name else "warn"):
        got = gradients(fn, *arrays)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-15)


def test_sqrt_at_0_is_inf_with_a_warning():
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        assert gradients(ag.sqrt, [0.0, 4.0]) == [[INF, 0.25]]


def test_log_of_a_negative_base_is_computed_only_for_exponents():
    assert gradients(lambda x: x**3.0, [-2.0]) == [[12.0]]
    assert gradients(lambda x: ag.power(x, np.array([3.0])), [-2.0]) == [[12.0]]
    with pytest.warns(RuntimeWarning, match="invalid value"):
        assert np.isnan(gradients(ag.power, [-2.0], [3.0])[1][0])


def test_where_lets_nan_through_that_was_made_before_it():
    """The documented leak: 0 times an infinite slope."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (g,) = gradients(lambda x: ag.where(x > 0, ag.sqrt(x), 0), [0.0])
    assert np.isnan(g[0])


def test_means_of_nothing_warn_as_numpy_does():
    for fn in (ag.mean, ag.var):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert np.isnan(fn(Tensor(np.zeros(0))).item())
        with pytest.warns(RuntimeWarning):
            np.mean(np.zeros(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y = ag.mean(x := Tensor(np.zeros((0, 3)), requires_grad=True))
    y.backward()  # there is nothing to give a gradient to, and no further warning
    assert x.grad.shape == (0, 3)
    x = Tensor(np.zeros((0, 3)), requires_grad=True)
    x.mean(axis=1).backward(np.zeros(0))  # no means, rather than means of nothing
    assert x.grad.shape == (0, 3)


def test_extremes_of_nothing_are_refused():
    for fn in (ag.max, ag.min):
        with pytest.raises(ValueError, match="zero-size array"):
            fn(Tensor(np.zeros(0)))
        assert fn(Tensor(np.zeros((0, 2))), axis=1).shape == (0,)


def test_second_derivative_of_a_product_with_zeros():
    x = Tensor([2.0, 0.0, 3.0, 0.0], requires_grad=True)
    (g,) = grad(ag.prod(x), x, create_graph=True)
    (h,) = grad(g[1], x)
    np.testing.assert_array_equal(h.data, [0, 0, 0, 6])


def test_second_derivative_of_a_power_at_exponent_0():
    """d2/dx dy x**y = x**(y - 1) (1 + y log x) is 1 / x there, not 0."""
    x, y = (Tensor([v], requires_grad=True) for v in (2.0, 0.0))
    (g,) = grad(x**y, x, np.ones(1), create_graph=True)
    assert grad(g, y, np.ones(1))[0].item() == 0.5


def test_variance_of_too_few_is_nan_with_a_warning():
    x = Tensor([1.0], requires_grad=True)
    with pytest.warns(RuntimeWarning):
        x.var(ddof=1).backward()
    assert np.isnan(x.grad).all()


def test_sigmoid_is_exact_far_out():
    assert ag.sigmoid(-100.0).item() == pytest.approx(np.exp(-100.0), rel=1e-12)
    assert ag.sigmoid(Tensor(np.float32(-70))).item() == pytest.approx(np.exp(-70.0), rel=1e-5)
    assert ag.sigmoid(-1e9).item() < 1e-300 and ag.sigmoid(1e9).item() == 1


@pytest.mark.parametrize(
    ("f", "x"),
    [(ag.norm, [0.0, 0.0]), (ag.std, [1.0, 1.0]), (lambda x: ag.sum(x ** np.zeros(2)), [0.0, 0.0]),
     (lambda x: ag.power(x[0], x[1]), [0.0, 0.0]), (lambda x: ag.sum(ag.relu(x)), [0.0, 0.0])],
)  # fmt: skip
def test_where_the_slope_is_0_by_convention_so_is_the_next(f, x):
    """Not that of the number which stands in for what would be divided by 0."""
    np.testing.assert_array_equal(hessian(f)(np.array(x)), np.zeros((2, 2)))


@pytest.mark.parametrize(
    "f",
    [ag.relu, ag.abs, lambda x: np.clip(x, 0, 1), lambda x: np.maximum(x, 0.5), ag.max, ag.min,
     lambda x: np.minimum(0.5, x), np.ptp, np.square, ag.sigmoid, ag.std, ag.norm, ag.tanh],
)  # fmt: skip
def test_nan_has_the_slope_nan_without_a_warning(f):
    for dtype in (np.float32, np.float64):
        x = Tensor(np.array([math.nan, 2.0, -1.0], dtype), requires_grad=True)
        y = f(x)
        y.backward(np.ones(y.shape, dtype))
        assert np.isnan(x.grad[0]) and x.grad.dtype == dtype
        assert np.isnan(x.grad).all() or np.isfinite(x.grad[1:]).all()


def test_both_arguments_have_the_slope_nan_where_one_is_nan():
    x, y = (Tensor([math.nan, 1.0, v], requires_grad=True) for v in (1.0, math.nan))
    np.maximum(x, y).backward(np.ones(3))
    np.testing.assert_array_equal(x.grad, [math.nan, 0.5, math.nan])
    np.testing.assert_array_equal(y.grad, [math.nan, 0.5, math.nan])


def test_clip_at_tensors():
    check_gradients(lambda x, y: np.clip(x, y, 1.0), [0.5, -1.0, 2.0], [0.0, 0.1, 0.2])
    check_gradients(lambda x, y: ag.clip(x, max=y), [0.5, -1.0, 2.0], [0.0, 0.1, 0.2])
    check_gradients(lambda x, y: np.clip(x, None, y), [0.5, -1.0, 2.0], [0.0, 0.1, 0.2])


def test_along_an_axis_of_size_0():
    for f, expected in ((ag.softmax, np.zeros((2, 0))), (ag.log_softmax, np.zeros((2, 0))),
                        (lambda x: ag.logsumexp(x, axis=1), np.full(2, -np.inf))):  # fmt: skip
        x = Tensor(np.zeros((2, 0)), requires_grad=True)
        y = f(x)
        np.testing.assert_array_equal(y.data, expected)
        y.backward(np.ones(y.shape))
        assert x.grad.shape == (2, 0)


def test_what_numpy_allows_at_the_edges():
    x = Tensor([1.0, 0.0], requires_grad=True)
    assert np.expand_dims(x, [0, 1]).shape == (1, 1, 2) and x.transpose(0).shape == (2,)
    assert np.take(x, []).shape == (0,) and np.prod(x[0], axis=0).item() == 1
    np.testing.assert_array_equal(np.where(x)[0], [0])
    assert (Tensor([True, False]) ** 2).dtype == (np.array([True]) ** 2).dtype
    with pytest.raises(ValueError, match="norm over 3 axes"):
        np.linalg.norm(Tensor(np.ones((2, 2, 2))), axis=(0, 1, 2))


def test_every_op_says_its_convention():
    """Where CONVENTIONS has an op, its docstring has the sentence."""
    for name, words in {
        "relu": "At 0 the derivative is 0", "abs": "At 0 the derivative is 0",
        "max": "Ties share", "min": "Ties share", "maximum": "At a tie each gets half",
        "minimum": "At a tie each gets half", "clip": "At a constant bound the derivative is 1",
        "norm": "At 0 all derivatives are 0", "std": "0 the derivatives of all orders are 0",
        "sqrt": "At 0 the derivative is inf", "power": "At 0 ** 0 both derivatives are 0",
        "where": "branch not taken is 0", "logsumexp": "all entries are -inf",
        "sum": "over no entries",
    }.items():  # fmt: skip
        assert words in getattr(ag, name).__doc__, name
    assert "may look nowhere gives 0, with gradient 0" in " ".join(F.attention.__doc__.split())
    assert "where none counts the mean is 0" in F.cross_entropy.__doc__


# ---------------------------------------------------------------- float16


def spread(*shape, size=1.0):
    return size * np.random.default_rng(0).standard_normal(shape)


MANY = 5000  # of ones: a sum of them in float16 stops at 2048
ONES, FIRST = np.ones((MANY, 2)), np.zeros(MANY, int)
HALF = {  # what float16 cannot hold on the way: (function, arguments, size of the gradient)
    "mean": (lambda x: x.mean(), [np.ones(70_000)], 2e4),
    "sum": (lambda x: x.sum(axis=0), [ONES], 1),
    "broadcast arguments": (lambda x, y: x * y, [ONES, np.ones(2)], 1),
    "an entry picked often": (lambda x: x[FIRST], [np.ones((3, 2))], 1),
    "an entry picked by two arrays": (lambda x: x[FIRST, FIRST], [np.ones((3, 2))], 1),
    "scatter": (lambda x: ag.scatter(x, FIRST, (3, 2)), [ONES], 1),
    "embedding": (lambda x: F.embedding(x, FIRST), [np.ones((3, 2))], 1),
    "ties": (lambda x: x.max(), [np.ones(MANY)], 1000),
    "cumsum": (lambda x: x.cumsum(axis=0), [ONES], 1),
    "norm": (lambda x: x.norm(), [np.full(100, 300.0)], 1),
    "var": (lambda x: x.var(), [100 + spread(1000, size=100)], 1),
    "std": (lambda x: x.std(), [100 + spread(1000, size=300)], 1),
    "prod": (lambda x: x.prod(axis=0), [np.array([200.0, 300, 0.01])], 1),
    "prod with a zero": (lambda x: x.prod(axis=0), [np.array([200.0, 300, 0])], 0.01),
    "power": (lambda x: x**3, [np.array([30.0, 40, -40])], 0.01),
    "power of both": (ag.power, [np.array([20.0]), np.array([3.5])], 0.01),
    "divide": (ag.divide, [np.array([300.0, 100]), np.array([0.1, 2])], 1),
    "divide, gradient": (ag.divide, [np.array([3000.0]), np.array([30.0])], 1000),
    "a large divisor": (lambda x: x.sum() / 100_000, [np.ones(60_000)], 6e4),
    "a large factor": (lambda x: 65536 * x, [np.array([0.1])], 0.1),
    "a small factor": (lambda x: x * 1e-8, [np.array([6e4])], 6e4),
    "distant bounds": (lambda x: ag.clip(x, -1e5, max=1e5), [spread(5, size=300)], 1),
    "sigmoid": (ag.sigmoid, [np.array([-500.0, -12, 0, 12, 500])], 1),
    "gelu": (F.gelu, [np.array([-300.0, -3, 0, 3, 300])], 1),
    "gelu_erf": (lambda x: F.gelu(x, "none"), [np.array([-300.0, -3, 0, 3, 300])], 1),
    "softmax": (ag.softmax, [spread(2, MANY)], 100),
    "log_softmax": (ag.log_softmax, [spread(2, MANY)], 1),
    "logsumexp": (lambda x: ag.logsumexp(x, axis=-1), [spread(2, 70_000)], 1000),
    "layer_norm": (ag.layer_norm, [spread(3, 500, size=300)], 1),
    "layer_norm of small numbers": (ag.layer_norm, [spread(3, 500, size=1e-3)], 0.01),
    "linear": (F.linear, [spread(MANY, 3), spread(3, 2), np.ones(2)], 1),
    "attention": (lambda x: F.attention(x, x, x), [spread(4, 8, size=30)], 1),
    "causal_attention": (lambda x: F.causal_attention(x, 2), [spread(4, 12, size=30)], 1),
    "cross_entropy": (lambda x: F.cross_entropy(x, FIRST), [spread(MANY, 4)], 1000),
    "linear_cross_entropy": (
        lambda x, w: F.linear_cross_entropy(x, w, FIRST), [spread(MANY, 4), spread(9, 4)], 1000),
}  # fmt: skip


@pytest.mark.parametrize("name", HALF)
def test_float16_is_rounded_at_the_end_only(name):
    fn, arrays, size = HALF[name]
    results = []
    for dtype in (np.float16, float):
        leaves = [Tensor(x.astype(np.float16).astype(dtype), requires_grad=True) for x in arrays]
        y = fn(*leaves)
        g = np.full(y.shape, np.float16(size), dtype)
        traced = grad(y, leaves, g, create_graph=True)
        results.append([y.data, *(t.data for t in traced), *(t.data for t in grad(y, leaves, g))])
    for half, exact in zip(*results, strict=True):
        assert half.dtype == np.float16
        np.testing.assert_allclose(half, exact, rtol=4e-3, atol=2e-4)


def test_float16_beside_another_dtype_is_promoted_as_in_numpy():
    half, single = (Tensor(np.ones((2, 2), dtype), requires_grad=True) for dtype in ("f2", "f4"))
    for fn in (F.linear, ag.matmul, ag.divide, lambda x, y: ag.layer_norm(x, y[0])):
        for x, y in ((half, single), (single, half)):
            z = fn(x, y)
            assert z.dtype == np.float32
            assert [g.dtype for g in grad(z, [x, y], np.ones(z.shape))] == [x.dtype, y.dtype]
    assert ag.sum(half.astype(np.float32)).dtype == np.float32
    assert (half * np.ones(2)).dtype == np.float64 and (half * 1e-9).dtype == np.float16


def test_an_op_of_ones_own_in_float32():
    @ag.op
    @ag.in_float32
    def sawtooth(x, y=1.0, *, scale=1):
        z = (x * x * y).sum() / x.size * scale
        return z, lambda g: (2 * g * x * y / x.size * scale, (g * x * x / x.size * scale).sum())

    x, y = (Tensor(np.float16(a), requires_grad=True) for a in (np.full(70_000, 200), 1))
    for create_graph in (False, True):
        z = sawtooth(x=x, y=y, scale=0.5)
        gx, gy = grad(z, [x, y], create_graph=create_graph)
        values = [z.item(), gx[0].item(), gy.item()]
        np.testing.assert_allclose(values, [2e4, 1 / 350, 2e4], rtol=1e-3)
    ag.check_gradients(lambda x: sawtooth(x, 2.0), [1.0, 2.0])
    assert sawtooth(x.data).dtype == np.float16 and sawtooth.__name__ == "sawtooth"
