"""What an op does where it has no derivative: at kinks, at ties, at the edge of its domain."""

import warnings

import numpy as np
import pytest

import autograd as ag
from autograd import Tensor, grad
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


def test_a_norm_of_0_stays_finite_at_order_2():
    x = Tensor([0.0, 0.0], requires_grad=True)
    (g,) = grad(ag.norm(x), x, create_graph=True)
    (h,) = grad(g.sum(), x)
    assert np.isfinite(h.data).all()


def test_every_op_says_its_convention():
    """Where CONVENTIONS has an op, its docstring has the sentence."""
    for name, words in {
        "relu": "At 0 the derivative is 0", "abs": "At 0 the derivative is 0",
        "max": "Ties share", "min": "Ties share", "maximum": "At a tie each gets half",
        "minimum": "At a tie each gets half", "clip": "At a bound the derivative is 1",
        "norm": "At 0 the derivative is 0", "std": "Where it is 0 the derivative is 0",
        "sqrt": "At 0 the derivative is inf", "power": "At 0 ** 0 both derivatives are 0",
        "where": "branch not taken is 0", "logsumexp": "all entries are -inf",
        "sum": "over no entries",
    }.items():  # fmt: skip
        assert words in getattr(ag, name).__doc__, name
    assert "may look nowhere gives 0, with gradient 0" in " ".join(F.attention.__doc__.split())
    assert "where none counts the mean is 0" in F.cross_entropy.__doc__
