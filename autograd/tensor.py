"""The engine: `Tensor` records what is computed, `backward` and `grad` walk it in reverse.

An op (see `op` below) is a function of arrays that returns its value and its vjp, the function
that turns the gradient of the value into the gradients of the arguments. Calling an op on
Tensors runs it on their arrays and keeps the vjp in the new Tensor, which thereby *is* the node
of the graph. Tensors are numbered as they are made, and an argument is made before what is
computed from it, so walking the numbers downwards meets every Tensor after all its uses.

Read `Tensor`, `op` and `_walk`, in this order; then ops.py, which is made of nothing else.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import threading
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
from numpy import ndarray

__all__ = ["Tensor", "grad", "no_grad", "op"]


class _Mode(threading.local):
    recording = True  # False inside no_grad(); inside detect_anomaly() the object that watches
    tracing = False  # bodies and vjps of ops are being run on Tensors, for create_graph


_mode = _Mode()
_numbers = itertools.count(1)
_registry: dict[str, Callable] = {}  # every op by its name: how NumPy's functions find them
_USED = object()  # stands where the vjp was, once it has run


class Tensor:
    """An array that remembers how it was computed.

    `data` is the NumPy array, `grad` an array of the same shape and dtype or None, filled by
    `backward` on leaves (Tensors made by hand, not by an op) with `requires_grad=True`. Where
    `grad` is None, `grad_buffer` may be an array that `backward` shall put it in.

    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    array([2., 4., 6.])
    """

    __slots__ = (
        "__weakref__", "_args", "_kwargs", "_number", "_op", "_vjp",
        "data", "grad", "grad_buffer", "requires_grad",
    )  # fmt: skip

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None):
        self.data = np.asarray(data, dtype)
        if requires_grad and self.data.dtype.kind != "f":
            raise TypeError(
                f"Tensor(requires_grad=True) needs floating-point data, got dtype "
                f"{self.data.dtype}: gradients are real numbers; pass dtype=float"
            )
        self.requires_grad = requires_grad
        self.grad = self.grad_buffer = None
        self._op = self._vjp = None
        self._args, self._kwargs, self._number = (), {}, 0

    shape = property(lambda self: self.data.shape)
    ndim = property(lambda self: self.data.ndim)
    dtype = property(lambda self: self.data.dtype)
    size = property(lambda self: self.data.size)
    is_leaf = property(lambda self: self._op is None)  # made by hand, not by an op

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
        gradients, leaves = _walk(self, gradient, create_graph=False, leaves=True)
        for leaf in leaves:
            g = gradients[id(leaf)]
            # a copy, for g may be shared with another leaf or the caller
            leaf.grad = g if id(leaf) in gradients.owned else np.array(g)

    # NumPy's functions and operators on Tensors run the op of the same name.

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        if method != "__call__":
            raise TypeError(
                f"np.{ufunc.__name__}.{method} is not recorded in the graph: use the op instead "
                f"(sum for add.reduce, scatter for add.at, ...), or .data for a constant"
            )
        if out is not None and not (_mode.tracing and type(out[0]) is Tensor):
            raise TypeError(
                f"np.{ufunc.__name__}(..., out=) writes into an array that is there already, where "
                f"the graph does not see it: write y = np.{ufunc.__name__}(...), and y = y + t for "
                "y += t on an array"
            )
        return _op_for(ufunc)(*inputs, **kwargs)

    def __array_function__(self, func, types, args, kwargs):
        op = _op_for(func)
        args, kwargs = _as_keywords(func, args, kwargs)
        return op(*args, **kwargs)

    def __array__(self, dtype=None, copy=None):
        if self.requires_grad:
            raise TypeError(
                "a Tensor that requires gradients was converted to a NumPy array, which would "
                "lose the graph: use t.data (or t.detach()) if a constant is what you want, and "
                "an op (np.stack for a list of Tensors) if it is not"
            )
        return np.array(self.data, dtype, copy=copy)

    def __setitem__(self, index, value):
        raise TypeError(
            "a Tensor cannot be assigned to, its graph would no longer tell how it was computed: "
            "build a new one with where(), concatenate() or scatter(), or write t.data[...] "
            "outside of the graph"
        )

    # Comparisons are constant almost everywhere: plain boolean arrays.

    def __eq__(self, other):
        return self.data == other

    def __ne__(self, other):
        return self.data != other

    def __lt__(self, other):
        return self.data < other

    def __le__(self, other):
        return self.data <= other

    def __gt__(self, other):
        return self.data > other

    def __ge__(self, other):
        return self.data >= other

    __hash__ = object.__hash__

    def __bool__(self):
        if self.size != 1:
            raise ValueError(
                f"a Tensor of shape {self.shape} is neither true nor false: compare it and "
                "use .all() or .any(), or where() to choose entry by entry"
            )
        return bool(self.data)

    def __float__(self):
        raise TypeError("float(t) and math.* would lose the graph: use t.item() for the number")

    def __format__(self, spec):
        return format(self.item(), spec) if spec else repr(self)

    def __len__(self):
        return len(self.data)

    def __iter__(self):
        return (self[i] for i in range(len(self)))  # len() refuses 0-d

    def __repr__(self):
        flag = ", requires_grad=True" if self.requires_grad else ""
        text = np.array2string(self.data, separator=", ", prefix="Tensor(")
        return f"Tensor({text}, dtype={self.dtype}{flag})"


def op(function: Callable | None = None, *, reference: Callable | None = None) -> Callable:
    """Make a differentiable op of a function of arrays that returns its value and its vjp.

    The vjp is a tuple with one function per argument (None, or nothing at the end, for an
    argument that has no derivative), or one function that returns the gradients of all of them.
    A gradient may have the shape the argument was broadcast to: it is summed down here. A large
    one may also be a function, write(out, add), that adds it to an array, or overwrites that.

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
    new, number = object.__new__, next

    @functools.wraps(function)
    def call(*args, **kwargs):
        if kwargs:
            args, kwargs = _positional(function, args, kwargs)
        arrays, found, requires_grad, loose = [], False, False, False
        for x in args:
            if type(x) is Tensor:
                found = True
                if x.requires_grad:
                    requires_grad = True
                x = x.data
            elif type(x) is not ndarray or not x.ndim:
                x, loose = _constant(x), True
            arrays.append(x)
        if not found:
            arrays = _without_tensors(args)
        try:
            result = function(*arrays, **kwargs)
        except (ValueError, TypeError, IndexError) as error:
            raise _explain(error, call, arrays) from error.__cause__
        if type(result) is not tuple or len(result) != 2:
            raise _not_an_op(call, result)
        value, vjp = result
        out = new(Tensor)
        out.data = value if type(value) is ndarray else np.asarray(value)
        out.grad = out.grad_buffer = None
        recording = requires_grad and _mode.recording
        if recording:
            if out.data.dtype.kind != "f":
                raise _not_real(call, out)
            if loose:  # what the vjp saw is what the body shall see again on Tensors
                pairs = zip(args, arrays, strict=True)
                args = tuple(x if type(x) is Tensor else a for x, a in pairs)
            out.requires_grad = True
            out._op, out._args, out._kwargs, out._vjp = call, args, kwargs, vjp
            out._number = number(_numbers)
            if recording is not True:
                recording.made(out)
        else:
            out.requires_grad = False
            out._op = out._vjp = None
            out._args, out._kwargs, out._number = (), None, 0
        return out

    call.traceable = reference or function
    return _register(call)


def _register(call: Callable) -> Callable:
    name, known = call.__name__, _registry.get(call.__name__)
    found_by_name = hasattr(np, name) or hasattr(Tensor, name)
    # The same module again is a notebook cell that was run twice.
    if known and found_by_name and known.__module__ != call.__module__:
        raise ValueError(
            f"op {name} is taken: {known.__module__} defines it, and NumPy's functions and "
            f"Tensor's methods find ops by name; call the one in {call.__module__} something else"
        )
    _registry[name] = call
    return call


def _positional(function, args, kwargs):
    """Tensors given by keyword moved to their positions, where the graph sees them."""
    kwargs = {name: _constant(x) for name, x in kwargs.items()}
    if any(type(value) is Tensor for value in kwargs.values()):
        bound = inspect.signature(function).bind(*args, **kwargs)
        bound.apply_defaults()
        args, kwargs = bound.args, bound.kwargs
        for name, value in kwargs.items():
            if type(value) is Tensor:
                raise TypeError(
                    f"{function.__name__}({name}=) is an option, not differentiable: got a "
                    "Tensor, pass t.data"
                )
    return args, kwargs


def _constant(x):
    """NumPy's numbers as weak as Python's, so that float32 stays float32; lists as arrays."""
    if isinstance(x, (np.generic, ndarray)) and not x.ndim:
        return x.item()
    return np.asarray(x) if type(x) is list and x else x


def _without_tensors(args):
    """Arguments without a Tensor among them: the first may be a number."""
    if not args or (len(args) > 1 and isinstance(args[0], (int, float))):
        return args
    return [np.asarray(args[0]), *args[1:]]


def _not_an_op(call, result):
    return TypeError(
        f"op {call.__name__} returned a {type(result).__name__}, not (value, vjp): end it with "
        "`return value, (lambda g: ..., )`"
    )


def _not_real(call, out):
    return TypeError(
        f"op {call.__name__} turned a tensor that requires gradients into dtype {out.dtype}: "
        "gradients are real numbers; use t.data for a constant"
    )


_RULES = {  # what NumPy's messages leave unsaid, by a phrase of theirs
    "core dimension": "the last axis of the first must have the size of the last but one of the "
    "second",
    "broadcast": "sizes are compared from the last axis backwards, and must be equal or 1",
    "concatenation axis": "all sizes but that along the axis must agree",
    "out of bounds for array": "axes count from 0, or from -1 backwards",
    "out of bounds for axis": "indices count from 0, or from -1 backwards",
}


def _explain(error, call, arrays):
    """An error from the body of an op, with the op, the shapes it was given, and the rule."""
    name, text = call.__name__.strip("_"), str(error)
    known = type(error) in (ValueError, TypeError, IndexError, np.exceptions.AxisError)
    if not known or (text.startswith(name) and "core dimension" not in text):
        return error  # an op's own message says all this
    shapes = ", ".join(str(x.shape) for x in arrays if isinstance(x, ndarray))
    rules = [rule for phrase, rule in _RULES.items() if phrase in text]
    what = "the sizes do not fit" if "core dimension" in text else text.strip()
    rule = rules[0] if rules else f"{name} is: {(call.__doc__ or name).strip().splitlines()[0]}"
    return type(error)(f"{name} of shapes {shapes}: {what}; {rule}")


def _walk(
    output: Tensor,
    gradient: Any,
    create_graph: bool,
    inputs: Sequence[Tensor] = (),
    leaves: bool = False,
):
    """Pull `gradient` back through the graph of `output`.

    Returns the gradients of leaves and `inputs`, and the list of leaves, whose sums begin with
    their `grad` if `leaves`. Iterative, each vjp called once, and what it held is freed when it
    has run, unless create_graph keeps it.
    """
    nodes = _collect(output)
    gradients = _Sums([x for x in nodes if x._op is None] if leaves else [])
    seed = _seed(output, gradient, create_graph)
    begun = gradients.owned if gradient is not None else ()
    if any(np.may_share_memory(seed, gradients[i]) for i in begun):
        seed = np.array(seed)  # it is a gradient that will be added to
    gradients.add(output, seed)
    kept, wanted = {}, {id(x) for x in inputs}
    step = _trace_node if create_graph else _pull_node
    if type(_mode.recording) is not bool:
        step = _mode.recording.watched(step)
    while nodes[-1]._vjp is not None:  # the oldest are leaves
        node = nodes.pop()
        g = gradients.pop(id(node))
        if id(node) in wanted:
            kept[id(node)] = g
        step(node, g, gradients)
    gradients.update(kept)
    return gradients, nodes


class _Sums(dict):
    """The gradients of Tensors, by their ids: each the sum of what comes from its uses."""

    def __init__(self, leaves):
        self.owned = set()  # ids of sums that nobody else holds: they are added to in place
        self.empty = {}  # arrays in which a sum shall begin
        for x in leaves:
            if x.grad is not None:
                self[id(x)] = np.asarray(x.grad)
                if type(x.grad) is ndarray and x.grad.flags.writeable and x.grad.dtype == x.dtype:
                    self.owned.add(id(x))
            elif x.grad_buffer is not None:
                self.empty[id(x)] = x.grad_buffer

    def add(self, x, g):
        """Add an array or Tensor to the sum of x."""
        before = self.get(id(x))
        if before is None:
            if id(x) in self.empty:
                self.write(x, lambda out, add: np.copyto(out, g))
            else:
                self[id(x)] = g
        elif id(x) in self.owned:
            np.add(before, g, out=before)
        elif type(g) is Tensor:
            self[id(x)] = before + g
        else:
            self[id(x)] = np.asarray(before + g)  # 0-d arrays add up to scalars
            self.owned.add(id(x))

    def write(self, x, write):
        """Add what write(out, add) adds to an array, or writes into one that has no content yet."""
        out = self.get(id(x))
        add = out is not None
        if not add:
            out = self.empty.pop(id(x), None)
            out = np.empty(x.shape, x.dtype) if out is None else out
        elif id(x) not in self.owned:
            out = np.array(out)
        write(out, add)
        self[id(x)] = out
        self.owned.add(id(x))


def _collect(output):
    """All Tensors that `output` was computed from and that need gradients, oldest first."""
    if not output.requires_grad:
        raise ValueError(
            "backward on a tensor without a graph: nothing it was computed from has "
            "requires_grad=True (or it was computed under no_grad(), or detached): make the leaves "
            "with Tensor(..., requires_grad=True)"
        )
    nodes, seen = [output], set()
    for node in nodes:  # the list grows while it is read
        if node._vjp is _USED:
            raise ValueError(
                f"backward through a graph that was used already (at {node._op.__name__}): its "
                "arrays are freed as it goes; compute the loss anew, ask for all gradients in "
                "one call, or keep the graph with grad(..., create_graph=True)"
            )
        for x in node._args:
            if type(x) is Tensor and x.requires_grad and id(x) not in seen:
                seen.add(id(x))
                nodes.append(x)
    nodes.sort(key=attrgetter("_number"))
    return nodes


def _seed(output, gradient, create_graph):
    if gradient is None:
        if output.size != 1:
            raise ValueError(
                f"backward on a tensor of shape {output.shape}: only a single number has a "
                f"gradient by itself; reduce it (.sum(), .mean()) or pass gradient= of that shape"
            )
        gradient = np.ones_like(output.data)
    seed = gradient if type(gradient) is Tensor else Tensor(gradient)
    if seed.shape != output.shape:
        raise ValueError(
            f"gradient= has shape {seed.shape}, the tensor {output.shape}: they must be equal"
        )
    if seed.dtype != output.dtype:
        seed = _registry["astype"](seed, output.dtype)
    return seed if create_graph else seed.data


def _pull_node(node, g, gradients):
    vjp, node._vjp = node._vjp, _USED
    args, node._args = node._args, ()
    _pull(node._op, vjp, args, g, gradients, ndarray)


def _trace_node(node, g, gradients):
    """The body once more, on Tensors: its vjp is then made of ops and recorded itself."""
    outer = _mode.tracing, _mode.recording
    _mode.tracing, _mode.recording = True, _mode.recording or True
    args = [  # indices, targets and masks are for NumPy
        x.data if type(x) is Tensor and x.dtype.kind != "f" else x for x in node._args
    ]
    try:
        _, vjp = node._op.traceable(*args, **node._kwargs)
        _pull(node._op, vjp, node._args, g, gradients, Tensor)
    finally:
        _mode.tracing, _mode.recording = outer


def _pull(call, vjp, args, g, gradients, kind):
    """Call the vjps of one node and add what they return to the gradients of its arguments."""
    together = type(vjp) is not tuple  # one function for all arguments
    each = vjp(g) if together else vjp
    if type(each) is not tuple or len(each) != len(args):
        each = _match(call, each, args)
    for x, gx in zip(args, each, strict=True):
        if type(x) is Tensor and x.requires_grad:
            if not together and gx is not None:
                gx = gx(g)
            if type(gx) is not kind or gx.shape != x.data.shape or gx.dtype is not x.data.dtype:
                if kind is ndarray and callable(gx):
                    gradients.write(x, gx)
                    continue
                gx = _fit(call, gx, x, g, kind)
            gradients.add(x, gx)


def _match(call, each, args):
    """One entry per argument: None for those without, unless they need a gradient."""
    if type(each) is not tuple:
        raise TypeError(
            f"the vjp of {call.__name__} returned a {type(each).__name__}: a single function "
            "returns a tuple with the gradients of all arguments; for one function per argument "
            "write (lambda g: ..., )"
        )
    needed = [i for i, x in enumerate(args) if type(x) is Tensor and x.requires_grad]
    if len(each) > (_arity(call) or len(args)) or needed[-1] >= len(each):
        raise TypeError(
            f"the vjp of {call.__name__} gives {len(each)} gradients, but its arguments "
            f"{needed} need one: return one per differentiable argument, in order, or pass an "
            "argument that has no derivative as t.data"
        )
    return (each + (None,) * len(args))[: len(args)]


@functools.cache
def _arity(call):
    """How many arguments an op has; None if any number."""
    kinds = [p.kind for p in inspect.signature(call).parameters.values()]
    return None if inspect.Parameter.VAR_POSITIONAL in kinds else len(kinds)


def _fit(call, gx, x, g, kind):
    """A gradient as its argument needs it: summed over broadcast axes, of the same dtype."""
    if gx is None:
        raise TypeError(
            f"the vjp of {call.__name__} gives None for an argument that requires gradients: "
            "return its gradient, or pass that argument as t.data"
        )
    if callable(gx):
        raise TypeError(
            f"the vjp of {call.__name__} gives a function that writes a gradient where derivatives "
            "of higher order need the gradient itself: return it where g is a Tensor, or name a "
            "reference, @op(reference=...)"
        )
    if type(gx) is not kind:
        gx = Tensor(gx) if kind is Tensor else np.asarray(gx)
    shape = gx.shape
    if len(shape) > x.ndim:
        gx = gx.sum(axis=tuple(range(len(shape) - x.ndim)))
    if gx.shape != x.shape and gx.ndim == x.ndim:
        stretched = tuple(i for i, n in enumerate(x.shape) if n == 1)
        gx = gx.sum(axis=stretched, keepdims=True)
    if gx.shape != x.shape:
        raise ValueError(
            f"the vjp of {call.__name__} gives a gradient of shape {shape} for an argument of "
            f"shape {x.shape}: it must have that shape, or one it broadcasts to"
        )
    if gx.dtype != x.dtype:
        if x.dtype.kind != "f":
            raise TypeError(
                f"an argument of {call.__name__} requires gradients and has dtype {x.dtype}: "
                "gradients are real numbers; make it with dtype=float"
            )
        if g.dtype == x.dtype:  # otherwise the op has promoted its arguments, and that is fine
            raise TypeError(
                f"the vjp of {call.__name__} turns {g.dtype} into {gx.dtype}: look for NumPy "
                "scalars and integer arrays in it, and use Python numbers (math.sqrt)"
            )
        gx = gx.astype(x.dtype)
    return gx if type(gx) is kind else np.asarray(gx)  # 0-d arrays reduce to scalars


def grad(
    output: Tensor,
    inputs: Tensor | Sequence[Tensor],
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
    inputs = (inputs,) if type(inputs) is Tensor else tuple(inputs)
    for i, x in enumerate(inputs):
        if type(x) is not Tensor or not x.requires_grad:
            raise ValueError(
                f"grad: input {i} does not require gradients: make it with "
                "Tensor(..., requires_grad=True) before computing the output"
            )
    gradients, _ = _walk(output, gradient, create_graph, inputs)
    results = [gradients.get(id(x)) for x in inputs]
    if not create_graph:  # arrays, copied: they may be shared with each other or the caller
        return tuple(Tensor(np.zeros_like(x.data) if g is None else np.array(g))
                     for x, g in zip(inputs, results, strict=True))  # fmt: skip
    return tuple(Tensor(np.zeros_like(x.data)) if g is None else g
                 for x, g in zip(inputs, results, strict=True))  # fmt: skip


@contextlib.contextmanager
def no_grad():
    """Record nothing inside: `with no_grad(): ...` or `@no_grad()`, for this thread.

    >>> x = Tensor(3.0, requires_grad=True)
    >>> with no_grad():
    ...     y = x * x
    >>> y.requires_grad
    False
    """
    outer, _mode.recording = _mode.recording, False
    try:
        yield
    finally:
        _mode.recording = outer


# NumPy functions whose derivative is zero wherever it exists: they see the arrays.
_CONSTANT = frozenset(
    """all allclose any argmax argmin argsort array_equal ceil count_nonzero empty_like equal
    flatnonzero floor greater greater_equal isclose isfinite isinf isnan less less_equal
    logical_and logical_not logical_or may_share_memory ndim nonzero not_equal ones_like
    result_type rint shape shares_memory sign signbit size trunc zeros_like""".split()
)
_ALIASES = {"absolute": "abs", "amax": "max", "amin": "min"}


def _op_for(function):
    """The op that stands for a NumPy function, by name."""
    name = function.__name__
    if name in _CONSTANT:
        return lambda *args, **kwargs: function(
            *map(_data, args), **{key: _data(x) for key, x in kwargs.items()}
        )
    found = _registry.get(_ALIASES.get(name, name))
    if found is None:
        raise TypeError(
            f"np.{name} has no op, and running it on the array would lose the graph: define one "
            f"in your own file (@op def {name}(...), see 'Adding an op' in the README) and "
            f"np.{name} will find it, or pass t.data if a constant is what you want"
        )
    return found


def _data(x):
    return x.data if type(x) is Tensor else x


@functools.cache
def _signature(function):
    try:
        return inspect.signature(function)
    except ValueError:  # written in C
        return None


def _as_keywords(function, args, kwargs):
    """A call in NumPy's order of arguments as (first, options), without what is left at default."""
    signature = _signature(function)
    if signature is None or function.__name__ in _CONSTANT:
        return args, kwargs
    (_, first), *rest = signature.bind(*args, **kwargs).arguments.items()
    given = {}
    for name, value in rest:
        parameter = signature.parameters[name]
        if parameter.kind is parameter.VAR_KEYWORD:
            given |= value
        elif value is not parameter.default:
            given[name] = value
    return (first,), given
