"""What you see of a training: a progress line, metrics in a file, and the loss as a picture."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write_atomically

__all__ = [
    "Metrics", "Progress", "byte_progress", "duration", "fonts_for", "plain", "plot_losses",
    "read_metrics",
]  # fmt: skip

# ---------------------------------------------------------------- on the screen

_QUIET = 10.0  # seconds between two lines where there is no terminal
_BAR = 8  # columns of a bar at least


class Progress:
    """How far a job is and how long it will take: a bar in a terminal, plain lines elsewhere."""

    def __init__(self, total: int, done: int = 0, job: str = "training", unit: str = ""):
        """`unit`: what is counted, if its number in a second is to be shown."""
        from tqdm import tqdm

        class Bar(tqdm):
            monitor_interval = 0  # no thread that watches it: one may hang when Python ends

        self._format = tqdm.format_interval
        self._bar = Bar(
            total=total, initial=done, desc=job, unit=unit, unit_scale=bool(unit),
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}, {remaining} left"
            + (", {rate_fmt}" if unit else "{postfix}"),
            ncols=_columns(), disable=not (sys.stderr and sys.stderr.isatty()),
        )  # fmt: skip
        self._size = tqdm.format_sizeof if unit == "B" else "{:,}".format
        self._job, self._total, self._first, self._done = job, total, done, done
        self._started = self._line_at = time.monotonic()

    def update(self, n: int = 1, /, **figures: str) -> None:
        """Count n more, and show figures such as loss="1.234", the most important one first."""
        self._done += n
        if not self._bar.disable:
            self._bar.ncols = _columns()  # the window may have got another size
            self._bar.set_postfix_str(self._that_fit(figures), refresh=False)
            self._bar.update(n)
            return
        now = time.monotonic()
        if now - self._line_at >= _QUIET or (self._done >= self._total and now > self._started + 1):
            self._line_at = now
            shown = [*(f"{k} {v}" for k, v in figures.items()), f"{self._remaining()} left"]
            part = 100 * self._done // max(1, self._total)
            counted = f"{self._size(self._done)} of {self._size(self._total)}"
            shown = [f"{self._job}: {part} % ({counted})", *shown]
            print(", ".join(shown), file=sys.stderr, flush=True)

    def _that_fit(self, figures):
        """The first figures, as many as leave the bar _BAR columns."""
        words = [value if name == "speed" else f"{name} {value}" for name, value in figures.items()]
        count = f": 100%|| {self._done}/{self._total}, "
        room = self._bar.ncols - len(f"{self._job}{count}{self._remaining()} left") - _BAR
        while words and len(", ".join(["", *words])) > room:
            words.pop()
        return ", ".join(words)

    def _remaining(self):
        """The time left, if it goes on as it went."""
        spent = time.monotonic() - self._started
        left = spent * (self._total - self._done) / max(1, self._done - self._first)
        return self._format(left)

    def write(self, text: str) -> None:
        """Print a text above the bar."""
        with self._bar.external_write_mode():
            print(text, flush=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()


def _columns():
    """The width of the terminal that the bar is in, which need not be that of the output."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if "COLUMNS" not in os.environ:
            return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    return shutil.get_terminal_size().columns


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


def plain(text: str) -> str:
    """A text for one line of a picture: line ends and what cannot be printed as \\n and such."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@contextlib.contextmanager
def fonts_for(texts: Iterable[str]) -> Iterator[str]:
    """Within this, Matplotlib draws the texts as they are, in fonts that have their letters.

    Gives a line that says which letters no font here has, and what to install; empty if none.
    """
    import matplotlib

    names, missing = _find_fonts(set("".join(texts)))
    settings: Any = {"font.family": names, "text.parse_math": False}  # "$" begins no formula
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        for message in ("Glyph .* missing", "Matplotlib currently does not support"):
            warnings.filterwarnings("ignore", message)  # the line says it
        yield _font_to_install(missing) if missing else ""


def _find_fonts(letters):
    """The names of fonts, the default one first, that have the letters; and those none has."""
    from matplotlib import font_manager, ft2font, get_data_path

    manager, names, tried = font_manager.fontManager, ["DejaVu Sans"], set()
    # Matplotlib's list may be of another environment, which is gone.
    manager.ttflist = [font for font in manager.ttflist if os.path.exists(font.fname)]
    if names[0] not in {font.name for font in manager.ttflist}:
        manager.addfont(os.path.join(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))
    for again in (False, True):
        if again and letters:  # Matplotlib's list of fonts may be older than some of them
            for path in set(font_manager.findSystemFonts()) - {f.fname for f in manager.ttflist}:
                with contextlib.suppress(Exception):  # one in a format that it cannot read
                    manager.addfont(path)
        upright = [font for font in manager.ttflist if font.style == "normal"]
        thick = lambda font: font.weight not in (400, "normal", "regular")  # noqa: E731
        for font in sorted(upright, key=lambda font: (font.name not in names, thick(font))):
            if not letters or font.name in tried or font.name.startswith("Last Resort"):
                continue  # the last resort has a box for each letter
            tried.add(font.name)
            with contextlib.suppress(OSError, RuntimeError):  # a file that is gone or damaged
                has = {chr(code) for code in ft2font.FT2Font(font.fname).get_charmap()}
                if letters & has and font.name not in names:
                    names.append(font.name)
                letters = letters - has
    return names, letters


def _font_to_install(missing):
    """A line about letters that no font has, which names a font for each kind of them."""
    fonts = set()
    for letter in missing:
        name = unicodedata.name(letter, "")
        if name.startswith(("CJK", "HANGUL", "HIRAGANA", "KATAKANA", "FULLWIDTH", "IDEOGRAPHIC")):
            fonts.add(("Noto Sans CJK", "fonts-noto-cjk"))
        elif unicodedata.category(letter) == "So":
            fonts.add(("Symbola", "fonts-symbola"))
        else:
            fonts.add(("Noto Sans of this script", "fonts-noto-core"))
    shown = " ".join(sorted(missing)[:10]) + (" ..." if len(missing) > 10 else "")
    names, packages = zip(*sorted(fonts), strict=True)
    return (
        f"No font here has the letters {shown} (boxes in the picture): install "
        f"{' and '.join(names)}, on Debian or Ubuntu by: apt install {' '.join(packages)}"
    )


def plot_losses(
    path: Path, runs: Mapping[str, Iterable[Mapping[str, float]]], unit: str = "nats per token"
) -> str:
    """Draw the losses of one run, or of several to compare, {name: metrics}, as a PNG.

    For one run: the loss of each batch, its running mean, and the validation loss. For several: the
    running mean, as a thin line, and the validation loss of each. Returns what fonts_for gives.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with fonts_for(map(_short, runs) if len(runs) > 1 else []) as note:
        figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
        _draw_losses(figure.subplots(), runs, unit)
        write_atomically(path, FigureCanvasAgg(figure).print_png)
    return note


def _short(name):
    """The name of a run for a legend: of a long one the end; not hidden as names with _ are."""
    name = plain(name)
    name = name if len(name) <= 60 else f"\u2026{name[-59:]}"
    return f" {name}" if name.startswith("_") else name


def _draw_losses(axes, runs, unit):
    last, low, high, largest = 1, [], [], 0
    for number, (name, metrics) in enumerate(runs.items()):
        name = _short(name)
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
        largest = max([largest, *filter(np.isfinite, [*mean, *validation])])
    title = "Loss" if len(runs) == 1 else "Validation loss (dots) and training loss (lines)"
    axes.set(title=title, xlabel="iteration", ylabel=f"cross entropy ({unit})")
    axes.set_xlim(0, last)
    if largest > 100:  # of a run that diverged; on this scale those of others are seen, too
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:,g}")
    else:
        axes.set_ylim(0 if not low or min(low) < 0.5 * max(high, default=0) else None)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def _series(metrics, name):
    pairs = [(m["iteration"], m[name]) for m in metrics if name in m]
    return np.array([x for x, _ in pairs]), np.array([y for _, y in pairs])


def _running_mean(x, y):
    width = max(1, len(y) // 50)
    mean = np.convolve(y, np.ones(width) / width, mode="valid") if len(y) else y
    return x[width // 2 : width // 2 + len(mean)], mean, width
