"""Training curves: losses and the test metric over training, one line a row, the mean over its seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullLocator

from benchmark.report.board import Board, Entry
from benchmark.report.figures import style
from benchmark.report.figures.style import chosen, heading, wrapped
from benchmark.report.records import Record
from benchmark.report.rows import TaskInfo

MAX_ROWS = 12  # lines that can be told apart


def _rows(board: Board) -> tuple[list[Entry], list[str]]:
    rows = [e for e in board.entries if e.units and not e.row.outdated]
    kept = chosen(rows, MAX_ROWS)
    return kept, [
        f"curves: {e.label} is left out, because only {MAX_ROWS} rows are drawn."
        for e in rows
        if e not in kept
    ]


def _curve(record: Record, kind: str, task: TaskInfo | None, name: str) -> tuple[list[float], list[float]]:
    """Epochs and values of one quantity of one run; a test curve ends in the final score."""
    points = [
        (p["epoch"], p[kind][name]) for p in record["curve"] if (p.get(kind) or {}).get(name) is not None
    ]
    if kind == "test" and points and task and points[-1][0] < record["curve"][-1]["epoch"]:
        points.append((record["curve"][-1]["epoch"], record["metrics"][name][task.metric]))
    return [epoch for epoch, _ in points], [value for _, value in points]


def _running_means(curves: Sequence[list[float]]) -> list[np.ndarray]:
    """Means over a window of a twelfth of a curve: under partial labels a batch may hold no label of a task
    at all.

    Curves of one length are taken together: boards of thousands of runs have few lengths.
    """
    found: dict[int, np.ndarray] = {}
    by_length: dict[int, list[int]] = defaultdict(list)
    for number, curve in enumerate(curves):
        by_length[len(curve)].append(number)
    for length, numbers in by_length.items():
        half, values = length // 24, np.array([curves[n] for n in numbers])
        means = np.stack([values[:, max(0, i - half) : i + half + 1].mean(1) for i in range(length)], 1)
        found |= dict(zip(numbers, means, strict=True))
    return [found[number] for number in range(len(curves))]


def _mean_curve(
    curves: Iterable[tuple[list[float], list[float]]], smooth: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Epochs (P,), mean (P,) and range (2, P) over runs, within the epochs that all of them cover. smooth: of
    running means.

    Runs of a row may be logged at different epochs, when label seeds differ in how many images a run may use:
    values are read off the straight lines between the points.
    """
    found: list[tuple[list[float], Any]] = [curve for curve in curves if curve[0]]
    if not found:
        return np.empty(0), np.empty(0), np.empty((2, 0))
    start, end = max(x[0] for x, _ in found), min(x[-1] for x, _ in found)
    if smooth:
        found = list(zip((x for x, _ in found), _running_means([y for _, y in found]), strict=True))
    points = sorted({min(max(epoch, start), end) for epoch in found[0][0]})
    grid = np.array(points)
    values = np.array([y if x == points else np.interp(grid, x, y) for x, y in found])
    return grid, values.mean(0), np.stack([values.min(0), values.max(0)])


def _lines(
    board: Board, ax: Axes, rows: list[Entry], kind: str, name: str, task: TaskInfo | None = None
) -> list[Entry]:
    """Draw one quantity of every row that has it; return those rows."""
    palette, dashes, drawn = style.colours(board), style.dashes(board), []
    for entry in rows:
        x, mean, span = _mean_curve(
            (_curve(record, kind, task, name) for record in entry.row.records), kind == "loss"
        )
        if len(x):
            ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
            drawn.append(entry)
            ax.plot(
                x,
                mean,
                dashes[entry.label],
                color=palette[entry.label],
                marker="o" if len(x) < 8 else None,
                markersize=2.5,
            )
            # Bands of many rows lie on each other: the more, the fainter, or they hide the lines.
            ax.fill_between(
                x, *span, color=palette[entry.label], alpha=min(0.15, 0.6 / len(rows)), linewidth=0
            )
    return drawn


def _logarithmic(ax: Axes) -> None:
    """A logarithmic axis where all values allow it: losses fall by factors, and one early spike would hide
    the rest.
    """
    if ax.lines and min(float(np.min(np.asarray(line.get_ydata()))) for line in ax.lines) > 0:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        ax.yaxis.set_minor_locator(NullLocator())


def legend(fig: Figure, board: Board, rows: list[Entry]) -> None:
    """The rows' lines below a figure."""
    palette, dashes = style.colours(board), style.dashes(board)
    handles = [
        Line2D([], [], color=palette[e.label], linestyle=dashes[e.label], label=wrapped(e.label, 40))
        for e in rows
    ]
    short = sum(len(e.label) + 6 for e in rows) < 15 * fig.get_figwidth()
    fig.legend(
        handles=handles,
        loc="outside lower center",
        ncols=len(handles) if short else max(1, int(fig.get_figwidth() // 2)),
    )


def training(board: Board, folder: Path) -> tuple[list[Path], list[str]]:
    """Above: each task's training loss. Below: its primary metric on the test images."""
    rows, notes = _rows(board)
    tasks = board.group.tasks
    if not any(r["curve"] for e in rows for r in e.row.records):
        return [], ["curves: no record holds a training curve."]
    tested = any(p.get("test") for e in rows for r in e.row.records for p in r["curve"])
    kinds = ("loss", "test") if tested else ("loss",)
    notes += (
        []
        if tested
        else ["curves: the test metric is left out, because no evaluation was made during training."]
    )
    # More than three tasks take a second pair of lines, so that each plot stays readable.
    across = min(3, len(tasks))
    bands = -(-len(tasks) // across)
    with style.figure(style.WIDTH, 1.05 + 1.55 * len(kinds) * bands) as fig:
        axes = fig.subplots(len(kinds) * bands, across, squeeze=False, sharex=True)
        for ax in axes.flat:
            ax.set_visible(False)
        for i, task in enumerate(tasks):
            for k, kind in enumerate(kinds):
                ax = axes[(i // across) * len(kinds) + k, i % across]
                ax.set_visible(True)
                _lines(board, ax, rows, kind, task.name, task)
                if kind == "loss":
                    _logarithmic(ax)
                    ax.set_title(f"{task.name}: training loss")
                else:
                    ax.set_title(
                        f"{task.name}: test {task.metric}{f' ({task.unit})' if task.unit else ''} "
                        f"{task.arrow}"
                    )
                last = k == len(kinds) - 1
                ax.tick_params(labelbottom=last)
                ax.set_xlabel("epoch" if last else "")
        legend(fig, board, rows)
        what = (
            "Training curves: mean and range over seeds. Training losses are running means, as minimised "
            "(scaled by the number "
            "of labels in the batch): their level is not a test error"
        )
        style.add_title(fig, heading(board, what))
        return style.save(fig, folder / "curves"), notes


def extras(board: Board, folder: Path) -> tuple[list[Path], list[str]]:
    """The losses beside the tasks' own, such as regularisers: one plot a term."""
    rows, _ = _rows(board)
    known = {t.name for t in board.group.tasks}
    terms: dict[str, set[str]] = defaultdict(set)
    for entry in rows:
        for record in entry.row.records:
            for name in {name for point in record["curve"] for name in point["loss"]} - known:
                terms[name].add(entry.label)
    if not terms:
        return [], ["extra_losses: no row has a loss beside the tasks' own."]
    across = min(3, len(terms))
    down = -(-len(terms) // across)
    width = max(3.5, style.WIDTH * across / 3)
    with style.figure(width, 1.0 + 1.5 * down) as fig:
        axes = fig.subplots(down, across, squeeze=False)
        for ax in axes.flat[len(terms) :]:
            ax.set_visible(False)
        drawn: dict[str, Entry] = {}
        for ax, name in zip(axes.flat, sorted(terms), strict=False):
            drawn |= {e.label: e for e in _lines(board, ax, rows, "loss", name)}
            ax.set_title(f"loss {name}, weighted")
            ax.set_xlabel("epoch")
        legend(fig, board, [e for e in rows if e.label in drawn])
        what = heading(board, "Losses beside the tasks' own, running means: mean and range over seeds", width)
        style.add_title(fig, what)
        return style.save(fig, folder / "extra_losses"), []
