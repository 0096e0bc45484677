"""Twenty of NumPy's functions: value and gradient, for this engine, HIPS autograd and PyTorch.

    python benchmarks/functions.py

Each line is the time in milliseconds of the sum of a function of float64 arrays and its gradients,
on one thread. The libraries run in processes of their own (see overhead.py) and take turns over
several rounds; the medians are printed, and how many times as long the others took. One that is not
installed is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import timeit
from pathlib import Path
from statistics import median

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
ROUNDS, REPEATS = 5, 7

# name: (the call with NumPy's names, with PyTorch's, the shapes of the arguments)
CALLS = {
    "tan": ("np.tan(x)", "torch.tan(x)", (300, 300)),
    "logaddexp": ("np.logaddexp(x, y)", "torch.logaddexp(x, y)", (300, 300), (300, 300)),
    "arctan2": ("np.arctan2(x, y)", "torch.arctan2(x, y)", (300, 300), (300, 300)),
    "cumprod": ("np.cumprod(x, axis=1)", "torch.cumprod(x, 1)", (300, 300)),
    "sort": ("np.sort(x, axis=1)", "torch.sort(x, 1)[0]", (300, 300)),
    "diff": ("np.diff(x, axis=1)", "torch.diff(x, dim=1)", (300, 300)),
    "roll": ("np.roll(x, 7, axis=0)", "torch.roll(x, 7, 0)", (300, 300)),
    "flip": ("np.flip(x, 0)", "torch.flip(x, (0,))", (300, 300)),
    "tile": ("np.tile(x, (2, 2))", "torch.tile(x, (2, 2))", (300, 300)),
    "repeat": ("np.repeat(x, 2, axis=1)", "torch.repeat_interleave(x, 2, 1)", (300, 300)),
    "tril": ("np.tril(x)", "torch.tril(x)", (300, 300)),
    "hstack": ("np.hstack([x, y])", "torch.hstack([x, y])", (300, 300), (300, 300)),
    "outer": ("np.outer(x, y)", "torch.outer(x, y)", (300,), (300,)),
    "kron": ("np.kron(x, y)", "torch.kron(x, y)", (20, 20), (20, 20)),
    "einsum": ("np.einsum('bthd,bshd->bhts', x, y)", "torch.einsum('bthd,bshd->bhts', x, y)",
               (12, 64, 4, 32), (12, 64, 4, 32)),
    "tensordot": ("np.tensordot(x, y, 1)", "torch.tensordot(x, y, 1)", (300, 300), (300, 300)),
    "inv": ("np.linalg.inv(x)", "torch.linalg.inv(x)", (100, 100)),
    "solve": ("np.linalg.solve(x, y)", "torch.linalg.solve(x, y)", (100, 100), (100, 10)),
    "eigvalsh": ("np.linalg.eigh(x @ x.T)[0]", "torch.linalg.eigh(x @ x.T)[0]", (100, 100)),
    "svd": ("np.linalg.svd(x, full_matrices=False)[1]",
            "torch.linalg.svd(x, full_matrices=False)[1]", (100, 100)),
}  # fmt: skip


def arrays(name):
    rng = np.random.default_rng(0)
    return [rng.uniform(0.5, 1.0, shape) for shape in CALLS[name][2:]]


def this_engine(name):
    sys.path.insert(0, str(ROOT))
    from autograd.functional import value_and_grad

    return with_names_of_numpy(name, value_and_grad, np)


def hips_autograd(name):
    sys.path[:] = [path for path in sys.path if Path(path).resolve() != ROOT]
    import autograd.numpy

    from autograd import value_and_grad

    autograd.differential_operators  # noqa: B018  # no such module in this package
    return with_names_of_numpy(name, value_and_grad, autograd.numpy)


def with_names_of_numpy(name, value_and_grad, module):
    data = arrays(name)
    call = eval(f"lambda x, y=None: np.sum({CALLS[name][0]})", {"np": module})
    both = value_and_grad(call, tuple(range(len(data))))
    return lambda: both(*data)


def pytorch(name):
    import torch

    torch.set_num_threads(1)
    call = eval(f"lambda x, y=None: ({CALLS[name][1]}).sum()", {"torch": torch})
    leaves = [torch.tensor(x, requires_grad=True) for x in arrays(name)]
    return lambda: torch.autograd.grad(call(*leaves), leaves)


LIBRARIES = {"this engine": this_engine, "HIPS autograd": hips_autograd, "PyTorch": pytorch}


def measure(library):
    """{name: milliseconds} for one library; nothing if it is not installed."""
    times = {}
    for name in CALLS:
        try:
            call = LIBRARIES[library](name)
        except (ModuleNotFoundError, AttributeError):
            return {}
        try:
            call()
        except Exception as error:  # a library may lack a function
            print(f"{library}: {name}: {error}", file=sys.stderr)
            continue
        number = max(1, round(0.01 / (timeit.timeit(call, number=3) / 3)))
        times[name] = median(timeit.repeat(call, number=number, repeat=REPEATS)) / number * 1e3
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", choices=LIBRARIES, help="measure one, in this process")
    if library := parser.parse_args().library:
        print(json.dumps(measure(library)))
        return
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    rounds = {library: [] for library in LIBRARIES}
    for _ in range(ROUNDS):
        for library, results in rounds.items():
            command = [sys.executable, __file__, "--library", library]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True,
                                  env={**os.environ, **one})  # fmt: skip
            results.append(json.loads(done.stdout))
    print(f"{'function':12}" + "".join(f"{library:>16}" for library in LIBRARIES))
    for name in CALLS:
        times = [median([r[name] for r in results if name in r] or [float("nan")])
                 for results in rounds.values()]  # fmt: skip
        others = "".join(f"{time:10.3f} ({time / times[0]:4.2f})" for time in times[1:])
        print(f"{name:12}{times[0]:16.3f}{others}")


if __name__ == "__main__":
    main()
