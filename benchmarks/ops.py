"""The time of single ops, in this engine and in PyTorch: the value, and value and gradient.

    python benchmarks/ops.py [--threads N] [--rounds N] [--only NAME ...]      (needs torch)

The sizes are those of nanoGPT for a CPU (batch 12, 64 positions, 128 channels, vocabulary 65) and
of GPT-2 (256 positions, 768 channels, vocabulary 50257), in float32. "Forward" is recorded, as in
training; "both" pulls a gradient back, too. That both libraries give the same value is looked at
first. They take turns of 20 ms, or of a call, in one process, and the medians are printed. (What
an op costs beyond its arithmetic is in overhead.py.)
"""

from __future__ import annotations

import argparse
import operator
import os
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--threads", type=int, default=2, help="of both libraries (default 2)")
parser.add_argument("--rounds", type=int, default=7, help="turns of each (default 7)")
parser.add_argument("--only", nargs="+", default=[""], metavar="NAME", help="ops that begin so")
OPTIONS = parser.parse_args()
os.environ["OPENBLAS_NUM_THREADS"] = str(OPTIONS.threads)  # before NumPy is loaded
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from machine import describe  # noqa: E402
from torch.nn import functional as TF  # noqa: E402
from train_step import PAUSE  # noqa: E402

import autograd  # noqa: E402
from nn import functional as F  # noqa: E402

TURN = 0.02  # seconds
RNG = np.random.default_rng(0)


def cross_entropy(V, *shape):
    """The op here and in PyTorch, with targets; embedding likewise, with ids."""
    targets = RNG.integers(V, size=shape)
    there = torch.tensor(targets)
    return lambda z: F.cross_entropy(z, targets), lambda z: TF.cross_entropy(z, there)


def embedding(V, *shape):
    ids = RNG.integers(V, size=shape)
    there = torch.tensor(ids)
    return lambda w: F.embedding(w, ids), lambda w: TF.embedding(there, w)


def linear_cross_entropy(V, *shape):
    targets = RNG.integers(V, size=shape)
    there = torch.tensor(targets)
    return (
        lambda x, w: F.linear_cross_entropy(x, w, targets),
        lambda x, w: TF.cross_entropy(x @ w.T, there),
    )


def causal_attention(n_head):
    """Of q, k and v side by side, (B, T, 3C)."""

    def theirs(qkv):
        q, k, v = (x.unflatten(-1, (n_head, -1)).transpose(1, 2) for x in qkv.chunk(3, -1))
        y = TF.scaled_dot_product_attention(q, k, v, is_causal=True)
        return y.transpose(1, 2).flatten(2)

    return lambda qkv: F.causal_attention(qkv, n_head), theirs


LINEAR = F.linear, lambda x, w: TF.linear(x, w.T)
MATMUL = operator.matmul, operator.matmul
ADD = operator.add, operator.add
LAYER_NORM = autograd.layer_norm, lambda x, w, b: TF.layer_norm(x, w.shape, w, b)
GELU = F.gelu, partial(TF.gelu, approximate="tanh")
ATTENTION = (
    partial(F.attention, causal=True),
    partial(TF.scaled_dot_product_attention, is_causal=True),
)
GETITEM = (operator.itemgetter((slice(None), slice(16, 48), slice(32, None))),) * 2
HEADS = (12, 4, 64, 32)
CASES = [  # what is printed, the op here, the op in PyTorch, the shapes of its arguments
    ("linear", *LINEAR, (12, 64, 128), (128, 512)),
    ("linear", *LINEAR, (1, 256, 768), (768, 3072)),
    ("matmul", *MATMUL, (512, 512), (512, 512)),
    ("matmul", *MATMUL, HEADS, (12, 4, 32, 64)),
    ("attention", *ATTENTION, HEADS, HEADS, HEADS),
    ("causal_attention", *causal_attention(4), (12, 64, 384)),
    ("causal_attention", *causal_attention(12), (1, 256, 2304)),
    ("layer_norm", *LAYER_NORM, (12, 64, 128), (128,), (128,)),
    ("layer_norm", *LAYER_NORM, (1, 256, 768), (768,), (768,)),
    ("gelu", *GELU, (12, 64, 512)),
    ("gelu", *GELU, (1, 256, 3072)),
    ("relu", autograd.relu, TF.relu, (12, 64, 512)),
    ("softmax", autograd.softmax, partial(TF.softmax, dim=-1), (12, 4, 64, 64)),
    ("cross_entropy", *cross_entropy(65, 768), (768, 65)),
    ("cross_entropy", *cross_entropy(50257, 256), (256, 50257)),
    ("linear_cross_entropy", *linear_cross_entropy(50257, 256), (256, 768), (50257, 768)),
    ("embedding", *embedding(65, 12, 64), (65, 128)),
    ("embedding", *embedding(50257, 1, 256), (50257, 768)),
    ("add", *ADD, (12, 64, 128), (12, 64, 128)),
    ("add, broadcast", *ADD, (12, 64, 128), (64, 128)),
    ("getitem, slices", *GETITEM, (12, 64, 128)),
]


def value_and_both(function, inputs, gradient):
    """function(*inputs), and the same followed by its backward."""

    def both():
        for x in inputs:
            x.grad = None
        function(*inputs).backward(gradient)

    return lambda: function(*inputs), both


def sides(ours, theirs, shapes):
    """The two functions of this engine, and the two of PyTorch, on the same numbers."""
    arrays = [RNG.standard_normal(shape, dtype=np.float32) for shape in shapes]
    inputs = [autograd.Tensor(array, requires_grad=True) for array in arrays]
    there = [torch.tensor(array, requires_grad=True) for array in arrays]
    value = ours(*inputs).data
    np.testing.assert_allclose(value, theirs(*there).detach(), rtol=1e-3, atol=1e-4)
    gradient = RNG.standard_normal(value.shape, dtype=np.float32)
    return (
        value_and_both(ours, inputs, gradient),
        value_and_both(theirs, there, torch.tensor(gradient)),
    )


def microseconds(function):
    """Of a call, in a turn."""
    function()  # wakes the threads
    started, count = time.perf_counter(), 0
    while (spent := time.perf_counter() - started) < TURN:
        function()
        count += 1
    return spent / count * 1e6


def take_turns(libraries):
    """The medians of this engine, forward and both, and those of PyTorch."""
    rounds = []
    for _ in range(OPTIONS.rounds):
        rounds.append([])
        for functions in libraries:
            rounds[-1] += map(microseconds, functions)
            time.sleep(PAUSE)
    return [median(column) for column in zip(*rounds, strict=True)]


def main():
    torch.set_num_threads(OPTIONS.threads)
    print(describe(OPTIONS.threads))
    columns = f"{'forward':>10}{'PyTorch':>10}{'ratio':>7}{'both':>12}{'PyTorch':>10}{'ratio':>7}"
    print(f"\n{'microseconds':50}{columns}")
    for name, ours, theirs, *shapes in CASES:
        if name.startswith(tuple(OPTIONS.only)):
            forward, both, forward_there, both_there = take_turns(sides(ours, theirs, shapes))
            print(
                f"{name:17}{' '.join('x'.join(map(str, shape)) for shape in shapes):33}"
                f"{forward:10,.0f}{forward_there:10,.0f}{forward / forward_there:7.2f}"
                f"{both:12,.0f}{both_there:10,.0f}{both / both_there:7.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
