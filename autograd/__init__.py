"""Reverse-mode automatic differentiation over NumPy arrays.

>>> import numpy as np
>>> from autograd import Tensor, grad, check_gradients
>>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)   # a leaf: its gradient will be kept
>>> y = (np.exp(-x) * x).sum()                        # every step is recorded
>>> y.backward()                                      # walks the record in reverse
>>> print(x.grad.round(4))                            # (1 - x) e^-x
[ 0.     -0.1353 -0.0996]
>>> (g,) = grad((x**3).sum(), x, create_graph=True)   # a gradient with a record of its own
>>> print(grad(g.sum(), x)[0].data)                   # differentiated again: 6 x
[ 6. 12. 18.]
>>> check_gradients(lambda x: np.exp(-x) * x, x)      # finite differences agree, to order 2

Read tensor.py first, the engine, with gradients.py, dispatch.py and errors.py where it leads there;
then ops.py, the ops with their derivatives; check.py, anomaly.py and graph.py are about them.
"""

from .anomaly import detect_anomaly
from .check import check_gradients
from .dispatch import implements
from .gradients import GradientWriter, in_float32
from .graph import to_dot

from .ops import (  # isort: skip
    abs as abs, max as max, min as min, sum as sum,
    add, astype, broadcast_to, clip, concatenate, cos, cumsum, divide, exp, expand_dims, expm1,
    getitem, layer_norm, log, log1p, log_softmax, logsumexp, matmul, maximum, mean, minimum,
    multiply, negative, norm, power, prod, relu, reshape, scatter, sigmoid, sin, softmax,
    split, sqrt, squeeze, stack, std, subtract, swapaxes, take, take_along_axis, tanh, transpose,
    var, where,
)  # fmt: skip
# What is in these is found through NumPy's functions and Tensor's methods.
from . import elementwise, functional, linalg, methods  # noqa: F401

from . import polynomials, products, reductions, scipy  # noqa: F401  # isort: skip
from .mode import in_this_mode
from .movement import pad
from .tensor import Tensor, grad, no_grad, op

# abs, max, min and sum are left out: `from autograd import *` shall not hide Python's own.
__all__ = [
    "GradientWriter", "Tensor", "add", "astype", "broadcast_to", "check_gradients", "clip",
    "concatenate", "cos", "cumsum", "detect_anomaly", "divide", "exp", "expand_dims", "expm1",
    "getitem", "grad", "implements", "in_float32", "in_this_mode", "layer_norm", "log", "log1p",
    "log_softmax", "logsumexp", "matmul", "maximum", "mean", "minimum", "multiply", "negative",
    "no_grad", "norm", "op", "pad", "power", "prod", "relu", "reshape", "scatter", "sigmoid", "sin",
    "softmax", "split", "sqrt", "squeeze", "stack", "std", "subtract", "swapaxes", "take",
    "take_along_axis", "tanh", "to_dot", "transpose", "var", "where",
]  # fmt: skip
__version__ = "0.1.0"  # of the whole distribution: pyproject.toml reads it here
