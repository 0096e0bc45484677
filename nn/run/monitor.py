"""What you see of a training: a progress line, metrics in a file, and the loss as a picture."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write_atomically

__all__ = [
    "Metrics", "Progress", "byte_progress", "compare_runs", "duration", "plot_losses",
    "read_metrics",
]  # fmt: skip

# ---------------------------------------------------------------- on the screen

_QUIET = 10.0  # seconds between two lines where there is no terminal


class Progress:
    """How far a job is and how long it will take: a bar in a terminal, plain lines elsewhere."""

    def __init__(self, total: int, done: int = 0, job: str = "training", unit: str = "it"):
        from tqdm import tqdm

        self._format = tqdm.format_interval
        self._bar = tqdm(
            total=total, initial=done, desc=job, unit=unit, unit_scale=unit == "B",
            ncols=shutil.get_terminal_size().columns,
            disable=not (sys.stderr and sys.stderr.isatty()),
        )  # fmt: skip
        self._size = tqdm.format_sizeof if unit == "B" else "{:,}".format
        self._job, self._total, self._first, self._done = job, total, done, done
        self._started = self._line_at = time.monotonic()

    def update(self, n: int = 1, /, **figures: str) -> None:
        """Count n more, and show figures such as loss="1.234"."""
        self._done += n
        if not self._bar.disable:
            self._bar.set_postfix(figures, refresh=False)
            self._bar.update(n)
            return
        now = time.monotonic()
        if now - self._line_at >= _QUIET or (self._done >= self._total and now > self._started + 1):
            self._line_at = now
            left = (now - self._started) * (self._total - self._done)
            left = self._format(left / max(1, self._done - self._first))
            shown = ", ".join([*(f"{k} {v}" for k, v in figures.items()), f"{left} left"])
            part = 100 * self._done // max(1, self._total)
            counted = f"{self._size(self._done)} of {self._size(self._total)}"
            print(f"{self._job}: {part} % ({counted}), {shown}", file=sys.stderr, flush=True)

    def write(self, text: str) -> None:
        """Print a text above the bar."""
        with self._bar.external_write_mode():
            print(text, flush=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()


@contextlib.contextmanager
def byte_progress(job: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress line for a job of `total` bytes, in the form that `tokenize` takes."""
    with Progress(total, job=job, unit="B") as progress:
        yield progress.update


def duration(seconds: float) -> str:
    """A time in words, such as "3 hours" or "90 s"."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(1, seconds):.0f} s"


# ---------------------------------------------------------------- in a file


class Metrics:
    """metrics.jsonl: one JSON object for each iteration, with its number as "iteration"."""

    def __init__(self, path: Path, iteration: int = 0):
        """Go on after `iteration`: the lines of later iterations are removed."""
        kept = read_metrics(path) if path.exists() else []
        lines = [_line(m) for m in kept if m["iteration"] <= iteration]
        write_atomically(path, lambda name: Path(name).write_bytes(b"".join(lines)))
        self.path, self._last = path, kept[len(lines) - 1] if lines else {}
        self._offset = sum(map(len, lines[:-1]))  # where the last line begins

    def add(self, iteration: int, **figures: float) -> None:
        """Add figures of an iteration: to the last object if it has this number, or a new one."""
        if iteration != self._last.get("iteration"):
            self._offset += len(_line(self._last)) if self._last else 0
            self._last = {"iteration": iteration}
        self._last.update(figures)
        with open(self.path, "r+b") as file:
            file.seek(self._offset)
            file.write(_line(self._last))
            file.truncate()  # the new line can be shorter than the old one

    def sync(self) -> None:
        """Force what was added to the disk."""
        with open(self.path, "r+b") as file:
            os.fsync(file.fileno())


def _line(figures):
    return json.dumps(figures).encode() + b"\n"


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The objects of a metrics file. Raises ValueError naming a line that is not one.

    A last line without a line end is left out: the process died while writing it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    objects: list[dict[str, Any]] = []
    for number, line in enumerate(data.split(b"\n")[:-1], 1):
        try:
            figures = json.loads(line)
            valid = isinstance(figures, dict) and type(figures.get("iteration")) is int
            valid = valid and all(type(figure) in (int, float) for figure in figures.values())
        except ValueError:
            valid = False
        if not valid or figures["iteration"] <= (objects[-1]["iteration"] if objects else 0):
            raise ValueError(f"{path} is damaged in line {number}: take the line away, or the file")
        objects.append(figures)
    return objects


# ---------------------------------------------------------------- as a picture


def plot_losses(path: Path, runs: Mapping[str, Iterable[Mapping[str, float]]]) -> None:
    """Draw the losses of one run, or of several to compare, {name: metrics}, as a PNG.

    For one run: the loss of each batch, its running mean, and the validation loss. For several: the
    running mean, as a thin line, and the validation loss of each.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    axes = figure.subplots()
    last, low, high = 1, [], []
    for number, (name, metrics) in enumerate(runs.items()):
        name = name.replace("$", r"\$")  # or it would begin a formula
        name = f" {name}" if name.startswith("_") else name  # or the legend hides it
        x, y = _series(metrics, "loss")
        middle, mean, width = _running_mean(x, y)
        if len(runs) == 1:
            axes.plot(x, y, color="C0", alpha=0.3, linewidth=0.8, label="training, each batch")
            axes.plot(middle, mean, color="C0", label=f"training, mean of {width}")
        else:
            axes.plot(middle, mean, color=f"C{number}", alpha=0.45, linewidth=1)
        at, validation = _series(metrics, "validation_loss")
        if len(at):
            color, label = ("C1", "validation") if len(runs) == 1 else (f"C{number}", name)
            axes.plot(at, validation, "o-", color=color, markersize=3.5, label=label, clip_on=False)
        elif len(runs) > 1:
            axes.plot([], [], color=f"C{number}", label=f"{name} (no validation yet)")
        last = max([last, *x, *at])
        low += [*mean, *validation]
        high += [*y[:1], *mean[:1]]
    title = "Loss" if len(runs) == 1 else "Validation loss (dots) and training loss (lines)"
    axes.set(title=title, xlabel="iteration", ylabel="cross entropy (nats per token)")
    axes.set_xlim(0, last)
    axes.set_ylim(0 if not low or min(low) < 0.5 * max(high, default=0) else None)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    write_atomically(path, FigureCanvasAgg(figure).print_png)


def compare_runs(directories: Sequence[str], path: Path) -> str:
    """Draw the losses of runs into one PNG; returns a summary. ValueError if a run has none."""
    runs = {name: read_metrics(Path(name) / "metrics.jsonl") for name in directories}
    if empty := [name for name, metrics in runs.items() if not metrics]:
        raise ValueError(f"nothing to draw: no iteration of {', '.join(empty)} is done yet")
    plot_losses(path, runs)
    return f"Losses of {', '.join(runs)}: {path}"


def _series(metrics, name):
    pairs = [(m["iteration"], m[name]) for m in metrics if name in m]
    return np.array([x for x, _ in pairs]), np.array([y for _, y in pairs])


def _running_mean(x, y):
    width = max(1, len(y) // 50)
    mean = np.convolve(y, np.ones(width) / width, mode="valid") if len(y) else y
    return x[width // 2 : width // 2 + len(mean)], mean, width
