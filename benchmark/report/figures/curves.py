"""Draw losses, test metrics and scalar diagnostics over training, a line a row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullLocator

from benchmark.report.board import Board, Entry
from benchmark.report.figures import style
from benchmark.report.figures.style import Drawing, Look, wrapped
from benchmark.report.records import Record

MAX_DIAGNOSTICS = 15
ACROSS = 3  # plots in a line
_MEAN = "mean and range over seeds"

Curve = tuple[Sequence[float], Sequence[float]]  # epochs and values of one run


class Plot(NamedTuple):
    """A quantity of runs. loss: drawn as running means on a logarithmic axis where it can be."""

    title: str
    read: Callable[[Record], Curve]
    loss: bool = False


def _points(record: Record, kind: str, name: str) -> Curve:
    """The values of one name in the points of a run's curve; kind: `loss`, `test` or `diagnostics`."""
    values = [(p["epoch"], (p.get(kind) or {}).get(name)) for p in record["curve"]]
    points = [(epoch, value) for epoch, value in values if value is not None]
    return [epoch for epoch, _ in points], [value for _, value in points]


def _loss(name: str, title: str) -> Plot:
    return Plot(title, lambda record: _points(record, "loss", name), loss=True)


def _test(task: str, metric: str, title: str) -> Plot:
    """The evaluations during training, and the final score."""

    def read(record: Record) -> Curve:
        epochs, values = _points(record, "test", task)
        end = [point["epoch"] for point in record["curve"]][-1:]
        if epochs and epochs[-1] < end[0]:
            return [*epochs, *end], [*values, record["metrics"][task][metric]]
        return epochs, values

    return Plot(title, read)


def _scalars(record: Record) -> dict[str, Curve]:
    """Scalar diagnostics over training; records of before have them in snapshots beside them."""
    names = {name for point in record["curve"] for name in point.get("diagnostics", {})}
    if names or not record["diagnostics"]:
        return {name: _points(record, "diagnostics", name) for name in names}
    epochs, held = record.snapshots
    return {name: (epochs.tolist(), values.tolist()) for name, values in held.items() if values.ndim == 1}


def running_mean(values: Sequence[float]) -> np.ndarray:
    """Average over a twelfth of a curve; a batch may hold no label of a task at all."""
    window = 2 * (len(values) // 24) + 1
    return pd.Series(values).rolling(window, center=True, min_periods=1).mean().to_numpy()


def mean_and_range(
    runs: Iterable[Curve], smooth: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return epochs, mean, least and largest value over runs, (P,) each.

    The epochs are those of the first run within what all runs cover. Runs whose label seeds differ may log at
    other epochs: their values are read off straight lines. smooth: of running means.
    """
    curves = [(epochs, running_mean(values) if smooth else values) for epochs, values in runs if len(epochs)]
    if not curves:
        return (np.empty(0),) * 4
    start, end = max(epochs[0] for epochs, _ in curves), min(epochs[-1] for epochs, _ in curves)
    grid = np.unique(np.clip(curves[0][0], start, end))
    values = np.array([np.interp(grid, epochs, values) for epochs, values in curves])
    return grid, values.mean(0), values.min(0), values.max(0)


def _lines(ax: Axes, looks: dict[str, Look], rows: list[Entry], plot: Plot) -> set[str]:
    """Draw a quantity of all rows that have it; return their labels."""
    drawn = set()
    for entry in rows:
        epochs, mean, low, high = mean_and_range(map(plot.read, entry.row.records), plot.loss)
        if len(epochs):
            look, marker = looks[entry.label], "o" if len(epochs) <= 8 else None
            ax.plot(epochs, mean, **look, marker=marker, markersize=2.5)
            faint = min(0.15, 0.6 / len(rows))  # the more rows, the fainter, or bands hide the lines
            ax.fill_between(epochs, low, high, color=look["color"], alpha=faint, linewidth=0)
            drawn.add(entry.label)
    ax.set_title(plot.title)
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    ax.set_xlim(left=0)
    values = [float(v) for line in ax.lines for v in np.asarray(line.get_ydata())]
    if plot.loss and values and 0 < 2 * min(values) < max(values):
        ax.set_yscale("log")  # an early spike would hide the rest
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        ax.yaxis.set_minor_locator(NullLocator())
    else:  # what hardly moves is to look flat
        bottom, top = ax.get_ylim()
        missing = max(0.0, 0.05 * max(abs(bottom), abs(top)) - (top - bottom))
        ax.set_ylim(bottom - missing / 2, top + missing / 2)
    return drawn


def draw(board: Board, drawing: Drawing) -> None:
    """Draw losses and test scores, further losses, and what methods report of themselves."""
    rows, tasks = style.current(board), board.group.tasks
    points = [p for e in rows for r in e.row.records for p in r["curve"]]
    plots = [_loss(t.name, f"training loss of {t.name}") for t in tasks if points]
    if any(p.get("test") for p in points):
        plots += [_test(t.name, t.metric, f"test {t.title} {t.arrow}") for t in tasks]
    elif points:
        drawing.omit("curves", "the test metric is left out, because no evaluation was made during training")
    what = (
        f"Training curves: {_MEAN}. Training losses are running means, as minimised (scaled by the number of "
        "labels in the batch): their level is not a test error"
    )
    across = len(tasks) if len(tasks) <= ACROSS else min(ACROSS, -(-len(tasks) // 2))  # tests below losses
    _draw(board, drawing, "curves", what, plots, "no record holds a training curve", across)

    further = sorted({name for p in points for name in p["loss"]} - {t.name for t in tasks})
    plots = [_loss(name, f"loss {name}, weighted") for name in further]
    what = f"Losses besides the tasks' own, running means: {_MEAN}"
    _draw(board, drawing, "extra_losses", what, plots, "no row has a loss besides the tasks' own")

    scalars = {r.id: _scalars(r) for e in rows for r in e.row.records}
    held = [name for e in rows for name in {n for r in e.row.records for n in scalars[r.id]}]
    names = sorted(set(held), key=lambda name: (-held.count(name), name))  # first what most rows have
    for name in names[MAX_DIAGNOSTICS:]:
        drawing.omit("diagnostics", f"{name} is left out, because only {MAX_DIAGNOSTICS} are drawn")

    def read(record: Record, name: str) -> Curve:
        return scalars[record.id].get(name, ([], []))

    plots = [Plot(wrapped(name, 33), partial(read, name=name)) for name in names[:MAX_DIAGNOSTICS]]
    what = f"Diagnostics over training: {_MEAN}"
    _draw(board, drawing, "diagnostics", what, plots, "no record holds scalar diagnostics over training")


def _draw(
    board: Board,
    drawing: Drawing,
    name: str,
    what: str,
    plots: Sequence[Plot],
    absent: str,
    across: int = ACROSS,
) -> None:
    """Draw plots in lines of `across`, or fewer; without any, say that they are absent."""
    if not plots:
        return drawing.omit(name, absent)
    rows, across = drawing.select(name, style.current(board)), min(across, len(plots))
    looks, drawn = style.board_looks(board), set[str]()
    down, width = -(-len(plots) // across), style.WIDTH * max(2, across) / ACROSS  # a title needs two plots
    with drawing.figure(name, what, width=width, height=1.5 * down) as fig:
        axes = fig.subplots(down, across, squeeze=False).flat
        for i, (ax, plot) in enumerate(zip(axes, plots, strict=False)):
            drawn |= _lines(ax, looks, rows, plot)
            ax.set_xlabel("epoch" if i + across >= len(plots) else "")
        style.legend_of_rows(fig, looks, [e.label for e in rows if e.label in drawn])
