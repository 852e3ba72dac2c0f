"""Label-budget curves: boards that differ in their labels alone, over the share of labels that a method may
see.
"""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmark.report.board import Board, Entry
from benchmark.report.figures import style
from benchmark.report.figures.limits import limits
from benchmark.report.naming import file_name, protocol_title
from benchmark.report.rows import Group, TaskInfo, canonical, row_label

FIGURE = "budget"
MAX_ROWS = 12  # lines that can be told apart
_DODGE = 0.05  # of the axis, from the interval of the first to that of the last row at one share


@dataclass(frozen=True)
class Family:
    """Boards of one protocol and variant. curve: {share of labels: boards, the one to prefer first}, two
    shares or more. apart: [(share, board)] of the settings that spread their labels another way over tasks
    and images."""

    curve: dict[float, list[Board]]
    apart: list[tuple[float, Board]]

    @property
    def group(self) -> Group:
        return self.curve[max(self.curve)][0].group

    @property
    def name(self) -> str:
        """The folder of its figure. No label setting is called budget, so it is the name of no board."""
        return file_name(replace(self.group, labels=FIGURE))

    @cached_property
    def _specs(self) -> list[dict[str, Any]]:
        boards = [*(b for members in self.curve.values() for b in members), *(b for _, b in self.apart)]
        return [e.row.records[0].spec for b in boards for e in b.entries if shown(e)]

    def label(self, entry: Entry) -> str:
        """What tells a row from the others of the family: a board's own labels say no more than that board
        needs.
        """
        spec = entry.row.records[0].spec
        return row_label(spec, [s for s in self._specs if s["method"] == spec["method"]])


def shown(entry: Entry) -> bool:
    return bool(entry.units) and not entry.row.outdated


def families(boards: Sequence[Board]) -> list[Family]:
    """The families of these boards that have a curve, in the order of the boards."""
    keyed: dict[str, list[Board]] = defaultdict(list)
    for board in boards:
        keyed[canonical([board.group.protocol, board.group.dataset, board.group.variant])].append(board)
    found = []
    for members in keyed.values():
        curve: dict[float, list[Board]] = defaultdict(list)
        # Those that draw their labels first: where both are there, the seeds of `full` vary training alone.
        for board in sorted(members, key=lambda b: b.group.labels == "full"):
            share = _share(board.group.labels)
            if share and any(shown(e) for e in board.entries):
                curve[share].append(board)
        if len(curve) > 1:
            largest = max(curve)
            counts = {task: count / largest for task, count in _visible(curve[largest][0]).items()}
            spread = [
                (board, _visible(board)) for board in members if board.group.labels in ("one", "random")
            ]
            apart = [
                (float(np.mean([seen[t] / n for t, n in counts.items() if n])), b)
                for b, seen in spread
                if seen.keys() >= counts.keys()
            ]
            found.append(Family(dict(sorted(curve.items())), apart))
    return found


def _share(labels: str) -> float | None:
    """The share of each task's labels that a setting shows, None where it is not the same for all tasks and
    seeds.
    """
    return (
        1.0
        if labels == "full"
        else float(labels.partition(":")[2])
        if labels.startswith("fraction:")
        else None
    )


def _visible(board: Board) -> dict[str, float]:
    """{task: its visible labels, the mean over runs}"""
    counts: dict[str, list[int]] = defaultdict(list)
    for record in (r for e in board.entries for r in e.row.records):
        for task, count in record["label_counts"].items():
            counts[task].append(count)
    return {task: float(np.mean(found)) for task, found in counts.items()}


def draw(boards: Sequence[Board], figures: Path) -> tuple[list[Path], list[str]]:
    """A figure a family below `figures`, in a folder of the family's name: each task's metric and delta m by
    share.
    """
    files: list[Path] = []
    notes: list[str] = []
    found = families(boards)
    if not found:
        return [], [
            f"{FIGURE}: no two boards differ in the share of labels alone; runs under fraction:P make them."
        ]
    for family in found:
        labels, left_out = _rows(family)
        notes += [
            f"{family.name}: {label} is left out, because only {MAX_ROWS} rows are drawn."
            for label in left_out
        ]
        folder = figures / family.name
        folder.mkdir(parents=True, exist_ok=True)
        files += _figure(family, labels, folder / FIGURE)
    return files, notes


def _rows(family: Family) -> tuple[list[str], list[str]]:
    """The labels of the rows that are drawn, best first on the boards with the most labels, and of those left
    out.
    """
    boards = [board for _, members in sorted(family.curve.items(), reverse=True) for board in members]
    found = [e for b in boards for e in b.entries if shown(e)]
    kept = list(dict.fromkeys(family.label(e) for e in sorted(found, key=lambda e: e.role == "")))[:MAX_ROWS]
    every = list(dict.fromkeys(map(family.label, found)))
    return [label for label in every if label in kept], [label for label in every if label not in kept]


def _entry(family: Family, boards: Sequence[Board], label: str) -> Entry | None:
    return next((e for b in boards for e in b.entries if shown(e) and family.label(e) == label), None)


def _points(family: Family, label: str, apart: bool = False) -> Iterator[tuple[float, Entry]]:
    """The shares at which a row has seeds, with the row there."""
    where = [(share, [board]) for share, board in family.apart] if apart else [*family.curve.items()]
    for share, boards in where:
        entry = _entry(family, boards, label)
        if entry:
            yield share, entry


def _figure(family: Family, labels: list[str], stem: Path) -> list[Path]:
    g = family.group
    reference = next(
        (family.label(b.reference) for bs in family.curve.values() for b in bs if b.reference), ""
    )
    looks = style.looks(labels, reference)
    plots: list[TaskInfo | None] = [*g.tasks, None]
    across = 2 if len(plots) in (2, 4) else 3
    down = -(-len(plots) // across)
    against = any(e.beside.against.full_labels for label in labels for _, e in _points(family, label))
    what = (
        f"Label budget: what each share of the labels gives. Bands: range over seeds. Δm: against "
        f"{g.protocol['reference']} on "
        f"all labels, with 95 % intervals, cut at the frame"
    )
    apart = sorted({board.group.labels for _, board in family.apart})
    if apart:
        what += f". Hollow: labels {' and '.join(repr(name) for name in apart)}, at their mean share"
    about = f"{protocol_title(g.protocol)}: {g.variant}"
    title = "\n".join(line for part in (what, about) for line in textwrap.wrap(part, int(style.WIDTH * 15)))
    beside = next(n for n in (4, 3, 2) if n == 2 or max(map(len, labels)) * n < 90)
    lines = -(-len(labels) // beside)
    with style.figure(style.WIDTH, 0.5 + 0.14 * title.count("\n") + 1.9 * down + 0.17 * lines) as fig:
        axes = fig.subplots(down, across, squeeze=False)
        for ax in axes.flat[len(plots) :]:
            ax.set_visible(False)
        for ax, task in zip(axes.flat, plots, strict=False):
            for i, label in enumerate(labels):
                shift = _DODGE * (i / max(len(labels) - 1, 1) - 0.5)
                _line(ax, family, label, task, looks[label], shift)
            _axis(ax, family, task is None)
            if task:
                ax.set_title(f"{task.title} {task.arrow}")
            elif against:
                ax.axhline(0, color=style.REFERENCE_COLOUR, linewidth=0.8, zorder=1)
                ax.set_title("Δm (%) ↑")
            else:
                style.hide(ax)
                ax.text(0, 0.5, f"no Δm: {g.protocol['reference']}\non all labels is absent", fontsize=7.5)
        handles = [
            Line2D([], [], color=looks[n].colour, linestyle=looks[n].dash, label=style.wrapped(n, 45))
            for n in labels
        ]
        fig.legend(handles=handles, loc="outside lower center", ncols=beside)
        style.add_title(fig, title)
        return style.save(fig, stem)


def _line(
    ax: Axes, family: Family, label: str, task: TaskInfo | None, look: style.Look, shift: float
) -> None:
    """One row's metric of a task with the range over its seeds, or its delta m against all labels with its
    interval.
    """
    shares = [*family.curve, *(share for share, _ in family.apart)]
    dodge = (max(shares) / min(shares)) ** shift
    for apart in (False, True):
        points = ((share, _value(entry, task)) for share, entry in _points(family, label, apart))
        found = [(share, *values) for share, values in points if values]
        if not found:
            continue
        x, value, low, high = (np.array(column, dtype=float) for column in zip(*found, strict=True))
        marks = {
            "marker": "o",
            "markersize": 3.5,
            "color": look.colour,
            "markerfacecolor": "white" if apart else look.colour,
        }
        ax.plot(x if task else x * dodge, value, linestyle="" if apart else look.dash, zorder=3, **marks)
        if task is None:
            ax.vlines(x * dodge, low, high, color=look.colour, linewidth=0.9, alpha=0.6)
        elif apart:
            ax.vlines(x, low, high, color=look.colour, linewidth=0.9, alpha=0.6)
        else:
            ax.fill_between(x, low, high, color=look.colour, alpha=0.13, linewidth=0)


def _value(entry: Entry, task: TaskInfo | None) -> tuple[float, float, float] | None:
    """(value, low, high); without an interval both are the value."""
    if task is None:
        found = entry.beside.against.full_labels
        if found is None:
            return None
        low, high = (found.value if bound is None else bound for bound in (found.low, found.high))
        return found.value, low, high
    values = [*entry.by_unit[task.name].get(task.metric, {}).values()]
    return (float(np.mean(values)), min(values), max(values)) if values else None


def _axis(ax: Axes, family: Family, cut: bool) -> None:
    """Shares on a logarithmic axis. cut: limits by the values, as intervals of few seeds would crush them."""
    ax.set_xscale("log")
    shares = [*family.curve]
    ax.xaxis.set_major_locator(FixedLocator(shares))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}"))
    ax.set_xlabel("labels of each task (%)")
    values = [y for line in ax.lines for y in np.asarray(line.get_ydata(), dtype=float)]
    if cut and values:
        bounds = (
            float(y)
            for part in ax.collections
            for path in part.get_paths()
            for y in np.asarray(path.vertices)[:, 1]
        )
        ax.set_ylim(*limits([*values, 0.0], bounds, beyond=0.5))
