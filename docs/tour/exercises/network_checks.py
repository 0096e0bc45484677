"""The checks of the exercises of pages 6 to 10, where the real engine is used."""

from __future__ import annotations

import functools
import math
import textwrap
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from autograd import Tensor, check_gradients, op
from docs.tour.exercises.judge import NotYet, compare, draw, numbers, parts, shown
from docs.tour.exercises.pages import from_page
from tinygpt import CORPUS

try:
    from autograd.testing import check_op
except ImportError:  # without hypothesis: the gradients only, at orders 1 and 2
    check_op = check_gradients

_DATA = "Use Tensors all the way: what comes from .data is a constant to the engine."
_OP = "Leave the line `@op`: it makes a Tensor of what you return."


def compare_tensor(given: str, expected: Any, made: Any, hint: str, other: str = _DATA) -> None:
    """Refuse what was made unless it is a Tensor with what was expected; `other`: if it is none."""
    if not isinstance(made, Tensor):
        several = isinstance(made, (tuple, list))
        arrived = f"a {type(made).__name__} of {len(made)}" if several else shown(made)
        other = "Return the mixed values only." if several and other == _DATA else other
        raise NotYet(given, "a Tensor", arrived, "Is there a `return`?" if made is None else other)
    compare(given, expected, made.data, hint)


def first_sentence(error: AssertionError) -> str:
    """What an AssertionError says, in one line, without the advice of check_gradients."""
    return textwrap.shorten(str(error).partition(". Is its vjp")[0], 300, placeholder=" ...")


def check_gradient(given: str, function: Callable, *arrays: Any, hint: str) -> None:
    """Refuse a function of arrays unless check_op, the project's own check, accepts it."""
    try:
        check_op(function, *arrays)
    except AssertionError as error:
        raise NotYet(given, "", first_sentence(error), hint) from None


def check_slopes(function: Callable, array: np.ndarray, expected: Any, hint: str) -> None:
    """Refuse an op unless the gradient of its sum is the one expected."""
    x = Tensor(array, requires_grad=True)
    function(x).sum().backward()
    compare(f"{function.__name__}({shown(array)}).sum(); the gradient", expected, x.grad, hint)


def probabilities(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


# ---------------------------------------------------------------- page 6


def own_softmax(m: Any) -> None:
    value = "Divide by the sum along `axis`, and keep this axis: look at `keepdims`."
    slope = ("Each entry also changes all others along the axis, because they share a sum. So all "
             "of their g are needed, added up along the same axis.")  # fmt: skip
    cases = [((3,), -1), ((2, 3), -1), ((2, 3), 0), ((3, 3), 0), ((2, 1, 3), 1), ((2, 3, 2), -2)]
    for seed, (shape, axis) in enumerate(cases):
        x = draw(seed, *shape)
        given = f"own_softmax({shown(x)}, axis={axis})"
        compare_tensor(given, probabilities(x, axis), m.own_softmax(x, axis=axis), value, _OP)
        check_gradient(given, functools.partial(m.own_softmax, axis=axis), x, hint=slope)
    row, rows = np.array([1000.0, 1001, -1000]), np.array([[1000.0, 1001], [-1000, -1001]])
    for large, hint in [
        (row, "e to the power of 1000 is too large. Which shift changes no probability?"),
        (rows, "The shift for one row is too far for the other: each needs its own."),
    ]:
        given, made = f"own_softmax({shown(large)})", m.own_softmax(large)
        compare_tensor(given, probabilities(large), made, hint, _OP)
    hint = "g must not meet e to the power of 1000: use the probabilities."
    check_slopes(m.own_softmax, rows, np.zeros((2, 2)), hint)


def smallest_loss(m: Any) -> None:
    formula = "Divide each row by its sum; the mean is over all pairs; natural logarithm."
    rows = "The mean is over the pairs, not over the rows: what occurs 8 times counts 8 times."
    never = "A pair that never occurs costs nothing: 0, not nan."
    empty = "An empty row has no pairs and costs nothing."
    for counts, finite, other in [
        ([[2, 2], [0, 4]], formula, never), ([[1, 1], [0, 8]], rows, never),
        ([[1, 3], [0, 0], [5, 2]], formula, empty), ([[4, 9], [3, 3], [1, 0]], formula, never),
        ([[3, 1, 0, 2], [1, 1, 5, 0], [0, 0, 7, 1]], formula, never),
    ]:  # fmt: skip
        table = np.array(counts)
        p = table / np.maximum(1, table.sum(axis=1, keepdims=True))
        right = -(table * np.log(np.where(table, p, 1.0))).sum() / table.sum()
        found = m.smallest_loss(table)
        hint = other if shown(found).strip("-") in ("nan", "inf") else finite
        compare(f"smallest_loss({counts})", right, found, hint)


# ---------------------------------------------------------------- page 7


def attention_inputs(seed, T, C):
    return [draw(seed, T, C), *(draw(seed + i, C, C) for i in (10, 20, 30))]


def attention(x, queries, keys, values, masked):
    scores = (x @ queries) @ (x @ keys).T / math.sqrt(x.shape[1])
    future = np.triu(np.ones(scores.shape, bool), 1)
    return probabilities(np.where(future & masked, -np.inf, scores)) @ (x @ values)


def both_ways(m: Any) -> None:
    for seed, (T, C) in enumerate([(2, 2), (4, 3), (2, 5), (1, 3), (5, 4)]):
        arrays = attention_inputs(seed, T, C)
        given = f"x = {shown(arrays[0])} and three matrices, T = {T}, C = {C}"
        made, causal = m.both_ways(*map(Tensor, arrays)), attention(*arrays, masked=True)
        hint = "Look at `attention` on page 7: what does the mask do there? All else remains."
        if T > 1 and np.shape(made) == causal.shape and np.allclose(made.data, causal):
            hint = "There is still a mask: the first position does not see the later ones."
        compare_tensor(given, attention(*arrays, masked=False), made, hint)
        check_gradient(given, m.both_ways, *arrays, hint=_DATA)


def leak(m: Any) -> None:
    for seed, (T, C) in enumerate([(3, 2), (4, 3), (5, 2)]):
        arrays = attention_inputs(seed, T, C)
        given, made = f"x = {shown(arrays[0])} and three matrices", m.leak(*map(Tensor, arrays))
        if isinstance(made, Tensor) and np.isnan(made.data).any():
            hint = "A row of minus infinity has no softmax: each position must see itself."
            raise NotYet(given, "numbers", "nan", hint)
        for t in range(T - 1, 0, -1):
            changed = np.concatenate([arrays[0][:t], draw(seed + 40, T - t, C)])
            after = m.leak(*map(Tensor, [changed, *arrays[1:]]))
            hint = ("Softmax divides by a sum: over which positions does it go? Which of them does "
                    "the mask hide by then? Print `weights` before and after.")  # fmt: skip
            if isinstance(made, Tensor) and made.shape == (T, C):
                text = f"{given}; then x[{t}:] changes, and the result[:{t}] must not"
                compare_tensor(text, made.data[:t], after[:t], hint)
        hint = ("Nothing leaks now, but each position must see itself and all before it, with "
                "weights whose sum is 1. Which score becomes the weight 0?")  # fmt: skip
        compare_tensor(given, attention(*arrays, masked=True), made, hint)
        check_gradient(given, m.leak, *arrays, hint=_DATA)


# ---------------------------------------------------------------- page 8


def layer_norm(m: Any) -> None:
    one = "Subtract the mean, then divide by the root of (mean of squares + eps)."
    row = "Each row of C numbers by itself: mean and squares along the last axis, kept as an axis."
    last = "Multiply by weight, then add bias, at the end."
    plain = [((5,), one), ((1, 4), row), ((3, 3), row), ((2, 2, 3), row)]
    for seed, (shape, hint) in enumerate([*plain, *((shape, last) for shape, _ in plain)]):
        x, C = draw(seed, *shape), shape[-1]
        deviation = x - x.mean(axis=-1, keepdims=True)
        normed = deviation / np.sqrt((deviation**2).mean(axis=-1, keepdims=True) + 1e-5)
        weight, bias = (draw(9, C), draw(8, C)) if hint == last else (np.ones(C), np.zeros(C))
        given = f"x = {shown(x)}, weight = {shown(weight)}, bias = {shown(bias)}"
        made, right = m.layer_norm(*map(Tensor, (x, weight, bias))), normed * weight + bias
        if np.shape(made) == right.shape and np.allclose(made.data, right, rtol=1e-3):
            hint = "Nearly. eps is added to the mean of the squares, under the root."
        compare_tensor(given, right, made, hint, "Return one Tensor. " + _DATA)
        check_gradient(given, m.layer_norm, x, weight, bias, hint=_DATA)


def count_parameters(m: Any) -> None:
    GPT = from_page(8, "GPT")
    more = "Which lines on page 8 make a Linear, a LayerNorm or an Embedding, of which sizes?"
    for sizes in [(18, 64, 4, 128, 2, 16), (11, 4, 2, 6, 0, 5), (7, 6, 3, 10, 1, 9)]:
        V, C, _, d_ff, layers, longest = sizes
        right = sum(p.size for p in GPT(*sizes, np.random.default_rng(0)).parameters())
        arrived = m.count_parameters(*sizes)
        hints = {
            V * C: "The table of the embeddings also makes the logits: it counts once.",
            longest * C: "The positions are sines that are not learned.",
            -4 * C * layers: "Each block has two layer norms, with a weight and a bias each.",
            -(5 * C + d_ff) * layers: "Each nn.Linear also has a bias, of the size of its output.",
        }
        wrong = arrived - right if isinstance(arrived, (int, float)) else 0
        compare(f"count_parameters{sizes}", right, arrived, hints.get(wrong, more), 1e-9)


# ---------------------------------------------------------------- page 9


def adam_step(m: Any) -> None:
    early = "The means begin at 0, so they are too small at first: see m_now and s_now on page 9."
    hints = ["p moves against m_now, by rate * m_now / (root of s_now + 1e-8).",
             "m moves by 0.1 of the way from m to g.",
             "s moves by 0.01 of the way from s to the square of g."]  # fmt: skip
    for seed, (shape, size) in enumerate([((2,), 1.0), ((2, 3), 1.0), ((2,), 1e-6), ((1,), 1.0)]):
        p, mean, square = draw(seed, *shape), np.zeros(shape), np.zeros(shape)
        for step in range(1, 5):
            arrays, rate = [p, size * draw(10 * seed + step, *shape), mean, square], 0.1 / step
            g = arrays[1]
            texts = [f"{'pgms'[i]} = {shown(a)}" for i, a in enumerate(arrays)]
            given = f"{', '.join(texts)}, rate = {rate:.3g}, step = {step}"
            found = parts(given, m.adam_step(*arrays, rate, step), "the new p, m and s", 3)
            mean, square = mean + 0.1 * (g - mean), square + 0.01 * (g * g - square)
            m_now, s_now = mean / (1 - 0.9**step), square / (1 - 0.99**step)
            causes = {"1e-8 is added to the root, not under it.": [m_now / np.sqrt(s_now + 1e-8)],
                      early: [a / (np.sqrt(b) + 1e-8) for a, b in
                              [(mean, square), (mean, s_now), (m_now, square)]]}  # fmt: skip
            for i, right in [(1, mean), (2, square)]:
                compare(f"{given}; the new {'pms'[i]}", right, found[i], hints[i], size=size**2)
            for cause, steps in causes.items():
                near = (np.allclose(found[0], p - rate * s, 1e-9, 0) for s in steps)
                if numbers(found[0]) is not None and np.shape(found[0]) == shape and any(near):
                    hints[0] = cause
            p = p - rate * m_now / (np.sqrt(s_now) + 1e-8)
            compare(f"{given}; the new p", p, found[0], hints[0], size=size**2)


def floor_of(m: Any) -> None:
    every = "Count how often each beginning occurs, as `seen` on page 9 does."

    def floor(texts):
        lines = [("<START>", *tokens, "<END>") for tokens in texts]
        seen = Counter(s[:n] for s in lines for n in range(1, len(s) + 1))
        costs = [math.log(seen[s[:n]] / seen[s[: n + 1]]) for s in lines for n in range(1, len(s))]
        return sum(costs) / len(costs)

    for sentences, hint in [
        (["a b"], "Where nothing else ever occurs, there is no surprise."),
        (["the cat", "the dog"], "The mean is over all tokens to predict, also <END>."),
        (["a b", "a b", "a c"], "The same sentence twice is twice as likely."),
        (["a", "a b"], "After `a` the sentence may end: <END> is a token like the words."),
        (["a b c", "d b e"], "What follows depends on the whole beginning, not on one word."),
        (["b a", "a b b", "b a", "b a b", "a"], every), (list(CORPUS), every),
    ]:  # fmt: skip
        right, found = floor(s.split() for s in sentences), m.floor_of(list(sentences))
        hint = "Tokens are words: `split()`." if shown(found) == shown(floor(sentences)) else hint
        compare(f"floor_of({sentences})", right, found, hint)


# ---------------------------------------------------------------- page 10


def top_k(m: Any) -> None:
    for seed, (V, k) in enumerate([(4, 2), (4, 1), (6, 3), (5, 5), (3, 7), (6, 4)]):
        logits = draw(seed, V) - 1
        right = probabilities(np.where(logits >= np.sort(logits)[-min(k, V)], logits, -np.inf))
        hint = "With the logit minus infinity a word gets the probability 0; the rest adds up to 1."
        hint = hint if k <= V else "If k is larger than V, all may be drawn."
        compare(f"top_k({shown(logits)}, {k})", right, m.top_k(logits, k), hint)


def softplus(m: Any) -> None:
    value = "log(1 + e to the power of x), with the natural logarithm."
    slope = "g times the slope. What is the slope at 0, and far to the left and right?"
    for seed, shape in enumerate([(4,), (2, 3), (2, 1, 2), ()]):
        x = np.asarray(draw(seed, *shape))
        given = f"softplus({shown(x)})"
        compare_tensor(given, np.logaddexp(0, x), m.softplus(x), value, _OP)
        check_gradient(given, m.softplus, x, hint=slope)
    x, hint = np.array([1000.0, 0.0, -1000.0]), "Use e^-|x|: it is never large."
    compare_tensor(f"softplus({shown(x)})", np.logaddexp(0, x), m.softplus(x), hint, _OP)
    check_slopes(m.softplus, x, [1, 0.5, 0], hint)


def candidates() -> list[tuple[str, Callable, Callable, str]]:
    """(what it is, its value, its gradient, a hint) of each candidate; only the first is right."""

    def smaller(x, axis):
        return np.exp(x) / (1 + np.exp(x).sum(axis=axis, keepdims=True))

    def back(p, g, axis):
        return p * (g - (g * p).sum(axis=axis, keepdims=True))

    def last(p, g, axis):
        return back(p, g, -1)

    def wrong_if(condition):  # without the other entries, for some axes or numbers of axes
        return lambda p, g, axis: g * p * (1 - p) if condition(axis, p.ndim) else back(p, g, axis)

    diagonal = wrong_if(lambda axis, n: True)
    each = "Compare values, and call check_gradients, for each axis."
    axes = "check_gradients sees it: try each axis of arrays with one, two and three axes."
    value = "A gradient can fit a wrong value: compare the values too, for each axis."
    soft = probabilities
    return [
        ("a right softmax", soft, back, "Your test asks for too much."),
        ("the gradient of exp", soft, lambda p, g, axis: g * p, each),
        ("a gradient without the other entries", soft, diagonal, axes),
        ("the gradient for axis -1, always", soft, last, axes),
        ("a wrong gradient along axis 1", soft, wrong_if(lambda axis, n: axis % n == 1), axes),
        ("a wrong gradient for three axes", soft, wrong_if(lambda axis, n: n == 3), axes),
        ("1.001 times the gradient", soft, lambda p, g, axis: 1.001 * back(p, g, axis), axes),
        ("the sigmoid, with its gradient", lambda x, axis: 1 / (1 + np.exp(-x)), diagonal, value),
        ("e^x / (1 + the sum), with its gradient", smaller, back, value),
        ("the softmax along axis -1, always", lambda x, axis: soft(x), last, value),
    ]


def find_the_fault(m: Any) -> None:
    expected = "no error"
    for given, value_of, gradient, hint in candidates():

        def candidate(x, axis=-1, value_of=value_of, gradient=gradient):
            p = value_of(x, axis)
            return p, (lambda g: gradient(p, g, axis),)

        try:
            m.find_the_fault(op(candidate))
            arrived = "no error"
        except AssertionError as raised:
            arrived = f"AssertionError: {first_sentence(raised)}"
        if not arrived.startswith(expected):
            raise NotYet(given, expected, arrived, hint)
        expected = "AssertionError"
