"""autograd/polynomials.py: values and derivatives of every function, and what is refused."""

import numpy as np
import pytest
from calculus import check, each_name, entered, row

from autograd import Tensor, check_gradients, grad

POINTS = np.array([-1.0, 0.2, 0.7, 1.5, 2.4])
POSITIVE = {"low": 0.5, "high": 2.0}
ROWS = [
    row("polyval", np.polyval, (3,), (2, 2)),
    row("polyval", lambda p: np.polyval(p, 2.0).astype(p.dtype), (3,)),
    row("polyval", lambda x: np.polyval([3, 0, 1], x).astype(x.dtype), (2,)),
    row("polyval", lambda x: np.poly1d([3.0, 0.0, 1.0])(x).astype(x.dtype), ()),
    row("polyadd", lambda p, q: np.polyadd(p, q), (3,), (2,)),
    row("polyadd", lambda p: np.polyadd([1, 2, 3], p).astype(p.dtype), ()),
    row("polysub", lambda p, q: np.polysub(p, q), (1,), (2,)),
    row("polysub", lambda q: np.polysub([1.0, 2.0], q).astype(q.dtype), (2,)),
    row("polymul", lambda p, q: np.polymul(p, q), (3,), (2,)),
    row("polymul", lambda p: np.polymul(np.pad(p, (2, 0)), [0, 3]).astype(p.dtype), (2,)),
    row("polymul", lambda p: np.polymul(2, p * 0).astype(p.dtype), (3,)),
    row("polymul", lambda p: np.polymul(0, p).astype(p.dtype), (3,)),
    row("polyval", lambda x: np.polyval([], x), (2,)),
    row("polyint", lambda p: np.polyint(p, 2, [3, 4]).astype(p.dtype), (2,)),
    row("polyder", lambda p: np.polyder(p).astype(p.dtype), (4,)),
    row("polyder", lambda p: np.polyder(p, 2).astype(p.dtype), (4,)),
    row("polyder", lambda p: np.polyder(p, m=0).astype(p.dtype), (4,)),
    row("polyder", lambda p: np.polyder(p, 5).astype(p.dtype), (3,)),
    row("polyint", lambda p: np.polyint(p).astype(p.dtype), (3,)),
    row("polyint", lambda p, k: np.polyint(p, 2, k).astype(p.dtype), (3,), ()),
    row("polyint", lambda p, k: np.polyint(p, m=2, k=k).astype(p.dtype), (3,), (2,)),
    row("polyint", lambda p: np.polyint(p, 0).astype(p.dtype), (3,)),
    row("poly", np.poly, (4,)),
    row("poly", np.poly, (1,)),
    row("vander", lambda x: np.vander(x).astype(x.dtype), (3,)),
    row("vander", lambda x: np.vander(x, 4, increasing=True).astype(x.dtype), (2,)),
    row("vander", lambda x: np.vander(x, N=1).astype(x.dtype), (2,)),
    row("vander", lambda x: np.vander(x, 0).astype(x.dtype), (2,)),
    row("polyfit", lambda y: np.polyfit(POINTS, y, 2).astype(y.dtype), (5,)),
    row("polyfit", lambda y: np.polyfit(POINTS, y, deg=1, rcond=1e-9).astype(y.dtype), (5, 2)),
    row("polyfit", lambda y, w: np.polyfit(POINTS, y, 2, w=w).astype(y.dtype), (5,), (5,),
        **POSITIVE),
    row("polyfit", lambda y, w: np.polyfit(POINTS, y, 1, None, False, w).astype(y.dtype), (5, 2),
        (5,), **POSITIVE),
    row("polyfit", lambda x: np.polyfit(x, POINTS, 2).astype(x.dtype), (5,), distinct=True),
]


def test_every_function_has_a_row():
    assert entered("autograd.polynomials") == {r.name for r in ROWS}


@each_name(ROWS)
def test_value_and_derivatives(rows):
    for r in rows:
        check(r)


def leaf(data):
    return Tensor(np.asarray(data, float), requires_grad=True)


def test_vander_at_zero():
    x = leaf([0.0])
    y = np.vander(x, 3)
    assert y.data.tolist() == [[0, 0, 1]]
    (g,) = grad(y[0, 0], x, create_graph=True)  # x**2
    assert g.item() == 0 and grad(g.sum(), x)[0].item() == 2


def test_a_leading_zero_is_left_out_of_a_product():
    p = leaf([0.0, 2.0])
    y = np.polymul(p, [3.0, 1.0])
    assert y.data.tolist() == [6, 2]
    assert grad(y, p, np.ones(2))[0].data.tolist() == [0, 4]


def test_dtypes_are_those_of_numpy():
    for x in (np.array([1, 2, 3]), np.array([1.0, 2.0, 3.0], np.float32)):
        for call in (np.polyder, np.polyint, np.poly, np.vander, lambda p: np.polyfit(p, p, 1),
                     lambda p: np.polyval(p, 2), lambda p: np.polyval([1.0, 2.0], p),
                     lambda p: np.polymul(p, p), lambda p: np.polyadd(p, [1])):  # fmt: skip
            assert call(Tensor(x)).dtype == call(x).dtype


def test_integers():
    p = Tensor([3, 0, 1])
    assert np.polyval(p, 2).item() == 13
    assert np.poly(Tensor([1, 2])).data.tolist() == [1, -3, 2]


def test_a_fit_of_too_few_points_warns_as_numpy_does():
    with pytest.warns(np.exceptions.RankWarning):
        p = np.polyfit([1.0, 1.0], leaf([1.0, 3.0]), 1)
    assert np.polyval(p, 1.0).item() == pytest.approx(2)


def test_how_small_singular_values_of_a_fit_are_cut_off():
    near = (1 + POINTS / 1e4).astype(np.float32)  # of rank 2 in float32, where the powers are made
    for x, y, rcond in [(POINTS, POINTS**3, 0.5), (near, POINTS.astype(np.float32), None)]:
        with pytest.warns(np.exceptions.RankWarning):
            expected = np.polyfit(x, y, 3, rcond)
            made = np.polyfit(x, Tensor(y, requires_grad=True), 3, rcond)
        np.testing.assert_allclose(made.data, expected, rtol=1e-4)


def test_a_fit_found_by_a_fit():
    """The slope of a least-squares line through points that a polynomial gave."""
    check_gradients(lambda p: np.polyfit(POINTS, np.polyval(p, POINTS) ** 2, 1)[0], [1.0, -0.5])


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda t: np.polyfit(POINTS[:3], t, 1, full=True), TypeError, r"^np\.polyfit\(full=\)"),
        (lambda t: np.polyfit(POINTS[:3], t, 1, cov=True), TypeError, r"^np\.polyfit\(cov=\)"),
        (lambda t: np.polyfit(POINTS, t, 1), TypeError, r"^np\.polyfit: .*same length"),
        (lambda t: np.polyfit(POINTS[:3], t, 1, w=[1, 2]), TypeError,
         r"^np\.polyfit: .*w and y to have the same length"),
        (lambda t: np.polyfit(POINTS[:3], t, -1), ValueError, r"^np\.polyfit: expected deg >= 0"),
        (lambda t: np.polyval(t, np.poly1d([1, 2])), TypeError, "^polyval at a poly1d"),
        (lambda t: np.poly(np.diag(t)), ValueError, r"^poly of a matrix, of shape \(3, 3\)"),
        (lambda t: np.polyder(t, -1), ValueError, r"^np\.polyder: Order of derivative"),
        (lambda t: np.polyint(t, 3, [1, 2]), ValueError, r"^np\.polyint: k must be"),
        (lambda t: np.vander(t[None]), ValueError, r"^np\.vander: x must be a one-dimensional"),
        (lambda t: np.roots(t), TypeError, r"^np\.roots gives complex numbers"),
        (lambda t: np.polydiv(t, [1.0, 2.0]), TypeError, r"^np\.polydiv has no op"),
    ],
)
def test_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call(leaf([1.0, 2.0, 4.0]))
