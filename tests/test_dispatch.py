"""NumPy's functions find what stands for them, and their arguments arrive where they belong."""

import numpy as np
import pytest

import autograd as ag
from autograd import Tensor, check_gradients, grad, implements, no_grad, op
from autograd.dispatch import implementations

pytestmark = pytest.mark.usefixtures("registry")


def leaf(data):
    return Tensor(np.asarray(data, float), requires_grad=True)


X, Y = np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[0.5, -1.0], [2.0, 4.0]])

# Functions whose parameters have other names in NumPy than in the op, and calls of them.
CALLS = [
    (np.outer, lambda f: f(X, Y)), (np.roll, lambda f: f(X, 1)), (np.kron, lambda f: f(X, Y)),
    (np.roll, lambda f: f(X, shift=1)), (np.tile, lambda f: f(X, (2, 1))),
    (np.repeat, lambda f: f(X, 2)), (np.flip, lambda f: f(X, 0)), (np.diag, lambda f: f(X)),
    (np.dot, lambda f: f(X, Y)), (np.inner, lambda f: f(X, Y)), (np.vdot, lambda f: f(X, Y)),
    (np.tensordot, lambda f: f(X, Y, 1)), (np.tril, lambda f: f(X, -1)),
    (np.median, lambda f: f(X)), (np.quantile, lambda f: f(X, 0.5)), (np.trace, lambda f: f(X)),
    (np.linalg.inv, lambda f: f(X)), (np.linalg.det, lambda f: f(X)), (np.tan, lambda f: f(X)),
    (np.linalg.solve, lambda f: f(X, Y)), (np.diff, lambda f: f(X)), (np.sinc, lambda f: f(X)),
    (np.logaddexp, lambda f: f(X, Y)), (np.arctan2, lambda f: f(X, Y)),
    (np.cross, lambda f: f(X.ravel()[:3], Y.ravel()[:3])),
]  # fmt: skip


@pytest.mark.parametrize(("function", "call"), CALLS)
def test_an_op_is_found_whatever_its_parameters_are_called(function, call):
    def of_the_op(p, q=None, r=None):
        given = [x for x in (p, q, r) if x is not None]
        return np.asarray(function(*given)), (None,)

    of_the_op.__name__ = function.__name__
    op(of_the_op)

    def on_tensors(*args, **options):
        return function(*map(Tensor, args[:1]), *args[1:], **options)

    made = call(on_tensors)
    assert type(made) is Tensor
    np.testing.assert_array_equal(made.data, call(function))


def test_a_name_that_both_have_is_preferred_to_the_position():
    @op
    def roll(x, axis=None, n=0):
        return np.roll(x, n, axis=axis), (lambda g: np.roll(g, -n, axis=axis),)

    with pytest.raises(TypeError, match=r"^np\.roll\(shift=\) is not defined for Tensors"):
        np.roll(leaf(X), 1)  # the op's second parameter is NumPy's third


def test_an_option_of_numpy_that_has_no_position_is_never_another_of_the_op():
    @op
    def vector_norm(x, p=2):
        return np.linalg.vector_norm(x, ord=p), (None,)

    with pytest.raises(TypeError, match=r"^np\.linalg\.vector_norm\(axis=\) is not defined"):
        np.linalg.vector_norm(leaf(X), axis=0)


def test_every_position_of_numpy_counts():
    np.testing.assert_array_equal(np.var(leaf(X), 0, None, None, 1).data, X.var(0, ddof=1))
    total = np.sum(leaf(X), 1, None, None, True)
    np.testing.assert_array_equal(total.data, X.sum(1, keepdims=True))
    np.testing.assert_array_equal(np.clip(leaf(X), None, 2.0).data, X.clip(None, 2))
    np.testing.assert_array_equal(np.reshape(leaf(X), (4,), "C").data, X.ravel())
    default = "_".join(["same", "kind"])  # equal to NumPy's, and another object
    assert np.stack([leaf(X), X], casting=default).shape == (2, 2, 2)
    np.testing.assert_array_equal(np.linalg.matmul(leaf(X), leaf(Y)).data, X @ Y)
    check_gradients(np.linalg.matmul, X, Y)
    np.testing.assert_array_equal(np.amax(leaf(X), axis=0).data, X.max(0))


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda t: np.mean(t, 0, None, np.zeros(2)), r"np\.mean\(out=\)"),
        (lambda t: np.var(t, mean=2.0), r"np\.var\(mean=\)"),
        (lambda t: np.sum(t, out=np.zeros(())), r"np\.sum\(out=\)"),
        (lambda t: np.exp(t, where=X > 1), r"np\.exp\(where=\)"),
        (lambda t: np.add(t, t, dtype=np.float32), r"np\.add\(dtype=\)"),
        (lambda t: np.reshape(t, (4,), order="F"), r"np\.reshape\(order=\)"),
    ],
)
def test_an_option_without_meaning_here_is_refused_by_name(call, name):
    with pytest.raises(TypeError, match=f"^{name} is not defined for Tensors"):
        call(leaf(X))


def test_functions_are_known_by_themselves_not_by_their_names():
    t = leaf(X)
    for function, name in [
        (np.fft.fft, r"np\.fft\.fft gives complex"),
        (np.emath.sqrt, r"np\.emath\.sqrt gives complex"),
        (np.angle, r"np\.angle has no op.*@op def angle"),
    ]:  # fmt: skip
        with pytest.raises(TypeError, match=f"^{name}"):
            function(t)

    @op
    def trace(x):
        return np.trace(x), (lambda g: g * np.eye(2),)

    assert implementations[np.trace] is trace
    assert implementations.get(np.linalg.trace) is not trace


def test_functions_of_lists_and_of_several_results():
    @implements(np.union1d)
    def union(*arrays):
        return ag.concatenate(arrays)

    @op
    def value_and_slope(x):
        return np.stack([x * x, 2 * x]), (lambda g: 2 * (g[0] * x + g[1]),)

    @implements(np.ix_)
    def ix_(x):
        both = value_and_slope(x)
        return both[0], both[1]

    @op
    def einsum(subscripts, *operands):  # of any number of arguments, itself
        x, y = operands
        return np.einsum(subscripts, x, y), (None, lambda g: g * y, lambda g: g * x)

    assert np.union1d(leaf([1.0]), [2.0]).shape == (2,)
    check_gradients(lambda x: np.ix_(x)[0] * np.ix_(x)[1], X)
    check_gradients(lambda x, y: np.einsum("ij,ij->ij", x, y), X, Y)


def test_what_has_no_derivative_runs_on_the_data():
    t = leaf(X)
    for function, *args in [
        (np.round,), (np.argpartition, 1), (np.floor_divide, 2.0), (np.isreal,),
        (np.digitize, [2.0]), (np.full_like, 2.0), (np.isin, [1.0]), (np.linalg.matrix_rank,),
        (np.logical_xor, True),
    ]:  # fmt: skip
        made = function(t, *args)
        assert type(made) is not Tensor
        np.testing.assert_array_equal(made, function(X, *args))
    assert np.searchsorted(np.arange(4.0), t[0, 0]) == 1
    np.testing.assert_array_equal(np.lexsort((t[0], t[1])), np.lexsort((X[0], X[1])))


def test_nothing_is_refused_where_there_is_no_graph_to_lose():
    constant = Tensor(X)
    assert np.fft.fft(constant).shape == (2, 2) and np.add.reduce(constant).shape == (2,)
    assert np.add.reduce(constant, axis=1, keepdims=True, out=None).tolist() == [[3], [8]]
    np.testing.assert_array_equal(np.union1d([constant[0]], constant), np.union1d(X, X))
    out = np.zeros((2, 2))
    out += constant
    np.testing.assert_array_equal(out, X)
    t = leaf(X)
    with no_grad():
        assert np.angle(t).shape == (2, 2)
    with pytest.raises(TypeError, match="lose the graph"):
        np.angle(t)
    with pytest.raises(TypeError, match="lose the graph"):
        np.setdiff1d([t[0]], X)


def test_outer_of_a_ufunc_is_the_ufunc_of_arguments_that_broadcast():
    for x, y in [(X, [1.0, 3.0]), (2.0, X), (X[0], X)]:
        for ufunc in (np.subtract, np.multiply, np.hypot):
            made = ufunc.outer(leaf(x), y)
            np.testing.assert_array_equal(made.data, ufunc.outer(x, y))
            check_gradients(ufunc.outer, np.array(x), np.array(y))
    with pytest.raises(TypeError, match=r"^np\.add\.outer is not recorded"):
        np.add.outer(leaf(X), X, out=np.zeros((2, 2, 2, 2)))
    with pytest.raises(TypeError, match=r"^np\.add\.outer is not recorded"):
        np.add.outer(leaf(X), X, dtype=np.float32)


def test_a_list_of_tensors_is_no_array():
    for build in (lambda t: np.array([t, t]), lambda t: np.r_[t, t], lambda t: np.c_[t, t]):
        with pytest.raises(TypeError, match=r"np\.stack.*np\.concatenate.*np\.column_stack"):
            build(leaf([1.0, 2.0]))


def test_a_traced_call_translates_too():
    x = leaf(X)
    (g,) = grad((np.linalg.matmul(x, x) ** 2).sum(), x, create_graph=True)
    assert grad(g.sum(), x)[0].shape == (2, 2)
