"""Module: an object with parameters, found by walking its attributes.

A Tensor, a Module, or a list or dict of them belongs to a module as soon as it is an attribute;
its name is the path that leads to it. Nothing is registered, and there is no __init__ to call.
Next to read: functional.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import Any

import numpy as np

from autograd import Tensor

__all__ = ["Module", "walk"]


class Module:
    """Base of all layers; a subclass assigns attributes in __init__ and defines __call__.

    >>> class Scale(Module):
    ...     def __init__(self):
    ...         self.factors = [Tensor([1.0, 2.0], requires_grad=True)]
    ...     def __call__(self, x):
    ...         return x * self.factors[0]
    >>> [name for name, _ in Scale().named_parameters()]
    ['factors.0']
    """

    training = True  # train() and eval() set it; Dropout reads it
    # A subclass may take any arguments. For a type checker its result is a Tensor.
    __call__: Callable[..., Tensor]

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """(path, Tensor) in the order of assignment; a Tensor found twice (tied) counts once."""
        for name, value in walk(self, "", {id(self)}):
            if type(value) is Tensor and value.is_leaf:  # not a result that was kept
                yield name, value

    def parameters(self) -> list[Tensor]:
        """All Tensors of the module, each once."""
        return [parameter for _, parameter in self.named_parameters()]

    def modules(self) -> list[Module]:
        """The module itself and all modules below it."""
        below = (value for _, value in walk(self, "", {id(self)}))
        return [self, *(value for value in below if isinstance(value, Module))]

    def state_dict(self) -> dict[str, np.ndarray]:
        """{path: array}: the arrays themselves, so copy them to keep what they hold now."""
        return {name: parameter.data for name, parameter in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, Any], *, assign: bool = False) -> None:
        """Copy arrays into the parameters of the same names, or raise and change nothing.

        With `assign` the parameters take the arrays themselves where the dtype allows.
        Raises ValueError naming every missing, unexpected and wrongly shaped entry.
        """
        own = dict(self.named_parameters())
        problems = [f"missing: {name} {own[name].shape}" for name in own if name not in state]
        problems += [f"unexpected: {name}" for name in state if name not in own]
        problems += [
            f"{name} has shape {np.shape(state[name])}, the model needs {parameter.shape}"
            for name, parameter in own.items()
            if name in state and np.shape(state[name]) != parameter.shape
        ]
        if problems:
            raise ValueError("these weights do not fit this model: " + "; ".join(problems))
        arrays = {name: np.asarray(state[name], p.dtype) for name, p in own.items()}
        for name, parameter in own.items():
            if assign:
                parameter.data = arrays[name]
            elif parameter.data.flags.writeable:
                parameter.data[...] = arrays[name]
            else:  # the read-only zeros of a layer made without a generator
                parameter.data = np.array(arrays[name])

    def train(self, training: bool = True) -> Module:
        """Set `training` here and below: dropout is active while it is true."""
        for module in self.modules():
            module.training = training
        return self

    def eval(self) -> Module:
        """The same as train(False)."""
        return self.train(False)

    def to(self, dtype: Any) -> Module:
        """Convert all parameters, in place, to another floating-point dtype."""
        if np.dtype(dtype).kind != "f":
            raise TypeError(f"Module.to({np.dtype(dtype)}): parameters are floating-point numbers")
        for parameter in self.parameters():
            parameter.data = parameter.data.astype(dtype)
            parameter.grad = None
        return self

    def describe(self) -> str:
        """What print(model) shows in the parentheses of a layer. If empty, it shows its parts."""
        return ""

    def __repr__(self) -> str:
        """All layers with their sizes, and the number of parameters. Nothing is computed.

        >>> from nn import LayerNorm, Linear
        >>> class Net(Module):
        ...     def __init__(self, rng):
        ...         self.layers = [Linear(4, 4, rng) for _ in range(3)]
        ...         self.norm = LayerNorm(4)
        >>> Net(np.random.default_rng(0))
        Net(
          layers: [
            (0-2): 3 x Linear(4 -> 4, bias)
          ]
          norm: LayerNorm(4, bias)
        )
        68 parameters
        """
        count = sum(math.prod(parameter.shape) for parameter in self.parameters())
        return f"{_text(self, {id(self)})}\n{count:,} parameters"


def _children(value):
    """{name: attribute or entry} of a Module, list or dict."""
    if isinstance(value, (list, tuple)):
        return dict(enumerate(value))
    return vars(value) if isinstance(value, Module) else value


def walk(value: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Yields (path, attribute or entry) for all below `value`; each once, by its first path."""
    for key, child in _children(value).items():
        if isinstance(child, (Tensor, Module, list, tuple, dict)) and id(child) not in seen:
            seen.add(id(child))
            yield f"{path}{key}", child
            if not isinstance(child, Tensor):
                yield from walk(child, f"{path}{key}.", seen)


def _text(value, seen):
    """A Tensor, a Module, or a list or dict of them, as print(model) shows it."""
    if isinstance(value, Tensor):
        return f"Tensor({', '.join(map(str, value.shape))})"
    name, (begin, end) = "", "[]" if isinstance(value, (list, tuple)) else "{}"
    if isinstance(value, Module):
        name, begin, end = type(value).__name__, "(", ")"
        if description := value.describe():
            return f"{name}({description})"
    parts = []
    for key, child in _children(value).items():
        if isinstance(child, (Tensor, Module, list, tuple, dict)) and id(child) not in seen:
            seen.add(id(child))
            if (text := _text(child, seen)) not in ("[]", "{}"):  # no parameters
                parts.append((key, text))
    lines = [*_folded(parts)] if begin == "[" else [f"{k}: {t}" for k, t in parts]
    body = "".join("\n  " + line.replace("\n", "\n  ") for line in lines)
    return f"{name}{begin}{body}\n{end}" if body else f"{name}{begin}{end}"


def _folded(parts):
    """Lines for the entries of a list; neighbours that look the same share one line."""
    for text, group in groupby(parts, key=lambda part: part[1]):
        keys = [key for key, _ in group]
        many = f"({keys[0]}-{keys[-1]}): {len(keys)} x " if len(keys) > 1 else f"({keys[0]}): "
        yield many + text
