"""One side of a comparison: a process that makes steps of training when it is told to.

train_step.py and scaling.py hold the other end, `Side`. On standard input comes a number of steps,
one a line, and a line of JSON answers: for each step the milliseconds (forward, backward, the rest,
all) and the loss. Before the first the process says how many parameters it trains, and 0 ends it,
which it answers with its peak memory in MB.

All sides start from the same weights, see the same batches and have the same optimizer. A job is a
dictionary: "model", the fields of GPTConfig; "batch", sequences; "context", their length.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import math
import os
import resource
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path
from statistics import median
from typing import Any

LR, BETAS, WEIGHT_DECAY, CLIP = 1e-3, (0.9, 0.99), 0.1, 1.0
ANSWER = "answer:"  # begins the lines that are one, among whatever libraries print
BATCHES = 4  # different ones, over and over: the losses show that a side learns

# ---------------------------------------------------------------- the end of who compares


def new_job(batch: int, context: int, n_embd: int, **model: Any) -> dict:
    """A job with nanoGPT's choices where `model` says nothing else."""
    choices = dict(bias=False, positions="learned", activation="gelu", norm_first=True)
    sizes = dict(block_size=context, n_embd=n_embd, d_ff=4 * n_embd)
    return {"batch": batch, "context": context, "model": {**choices, **sizes, **model}}


class Side:
    """A process that trains. `failure` says why if it could not; then it answers nothing."""

    def __init__(self, name: str, job: dict, threads: int, processes: int = 1):
        command = [sys.executable, __file__, name, json.dumps(job)]
        if processes > 1:
            beside = Path(sys.executable).with_name("mpiexec")
            mpiexec = str(beside) if beside.exists() else "mpiexec"
            command[1:1] = ["-m", "mpi4py"]  # if one fails, the others do not wait for ever
            command = [mpiexec, "-n", str(processes), *command]
        names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, env={**os.environ, **dict.fromkeys(names, str(threads))},
        )  # fmt: skip
        self.failure: str | None = None
        self.parameters: int = self._answer()
        self.steps: list[list[float]] = []

    def run(self, count: int) -> None:
        """Let it make so many steps, while this process waits."""
        self.steps += self._ask(count) or []

    def medians(self, warm_up: int) -> list[float]:
        """Milliseconds forward, backward, of the rest and of all, without the first steps."""
        columns = zip(*self.steps[warm_up:], strict=True)
        return [median(column) for column in columns][:4] or [math.nan] * 4

    def stop(self) -> float | None:
        """End it; returns its peak memory in MB, of all its processes together."""
        peak = self._ask(0)
        self.process.wait()
        return peak

    def _ask(self, count):
        if self.failure:
            return None
        with contextlib.suppress(BrokenPipeError):  # it is gone, which the answer will say
            print(count, file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self):
        self.failure = "it ended without a word"
        for line in self.process.stdout:
            if line.startswith(ANSWER):
                self.failure = None
                return json.loads(line.removeprefix(ANSWER))
            if "Error" in line:  # the last line of a traceback, or of several
                self.failure = line.strip()
        return None


# ---------------------------------------------------------------- what all sides share


def first_weights(name: str, shape: tuple[int, ...]) -> Any:
    """Where a parameter starts: a matrix as GPT-2's, a norm at 1, a bias at 0."""
    import numpy as np

    if len(shape) == 1:
        return np.full(shape, "norm" in name and name.endswith("weight"), dtype=np.float32)
    rng = np.random.default_rng(zlib.crc32(name.encode()))  # of the name, not of their order
    weights = rng.standard_normal(shape, dtype=np.float32)
    weights *= 0.02
    return weights


def batches(job: dict) -> list:
    """Pairs (ids, targets) of random tokens, each (B, T)."""
    import numpy as np

    size = (BATCHES, job["batch"], job["context"] + 1)
    windows = np.random.default_rng(0).integers(job["model"]["vocab_size"], size=size)
    return [(window[:, :-1], window[:, 1:]) for window in windows]


class Clock:
    """The milliseconds that functions took in this thread since the last `reset`, by name."""

    def __init__(self):
        self.reset()

    def reset(self) -> None:
        self.spent = {"forward": 0.0, "backward": 0.0}

    def timed(self, name: str, function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            started = time.perf_counter()
            result = function(*args, **kwargs)
            if threading.current_thread() is threading.main_thread():
                self.spent[name] += (time.perf_counter() - started) * 1e3
            return result

        return wrapper


# ---------------------------------------------------------------- the sides


def _timed_model(job: dict, clock: Clock):
    """The TinyGPT of a job with its first weights; `clock` sees its loss and backward."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from autograd import Tensor
    from tinygpt import GPTConfig, TinyGPT

    TinyGPT.loss = clock.timed("forward", TinyGPT.loss)
    Tensor.backward = clock.timed("backward", Tensor.backward)
    model = TinyGPT(GPTConfig(**job["model"]), None)
    named = dict(model.named_parameters())
    model.load_state_dict({name: first_weights(name, p.shape) for name, p in named.items()})
    return model, sum(p.size for p in named.values())


def plain_loop(job: dict, clock: Clock):
    """The loop that a user of the library writes, and the number of parameters."""
    model, count = _timed_model(job, clock)
    import nn

    optimizer = nn.AdamW(model.parameters(), LR, betas=BETAS, weight_decay=WEIGHT_DECAY)
    pairs = itertools.cycle(batches(job))

    def step():
        loss = model.loss(*next(pairs))
        loss.backward()
        nn.clip_grad_norm(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step, count, None


def tinygpt(job: dict, clock: Clock):
    """An iteration as tinygpt.py makes it, the number of parameters, and the processes."""
    model, count = _timed_model(job, clock)
    from nn.run.team import world
    from tinygpt import TrainConfig, Training

    config = TrainConfig(
        batch_size=job["batch"], optimizer="adamw", learning_rate=LR, schedule="constant",
        warmup_iters=0, beta2=BETAS[1], weight_decay=WEIGHT_DECAY, grad_clip=CLIP,
    )  # fmt: skip
    training, team = Training(model, config), world()
    if team.rank:
        training.follow(team)
        return None, 0, team
    training.lead(team)
    pairs = itertools.cycle(batches(job))

    def step():
        loss = training.backward(*next(pairs), training.rng())
        training.clip()
        training.step()
        return loss

    return step, count, team


def pytorch(job: dict, clock: Clock, compiled: bool = False):
    """The same step in PyTorch, eager or compiled."""
    import torch
    from pytorch_gpt import GPT, adamw

    model = GPT(**job["model"])
    model.load(first_weights)
    optimizer = adamw(model, LR, BETAS, WEIGHT_DECAY)
    loss_of = clock.timed("forward", torch.compile(model) if compiled else model)
    torch.Tensor.backward = clock.timed("backward", torch.Tensor.backward)
    pairs = itertools.cycle([tuple(map(torch.tensor, pair)) for pair in batches(job)])

    def step():
        optimizer.zero_grad()
        loss = loss_of(*next(pairs))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        return loss.item()

    return step, sum(p.numel() for p in model.parameters()), None


def floor(job: dict, clock: Clock):
    """The matrix products of a step alone, through NumPy and into arrays that are there already.

    Forward and backward of all linear layers, the head and attention. A step can come below only
    where it does not compute what the causal mask hides, or shares out the work in a better way
    than the threads of BLAS do. The layers use the same arrays.
    """
    import numpy as np

    m, B, T = job["model"], job["batch"], job["context"]
    C, F, H = m["n_embd"], m["d_ff"], m["n_head"]

    def ones(*shape):
        return np.ones(shape, dtype=np.float32)

    def linear(inputs, outputs):
        x, weight, g = ones(B * T, inputs), ones(inputs, outputs), ones(B * T, outputs)
        return [(x, weight), (g, weight.T), (x.T, g)]

    q, k, v, g = ones(4, B, H, T, C // H)
    p = ones(B, H, T, T)  # the weights of attention, or their gradient
    attention = [
        (q, k.swapaxes(-1, -2)), (p, v),
        (g, v.swapaxes(-1, -2)), (p.swapaxes(-1, -2), g), (p, k), (p.swapaxes(-1, -2), q),
    ]  # fmt: skip
    layer = [*linear(C, 3 * C), *attention, *linear(C, C), *linear(C, F), *linear(F, C)]
    products = [(x, y, x @ y) for x, y in [*layer, *linear(C, m["vocab_size"])]]
    products = products[: len(layer)] * m["n_layer"] + products[len(layer) :]

    def step():
        for x, y, out in products:
            np.matmul(x, y, out=out)
        return 0.0

    return step, 0, None


SIDES = {
    "tinygpt": tinygpt,
    "plain-loop": plain_loop,
    "pytorch": pytorch,
    "pytorch-compiled": functools.partial(pytorch, compiled=True),
    "floor": floor,
}

# ---------------------------------------------------------------- the process


def measured(step, clock: Clock) -> list[float]:
    """Milliseconds forward, backward, of the rest and of all; and the loss."""
    clock.reset()
    started = time.perf_counter()
    loss = step()
    total = (time.perf_counter() - started) * 1e3
    forward, backward = clock.spent.values()
    return [forward, backward, total - forward - backward, total, loss]


def main():
    name, job = sys.argv[1], json.loads(sys.argv[2])
    clock = Clock()
    step, parameters, team = SIDES[name](job, clock)
    if step:  # not in the other processes of a team, which have followed the first until its end
        print(ANSWER, json.dumps(parameters), flush=True)
        for count in map(int, itertools.chain(sys.stdin, ["0"])):
            if count == 0:
                break
            step()  # is not counted: caches are cold, and threads and processes asleep
            print(ANSWER, json.dumps([measured(step, clock) for _ in range(count)]), flush=True)
    # In KiB. Linux counts from the peak of the process that started this one, which is small.
    peaks = [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]
    if team and team.size > 1:
        if step:
            team.send(None)
        peaks = team.gather(peaks[0])
    if step:
        print(ANSWER, json.dumps(sum(peaks)), flush=True)


if __name__ == "__main__":
    main()
