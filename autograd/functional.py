"""Derivatives of functions of arrays: grad, jacobian, hessian and products with them.

Each takes a function that is written with NumPy and gives a function of the same arguments:

>>> import numpy as np
>>> from autograd.functional import grad, hessian
>>> f = lambda x: np.sum(x**3)
>>> grad(f)(np.array([1.0, 2.0]))
array([ 3., 12.])
>>> hessian(f)(np.array([1.0, 2.0]))
array([[ 6.,  0.],
       [ 0., 12.]])
>>> grad(grad(np.sin))(0.5) == -np.sin(0.5)
np.True_

The names and the order of arguments are those of HIPS autograd. `argnum` is the position of the
argument to differentiate by, or a tuple of positions, which gives a tuple of derivatives. That
argument is a float, an array of floats, or a list, tuple or dict of such, nested as one likes;
its derivative has the same form. Results are arrays, or Tensors where they depend on a Tensor
that requires gradients: one that was given, one that the function uses, or that of another
derivative around this one.
"""

from __future__ import annotations

import functools
import math
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from . import ops, tensor
from .dispatch import map_nested
from .mode import mode
from .tensor import Tensor

__all__ = [
    "elementwise_grad", "flatten", "grad", "grad_and_aux", "hessian", "hessian_tensor_product",
    "hessian_vector_product", "hvp", "jacobian", "jvp", "make_ggnvp", "make_hvp", "make_jvp",
    "make_vjp", "tensor_jacobian_product", "value_and_grad", "vector_jacobian_product", "vjp",
]  # fmt: skip


# The variables of derivatives that have been computed, which results may still be made of.
_bound: weakref.WeakValueDictionary[int, Tensor] = weakref.WeakValueDictionary()  # by id


def _leaves(tree):
    leaves: list[Any] = []
    map_nested(leaves.append, tree)
    return leaves


def _variable(x):
    """A Tensor with the value of x, by which to differentiate."""
    if type(x) is Tensor and x.requires_grad:
        return ops.reshape(x, x.shape)  # another one, from which the graph goes on to x
    data = x.data if type(x) is Tensor else np.asarray(x)
    if data.dtype.kind != "f":
        raise TypeError(
            f"a derivative by {type(x).__name__} {x!r}: an argument to differentiate by is made of "
            "floating-point numbers; write 3.0 for 3, or array.astype(float)"
        )
    return Tensor(data, requires_grad=True)


def _as_result(x):
    """A Tensor's array, or its number if it has no axes; others as they are."""
    return x.data[()] if type(x) is Tensor else x


class _Evaluated:
    """fun(*args, **kwargs), ready for derivatives by the arguments `argnum`."""

    def __init__(self, fun, argnum, args, kwargs):
        several = not isinstance(argnum, int)
        args, places = list(args), argnum if several else (argnum,)
        try:
            points = tuple(args[i] for i in places)
        except IndexError:
            raise TypeError(
                f"argnum={argnum}: the function was called with {len(args)} positional arguments"
            ) from None
        points = map_nested(_variable, points)
        for i, x in zip(places, points, strict=True):
            args[i] = x
        self.point = points if several else points[0]
        recording, mode.recording = mode.recording, True  # asked for, even inside no_grad()
        try:
            self.value = fun(*args, **kwargs)
        finally:
            mode.recording = recording
        own = _leaves(self.point)
        self.nested = recording and _depends_on_others(self.value, own)
        _bound.update((id(x), x) for x in own)

    def output(self, name):
        """The value as one Tensor."""
        value = self.value
        if isinstance(value, (list, tuple, dict)):
            raise TypeError(
                f"{name}: the function returned a {type(value).__name__}, and one array is "
                "expected: join its entries with np.stack or np.concatenate"
            )
        value = value if type(value) is Tensor else Tensor(value)
        if value.dtype.kind not in "fiu":
            raise TypeError(f"{name}: the function returned {value!r}, which is no real number")
        return value if value.dtype.kind == "f" else ops.astype(value, float)

    def pulled(self, output, g, again=False):
        """The vector-Jacobian product with g; `again` if it is not the last one."""
        nested = self.nested or getattr(g, "requires_grad", False)
        xs = _leaves(self.point)
        if not output.requires_grad:
            gs = [Tensor(np.zeros_like(x.data)) for x in xs]
        else:
            gs = list(tensor.grad(output, xs, g, create_graph=nested or again))
        return _out(map_nested(lambda _: gs.pop(0), self.point), nested)


def _depends_on_others(value, own):
    """Whether a value depends on Tensors with gradients beyond those of this derivative."""
    ours = {id(x) for x in own}
    used = [y for y in _leaves(value) if type(y) is Tensor and y.requires_grad]
    leaves = (x for y in used for x in tensor._collect(y) if x.is_leaf)
    return any(id(x) not in ours and id(x) not in _bound for x in leaves)


def _out(tree, nested):
    return tree if nested else map_nested(_as_result, tree)


def value_and_grad(fun: Callable[..., Any], argnum: Any = 0) -> Callable[..., Any]:
    """The value of `fun`, a single number, and its gradient.

    `scipy.optimize.minimize(value_and_grad(fun), x, jac=True)` takes both.

    >>> value_and_grad(lambda x: x * x)(3.0)
    (np.float64(9.0), np.float64(6.0))
    """

    @functools.wraps(fun)
    def both(*args, **kwargs):
        at = _Evaluated(fun, argnum, args, kwargs)
        return _out(at.value, at.nested), _gradient(at, at.output("grad"))

    return both


def _gradient(at, output):
    if output.size != 1:
        raise ValueError(
            f"grad: the function gives an array of shape {output.shape}, and a gradient is that of "
            "a single number: take .sum() of it, or jacobian or elementwise_grad"
        )
    return at.pulled(output, np.ones_like(output.data))


def grad(fun: Callable[..., Any], argnum: Any = 0) -> Callable[..., Any]:
    """The gradient of `fun`, whose value is a single number.

    >>> grad(lambda x, y: x * y["a"], argnum=1)(3.0, {"a": 2.0})
    {'a': np.float64(3.0)}
    """
    both = value_and_grad(fun, argnum)
    return functools.wraps(fun)(lambda *args, **kwargs: both(*args, **kwargs)[1])


def grad_and_aux(fun: Callable[..., Any], argnum: Any = 0) -> Callable[..., Any]:
    """The gradient of the first of the two values of `fun`, and the second value as it is."""

    @functools.wraps(fun)
    def gradient_and_aux(*args, **kwargs):
        at = _Evaluated(fun, argnum, args, kwargs)
        at.value, aux = at.value
        return _gradient(at, at.output("grad_and_aux")), _out(aux, at.nested)

    return gradient_and_aux


def elementwise_grad(fun: Callable[..., Any], argnum: Any = 0) -> Callable[..., Any]:
    """The derivative of each entry of fun(x) by the same entry of x, for elementwise functions.

    For any other function these are the sums of the columns of the Jacobian.

    >>> elementwise_grad(np.square)(np.array([1.0, 2.0]))
    array([2., 4.])
    """

    @functools.wraps(fun)
    def derivative(*args, **kwargs):
        at = _Evaluated(fun, argnum, args, kwargs)
        output = at.output("elementwise_grad")
        return at.pulled(output, np.ones_like(output.data))

    return derivative


def jacobian(fun: Callable[..., Any], argnum: Any = 0) -> Callable[..., Any]:
    """The derivative of every entry of fun(x) by every entry of x: shape fun(x).shape + x.shape.

    One backward pass for each entry of fun(x), on one graph.

    >>> jacobian(lambda x: x[:2] * x[1:])(np.array([1.0, 2.0, 3.0]))
    array([[2., 1., 0.],
           [0., 3., 2.]])
    """

    @functools.wraps(fun)
    def derivative(*args, **kwargs):
        at = _Evaluated(fun, argnum, args, kwargs)
        output = at.output("jacobian")
        rows = [_leaves(at.pulled(output, g, again=True)) for g in _basis(output)]
        columns = list(zip(*rows, strict=True)) or [()] * len(_leaves(at.point))

        def joined(x):
            column = columns.pop(0)
            shape = output.shape + x.shape
            return np.reshape(np.stack(column), shape) if column else np.zeros(shape, x.dtype)

        return map_nested(joined, at.point)

    return derivative


def _basis(output):
    """For each entry of `output` an array of its shape that is 1 there and 0 elsewhere."""
    for i in range(output.size):
        g = np.zeros_like(output.data)
        g.flat[i] = 1
        yield g


def hessian(fun: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """The second derivatives of fun(x): shape fun(x).shape + x.shape + x.shape."""
    return jacobian(jacobian(fun, argnum), argnum)


def make_vjp(fun: Callable[..., Any], argnum: Any = 0) -> Callable[..., Any]:
    """make_vjp(fun)(x) is (pull, fun(x)): pull(g) is the vector-Jacobian product g @ jacobian.

    >>> pull, value = make_vjp(np.sin)(np.array([0.0, np.pi]))
    >>> pull(np.array([1.0, 10.0]))
    array([  1., -10.])
    """

    @functools.wraps(fun)
    def evaluate(*args, **kwargs):
        at = _Evaluated(fun, argnum, args, kwargs)
        output = at.output("make_vjp")
        return lambda g: at.pulled(output, g, again=True), _out(at.value, at.nested)

    return evaluate


def vjp(fun: Callable[..., Any], *args: Any) -> tuple[Any, Callable[[Any], Any]]:
    """fun(*args), and the function of g that gives the products of g with all its Jacobians.

    >>> value, pull = vjp(lambda x, y: x * y, 2.0, 3.0)
    >>> pull(1.0)
    (np.float64(3.0), np.float64(2.0))
    """
    pull, value = make_vjp(fun, tuple(range(len(args))))(*args)
    return value, pull


def make_jvp(fun: Callable[..., Any], argnum: Any = 0) -> Callable[..., Any]:
    """make_jvp(fun)(x) is the function of v that gives (fun(x), jacobian @ v).

    The product with g of a vector-Jacobian product is linear in g: its own vjp is the
    Jacobian-vector product (https://j-towns.github.io/2017/06/12/A-new-trick.html).
    """

    @functools.wraps(fun)
    def evaluate(*args, **kwargs):
        at = _Evaluated(fun, argnum, args, kwargs)
        output, xs = at.output("make_jvp"), _leaves(at.point)
        products: tuple[Tensor, ...] = ()
        g = Tensor(np.zeros_like(output.data), requires_grad=True)
        if output.requires_grad:
            products = tensor.grad(output, xs, g, create_graph=True)

        def push(v):
            vs = _leaves(v)
            _require_form(vs, xs)
            nested = at.nested or any(getattr(d, "requires_grad", False) for d in vs)
            result = Tensor(np.zeros_like(output.data))
            for product, direction in zip(products, vs, strict=False):
                if product.requires_grad:
                    result = result + tensor.grad(product, g, direction, create_graph=True)[0]
            return _out((at.value, result), nested)

        return push

    return evaluate


def _require_form(vs, xs):
    shapes, expected = [np.shape(v) for v in vs], [x.shape for x in xs]
    if shapes != expected:
        raise ValueError(f"a direction has the shapes of the argument, {expected}; got {shapes}")


def jvp(fun: Callable[..., Any], primals: Any, tangents: Any) -> tuple[Any, Any]:
    """fun(*primals), and its derivative along `tangents`, one for each argument.

    >>> jvp(lambda x, y: x * y, (2.0, 3.0), (1.0, 10.0))
    (np.float64(6.0), np.float64(23.0))
    """
    return make_jvp(fun, tuple(range(len(primals))))(*primals)(tuple(tangents))


def vector_jacobian_product(fun: Callable[..., Any], argnum: Any = 0) -> Callable[..., Any]:
    """The function of (*args, g) that gives the product of g with the Jacobian at args."""
    return lambda *args, **kwargs: make_vjp(fun, argnum)(*args[:-1], **kwargs)[0](args[-1])


def tensor_jacobian_product(fun: Callable[..., Any], argnum: Any = 0) -> Callable[..., Any]:
    """The function of (*args, g) that gives the sum of g * jacobian over all axes of g.

    They are the first axes of fun(*args), which may have more: the result has these, and those of
    the argument.
    """

    def product(*args, **kwargs):
        *rest, g = args
        return np.tensordot(g, fun(*rest, **kwargs), np.ndim(g))

    return jacobian(product, argnum)


def make_hvp(fun: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """make_hvp(fun)(x) is (the function of v that gives hessian @ v, the gradient)."""
    return make_vjp(grad(fun, argnum), argnum)


def hessian_vector_product(fun: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """The function of (*args, v) that gives hessian @ v, without making the Hessian.

    `scipy.optimize.minimize(..., hessp=hessian_vector_product(fun))` takes it.

    >>> hessian_vector_product(lambda x: np.sum(x**3))(np.array([1.0, 2.0]), np.array([1.0, 0.0]))
    array([6., 0.])
    """
    return vector_jacobian_product(grad(fun, argnum), argnum)


hvp = hessian_tensor_product = hessian_vector_product


def _half_square(y):
    return np.sum(y * y) / 2


def make_ggnvp(
    f: Callable[..., Any], g: Callable[..., Any] = _half_square, f_argnum: int = 0
) -> Callable[..., Any]:
    """make_ggnvp(f, g)(x) is the function of v that gives the Gauss-Newton matrix @ v.

    That matrix is J.T @ H @ J, with the Jacobian J of f at x and the Hessian H of g at f(x), which
    is the identity if g is not given.

    >>> make_ggnvp(np.square)(np.array([1.0, 2.0]))(np.array([1.0, 1.0]))
    array([ 4., 16.])
    """

    def evaluate(*args, **kwargs):
        pull, y = make_vjp(f, f_argnum)(*args, **kwargs)
        push = make_jvp(f, f_argnum)(*args, **kwargs)
        return lambda v: pull(hessian_vector_product(g)(y, push(v)[1]))

    return evaluate


def flatten(tree: Any) -> tuple[Any, Callable[[Any], Any]]:
    """All entries as one vector, and the function that makes such a tree of such a vector.

    >>> vector, unflatten = flatten({"w": np.ones((2, 2)), "b": 0.0})
    >>> vector
    array([1., 1., 1., 1., 0.])
    >>> unflatten(vector)["w"].shape
    (2, 2)
    """
    leaves = _leaves(tree)
    parts = [np.reshape(x, -1) for x in leaves]
    shapes = [np.shape(x) for x in leaves]

    def unflatten(vector):
        ends = np.cumsum([math.prod(shape) for shape in shapes])
        pieces = [
            np.reshape(vector[end - math.prod(shape) : end], shape)
            for end, shape in zip(ends, shapes, strict=True)
        ]
        return map_nested(lambda _: pieces.pop(0), tree)

    return (np.concatenate(parts) if parts else np.zeros(0)), unflatten
