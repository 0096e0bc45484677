"""autograd/elementwise.py: values and derivatives of every function, and its conventions."""

import numpy as np
import pytest
from calculus import check, entered, row

from autograd import Tensor, check_gradients, grad
from autograd.elementwise import OF_ONE, OF_TWO
from autograd.testing import check_op

S, B = (2, 3), (3,)  # B broadcasts to S
INSIDE = {"low": -0.9, "high": 0.9}
DOMAINS = {
    np.tan: {"low": -1.4, "high": 4.5, "kinks": (np.pi / 2,)}, np.reciprocal: {"kinks": (0,)},
    np.arcsin: INSIDE, np.arccos: INSIDE, np.arctanh: INSIDE, np.fabs: {"kinks": (0,)},
    np.arccosh: {"low": 1.1, "high": 4}, np.cbrt: {"kinks": (0,)},
    np.log2: {"low": 0.1}, np.log10: {"low": 0.1},
}  # fmt: skip
POSITIVE = {"low": 0.1}


def test_every_function_has_a_row():
    names = {function.__name__ for function in [*OF_ONE, *OF_TWO]} | {"conjugate", "real_if_close"}
    assert entered("autograd.elementwise") == names | OTHERS.keys()


@pytest.mark.parametrize("function", OF_ONE, ids=lambda function: function.__name__)
def test_functions_of_one_argument(function):
    for shape in [(), S, (0, 2)]:
        check(row(function.__name__, lambda x: function(x), shape, **DOMAINS.get(function, {})))


@pytest.mark.parametrize("function", OF_TWO, ids=lambda function: function.__name__)
def test_functions_of_two_arguments(function):
    # divisors of their own, so that no quotient is near a whole number, where remainders jump
    x = np.array([[0.37, -1.2, 2.31], [-1.45, 5.23, 0.77]])
    y = np.array([2.1, -0.73, 1.4])
    for call, *args in [
        (lambda x, y: function(x, y), x, y), (lambda x, y: function(y, x), x, y),
        (lambda x: function(x, 0.81), x), (lambda y: function(-3, y), y),
        (lambda x: function(x, 2), x), (lambda x: function(x, x), y),
    ][:6 if function.__name__ not in ("remainder", "fmod") else 5]:  # fmt: skip
        np.testing.assert_allclose(call(*map(Tensor, args)).data, call(*args), rtol=1e-14)
        single = call(*(Tensor(v.astype("f4")) for v in args))
        assert single.dtype == call(*(v.astype("f4") for v in args)).dtype == np.float32
        check_op(call, *args)


OTHERS = {
    "sinc": [
        row("sinc", lambda x: np.sinc(x), (4, 5)),
        row("sinc", lambda x: np.sinc(x), (4, 5), low=-0.26, high=0.26),
        row("sinc", lambda x: np.sinc(x * 0), (2,)),
    ],
    "nan_to_num": [
        row("nan_to_num", lambda x: np.nan_to_num(x), S),
        row("nan_to_num", lambda x: np.nan_to_num(x / np.where(x > 0, 1, 0 * x), posinf=3.0,
                                                  neginf=4.0, nan=2.0), S, low=0.1),
    ],
    "ldexp": [row("ldexp", lambda x: np.ldexp(x, [1, -2, 3]), S)],
    "float_power": [
        row("float_power", lambda x, y: np.float_power(x, y).astype(x.dtype), S, B, **POSITIVE),
        row("float_power", lambda x: np.float_power(x, 3).astype(x.dtype), S),
        row("float_power", lambda y: np.float_power([3], y).astype(y.dtype), S),
    ],
    "fmax": [row("fmax", lambda x, y: np.fmax(x, y), S, B, distinct=True),
             row("fmax", lambda x: np.fmax(0, x), S, kinks=(0,))],
    "fmin": [row("fmin", lambda x, y: np.fmin(x, y), S, B, distinct=True),
             row("fmin", lambda x: np.fmin(0, x), S, kinks=(0,))],
    "divmod": [row("divmod", lambda x: np.divmod(x, 0.7)[1], S, low=0.1, high=0.6),
               row("divmod", lambda y: np.divmod(2, y)[1], S, low=1.1, high=1.9)],
    "select": [
        row("select", lambda x, y: np.select([x > 5, x < 7, x > 0], [x * 9, y, x], 1), S, B),
        row("select", lambda x: np.select([x > 1, x > 0], [x * x, 2], default=x), S, kinks=(0, 1)),
        row("select", lambda x: np.select([x > 1], [x * x]), S, kinks=(1,)),
    ],
    "real": [row("real", lambda x: np.real(x), S), row("real", lambda x: np.real(val=x), S),
             row("conj", lambda x: np.conj(x), S), row("conj", lambda x: np.conjugate(x), S),
             row("real_if_close", lambda x: np.real_if_close(x, 100), S)],
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_other_functions(name):
    for each in OTHERS[name]:
        check(each)


def leaf(data):
    return Tensor(np.asarray(data, float), requires_grad=True)


def at(function, *values):
    """First and second derivatives at a point: [x, y], [[xx, xy], [yx, yy]]."""
    args = [leaf(v) for v in values]
    first = grad(function(*args), args, create_graph=True)
    second = []
    for i in range(len(args)):
        args = [leaf(v) for v in values]
        g = grad(function(*args), args, create_graph=True)[i]
        second.append([h.item() for h in grad(g, args)] if g.requires_grad else [0.0] * len(args))
    return [g.item() for g in first], second


ZEROS = [[0, 0], [0, 0]]
INF, NAN = np.inf, np.nan


@pytest.mark.parametrize(
    ("function", "point", "first", "second"),
    [
        (np.hypot, (0, 0), [0, 0], ZEROS),
        (np.arctan2, (0, 0), [0, 0], ZEROS),
        (np.logaddexp, (-INF, -INF), [0, 0], ZEROS),
        (np.logaddexp, (-INF, 1), [0, 1], ZEROS),
        (np.logaddexp, (INF, 1), [1, 0], ZEROS),
        (np.logaddexp2, (-INF, -INF), [0, 0], ZEROS),
        (np.heaviside, (0, 0.5), [0, 1], ZEROS),
        (np.copysign, (0, -1), [0, 0], ZEROS),
        (np.copysign, (2, -0.0), [-1, 0], ZEROS),
        (np.fmax, (1, 1), [0.5, 0.5], ZEROS),
        (np.fmin, (1, 1), [0.5, 0.5], ZEROS),
        (np.fmax, (NAN, 1), [0, 1], ZEROS),
        (np.fmin, (1, NAN), [1, 0], ZEROS),
        (np.fabs, (0,), [0], [[0]]),
        (np.sinc, (0,), [0], [[-np.pi**2 / 3]]),
        (np.arctan, (1e200,), [0], [[0]]),
        (np.arcsinh, (1e200,), [1e-200], [[0]]),
        (np.arccosh, (1e200,), [1e-200], [[0]]),
        (np.hypot, (3e200, 4e200), [0.6, 0.8], ZEROS),
        (np.arctan2, (3e200, 4e200), [1.6e-201, -1.2e-201], ZEROS),
        (np.remainder, (5, -3), [1, 2], ZEROS),
        (np.fmod, (-5, 3), [1, 1], ZEROS),
        (np.nan_to_num, (NAN,), [0], [[0]]),
        (np.nan_to_num, (-INF,), [0], [[0]]),
    ],
)
def test_conventions(function, point, first, second):
    order1, order2 = at(function, *point)
    np.testing.assert_allclose(order1, first, rtol=1e-12)
    np.testing.assert_allclose(order2, second, rtol=1e-12, atol=1e-199)


def test_nan_gives_nan():
    for function in [f for f in OF_ONE if f not in (np.positive, np.deg2rad, np.radians,
                                                    np.rad2deg, np.degrees)]:  # fmt: skip
        assert np.isnan(at(function, NAN)[0]).all(), function
    for function in (np.hypot, np.arctan2, np.logaddexp, np.logaddexp2):
        with np.errstate(invalid="ignore"):  # NumPy itself warns in logaddexp
            assert np.isnan(at(function, NAN, 1)[0]).all(), function
            assert np.isnan(at(function, 0, NAN)[0]).all(), function


def test_logaddexp_keeps_its_digits():
    x, y = Tensor(np.float32(1e4), requires_grad=True), Tensor(np.float32(1e4))
    assert grad(np.logaddexp(x, y), x)[0].item() == pytest.approx(0.5, rel=1e-6)


def test_edges_of_domains_warn_as_numpy_does():
    for function, edge in [(np.cbrt, 0), (np.log2, 0), (np.arcsin, 1), (np.arctanh, 1)]:
        with pytest.warns(RuntimeWarning, match="divide by zero"):
            assert grad(function(x := leaf(edge)), x)[0].item() == INF


def test_divmod_gives_a_constant_and_the_remainder():
    quotient, remainder = np.divmod(leaf([5.0, -5.0]), 3.0)
    assert type(quotient) is np.ndarray and quotient.tolist() == [1, -2]
    assert type(remainder) is Tensor and remainder.data.tolist() == [2, 1]


def test_select_refuses_what_does_not_fit():
    t = leaf([1.0, 2.0])
    for conditions, choices in [([t > 1], [t, t]), ([[1, 0]], [t])]:
        with pytest.raises(ValueError, match=f"^select: {len(conditions)} conditions and"):
            np.select(conditions, choices)


def test_float_power_is_in_float64():
    assert np.float_power(Tensor(np.float32(2)), 3).dtype == np.float64
    check_gradients(lambda x: np.float_power(2, x), [0.3, 1.0])


def test_what_is_of_complex_numbers_is_refused():
    with pytest.raises(TypeError, match=r"np\.angle"):
        np.angle(leaf([1.0]))
