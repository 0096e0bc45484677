"""The pictures of the tour: boxes with arrows, curves, and tables of numbers as colors.

Each function writes a PNG on a white background, so that it can be read on a dark page, too. It
returns a Picture, which Jupyter shows when it is the last line of a cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Picture", "draw_boxes", "draw_curves", "draw_history", "draw_tables"]

_WIDTH = 6.4  # inches; 830 dots, the width of a page on GitHub
_FILLS = {"made": "#dbe9f6", "given": "#fdf0d5"}


class Picture:
    """A PNG file that was drawn."""

    def __init__(self, path: str):
        self.path = Path(path)

    def _repr_png_(self):
        return self.path.read_bytes()


def _figure(height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(_WIDTH, height), dpi=130, layout="constrained", facecolor="white")


def _save(figure, path):
    figure.savefig(path)
    return Picture(path)


def draw_history(path: str, value: Any, names: Mapping[str, Any]) -> Picture:
    """Draw how a value of the tour's engine was made: every value that it was made from.

    `names` are the names of some of the values. A value that has a `grad` other than zero is shown
    with it.
    """
    found, arrows = [value], []
    for made in found:
        for parent in made.parents:
            if parent not in found:
                found.append(parent)
            arrows.append((parent, made))
    called = {id(v): name for name, v in names.items()}
    labels = []
    for v in found:
        name = " = ".join(word for word in (called.get(id(v)), v.step) if word)
        grad = getattr(v, "grad", 0)
        labels.append(f"{name}\n{v.data:g}" + (f"\ngrad {grad:g}" if grad else ""))
    return _draw(path, labels, [(found.index(a), found.index(b)) for a, b in arrows])


def draw_boxes(path: str, made_from: Mapping[str, Sequence[str]]) -> Picture:
    """Draw boxes with arrows: `made_from` says from which other boxes each one is made."""
    labels = [*dict.fromkeys([n for made in made_from.values() for n in made] + [*made_from])]
    arrows = [(labels.index(a), labels.index(b)) for b, made in made_from.items() for a in made]
    return _draw(path, labels, arrows)


def _draw(path, labels, arrows):
    column = [0] * len(labels)  # of each box: one right of everything it is made from
    for _ in labels:
        for a, b in arrows:
            column[b] = max(column[b], column[a] + 1)
    for i in range(len(labels)):  # what is given stands beside its first use
        uses = [column[b] for a, b in arrows if a == i]
        if uses and i not in {b for _, b in arrows}:
            column[i] = min(uses) - 1
    places = {}
    for c in range(max(column) + 1):
        inside = [i for i, of in enumerate(column) if of == c]
        inside.sort(key=lambda i: np.mean([0, *(places[a][1] for a, b in arrows if b == i)]))
        for row, i in enumerate(inside):
            places[i] = (c, row - (len(inside) - 1) / 2)
    rows = max(column.count(c) for c in column)
    figure = _figure(0.7 + 0.75 * rows)
    axes = figure.subplots()
    axes.set(xlim=(-0.5, max(column) + 0.5), ylim=(rows / 2, -rows / 2))
    axes.set_axis_off()
    for i, label in enumerate(labels):
        kind = "made" if any(b == i for _, b in arrows) else "given"
        box = {"boxstyle": "round,pad=0.4", "facecolor": _FILLS[kind], "edgecolor": "#555555"}
        axes.text(*places[i], label, ha="center", va="center", bbox=box, fontsize=9, zorder=2)
    for n, (a, b) in enumerate(arrows):
        bend = 0.5 if (a, b) in arrows[:n] or column[b] - column[a] > 1 else 0.0
        axes.annotate("", places[b], places[a], zorder=1, arrowprops={
            "arrowstyle": "-|>", "color": "#555555", "shrinkA": 16, "shrinkB": 26,
            "connectionstyle": f"arc3,rad={-bend}"})  # fmt: skip
    return _save(figure, path)


def draw_curves(
    path: str, curves: Mapping[str, tuple[Any, Any]], x: str = "", y: str = "", log: bool = False,
    height: float = 3.2,
) -> Picture:  # fmt: skip
    """Draw curves {name: (x, y)}; those whose name ends in "points" as points, "floor" dashed."""
    figure = _figure(height)
    axes = figure.subplots()
    for name, (along, values) in curves.items():
        style = "o" if name.endswith("points") else "--" if name.endswith("floor") else "-"
        axes.plot(along, values, style, label=name, markersize=3)
    axes.set(xlabel=x, ylabel=y)
    if log:
        axes.set(xscale="log", yscale="log")
    axes.grid(alpha=0.3)
    if len(curves) > 1:
        axes.legend()
    return _save(figure, path)


def draw_tables(
    path: str, tables: Mapping[str, Any], rows: Sequence[str] = (), columns: Sequence[str] = (),
    height: float = 1.4, form: str = ".2f",
) -> Picture:  # fmt: skip
    """Draw tables of numbers beside each other, darker for more; a number below 0.005 is left out.

    `rows` and `columns` are the labels of all tables, `form` is the format of the numbers.
    """
    grids = [np.atleast_2d(table) for table in tables.values()]
    most = max(grid.max() for grid in grids)
    figure = _figure(height)
    widths = [grid.shape[1] for grid in grids]
    axes = np.ravel(figure.subplots(1, len(grids), width_ratios=widths))
    for n, (ax, title, grid) in enumerate(zip(axes, tables, grids, strict=True)):
        ax.imshow(grid, cmap="Blues", vmin=0, vmax=1.1 * most, aspect="auto" if rows else "equal")
        ax.set_title(title, fontsize=10)
        ax.set_xticks(range(len(columns)), columns, rotation=90, fontsize=8)
        ax.set_yticks(range(len(rows)), rows if n == 0 else [""] * len(rows), fontsize=8)
        ax.tick_params(length=0)
        for (i, j), number in np.ndenumerate(grid):
            if number >= 0.005 and form:
                color = "white" if number > 0.6 * most else "black"
                ax.text(j, i, f"{number:{form}}", ha="center", va="center", color=color, fontsize=7)
    return _save(figure, path)
