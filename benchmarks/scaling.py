"""How the time and the memory of a training step grow with the model and with the batch.

    python benchmarks/scaling.py [--pytorch] [--threads N] [--steps N]

From nanoGPT's size for a CPU, one of context, width, depth and batch is doubled again and again
while the others stay. Each point is a process of its own (side.py) and the median of its steps;
"growth" is how many times the value of the row above. With --pytorch a second process takes turns
with it, which makes the same steps in PyTorch, eager.
"""

from __future__ import annotations

import argparse

from machine import describe
from side import Side, new_job
from train_step import take_turns

BASE = dict(batch=12, context=64, vocab_size=65, n_layer=4, n_head=4, n_embd=128)
AXES = {  # the field of a job, and how often it is doubled
    "context": ("context", 3),
    "width": ("n_embd", 2),
    "depth": ("n_layer", 3),
    "batch": ("batch", 3),
}


def measure(sizes: dict, options: argparse.Namespace) -> tuple[int, dict[str, list[float]]]:
    """Parameters; milliseconds a step and peak MB of each side. The sides take turns."""
    job = new_job(**sizes)
    sides = {label: Side(name, job, options.threads) for label, name in options.sides.items()}
    take_turns([*sides.values()], 1 + options.steps, steps=1)
    for label, side in sides.items():
        if side.failure:
            raise SystemExit(f"{label}: {side.failure}")
    figures = {label: [side.medians(warm_up=1)[-1], side.stop()] for label, side in sides.items()}
    return sides["TinyGPT"].parameters, figures


def table(axis: str, options: argparse.Namespace) -> None:
    field, doublings = AXES[axis]
    columns = [f"{label + ' ms':>14}{'growth':>8}{'MB':>8}{'growth':>8}" for label in options.sides]
    print(f"\n{axis:>8}{'parameters':>13}{''.join(columns)}{'  to PyTorch' * (len(columns) > 1)}")
    before = {}
    for n in range(doublings + 1):
        sizes = {**BASE, field: BASE[field] * 2**n}
        parameters, figures = measure(sizes, options)
        line = f"{sizes[field]:8}{parameters:13,}"
        for label, (ms, peak) in figures.items():
            ms_before, peak_before = before.get(label, (ms, peak))
            line += f"{ms:14.1f}{ms / ms_before:8.2f}{peak:8.0f}{peak / peak_before:8.2f}"
        if options.pytorch:
            line += f"{figures['TinyGPT'][0] / figures['PyTorch'][0]:12.2f}"
        print(line, flush=True)
        before = figures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--axes", nargs="+", choices=AXES, default=[*AXES])
    parser.add_argument("--pytorch", action="store_true", help="measure it too (needs torch)")
    parser.add_argument("--threads", type=int, default=2, help="(default 2)")
    parser.add_argument("--steps", type=int, default=7, help="of each point (default 7)")
    options = parser.parse_args()
    options.sides = {"TinyGPT": "tinygpt", **({"PyTorch": "pytorch"} if options.pytorch else {})}
    print(describe(options.threads))
    for axis in options.axes:
        table(axis, options)


if __name__ == "__main__":
    main()
