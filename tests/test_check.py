"""check_gradients itself: it catches what is wrong, and only that."""

import numpy as np
import pytest

import autograd as ag
from autograd import Tensor, check_gradients, op

X = np.array([[0.5, -1.2, 0.8], [1.5, 0.3, -0.6], [0.9, 1.1, -1.4]])


pytestmark = pytest.mark.usefixtures("registry")


def wrong(vjp, value=lambda x: x * x):
    """An op x*x with this vjp(g, x)."""

    @op
    def sawtooth(x):
        return value(x), (lambda g: vjp(g, x),)

    return sawtooth


def one_entry(g, x):
    scale = np.ones(x.shape)
    scale[0, 1] = 1.001
    return g * 2 * x * scale


def only_square_axis_0(x, axis):
    """sum over an axis, whose gradient is put back along the wrong one."""

    @op
    def sawtooth(x):
        return x.sum(axis=axis), (lambda g: np.broadcast_to(g, x.shape),)

    return sawtooth(x)


@op
def lost_repeats(x):
    """x[[0, 0, 2]], whose gradient forgets that row 0 was picked twice."""
    index = np.array([0, 0, 2])

    def vjp(g):
        mask = np.zeros((3, 3))
        mask[index, [0, 1, 2]] = 1
        mask[0, 0] = 0
        return (mask @ g) * 1.0

    return x[index], (vjp,)


def detached_by_a_thousandth(x):
    return x * x, (lambda g: g * 1.998 * x + g * 0.002 * x.data,)


def wrong_at_order_2(x):
    @op(reference=detached_by_a_thousandth)
    def sawtooth(x):
        return x * x, (lambda g: g * 2 * x,)

    return sawtooth(x)


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (wrong(lambda g, x: g * 2.002 * x), r"order 1, argument 0, entry \(0, 0\)"),
        (wrong(one_entry), r"order 1, argument 0, entry \(0, 1\)"),
        (wrong(lambda g, x: g * (2 * x + 1e-5)), "order 1"),
        (wrong(lambda g, x: -g * 2 * x), "order 1"),
        (lambda x: ag.softmax(x) * 1.0 + (x - x.data), "order 1"),
        (lambda x: only_square_axis_0(x, 1), "order 1"),
        (lost_repeats, "order 1"),
        (wrong(lambda g, x: np.sign(g) * np.abs(g * 2 * x) * np.sign(x) * (1 + (g > 0) * 1e-3)),
         "order 1"),
        (wrong(lambda g, x: g * 2 * getattr(x, "data", x) if isinstance(x, Tensor) else g * 2 * x),
         "order 2, argument 0"),
        (wrong_at_order_2, "order 2, argument 0"),
        (wrong(lambda g, x: g * (2.002 if isinstance(x, Tensor) else 2) * x), "on Tensors"),
        (wrong(lambda g, x: g * np.nan * x), "backward gives nan"),
        (lambda x: x * Tensor(x.data), "order 1"),
    ],
)  # fmt: skip
def test_wrong_gradients_are_caught(fn, message):
    with pytest.raises(AssertionError, match=message):
        check_gradients(fn, X)


def test_a_vjp_that_loses_its_cotangent():
    fn = wrong(lambda g, x: (Tensor(g.data) if isinstance(g, Tensor) else g) * 2 * x)
    check_gradients(fn, X, order=1)
    with pytest.raises(AssertionError, match=r"order 2, cotangent 0 of order 1, entry \(0, 0\)"):
        check_gradients(fn, X)


def test_only_when_broadcast():
    @op
    def sawtooth(x, y):
        def vjp_y(g):
            return g * x * (1.001 if y.shape != x.shape else 1)

        return x * y, (lambda g: g * y, vjp_y)

    check_gradients(sawtooth, X, X)
    with pytest.raises(AssertionError, match="argument 1"):
        check_gradients(sawtooth, X, X[0])


def test_only_along_a_random_direction():
    big = np.linspace(0.5, 2, 200)
    check_gradients(wrong(lambda g, x: g * 2 * x), big)
    with pytest.raises(AssertionError, match="random direction 0"):
        check_gradients(wrong(lambda g, x: g * 2.002 * x), big)
    with pytest.raises(AssertionError, match="random direction"):
        check_gradients(wrong(lambda g, x: g * 2.002 * x), X, entries=8)
    with pytest.raises(AssertionError, match="entry"):
        check_gradients(wrong(lambda g, x: g * 2.002 * x), X, entries=9)


def test_order_is_respected():
    fn = wrong(lambda g, x: g * 2 * (x.data if isinstance(x, Tensor) else x))
    check_gradients(fn, X, order=1)
    with pytest.raises(AssertionError, match="order 2"):
        check_gradients(fn, X, order=2)

    def cut_at_order_3(x):
        return x**3 + 0 * x

    check_gradients(cut_at_order_3, X, order=4)


def test_tolerances():
    slightly = wrong(lambda g, x: g * 2.0002 * x)
    check_gradients(slightly, X, rtol=1e-3, order=1)
    with pytest.raises(AssertionError):
        check_gradients(slightly, X, rtol=1e-5, order=1)
    shifted = wrong(lambda g, x: g * 2 * x + 1e-6)
    check_gradients(shifted, X, atol=1e-5, order=1)
    with pytest.raises(AssertionError):
        check_gradients(shifted, X, rtol=1e-9, order=1)


def test_right_gradients_pass():
    check_gradients(lambda x, y: [x * y, ag.exp(x)], X, X[0])  # several outputs
    check_gradients(lambda x: (ag.sum(x),), X)
    check_gradients(lambda x: Tensor(np.ones(3)), X)  # a constant function
    check_gradients(ag.exp, X.astype(np.float32))  # checked in float64
    check_gradients(ag.exp, Tensor(X))
    check_gradients(ag.add, 0.3, [1.0, 2.0])
    check_gradients(np.exp, np.zeros((0, 3)))
    check_gradients(lambda x: x * x, X, order=3)


def test_steep_functions_do_not_raise_false_alarms():
    check_gradients(ag.log, [1e-3, 1.0, 1e4])
    check_gradients(ag.exp, [-30.0, 20.0])
    check_gradients(lambda x: 1 / x, [1e-2, 1e3])
    check_gradients(lambda x: x * 1e8 + 1, [1.0])
    check_gradients(lambda x: x**3, [0.0, 1e5])
    with pytest.raises(AssertionError):
        check_gradients(lambda x: ag.log(x) + 0.001 * (ag.log(x) - ag.log(x.data)), [1e-3])


def test_near_the_edge_of_a_domain():
    check_gradients(ag.log, [1e-6])
    check_gradients(ag.sqrt, [1e-6])
    check_gradients(ag.norm, [1e-6, 1e-6], order=1)
    check_gradients(ag.sin, [1e6])
    with pytest.raises(AssertionError, match="edge of its domain"):
        check_gradients(lambda x: ag.log(x) + 0.001 * ag.log(x) - 0.001 * ag.log(x.data), [1e-6])


def test_small_functions_are_held_to_small_tolerances():
    def scaled(factor, scale):
        return lambda x: wrong(lambda g, x: g * factor * scale * x, lambda x: scale * x * x)(x)

    for scale in (1e-6, 1e-9, 1e-30):
        check_gradients(scaled(2, scale), X)
        with pytest.raises(AssertionError, match="order 1"):
            check_gradients(scaled(2.002, scale), X)


def test_offsets_slopes_and_large_arguments():
    check_gradients(lambda x: 1e6 + x * x, [0.5, 1.0])
    check_gradients(lambda x: -1e4 * x, [0.5, 1.0])
    check_gradients(lambda x: x * x, [-1e4, 1e4])
    check_gradients(lambda x: x * x, np.linspace(-1e4, 1e4, 100), order=1)
    check_gradients(lambda x: Tensor([1.0, 2.0]), [0.5, 1.0], order=3)  # constant
    with pytest.raises(AssertionError, match=r"backward gives .*, finite differences give 0 "):
        check_gradients(wrong(lambda g, x: g * 1e-3, lambda x: x * 0), X)


def test_what_is_needed_of_the_tolerances():
    check_gradients(lambda x: 1e8 + x * x, X)  # rounding
    check_gradients(lambda x: -(x**3), [0.0, 1e5])  # truncation, of large negative values
    for sign in (1, -1):  # where the value is 0, and the gradient of either sign
        check_gradients(lambda x, s=sign: s * (x[0] ** 3 + (x[1] - 1)), [0.0, 1.0])


def test_the_defaults():
    def wrong_at_order_3(x):
        @op(reference=lambda x: (x * x * x, (lambda g: g * (3 * x * x.data * 2 - 3 * x.data**2),)))
        def sawtooth(x):
            return x * x * x, (lambda g: g * 3 * x * x,)

        return sawtooth(x)

    check_gradients(wrong_at_order_3, X)
    with pytest.raises(AssertionError, match="order 3"):
        check_gradients(wrong_at_order_3, X, order=3)
    for size, name in [(64, "entry"), (65, "random direction")]:
        with pytest.raises(AssertionError, match=name):
            check_gradients(wrong(lambda g, x: g * 2.002 * x), np.ones(size))


def test_arrays_and_tensors_are_compared_closely():
    for scale, factor in [(1.0, 2.00001), (1e-9, 2.1)]:
        fn = wrong(
            lambda g, x, f=factor, s=scale: g * s * (f if isinstance(x, Tensor) else 2) * x,
            lambda x, s=scale: s * x * x,
        )
        with pytest.raises(AssertionError, match="on Tensors"):
            check_gradients(fn, X)


def test_nan_is_told_as_such():
    with pytest.raises(AssertionError, match="finite differences give nan"):
        check_gradients(lambda x: x * np.nan, X)


def test_an_agreement_is_not_measured_twice():
    calls = []
    check_gradients(lambda x: calls.append(0) or x * x, [0.5, 1.0], order=1)
    assert len(calls) == 3 + 1 + 2 * 2


def test_the_arguments_are_not_changed():
    x = X.copy()
    x.setflags(write=False)
    check_gradients(lambda x: x * x, x)
    t = Tensor(X.copy(), requires_grad=True)
    check_gradients(lambda x: x * x, t)
    assert t.grad is None
    np.testing.assert_array_equal(t.data, X)


def test_random_functions_are_named_as_such():
    rng = np.random.default_rng(0)
    with pytest.raises(AssertionError, match="two results for the same arguments"):
        check_gradients(lambda x: x * rng.random(), X)


def test_a_kink_is_mentioned():
    with pytest.raises(AssertionError, match=r"gives 0, finite differences.*kink"):
        check_gradients(ag.relu, [0.0])


def test_the_seed_draws_the_cotangent():
    fn = wrong(lambda g, x: g * 2.002 * x)
    texts = set()
    for seed in (0, 0, 1):
        with pytest.raises(AssertionError) as caught:
            check_gradients(fn, X, seed=seed)
        texts.add(str(caught.value))
    assert len(texts) == 2


def test_a_vjp_that_writes_to_what_it_is_given_is_refused():
    @op
    def square(x):
        def vjp(g):
            g *= 2 * x
            return g

        return x * x, (vjp,)

    for x in (3.0, np.ones(2)):
        with pytest.raises(ValueError, match="read-only"):
            check_gradients(square, x)
