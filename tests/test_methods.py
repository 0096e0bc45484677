"""Methods and operators of Tensor are NumPy's functions, and give what arrays give."""

import numpy as np
import pytest

from autograd import Tensor, check_gradients

X = np.array([[3.6, -1.3, 2.2], [0.65, 4.1, -2.7]])
V = np.array([1.5, -2.5, 4.0])


def leaf(data):
    return Tensor(data, requires_grad=True)


RECORDED = {
    "+t": lambda x: +x, "t % 2": lambda x: x % 2, "7 % t": lambda x: 7 % x,
    "t % t": lambda x: x % x,
    "divmod": lambda x: divmod(x, 2)[1], "rdivmod": lambda x: divmod(9.0, x)[1],
    "ravel": lambda x: x.ravel(), "flatten": lambda x: x.flatten(), "copy": lambda x: x.copy(),
    "dot": lambda x: x.dot(V), "repeat": lambda x: x.repeat(2, axis=0), "ptp": lambda x: x.ptp(1),
    "cumprod": lambda x: x.cumprod(1), "cumsum": lambda x: x.cumsum(), "mT": lambda x: x.mT,
    "conj": lambda x: x.conj(), "conjugate": lambda x: x.conjugate(), "trace": lambda x: x.trace(),
    "diagonal": lambda x: x.diagonal(1), "compress": lambda x: x.compress([True, False], axis=0),
    "transpose": lambda x: x.transpose(1, 0), "transpose of a tuple": lambda x: x.transpose((1, 0)),
    "transpose None": lambda x: x.transpose(None), "one axis": lambda x: x[0].transpose(0),
    "reshape": lambda x: x.reshape(3, -1), "reshape of a tuple": lambda x: x.reshape((2, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDED)
def test_recorded(name):
    call = RECORDED[name]
    expected = call(X) if name != "ptp" else np.ptp(X, 1)
    made = call(leaf(X))
    assert type(made) is Tensor
    np.testing.assert_array_equal(made.data, expected)
    assert made.data.shape == np.shape(expected)
    check_gradients(call, X)


CONSTANT = {
    "//": lambda x: x // 2, "reflected //": lambda x: 9.0 // x, "divmod": lambda x: divmod(x, 2)[0],
    "round": lambda x: x.round(), "round(t)": lambda x: np.round(x, 1), "all": lambda x: x.all(),
    "any": lambda x: x.any(axis=1), "argmax": lambda x: x.argmax(), "argmin": lambda x: x.argmin(0),
    "argsort": lambda x: x.argsort(axis=-1), "nonzero": lambda x: x.nonzero()[1],
    "argpartition": lambda x: x.argpartition(1, axis=0), "tolist": lambda x: x.tolist(),
    "searchsorted": lambda x: np.arange(5.0).searchsorted(2.5),
}  # fmt: skip


@pytest.mark.parametrize("name", CONSTANT)
def test_of_the_data(name):
    made = CONSTANT[name](leaf(X))
    assert type(made) is not Tensor
    np.testing.assert_array_equal(made, CONSTANT[name](X))


def test_rounding_by_the_builtin():
    np.testing.assert_array_equal(round(leaf(X), 1), X.round(1))
    np.testing.assert_array_equal(round(leaf(X)), X.round())
