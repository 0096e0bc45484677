"""The time and the memory of a training step of four GPTs, in TinyGPT and in PyTorch.

    python benchmarks/train_step.py [--sizes NAME ...] [--threads N] [--no-compile]  (needs torch)

A step is forward, backward, clipping and AdamW, in float32: as `Training.step` makes it, as a loop
of one's own does (loss, backward, clip_grad_norm, nn.AdamW), and as people write it in PyTorch,
with its fused AdamW. Each side is a process of its own (side.py), all of them take turns, and
the medians are printed:

    optimizer    clipping too, and all that is not the model's: (step) - (forward and backward)
    to eager     the step divided by PyTorch's, uncompiled
    to floor     the step divided by its matrix products alone, through NumPy
    peak MB      of the whole process, libraries included; of both, where there are two
    losses       of the first step and the last: that they agree shows that all compute the same

The two processes of TinyGPT (pip install mpi4py mpich) share the batch and the threads. The sizes
are the example of tinygpt.py (without the padding of its sentences), nanoGPT's for a CPU, nanoGPT's
for a GPU with a batch that is smaller, and GPT-2, with all of its 1024 positions, on 256 tokens.
"""

from __future__ import annotations

import argparse
import time

from machine import describe
from side import Side, new_job

SIZES = {
    "demo": new_job(
        batch=5, context=7, vocab_size=18, n_layer=2, n_head=4, n_embd=64, d_ff=128,
        block_size=16, bias=True, positions="sinusoidal", activation="relu", norm_first=False,
    ),
    "nanogpt-cpu": new_job(batch=12, context=64, vocab_size=65, n_layer=4, n_head=4, n_embd=128),
    "nanogpt-gpu": new_job(batch=8, context=256, vocab_size=65, n_layer=6, n_head=6, n_embd=384),
    "gpt2": new_job(
        batch=1, context=256, vocab_size=50257, n_layer=12, n_head=12, n_embd=768,
        block_size=1024, bias=True,
    ),
}  # fmt: skip
STEPS = {"demo": 40, "nanogpt-cpu": 5}  # of a turn; of the larger sizes 1

# Seconds between turns: OpenBLAS's threads spin for 0.1 s after a product, PyTorch's for less than
# 0.02. (GOMP_SPINCOUNT=0 would spare the wait, and makes PyTorch's step 1.8 times as long.)
PAUSE = 0.2


def start_sides(job: dict, options: argparse.Namespace) -> dict[str, Side | None]:
    """By label; None is a side that this job does not have."""
    threads, processes = options.threads, options.procs
    sides = {"TinyGPT": Side("tinygpt", job, threads)}
    if processes > 1:
        split = job["batch"] >= processes
        sides[f"TinyGPT, {processes} processes"] = (
            Side("tinygpt", job, max(1, threads // processes), processes) if split else None
        )
    sides["TinyGPT, a loop of one's own"] = Side("plain-loop", job, threads)
    sides["PyTorch eager"] = Side("pytorch", job, threads)
    if options.compile:
        sides["PyTorch compiled"] = Side("pytorch-compiled", job, threads)
    return {**sides, "matrix products": Side("floor", job, threads)}


def take_turns(sides: list[Side], turns: int, steps: int) -> None:
    for _ in range(turns):
        for side in sides:
            side.run(steps)
            time.sleep(PAUSE)


def row(side: Side | None, medians: list[float], eager: float, floor: float) -> str:
    """The columns of a side; `eager` and `floor` are the milliseconds to compare with."""
    if side is None:
        return f"{'-':>9}"
    if side.failure:
        return f"      n/a: {side.failure}"
    forward, backward, rest, step = (f"{ms:10.2f}" for ms in medians)
    ratios = f"{medians[-1] / eager:10.2f}{medians[-1] / floor:10.2f}{side.stop():10,.0f}"
    if not side.parameters:  # the matrix products: a step without parts and without a loss
        return f"{'':30}{step}{ratios}"
    first, last = side.steps[0][-1], side.steps[-1][-1]
    return f"{forward}{backward}{rest}{step}{ratios}{first:11.6f}{last:10.6f}"


def compare(name: str, options: argparse.Namespace) -> None:
    job, steps = SIZES[name], options.steps or STEPS.get(name, 1)
    sides = start_sides(job, options)
    take_turns([side for side in sides.values() if side], options.turns + 1, steps)
    medians = {label: side and side.medians(warm_up=steps) for label, side in sides.items()}
    eager, floor = medians["PyTorch eager"][-1], medians["matrix products"][-1]
    m = job["model"]
    print(
        f"{name}: {m['n_layer']} layers, {m['n_embd']} wide, {sides['TinyGPT'].parameters:,} "
        f"parameters; {job['batch']} x {job['context']} tokens a step"
    )
    for label, side in sides.items():
        print(f"  {label:27} {row(side, medians[label], eager, floor)}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=[*SIZES])
    parser.add_argument("--threads", type=int, default=2, help="of each side (default 2)")
    parser.add_argument("--procs", type=int, default=2, help="of TinyGPT's other side; 1: none")
    parser.add_argument("--turns", type=int, default=7, help="that count, after one to warm up")
    parser.add_argument("--steps", type=int, help=f"of a turn (default {STEPS}, others 1)")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    options = parser.parse_args()
    print(describe(options.threads))
    columns = "forward backward optimizer step to-eager to-floor peak-MB first-loss last-loss"
    print("\nmilliseconds a step           ", *(f"{column:>9}" for column in columns.split()))
    for name in options.sizes:
        compare(name, options)


if __name__ == "__main__":
    main()
