"""autograd/reductions.py: values and derivatives, options, conventions, and what NumPy refuses."""

import warnings

import numpy as np
import pytest
from calculus import check, row
from hypothesis import given, settings
from hypothesis import strategies as st

from autograd import Tensor, grad, op
from autograd.testing import check_op

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
]) if hasattr(np, "cumulative_sum") else {}  # fmt: skip
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
    named("nanpercentile", (lambda a: np.nanpercentile(holes(a), 30, 1), S, FAR)),
])  # fmt: skip
TRAPEZOID = getattr(np, "trapezoid", None) or np.trapz
KNOTS = {"low": -1.0, "high": 5.0, "kinks": (0, 1, 3, 4.5)}
DIFFERENCES = dict([
    named("trace", (lambda a: np.trace(a, 1, 2, 0), (3, 2, 4)), (lambda a: np.trace(a), (3, 3)),
          (lambda a: np.linalg.trace(a, offset=-1), (2, 3, 3)),
          (lambda a: np.trace(a, 5, dtype=a.dtype), (2, 2))),
    named("diff", (lambda a, b: np.diff(a, 2, 0, prepend=b, append=b), (3, 2), (1, 2)),
          (lambda a: np.diff(a), (2, 3)), (lambda a: np.diff(a, 0), (3,)),
          (lambda a: np.diff(a, axis=0, append=a[0, 0]), S), (lambda a: np.diff(a, 5), (3,)),
          (lambda b: np.diff(np.ones(3, b.dtype), prepend=b), (2,))),
    named("ediff1d", (lambda a, b: np.ediff1d(a, to_end=b, to_begin=[1]), (3, 2), (2, 1)),
          (lambda a: np.ediff1d(a), (4,))),
    named("gradient", (lambda a: np.gradient(a, POINTS, 2.0, edge_order=2), (4, 3)),
          (lambda a: np.gradient(a, POINTS, axis=0), (4, 3)), (lambda a: np.gradient(a, 2), (4, 3)),
          (lambda a: np.gradient(a), (2,)), (lambda a: np.gradient(a, axis=(1, 0)), S),
          (lambda a: np.gradient(a, POINTS, axis=-1, edge_order=2), (2, 4)),
          (lambda h: np.gradient(POINTS.astype(h.dtype), h), (), POSITIVE),
          (lambda a, h: np.gradient(a, np.cumsum(h), axis=1, edge_order=2), (2, 5), (5,),
           POSITIVE)),
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
          (lambda a: np.corrcoef(a, rowvar=False, dtype=a.dtype), (5, 3)),
          (lambda a: np.corrcoef(a).astype(a.dtype), (5,))),
])  # fmt: skip
TABLE = OPTIONS | SKIPPING | RUNNING | ORDER | DIFFERENCES | STATISTICS


@pytest.mark.parametrize("name", TABLE)
def test_value_and_derivatives(name):
    for each in TABLE[name]:
        check(each)
