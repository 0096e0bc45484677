"""Optimizers: what a step does with the gradients. They change `parameter.data` in place."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from autograd import Tensor

__all__ = ["SGD", "AdamW", "clip_grad_norm", "warmup_cosine"]

_BLOCK = 32_768  # entries worked on at a time, so that all arrays of a step stay in cache


class Optimizer:
    """Parameters and their learning rate `lr`, which a schedule may set before each step."""

    def __init__(self, parameters: Sequence[Tensor], lr: float):
        self.parameters, self.lr = list(parameters), lr

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for p in self.parameters:
            p.grad = None


class SGD(Optimizer):
    """velocity = momentum * velocity + grad; parameter -= lr * velocity."""

    def __init__(self, parameters: Sequence[Tensor], lr: float, momentum: float = 0.0):
        super().__init__(parameters, lr)
        self.momentum = momentum
        self._velocities = [np.zeros_like(p.data) for p in self.parameters]

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for p, velocity in zip(self.parameters, self._velocities, strict=True):
            if p.grad is not None:
                velocity *= self.momentum
                velocity += p.grad
                p.data -= self.lr * velocity


class AdamW(Optimizer):
    """Adam with decoupled weight decay, applied to matrices only (not to biases and norms).

    Loshchilov, Hutter: Decoupled Weight Decay Regularization, arXiv:1711.05101.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ):
        super().__init__(parameters, lr)
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay
        self.steps = 0
        self._means = [np.zeros_like(p.data) for p in self.parameters]
        self._squares = [np.zeros_like(p.data) for p in self.parameters]

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        self.steps += 1
        for p, mean, square in zip(self.parameters, self._means, self._squares, strict=True):
            if p.grad is None:
                continue
            decay = self.lr * self.weight_decay if p.ndim >= 2 else 0.0
            arrays = [np.atleast_1d(a) for a in (p.data, p.grad, mean, square)]
            rows = max(1, _BLOCK * len(arrays[0]) // max(1, p.size))
            for i in range(0, len(arrays[0]), rows):
                self._update(*(a[i : i + rows] for a in arrays), decay)

    def _update(self, data, grad, mean, square, decay):
        beta1, beta2 = self.betas
        mean *= beta1
        mean += (1 - beta1) * grad
        square *= beta2
        square += (1 - beta2) * grad * grad
        scale = np.sqrt(square)
        scale *= 1 / math.sqrt(1 - beta2**self.steps)
        scale += self.eps
        data *= 1 - decay
        data -= self.lr / (1 - beta1**self.steps) * mean / scale


def clip_grad_norm(parameters: Sequence[Tensor], max_norm: float) -> float:
    """Scale all gradients so that their common norm is at most max_norm; returns it as it was."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    total = math.sqrt(sum(float(np.vdot(g, g)) for g in gradients))
    if total > max_norm:
        for g in gradients:
            g *= max_norm / total
    return total


def warmup_cosine(step: int, steps: int, lr: float, min_lr: float, warmup: int) -> float:
    """The learning rate of a step: up to lr in `warmup` steps, then down a cosine to min_lr.

    >>> [round(warmup_cosine(i, 100, lr=1.0, min_lr=0.1, warmup=9), 3) for i in (0, 9, 100)]
    [0.1, 1.0, 0.1]
    """
    if step < warmup:
        return lr * (step + 1) / (warmup + 1)
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    return min_lr + (lr - min_lr) * (1 + math.cos(math.pi * done)) / 2
