"""Overhead per op: what an engine adds to NumPy, for this one, PyTorch and HIPS autograd.

    python benchmarks/overhead.py

The chain is 200 multiplications of 4 float64 numbers by a constant, so that nearly all the time
is bookkeeping. It prints, in microseconds per op:

    forward        the chain, recorded for differentiation
    backward       (forward and backward) - forward: a gradient pulled back through the chain
    beyond NumPy   the same minus what bare arrays take for the arithmetic, in the same process:
                   one multiplication per op forward, and one backward (gradient * constant)

From PyTorch, which computes without NumPy, the same is subtracted. The libraries take turns over
several rounds, and the medians are printed; one that is not installed is left out. HIPS autograd
has the import name of this package: each library runs in a process of its own, and for the three
of them take an environment with torch and autograd from PyPI, in which this package is not
installed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import timeit
from pathlib import Path
from statistics import median

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
OPS, REPEATS, ROUNDS = 200, 200, 5


def chain(x, factor):
    for _ in range(OPS):
        x = x * factor
    return x


def this_engine(data, factor):
    """(forward, forward and backward) of the chain as functions; the others likewise."""
    sys.path.insert(0, str(ROOT))
    from autograd import Tensor

    x, c = Tensor(data, requires_grad=True), Tensor(factor)
    return lambda: chain(x, c), lambda: chain(x, c).backward(data)


def pytorch(data, factor):
    import torch

    torch.set_num_threads(1)
    x, c, g = torch.tensor(data, requires_grad=True), torch.tensor(factor), torch.tensor(data)
    return lambda: chain(x, c), lambda: chain(x, c).backward(g)


def hips_autograd(data, factor):
    sys.path[:] = [path for path in sys.path if Path(path).resolve() != ROOT]
    from autograd.differential_operators import make_vjp  # no such module in this package

    pull = make_vjp(lambda x: chain(x, factor))
    return lambda: pull(data), lambda: pull(data)[0](data)


LIBRARIES = {"this engine": this_engine, "PyTorch": pytorch, "HIPS autograd": hips_autograd}


def microseconds(function):
    return median(timeit.repeat(function, number=1, repeat=REPEATS)) / OPS * 1e6


def measure(name):
    """[NumPy's multiplication, forward, backward] per op, or None if it is not installed."""
    data = factor = np.ones(4)
    try:
        forward, both = LIBRARIES[name](data, factor)
    except ModuleNotFoundError:
        return None
    bare, ahead = microseconds(lambda: chain(data, factor)), microseconds(forward)
    return [bare, ahead, microseconds(both) - ahead]


def measure_apart(name):
    command = [sys.executable, __file__, "--measure", name]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", choices=LIBRARIES, help="one library, in this process")
    name = parser.parse_args().measure
    if name:
        print(json.dumps(measure(name)))
        return
    rounds = [{name: measure_apart(name) for name in LIBRARIES} for _ in range(ROUNDS)]
    print(f"{'microseconds per op':20}  forward  beyond NumPy   backward  beyond NumPy")
    for name in LIBRARIES:
        if rounds[0][name] is None:
            print(f"{name:20}  not installed")
            continue
        bare, forward, backward = (
            median(column) for column in zip(*(r[name] for r in rounds), strict=True)
        )
        print(f"{name:20} {forward:8.2f} {forward - bare:13.2f} "
              f"{backward:10.2f} {backward - bare:13.2f}")  # fmt: skip
    print(f"one multiplication in NumPy: {bare:.2f}")


if __name__ == "__main__":
    main()
