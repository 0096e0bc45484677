"""Products: a table of calls, each tested as calculus.py tells; einsum as hypothesis draws it."""

import string
import warnings

import numpy as np
import pytest
from calculus import check, each_name, row
from hypothesis import given, settings
from hypothesis import strategies as st

from autograd import Tensor, check_gradients, grad


def leaf(*shape):
    return Tensor(np.random.default_rng(shape).standard_normal(shape), requires_grad=True)


def einsum(subscripts, *shapes, **options):
    return row("einsum", lambda *xs: np.einsum(subscripts, *xs, **options), *shapes)


VECTORS = [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 3)), ((2, 2, 3), (3,)),
           ((2, 3), (2, 3, 2)), ((2, 1, 3), (2, 3, 2)), ((), (2,)), ((2, 2), ()), ((), ()),
           ((2, 0), (0, 3))]  # fmt: skip
ROWS = [
    *(row("dot", np.dot, *shapes) for shapes in VECTORS),
    *(row("inner", np.inner, *shapes) for shapes in [((3,), (3,)), ((2, 3), (4, 3)), ((), (2,)),
      ((2,), ()), ((2, 1, 3), (2, 2, 3))]),
    row("vdot", np.vdot, (2, 3), (3, 2)), row("vdot", np.vdot, (), ()),
    row("vecdot", np.vecdot, (2, 3), (4, 1, 3)), row("vecdot", np.vecdot, (3,), (3,)),
    row("vecdot", lambda x, y: np.vecdot(x, y, axis=0), (3, 2), (3, 1)),
    row("vecdot", lambda x, y: np.linalg.vecdot(x, y, axis=-2), (2, 3, 2), (3, 2)),
    row("outer", np.outer, (2, 2), (3,)), row("outer", np.outer, (), (2,)),
    row("outer", np.linalg.outer, (2,), (3,)),
    row("tensordot", np.tensordot, (4, 2, 3), (2, 3)),
    row("tensordot", lambda x, y: np.tensordot(x, y, axes=0), (2, 3), (2,)),
    row("tensordot", lambda x, y: np.tensordot(x, y, axes=1), (2, 3), (3, 2)),
    row("tensordot", lambda x, y: np.tensordot(x, y, ([0, 1], [2, -2])), (2, 3), (4, 3, 2)),
    row("tensordot", lambda x, y: np.linalg.tensordot(x, y, axes=(0, 1)), (2, 3), (4, 2)),
    row("kron", np.kron, (2, 3), (2,)), row("kron", np.kron, (3,), (2, 1, 2)),
    row("kron", np.kron, (), (2,)),
    row("cross", np.cross, (2, 3), (3,)), row("cross", np.cross, (2, 1, 3), (1, 2, 3)),
    row("cross", lambda x, y: np.cross(x, y, axisa=0, axisb=1, axisc=0), (3, 2), (2, 3)),
    row("cross", lambda x, y: np.cross(x, y, axis=0), (3, 2), (3, 2)),
    row("cross", lambda x, y: np.linalg.cross(x, y, axis=0), (3, 2), (3, 2)),
    *(row(f.__name__, lambda x, y, f=f, mode=mode: f(x, y, mode), (n,), (m,))
      for f in (np.convolve, np.correlate) for mode in ("full", "same", "valid")
      for n, m in ((4, 3), (2, 4))),
    row("convolve", np.convolve, (3,), (2,)), row("convolve", np.convolve, (), (2,)),
    row("correlate", np.correlate, (3,), (2,)), 
    row("multi_dot", lambda *xs: np.linalg.multi_dot(xs), (3,), (3, 2), (2,)),
    row("multi_dot", lambda *xs: np.linalg.multi_dot(xs), (2, 3), (3, 1), (1, 2), (2, 3)),
    row("multi_dot", lambda *xs: np.linalg.multi_dot(xs), (3,), (3, 2)),
    row("multi_dot", lambda *xs: np.linalg.multi_dot(xs), (2, 3), (3,)),
    *(row("matrix_power", lambda x, n=n: np.linalg.matrix_power(x, n), (2, 2)) for n in range(5)),
    row("matrix_power", lambda x: np.linalg.matrix_power(x, 2), (2, 3, 3)),
    row("matrix_power", lambda x: np.linalg.matrix_power(x, 0), (2, 3, 3)),
    einsum("bthd,bshd->bhts", (2, 2, 1, 3), (2, 3, 1, 3)),
    einsum("ij,jk", (2, 3), (3, 4)), einsum("ij,jk->ki", (2, 3), (3, 4)),
    einsum("ba", (2, 3)), einsum("ii", (3, 3)), einsum("iji->ji", (2, 3, 2)),
    einsum("iijj->ij", (2, 2, 3, 3)), einsum("iii->i", (2, 2, 2)),
    einsum("iij,jk,k", (2, 2, 3), (3, 2), (2,)),
    einsum("...ij,...jk", (2, 1, 2, 3), (2, 3, 2)), einsum("i...->...", (2, 3)),
    einsum("...", (2, 3)), einsum("...,...", (2, 3), (3,)), einsum(" i j , j -> i ", (2, 3), (3,)),
    einsum("ij,kj->ik", (2, 1), (3, 4)), einsum("bid,ojd->bioj", (2, 2, 3), (3, 1, 3)),
    einsum("ij,j", (2, 1), (3,)), einsum("ij,ij,ij->i", (2, 3), (2, 3), (1, 3)),
    einsum(",i->i", (), (3,)), einsum(",", (), ()), einsum("i,i,i,i->", (2,), (2,), (2,), (2,)),
    einsum("ik,kj->ij", (2, 0), (0, 3)), einsum("ij,ji->", (2, 3), (3, 2)),
    einsum("Ba->aB", (2, 3)),
    *(einsum("ij,jk,kl", (2, 3), (3, 2), (2, 2), optimize=optimize)
      for optimize in (False, True, "optimal", ["einsum_path", (1, 2), (0, 1)],
                       ["einsum_path", (0, 1, 2)], ("greedy", 100))),
    row("einsum", lambda x, y: np.einsum(x, [0, 1], y, [1, 2], [2, 0]), (2, 3), (3, 4)),
    row("einsum", lambda x, y: np.einsum(x, [30, 1], y, [1, 2]), (2, 3), (3, 4)),
    row("einsum", lambda x, y, z: np.einsum(x, [0, 1], y, [1], z, [0], [1]), (2, 3), (3,), (2,)),
    row("einsum", lambda x: np.einsum(x, [0, 1], [1, 0]), (2, 3)),
    row("einsum", lambda x: np.einsum(x, [..., 0]), (2, 3)),
    row("einsum", lambda x: np.einsum(x, [0, 0]), (2, 2)),
]  # fmt: skip
if hasattr(np, "matvec"):
    ROWS += [row("matvec", np.matvec, (2, 3), (3,)), row("matvec", np.matvec, (4, 2, 3), (1, 3)),
             row("vecmat", np.vecmat, (3,), (3, 2)),
             row("vecmat", np.vecmat, (1, 3), (4, 3, 2))]  # fmt: skip
ROWS += [row("matrix_power", lambda x: np.linalg.matrix_power(x, -2), (2, 2), low=1, high=5)]


@each_name(ROWS)
def test_value_and_derivatives(rows):
    for r in rows:
        check(r)


# Calls with constants beside the Tensor, of which NumPy makes the dtype.
MIXED = [
    lambda x: np.dot(x, 2.0), lambda x: np.dot([[1.0, 2.0]], x), lambda x: np.inner(3, x),
    lambda x: np.outer(x, [1, 2]), lambda x: np.vdot([1, 2], x), lambda x: np.kron(np.ones(2), x),
    lambda x: np.tensordot(np.ones((2, 2), np.float32), x, 1), lambda x: np.convolve(2.0, x),
    lambda x: np.einsum("i,i", [1, 2], x), lambda x: np.einsum(",i", 2.0, x),
    lambda x: np.cross([1.0, 2.0, 3.0], np.append(x, 1)), lambda x: np.correlate(x, [1, 2], "full"),
    lambda x: np.linalg.multi_dot([x, np.ones((2, 2)), [1, 2]]), lambda x: np.vecdot([1, 2], x),
    lambda x: np.linalg.outer([1, 2], x),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_constants_beside_tensors(dtype):
    x = np.array([0.5, -1.5], dtype)
    for call in MIXED:
        made, expected = call(Tensor(x, requires_grad=True)), call(x)
        assert made.dtype == np.asarray(expected).dtype and made.requires_grad
        np.testing.assert_allclose(made.data, expected, rtol=1e-6)
        check_gradients(call, x)


@pytest.mark.parametrize("function", [
    np.dot, np.inner, np.vdot, np.outer, np.kron, np.vecdot, np.cross, np.convolve, np.correlate,
    lambda x, y: np.tensordot(x, y, 1), np.linalg.outer, np.linalg.cross, np.linalg.vecdot,
    lambda x, y: np.linalg.multi_dot([x, y]),
])  # fmt: skip
def test_either_may_be_a_list(function):
    x, y = np.array([0.5, -1.5, 2.0]), [3, 1, -2]
    for call in (lambda t: function(t, y), lambda t: function(y, t)):
        np.testing.assert_allclose(call(Tensor(x, requires_grad=True)).data, call(x), rtol=1e-12)
        check_gradients(call, x)


@pytest.mark.parametrize("function", [np.dot, np.inner, np.vdot, np.outer, np.kron, np.convolve])
def test_either_may_be_a_number(function):
    x = np.array([-1.5])
    for call in (lambda t: function(t, 2.0), lambda t: function(2.0, t)):
        made, expected = call(Tensor(x, requires_grad=True)), call(x)
        assert made.shape == np.shape(expected)
        np.testing.assert_array_equal(made.data, expected)
        check_gradients(call, x)


def test_convolutions_of_all_sizes():
    rng = np.random.default_rng(0)
    for n in range(1, 6):
        for m in range(1, 6):
            x, y = rng.standard_normal(n), rng.standard_normal(m)
            for f in (np.convolve, np.correlate):
                for mode in ("full", "same", "valid"):
                    made = f(Tensor(x, requires_grad=True), y, mode)
                    np.testing.assert_allclose(made.data, f(x, y, mode), atol=1e-12)


@pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) >= "2.5.0", reason="NumPy has none any more"
)
def test_vectors_of_two_entries():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # as NumPy's own
        for shapes in (((2, 2), (2,)), ((2, 2), (3,)), ((3,), (2, 2)), ((3, 2), (2,)),
                       ((2, 3), (2,)), ((2,), (3, 2)), ((2,), (2, 3))):  # fmt: skip
            check(row("cross", np.cross, *shapes))
    with pytest.warns(DeprecationWarning, match="2-dimensional vectors"):
        np.cross(leaf(2), leaf(2))


REFUSED = [
    (lambda: np.dot(leaf(2, 3), leaf(2, 3)), ValueError, r"^np\.dot: matmul of shapes"),
    (lambda: np.dot(leaf(2, 3), leaf(2, 2, 3)), ValueError, r"^np\.dot: tensordot of shapes"),
    (lambda: np.inner(leaf(2, 3), leaf(2, 2)), ValueError, r"^np\.inner: tensordot of shapes"),
    (lambda: np.tensordot(leaf(2, 3), leaf(2, 3), 1), ValueError, r"^tensordot of .*\[-1\].*\[0\]"),
    (lambda: np.tensordot(leaf(2, 3), leaf(2, 3), ([0, 1], [0])), ValueError, "^tensordot of"),
    (lambda: np.tensordot(leaf(2), leaf(2), 2), IndexError, r"^np\.tensordot: "),
    (lambda: np.vecdot(leaf(3), leaf(1)), ValueError, "^vecdot of shapes .*sizes do not fit"),
    (lambda: np.linalg.outer(leaf(2, 2), leaf(2)), ValueError, r"^outer needs .*\(2, 2\), \(2,\)"),
    (lambda: np.linalg.outer(leaf(2), leaf(2, 1)), ValueError, r"^outer needs .*\(2,\), \(2, 1\)"),
    (lambda: np.outer(leaf(2), leaf(2), np.ones((2, 2))), TypeError, r"^np\.outer\(out=\)"),
    (lambda: np.cross(leaf(4), leaf(3)), ValueError, "incompatible dim|3-dimensional"),
    (lambda: np.linalg.cross(leaf(2), leaf(3)), ValueError, r"^np\.linalg\.cross: .*2 and 3 dim"),
    (lambda: np.convolve(leaf(0), leaf(2)), ValueError, "^convolve of shapes .*empty"),
    (lambda: np.convolve(leaf(2, 2), leaf(2)), ValueError, "^convolve of shapes .*too deep"),
    (lambda: np.correlate(leaf(2), leaf()), ValueError, r"^correlate needs .*\(2,\), \(\)"),
    (lambda: np.correlate(leaf(2, 2), leaf(2)), ValueError, r"^correlate needs .*\(2, 2\), \(2,\)"),
    (lambda: np.correlate(leaf(2), leaf(2), "all"), ValueError, "'same'"),
    (lambda: np.linalg.multi_dot([leaf(2, 2)]), ValueError, "^multi_dot needs two arrays"),
    (lambda: np.linalg.multi_dot([leaf(2, 1), leaf(3, 2)]), ValueError,
     r"^multi_dot: shapes \(2, 1\) and \(3, 2\)"),
    (lambda: np.linalg.multi_dot([leaf(2), leaf(2), leaf(2)]), np.linalg.LinAlgError,
     "^multi_dot: array 1 of 3"),
    (lambda: np.linalg.multi_dot([leaf(2, 2), leaf(2, 2, 2)]), np.linalg.LinAlgError,
     "^multi_dot: array 1 of 2"),
    (lambda: np.linalg.matrix_power(leaf(2, 3), 2), np.linalg.LinAlgError, "must be square"),
    (lambda: np.linalg.matrix_power(leaf(2), 2), np.linalg.LinAlgError, "two-dimensional"),
    (lambda: np.linalg.matrix_power(leaf(2, 2), 1.5), TypeError, "must be an integer"),
    (lambda: np.matmul(leaf(2, 2), leaf(2, 2), axes=[(0, 1)] * 3), TypeError,
     r"^np\.matmul\(axes=\) is not defined"),
    (lambda: np.vecdot(leaf(2), leaf(2), axes=[0, 0, ()]), TypeError, r"^np\.vecdot\(axes=\)"),
    (lambda: np.einsum("ij,jk", leaf(2, 3), leaf(2, 3)), ValueError, r"^np\.einsum: .*label 'j'"),
    (lambda: np.einsum("ij->ik", leaf(2, 3)), ValueError, r"^np\.einsum: .*did not appear"),
    (lambda: np.einsum("i->ii", leaf(2)), ValueError, r"^np\.einsum: .*more than once"),
    (lambda: np.einsum("i,j", leaf(2)), ValueError, "einsum"),
    (lambda: np.einsum("ijk", leaf(2, 3)), ValueError, r"^np\.einsum: .*number of indices"),
    (lambda: np.einsum("ii", leaf(2, 3)), ValueError, r"^np\.einsum: .*label 'i'"),
    (lambda: np.einsum("jii", leaf(2, 1, 3)), ValueError, "^einsum: axes 1 and 2 .*1 and 3"),
    (lambda: np.einsum("i,i", leaf(2), leaf(2), dtype=float), TypeError, r"^np\.einsum\(dtype=\)"),
    (lambda: np.einsum("i", leaf(2), out=np.ones(2)), TypeError, r"^np\.einsum\(out=\)"),
]  # fmt: skip
if hasattr(np, "matvec"):
    REFUSED += [(lambda: np.matvec(leaf(3), leaf(3)), ValueError, "^matvec: .*enough dimensions"),
                (lambda: np.vecmat(leaf(3), leaf(3)), ValueError,
                 "^vecmat: .*enough dimensions")]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "message"), REFUSED)
def test_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_the_power_zero_is_the_identity_even_of_nan():
    x = Tensor(np.full((2, 2), np.nan), requires_grad=True)
    y = np.linalg.matrix_power(x, 0)
    np.testing.assert_array_equal(y.data, np.eye(2))
    np.testing.assert_array_equal(grad(y.sum(), x)[0].data, np.zeros((2, 2)))


def test_einsum_multiplies_two_at_a_time_in_the_best_order():
    x, y, z = leaf(2, 30), leaf(30, 40), leaf(40, 3)
    out = np.einsum("ij,jk,kl->il", x, y, z)
    node = out
    while node._op.__name__ != "matmul":
        node = node._args[0]
    assert {arg.shape for arg in node._args} in ({(2, 40), (40, 3)}, {(2, 30), (30, 3)})


def test_einsum_copies_nothing_where_one_matmul_does():
    q, k = leaf(2, 5, 3, 4), leaf(2, 6, 3, 4)
    scores = np.einsum("bthd,bshd->bhts", q, k)
    assert scores._op.__name__ == "matmul"
    for x, of in zip(scores._args, (q, k), strict=True):
        assert np.shares_memory(x.data, of.data)


@st.composite
def products(draw):
    """Subscripts and arrays that fit: repeated, summed and broadcast letters, and ellipses."""
    sizes = {c: draw(st.integers(1, 3)) for c in "abCd"}
    broadcast = draw(st.lists(st.integers(1, 3), max_size=2))
    texts, shapes = [], []
    for _ in range(draw(st.integers(1, 3))):
        letters = draw(st.lists(st.sampled_from(sorted(sizes)), max_size=4))
        shape = [sizes[c] for c in letters]
        for c in set(letters):
            if letters.count(c) == 1 and draw(st.booleans()) and draw(st.booleans()):
                shape[letters.index(c)] = 1
        if draw(st.booleans()):
            place = draw(st.integers(0, len(letters)))
            extra = broadcast[draw(st.integers(0, len(broadcast))):]
            letters.insert(place, "...")
            shape[place:place] = [n if draw(st.booleans()) else 1 for n in extra]
        texts.append("".join(letters))
        shapes.append(tuple(shape))
    subscripts = ",".join(texts)
    if draw(st.booleans()):
        used = sorted({c for c in subscripts if c in string.ascii_letters})
        kept = draw(st.lists(st.sampled_from(used), unique=True)) if used else []
        output = [*kept, "..."] if "..." in subscripts else kept
        subscripts += "->" + "".join(draw(st.permutations(output)))
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    return subscripts, [rng.uniform(-1, 1, shape) for shape in shapes]


@settings(max_examples=60)
@given(products())
def test_einsum_of_drawn_subscripts(product):
    subscripts, xs = product
    made = np.einsum(subscripts, *(Tensor(x, requires_grad=True) for x in xs))
    expected = np.einsum(subscripts, *xs)
    assert made.shape == np.shape(expected)
    np.testing.assert_allclose(made.data, expected, rtol=1e-10, atol=1e-12)
    check_gradients(lambda *ts: np.einsum(subscripts, *ts), *xs, entries=3)
