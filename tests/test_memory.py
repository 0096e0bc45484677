"""Freed memory: nn/memory.py."""

import ctypes

import numpy as np
import pytest

import nn
from autograd import Tensor
from nn import memory


@pytest.fixture
def calls(monkeypatch):
    """What the C library is asked for; the real one is left alone."""
    made = []

    class Library:
        def __init__(self, name):
            pass

        def mallopt(self, option, value):
            made.append((option, value))

        def malloc_trim(self, pad):
            made.append(("trim", pad))

    monkeypatch.setattr(ctypes, "CDLL", Library)
    monkeypatch.setattr(memory._State, "allowed", True)
    monkeypatch.setattr(memory._State, "kept", False)
    return made


def optimizer():
    return nn.SGD([Tensor(np.ones(2), requires_grad=True)], 0.1)


KEEP, DEFAULTS = [(-1, -1), (-4, 0), (-8, 1)], [(-1, 131072), (-4, 65536), (-8, 0), ("trim", 0)]


def test_the_first_optimizer_keeps_freed_memory(calls):
    optimizer()
    optimizer()
    assert calls == KEEP


def test_the_switch(calls):
    nn.keep_freed_memory(False)
    optimizer()
    assert not calls
    nn.keep_freed_memory()
    assert calls == KEEP
    nn.keep_freed_memory(keep=False)
    assert calls == KEEP + DEFAULTS
    optimizer()
    assert calls == KEEP + DEFAULTS


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_other_systems_are_left_alone(calls, monkeypatch, error):
    def missing(name):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", missing)
    nn.keep_freed_memory()
    nn.keep_freed_memory(False)
    assert not calls
