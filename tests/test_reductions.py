"""autograd/reductions.py: values and derivatives, options, conventions, and what NumPy refuses."""

import inspect
import warnings

import numpy as np
import pytest
from calculus import check, entered, row
from hypothesis import given, settings
from hypothesis import strategies as st

from autograd import Tensor, grad
from autograd.tensor import array_of

MASK = np.array([[True, False, True], [True, True, False]])
POINTS = np.array([0.0, 1.0, 3.0, 4.5])
S = (2, 3)


def holes(a):
    """a with nan in some places."""
    return np.where(np.array([[True, False, True], [True, True, False]]), a, np.nan)


def with_zeros(a):
    return a * np.array([[1, 0, 1], [0, 1, 0]], a.dtype)


def named(name, *cases):
    """Rows of a function: (call, shapes, options)."""
    return name, [row(name, *case[:-1], **case[-1]) if isinstance(case[-1], dict)
                  else row(name, *case) for case in cases]  # fmt: skip


FAR = {"distinct": True}
POSITIVE = {"low": 0.1, "high": 2.0}
OPTIONS = dict([
    named("sum", (lambda a: np.sum(a, axis=0, where=MASK, initial=2), S),
          (lambda a: np.sum(a, dtype=np.float64).astype(a.dtype), S),
          (lambda a, b: np.sum(a, -1, initial=b[0], keepdims=True), S, (1,))),
    named("prod", (lambda a: np.prod(a, 1, where=MASK, initial=2, keepdims=True), S),
          (lambda a: np.prod(a, dtype=a.dtype, where=MASK), S),
          (lambda a: np.prod(a, 1, initial=3), (2, 0))),
    named("max", (lambda a: np.max(a, 1, where=MASK, initial=0.5), S, {**FAR, "kinks": (0.5,)}),
          (lambda a: np.amax(a, initial=0.5, keepdims=True), S, {**FAR, "kinks": (0.5,)}),
          (lambda a: np.max(a, 1, initial=0.5, keepdims=True), (2, 0)),
          (lambda a: np.max(a, (0, 1)), S, FAR)),
    named("min", (lambda a: np.min(a, 1, where=MASK, initial=0.5), S, {**FAR, "kinks": (0.5,)}),
          (lambda a: np.amin(a, initial=0.5, keepdims=True), S, {**FAR, "kinks": (0.5,)}),
          (lambda a: np.min(a, 1, initial=-0.5), (2, 0)), (lambda a: np.min(a, 1), S, FAR)),
    named("mean", (lambda a: np.mean(a, 1, where=MASK), S), (lambda a: np.mean(a, (0,)), S),
          (lambda a: np.mean(a, where=MASK[0], keepdims=True), S),
          (lambda a: np.mean(a, dtype=np.float64, keepdims=True).astype(a.dtype), S)),
    named("var", (lambda a: np.var(a, 1, where=MASK, ddof=1), S),
          (lambda a: np.var(a, where=MASK[:1], keepdims=True), S),
          (lambda a: np.var(a, 1, correction=1), S), (lambda a: np.var(a, None, a.dtype), S),
          (lambda a: np.var(a, 0, ddof=0.5, keepdims=True), S)),
    named("std", (lambda a: np.std(a, (0, 1), where=MASK, ddof=1, keepdims=True), S),
          (lambda a: np.std(a, 1, where=MASK, correction=0.5), S),
          (lambda a: np.std(a, 1, dtype=a.dtype, correction=1), S),
          (lambda a: np.std(a, 0, ddof=0.5, keepdims=True), S)),
])  # fmt: skip
SKIPPING = dict([
    named("nansum", (lambda a: np.nansum(holes(a), 1), S), (lambda a: np.nansum(a, 1), S),
          (lambda a: np.nansum(holes(a), 0, initial=2, where=MASK, keepdims=True), S)),
    named("nanprod", (lambda a: np.nanprod(holes(a), 1), S), (lambda a: np.nanprod(holes(a)), S)),
    named("nanmax", (lambda a: np.nanmax(holes(a), 1), S, FAR),
          (lambda a: np.nanmax(a, keepdims=True), S, FAR),
          (lambda a: np.nanmax(holes(a), 0, initial=0, where=MASK), S, {**FAR, "kinks": (0,)})),
    named("nanmin", (lambda a: np.nanmin(holes(a), 1), S, FAR), (lambda a: np.nanmin(a), S, FAR)),
    named("nanmean", (lambda a: np.nanmean(holes(a), 1, keepdims=True), S),
          (lambda a: np.nanmean(holes(a)), S), (lambda a: np.nanmean(a, 0, where=MASK), S)),
    named("nanvar", (lambda a: np.nanvar(holes(a), ddof=1), S),
          (lambda a: np.nanvar(holes(a), 1, where=MASK), S), (lambda a: np.nanvar(a, 1), S)),
    named("nanstd", (lambda a: np.nanstd(holes(a), ddof=1), S), (lambda a: np.nanstd(a, 0), S)),
    named("nancumsum", (lambda a: np.nancumsum(holes(a), 1), S), (lambda a: np.nancumsum(a), S)),
    named("nancumprod", (lambda a: np.nancumprod(holes(a), 0, a.dtype), S)),
])  # fmt: skip
RUNNING = dict([
    named("cumsum", (lambda a: np.cumsum(a, 1, np.float64).astype(a.dtype), S),
          (lambda a: np.cumsum(a), S), (lambda a: np.cumsum(a, 0), (0, 2))),
    named("cumprod", (lambda a: np.cumprod(a, -2), (3, 2, 2)), (lambda a: np.cumprod(a), S),
          (lambda a: np.cumprod(with_zeros(a), 1), S, {"order": 1}),
          (lambda a: np.cumprod(with_zeros(a), 0), S), (lambda a: np.cumprod(a, 1, a.dtype), S),
          (lambda a: np.cumprod(with_zeros(a)), S), (lambda a: np.cumprod(a, 0), (0, 2))),
    named("cumulative_sum", (lambda a: np.cumulative_sum(a, axis=-1, include_initial=True), S),
          (lambda a: np.cumulative_sum(a, axis=0, include_initial=True), (0, 2)),
          (lambda a: np.cumulative_sum(a, dtype=a.dtype), (3,))),
    named("cumulative_prod", (lambda a: np.cumulative_prod(a, axis=0, include_initial=True), S),
          (lambda a: np.cumulative_prod(a), (3,))),
])  # fmt: skip
METHODS = """inverted_cdf averaged_inverted_cdf closest_observation interpolated_inverted_cdf hazen
weibull linear median_unbiased normal_unbiased lower higher midpoint nearest""".split()
ORDER = dict([
    named("sort", (lambda a: np.sort(a, 0), (4, 2), FAR), (lambda a: np.sort(a, None), S, FAR),
          (lambda a: np.sort(a, kind="mergesort"), (2, 5), FAR),
          (lambda a: np.sort(a, stable=False), (2, 5), FAR)),
    named("partition", (lambda a: np.partition(a, 2), (4, 7), FAR),
          (lambda a: np.partition(a, [2, 1], axis=None), (4, 2), FAR),
          (lambda a: np.partition(a, 4, 0, "introselect"), (9, 2), FAR)),
    named("median", (lambda a: np.median(a, 0), (4, 2), FAR), (lambda a: np.median(a), (), FAR),
          (lambda a: np.median(a, (0, 2), keepdims=True), (3, 2, 3), FAR)),
    named("nanmedian", (lambda a: np.nanmedian(holes(a), 1), S, FAR),
          (lambda a: np.nanmedian(holes(a), keepdims=True), S, FAR)),
    named("quantile", *[(lambda a, m=m: np.quantile(a, 0.3, 1, method=m), (2, 5), FAR)
                        for m in METHODS],
          (lambda a: np.quantile(a, np.array([0.3, 0.9], a.dtype), 1, keepdims=True), (2, 7), FAR)),
    named("percentile", (lambda a: np.percentile(a, 35, (-1, 0)), (2, 3, 4), FAR),
          (lambda a: np.percentile(a, [[30, 50], [100, 0]], (0, -1)).astype(a.dtype), (4, 1, 3),
           FAR)),
    named("nanquantile", (lambda a: np.nanquantile(holes(a), 0.3, 0), S, FAR),
          (lambda a: np.nanquantile(holes(a), 0.3, 1, method="weibull", keepdims=True), S, FAR)),
    named("unique", (lambda a: np.unique(a), S, FAR),
          (lambda a: np.unique(with_zeros(a), equal_nan=False), S, FAR),
          (lambda a: np.unique(np.concatenate([a, a]), axis=0), S, FAR),
          (lambda a: np.unique(a[[2, 0, 2]], axis=-1), (3, 2), FAR)),
    named("unique_values", (lambda a: np.sort(np.unique_values(a)), S, FAR)),
    named("unique_counts", (lambda a: np.unique_counts(with_zeros(a)).values, S, FAR)),
    named("unique_inverse", (lambda a: np.unique_inverse(with_zeros(a)).values, S, FAR)),
    named("unique_all", (lambda a: np.unique_all(with_zeros(a)).values, S, FAR)),
    named("nanpercentile", (lambda a: np.nanpercentile(holes(a), 30, 1), S, FAR)),
])  # fmt: skip
TRAPEZOID = getattr(np, "trapezoid", None) or np.trapz
KNOTS = {"low": -1.0, "high": 5.0, "kinks": (0, 1, 3, 4.5)}
DIFFERENCES = dict([
    named("trace", (lambda a: np.trace(a, 1, 2, 0), (3, 2, 4)), (lambda a: np.trace(a), (3, 3)),
          (lambda a: np.linalg.trace(a, offset=-1), (2, 3, 3)),
          (lambda a: np.trace(a, 5, dtype=a.dtype), (2, 2))),
    named("diff", (lambda a, b: np.diff(a, 2, 0, prepend=b, append=b), (3, 2), (1, 2)),
          (lambda a: np.diff(a), (2, 3)), (lambda a: np.diff(a, 0, prepend=1.0), (3,)),
          (lambda b: np.diff([1.0, 3.0], append=b).astype(b.dtype), (2,)),
          (lambda a: np.diff(a, axis=0, append=a[0, 0]), S), (lambda a: np.diff(a, 5), (3,)),
          (lambda b: np.diff(np.ones(3, b.dtype), prepend=b), (2,))),
    named("ediff1d", (lambda a, b: np.ediff1d(a, to_end=b, to_begin=[1]), (3, 2), (2, 1)),
          (lambda a: np.ediff1d(a), (4,))),
    named("gradient", (lambda a: np.gradient(a, POINTS, 2.0, edge_order=2), (4, 3)),
          (lambda a: np.gradient(a, POINTS, axis=0), (4, 3)), (lambda a: np.gradient(a, 2), (4, 3)),
          (lambda a: np.gradient(a, 2.0, 0.5), (2, 3)),
          (lambda h: np.gradient([1.0, 3.0, 2.0], h).astype(h.dtype), (), POSITIVE),
          (lambda a: np.gradient(a), (2,)), (lambda a: np.gradient(a, axis=(1, 0)), S),
          (lambda a: np.gradient(a, POINTS, axis=-1, edge_order=2), (2, 4)),
          (lambda h: np.gradient(POINTS.astype(h.dtype), h), (), POSITIVE),
          (lambda a, h: np.gradient(a, np.cumsum(h), axis=1, edge_order=2), (2, 5), (5,),
           POSITIVE)),
    named("unwrap", (lambda a: np.unwrap(4 * a), S, {"low": -1.0, "high": 5.0}),
          (lambda a: np.unwrap(a, 0.9, 0, period=1.1), (4, 2)),
          (lambda a, p: np.unwrap(3 * a, period=p), (6,), (), POSITIVE)),
    named("trapezoid", (lambda a: TRAPEZOID(a), (2, 4)), (lambda a: TRAPEZOID(a, dx=2.0), S),
          (lambda a, x: TRAPEZOID(a, x, axis=0), (4, 2), (4,)),
          (lambda a, x: TRAPEZOID(a, x, axis=-2), (4, 2), (4, 2)),
          (lambda x: TRAPEZOID(np.ones((2, 3), x.dtype), x), (3,))),
    named("interp", (lambda x, f: np.interp(x, POINTS, f).astype(x.dtype), (7,), (4,), KNOTS),
          (lambda x, f: np.interp(x, POINTS, f, left=2, right=3).astype(x.dtype), (7,), (4,),
           KNOTS),
          (lambda x, f: np.interp(x, POINTS, f, 2, 3, period=-4.7).astype(x.dtype), (2, 5), (4,),
           {**KNOTS, "low": -5, "high": 9, "kinks": (0, 1, 3, 4.5, 4.7, 5.7, 7.7, -0.2, -1.7, -3.7,
                                                    -4.7)}),
          (lambda x, p, f: np.interp(x, np.cumsum(np.exp(p)), f).astype(x.dtype), (9,), (4,), (4,),
           {"low": -2, "high": 2}),
          (lambda f: np.interp(2.5, POINTS, f).astype(f.dtype), (4,)),
          (lambda f: np.interp([0.0, 2.0], [1], f).astype(f.dtype), (1,))),
])  # fmt: skip
STATISTICS = dict([
    named("ptp", (lambda a: np.ptp(a, 0), S, FAR), (lambda a: np.ptp(a, keepdims=True), S, FAR)),
    named("average", (lambda a, w: np.average(a, 1, np.exp(w)), S, (3,)),
          (lambda a, w: np.average(a, (2, 0), np.exp(w), keepdims=True), (2, 3, 4), (4, 2)),
          (lambda a, w: np.average(a, None, np.exp(w), returned=True), S, S),
          (lambda a, w: np.average(a, 1, np.exp(w), returned=True), S, (3,)),
          (lambda a: np.average(a, 0), S), (lambda a: np.average(a, returned=True), S),
          (lambda w: np.average(np.ones(3, w.dtype), weights=np.exp(w)), (3,))),
    named("cov", (lambda a: np.cov(a).astype(a.dtype), (3, 4)),
          (lambda a: np.cov(a, dtype=a.dtype), (4,)),
          (lambda a, b: np.cov(a, b, rowvar=False, bias=True).astype(a.dtype), (4, 3), (4, 2)),
          (lambda a, b: np.cov(a, b, False).astype(a.dtype), (4, 2), (1, 4)),
          (lambda a, b: np.cov(a, b, ddof=0).astype(a.dtype), (4,), (2, 4)),
          (lambda a: np.cov(a, fweights=[1, 2, 3, 1]).astype(a.dtype), (2, 4)),
          (lambda a, w: np.cov(a, fweights=[1, 2, 3, 1], aweights=np.exp(w)).astype(a.dtype),
           (2, 4), (4,)),
          (lambda a, w: np.cov(a, aweights=np.exp(w), ddof=0).astype(a.dtype), (2, 4), (4,))),
    named("corrcoef", (lambda a: np.corrcoef(a).astype(a.dtype), (3, 5)),
          (lambda a, b: np.corrcoef(a, b, dtype=a.dtype), (5,), (5,)),
          (lambda a, b: np.corrcoef(a, b, dtype=a.dtype), (2, 5), (5,)),
          (lambda a: np.corrcoef(a, rowvar=False, dtype=a.dtype), (5, 3)),
          (lambda a: np.corrcoef(a).astype(a.dtype), (5,))),
])  # fmt: skip
TABLES = dict([
    named("bincount", (lambda w: np.bincount([2, 0, 2], w, minlength=5).astype(w.dtype), (3,)),
          (lambda w: np.bincount(np.array([True, False]), weights=w).astype(w.dtype), (2,))),
    named("apply_along_axis", (lambda a: np.apply_along_axis(np.sum, 0, a), S),
          (lambda a: np.apply_along_axis(np.outer, -2, a, a[0, 0]), (2, 3, 2)),
          (lambda a: np.apply_along_axis(lambda v, n: np.diag(v)[:n], 0, a, n=1), (2, 3, 2)),
          (lambda a: np.apply_along_axis(lambda v: v * v, 0, a), (3,))),
    named("apply_over_axes", (lambda a: np.apply_over_axes(np.sum, a, [0, -1]), (2, 3, 2)),
          (lambda a: np.apply_over_axes(np.cumsum, a, 1), S)),
])  # fmt: skip
TABLE = TABLES | OPTIONS | SKIPPING | RUNNING | ORDER | DIFFERENCES | STATISTICS


def test_every_function_has_a_row():
    assert entered("autograd.reductions") == TABLE.keys() | {"amax", "amin", "trapz"}


@pytest.mark.parametrize("name", TABLE)
def test_value_and_derivatives(name):
    if name.startswith("cumulative") and not hasattr(np, name):
        pytest.skip("this NumPy does not have it")
    for each in TABLE[name]:
        check(each)


# ---------------------------------------------------------------- as NumPy, whatever is drawn

COMPARED = {
    "axes": [np.sum, np.prod, np.max, np.min, np.mean, np.var, np.std, np.nansum, np.nanprod,
             np.nanmax, np.nanmin, np.nanmean, np.nanvar, np.nanstd, np.ptp, np.median,
             np.nanmedian, np.average, lambda a, **o: np.quantile(a, [0.3, 0.9], **o),
             lambda a, **o: np.nanpercentile(a, 25, **o)],
    "axis": [np.cumsum, np.cumprod, np.nancumsum, np.nancumprod, np.sort, np.diff, np.gradient,
             TRAPEZOID, lambda a, axis: np.partition(a, 1, axis),
             lambda a, axis: np.gradient(a, 2.0, axis=axis, edge_order=2),
             lambda a, axis: np.diff(a, 2, axis, prepend=1, append=a),
             lambda a, axis: np.trace(a, 1, axis, 0),
             *[lambda a, axis, f=f: f(a, axis=axis, include_initial=True)
               for f in (getattr(np, n, None) for n in ("cumulative_sum", "cumulative_prod"))
               if f]],
}  # fmt: skip


def result(function, *args, **options):
    """What a function gives, or the error it raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*args, **options)
    except (ValueError, TypeError, IndexError, ZeroDivisionError) as error:
        return error


def assert_same(function, a, **options):
    expected = result(function, a, **options)
    made = result(function, Tensor(a, requires_grad=a.dtype.kind == "f"), **options)
    where = f"{function} of {a!r} with {options}: {expected!r} and {made!r}"
    if isinstance(expected, Exception):
        assert isinstance(made, Exception), where
        return
    assert not isinstance(made, Exception), where
    assert isinstance(expected, tuple) == isinstance(made, tuple), where
    lists = [x if isinstance(x, tuple) else (x,) for x in (expected, made)]
    for x, y in zip(*lists, strict=True):
        assert type(y) is Tensor and y.shape == np.shape(x) and y.dtype == x.dtype, where
        digits = {"f": 1e-5, "d": 1e-10}.get(y.dtype.char, 0)
        digits = 1e-5 if a.dtype == "f4" else digits  # some versions compute a part in it
        np.testing.assert_allclose(y.data, x, digits, digits, equal_nan=True, err_msg=where)


@settings(max_examples=20)
@given(st.data())
def test_as_numpy_for_all_shapes_and_axes(data):
    shape = data.draw(st.lists(st.sampled_from([0, 1, 2, 3]), max_size=3).map(tuple))
    dtype = data.draw(st.sampled_from(["f8", "f4", "i8"]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    a = np.array(np.round(rng.uniform(-3, 3, shape), data.draw(st.integers(0, 2))))
    if dtype != "i8" and data.draw(st.booleans()):
        a[rng.random(shape) < 0.2] = np.nan
    a = a.astype(dtype)
    one = st.none() | st.integers(-len(shape) - 1, len(shape))
    several = st.lists(st.integers(-len(shape), max(len(shape) - 1, 0)), max_size=2).map(tuple)
    axis, keepdims = data.draw(one), data.draw(st.booleans())
    if shape or axis is None:  # of 0-d arrays NumPy's own functions differ
        for function in COMPARED["axes"]:
            assert_same(function, a, axis=axis, keepdims=keepdims)
        axes = data.draw(several)
        for function in COMPARED["axes"]:
            assert_same(function, a, axis=axes)
    for function in COMPARED["axis"]:
        assert_same(function, a, axis=axis)


def test_integers_stay_integers():
    a = np.array([[3, -1], [4, 0]])
    mask = np.array([True, False])
    for function in (np.max, np.min, np.sum, np.prod, np.nanmax, np.nanmin):
        assert_same(function, a, axis=0, where=mask, initial=2)
    for function in (np.sort, np.diff, np.ptp, np.cumsum, np.trace, np.median, np.gradient):
        assert_same(function, a)
    assert_same(lambda a: np.gradient(a, 0.5, 0.25), a)
    assert_same(lambda a: np.unwrap(a, period=4), np.array([0, 5, 3]))
    for method in ("lower", "higher", "linear"):
        assert_same(lambda a, **o: np.quantile(a, 0.4, **o), a, method=method)


def test_a_dtype_is_that_of_the_result():
    a = np.linspace(0.1, 1.3, 6, dtype="f4").reshape(3, 2)
    running = [getattr(np, n) for n in ("cumulative_sum", "cumulative_prod") if hasattr(np, n)]
    for function in (np.sum, np.prod, np.mean, np.var, np.std, np.nansum, np.nanprod, np.nanmean,
                     np.nanvar, np.nanstd, np.cumsum, np.cumprod, np.nancumsum, np.nancumprod,
                     np.trace, np.cov, np.corrcoef,
                     *[lambda a, f=f, **o: f(a, axis=1, **o) for f in running]):  # fmt: skip
        for dtype in (np.float64, np.float32):
            assert_same(function, a, dtype=dtype)


def test_what_numpy_refuses():
    a, rows = np.ones((2, 3)), np.arange(6.0).reshape(2, 3)
    for refused in [
        lambda a: np.max(a, where=MASK), lambda a: np.nanmin(a * np.nan, where=MASK),
        lambda a: np.sum(a, where=np.ones((2, 2, 3), bool)),
        lambda a: np.quantile(a, 1.5), lambda a: np.percentile(a, -1),
        lambda a: np.quantile(a, 0.5, method="best"), lambda a: np.partition(a, 3),
        lambda a: np.sort(a, kind="best"), lambda a: np.diff(a, -1), lambda a: np.diff(a[0, 0]),
        lambda a: np.gradient(a, 1, 2, 3), lambda a: np.gradient(a, [0.0, 1.0, 2.0], axis=0),
        lambda a: np.gradient(a, edge_order=2), lambda a: np.gradient(a, edge_order=3),
        lambda a: np.interp(a, [1, 2], [1, 2, 3]), lambda a: np.interp(a, [1], [1], period=0),
        lambda a: np.average(a, weights=[1, 2, 3]), lambda a: np.average(a, 1, [0, 0, 0]),
        lambda a: np.average(a, 0, [1, 2, 3]), lambda a: np.cov(a, fweights=[1, 2.5, 1]),
        lambda a: np.cov(a, aweights=[1, 2]), lambda a: np.ediff1d(a, to_end="x"),
        lambda a: np.unwrap(a, axis=2), lambda a: np.unique(a, axis=2),
        lambda a: np.bincount([0, 1], weights=a[0]), lambda a: np.bincount([-1], weights=a[0, :1]),
        lambda a: np.apply_along_axis(np.sum, 2, a),
        lambda a: np.apply_along_axis(np.sum, 1, a[:0]),
        lambda a: np.apply_over_axes(np.sum, a, 2),
        lambda a: np.apply_over_axes(lambda a, axis: a[0, 0], a, 0),
        lambda a: np.trace(a[0]), lambda a: TRAPEZOID(a[0, 0]), lambda a: np.cumsum(a, 2),
    ]:  # fmt: skip
        for each in (a, Tensor(rows, requires_grad=True)):
            with pytest.raises((ValueError, TypeError, IndexError, ArithmeticError, RuntimeError)):
                refused(each)


@pytest.mark.skipif(not hasattr(np, "cumulative_sum"), reason="NumPy 2.0 does not have it")
def test_cumulative_functions_need_an_axis():
    for function in (np.cumulative_sum, np.cumulative_prod):
        assert function(Tensor(2.0), include_initial=True).shape == (2,)
        with pytest.raises(ValueError, match=r"^cumulative_(sum|prod): axis= is needed.* 2 axes"):
            function(leaf([[1.0]]))


# ---------------------------------------------------------------- conventions


def leaf(data):
    return Tensor(np.asarray(data, float), requires_grad=True)


def slope(function, *values):
    args = [leaf(value) for value in values]
    out = function(*args)
    return [g.data.tolist() for g in grad(out, args, np.ones(out.shape))]


def test_equal_entries():
    weights = np.array([1.0, 2.0, 3.0])
    assert slope(lambda a: np.sort(a) * weights, [1, 1, 0]) == [[2, 3, 1]]
    assert slope(lambda a: np.partition(a, 1)[:2] * [1, 2], [1, 0, 1]) == [[2, 1, 0]]
    assert slope(np.median, [1, 1, 1, 1]) == [[0, 0.5, 0.5, 0]]
    assert slope(lambda a: np.quantile(a, 0.5), [2, 1, 1]) == [[0, 0, 1]]
    assert slope(lambda a: np.max(a, initial=2), [2, 1, 2]) == [[0.25, 0, 0.25]]
    assert slope(lambda a: np.max(a, initial=2, where=[True, False]), [2, 2]) == [[0.5, 0]]
    assert slope(lambda a: np.min(a, initial=2, where=[True, False]), [2, 2]) == [[0.5, 0]]
    assert slope(np.nanmax, [np.nan, 3, 3]) == [[0, 0.5, 0.5]]


def test_the_first_of_many_equal_entries_is_picked():
    a, weights = np.arange(200) % 2, np.arange(1.0, 201.0)
    order = np.argsort(a, stable=True)
    expected = np.zeros(200)
    expected[order] = weights
    for function in (np.sort, lambda a: np.partition(a, 150)):
        assert slope(lambda a, f=function: f(a) * weights, a) == [expected.tolist()]
    for q, pick in [(0, 0), (30 / 199, 60), (1, 199)]:
        (g,) = slope(lambda a, q=q: np.quantile(a, q), a)
        assert np.round(g, 9).nonzero()[0].tolist() == [pick]
    a = np.random.default_rng(0).integers(0, 10, 200).astype(float)
    parted = np.partition(a, 100)
    for value in range(10):
        expected[a == value] = weights[parted == value]
    assert slope(lambda a: np.partition(a, 100) * weights, a) == [expected.tolist()]


def test_unique_picks_the_first_and_gives_arrays_beside():
    a = [3, 1, np.nan, 3, 1, np.nan]
    assert slope(lambda a: np.unique(a) * [1, 2, 4], a) == [[2, 1, 4, 0, 0, 0]]
    assert slope(lambda a: np.unique_values(a)[:2] * [1, 2], a) == [[2, 1, 0, 0, 0, 0]]
    x = leaf(a)
    for options in ((True,), (False, True), (True, True, True)):
        made, expected = np.unique(x, *options), np.unique(x.data, *options)
        assert type(made) is tuple and type(made[0]) is Tensor and len(made) == len(expected)
        for y, z in zip(made[1:], expected[1:], strict=True):
            assert type(y) is np.ndarray
            np.testing.assert_array_equal(y, z)
    for function in (np.unique_all, np.unique_counts, np.unique_inverse):
        made, expected = function(x), function(x.data)
        assert type(made) is type(expected) and made.values.requires_grad
        for field in made._fields:
            np.testing.assert_array_equal(array_of(getattr(made, field)), getattr(expected, field))
    if "sorted" in inspect.signature(np.unique).parameters:
        with pytest.raises(TypeError, match=r"^np\.unique\(sorted=\) is not defined"):
            np.unique(x, sorted=False)


def test_at_a_jump_unwrap_has_the_slope_beside_it():
    assert slope(lambda a: np.unwrap(a, period=2), [0, 1, 3]) == [[1, 1, 1]]
    assert np.unwrap(Tensor([0, 5, 3]), period=4).data.tolist() == [0, 1, -1]
    assert slope(lambda p: np.unwrap(leaf([0, 3, 6.2]), period=p), 3) == [-3]


def test_counts_are_constant():
    made = np.bincount(Tensor([1, 0, 1]))
    assert type(made) is np.ndarray and made.tolist() == [1, 2]


def test_correlations_are_at_most_1():
    rng = np.random.default_rng(0)
    for _ in range(30):
        a = rng.standard_normal(5)
        assert np.abs(np.corrcoef(leaf([a, 3 * a, -0.7 * a])).data).max() <= 1


def test_nan():
    for function in (np.median, np.sort, lambda a: np.quantile(a, 0.2)):
        assert np.isnan(function(leaf([1, np.nan, 0])).data).any()
    assert slope(np.median, [1, np.nan, 0]) == [[0, 1, 0]]  # the entry that is picked
    for function in (np.nanmax, np.nanmin, np.nanmedian, lambda a, x: np.nanquantile(a, 0.2, x)):
        with pytest.warns(RuntimeWarning, match="All-NaN"):
            y = function(leaf([[1, np.nan], [np.nan, np.nan]]), 1)
        np.testing.assert_array_equal(y.data, [1, np.nan])
    with pytest.warns(RuntimeWarning, match="invalid value"):
        assert np.isnan(np.nanmean(leaf([np.nan])).item())


def test_infinities_are_picked_without_nan():
    assert np.median(leaf([np.inf, np.inf, -np.inf])).item() == np.inf
    with np.errstate(invalid="ignore"):  # NumPy's own value is nan here, with a warning
        assert np.quantile(leaf([-np.inf, 1, np.inf]), 0.5).item() == 1
        assert slope(lambda a: np.quantile(a, 0.5), [-np.inf, 1, np.inf]) == [[0, 1, 0]]


def test_standard_deviation_zero():
    x = leaf([1.0, 1.0, 5.0])
    (g,) = grad(np.std(x, where=[True, True, False]), x, create_graph=True)
    assert g.data.tolist() == [0, 0, 0]
    assert grad(g.sum(), x)[0].data.tolist() == [0, 0, 0]
    assert slope(lambda a: np.nanstd(a), [np.nan, 2, 2]) == [[0, 0, 0]]


def test_interpolation_at_and_beyond_the_points():
    points, values = [0.0, 1.0, 1.0, 2.0], [0.0, 1.0, 5.0, 7.0]
    x = leaf([-np.inf, -1, 0, 1, 2, 3, np.inf])
    y = np.interp(x, points, values)
    assert y.data.tolist() == [0, 0, 0, 5, 7, 7, 7]  # at a jump what is right of it
    assert slope(lambda x: np.interp(x, points, values), [-np.inf, -1, 0, 1, 2, 3, np.inf]) == [
        [0, 0, 1, 2, 0, 0, 0]
    ]
    assert np.isnan(np.interp(leaf([np.nan]), points, values).data).all()
    of_x, of_points = slope(lambda x, p: np.interp(x, p, [0.1, 0.7]), [0.3], [0.3, 0.9])
    assert of_x == pytest.approx([1]) and of_points == pytest.approx([-1, 0])  # at the first
    points, values = np.exp(9 * np.random.default_rng(0).random((2, 99)))
    points.sort()
    assert (np.interp(leaf(points), points, values).data == values).all()  # not but for rounding
    points, values = [0.0, 1.0, 1.0, 2.0], [0.0, 1.0, 5.0, 7.0]
    assert np.interp(x, points, values, left=-1, right=9).data.tolist() == [-1, -1, 0, 5, 7, 9, 9]


def test_gradient_keeps_nan_where_numpy_does():
    a = np.array([1.0, 2.0, np.nan, 4.0, 5.0, 7.0])
    for spacing in (2.0, np.arange(6.0), np.arange(6.0) ** 2):
        np.testing.assert_allclose(np.gradient(leaf(a), spacing).data, np.gradient(a, spacing))
    assert np.gradient(leaf(3.0)) == ()


def test_average_returns_the_sum_of_the_weights():
    y, total = np.average(leaf([1, 2]), weights=[1, 3], returned=True)
    assert y.item() == 1.75 and total.item() == 4
    w = leaf([1, 3])
    _, total = np.average(Tensor([1.0, 2.0]), weights=w, returned=True)
    assert grad(total, w)[0].data.tolist() == [1, 1]


def test_too_few_degrees_of_freedom():
    for function, value in [(lambda a: np.cov(a, ddof=2), np.inf),
                            (lambda a: np.var(a, ddof=3, where=[True, True]), np.inf)]:
        with pytest.warns(RuntimeWarning):
            assert function(leaf([1, 2])).item() == value


def test_options_that_have_no_meaning_are_refused_by_name():
    t = leaf([[1, 2], [3, 4]])
    for call, name in [
        (lambda: np.sum(t, out=np.zeros(())), "sum.out="),
        (lambda: np.var(t, mean=2.0), "var.mean="),
        (lambda: np.quantile(t, 0.5, weights=t.data, method="inverted_cdf"), "quantile.weights="),
        (lambda: np.median(t, overwrite_input=True), "median.overwrite_input="),
        (lambda: np.sort(t, order="x"), "sort.order="), (lambda: np.max(t, out=1), "max.out="),
    ]:  # fmt: skip
        with pytest.raises(TypeError, match=rf"^np\.{name}\) is not defined for Tensors"):
            call()
    with pytest.raises(TypeError, match="astype"):
        np.sum(t, dtype=int)
    with pytest.raises(ValueError, match=r"^apply_along_axis of shape \(0, 2\).* no row along 1$"):
        np.apply_along_axis(np.sum, 1, t[:0])


def test_a_hundred_thousand_entries_need_no_square_of_memory():
    a = np.linspace(-1, 2, 100_000)
    x = leaf(a)
    total = (np.gradient(x, 0.1) ** 2).sum() + np.median(x) + np.cumprod(1 + x / 1e5)[-1]
    assert grad(total, x)[0].shape == a.shape
