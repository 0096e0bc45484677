"""The public API as the README uses it, for type checkers to read; test_types.py also runs it."""

from __future__ import annotations

from typing import Any

import numpy as np

import nn
from autograd import GradientWriter, Tensor, check_gradients, concatenate, grad, no_grad, op
from nn import functional as F
from tinygpt import GPTConfig, TinyGPT


@op
def swish(x: np.ndarray) -> Any:
    s = 1 / (1 + np.exp(-x))
    return x * s, (lambda g: g * s * (1 + x * (1 - s)),)


def plain_total(x: Any) -> Any:
    return x.sum(), (lambda g: g * np.ones(x.shape),)


@op(reference=plain_total)
def total(x: np.ndarray) -> Any:
    def write(out: np.ndarray, add: bool) -> None:
        out[...] = out + 1 if add else 1

    return x.sum(), (lambda g: GradientWriter(write),)


class Classifier(nn.Module):
    def __init__(self, rng: np.random.Generator):
        self.hidden = nn.Linear(2, 16, rng)
        self.head = nn.Linear(16, 3, rng)

    def __call__(self, x: Tensor) -> Tensor:
        return self.head(swish(self.hidden(x)))


def derivatives() -> list[float]:
    x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    y: Tensor = (np.exp(-x) * x).sum()
    y.backward()
    assert x.grad is not None
    rounded: np.ndarray = x.grad.round(6)
    (g,) = grad((x**3).sum(), x, create_graph=True)
    second: np.ndarray = grad(g.sum(), [x])[0].data
    check_gradients(swish, np.linspace(-3, 3, 7))
    z = 2 - x.reshape(3, 1) @ x.exp()[None] / x.max() + np.ones(3) * -x
    both: Tensor = concatenate([z.T, z.mean(axis=0, keepdims=True)])
    first, rest = both.split([1])
    size: int = both.shape[0] + both.ndim + first.size
    return [*rounded.tolist(), *second.tolist(), size, total(rest).item(), float((x > 1).sum())]


def training(rng: np.random.Generator) -> float:
    model = Classifier(rng)
    optimizer = nn.AdamW(model.parameters(), lr=0.05)
    x, targets = Tensor(rng.standard_normal((8, 2)), dtype=np.float32), rng.integers(0, 3, 8)
    for _ in range(20):
        loss = F.cross_entropy(model(x), targets)
        loss.backward()
        nn.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    with no_grad():
        return F.cross_entropy(model(x), targets).item()


def language_model(rng: np.random.Generator) -> list[int]:
    model = TinyGPT(GPTConfig(vocab_size=5, block_size=4, n_layer=1, n_head=1, n_embd=4), rng)
    model.loss([[1, 2, 3]], [[2, 3, 4]]).backward()
    return [len(row) for row in model.generate([[1], [2, 3]], 2, temperature=0)]


if __name__ == "__main__":
    print(derivatives(), training(np.random.default_rng(0)) < 1.0)
    print(language_model(np.random.default_rng(0)))
