"""The time of one training step of a small GPT, in TinyGPT and in PyTorch, side by side.

    python benchmarks/train_step.py [--threads N] [--steps N]        (needs torch)

The model is nanoGPT's for a CPU: 4 layers, 4 heads, 128 wide, context 64, vocabulary 65, batch
12, float32. A step is forward, backward, gradient clipping and AdamW. Both libraries start from
the same weights and see the same batch, and the losses printed show that they compute the same.
They take turns, ten steps at a time; the median step of each and their ratio are printed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

V, T, C, H, LAYERS, BATCH = 65, 64, 128, 4, 4, 12
LR, BETAS, WEIGHT_DECAY, CLIP = 1e-3, (0.9, 0.99), 0.1, 1.0
TURN = 10  # steps in a row


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(C, 3 * C, bias=False)
        self.projection = nn.Linear(C, C, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (H, -1)).transpose(1, 2) for part in self.qkv(x).split(C, -1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, H, T, D)
        return self.projection(y.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self):
        super().__init__()
        self.expand = nn.Linear(C, 4 * C, bias=False)
        self.projection = nn.Linear(4 * C, C, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.projection(F.gelu(self.expand(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(C, bias=False), Attention()
        self.norm2, self.feed_forward = nn.LayerNorm(C, bias=False), FeedForward()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.feed_forward(self.norm2(x))


class GPT(nn.Module):
    """TinyGPT in PyTorch, with the same names of parameters."""

    def __init__(self):
        super().__init__()
        self.token_embedding, self.position_embedding = nn.Embedding(V, C), nn.Embedding(T, C)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(C, bias=False)

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        x = self.token_embedding(ids) + self.position_embedding(torch.arange(T))
        logits = F.linear(self.norm(self.blocks(x)), self.token_embedding.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def tinygpt_step(ids: np.ndarray, targets: np.ndarray) -> tuple[Callable, dict]:
    """A function that makes one step and returns the loss, and a copy of the first weights."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from nn import AdamW, clip_grad_norm
    from tinygpt import GPTConfig, TinyGPT

    model = TinyGPT(GPTConfig(V, T, LAYERS, H, C), np.random.default_rng(0))
    optimizer = AdamW(model.parameters(), LR, BETAS, weight_decay=WEIGHT_DECAY)

    def step():
        optimizer.zero_grad()
        loss = model.loss(ids, targets)
        loss.backward()
        clip_grad_norm(optimizer.parameters, CLIP)
        optimizer.step()
        return loss.item()

    return step, {name: array.copy() for name, array in model.state_dict().items()}


def pytorch_step(ids: np.ndarray, targets: np.ndarray, weights: dict) -> Callable:
    """The same step in PyTorch, from the same weights."""
    model = GPT()
    for name, parameter in model.named_parameters():  # nn.Linear holds the transpose
        array = weights[name] if "embedding" in name else weights[name].T
        parameter.data.copy_(torch.tensor(array))
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [{"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(
        [{"params": decayed}, *others], LR, BETAS, weight_decay=WEIGHT_DECAY
    )
    ids, targets = torch.tensor(ids), torch.tensor(targets)

    def step():
        optimizer.zero_grad()
        loss = model(ids, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        return loss.item()

    return step


def take_turns(steps: dict[str, Callable], count: int) -> tuple[dict, dict]:
    """The milliseconds and the losses of `count` steps of each, after one turn to warm up."""
    times, losses = {name: [] for name in steps}, {name: [] for name in steps}
    for _ in range(TURN + count, 0, -TURN):
        for name, step in steps.items():
            for _ in range(TURN):
                start = time.perf_counter()
                losses[name].append(step())
                times[name].append((time.perf_counter() - start) * 1e3)
    return {name: values[TURN:] for name, values in times.items()}, losses


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1, help="for both libraries (default 1)")
    parser.add_argument("--steps", type=int, default=200, help="of each library (default 200)")
    args = parser.parse_args()
    if os.environ.get("OPENBLAS_NUM_THREADS") != str(args.threads):  # read when NumPy is loaded
        os.environ["OPENBLAS_NUM_THREADS"] = str(args.threads)
        os.execv(sys.executable, [sys.executable, *sys.argv])
    torch.set_num_threads(args.threads)

    ids, targets = np.random.default_rng(1).integers(V, size=(2, BATCH, T))
    step, weights = tinygpt_step(ids, targets)
    steps = {"TinyGPT": step, "PyTorch": pytorch_step(ids, targets, weights)}
    times, losses = take_turns(steps, args.steps)
    for name in steps:
        first, last = losses[name][0], losses[name][-1]
        print(f"{name}: {median(times[name]):6.1f} ms a step   loss {first:.6f} to {last:.6f}")
    ours, theirs = (median(times[name]) for name in steps)
    print(f"ratio: {ours / theirs:.2f}   (threads: {args.threads})")


if __name__ == "__main__":
    main()
