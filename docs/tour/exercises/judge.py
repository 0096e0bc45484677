"""How an answer is judged: compared with what is right, and refused with a hint.

A check is a function of the learner's module. It returns nothing if the answer is right, and raises
NotYet otherwise. The checks are in engine_checks.py (pages 1 to 5) and network_checks.py.
"""

from __future__ import annotations

import functools
import re
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


class NotYet(Exception):
    """An answer that is not right yet; `facts` are what to show of it: (label, text)."""

    def __init__(self, given: str, expected: str, arrived: str, hint: str):
        super().__init__(hint)
        facts = {"given": given, "expected": expected, "arrived": arrived, "hint": hint}
        self.facts = [(label, text) for label, text in facts.items() if text]


def draw(seed: int, *shape: int) -> Any:
    """Different random numbers from -2 to 2 with two decimals, none of them 0; () gives a number.

    The same seed gives the same numbers, so that an answer is judged alike each time.
    """
    steps = np.array([n for n in range(-200, 201) if n])
    picked = np.random.default_rng(seed).choice(steps, size=shape, replace=False) / 100
    return picked if shape else float(picked)


def numbers(x: Any) -> np.ndarray | None:
    """A number or an array of numbers as an array; None for anything else."""
    try:
        return np.asarray(x, float) if isinstance(x, (int, float, np.ndarray, np.generic)) else None
    except (TypeError, ValueError):
        return None


def shown(x: Any, digits: int = 5) -> str:
    """A number, an array or a tuple as text, short enough to read."""
    array = numbers(x)
    if isinstance(x, (tuple, list)) and len(x) <= 12:
        text = ", ".join(shown(part, digits) for part in x)
        return f"[{text}]" if isinstance(x, list) else f"({text}{',' * (len(x) == 1)})"
    if array is None:
        if numbers(getattr(x, "data", None)) is not None:
            return f"{type(x).__name__}({shown(x.data, digits)})"
        return textwrap.shorten(getattr(x, "__name__", repr(x)), 200, placeholder=" ...")
    if isinstance(x, int):
        return f"{x}"
    if array.size > 12:
        return f"an array of the shape {array.shape}"
    if not array.ndim:
        return f"{array:.{digits + 1}g}"
    fixed = bool(np.abs(array).max(initial=0) > 1e-3)  # or else all would be 0.
    text = np.array2string(array, precision=digits, separator=", ", suppress_small=fixed)
    return re.sub(r"(?<=\[) | +(?=[],])", "", " ".join(text.split()))


def compare(
    given: str, expected: Any, arrived: Any, hint: str, rtol: float = 1e-6, size: float = 1.0
) -> None:
    """Refuse what arrived unless it has the shape and, but for rounding, the numbers expected.

    `size` is that of the smallest numbers that matter.
    """
    right, found = np.asarray(expected, float), numbers(arrived)
    whole = isinstance(expected, int) and not isinstance(arrived, (int, np.integer))
    if found is None or whole:
        kind = "a whole number" if whole else "a NumPy array" if right.ndim else "a number"
        hint = f"Return {kind}, not a {type(arrived).__name__}."
        hint = "Is there a `return`?" if arrived is None else hint
        text = shown(arrived) if found is None else f"{arrived}"
        raise NotYet(given, f"{kind}, {shown(right)}", text, hint)
    if found.shape != right.shape:
        texts = (f"{shown(a)}, with the shape {a.shape}" for a in (right, found))
        raise NotYet(given, *texts, hint)
    near = np.isclose(found, right, rtol=rtol, atol=rtol * size / 100)
    if not near.all():
        if right.size > 12:
            at = tuple(map(int, np.argwhere(~near)[0]))
            given, right, found = f"{given}; entry {list(at)} of the result", right[at], found[at]
        digits = 5 if shown(right) != shown(found) else 12
        raise NotYet(given, shown(right, digits), shown(found, digits), hint)


def parts(given: str, arrived: Any, what: str, n: int) -> Sequence[Any]:
    """Refuse what arrived unless it is a tuple or list of n things; returns it."""
    if not isinstance(arrived, (tuple, list)) or len(arrived) != n:
        raise NotYet(given, what, shown(arrived), "Return a tuple of this length.")
    return arrived


def watched(function: Callable, calls: list[Any]) -> Callable:
    """The learner's function; `calls` holds what it is called with, made read-only."""

    @functools.wraps(function)
    def call(*args, **kwargs):
        calls[:] = [*args, *kwargs.values()]
        for x in args:
            array = x if isinstance(x, np.ndarray) else getattr(x, "data", None)
            if isinstance(array, np.ndarray):
                array.setflags(write=False)
        return function(*args, **kwargs)

    return call


def differences(function: Callable, inputs: Sequence[Any], weights: Any, i: int) -> np.ndarray:
    """The gradient of sum(weights * function(*inputs)) for input i, as finite differences."""
    gradient = np.zeros(np.shape(inputs[i]))
    for index in np.ndindex(gradient.shape):
        for h in (1e-5, -1e-5):
            moved = np.array(inputs[i], float)
            moved[index] += h
            value = function(*inputs[:i], moved, *inputs[i + 1 :])
            gradient[index] += np.sum(weights * value) / (2 * h)
    return gradient


def check_step(
    Value: Any, step: Callable, sign: str, function: Callable, inputs: Sequence[Any], value: str,
    slopes: Sequence[str] = (),
) -> None:  # fmt: skip
    """Refuse a step of the tour's engine unless value, parents, sign and gradients are right.

    `function` computes the value with NumPy; its finite differences are the gradients. `value` is
    the hint for a wrong value, `slopes` are those for a wrong gradient of each input.
    """
    values = [Value(x) for x in inputs]
    given = f"{step.__name__}({', '.join(f'Value({shown(x)})' for x in inputs)})"
    made = step(*values)
    if not isinstance(made, Value):
        hint = "Is there a `return`?" if made is None else "Look at Value.__add__ on the page."
        raise NotYet(given, "a Value", shown(made), hint)
    compare(f"{given}.data", function(*inputs), made.data, value)
    if not isinstance(made.parents, tuple) or made.parents != tuple(values):
        names = dict(zip(map(id, values), "xy", strict=False))
        several = isinstance(made.parents, (tuple, list))
        found = made.parents if several else [made.parents]
        found = type(found)(names.get(id(p), f"a {type(p).__name__}") for p in found)
        arrived = shown(found) if several else f"{found[0]}, without a tuple"
        hint = "One step makes the result from what was given, in this order."
        texts = (text.replace("'", "") for text in (shown((*names.values(),)), arrived))
        raise NotYet(f"{given}.parents", *texts, hint)
    if made.step != sign:
        hint = "`step` says which step made the Value."
        raise NotYet(f"{given}.step", repr(sign), repr(made.step), hint)
    if slopes:
        kept = "vjps" if hasattr(made, "vjps") else "slopes"
        what = f"a tuple of {len(values)}, with one for each parent"
        parts(f"{given}.{kept}", getattr(made, kept), what, len(values))
        g = draw(99, *np.shape(made.data))
        (made * Value(g)).backward()
        for i, (x, hint) in enumerate(zip(values, slopes, strict=True)):
            asked = f"{given}; the gradient {shown(g)} arrives at the result and is handed on to "
            compare(asked + "xy"[i], differences(function, inputs, g, i), x.grad, hint)
