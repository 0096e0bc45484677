"""The texts of the engine's errors: what was done, what was expected, what came, and the fix.

tensor.py and dispatch.py fill in the {names} and raise them. `explain` turns an error that NumPy
raises in the body of an op into one that tells the op, the shapes and the rule.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# fmt: off

INTEGER_LEAF = ("Tensor(requires_grad=True) needs floating-point data, got dtype {dtype}: "
    "gradients are real numbers; pass dtype=float")
NO_NUMBERS = ("a {kind} became an array of dtype {dtype}, and Tensors and constants of ops are "
    "numbers: pass an array of floats, integers or booleans (np.asarray(x, float), where it can be "
    "one)")
MASKED = ("a masked array was given, and ops know no masks: pass x.filled(0), and leave entries "
    "out with where() or an index")
FOREIGN = ("{kind} is another library's array, whose graph, device or layout would be lost: pass a "
    "NumPy array (x.numpy() or x.toarray(), if it has one)")
TO_ARRAY = ("a Tensor that requires gradients was converted to a NumPy array, which would lose the "
    "graph: use t.data (or t.detach()) if a constant is what you want; else join Tensors with "
    "np.stack (for np.array), np.concatenate (for np.r_) or np.column_stack (for np.c_)")
ASSIGNMENT = ("a Tensor cannot be assigned to, its graph would no longer tell how it was computed: "
    "build a new one with where(), concatenate() or scatter(), or write t.data[...] outside of the "
    "graph")
TRUTH_VALUE = ("a Tensor of shape {shape} is neither true nor false: compare it and use .all() or "
    ".any(), or where() to choose entry by entry")
TO_FLOAT = "float(t) and math.* would lose the graph: use t.item() for the number"

UFUNC_METHOD = ("np.{name}.{method} is not recorded in the graph: use the op instead (sum for "
    "add.reduce, scatter for add.at, ...), or .data for a constant")
OUT = ("np.{name}(..., out=) writes into an array that is there already, where the graph does not "
    "see it: write y = np.{name}(...), and y = y + t for y += t on an array")
NO_OP = ("{name} has no op, and running it on the array would lose the graph: define one in your "
    "own file (@op def {op}(...), see 'Adding an op' in the README) and {name} will find it, or "
    "pass t.data if a constant is what you want")
NO_OP_OF_THAT_NAME = ("{name} has no op, and running it on the array would lose the graph: write a "
    "function of Tensors with @implements({name}), or pass t.data if a constant is what you want")
COMPLEX = ("{name} gives complex numbers, which have no gradients here: use t.data for a constant, "
    "or write it in real numbers")
NO_OPTION = ("{name}({option}=) is not defined for Tensors: leave it out, or write what it does "
    "with other functions")

TAKEN = ("op {name} is taken: {known} defines it, and NumPy's functions and Tensor's methods find "
    "ops by name; call the one in {new} something else")
TENSOR_OPTION = "{op}({name}=) is an option, not differentiable: got a Tensor, pass t.data"
NOT_AN_OP = ("op {op} returned a {result}, not (value, vjp): end it with `return value, (lambda g: "
    "..., )`")
NOT_REAL = ("op {op} turned a tensor that requires gradients into dtype {dtype}: gradients are "
    "real numbers, and so are the constants of ops; use t.data for a constant")

NO_GRAPH = ("backward on a tensor without a graph: nothing it was computed from has "
    "requires_grad=True (or it was computed under no_grad(), or detached): make the leaves with "
    "Tensor(..., requires_grad=True)")
USED_GRAPH = ("backward through a graph that was used already (at {op}): its arrays are freed as "
    "it goes; compute the loss anew, ask for all gradients in one call, or keep the graph with "
    "grad(..., create_graph=True)")
NOT_A_NUMBER = ("backward on a tensor of shape {shape}: only a single number has a gradient by "
    "itself; reduce it (.sum(), .mean()) or pass gradient= of that shape")
SEED_SHAPE = "gradient= has shape {given}, the tensor {shape}: they must be equal"
GRAD_SHAPE = ("backward adds to the grad that is there, which has shape {given}, the tensor "
    "{shape}: set t.grad to None, or to an array of that shape")
COPY = ("a Tensor that an op has computed (here {op}) cannot be copied or pickled: the graph of "
    "the copy would lead to the leaves of the original; copy t.detach(), or copy the leaves and "
    "compute again")
CONSTANT_INPUT = ("grad: input {i} does not require gradients: make it with Tensor(..., "
    "requires_grad=True) before computing the output")

NOT_A_TUPLE = ("the vjp of {op} returned a {result}: a single function returns a tuple with the "
    "gradients of all arguments; for one function per argument write (lambda g: ..., )")
WRONG_NUMBER = ("the vjp of {op} gives {n} gradients, but its arguments {needed} need one: return "
    "one per differentiable argument, in order, or pass an argument that has no derivative as "
    "t.data")
NO_GRADIENT = ("the vjp of {op} gives None for an argument that requires gradients: return its "
    "gradient, or pass that argument as t.data")
WRITER_OF_TENSORS = ("the vjp of {op} gives a GradientWriter where derivatives of higher order "
    "need the gradient itself: return it where g is a Tensor, or name a reference, "
    "@op(reference=...)")
GRADIENT_SHAPE = ("the vjp of {op} gives a gradient of shape {given} for an argument of shape "
    "{shape}: it must have that shape, or one it broadcasts to")
INTEGER_ARGUMENT = ("an argument of {op} requires gradients and has dtype {dtype}: gradients are "
    "real numbers; make it with dtype=float")
GRADIENT_DTYPE = ("the vjp of {op} turns {dtype} into {given}: look for NumPy scalars and integer "
    "arrays in it, and use Python numbers (math.sqrt)")

# fmt: on

# What NumPy's messages do not say, by a phrase that is in them (test_errors.py holds the phrases).
RULES = {
    "core dimension": "the last axis of the first must have the size of the last but one of the "
    "second (if that is a vector, of its only one)",
    "broadcast": "sizes are compared from the last axis backwards, and must be equal or 1",
    "concatenation axis": "all sizes but that along the axis must agree",
    "out of bounds for array": "axes count from 0, or from -1 backwards",
    "out of bounds for axis": "indices count from 0, or from -1 backwards",
    "types": "constants are numbers, or arrays of floats, integers or booleans",
}


def explain(error, op, arrays):
    """An error from the body of an op, with the op, the shapes it was given, and the rule."""
    name, text = op.__name__.strip("_"), str(error)
    kind: Any = TypeError if "UFuncTypeError" in repr(type(error).__mro__) else type(error)
    known = kind in (ValueError, TypeError, IndexError, np.exceptions.AxisError)
    if not known or (text.startswith(name) and "core dimension" not in text):
        return error  # an op's own message says all this
    shapes = ", ".join(str(x.shape) for x in arrays if isinstance(x, np.ndarray))
    rules = [rule for phrase, rule in RULES.items() if phrase in text]
    what = "the sizes do not fit" if "core dimension" in text else text.strip()
    rule = rules[0] if rules else f"{name} is: {(op.__doc__ or name).strip().splitlines()[0]}"
    return kind(f"{name} of shapes {shapes}: {what}; {rule}")
