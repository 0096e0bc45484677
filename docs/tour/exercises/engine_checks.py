"""The checks of the exercises of pages 1 to 5, where the engine is built.

Each is named like its exercise. The first example that fails says what is wrong, so the examples
go from the plainest to the trap, and each has its own hint.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import numpy as np

from docs.tour.exercises.judge import NotYet, check_step, compare, draw, parts, shown
from docs.tour.exercises.pages import from_page

# ---------------------------------------------------------------- page 1


def subtract(m: Any) -> None:
    hint = "The data is the first number minus the second."
    for seed in range(4):
        inputs = [draw(seed), draw(seed + 10)]
        check_step(m.Value, m.subtract, "-", np.subtract, inputs, hint)


def count_values(m: Any) -> None:
    a, b, c, same, other = (m.Value(number) for number in (3.0, -1.5, 0.5, 2.0, 2.0))
    long = a
    for _ in range(12):
        long = long + long
    once = "How many arrows leave a Value does not matter. Remember what you have counted already."
    for text, value, expected, hint in [
        ("Value(2.0)", same, 1, "The result itself is counted, too."),
        ("a + b", a + b, 3, "Count the result and its parents."),
        ("a * b + c", a * b + c, 5, "The parents have parents, too: see `history` on page 1."),
        ("x * x * x", a * a * a, 3, once),
        ("Value(2.0) + Value(2.0)", same + other, 3,
         "Two Values can hold the same number. Compare the Values, not their data."),
        ("a * b + a * b", a * b + a * b, 5, "Each * here makes a new Value; a and b are shared."),
        ("12 times x = x + x", long, 13, once),
    ]:  # fmt: skip
        compare(f"count_values({text})", expected, m.count_values(value), hint)


# ---------------------------------------------------------------- page 2


def divide(m: Any) -> None:
    slopes = ["If y is 2 and x grows by 0.001, by how much does x / y grow?",
              "If y grows, does x / y grow? How fast, for a large y and for a small one?"]
    for seed in range(4):
        check_step(m.Value, m.divide, "/", np.divide, [draw(seed), draw(seed + 10)],
                   "The data is the first number divided by the second.", slopes)  # fmt: skip


def limit_reads(Value: Any) -> list[str]:
    """Refuse to read attributes of Values too often; returns the reads, after a text to show."""
    reads: list[str] = []

    def read(value, name):
        reads.append(name)
        if len(reads) > 100_000:
            hint = "Each Value hands on once, when all has arrived."
            raise NotYet(reads[0], "a few steps for each Value", "very many steps", hint)
        return object.__getattribute__(value, name)

    Value.__getattribute__ = read
    return reads


def broken_backward(m: Any) -> None:
    Value = from_page(2, "Value")
    backward = Value.backward
    del Value.backward  # or the answer could be to call it
    reads = limit_reads(Value)
    adds = "If two ways lead to a Value, what happens to the gradient that came first?"
    order = ("A Value may hand on its gradient only when all of it has arrived. What do the serial "
             "numbers tell? See 'Two ways add up, and the order matters'.")  # fmt: skip

    def mixed(x, y):
        values, rng = [x, y], np.random.default_rng(5)
        for _ in range(8):
            a, b = (values[i] for i in rng.integers(0, len(values), 2))
            values.append(a * b if rng.random() < 0.5 else a + b)
        return values[-1] * values[-2] + values[-3]

    for text, made, hint in [
        ("x * y", lambda x, y: x * y, "The slopes of the one step: see 'The slope of one step'."),
        ("x * x + x", lambda x, y: x * x + x, adds),
        ("z * x + z, where z = x * x", lambda x, y: (lambda z: z * x + z)(x * x), order),
        ("z + z * y, where z = x * y", lambda x, y: (lambda z: z + z * y)(x * y), order),
        ("eleven random steps", mixed, order),
        ("x + x, and so on, 24 times", lambda x, y: reduce(lambda x, _: x + x, range(24), x), adds),
    ]:
        for seed in range(3):
            right, own = ([Value(draw(seed)), Value(draw(seed + 10))] for _ in range(2))
            backward(made(*right))
            reads[:] = [text]
            m.broken_backward(made(*own))
            compare(f"{text}, with x = {own[0].data} and y = {own[1].data}; the gradients of x, y",
                    *(np.array([v.grad for v in pair]) for pair in (right, own)), hint)  # fmt: skip


# ---------------------------------------------------------------- page 3


def sine(m: Any) -> None:
    hint = "The derivative of the sine is known from school. Take it at x.data."
    for seed in range(6):
        inputs = [draw(seed)]
        check_step(m.Value, m.sine, "sin", np.sin, inputs, "Use math.sin of x.data.", [hint])


def which_is_wrong(m: Any) -> None:
    answer = m.which_is_wrong()
    name, i = parts("", answer, "a name, and 0 or 1", 2)
    inputs = {"logistic": 1, "hypotenuse": 2, "power": 2}
    if i not in range(inputs.get(str(name), 0)):
        hint = 'The form is: return "logistic", 0. `logistic` has one input, the others have two.'
        raise NotYet("", "one of the three names, and the number of an input", f"{answer}", hint)
    if (name, i) != ("power", 1):
        hint = ("This slope passes `check` at all numbers above 0. Check all three steps at "
                "numbers that are not equal; the message names the input.")  # fmt: skip
        raise NotYet("", "a slope that is wrong", f"{name}, input {i}, which is right", hint)


def passes_by_accident(m: Any) -> None:
    x = m.passes_by_accident()
    if not isinstance(x, (int, float)):
        raise NotYet("", "a number", shown(x), "Return one number.")
    if abs(x) < 0.001:
        hint = "At 0 both slopes are 0, and near it nearly so. There is one more such x."
        raise NotYet("", "a number that is not near 0", shown(x), hint)
    wrong, right = 2 * x, 3 * x**2
    if not abs(wrong - right) <= 1e-6 * (1 + abs(right)):
        hint = "Write down that both slopes are equal, and solve for x. `check` sees six digits."
        raise NotYet(f"x = {x}", "two equal slopes", f"{wrong:.6f} and {right:.6f}", hint)


# ---------------------------------------------------------------- page 4


def sum_to(m: Any) -> None:
    right = from_page(4, "sum_to")
    missing = "Axes in front that `shape` does not have were added by broadcasting: add up there."
    ones = "An axis of length 1 was repeated. Add up along it, but keep it: look at `keepdims`."
    both = "Both kinds can occur together, and in several axes."
    for seed, (given, shape, hint) in enumerate([
        ((2, 3), (2, 3), "Nothing was repeated: g remains as it is."),
        ((3, 3), (3,), missing), ((2, 3), (3,), missing), ((2, 3), (), missing),
        ((3, 3), (3, 1), ones), ((2, 3), (1, 3), ones), ((2, 3), (2, 1), ones),
        ((2, 3), (1, 1), both), ((2, 2, 3), (2, 1), both), ((2, 2, 3), (1, 3), both),
        ((2, 2, 2), (2,), both), ((2, 3, 1), (2, 1, 1), both), ((), (), both),
    ]):  # fmt: skip
        g = np.asarray(draw(seed, *given))
        compare(f"sum_to({shown(g)}, {shape})", right(g, shape), m.sum_to(g, shape), hint)


def mean(m: Any) -> None:
    slope = ("If one of n entries grows by 1, by how much does the mean grow? Each entry receives "
             "that part of g, so the gradient has the shape of x.data.")  # fmt: skip
    for seed, shape in enumerate([(4,), (2, 3), (3, 1, 2), (1,), ()]):
        check_step(m.Value, m.mean, "mean", np.mean, [draw(seed, *shape)],
                   "The data is the mean of all entries, whatever the shape.", [slope])  # fmt: skip


def maximum(m: Any) -> None:
    hint = "The data is the larger entry; NumPy has a function for it, which also broadcasts."
    slope = ("If an entry of {} is the smaller one and grows a little, does the result change? "
             "And if it is the larger one?")  # fmt: skip
    for seed, (one, two) in enumerate([((3,), (3,)), ((2, 3), (2, 3)), ((2, 1), (3,)), ((), (2,))]):
        both = draw(seed, 12)
        inputs = [both[: math.prod(one)].reshape(one), both[-math.prod(two) :].reshape(two)]
        slopes = [slope.format("x"), slope.format("y")]
        check_step(m.Value, m.maximum, "maximum", np.maximum, inputs, hint, slopes)


# ---------------------------------------------------------------- page 5


def matmul(m: Any) -> None:
    slope = ("The gradient of {} is a matrix product, of g and the other one. In which order, and "
             "which has its rows and columns exchanged? The shapes must fit.")  # fmt: skip
    for seed, (n, k, p) in enumerate([(2, 2, 2), (2, 3, 2), (1, 2, 3), (3, 1, 1), (3, 3, 3)]):
        inputs, slopes = [draw(seed, n, k), draw(seed + 10, k, p)], map(slope.format, "xy")
        hint = "The data is the matrix product of x.data and y.data."
        check_step(m.Value, m.matmul, "@", np.matmul, inputs, hint, [*slopes])


def relu(m: Any) -> None:
    hint = "Entries below 0 become 0, the others remain."
    slope = "Below 0 the result does not change with the entry. Above 0, g passes as it is."
    for seed, shape in enumerate([(4,), (2, 3), (2, 1, 3), ()]):
        step, inputs = m.relu, [draw(seed, *shape)]
        check_step(m.Value, step, "relu", lambda x: np.maximum(x, 0), inputs, hint, [slope])


def fit_better(m: Any) -> None:
    hidden, rate, times = answer = parts("", m.fit_better(), "(hidden, rate, times)", 3)
    whole = isinstance(hidden, int) and isinstance(times, int) and isinstance(rate, (int, float))
    if not whole or not (1 <= hidden <= 64 and 1 <= times <= 2000 and rate > 0):
        limits = "whole numbers hidden from 1 to 64 and times from 1 to 2000, a rate above 0"
        raise NotYet("", limits, f"{answer}", "Stay within these limits.")
    loss = trained_loss(from_page(5, "Value"), hidden, rate, times)
    if not loss < 0.012:
        hint = "Try more or fewer hidden numbers, and a larger or smaller rate, one at a time."
        if not loss < 1:
            hint = "The loss grew. The steps are so long that each jumps farther over the valley."
        raise NotYet(f"{answer}", "a loss below 0.012", f"{loss:.4g}", hint)


def trained_loss(Value, hidden, rate, times):
    """The loss of the network of page 5 after gradient descent on the wave sin(3 x)."""
    rng = np.random.default_rng(0)
    x = Value(np.linspace(-2, 2, 40)[:, None])
    target, part = Value(np.sin(3 * x.data)), Value(1 / 40)
    w1, b1 = Value(rng.standard_normal((1, hidden))), Value(rng.standard_normal(hidden))
    w2, b2 = Value(0.1 * rng.standard_normal((hidden, 1))), Value([0.0])
    for _ in range(times):
        difference = (x @ w1 + b1).tanh() @ w2 + b2 - target
        loss = (difference * difference).sum() * part
        for p in (w1, b1, w2, b2):
            p.grad = 0.0
        loss.backward()
        for p in (w1, b1, w2, b2):
            p.data = p.data - rate * p.grad
    return float(loss.data)
