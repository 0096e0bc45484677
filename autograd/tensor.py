"""The engine: `Tensor` records what is computed, `backward` and `grad` walk it in reverse.

An op (see `op` below) is a function of arrays that returns its value and its vjp, the function
that turns the gradient of the value into the gradients of the arguments. Calling an op on
Tensors runs it on their arrays and keeps the vjp in the new Tensor, which thereby *is* the node
of the graph. Tensors are numbered as they are made, and an argument is made before what is
computed from it, so walking the numbers downwards meets every Tensor after all its uses.

Read `Tensor`, `op` and `_walk`, in this order; then ops.py, where every op is defined with `op`.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter, eq, ge, gt, le, lt, ne
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

import numpy as np
from numpy import ndarray

from . import constants, dispatch, errors, gradients
from .dispatch import register, registry
from .gradients import GradientWriter
from .mode import mode

__all__ = ["Tensor", "grad", "no_grad", "op"]

_numbers = itertools.count(1)
_new = object.__new__
_USED = object()  # stands where the vjp was, once it has run


class Tensor:
    """An array that remembers how it was computed.

    `data` is the NumPy array. `grad` is an array of the same shape and dtype, or None; `backward`
    fills it on leaves (Tensors made by hand, not by an op) with `requires_grad=True`.

    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    array([2., 4., 6.])
    """

    __slots__ = (
        "__weakref__", "_args", "_kwargs", "_number", "_op", "_vjp",
        "data", "grad", "grad_buffer", "requires_grad",
    )  # fmt: skip
    __pandas_priority__ = 5000  # so that pandas leaves series * t to the Tensor

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None):
        self.data: ndarray = constants.as_array(data, dtype)
        if requires_grad and self.data.dtype.kind != "f":
            raise TypeError(errors.INTEGER_LEAF.format(dtype=self.data.dtype))
        self.requires_grad = requires_grad
        self.grad: ndarray | None = None
        # None, or an array of the same shape and dtype: where `grad` is None, backward() writes
        # the new gradient into this array, which becomes `grad`. So the gradients of all
        # parameters can be parts of one long vector, or use the same memory at every step.
        self.grad_buffer: ndarray | None = None
        self._op: Any = None  # the op that computed this Tensor, of these arguments and options
        self._args: tuple[Any, ...] = ()
        self._kwargs: dict[str, Any] | None = {}
        self._vjp: Any = None
        self._number = 0  # 0 for leaves and constants; results of recorded ops count upwards

    if TYPE_CHECKING:  # set below and in methods.py, here declared for type checkers
        shape: tuple[int, ...]
        ndim: int
        dtype: np.dtype[Any]
        size: int
        is_leaf: bool
        T: Tensor
        mT: Tensor

        def _method(self, *args: Any, **options: Any) -> Tensor: ...
        def _of_data(self, *args: Any, **options: Any) -> Any: ...
        def _operator(self, other: Any) -> Tensor: ...
        def _sign(self) -> Tensor: ...
        def _comparison(self, other: Any) -> Any: ...
        def split(self, indices_or_sections: Any, axis: int = 0) -> list[Tensor]: ...

        abs = astype = broadcast_to = clip = cos = cumsum = exp = expand_dims = expm1 = _method
        layer_norm = log = log1p = log_softmax = logsumexp = matmul = max = maximum = _method
        mean = min = minimum = norm = pad = power = prod = relu = reshape = sigmoid = sin = _method
        softmax = sqrt = squeeze = std = sum = swapaxes = take = take_along_axis = tanh = _method
        transpose = var = _method
        argmax = argmin = all = any = argpartition = argsort = nonzero = round = _of_data
        searchsorted = tolist = _of_data
        choose = compress = conj = conjugate = copy = cumprod = diagonal = dot = flatten = _method
        ptp = ravel = repeat = trace = _method
        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __getitem__ = _operator
        __truediv__ = __rtruediv__ = __pow__ = __rpow__ = __matmul__ = __rmatmul__ = _operator
        __mod__ = __rmod__ = _operator
        __floordiv__ = __rfloordiv__ = __divmod__ = __rdivmod__ = _comparison
        __neg__ = __abs__ = __pos__ = _sign
        __lt__ = __le__ = __gt__ = __ge__ = _comparison
    else:
        shape, ndim = (property(attrgetter(name)) for name in ("data.shape", "data.ndim"))
        dtype, size = (property(attrgetter(name)) for name in ("data.dtype", "data.size"))
        is_leaf = property(lambda self: self._op is None)  # made by hand, not by an op

        # Comparisons are constant almost everywhere: plain boolean arrays.
        __eq__, __ne__, __lt__, __le__, __gt__, __ge__ = (
            lambda self, other, compare=compare: compare(self.data, other)
            for compare in (eq, ne, lt, le, gt, ge)
        )

        def __array__(self, dtype=None, copy=None):  # type checkers would take np.exp(t) for one
            if self.requires_grad:
                raise TypeError(errors.TO_ARRAY)
            return np.array(self.data, dtype, copy=copy)

    def __reduce_ex__(self, protocol: Any) -> Any:  # for copy and pickle
        if self._op is not None:
            raise TypeError(errors.COPY.format(op=self._op.__name__))
        state = {"requires_grad": self.requires_grad, "grad": self.grad}
        return Tensor, (self.data,), (None, state)

    def __copy__(self) -> Tensor:
        return copy.deepcopy(self, {id(self.data): self.data})

    def item(self) -> float:
        """The only entry, as a Python number."""
        return self.data.item()

    def detach(self) -> Tensor:
        """The same array, as a constant."""
        return Tensor(self.data)

    def backward(self, gradient: Any = None) -> None:
        """Add d self / d leaf, weighted with `gradient`, to the `grad` of every leaf.

        A `grad` that is there is added to in place, as the walk goes: it must not be an array that
        the graph uses. `gradient` has the shape of the tensor and may be left out for a single
        number, where it is 1. The graph is freed on the way: a second call raises ValueError.
        """
        sums, leaves = _walk(self, gradient, create_graph=False, leaves=True)
        for leaf in leaves:
            g = sums[id(leaf)]
            # a copy, for g may be shared with another leaf or the caller
            leaf.grad = g if id(leaf) in sums.owned else np.array(g)

    # NumPy's functions and operators on Tensors run the op of the same name.

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        assigned = mode.tracing and out is not None and type(out[0]) is Tensor
        if method != "__call__" or (out is not None and not assigned):
            return dispatch.unrecorded(ufunc, method, inputs, {**kwargs, "out": out}, array_of)
        found = dispatch.implementations.get(ufunc)
        if found is None or kwargs:
            return dispatch.call(ufunc, inputs, kwargs, array_of)
        return found(*inputs)

    def __array_function__(self, func, types, args, kwargs):
        return dispatch.call(func, args, kwargs, array_of)

    def __setitem__(self, index, value):
        raise TypeError(errors.ASSIGNMENT)

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(errors.TRUTH_VALUE.format(shape=self.shape))
        return bool(self.data)

    def __float__(self):
        raise TypeError(errors.TO_FLOAT)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))  # len() refuses 0-d

    def __repr__(self) -> str:
        data, notes = self.data, ""
        text = np.array2string(data, separator=", ", prefix="Tensor(")  # the corners, if it is long
        if data.size > np.get_printoptions()["threshold"]:
            notes = f", shape={data.shape}"
        if data.dtype not in (float, int, bool):  # which one sees from the digits
            notes += f", dtype={data.dtype}"
        return f"Tensor({text}{notes}{', requires_grad=True' if self.requires_grad else ''})"


def array_of(x):
    return x.data if type(x) is Tensor else x


if TYPE_CHECKING:
    _F = TypeVar("_F", bound=Callable[..., Any])

    class _Op(Protocol):
        __name__: str
        __wrapped__: Callable[..., Any]  # the body, as it was written
        traceable: Callable[..., Any]  # the body, or its reference, which runs on Tensors too

        def __call__(self, *args: Any, **options: Any) -> Tensor: ...


@overload
def op(function: Callable[..., Any]) -> _Op: ...
@overload
def op(*, reference: Callable[..., Any]) -> Callable[[Callable[..., Any]], _Op]: ...
def op(function: Any = None, *, reference: Any = None) -> Any:
    """Make a differentiable op of a function of arrays that returns its value and its vjp.

    The vjp is a tuple with one function per argument (None, or nothing at the end, for an
    argument that has no derivative), or one function that returns the gradients of all of them.
    A gradient may have the shape the argument was broadcast to: it is summed down here. A large
    one may be a GradientWriter.

    The body must run on Tensors too, where it gives the derivatives of higher order: use
    operators, methods and np.* functions. A body that cannot names, as `reference`, a plain
    function that can, of the same arguments and results.

    >>> @op
    ... def swish(x):
    ...     s = 1 / (1 + np.exp(-x))
    ...     return x * s, (lambda g: g * s * (1 + x * (1 - s)),)
    >>> x = Tensor(1.0, requires_grad=True)
    >>> swish(x).backward()
    >>> print(round(x.grad.item(), 6))
    0.927671
    """
    if function is None:
        return functools.partial(op, reference=reference)
    call = functools.wraps(function)(_recorded(function))
    call.traceable = reference or function  # type: ignore[attr-defined]  # declared in _Op
    return register(call)


def _recorded(function):
    """The function that runs `function` on the arrays of Tensors and keeps its vjp."""

    def call(*args, **kwargs):
        if kwargs:
            args, kwargs = _positional(function, args, kwargs)
        arrays, requires_grad, loose, extreme = [], None, False, False  # None: no Tensor among them
        for x in args:
            if type(x) is Tensor:
                requires_grad = requires_grad or x.requires_grad
                x = x.data
            elif type(x) is not ndarray or not x.ndim:
                x, loose = constants.constant(x), True
                extreme = extreme or gradients.beyond_float16(x)
            arrays.append(x)
        if requires_grad is None:
            arrays, requires_grad = constants.without_tensors(args), False
        try:
            result = (gradients.as_float32(function) if extreme else function)(*arrays, **kwargs)
        except (ValueError, TypeError, IndexError) as error:
            raise errors.explain(error, call, arrays) from error.__cause__
        if type(result) is not tuple or len(result) != 2:
            raise TypeError(errors.NOT_AN_OP.format(op=call.__name__, result=type(result).__name__))
        (value, vjp), out = result, _new(Tensor)
        out.data = value if type(value) is ndarray else np.asarray(value)
        out.grad = out.grad_buffer = None
        out.requires_grad = recorded = requires_grad and mode.recording
        if not recorded:
            out._op, out._args, out._kwargs, out._vjp, out._number = None, (), None, None, 0
            return out
        if out.data.dtype.kind != "f":
            raise TypeError(errors.NOT_REAL.format(op=call.__name__, dtype=out.data.dtype))
        if loose:  # what the vjp saw is what the body shall see again on Tensors
            args = tuple(x if type(x) is Tensor else a for x, a in zip(args, arrays, strict=True))
        out._op, out._args, out._kwargs, out._vjp = call, args, kwargs, vjp
        out._number = next(_numbers)
        if mode.watch is not None:
            mode.watch.made(out)
        return out
    return call


def _positional(function, args, kwargs):
    """The arguments of an op, where Tensors given by keyword become positional, to be recorded."""
    kwargs = {k: x if type(x) is Tensor else constants.constant(x) for k, x in kwargs.items()}
    if any(type(value) is Tensor for value in kwargs.values()):
        bound = inspect.signature(function).bind(*args, **kwargs)
        bound.apply_defaults()
        args, kwargs = bound.args, bound.kwargs
        for name, value in kwargs.items():
            if type(value) is Tensor:
                raise TypeError(errors.TENSOR_OPTION.format(op=function.__name__, name=name))
    return args, kwargs


def _walk(output, gradient, create_graph, inputs=(), leaves=False):
    """Pull `gradient` back through the graph of `output`.

    Returns the gradients of leaves and `inputs`, and the list of leaves. With `leaves` the sums of
    the leaves begin with their `grad`. Iterative; each vjp is called once, and what it held is
    freed when it has run, unless create_graph keeps it.
    """
    nodes = _collect(output)
    sums = gradients.Sums([x for x in nodes if x._op is None] if leaves else [])
    seed = _seed(output, gradient, create_graph)
    begun = sums.owned if gradient is not None else ()
    if any(np.may_share_memory(seed, sums[i]) for i in begun):
        seed = np.array(seed)  # it is a gradient that will be added to
    sums.add(output, seed)
    kept, wanted = {}, {id(x) for x in inputs}
    step = _trace_node if create_graph else _pull_node
    if mode.watch is not None:
        step = mode.watch.watched(step)
    while nodes[-1]._vjp is not None:  # the first, oldest ones are leaves
        node = nodes.pop()
        g = sums.pop(id(node))
        if id(node) in wanted:
            kept[id(node)] = g
        step(node, g, sums)
    sums.update(kept)
    return sums, nodes


def _collect(output):
    """All Tensors that `output` was computed from and that need gradients, oldest first."""
    if not output.requires_grad:
        raise ValueError(errors.NO_GRAPH)
    nodes, seen = [output], set()
    for node in nodes:  # the list grows while it is read
        if node._vjp is _USED:
            raise ValueError(errors.USED_GRAPH.format(op=node._op.__name__))
        for x in node._args:
            if type(x) is Tensor and x.requires_grad and id(x) not in seen:
                seen.add(id(x))
                nodes.append(x)
    nodes.sort(key=attrgetter("_number"))
    return nodes


def _seed(output, gradient, create_graph):
    """The gradient the walk begins with: an array, or a Tensor if the walk is recorded."""
    if gradient is None:
        if output.size != 1:
            raise ValueError(errors.NOT_A_NUMBER.format(shape=output.shape))
        gradient = np.ones_like(output.data)
    seed = gradient if type(gradient) is Tensor else Tensor(gradient)
    if seed.shape != output.shape:
        raise ValueError(errors.SEED_SHAPE.format(given=seed.shape, shape=output.shape))
    if seed.dtype != output.dtype:
        seed = registry["astype"](seed, output.dtype)
    return seed if create_graph else seed.data


def _pull_node(node, g, sums):
    """One step of the walk: call the vjp of a node, and let go of what it holds."""
    vjp, node._vjp = node._vjp, _USED
    args, node._args = node._args, ()
    _pull(node._op, vjp, args, g, sums, ndarray)


def _trace_node(node, g, sums):
    """One step of the walk, recorded: run the body again on Tensors, so that its vjp uses ops."""
    outer = mode.tracing, mode.recording
    mode.tracing = mode.recording = True
    args = [  # indices, targets and masks are for NumPy
        x.data if type(x) is Tensor and x.dtype.kind != "f" else x for x in node._args
    ]
    try:
        _, vjp = node._op.traceable(*args, **node._kwargs)
        _pull(node._op, vjp, node._args, g, sums, Tensor)
    finally:
        mode.tracing, mode.recording = outer


def _pull(call, vjp, args, g, sums, kind):
    """Call the vjps of one node and add what they return to the sums of its arguments."""
    together = type(vjp) is not tuple  # one function for all arguments
    each = vjp(g) if together else vjp
    if type(each) is not tuple or len(each) != len(args):
        needed = [i for i, x in enumerate(args) if type(x) is Tensor and x.requires_grad]
        each = gradients.match(call, each, args, needed)
    for x, gx in zip(args, each, strict=True):
        if type(x) is Tensor and x.requires_grad:
            if not together and gx is not None:
                gx = gx(g)
            if type(gx) is not kind or gx.shape != x.data.shape or gx.dtype is not x.data.dtype:
                if type(gx) is GradientWriter and kind is ndarray:
                    gx.write(*sums.own_array(x))
                    continue
                gx = gradients.fit(call, gx, x, g, kind)
            sums.add(x, gx)


def grad(
    output: Tensor,
    inputs: Tensor | Iterable[Tensor],
    gradient: Any = None,
    create_graph: bool = False,
) -> tuple[Tensor, ...]:
    """The gradients of `output`, weighted with `gradient`, for each of `inputs`, as Tensors.

    With `create_graph=True` they have a graph of their own and can be differentiated again;
    that also keeps the graph of `output`. Leaves' `.grad` is not touched. An input that
    `output` does not depend on has gradient zero.

    >>> x = Tensor(2.0, requires_grad=True)
    >>> (dx,) = grad(x**3, x, create_graph=True)
    >>> (ddx,) = grad(dx, x)
    >>> dx.item(), ddx.item()
    (12.0, 12.0)
    """
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    for i, x in enumerate(inputs):
        if type(x) is not Tensor or not x.requires_grad:
            raise ValueError(errors.CONSTANT_INPUT.format(i=i))
    sums, _ = _walk(output, gradient, create_graph, inputs)
    results = []
    for x in inputs:
        g = sums.get(id(x))
        if type(g) is not Tensor:  # a copy, for it may be shared with another or the caller
            g = Tensor(np.zeros_like(x.data) if g is None else np.array(g))
        results.append(g)
    return tuple(results)


@contextlib.contextmanager
def no_grad() -> Iterator[None]:
    """Record nothing inside: `with no_grad(): ...` or `@no_grad()`, for this thread.

    >>> x = Tensor(3.0, requires_grad=True)
    >>> with no_grad():
    ...     y = x * x
    >>> y.requires_grad
    False
    """
    outer = mode.recording, mode.watch
    mode.recording, mode.watch = False, None
    try:
        yield
    finally:
        mode.recording, mode.watch = outer
