"""autograd/elementwise.py: values and derivatives of every function, and its conventions."""

import itertools

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
        row("nan_to_num", lambda x: np.nan_to_num(np.where([True, False, True], x, np.nan)), S),
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
    "modf": [row("modf", lambda x: np.modf(x)[0], S, kinks=(-1, 0, 1)),
             row("modf", lambda x: np.modf(3 * x)[0] ** 2, (), low=0.4, high=0.6)],
    "frexp": [row("frexp", lambda x: np.frexp(x)[0], S, kinks=(-1, -0.5, -0.25, 0, 0.25, 0.5, 1)),
              row("frexp", lambda x: np.frexp(x)[0] ** 2, (), low=1.1, high=1.9)],
    "piecewise": [
        row("piecewise", lambda x: np.piecewise(x, [x < 0, x > 1], [np.exp, 3.0, np.sin]), S,
            kinks=(0, 1)),
        row("piecewise", lambda x: np.piecewise(x, [x < 1, x < 0], [np.exp, np.sin]), S,
            kinks=(0, 1)),  # the later one counts where both hold
        row("piecewise", lambda x: np.piecewise(x, x > 0, [lambda v, a, b: a * v**b], 3, b=2), B,
            kinks=(0,)),
        row("piecewise", lambda x: np.piecewise(x, x > 0, [np.sum, np.exp]), (5,), kinks=(0,)),
        row("piecewise", lambda x: np.piecewise(x, [x > 0, x <= 0], [np.square, np.exp]), (),
            kinks=(0,)),
        row("piecewise", lambda x, y: np.piecewise(x, [x > 0], [y, 0]), S, (), kinks=(0,)),
        row("piecewise", lambda x: np.piecewise(x * 0, [x > 5], [1]), S),
    ],
    "linspace": [
        row("linspace", lambda x, y: np.linspace(x, y, 4), (), ()),
        row("linspace", lambda x, y: np.linspace(x, y), (), ()),
        row("linspace", lambda x, y: np.linspace(x, y, num=3, axis=-1, retstep=True), S, B),
        row("linspace", lambda x: np.linspace(x, 2, 3, endpoint=False), B),
        row("linspace", lambda y: np.linspace([1, 2, 3], y, 2, True, dtype=y.dtype), B),
        row("linspace", lambda x: np.linspace(x, 2, 1), ()),
        row("linspace", lambda x: np.linspace(x, 2, 1, endpoint=False), ()),
        row("linspace", lambda x: np.linspace(x, x + 1, 0), B),
    ],
    "logspace": [
        row("logspace", lambda x, y: np.logspace(x, y, 4), (), ()),
        row("logspace", lambda x, y: np.logspace(x, y), (), ()),
        row("logspace", lambda x, b: np.logspace(x, [1, 2, 0], 3, base=b, axis=1).astype(x.dtype),
            S, (), **POSITIVE),
        row("logspace", lambda x, b: np.logspace(x, 1, 3, False, b).astype(x.dtype), (), B,
            **POSITIVE),
        row("logspace", lambda x, b: np.logspace(x, 1, 3, base=b, axis=1).astype(x.dtype), S, B,
            **POSITIVE),
        row("logspace", lambda x, b: np.logspace(0, x, 3, base=b, axis=1).astype(x.dtype), B, S,
            **POSITIVE),
        row("logspace", lambda b: np.logspace(0, 2, 3, base=b, dtype=b.dtype), (), **POSITIVE),
    ],
    "geomspace": [
        row("geomspace", lambda x, y: np.geomspace(x, y, 4).astype(x.dtype), (), (), **POSITIVE),
        row("geomspace", lambda x, y: np.geomspace(x, y).astype(x.dtype), (), (), **POSITIVE),
        row("geomspace", lambda x, y: np.geomspace(x, y, 3, axis=-1, dtype=x.dtype), S, B,
            low=-2, high=-0.1),
        row("geomspace", lambda x: np.geomspace(x, 2, 3, endpoint=False).astype(x.dtype), B,
            **POSITIVE),
        row("geomspace", lambda x: np.geomspace(x, 5, 1).astype(x.dtype), (), **POSITIVE),
        row("geomspace", lambda x: np.geomspace(2, x, 0).astype(x.dtype), B, **POSITIVE),
    ],
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


def test_nan_to_num_gives_the_numbers_of_numpy():
    for dtype, options in itertools.product(["f4", "f8"], [{}, {"nan": 2.0}, {"posinf": 3.0},
                                                           {"neginf": 4.0}]):  # fmt: skip
        x = np.array([NAN, INF, -INF, 1.5], dtype)
        made, expected = np.nan_to_num(Tensor(x), **options), np.nan_to_num(x, **options)
        assert made.dtype == expected.dtype
        np.testing.assert_array_equal(made.data, expected)


def test_divmod_gives_a_constant_and_the_remainder():
    quotient, remainder = np.divmod(leaf([5.0, -5.0]), 3.0)
    assert type(quotient) is np.ndarray and quotient.tolist() == [1, -2]
    assert type(remainder) is Tensor and remainder.data.tolist() == [2, 1]


def test_modf_and_frexp_give_constants_beside():
    for function, values in [(np.modf, [2.5, -2.0, np.inf]), (np.frexp, [1e308, -5e-324, np.inf])]:
        first, second = function(leaf(values))
        for made, expected in zip((first.data, second), function(np.array(values)), strict=True):
            assert type(made) is np.ndarray and made.dtype == expected.dtype
            np.testing.assert_array_equal(made, expected)
    x = leaf([2.0, -0.25])
    assert grad(np.modf(x)[0], x, np.ones(2))[0].data.tolist() == [1, 1]  # at a jump, too
    assert grad(np.frexp(x)[0], x, np.ones(2))[0].data.tolist() == [0.25, 2]


def test_the_ends_of_linspace_and_geomspace_are_exact():
    start, stop = leaf([0.1, 0.3]), leaf([0.7, 1e-3])
    assert np.linspace(leaf(0.86), leaf(0.03), 2)[-1].item() == 0.03 != 0.86 + (0.03 - 0.86)
    assert np.geomspace(leaf(0.86), leaf(0.03), 2)[-1].item() == 0.03 != 10 ** np.log10(0.03)
    for function in (np.linspace, np.geomspace):
        y = function(start, stop, 7)
        assert (y[0].data == start.data).all() and (y[-1].data == stop.data).all()
        assert grad(y[0].sum(), [start, stop])[1].data.tolist() == [0, 0]
        assert grad(function(start, stop, 7)[-1].sum(), [start, stop])[0].data.tolist() == [0, 0]
    assert np.isnan(np.linspace(start, stop, 1, retstep=True)[1])


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda t: np.linspace(t, 1, -1), ValueError, r"^np\.linspace: .*non-negative"),
        (lambda t: np.linspace(t, 1, 3, dtype=int), TypeError, r"astype\(int64\) has no"),
        (lambda t: np.linspace(t, 1, 3, device="other"), TypeError, r"^np\.linspace\(device=\)"),
        (lambda t: np.geomspace(t * 0, 1, 3), ValueError, "cannot include zero"),
        (lambda t: np.piecewise(t, [t > 1], [1, 2, 3]), ValueError, "functions are expected"),
        (lambda t: np.piecewise(t, [t > 0], [lambda v: [1.0, 2.0, 3.0]]), ValueError, "broadcast"),
    ],
)
def test_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call(leaf([1.0, 2.0]))


def test_functions_of_complex_numbers_take_booleans():
    flags = np.array([True, False])
    for function in (np.conj, np.real, np.real_if_close):
        made = function(Tensor(flags))
        assert made.dtype == function(flags).dtype and made.data.tolist() == [1, 0]


def test_piecewise_of_a_list_under_conditions_that_are_tensors():
    t, flags = leaf(3.0), Tensor([True, False])
    y = np.piecewise([1.0, 1.0], [flags], [lambda v: v * t, 5])
    assert y.data.tolist() == [3, 5] and grad(y.sum(), t)[0].item() == 1


def test_select_refuses_what_does_not_fit():
    t = leaf([1.0, 2.0])
    for conditions, choices in [([t > 1], [t, t]), ([[1, 0]], [t]), ([t > 1, [1, 0]], [t, t])]:
        with pytest.raises(ValueError, match=f"^select: {len(conditions)} conditions and"):
            np.select(conditions, choices)


def test_the_dtype_of_linspace_and_its_like_is_numpys():
    for dtype in (np.int64, np.float16, np.float32, np.float64, np.longdouble):
        for function in (np.linspace, np.logspace, np.geomspace):
            made, expected = (function(x, 4, 3) for x in (Tensor(dtype(2)), dtype(2)))
            assert made.dtype == expected.dtype
            np.testing.assert_allclose(made.data, expected, rtol=1e-3)


def test_float_power_is_in_float64():
    assert np.float_power(Tensor(np.float32(2)), 3).dtype == np.float64
    check_gradients(lambda x: np.float_power(2, x), [0.3, 1.0])


def test_what_is_of_complex_numbers_is_refused():
    with pytest.raises(TypeError, match=r"np\.angle"):
        np.angle(leaf([1.0]))
