"""Methods and operators of Tensor: ops and NumPy's functions, under the names that arrays have."""

from __future__ import annotations

import numpy as np

from . import ops
from .movement import pad
from .tensor import Tensor, array_of

_OPS = """abs astype broadcast_to clip cos cumsum exp expand_dims expm1 layer_norm log log1p
log_softmax logsumexp matmul max maximum mean min minimum norm power prod relu sigmoid sin
softmax split sqrt squeeze std sum swapaxes take take_along_axis tanh var"""

_NUMPY = """all any argmax argmin argpartition argsort choose conj conjugate copy cumprod
diagonal dot nonzero ptp ravel repeat round searchsorted trace"""


def _calling(function):
    return lambda self, *args, **options: function(self, *args, **options)


def _reflected(function):
    return lambda self, other: function(other, self)  # 1 + t: only t is a Tensor


def _transposed(self, *axes):
    return ops.transpose(self, axes if len(axes) != 1 or isinstance(axes[0], int) else axes[0])


for _name in _OPS.split():
    setattr(Tensor, _name, getattr(ops, _name))
for _name in _NUMPY.split():
    setattr(Tensor, _name, _calling(getattr(np, _name)))
for _name, _function in {
    "add": ops.add, "sub": ops.subtract, "mul": ops.multiply, "truediv": ops.divide,
    "pow": ops.power, "matmul": ops.matmul, "mod": _calling(np.mod),
    "floordiv": _calling(np.floor_divide), "divmod": _calling(np.divmod),
}.items():  # fmt: skip
    setattr(Tensor, f"__{_name}__", _function)
    setattr(Tensor, f"__r{_name}__", _reflected(_function))
for _name, _function in {
    "reshape": lambda x, *shape: ops.reshape(x, shape[0] if len(shape) == 1 else shape),
    "transpose": lambda x, *axes: _transposed(x, *axes) if axes else ops.transpose(x),
    "T": property(ops.transpose), "mT": property(_calling(np.matrix_transpose)),
    "compress": lambda x, condition, axis=None: np.compress(condition, x, axis), "pad": pad,
    "flatten": Tensor.ravel, "tolist": lambda x: array_of(x).tolist(),
    "__getitem__": ops.getitem, "__neg__": ops.negative, "__abs__": ops.abs,
    "__pos__": _calling(np.positive), "__round__": _calling(np.round),
}.items():  # fmt: skip
    setattr(Tensor, _name, _function)
