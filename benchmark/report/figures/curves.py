"""Draw test scores over training: small multiples, a row in colour before the grey baseline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from benchmark.report.board import Board
from benchmark.report.figures import style
from benchmark.report.figures.style import Drawing, wrapped
from benchmark.report.records import Record
from benchmark.report.rows import TaskInfo

GREY = "#9a9a9a"
Curve = tuple[Sequence[float], Sequence[float]]  # epochs and values of one run


def read(record: Record, task: TaskInfo) -> Curve:
    """Return the evaluations of a run during training, and its final score."""
    points = [(p["epoch"], (p.get("test") or {}).get(task.name)) for p in record["curve"]]
    found = [(epoch, value) for epoch, value in points if value is not None]
    if found and found[-1][0] < points[-1][0]:
        found.append((points[-1][0], record["metrics"][task.name][task.metric]))
    return [epoch for epoch, _ in found], [value for _, value in found]


def mean_and_range(runs: Iterable[Curve]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return epochs, mean, least and largest value over runs, (P,) each.

    The epochs are those of the first run within what all runs cover. Runs whose label seeds differ may log at
    other epochs: their values are read off straight lines.
    """
    curves = [curve for curve in runs if len(curve[0])]
    if not curves:
        return (np.empty(0),) * 4
    start, end = max(epochs[0] for epochs, _ in curves), min(epochs[-1] for epochs, _ in curves)
    grid = np.unique(np.clip(curves[0][0], start, end))
    values = np.array([np.interp(grid, epochs, values) for epochs, values in curves])
    return grid, values.mean(0), values.min(0), values.max(0)


def draw(board: Board, drawing: Drawing) -> None:
    """Draw a line of plots for each row, a plot a task."""
    tasks = board.group.tasks
    found = {
        (e.label, t.name): mean_and_range(read(r, t) for r in e.row.records if t.name in r.spec["tasks"])
        for e in style.current(board)
        for t in tasks
    }
    rows = [e for e in style.current(board) if any(len(found[e.label, t.name][0]) for t in tasks)]
    if not rows:
        return drawing.omit("curves", "no evaluation was made during training")
    base = board.baseline if board.baseline in rows else None
    rows = [e for e in drawing.select("curves", rows) if e is not base] or rows
    grey = f"grey: {base.label}" if base else "no grey: the baseline has none"
    what = f"Test scores over training: mean and range over seeds; {grey}"
    with drawing.figure("curves", what, height=0.35 + 0.78 * len(rows)) as fig:
        axes = fig.subplots(len(rows), len(tasks), squeeze=False, sharex=True, sharey="col")
        for entry, line in zip(rows, axes, strict=True):
            for ax, task in zip(line, tasks, strict=True):
                for label, colour in [*([(base.label, GREY)] if base else []), (entry.label, style.COLOUR)]:
                    epochs, mean, low, high = found[label, task.name]
                    ax.plot(epochs, mean, color=colour)
                    ax.fill_between(epochs, low, high, color=colour, alpha=0.18, linewidth=0)
                ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
                ax.yaxis.set_major_locator(MaxNLocator(3))
            name = {"rotation": 0, "ha": "right", "va": "center"}
            line[0].set_ylabel(wrapped(entry.label, 16), **name)
        for ax, task in zip(axes[0], tasks, strict=True):
            ax.set_title(f"{task.title} {task.arrow}".replace(" ", "\n", 1 if len(tasks) > 3 else 0))
        for ax in axes[-1]:
            ax.set_xlabel("epoch")
