"""What methods say of themselves over training: matrices from the first step to the last, and scalars as
lines.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from benchmark.report.board import Board, Entry
from benchmark.report.figures import curves, style
from benchmark.report.figures.style import chosen, heading, wrapped
from benchmark.report.records import Record

MAX_MATRICES = 6  # rows of a board
MAX_LINES, MAX_PLOTS = 12, 15
LABELLED = 12  # names along a side of a matrix at most
GAP = 0.5  # between two matrices, in cells
_DIMENSIONS = {"scalar": 1, "matrix": 3}


@dataclass(frozen=True)
class _Course:
    """A row's diagnostic over training: epochs (P,) and the values (n, P, *shape) of n runs. labels, axes: as
    in a record.
    """

    entry: Entry
    epochs: np.ndarray
    values: np.ndarray
    labels: list[list[str]]
    axes: list[str]

    @property
    def diagonal(self) -> np.ndarray | None:
        """(n, P) share of the diagonal in all of a matrix between things and themselves; None where that
        means nothing.
        """
        square = len(self.labels) == 2 and self.labels[0] == self.labels[1] and len(self.labels[0]) > 1
        if not square or not ((self.values >= 0).all() and self.values.any((2, 3)).all()):
            return None
        share: np.ndarray = self.values.diagonal(axis1=2, axis2=3).sum(2) / self.values.sum((2, 3))
        return share


def evolution(board: Board, folder: Path) -> tuple[list[Path], list[str]]:
    """Each diagnostic of kind matrix over training, a figure a name; those of kind scalar in one figure, a
    plot a name.
    """
    found, notes = _courses([e for e in board.entries if not e.row.outdated])
    if not any(found.values()):
        return [], [*notes, "evolution: no record has snapshots of diagnostics beside it."]
    files = []
    for name, courses in sorted(found["matrix"].items()):
        drawn, left_out = _matrices(board, name, courses, folder)
        files += drawn
        notes += left_out
    drawn, left_out = _scalars(board, found["scalar"], folder)
    return files + drawn, notes + left_out


def _courses(rows: Sequence[Entry]) -> tuple[dict[str, dict[str, list[_Course]]], list[str]]:
    """{kind: {diagnostic: its courses, one for each row that has it}}"""
    found: dict[str, dict[str, list[_Course]]] = {kind: defaultdict(list) for kind in _DIMENSIONS}
    notes = []
    for entry in rows:
        runs = [
            record for record in entry.row.records if record["diagnostics"]
        ]  # others have no snapshots to be read
        for name in sorted({name for record in runs for name in record["diagnostics"]}):
            held = [
                record for record in runs if name in record["diagnostics"] and name in record.snapshots[1]
            ]
            alike = {_shape(record, name) for record in held}
            if len(alike) > 1 or None in alike:
                notes.append(
                    f"evolution of {name}: {entry.label} is left out, because its runs' snapshots are not "
                    f"alike."
                )
            elif held:
                diagnostic = held[0]["diagnostics"][name]
                epochs, values = _aligned(
                    [(record.snapshots[0], record.snapshots[1][name]) for record in held]
                )
                course = _Course(
                    entry, epochs, values, diagnostic.get("labels") or [], diagnostic.get("axes") or []
                )
                found[diagnostic["kind"]][name].append(course)
    return found, notes


def _shape(record: Record, name: str) -> tuple[Any, ...] | None:
    """What the runs of a row must share for a mean over them; None where the snapshots are not of the
    record's kind.
    """
    diagnostic, values = record["diagnostics"][name], record.snapshots[1][name]
    if values.ndim != _DIMENSIONS.get(diagnostic["kind"]):
        return None
    return (diagnostic["kind"], values.shape[1:], str(diagnostic.get("labels")), tuple(record.spec["tasks"]))


def _aligned(runs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Epochs (P,) of the first run within those that all cover, and values (n, P, *shape) read off straight
    lines between
    points: runs of a row may differ in how many steps an epoch has."""
    start, end = max(epochs[0] for epochs, _ in runs), min(epochs[-1] for epochs, _ in runs)
    grid = np.unique(np.clip(runs[0][0], start, end))

    def on_grid(epochs: np.ndarray, values: np.ndarray) -> np.ndarray:
        if np.array_equal(epochs, grid):
            return values
        flat = [np.interp(grid, epochs, element) for element in values.reshape(len(values), -1).T]
        return np.stack(flat, 1).reshape(len(grid), *values.shape[1:])

    return grid, np.stack([on_grid(*run) for run in runs])


def _matrices(board: Board, name: str, courses: list[_Course], folder: Path) -> tuple[list[Path], list[str]]:
    """A line of matrices a row, and below all the share of their diagonals."""
    stem = "evolution_" + re.sub(r"[^A-Za-z0-9._-]+", "-", name)
    kept = {entry.label for entry in chosen([course.entry for course in courses], MAX_MATRICES)}
    left = [course.entry.label for course in courses if course.entry.label not in kept]
    notes = [f"{stem}: {label} is left out, because only {MAX_MATRICES} rows are drawn." for label in left]
    courses = [course for course in courses if course.entry.label in kept]
    shares = [(c, share) for c in courses if (share := c.diagonal) is not None]
    what = f"{name} over training, mean over seeds"
    if courses[0].axes:
        what += f"; lines: {courses[0].axes[0]}, columns: {courses[0].axes[1]}"
    what = heading(board, what)
    heights = [0.5 + max(0.55, 0.12 * c.values.shape[2]) for c in courses] + [1.35] * bool(shares)
    with style.figure(style.WIDTH, 0.75 + 0.14 * what.count("\n") + sum(heights)) as fig:
        axes = list(fig.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0])
        look = style.matrix_look([c.values.mean(0) for c in courses])
        for ax, course in zip(axes, courses, strict=False):
            image = _strip(ax, course, look)
        for ax, course, after in zip(axes, courses, [*courses[1:], None], strict=False):
            if after is None or after.labels != course.labels:
                _name_columns(ax, course)
        fig.colorbar(image, ax=axes[: len(courses)], aspect=9 * len(courses), pad=0.02)
        if shares:
            ax, sizes = axes[-1], {len(c.labels[0]) for c, _ in shares}
            for course, share in shares:
                _line(ax, board, course, share)
            for size in sorted(sizes):
                ax.axhline(1 / size, color=style.REFERENCE_COLOUR, linewidth=0.9)
            ax.set_title("share on the diagonal, mean and range over seeds; grey line: all cells alike")
            ax.set_xlabel("epoch")
            curves.legend(fig, board, [c.entry for c, _ in shares])
        style.add_title(fig, what)
        return style.save(fig, folder / stem), notes


def _strip(ax: Axes, course: _Course, look: dict[str, Any]) -> AxesImage:
    """The matrices of one row side by side, each under its epoch."""
    lines, columns = course.values.shape[2:]
    for i, (epoch, matrix) in enumerate(zip(course.epochs, course.values.mean(0), strict=True)):
        left = i * (columns + GAP)
        image = ax.imshow(matrix, aspect="auto", extent=(left, left + columns, lines, 0), **look)
        text = f"{epoch:.1g}" if epoch < 0.1 else f"{epoch:.1f}".removesuffix(".0")
        said = f"epoch {text}" if i == 0 else text
        ax.text(left + columns / 2, -0.06 * lines, said, ha="center", va="bottom", fontsize=7)
    ax.set_xlim(0, len(course.epochs) * (columns + GAP) - GAP)
    ax.set_ylim(lines, 0)
    ax.set_xticks([])
    names = course.labels[0] if course.labels else []
    ax.set_yticks(np.arange(lines) + 0.5, names) if len(names) == lines <= LABELLED else ax.set_yticks([])
    ax.tick_params(length=0, labelsize=6.5)
    ax.set_title(f"{wrapped(course.entry.label, 90)}, n={len(course.values)}", pad=14)
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return image


def _name_columns(ax: Axes, course: _Course) -> None:
    """The names of the columns, below the first matrix."""
    columns = course.values.shape[3]
    names = course.labels[1] if len(course.labels) > 1 else []
    if len(names) == columns <= LABELLED:
        ax.set_xticks(np.arange(columns) + 0.5, names, rotation=90)


def _line(ax: Axes, board: Board, course: _Course, values: np.ndarray) -> None:
    """The mean of values (n, P) over runs as a line, and their range as a band."""
    colour, dash = style.colours(board)[course.entry.label], style.dashes(board)[course.entry.label]
    ax.plot(course.epochs, values.mean(0), dash, color=colour, marker="o", markersize=2.5)
    ax.fill_between(course.epochs, values.min(0), values.max(0), color=colour, alpha=0.15, linewidth=0)
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True))


def _widen(ax: Axes) -> None:
    """Let an axis of values span a twentieth of them at least: what hardly moves is to look flat."""
    low, top = ax.get_ylim()
    missing = 0.05 * max(abs(low), abs(top)) - (top - low)
    if missing > 0:
        ax.set_ylim(low - missing / 2, top + missing / 2)


def _scalars(board: Board, found: dict[str, list[_Course]], folder: Path) -> tuple[list[Path], list[str]]:
    """A plot a diagnostic, first those that most rows have."""
    if not found:
        return [], ["evolution: no record has snapshots of a diagnostic of kind scalar beside it."]
    order = sorted(found, key=lambda name: (-len(found[name]), name))
    notes = [
        f"evolution: {name} is left out, because only {MAX_PLOTS} diagnostics are drawn."
        for name in order[MAX_PLOTS:]
    ]
    order = order[:MAX_PLOTS]
    held = {course.entry.label for name in order for course in found[name]}
    entries = [entry for entry in board.entries if entry.label in held]
    rows = chosen(entries, MAX_LINES)
    notes += [
        f"evolution: {e.label} is left out, because only {MAX_LINES} rows are drawn."
        for e in entries
        if e not in rows
    ]
    across = min(3, len(order))
    down = -(-len(order) // across)
    width = style.WIDTH * max(2, across) / 3  # a title needs that much
    with style.figure(width, 0.9 + 0.14 * len(rows) + 1.4 * down) as fig:
        axes = fig.subplots(down, across, squeeze=False)
        for ax in axes.flat[len(order) :]:
            ax.set_visible(False)
        for i, (ax, name) in enumerate(zip(axes.flat, order, strict=False)):
            for course in found[name]:
                if course.entry in rows:
                    _line(ax, board, course, course.values)
            _widen(ax)
            ax.set_title(wrapped(name, 33))
            ax.set_xlabel("epoch" if i + across >= len(order) else "")
        curves.legend(fig, board, rows)
        style.add_title(
            fig,
            heading(board, "Diagnostics over training on a fixed batch: mean and range over seeds", width),
        )
        return style.save(fig, folder / "evolution"), notes
