"""np.linalg on Tensors: NumPy's values and refusals, derivatives, what holds at singular points."""

import itertools

import numpy as np
import pytest
from calculus import check, each_name, row
from hypothesis import given, settings
from hypothesis import strategies as st

from autograd import Tensor, check_gradients, grad, no_grad
from autograd.testing import arrays

L = np.linalg
INF, NAN = np.inf, np.nan


def leaf(data):
    return Tensor(np.asarray(data, float), requires_grad=True)


def gradient(fn, x):
    x = leaf(x)
    return grad(fn(x), x)[0].data


def hessian(fn, x):
    """Of a function of one array of n entries: (n, n)."""

    def row(i):
        t = leaf(x)
        (g,) = grad(fn(t), t, create_graph=True)
        return grad(g.reshape(-1)[i], t)[0].data.ravel() if g.requires_grad else 0 * x.ravel()

    return np.stack([row(i) for i in range(x.size)])


def sym(x):
    return x + x.swapaxes(-1, -2)


def positive(x):
    return x @ x.swapaxes(-1, -2) + 2 * np.eye(x.shape[-1], dtype=x.dtype)


def rows_of(name, call, *cases, **more):
    return [row(name, call, *shapes, **more) for shapes in cases]


SQUARE = [((3, 3),), ((2, 1, 2, 2),), ((1, 1),), ((0, 0),), ((0, 2, 2),)]
OBLONG = [((4, 3),), ((2, 2, 3),), ((1, 2),), ((0, 2),), ((0, 3, 2),)]


def norms():
    kinks = {"kinks": (0.0,)}
    for ord, keepdims in itertools.product(
        [None, 0, 1, 2, 3, 2.5, 0.5, -1, -2, INF, -INF], [False, True]
    ):
        yield row("norm", lambda x, o=ord, k=keepdims: L.norm(x, o, -1, k), (2, 3), **kinks)
        yield row("vector_norm", lambda x, o=ord or 2, k=keepdims:
                  L.vector_norm(x, axis=(2, 0), ord=o, keepdims=k), (2, 3, 2), **kinks)  # fmt: skip
    for ord, axis in itertools.product(
        [None, "fro", "f", "nuc", 1, -1, 2, -2, INF, -INF], [(0, 1), (2, 0)]
    ):
        yield row("norm", lambda x, o=ord, a=axis: L.norm(x, o, a), (2, 3, 2), **kinks)
        yield row("norm", lambda x, o=ord, a=axis: L.norm(x, o, a, True), (2, 3, 2), **kinks)
    for ord in (None, 1, INF, 3):
        yield row("norm", lambda x, o=ord: L.norm(x, o), (4,), **kinks)
    for ord in (None, 1, INF, 2):
        yield row("norm", lambda x, o=ord: L.norm(x, o, keepdims=True), (2, 3), **kinks)
    yield row("norm", L.norm, (2, 1, 2))
    yield row("norm", L.norm, ())
    yield from rows_of("matrix_norm", L.matrix_norm, ((2, 3),), ((2, 3, 2),))
    yield row("matrix_norm", lambda x: L.matrix_norm(x, ord=1, keepdims=True), (2, 3, 2), **kinks)
    yield row("vector_norm", L.vector_norm, (2, 3))
    yield row("vector_norm", lambda x: L.vector_norm(x, axis=1, ord=1), (2, 3), **kinks)


def squared(*parts):
    """Vectors whose sign does not matter, with the cotangents of all of them."""
    return [part * part for part in parts]


ROWS = [
    *rows_of("inv", L.inv, *SQUARE),
    *rows_of("solve", L.solve, ((3, 3), (3,)), ((3, 3), (3, 2)), ((2, 2, 2), (2,)),
             ((2, 2), (3, 2, 2)), ((3, 1, 2, 2), (2, 2, 1)), ((0, 0), (0,)), ((0, 2, 2), (2, 1))),
    *rows_of("det", L.det, *SQUARE, order=3),
    *rows_of("slogdet", L.slogdet, *SQUARE),
    *rows_of("cholesky", lambda x: L.cholesky(positive(x)), *SQUARE),
    *rows_of("cholesky", lambda x: L.cholesky(positive(x), upper=True), ((2, 2, 2),)),
    *rows_of("eigh", lambda x: squared(*L.eigh(sym(x))), *SQUARE),
    row("eigh", lambda x: squared(*L.eigh(x @ np.diag(np.ones(3, x.dtype)) + x.T, "U")), (3, 3)),
    *rows_of("eigvalsh", lambda x: L.eigvalsh(sym(x)), *SQUARE),
    row("eigvalsh", lambda x: L.eigvalsh(sym(x), UPLO="U"), (2, 2)),
    *rows_of("svd", lambda x: squared(*L.svd(x)), *SQUARE),
    *rows_of("svd", lambda x: squared(*L.svd(x, full_matrices=False)), *OBLONG),
    *rows_of("svd", lambda x: L.svd(x, compute_uv=False), *OBLONG),
    row("svd", lambda x: L.svd(x, False)[0] @ L.svd(x, False)[2], (3, 2)),
    *rows_of("svdvals", L.svdvals, *OBLONG),
    *rows_of("qr", lambda x: L.qr(x), *SQUARE, *OBLONG, ((3, 5),)),
    *rows_of("qr", lambda x: L.qr(x, mode="r"), ((3, 2),), ((2, 3),)),
    *rows_of("pinv", L.pinv, *SQUARE, *OBLONG),
    row("pinv", lambda x: L.pinv(x, rtol=None), (3, 2)),
    row("pinv", lambda x: L.pinv(sym(x), hermitian=True), (2, 2)),
    *rows_of("lstsq", lambda a, b: [L.lstsq(a, b)[i] for i in (0, 1, 3)],
             ((4, 2), (4,)), ((4, 2), (4, 3)), ((2, 3), (2,)), ((2, 2), (2, 2)), ((3, 2), (3, 0)),
             ((0, 2), (0,))),
    row("tensorinv", L.tensorinv, (2, 3, 6)),
    row("tensorinv", lambda x: L.tensorinv(x, ind=1), (4, 2, 2)),
    *rows_of("tensorsolve", L.tensorsolve, ((2, 3, 6), (2, 3)), ((2, 2), (2,))),
    row("tensorsolve", lambda a, b: L.tensorsolve(a, b, axes=(0, 2)), (2, 6, 3), (6,)),
    *rows_of("cond", L.cond, ((3, 3),), ((2, 2, 3),)),
    row("cond", lambda x: L.cond(x, 2), (2, 2)),
    *norms(),
]  # fmt: skip


@each_name(ROWS)
def test_value_and_derivatives(rows):
    for r in rows:
        check(r)


def test_results_are_numpys_named_tuples():
    x = positive(np.arange(9.0).reshape(3, 3))
    for function in (L.eigh, L.svd, L.qr, L.slogdet):
        made, expected = function(leaf(x)), function(x)
        assert type(made) is type(expected)
        for field in expected._fields:
            part = getattr(made, field)
            assert type(part) is Tensor
            np.testing.assert_allclose(part.data, getattr(expected, field), atol=1e-12)
    x, left, rank, s = L.lstsq(leaf(np.ones((3, 2))), np.ones(3))
    assert (x.shape, left.shape, rank, s.shape) == ((2,), (0,), 1, (2,))
    assert L.slogdet(leaf(-np.eye(3))).sign.item() == -1


def test_the_other_argument_may_be_an_array_or_a_list():
    a, b = np.array([[1.0, 2.0], [3.0, 5.0]]), [1.0, -2.0]
    for function in (L.solve, L.tensorsolve, lambda a, b: L.lstsq(a, b)[0]):
        for mixed, x in [(lambda t, f=function: f(t, b), a), (lambda t, f=function: f(a, t), b)]:
            np.testing.assert_allclose(mixed(leaf(x)).data, L.solve(a, b), rtol=1e-12)
            check_gradients(mixed, x)


@pytest.mark.parametrize("function", [L.inv, L.det, L.qr, L.svdvals, L.pinv, L.eigvalsh])
@settings(max_examples=8)
@given(data=st.data())
def test_drawn_matrices(function, data):
    """Batches and sizes of all kinds, and small whole numbers, so that many are singular."""
    n = data.draw(st.integers(0, 3))
    batch = data.draw(st.sampled_from([(), (2,), (0,), (2, 1)]))
    x = data.draw(arrays((*batch, n, n))) + 4 * np.diag(np.arange(1, n + 1))
    check_gradients(lambda x: function(sym(x)), x)


# ---------------------------------------------------------------- singular matrices, equal values


SINGULAR = {
    "whole numbers": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]],
    "rounded": [[0.1, 0.2, 0.7], [0.3, 0.6, 0.1], [0.7, 1.4, 0.5]],
    "zero row": [[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [4.0, 5.0, 7.0]],
    "rank 1": [[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [-1.0, -2.0, -3.0]],
    "zeros": np.zeros((3, 3)),
    "one zero": [[0.0]],
    "a stack": [[[1.0, 2.0], [2.0, 4.0]], [[1.0, 2.0], [3.0, 4.0]]],
    "tiny": 1e-120 * np.array([[1.0, 2.0, 0.0], [3.0, 4.0, 1.0], [1.0, 0.0, 2.0]]),
}


@pytest.mark.parametrize("name", SINGULAR)
def test_det_at_singular_matrices(name):
    """A polynomial has all its derivatives everywhere."""
    x = np.array(SINGULAR[name])
    scale = np.abs(x).max() or 1.0
    check_gradients(lambda t: L.det(t * scale) + t.sum(), x / scale, order=3, atol=1e-7)

    def cofactors(m):
        n = len(m)
        return np.array([[(-1) ** (i + j) * L.det(np.delete(np.delete(m, i, 0), j, 1))
                          for j in range(n)] for i in range(n)])  # fmt: skip

    expected = [cofactors(m) for m in x.reshape(-1, *x.shape[-2:])]
    made = gradient(lambda t: L.det(t).sum(), x)
    np.testing.assert_allclose(made, np.reshape(expected, x.shape), rtol=1e-9, atol=1e-12 * scale)


def test_det_of_an_ordinary_large_matrix_takes_the_inverse(monkeypatch):
    x = (np.random.default_rng(0).standard_normal((60, 60)) / 5).astype(np.float32)
    monkeypatch.setattr("autograd.linalg._cofactors", None)
    t = Tensor(x, requires_grad=True)
    L.det(t).backward()
    np.testing.assert_allclose(t.grad, L.det(x) * L.inv(x).T, rtol=1e-2)


def test_det_of_nan_and_of_large_singular_matrices():
    with np.errstate(invalid="ignore"):  # NumPy's det warns, and may be 0
        for place in [(0, 0), (0, 1)]:
            x = np.ones((2, 2, 2))
            x[0][place] = NAN
            g = gradient(lambda t: L.det(t).sum(), x)
            assert np.isnan(g[0]).all()
            np.testing.assert_allclose(g[1], [[1, -1], [-1, 1]])
    x = np.random.default_rng(0).standard_normal((20, 20)) / 3
    x[:, 0] = x[:, 1]  # the determinant is linear in each column
    cofactors = [[(-1) ** i * L.det(np.delete(np.delete(x, i, 0), 0, 1))] for i in range(20)]
    made = gradient(L.det, x)
    np.testing.assert_allclose(made[:, :1], cofactors, rtol=1e-9)
    np.testing.assert_allclose(made[:, 1], -made[:, 0])
    assert np.abs(made[:, 2:]).max() < 1e-12 * np.abs(made).max()
    check_gradients(L.det, x, entries=2, rtol=1e-5)
    assert not gradient(L.det, x * 1e-30).any()  # all the cofactors underflow


def test_det_of_singular_matrices_in_float32():
    t = Tensor(np.ones((3, 3), np.float32), requires_grad=True)
    for create_graph in (False, True):
        (g,) = grad(L.det(t), t, create_graph=create_graph)
        assert g.dtype == np.float32
        np.testing.assert_allclose(g.data, np.zeros((3, 3)), atol=1e-6)


def test_singular_matrices_are_refused_as_by_numpy():
    for function in (L.inv, lambda t: L.solve(t, np.ones(2)), lambda t: L.tensorinv(t, 1)):
        with pytest.raises(L.LinAlgError, match="Singular matrix"):
            function(leaf(np.ones((2, 2))))
    with pytest.raises(L.LinAlgError, match="positive definite"):
        L.cholesky(leaf(-np.eye(2)))
    q, r = L.qr(x := leaf([[1.0, 1.0], [1.0, 1.0]]))
    with pytest.raises(L.LinAlgError, match="Singular matrix"):
        grad((q * q).sum() + r.sum(), x)


def test_slogdet_of_a_singular_matrix_has_slope_nan_and_leaves_the_others_alone():
    x = leaf([[[1.0, 2.0], [2.0, 4.0]], [[1.0, 2.0], [3.0, 4.0]]])
    sign, y = L.slogdet(x)
    assert sign.data.tolist() == [0, -1] and y.data[0] == -INF
    (g,) = grad(y, x, np.ones(2))
    assert np.isnan(g.data[0]).all()
    np.testing.assert_allclose(g.data[1], L.inv(x.data[1]).T)


REPEATED = {
    "identity": np.eye(3),
    "two of three": np.diag([2.0, 1.0, 2.0]),
    "by rounding": np.ones((3, 3)),  # 0 twice
    "zeros": np.zeros((3, 3)),
}


@pytest.mark.parametrize("name", REPEATED)
def test_equal_eigenvalues(name):
    """Of symmetric functions of the eigenvalues the gradients are right."""
    x = REPEATED[name]
    np.testing.assert_allclose(gradient(lambda t: L.eigvalsh(t).sum(), x), np.eye(3), atol=1e-12)
    squares = gradient(lambda t: (L.eigvalsh((t + t.T) / 2) ** 2).sum(), x)
    np.testing.assert_allclose(squares, 2 * x, atol=1e-12)
    assert np.isfinite(hessian(lambda t: (L.eigvalsh(t) ** 2).sum(), x)).all()
    # Of vectors, those of equal values do not mix, not even by the factor 1 / rounding.
    g = gradient(lambda t: (L.eigh(t).eigenvectors * np.arange(9.0).reshape(3, 3)).sum(), x)
    assert np.abs(g).max() < 100
    if name in ("identity", "zeros"):
        np.testing.assert_array_equal(g, np.zeros((3, 3)))


def test_equal_means_equal_beside_the_values_of_the_same_matrix():
    x = sym(np.arange(9.0).reshape(3, 3) ** 1.5)
    weights = np.arange(9.0).reshape(3, 3)
    for function in (lambda t: L.eigh(t).eigenvectors, lambda t: L.svd(t).U):
        alone = gradient(lambda t, f=function: (f(t) * weights).sum(), x)
        g = gradient(lambda t, f=function: (f(t) * weights).sum(), np.stack([x, 1e-20 * x]))
        np.testing.assert_allclose(g[0], alone, rtol=1e-9)
        np.testing.assert_allclose(g[1] * 1e-20, alone, rtol=1e-6, atol=1e-9)


def test_the_projection_on_a_space_of_equal_eigenvalues_has_a_derivative():
    """It does not depend on how they mix."""
    x = np.diag([1.0, 1.0, 3.0])
    turn = L.qr(np.arange(9.0).reshape(3, 3) + np.eye(3)).Q
    x, direction = turn @ x @ turn.T, np.array([[0, 1.0, 2], [1, -1, 3], [2, 3, 0.5]])

    def projection(t):
        v = L.eigh(t).eigenvectors[:, :2]
        return v @ v.T

    change = (projection(x + 1e-5 * direction) - projection(x - 1e-5 * direction)) / 2e-5
    weights = sym(np.arange(9.0).reshape(3, 3))
    g = gradient(lambda t: (projection(t) * weights).sum(), x)
    np.testing.assert_allclose((g * direction).sum(), (change * weights).sum(), rtol=1e-6)


@pytest.mark.parametrize("name", REPEATED)
def test_equal_singular_values(name):
    x = REPEATED[name]
    squares = gradient(lambda t: (L.svdvals(t) ** 2).sum(), x)
    np.testing.assert_allclose(squares, 2 * x, atol=1e-12)
    tall = np.vstack([x, np.zeros((2, 3))])
    squares = gradient(lambda t: (L.svdvals(t) ** 2).sum(), tall)
    np.testing.assert_allclose(squares, 2 * tall, atol=1e-12)
    assert np.isfinite(hessian(lambda t: (L.svdvals(t) ** 2).sum(), tall)).all()
    weights = np.arange(15.0).reshape(5, 3)
    g = gradient(lambda t: (L.svd(t, full_matrices=False).U * weights).sum(), tall)
    assert np.abs(g).max() < 100


def test_singular_values_of_0_but_for_rounding_are_equal():
    rng = np.random.default_rng(0)
    for x in (np.outer([0.1, 0.2, 0.7], [0.3, 0.6, 0.1]), np.outer(*rng.standard_normal((2, 4)))):
        assert L.svd(x).S[1] > 0
        weights = rng.standard_normal(x.shape)
        for field in ("U", "Vh"):
            g = gradient(lambda t, f=field, w=weights: (getattr(L.svd(t), f) * w).sum(), x)
            assert np.abs(g).max() < 100


def test_values_that_are_equal_but_for_many_roundings():
    rng = np.random.default_rng(0)
    v = rng.standard_normal((12, 1))
    turn, mirror = L.qr(rng.standard_normal((12, 12))).Q, np.eye(12) - 2 * v @ v.T / (v.T @ v)
    for x, vectors in [(turn, lambda t: L.svd(t).U), (mirror, lambda t: L.eigh(t).eigenvectors)]:
        g = gradient(lambda t, f=vectors: (f(t) * rng.standard_normal((12, 12))).sum(), x)
        assert np.abs(g).max() < 100


def test_a_singular_value_of_0_has_slope_0():
    np.testing.assert_array_equal(gradient(lambda t: L.svdvals(t).sum(), np.zeros((2, 3))), 0)
    g = gradient(lambda t: L.svdvals(t).sum(), [[2.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(g, [[1, 0], [0, 0]], atol=1e-15)


def test_one_triangle_is_read_and_has_all_of_the_gradient():
    x = positive(np.arange(9.0).reshape(3, 3) / 9)
    low, high = np.tril(x), np.triu(x)
    for function, part in [
        (L.cholesky, low), (lambda t: L.cholesky(t, upper=True), high), (L.eigvalsh, low),
        (lambda t: L.eigvalsh(t, "U"), high), (lambda t: L.eigh(t, "L").eigenvectors ** 2, low),
    ]:  # fmt: skip
        np.testing.assert_allclose(function(Tensor(part)).data, function(x), atol=1e-12)
        check_gradients(function, x)  # entry by entry, so that x does not stay symmetric
        check_gradients(function, part)
    g = gradient(lambda t: (L.pinv(t, hermitian=True) * np.arange(9.0).reshape(3, 3)).sum(), x)
    np.testing.assert_allclose(g, g.T)


def test_pinv_at_constant_rank():
    """A change that keeps the rank changes the pseudo-inverse as finite differences do."""
    a, b = np.array([[1.0], [2.0], [-1.0]]), np.array([[0.5, 1.0]])
    check_gradients(lambda a, b: L.pinv(a @ b), a, b)
    check_gradients(lambda a, b: L.lstsq(a @ b, np.array([1.0, 2.0, 3.0]))[0], a, b)


def test_how_small_singular_values_are_cut_off():
    x = np.diag([1.0, 1e-3])
    for options in ({"rcond": 1e-2}, {"rtol": 1e-2}, {"rcond": 1e-4}):
        np.testing.assert_array_equal(L.pinv(leaf(x), **options).data, L.pinv(x, **options))
    for small, rcond in itertools.product((0.4, 0.7, 1.5, 10, 100), (None, -1, 1e-2, 0.0, 1, 2)):
        x = np.vstack([np.diag([1.0, small * np.finfo(float).eps]), np.zeros((30, 2))])
        made, expected = L.lstsq(leaf(x), np.ones(32), rcond), L.lstsq(x, np.ones(32), rcond)
        np.testing.assert_allclose(made[0].data, expected[0])
        assert made[1].shape == expected[1].shape and made[2] == expected[2]
    x = (np.outer([1.0, 2.0, 4.0], [0.5, 3.0])).astype(np.float32)
    made = L.lstsq(Tensor(x, requires_grad=True), np.ones(3, np.float32))[0]
    np.testing.assert_allclose(made.data, L.lstsq(x, np.ones(3, np.float32))[0], rtol=1e-5)


def test_norms_at_0_have_slope_0_and_most_have_second_derivatives_0():
    for ord in (None, 1, 2, 3, 1.5, 0.5, -1, INF, -INF):

        def fn(t, ord=ord):
            return L.norm(t, ord)

        assert not gradient(fn, np.zeros(3)).any(), ord
        assert ord in (None, 2) or not hessian(fn, np.zeros(3)).any(), ord
        assert np.isfinite(gradient(fn, [0.0, 3.0, -4.0])).all(), ord
        assert gradient(fn, [0.0, 3.0, -4.0])[0] == 0, ord
    for ord in (None, 1, 2, -1, -2, "nuc", INF, -INF):
        assert not gradient(lambda t, o=ord: L.norm(t, o, (0, 1)), np.zeros((2, 2))).any(), ord
    np.testing.assert_array_equal(L.norm(leaf([0.0, 2.0]), -1).data, 0)
    np.testing.assert_array_equal(gradient(lambda t: L.norm(t, INF), [2.0, -2.0]), [0.5, -0.5])
    assert not L.norm(leaf([0.0, 2.0]), 0).requires_grad


def test_norms_of_nothing():
    for shape, ord, axis in [((0,), INF, None), ((0,), 1, None), ((0, 2), INF, 0), ((0,), 3, None),
                             ((2, 0), "nuc", None), ((0, 2), 2, None), ((0, 2), 1, None),
                             ((2, 0), INF, None)]:  # fmt: skip
        made = L.norm(leaf(np.zeros(shape)), ord, axis)
        assert made.shape == np.zeros(shape).sum(axis).shape and not made.data.any()
    with pytest.raises(ValueError, match="zero-size"):
        L.norm(leaf(np.zeros(0)), -INF)


def test_integers_are_made_float_as_numpy_does():
    for function in (
        lambda x: L.vector_norm(x, ord=1),
        lambda x: L.norm(x, 1),
        L.vector_norm,
        lambda x: L.norm(x, -1, 0),
        L.inv,
    ):
        made, expected = function(Tensor([[1, 2], [3, 4]])), function(np.array([[1, 2], [3, 4]]))
        assert made.dtype == expected.dtype == float
        np.testing.assert_allclose(made.data, expected)


def test_cond_of_a_singular_matrix_is_inf_with_slope_0():
    assert L.cond(leaf(np.diag([1.0, 0.0]))).item() == INF
    assert L.cond(leaf(np.zeros((2, 2)))).item() == INF
    assert L.cond(leaf(np.diag([2.0, 1.0, 0.0]))).item() == INF
    assert not gradient(L.cond, np.diag([1.0, 0.0])).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (L.eig, r"^np\.linalg\.eig gives complex numbers"),
        (L.eigvals, r"^np\.linalg\.eigvals gives complex numbers"),
        (L.svd, r"full_matrices=True\) of shape \(3, 2\).*pass full_matrices=False"),
        (lambda t: L.svd(t, False, hermitian=True), r"np\.linalg\.svd\(hermitian=\)"),
        (lambda t: L.qr(t, "complete"), r'np\.linalg\.qr\(mode="complete"\)'),
        (lambda t: L.qr(t, "raw"), r'np\.linalg\.qr\(mode="raw"\)'),
        (lambda t: L.cond(t, 1), r"np\.linalg\.cond\(p=1\): write norm"),
        (lambda t: L.norm(t, "nuc", 0), "ord='nuc' is for matrices"),
        (lambda t: L.norm(t, 3), "ord=3 is not defined for matrices"),
        (lambda t: L.norm(t[None], 2), "3 axes"),
        (lambda t: L.norm(t[None], axis=(0, 1, 2)), "3 axes"),
        (lambda t: L.norm(t, 2, (1, -1)), "repeated axis"),
        (lambda t: L.norm(t, 2, 5), "out of bounds"),
        (lambda t: L.pinv(t, 0.1, rtol=0.1), "can't be both set"),
        (lambda t: L.tensorinv(t, 0), r"ind=0"),
    ],
)  # fmt: skip
def test_what_is_refused(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call(leaf(np.arange(6.0).reshape(3, 2)))


def test_wrong_shapes_are_refused_as_by_numpy():
    for function in (L.inv, L.det, L.slogdet, L.cholesky, L.eigh, L.eigvalsh, L.tensorinv,
                     lambda x: L.solve(x, np.ones(3)), lambda x: L.tensorsolve(x, np.ones(3)),
                     lambda x: L.lstsq(x, np.ones(4))):  # fmt: skip
        for on in (np.ones((3, 2)), leaf(np.ones((3, 2)))):
            with pytest.raises(L.LinAlgError):
                function(on)
    for function in (L.inv, L.svd, L.qr):
        with pytest.raises(L.LinAlgError):
            function(leaf(np.ones(3)))


def test_eigenvalues_of_a_constant_are_numpys():
    constant = Tensor([[2.0, 1.0], [0.0, 3.0]])
    np.testing.assert_array_equal(L.eigvals(constant), [2, 3])
    with no_grad():
        assert L.eig(leaf(constant.data)).eigenvalues.shape == (2,)
