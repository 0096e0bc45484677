"""SciPy's functions on Tensors: SciPy's values, derivatives, and what holds at the edges."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from calculus import check, each_name, row

import autograd.scipy as ours
from autograd import Tensor, check_gradients, grad
from autograd.testing import check_op

special = pytest.importorskip("scipy.special")
stats = pytest.importorskip("scipy.stats")

ROOT = Path(__file__).parent.parent
INF, NAN = np.inf, np.nan


def leaf(data):
    return Tensor(np.asarray(data, float), requires_grad=True)


def gradients(fn, *arrays):
    leaves = [leaf(x) for x in arrays]
    return [g.data.tolist() for g in grad(fn(*leaves).sum(), leaves)]


def of(name, *shapes, **more):
    return row(name, getattr(special, name), *shapes, **more)


BOTH = ((2, 3), (3,))
ROWS = [
    *(of(name, (2, 3), order=3) for name in "expit log_expit erf erfc erfcx i0 i1 ndtr".split()),
    *(of(name, (5,), low=0.05, high=0.95) for name in "logit ndtri erfcinv".split()),
    of("erfinv", (5,), low=-0.9, high=0.9), of("erfcinv", (3,), low=1.1, high=1.9),
    *(of(name, (5,), low=0.2, high=4) for name in "gammaln gamma psi digamma".split()),
    of("gamma", (3,), low=-1.8, high=-1.2), of("gammaln", (3,), low=-1.8, high=-1.2),
    *(of(name, *BOTH, low=0.2, high=4) for name in "beta betaln".split()),
    row("iv", lambda x: special.iv(1.5, x), (5,), low=0.1),
    *(of(name, *BOTH, low=0.1) for name in "xlogy xlog1py rel_entr kl_div".split()),
    of("xlogy", (3,), (2, 1), low=0.1), of("xlog1py", (3,), (2, 1), low=-0.9),
    of("entr", (5,), low=0.1), of("log_ndtr", (9,), low=-8, high=6, order=3),
    of("expm1", (3,)), of("log1p", (3,), low=-0.5),
]  # fmt: skip


@each_name(ROWS)
def test_value_and_derivatives(rows):
    for r in rows:
        check(r)


def test_every_entry_has_a_row():
    assert set(ours._UFUNCS) <= {r.name for r in ROWS}


POSITIVE = np.random.default_rng(1).uniform(0.5, 3, (2, 3))
WEIGHTS = np.random.default_rng(2).uniform(0.1, 1, (2, 3))
AXES = [{}, {"axis": 0}, {"axis": -1, "keepdims": True}, {"axis": (0, 1)}, {"keepdims": True}]
CALLS = {
    "polygamma": [lambda f, x, n=n: f(n, x) for n in (0, 1, 3, [1, 2, 3])],
    "multigammaln": [lambda f, x, d=d: f(x + 2, d) for d in (1, 3)],
    "logsumexp": [lambda f, x, o=o: f(x, **o) for o in AXES]
    + [lambda f, x, o=o: f(x, b=WEIGHTS[0].astype(x.dtype), **o) for o in AXES],
    "softmax": [lambda f, x, a=a: f(x, a) for a in (None, 0, -1, (0, 1))],
    "log_softmax": [lambda f, x, a=a: f(x, a) for a in (None, 0, -1, (0, 1))],
}


@pytest.mark.parametrize("name", CALLS)
def test_functions_that_are_not_ufuncs(name):
    function, theirs = getattr(ours, name), getattr(special, name)
    for call in CALLS[name]:
        expected = call(theirs, POSITIVE)
        made = call(function, Tensor(POSITIVE))
        assert type(made) is Tensor and made.shape == expected.shape
        np.testing.assert_allclose(made.data, expected, rtol=1e-12)
        of_array = call(function, POSITIVE)
        assert type(of_array) is not Tensor
        np.testing.assert_array_equal(of_array, expected)
        check_op(lambda x, call=call: call(function, x), POSITIVE)


def test_weights_of_logsumexp():
    for options in AXES:
        made = ours.logsumexp(Tensor(POSITIVE), b=Tensor(WEIGHTS), **options)
        expected = special.logsumexp(POSITIVE, b=WEIGHTS, **options)
        np.testing.assert_allclose(made.data, expected, rtol=1e-12)
        check_op(lambda a, b, o=options: ours.logsumexp(a, b=b, **o), POSITIVE, WEIGHTS)
    check_op(lambda a, b: ours.logsumexp(a, b=b, axis=0), POSITIVE[:, :1], WEIGHTS[0])
    apart = POSITIVE + np.array([[0.0], [2000.0]])
    made, expected = (f(x, b=[1, 2, 3], axis=1)
                      for f, x in ((ours.logsumexp, leaf(apart)), (special.logsumexp, apart)))
    np.testing.assert_allclose(made.data, expected, rtol=1e-12)  # each row has its own maximum
    check_gradients(lambda a: ours.logsumexp(a, b=[1, 2, 3], axis=1), apart, order=1)
    check_gradients(lambda b: ours.logsumexp([1.0, 2.0, 3.0], b=b), WEIGHTS[0])
    check_gradients(lambda a: ours.logsumexp(a, b=[1.0, -0.1, 2]), POSITIVE[0])
    check_gradients(lambda b: ours.logsumexp([800.0, 801.0], b=b), [1.0, 0.0])  # within reach
    for a, b in [([1.0, 900.0], [1.0, 0.0]), ([1.0, INF], [1.0, 0.0]), ([-INF, 1.0], [1.0, 1.0]),
                 ([1.0, 2.0], [0.0, 0.0]), ([-INF, -INF], [1.0, 1.0]), ([900.0, 1.0], [-1.0, 1.0]),
                 ([0.0, INF], [1.0, 1.0])]:  # fmt: skip
        with np.errstate(invalid="ignore"):  # the last
            expected = special.logsumexp(a, b=b)
            made, (g,) = ours.logsumexp(leaf(a), b=b).item(), gradients(
                lambda a, b=b: ours.logsumexp(a, b=b), a)  # fmt: skip
        np.testing.assert_array_equal(made, expected)
        assert np.isfinite(g).all() == (made < INF)
    assert gradients(lambda a: ours.logsumexp(a, b=[1.0, 0.0]), [1.0, 900.0]) == [[1, 0]]
    assert gradients(lambda a: ours.logsumexp(a, b=[0.0, 0.0]), [1.0, 2.0]) == [[0, 0]]


def test_what_scipy_has_and_we_refuse():
    with pytest.raises(ValueError, match="return_sign=True"):
        ours.logsumexp(leaf([1.0]), return_sign=True)
    with pytest.raises(ValueError, match=r"multigammaln\(a, d=3\).*greater than"):
        ours.multigammaln(leaf([1.0, 5.0]), 3)
    np.testing.assert_allclose(
        ours.multigammaln(leaf([0.6]), 2).data, special.multigammaln([0.6], 2)
    )
    with pytest.raises(TypeError, match=r"scipy\.special\.erf\(where=\)"):
        special.erf(leaf([1.0]), where=[True])
    with pytest.raises(TypeError, match=r"scipy\.special\.j0 has no op"):
        special.j0(leaf([1.0]))


QUANTILES = np.array([[0.1, 0.5, 0.9], [0.2, 0.3, 0.7]])


@pytest.mark.parametrize("name", ["logpdf", "pdf", "cdf", "logcdf", "sf", "logsf", "ppf"])
def test_the_normal_distribution(name):
    function, theirs = getattr(ours.norm, name), getattr(stats.norm, name)
    x = QUANTILES if name == "ppf" else 4 * QUANTILES - 2
    loc, scale = np.array([0.5, -1.0, 0.2]), np.array([[0.5], [2.0]])
    for args in [(x,), (x, loc), (x, loc, scale), (x[0], 0.3, scale), (0.5, loc, 2)]:
        np.testing.assert_allclose(function(*args), theirs(*args), rtol=1e-12)
        arrays = [a for a in args if isinstance(a, np.ndarray)]

        def call(*tensors, args=args):
            rest = iter(tensors)
            return function(*(next(rest) if isinstance(a, np.ndarray) else a for a in args))

        made = call(*map(Tensor, arrays))
        assert type(made) is Tensor
        np.testing.assert_allclose(made.data, theirs(*args), rtol=1e-12)
        check_op(call, *arrays)
    np.testing.assert_allclose(function(x[0].tolist(), scale=2), theirs(x[0], scale=2))
    np.testing.assert_allclose(function(leaf(x), scale=scale, loc=1).data, theirs(x, 1, scale))
    with np.errstate(all="ignore"):
        assert np.isnan(function(leaf([0.5, 0.5]), 0, [0.0, -1.0]).data).all()


def test_far_out():
    for name in ("logpdf", "logcdf", "logsf"):
        made = getattr(ours.norm, name)(leaf([-1e4, -40.0, 40.0, 1e4]))
        np.testing.assert_allclose(
            made.data, getattr(stats.norm, name)([-1e4, -40, 40, 1e4]), rtol=1e-12
        )
    x = [-1e4, -40.0, 0.0, 40.0, 1e4]
    (g,) = gradients(special.log_ndtr, x)
    expected = [1e4 * (1 + 1e-8), 40.02496884720727, 2 / np.sqrt(2 * np.pi), 0, 0]
    np.testing.assert_allclose(g, expected, rtol=1e-8, atol=1e-300)
    for name in "expit log_expit erf erfc ndtr log_ndtr".split():
        t = Tensor(np.array([-1e4, 1e4], np.float32), requires_grad=True)
        getattr(special, name)(t).backward(np.ones(2, np.float32))
        assert np.isfinite(t.grad).all()
    check_gradients(special.log_ndtr, [0.0], order=3)
    check_gradients(special.i1, [0.0], order=3)


def test_0_times_log_0():
    for function, y in [(special.xlogy, [0.0, -1.0, 2.0]), (special.xlog1py, [-1.0, -2.0, 1.0])]:
        with np.errstate(invalid="ignore"):
            gx, gy = gradients(function, [0.0, 0.0, 0.0], y)
        np.testing.assert_allclose(gx, [0, 0, np.log(2)])
        assert gy == [0, 0, 0]
        x, t = leaf([0.0, 0.0]), leaf(y[:2])
        (g,) = grad(function(x, t), t, np.ones(2), create_graph=True)
        assert grad(g.sum(), x)[0].data.tolist() == [0, 0]
    with np.errstate(invalid="ignore"):  # nan, but for the slope in y
        assert gradients(special.xlogy, [1.0], [-2.0])[1] == [-0.5]
        assert gradients(special.xlog1py, [1.0], [-3.0])[1] == [-0.5]
    for function, slope in [(special.rel_entr, 0), (special.kl_div, 1)]:
        assert gradients(lambda y, f=function: f(np.array([0.0, 0.0]), y), [0.0, 0.5]) == [
            [slope, slope]]  # fmt: skip
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        assert gradients(special.entr, [0.0]) == [[INF]]


def test_numbers_and_float32():
    t = Tensor(np.ones(2, np.float32), requires_grad=True)
    for call in (lambda t: special.xlogy(2.0, t), lambda t: special.beta(t, 2),
                 lambda t: special.xlog1py(t, 0.5), lambda t: ours.polygamma(2, t),
                 lambda t: special.rel_entr(0.3, t)):  # fmt: skip
        made = call(t)
        assert made.dtype == np.float32
        assert grad(made.sum(), t)[0].dtype == np.float32
        check_gradients(call, [0.5, 2.0])


def test_scipy_is_imported_only_by_who_uses_it():
    code = (
        "import sys, autograd, autograd.scipy as s; from autograd.scipy import norm, logsumexp\n"
        "loaded = 'scipy' in sys.modules; import numpy as np; t = autograd.Tensor([1.0, 2.0])\n"
        "norm.logpdf(t); logsumexp(t); s.softmax(t); print(loaded, 'scipy' in sys.modules)\n"
        "print(norm.cdf(t).data.round(3), 'scipy.special' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split("\n")[:2] == ["False False", "[0.841 0.977] True"], done.stderr


def test_a_likelihood():
    """A probit regression with censored data, as one writes it with SciPy."""
    x, y = np.linspace(-1, 1, 5), np.array([-1.0, 0.3, 0.2, 0.9, 2.0])

    def loss(weights, log_scale):
        mean = weights[0] + weights[1] * x
        seen = ours.norm.logpdf(y[1:], mean[1:], np.exp(log_scale)).sum()
        return -seen - ours.norm.logcdf(y[0], mean[0], np.exp(log_scale))

    check_gradients(loss, [0.1, 0.7], 0.2)
