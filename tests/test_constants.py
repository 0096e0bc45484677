"""What constants may be: other kinds of arrays are plain arrays, or refused in a sentence."""

import datetime
import operator

import numpy as np
import pytest

import autograd as ag
from autograd import Tensor, check_gradients, grad
from nn import functional as F

ROWS = np.array([[1.0, 2.0], [3.0, 5.0]])
OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.matmul,
             operator.pow]  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")


class Labelled:
    """Converts to an array, as the objects of pandas and xarray do."""

    __array_priority__ = 1000
    filled = False  # only NumPy's own arrays with such a name have masks

    def __init__(self, data):
        self.values = np.asarray(data)

    def __array__(self, dtype=None, copy=None):
        return self.values if dtype is None else self.values.astype(dtype)


class Foreign(Labelled):
    """A tensor of another library, with a graph and a device of its own."""

    def __dlpack__(self, **options):
        raise AssertionError("not to be called")

    def __mul__(self, other):
        return NotImplemented


class Sparse:
    """An array that takes part in NumPy's arithmetic, and does not convert to one of NumPy's."""

    __array_priority__ = 10.1

    def __init__(self, data):
        self.shape, self.dtype = np.shape(data), np.asarray(data).dtype


def memory_mapped(data):
    array = np.memmap("rows", dtype=float, mode="w+", shape=np.shape(data))
    array[...] = data
    return array


AS_PLAIN_ARRAYS = {
    "matrix": np.matrix,
    "recarray": np.rec.array,
    "memmap": memory_mapped,
    "labelled": Labelled,
    "list": np.ndarray.tolist,
    "tuple": lambda rows: tuple(map(tuple, rows.tolist())),
    "list of arrays": list,
    "list of Tensors": lambda rows: [Tensor(row) for row in rows],
    "DataFrame": lambda rows: pytest.importorskip("pandas").DataFrame(rows),
}

# On the left, where its own operator comes first, and refuses a Tensor that requires gradients.
COMPUTED_BY_THE_OTHER = [("DataFrame", operator.matmul), ("matrix", operator.pow)]


@pytest.mark.parametrize("kind", AS_PLAIN_ARRAYS)
@pytest.mark.parametrize("compute", OPERATORS)
def test_what_converts_is_a_plain_array(kind, compute, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = AS_PLAIN_ARRAYS[kind](ROWS)
    for this, plain in [
        (lambda t: compute(t, other), lambda t: compute(t, ROWS)),
        (lambda t: compute(other, t), lambda t: compute(ROWS, t)),
    ][: 1 if (kind, compute) in COMPUTED_BY_THE_OTHER else 2]:
        results = []
        for fn in (this, plain):
            t = Tensor(ROWS + 1, requires_grad=True)
            y = fn(t)
            (g,) = grad(y, t, ROWS, create_graph=True)
            y.backward(ROWS)
            assert type(y) is Tensor and type(y.data) is type(t.grad) is np.ndarray
            results.append([y.data, t.grad, g.data])
        for a, b in zip(*results, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", ["Series", "Index"])
def test_pandas_leaves_the_operator_to_the_tensor(kind):
    column = getattr(pytest.importorskip("pandas"), kind)([1.0, 2.0])
    for fn in (lambda x: column * x, lambda x: column - x, lambda x: np.multiply(x, column),
               lambda x: ag.where(column > 1, x, 0), lambda x: x[column > 1]):  # fmt: skip
        check_gradients(fn, [3.0, 4.0])
    assert type(Tensor(column).data) is np.ndarray


REFUSED = {
    "masked": (lambda: np.ma.array(ROWS, mask=[[0, 1], [0, 0]]), "no masks: pass x.filled"),
    "list of masked": (lambda: [np.ma.array([1.0, 2.0]), [1.0, 2.0]], "no masks: pass x.filled"),
    "sparse": (lambda: Sparse(ROWS), r"Sparse is another library's array.*x\.toarray"),
    "foreign": (lambda: Foreign(ROWS), r"Foreign is another library's array.*x\.numpy"),
    "list of foreign": (lambda: [Foreign([1.0, 2.0])] * 2, "Foreign is another library's array"),
    "text in an object": (lambda: Labelled([["a", "b"], ["c", "d"]]), "dtype <U1.* numbers"),
    "objects": (lambda: ROWS.astype(object), "dtype object.* numbers"),
    "text": (lambda: "abc", "dtype.* numbers"),
    "array of text": (lambda: np.array([["a", "b"], ["c", "d"]]), "numbers"),
    "dates": (lambda: np.zeros((2, 2), "M8[s]"), "numbers"),
    "durations": (lambda: np.ones((2, 2), "m8[s]"), "numbers"),
    "date": (lambda: datetime.date(2020, 1, 1), "unsupported operand|numbers"),
    "records": (lambda: np.zeros((2, 2), [("a", float)]), "numbers"),
    "nothing": (lambda: None, "unsupported operand|numbers"),
    "scipy's csr_array": (
        lambda: pytest.importorskip("scipy.sparse").csr_array(ROWS), r"another library's array"),
    "scipy's coo_matrix": (
        lambda: pytest.importorskip("scipy.sparse").coo_matrix(ROWS), r"another library's array"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_does_not_convert_is_refused(kind):
    make, message = REFUSED[kind]
    other = make()
    with pytest.raises(TypeError, match=message):
        Tensor(other)
    for compute in (lambda t, x: t * x, lambda t, x: np.multiply(t, x), lambda t, x: t - x,
                    lambda t, x: ag.multiply(x=t, y=x)):  # fmt: skip
        t = Tensor(ROWS, requires_grad=True)
        with pytest.raises(TypeError, match=message):
            compute(t, other)
    # Here the other object computes first, and an old SciPy asks a Tensor for its view.
    errors, words = (TypeError, ValueError, AttributeError), "would lose the graph|core|'view'"
    for compute in (lambda x, t: x * t, lambda x, t: x - t, lambda x, t: x @ t):
        with pytest.raises(errors, match=f"{message}|{words}"):
            compute(other, Tensor(ROWS, requires_grad=True))


@pytest.mark.parametrize("kind", ["masked", "sparse", "foreign"])
def test_refused_in_every_position(kind):
    other, message = REFUSED[kind][0](), REFUSED[kind][1]
    t = Tensor(ROWS, requires_grad=True)
    for use in [
        lambda: ag.where(other, t, 0), lambda: t[other], lambda: t[(other, 0)], lambda: t @ other,
        lambda: F.linear(t, other), lambda: F.linear(t, weight=other), lambda: ag.exp(other),
        lambda: ag.multiply(ROWS, other), lambda: ag.multiply(other, ROWS),
        lambda: np.concatenate([t, other]), lambda: ag.stack([t, other]), lambda: ag.take(t, other),
        lambda: ag.take_along_axis(t, other), lambda: (t * 1).backward(other),
        lambda: grad(t * 1, t, other), lambda: F.embedding(t, other), lambda: ag.split(other, 2),
        lambda: F.cross_entropy(t, other), lambda: check_gradients(lambda x: x, other),
    ]:  # fmt: skip
        with pytest.raises(TypeError, match=message):
            use()


def test_options_that_are_no_arrays_come_as_they_are():
    seen = []

    @ag.op
    def sawtooth(x, *, option):
        seen.append(option)
        return x * 1, (lambda g: g,)

    class Thing:
        shape = dtype = property(lambda self: None)

    options = [np.float32, np.dtype(float), Thing(), Thing, len, "text", (1, None), (), [], ...,
               (Tensor(1.0, requires_grad=True),), {"a": 1}, Foreign, Sparse]  # fmt: skip
    for option in options:
        sawtooth(Tensor(ROWS, requires_grad=True), option=option)
    assert all(a is b for a, b in zip(seen, options, strict=True))
    sawtooth(Tensor(ROWS), option=np.str_("text"))  # NumPy's texts and numbers are Python's
    sawtooth(Tensor(ROWS), option=np.int8(2))
    assert seen[len(options) :] == ["text", 2] and list(map(type, seen[-2:])) == [str, int]
