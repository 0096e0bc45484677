"""Bad input is answered with what was done, what was expected, what came, and the fix."""

import copy
import pickle

import numpy as np
import pytest

import autograd as ag
from autograd import Tensor, check_gradients, errors, grad, op
from nn import functional as F

pytestmark = pytest.mark.usefixtures("registry")


def leaf(*shape):
    return Tensor(np.ones(shape), requires_grad=True)


def made_by(vjp, n=1):
    """The result of an op of n arguments, whose vjp is as given."""

    @op
    def sawtooth(x, y=None):
        return x * 1, vjp

    return sawtooth(*(leaf(2) for _ in range(n)))


def with_grad(x, gradient):
    x.grad = gradient
    return x


def used_graph():
    y = leaf() * 2
    y.backward()
    return y


ONES = np.ones(2)


def scaled(x, *, by):
    return x * by, (lambda g: g * by,)


MESSAGES = {
    # the graph
    "backward on a vector": (
        lambda: (leaf(2) * 2).backward(), ValueError,
        r"shape \(2,\): only a single number.*\.sum\(\).*gradient="),
    "backward without a graph": (
        lambda: Tensor(1.0).backward(), ValueError, "without a graph.*requires_grad=True"),
    "backward twice": (lambda: used_graph().backward(), ValueError, "used already.*create_graph"),
    "gradient of another shape": (
        lambda: (leaf(2) * 2).backward(np.ones(3)), ValueError, r"\(3,\), the tensor \(2,\): they"),
    "grad of a constant": (
        lambda: grad(leaf() * 2, Tensor(1.0)), ValueError, "input 0 does not require gradients"),
    "grad of an array": (
        lambda: grad(leaf() * 2, [leaf(), ONES]), ValueError, "input 1 does not require"),
    # the Tensor
    "integers that require gradients": (
        lambda: Tensor([1, 2], requires_grad=True), TypeError, "int64.*pass dtype=float"),
    "item assignment": (
        lambda: leaf(2).__setitem__(0, 1.0), TypeError, r"where\(\), concatenate\(\) or scatter"),
    "truth of many": (lambda: bool(leaf(2)), ValueError, r"shape \(2,\).*\.any\(\)"),
    "conversion to an array": (lambda: np.asarray(leaf(2)), TypeError, r"use t\.data"),
    "array of tensors": (lambda: np.array([leaf(2), leaf(2)]), TypeError, r"np\.stack"),
    "Tensor of a Tensor": (lambda: Tensor(leaf(2)), TypeError, r"use t\.data"),
    "math functions": (lambda: float(leaf()), TypeError, r"t\.item\(\)"),
    # NumPy's functions
    "a ufunc without op": (
        lambda: np.nextafter(leaf(2), 3), TypeError, "nextafter has no op.*Adding an op"),
    "a function without op": (lambda: np.angle(leaf(2)), TypeError, "np.angle has no op"),
    "a ufunc's method": (lambda: np.add.reduce(leaf(2)), TypeError, "np.add.reduce.*the op"),
    "out=Tensor": (lambda: np.exp(leaf(2), out=leaf(2)), TypeError, r"write y = np\.exp"),
    "out=array": (lambda: np.exp(leaf(2), out=np.ones(2)), TypeError, r"write y = np\.exp"),
    "array += tensor": (lambda: np.ones(2).__iadd__(leaf(2)), TypeError, r"write y = np\.add"),
    "an array's entries": (
        lambda: np.ones(2).__setitem__(slice(2), leaf(2)), TypeError, r"use t\.data"),
    # shapes
    "add": (lambda: leaf(2, 3) + leaf(2), ValueError,
        r"add of shapes \(2, 3\), \(2,\): .*\(2,\); sizes are compared from"),
    "matmul": (lambda: leaf(2, 3) @ leaf(2, 3), ValueError,
        r"matmul of shapes \(2, 3\), \(2, 3\): the sizes do not fit; the last axis"),
    "where": (lambda: np.where(ONES > 0, leaf(3), 0), ValueError, r"\(2,\) \(3,\)"),
    "concatenate": (
        lambda: ag.concatenate([leaf(2, 3), leaf(2, 2)]), ValueError, "must match exactly"),
    "stack": (lambda: ag.stack([leaf(3), leaf(2)]), ValueError, "must match exactly"),
    "reshape": (lambda: leaf(6).reshape(4, 2), ValueError, r"size 6 into shape \(4,2\)"),
    "broadcast_to": (lambda: ag.broadcast_to(leaf(2), (3,)), ValueError, r"\(2,\).*\(3,\)"),
    "squeeze": (lambda: leaf(2).squeeze(0), ValueError, "size not equal to one"),
    "split": (lambda: ag.split(leaf(5), 2), ValueError, "axis 0 of 5 cannot be cut into 2 equal"),
    "layer_norm": (lambda: ag.layer_norm(leaf(2, 3), leaf(2)), ValueError, r"\(2,3\) \(2,\)"),
    "take_along_axis": (
        lambda: ag.take_along_axis(leaf(2, 3), np.array([0]), 0), ValueError,
        r"1 axes and dtype int64, x has 2; they must agree"),
    "linear": (
        lambda: F.linear(leaf(2, 3), leaf(2, 3)), ValueError, r"linear of shapes \(2, 3\), .*axis"),
    "pad": (lambda: ag.pad(leaf(2), 1, mode="edges"), ValueError, "^mode 'edges' is not"),
    "axis": (
        lambda: leaf(2).sum(axis=1), ValueError, "sum of shapes .*axis 1 is out of.*count from 0"),
    "concatenate axis": (
        lambda: ag.concatenate([leaf(2)], 1), ValueError, "^concatenate of .* out of bounds"),
    "softmax axis": (lambda: ag.softmax(leaf(2), -2), ValueError, "axis -2 is out of bounds"),
    "index": (lambda: leaf(2)[2], IndexError, "getitem of shapes .*index 2 is out.*count from 0"),
    "too many indices": (lambda: leaf(2)[0, 0], IndexError, "too many indices"),
    "take by a fraction": (lambda: ag.take(leaf(2), [0.5]), IndexError, "integer"),
    "take": (lambda: ag.take(leaf(2), [5]), IndexError, "index 5 is out of bounds"),
    "max of nothing": (lambda: leaf(0).max(), ValueError, "zero-size array"),
    "norm of another order": (lambda: ag.norm(leaf(2), 1), ValueError, r"norm\(ord=1\).*Euclid"),
    "astype(int)": (lambda: leaf(2).astype(int), TypeError, r"no derivative.*t\.data\.astype"),
    "a Tensor as an option": (
        lambda: op(scaled)(leaf(2), by=leaf()), TypeError, "scaled.*is an option, not different"),
    "a Tensor beyond the arguments that have gradients": (
        lambda: ag.layer_norm(leaf(2), None, None, leaf()).backward(ONES), TypeError,
        "layer_norm gives 3 gradients"),
    # ops of one's own
    "no vjp": (lambda: op(no_vjp)(ONES), TypeError, r"returned a ndarray, not \(value, vjp\)"),
    "complex values": (
        lambda: leaf(2) * 1j, TypeError, "multiply turned a tensor .* into dtype complex128"),
    "an integer leaf by attribute": (lambda: integer_leaf().backward(), TypeError, "dtype int64"),
    "iteration over a number": (lambda: list(leaf()), TypeError, "unsized"),
    "a full_like with a gradient": (
        lambda: np.full_like(np.ones(2), leaf()), TypeError, "cannot be assigned to"),
    "nothing to concatenate": (lambda: ag.concatenate([]), ValueError, "empty, give one or more"),
    "nothing to stack": (lambda: ag.stack([]), ValueError, "stack: the sequence .* is empty"),
    "scatter out of bounds": (
        lambda: ag.scatter(np.ones((1, 2)), np.array([5]), (3, 2)), IndexError, "out of bounds"),
    "scatter below its bounds": (
        lambda: ag.scatter(np.ones(1), np.array([-4]), (3,)), IndexError, "out of bounds"),
    "scatter by fractions": (
        lambda: ag.scatter(np.ones((2, 2)), np.array([0.5, 1.0]), (3, 2)), IndexError, "integer"),
    "scatter far out of bounds": (
        lambda: ag.scatter(np.ones((1, 2)), np.array([1 << 63], np.uint64), (3, 2)), IndexError,
        "out of bounds"),
    "take_along_axis by booleans": (
        lambda: ag.take_along_axis(leaf(2, 2), np.ones((2, 2), bool), 0), IndexError,
        "dtype bool, .* indices be integers"),
    "a grad of another shape": (
        lambda: with_grad(leaf(2, 3), np.ones(3)).sum().backward(), ValueError,
        r"grad that is there, which has shape \(3,\), the tensor \(2, 3\): set t.grad to None"),
    "copy of a result": (
        lambda: copy.copy(leaf(2) * 2), TypeError, r"\(here multiply\) cannot be copied.*detach"),
    "deep copy of a result": (
        lambda: copy.deepcopy([leaf(2) * 2]), TypeError, r"\(here multiply\) cannot be copied"),
    "pickle of a used result": (
        lambda: pickle.dumps(used_graph()), TypeError, r"\(here multiply\) cannot be .* pickled"),
    "vjp that is not in a tuple": (
        lambda: made_by(lambda g: g).backward(ONES), TypeError, r"returned a ndarray.*\(lambda g"),
    "vjp of one entry that is not in a tuple": (
        lambda: op(bare)(leaf(1)).backward(np.ones(1)), TypeError, "returned a ndarray"),
    "too few gradients": (
        lambda: made_by((lambda g: g,), n=2).backward(ONES), TypeError,
        r"gives 1 gradients, but its arguments \[0, 1\] need one"),
    "too many gradients": (
        lambda: made_by((lambda g: g,) * 3).backward(ONES), TypeError, "gives 3 gradients"),
    "gradient None": (lambda: made_by((None,)).backward(ONES), TypeError, "gives None"),
    "gradient returned as None": (
        lambda: made_by((lambda g: None,)).backward(ONES), TypeError, "gives None"),
    "gradients returned as None": (
        lambda: made_by(lambda g: (None,)).backward(ONES), TypeError, "gives None"),
    "gradient of wrong shape": (
        lambda: made_by((lambda g: g[:1],)).backward(ONES), ValueError,
        r"sawtooth gives a gradient of shape \(1,\) for an argument of shape \(2,\)"),
    "gradient of shape that cannot be summed down": (
        lambda: made_by((lambda g: np.ones((2, 3)),)).backward(ONES), ValueError,
        r"shape \(2, 3\) for an argument of shape \(2,\)"),
    "gradient without the last axis": (
        lambda: op(short)(leaf(2, 1)).backward(np.ones((2, 1))), ValueError, r"of shape \(2,\)"),
    "too many gradients for many arguments": (
        lambda: op(many)(leaf(1), leaf(1)).backward(np.ones(1)), TypeError, "gives 3 gradients"),
    "names of Tensor's methods": (lambda: op(sigmoid)(ONES), ValueError, "op sigmoid is taken"),
    "names of NumPy's functions": (lambda: op(where)(ONES), ValueError, "op where is taken"),
    "gradient of wrong dtype": (
        lambda: made_by((lambda g: g.astype(np.float32),)).backward(ONES), TypeError,
        "turns float64 into float32.*math.sqrt"),
    "a name of NumPy's taken twice": (lambda: op(exp), ValueError, "op exp is taken: autograd.ops"),
    # check_gradients
    "integers": (
        lambda: check_gradients(ag.exp, [1, 2]), TypeError, "argument 0 has dtype int64.*close"),
    "nothing to check": (lambda: check_gradients(ag.exp), TypeError, "nothing to check"),
    "order 0": (lambda: check_gradients(ag.exp, ONES, order=0), ValueError, "at least 1, got 0"),
    "not a Tensor": (
        lambda: check_gradients(lambda x: x.data, ONES), TypeError, "returned a ndarray"),
    # nn.functional
    "ids that are not integers": (
        lambda: F.embedding(leaf(3, 2), [0.5]), TypeError, "must be integers, got dtype float64"),
    "ids outside of the table": (
        lambda: F.embedding(leaf(3, 2), [0, 3]), IndexError, "0 to 3, the table has rows 0 to 2"),
    "negative ids among others": (
        lambda: F.embedding(leaf(3, 2), [2, -1]), IndexError, "from -1 to 2"),
    "negative targets": (
        lambda: F.cross_entropy(leaf(2, 2), [1, -1]), IndexError, "targets go from -1 to 1"),
    "too large targets": (
        lambda: F.cross_entropy(leaf(2, 2), [0, 5]), IndexError, "targets go from 0 to 5"),
    "negative dropout": (
        lambda: F.dropout(leaf(2), -0.5, np.random.default_rng(0)), ValueError, "got -0.5"),
    "negative ids": (lambda: F.embedding(leaf(3, 2), [-1]), IndexError, "from -1 to -1"),
    "targets of another shape": (
        lambda: F.cross_entropy(leaf(3, 2), [0]), ValueError, r"shape \(3,\), got shape \(1,\)"),
    "targets that are not integers": (
        lambda: F.cross_entropy(leaf(1, 2), [0.0]), ValueError, "got shape .* float64"),
    "targets outside of the classes": (
        lambda: F.cross_entropy(leaf(1, 2), [2]), IndexError, "classes 0 to 1; set ignore_index"),
    "targets of a head outside of the classes": (
        lambda: F.linear_cross_entropy(leaf(1, 3), leaf(2, 3), [2]), IndexError,
        "^linear_cross_entropy: targets go from 2 to 2"),
    "targets of a head of another shape": (
        lambda: F.linear_cross_entropy(leaf(1, 3), leaf(2, 3), [0, 1]), ValueError,
        r"^linear_cross_entropy: logits of shape \(1, 2\) need .* \(1,\), got shape \(2,\)"),
    "dropout of everything": (
        lambda: F.dropout(leaf(2), 1.0, np.random.default_rng(0)), ValueError, "below 1, got 1.0"),
    "another gelu": (
        lambda: F.gelu(leaf(2), "fast"), ValueError, "'fast'.: expected 'tanh' or 'none'"),
    "a mask of numbers": (
        lambda: F.attention(leaf(2, 2), leaf(2, 2), leaf(2, 2), mask=np.zeros((2, 2))), TypeError,
        "mask is float64.*True where"),
}  # fmt: skip


def no_vjp(x):
    return x * 2


def integer_leaf():
    t = Tensor([1, 2])
    t.requires_grad = True
    return (t * 2.0).sum()


def sigmoid(x):
    return x, (None,)


def where(x):
    return x, (None,)


def short(x):
    return x * 2, (lambda g: g[:, 0],)


def many(*xs):
    return xs[0] * 2, (lambda g: g,) * 3


def bare(x):
    return x * 2, lambda g: g * 2


def exp(x):
    return np.exp(x), (lambda g: g * np.exp(x),)


@pytest.mark.parametrize("name", MESSAGES)
def test_message(name):
    action, error, message = MESSAGES[name]
    with pytest.raises(error, match=f"(?s){message}"):
        action()


# What makes NumPy say each phrase of errors.RULES.
PHRASES = {
    "core dimension": lambda: np.ones((2, 3)) @ np.ones((2, 3)),
    "broadcast": lambda: np.ones(2) + np.ones(3),
    "concatenation axis": lambda: np.concatenate([np.ones((2, 3)), np.ones((2, 2))]),
    "out of bounds for array": lambda: np.ones(2).sum(axis=1),
    "out of bounds for axis": lambda: np.ones(2)[2],
    "types": lambda: np.ones(2) * "a",
}


@pytest.mark.parametrize("phrase", errors.RULES)
def test_numpy_still_says_this(phrase):
    """The engine knows NumPy's errors by these phrases: if one is changed, follow it in RULES."""
    with pytest.raises((ValueError, IndexError, TypeError)) as caught:
        PHRASES[phrase]()
    told = f"NumPy {np.__version__} says something else than {phrase!r}: {caught.value}"
    assert phrase in str(caught.value), told
    other = [known for known in errors.RULES if known != phrase and known in str(caught.value)]
    assert not other, f"NumPy {np.__version__} says {other} as well: {caught.value}"


class Odd(ValueError):
    def __init__(self, a, b):
        super().__init__(a, b)


def test_errors_of_other_types_pass_through():
    @op
    def sawtooth(x):
        raise Odd("a", "b")

    with pytest.raises(Odd) as caught:
        sawtooth(ONES)
    assert caught.value.args == ("a", "b")


def test_numpys_names_may_be_defined_again_too():
    for _ in range(2):
        op(nextafter)


def nextafter(x, y):
    return np.nextafter(x, y), (lambda g: g,)


def test_the_same_op_may_be_defined_again():
    """As a notebook does that runs a cell twice."""
    for factor in (2, 3):

        @op
        def sawtooth(x, factor=factor):
            return x * factor, (lambda g: g * factor,)

    assert sawtooth(leaf(2)).data[0] == 3
