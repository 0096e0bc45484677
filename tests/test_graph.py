"""The text that Graphviz draws."""

import re

import numpy as np
import pytest

import autograd as ag
from autograd import Tensor, no_grad, op, to_dot


def nodes(text):
    """{label: number} and the arrows as pairs of labels."""
    labels = dict(re.findall(r'^  (t\d+) \[label="([^"]*)".*\]$', text, re.MULTILINE))
    arrows = re.findall(r"^  (t\d+) -> (t\d+)$", text, re.MULTILINE)
    assert len(labels) + len(arrows) + 3 == len(text.splitlines())
    return sorted(labels.values()), sorted((labels[a], labels[b]) for a, b in arrows)


def test_shared_values_are_one_node_and_every_use_an_arrow():
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    y = np.exp(x)
    labels, arrows = nodes(to_dot(y * y + x, {"x": x, "y": y}))
    assert labels == ["add (2, 3)", "multiply (2, 3)", "x (2, 3)", "y = exp (2, 3)"]
    assert arrows == [
        ("multiply (2, 3)", "add (2, 3)"), ("x (2, 3)", "add (2, 3)"),
        ("x (2, 3)", "y = exp (2, 3)"), ("y = exp (2, 3)", "multiply (2, 3)"),
        ("y = exp (2, 3)", "multiply (2, 3)")]  # fmt: skip


def test_leaves_constants_and_options():
    x, c = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0])
    labels, _ = nodes(to_dot(ag.where(np.array([True, False]), x * c, 0.5)))
    assert labels[:3] == ["0.5", "constant (2,)", "constant (2,)"]
    assert labels[3:] == ["leaf (2,)", "multiply (2,)", "where (2,)"]
    labels, _ = nodes(to_dot(x[1]))
    assert labels == ["1", "getitem ()", "leaf (2,)"]


def test_the_last_branch_comes_first():
    x = Tensor(1.0, requires_grad=True)
    arrows = [line for line in to_dot(np.exp(x) * np.sin(x)).splitlines() if "->" in line]
    assert [a.strip() for a in arrows] == ["t1 -> t0", "t2 -> t0", "t3 -> t2", "t3 -> t1"]


def test_quotes_do_not_end_a_label(registry):
    @op
    def apply(x, name):
        return x, (lambda g: g,)

    labels, _ = nodes(to_dot(apply(Tensor(1.0, requires_grad=True), 'a "b"')))
    assert labels == ["a 'b'", "apply ()", "leaf ()"]


def test_a_deep_graph():
    y = Tensor(1.0, requires_grad=True)
    for _ in range(5000):
        y = y + 1.0
    assert to_dot(y).count("->") == 10_000


def test_what_has_no_graph():
    x = Tensor([1.0], requires_grad=True)
    with no_grad():
        unrecorded = x * 2
    used = (x * 2).sum()
    used.backward()
    for tensor in (x, Tensor(1.0), unrecorded, used):
        with pytest.raises(ValueError, match=r"no graph: compute it from .* before backward"):
            to_dot(tensor)
