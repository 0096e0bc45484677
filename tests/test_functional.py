"""Derivatives of functions: against finite differences, against each other, nested, of any tree."""

import threading
from collections import namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autograd import Tensor, check_gradients, functional, no_grad
from autograd import grad as engine_grad
from autograd.functional import (
    elementwise_grad,
    flatten,
    grad,
    grad_and_aux,
    hessian,
    hessian_vector_product,
    jacobian,
    jvp,
    make_ggnvp,
    make_hvp,
    make_jvp,
    make_vjp,
    tensor_jacobian_product,
    value_and_grad,
    vector_jacobian_product,
    vjp,
)
from autograd.testing import programs

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 2))
A = RNG.standard_normal((2, 4))


def mixed(x):
    """A function of (3, 2) with values of shape (3, 4), nonlinear and not symmetric."""
    return np.tanh(x @ A) * np.exp(x[:, :1])


def scalar(x):
    return np.sum(mixed(x) ** 2 + x[0, 0] * x[2, 1] ** 3)


def differences(f, x, h=1e-6):
    """The Jacobian by central differences: shape f(x).shape + x.shape."""
    columns = []
    for i in range(x.size):
        step = np.zeros(x.size)
        step[i] = h
        step = step.reshape(x.shape)
        columns.append((f(x + step) - f(x - step)) / (2 * h))
    return np.stack(columns, axis=-1).reshape(np.shape(f(x)) + x.shape)


def close(a, b, tolerance=1e-7):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_each_derivative_is_that_of_finite_differences():
    close(grad(scalar)(X), differences(scalar, X))
    close(jacobian(mixed)(X), differences(mixed, X))
    close(hessian(scalar)(X), differences(grad(scalar), X))
    close(jacobian(jacobian(mixed))(X), differences(jacobian(mixed), X))
    assert type(grad(scalar)(X)) is np.ndarray and jacobian(mixed)(X).shape == (3, 4, 3, 2)


def test_products_are_those_with_the_whole_jacobian():
    g, v, J, H = RNG.standard_normal((3, 4)), RNG.standard_normal((3, 2)), jacobian(mixed)(X), None
    H = hessian(scalar)(X)
    close(vector_jacobian_product(mixed)(X, g), np.einsum("ij,ijkl->kl", g, J))
    pull, value = make_vjp(mixed)(X)
    close(value, mixed(X))
    close(pull(g), pull(2 * g) / 2)  # as often as one likes
    push = make_jvp(mixed)(X)
    for _ in range(2):
        value, tangent = push(v)
        close(value, mixed(X))
        close(tangent, np.einsum("ijkl,kl->ij", J, v))
    close(jvp(lambda x, y: mixed(x) * y, (X, 2.0), (v, 0.5))[1],
          2 * np.einsum("ijkl,kl->ij", J, v) + 0.5 * mixed(X))  # fmt: skip
    close(hessian_vector_product(scalar)(X, v), np.einsum("ijkl,kl->ij", H, v))
    product, gradient = make_hvp(scalar)(X)
    close(product(v), np.einsum("ijkl,kl->ij", H, v))
    close(gradient, grad(scalar)(X))
    both = jvp(lambda x, y: x * y, np.array([2.0, 3.0]), np.array([1.0, 10.0]))
    assert both == (6, 23)  # arrays of the arguments and of their tangents, too
    assert functional.hvp is hessian_vector_product
    value, pull = vjp(lambda x, y: np.sum(x) * y, X, 3.0)
    assert value == pytest.approx(3 * X.sum())
    gx, gy = pull(1.0)
    close(gx, np.full((3, 2), 3.0))
    close(gy, X.sum())


def test_values_and_gradients_have_the_types_that_scipy_takes():
    value, g = value_and_grad(scalar)(X)
    assert isinstance(value, np.float64) and type(g) is np.ndarray
    assert type(value_and_grad(lambda x: x * x)(3.0)[1]) is np.float64
    assert grad(lambda x: np.sum(x * 2))(np.ones(2, np.float32)).dtype == np.float32
    assert jacobian(lambda x: x * 2)(np.ones(2, np.float32)).dtype == np.float32


def test_a_tensor_may_have_fewer_axes_than_the_value():
    whole = jacobian(mixed)(X)  # (3, 4, 3, 2)
    for shape in [(), (3,), (3, 4)]:
        g = RNG.standard_normal(shape)
        made = tensor_jacobian_product(mixed)(X, g)
        close(made, np.tensordot(g, whole, len(shape)))
    close(made, vector_jacobian_product(mixed)(X, g))
    y = lambda a, x: a * np.exp(x)  # noqa: E731
    close(tensor_jacobian_product(y, 1)(2.0, X[0], X[1]), 2 * np.exp(X[0]) * X[1])


def test_product_of_gauss_and_newton():
    whole, v = jacobian(mixed)(X).reshape(12, 6), RNG.standard_normal((3, 2))
    close(make_ggnvp(mixed)(X)(v).ravel(), whole.T @ whole @ v.ravel())
    curved = lambda y: np.sum(np.cosh(y))  # noqa: E731
    expected = whole.T @ (np.cosh(mixed(X)).ravel() * (whole @ v.ravel()))
    push = make_ggnvp(lambda a, x: a * mixed(x), curved, f_argnum=1)(1.0, X)
    close(push(v).ravel(), expected)
    close(push(2 * v).ravel(), 2 * expected)


def test_nested_to_order_5():
    f = np.sin
    for expected in (np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x), np.sin, np.cos):
        f = grad(f)
        assert f(0.7) == pytest.approx(expected(0.7))
    f = elementwise_grad(elementwise_grad(np.tanh))
    y = np.tanh(X)
    close(f(X), -2 * y * (1 - y * y))


def test_an_inner_derivative_depends_on_what_it_closes_over():
    assert grad(lambda a: grad(lambda b: a * a * b)(3.0))(2.0) == 4
    assert grad(lambda a: a * grad(lambda b: a + b)(3.0))(2.0) == 1  # no confusion of a and b
    f = lambda a: jacobian(lambda b: a * b**2)(np.array([1.0, 2.0]))  # noqa: E731
    close(jacobian(f)(3.0), [[2, 0], [0, 4]])
    assert grad(lambda a: jvp(lambda b: a * b**2, (3.0,), (a,))[1])(2.0) == 2 * 2 * 2 * 3
    assert grad(lambda a: vjp(lambda b: a * b**2, 3.0)[1](a)[0])(2.0) == 2 * 2 * 2 * 3


def test_tensors_in_give_tensors_with_a_graph():
    x = Tensor(X, requires_grad=True)
    g = grad(scalar)(x)
    assert type(g) is Tensor
    close(engine_grad(g[0, 1], x)[0].data, hessian(scalar)(X)[0, 1])
    check_gradients(grad(scalar), X, order=1)
    of_constant = grad(scalar)(Tensor(X))
    assert type(of_constant) is np.ndarray
    close(of_constant, g.data)
    check_gradients(lambda a: a * grad(lambda b: a * b * b)(3.0), 2.0)
    w = Tensor(A, requires_grad=True)  # which the function uses
    check_gradients(lambda w: grad(lambda x: np.sum(np.tanh(x @ w)))(X), A, order=1)
    grad(lambda x: np.sum(x @ w))(X).sum().backward()
    close(w.grad, np.full((2, 4), 3.0))
    pull, _ = make_vjp(np.tanh)(X)
    check_gradients(pull, X, order=1)  # linear, with a graph where one is wanted
    check_gradients(lambda v: make_jvp(mixed)(X)(v)[1], X, order=1)
    value, g = value_and_grad(scalar)(x)
    assert type(value) is Tensor


Pair = namedtuple("Pair", "left right")


def test_arguments_may_be_trees():
    tree = {"w": X, "rest": [2.0, (np.ones(2), Pair(3.0, X[0]))]}

    def f(t):
        two, (ones, pair) = t["rest"]
        return np.sum(t["w"]) * two + np.sum(ones * pair.right) * pair.left

    g = grad(f)(tree)
    assert type(g) is dict and type(g["rest"]) is list and type(g["rest"][1][1]) is Pair
    close(g["w"], np.full((3, 2), 2.0))
    close(g["rest"][0], X.sum())
    close(g["rest"][1][0], 3 * X[0])
    close(g["rest"][1][1].left, X[0].sum())
    close(g["rest"][1][1].right, [3, 3])
    j = jacobian(lambda t: t["a"] * t["b"])({"a": np.ones(2), "b": 4.0})
    close(j["a"], 4 * np.eye(2))
    close(j["b"], [1, 1])
    vector, unflatten = flatten(tree)
    assert vector.shape == (6 + 1 + 2 + 1 + 2,)
    close(grad(lambda v: f(unflatten(v)))(vector), flatten(g)[0])
    assert flatten({})[0].shape == (0,)
    close(make_jvp(f)(tree)(tree)[1], np.vdot(flatten(g)[0], vector))


def test_the_argument_is_chosen_by_its_position():
    f = lambda x, y, power=1: np.sum((x * y) ** power)  # noqa: E731
    close(grad(f, 1)(X, 2.0), X.sum())
    close(grad(f, argnum=-1)(X, 2.0, power=2), 4 * (X * X).sum())
    gx, gy = grad(f, (0, 1))(X, 2.0)
    close(gx, np.full((3, 2), 2.0))
    close(gy, X.sum())
    close(hessian(f, 1)(X, 2.0, power=2), 2 * (X * X).sum())
    close(hessian_vector_product(f, 1)(X, 2.0, 1.0, power=2), 2 * (X * X).sum())


def test_grad_and_aux():
    g, aux = grad_and_aux(lambda x: (np.sum(x * x), {"doubled": 2 * x}))(X)
    close(g, 2 * X)
    assert type(aux["doubled"]) is np.ndarray
    close(aux["doubled"], 2 * X)


def test_what_does_not_depend_on_the_argument_has_derivative_0():
    close(grad(lambda x: 3.0)(X), np.zeros((3, 2)))
    close(grad(lambda x: np.sum(np.floor(x)))(X), np.zeros((3, 2)))
    close(jacobian(lambda x: np.ones(2))(X), np.zeros((2, 3, 2)))
    close(hessian(lambda x: np.sum(x))(X), np.zeros((3, 2, 3, 2)))
    close(make_jvp(lambda x: np.ones(2))(X)(X)[1], [0, 0])
    close(jvp(lambda x, y: y * 1.0, (X, 2.0), (X, 0.0))[1], 0)
    assert jacobian(lambda x: x[:0])(np.ones(3)).shape == (0, 3)
    close(grad(lambda a: grad(lambda b: 3.0)(a))(2.0), 0)


def test_the_surroundings_do_not_matter():
    with no_grad():
        close(grad(scalar)(X), differences(scalar, X))
        assert grad(grad(np.sin))(0.5) == -np.sin(0.5)
    results = []
    thread = threading.Thread(target=lambda: results.append(grad(np.sin)(0.5)))
    outer = grad(lambda x: (thread.start(), thread.join(), x * x)[-1])
    assert outer(2.0) == 4 and type(results[0]) is np.float64
    model = Tensor(A, requires_grad=True)
    with no_grad():
        assert type(grad(lambda x: np.sum(x @ model))(X)) is np.ndarray and model.grad is None
    with pytest.raises(ZeroDivisionError):
        grad(lambda x: x / 0 if type(x) is float else 1 // 0)(1.0)
    assert type(grad(np.sin)(0.5)) is np.float64 and (Tensor(1.0) * model).requires_grad


def test_the_function_keeps_its_name():
    for derivative in (grad, value_and_grad, jacobian, hessian, elementwise_grad, make_jvp):
        assert derivative(scalar).__name__ == "scalar"


@given(programs(inputs=2, elementwise=True), st.integers(0, 1))
def test_forward_and_reverse_agree_on_random_programs(program, argnum):
    x, y, v = X[0] / 2, X[1] / 2, X[2]
    f = lambda *args: np.tanh(program(*args))  # noqa: E731
    J = jacobian(f, argnum)(x, y)
    close(make_jvp(f, argnum)(x, y)(v)[1], J @ v, 1e-9)
    close(vector_jacobian_product(f, argnum)(x, y, v), v @ J, 1e-9)


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: grad(mixed)(X), ValueError, r"array of shape \(3, 4\).*jacobian"),
        (lambda: grad(lambda x: x * 2.0)(3), TypeError, "by int 3: .*write 3.0"),
        (lambda: grad(lambda x: x)("a"), TypeError, "by str 'a'"),
        (lambda: grad(np.sin)(1j), TypeError, "by complex"),
        (lambda: grad(lambda x: x > 0)(1.0), TypeError, "returned Tensor.True., which is no real"),
        (lambda: grad(np.sin, 1)(1.0), TypeError, "argnum=1: .* with 1 positional"),
        (lambda: grad(np.sin)(), TypeError, "argnum=0: .* with 0 positional"),
        (lambda: jacobian(lambda x: [x, x])(1.0), TypeError, "returned a list.*np.stack"),
        (lambda: make_vjp(np.sin)(1.0)[0](np.ones(2)), ValueError, r"shape \(2,\)"),
        (lambda: make_jvp(np.sin)(1.0)(np.ones(2)), ValueError, r"\[\(\)\]; got \[\(2,\)\]"),
    ],
)
def test_bad_input(call, kind, words):
    with pytest.raises(kind, match=words):
        call()
