"""How an answer is judged: compared with what is right, and refused with a hint.

A check is a function of the learner's module. It returns nothing if the answer is right, and raises
NotYet otherwise. The checks are in engine_checks.py (pages 1 to 5) and network_checks.py.
"""

from __future__ import annotations

import re
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

    Of the same seed are the same numbers, so that each run judges alike.
    """
    steps = np.array([n for n in range(-200, 201) if n])
    picked = np.random.default_rng(seed).choice(steps, size=shape, replace=False) / 100
    return picked if shape else float(picked)


def numbers(x: Any) -> np.ndarray | None:
    """What a learner's function returned, as an array; None if it is no array of numbers."""
    if not isinstance(x, (np.ndarray, np.generic)):
        x = getattr(x, "data", x)
    try:
        return None if x is None else np.asarray(x, float)
    except (TypeError, ValueError):
        return None


def shown(x: Any, digits: int = 5) -> str:
    """A number or an array as text, short enough to read; anything else as it prints itself."""
    array = numbers(x)
    if array is None:
        return f"{x!r}"[:200]
    if array.size > 12:
        return f"an array of the shape {array.shape}"
    if not array.ndim:
        return f"{array:.{digits + 1}g}"
    text = np.array2string(array, precision=digits, separator=", ")
    return re.sub(r"(?<=\[) | +(?=[],])", "", " ".join(text.split()))


def compare(
    given: str, expected: Any, arrived: Any, hint: str, rtol: float = 1e-6, size: float = 1.0
) -> None:
    """Refuse what arrived unless it has the shape and, but for rounding, the numbers expected.

    `size` is that of the smallest numbers that matter.
    """
    right, found = np.asarray(expected, float), numbers(arrived)
    if found is None:
        hint = "Is there a `return`?" if arrived is None else hint
        raise NotYet(given, shown(right), shown(arrived), hint)
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
        raise NotYet(given, what, shown(arrived), "Return a tuple of so many things.")
    return arrived


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
        found = made.parents if isinstance(made.parents, (tuple, list)) else [made.parents]
        arrived = " and ".join(names.get(id(p), f"a {type(p).__name__}") for p in found)
        right = f"a tuple of {' and '.join(names.values())} themselves"
        raise NotYet(f"{given}.parents", right, f"{type(made.parents).__name__} of {arrived}",
                     "One step makes the result from what was given, in this order.")  # fmt: skip
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
