"""Draw scores over visible labels, by share or by minutes, from boards that differ in labels alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle, product
from pathlib import Path

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from benchmark.report.board import Board, Entry
from benchmark.report.figures import style
from benchmark.report.figures.style import Drawing, current, wrapped
from benchmark.report.formats import axis_limits
from benchmark.report.grouping import file_name, protocol_title, row_label
from benchmark.report.rows import Group, TaskInfo, canonical

FIGURE = "budget"
_DODGE = 0.05  # of the axis, from the interval of the first to that of the last row at one share


@dataclass(frozen=True)
class Family:
    """Boards of one protocol and variant.

    curve: {share of labels: boards, the one to prefer first}, two shares or more, ascending.
    """

    curve: dict[float, list[Board]]

    @property
    def group(self) -> Group:
        """The group with the most labels."""
        return self.curve[max(self.curve)][0].group

    @property
    def minutes(self) -> dict[float, float]:
        """Return {share: minutes of labelling}, {} unless every label has a price."""
        rows = {s: max(current(bs[0]), key=lambda e: len(e.row.seeds)).row for s, bs in self.curve.items()}
        found = {share: self.curve[share][0].group.minutes(row) for share, row in rows.items()}
        return {share: m for share, m in found.items() if m} if all(found.values()) else {}

    @property
    def name(self) -> str:
        """The folder of its figure; no label setting is called budget, so no board has it."""
        return file_name(replace(self.group, labels=FIGURE))

    def rows(self) -> dict[str, dict[float, Entry]]:
        """Return {label: {share: entry}}, best first on the boards with the most labels.

        A board's own labels say no more than that board needs, so rows are labelled anew.
        """
        found = [(s, e) for s, bs in reversed(self.curve.items()) for b in bs for e in current(b)]
        specs = [entry.row.records[0].spec for _, entry in found]
        rows: dict[str, dict[float, Entry]] = defaultdict(dict)
        for (share, entry), spec in zip(found, specs, strict=True):
            label = row_label(spec, [s for s in specs if s["method"] == spec["method"]])
            rows[label].setdefault(share, entry)
        return {label: {share: points[share] for share in self.curve if share in points}
                for label, points in rows.items()}  # fmt: skip


def families(boards: Sequence[Board]) -> list[Family]:
    """Return the families of these boards that have a curve, in the order of the boards."""
    keyed: dict[str, dict[float, list[Board]]] = defaultdict(lambda: defaultdict(list))
    # Those that draw their labels first: where both are there, the seeds of `full` vary training alone.
    for board in sorted(boards, key=lambda b: b.group.labels == "full"):
        setting, _, share = board.group.labels.partition(":")
        if setting in ("full", "fraction") and current(board):
            key = canonical([board.group.protocol, board.group.dataset, board.group.variant])
            keyed[key][float(share or 1)].append(board)
    return [Family(dict(sorted(curve.items()))) for curve in keyed.values() if len(curve) > 1]


def draw(boards: Sequence[Board], figures: Path) -> Drawing:
    """Draw each family into its folder below `figures`."""
    found, drawing = families(boards), Drawing(figures)
    if not found:
        reason = "no two boards differ in the share of labels alone; runs under fraction:P make them"
        drawing.omit(FIGURE, reason)
    for family in found:
        drawing.folder = figures / family.name
        _figure(family, drawing)
    return drawing


def _figure(family: Family, drawing: Drawing) -> None:
    """Draw a plot for the metric of each task, and one for delta m against all labels."""
    g, rows = family.group, family.rows()
    drawing.about = f"{protocol_title(g.protocol)}: {g.variant}"
    for label in list(rows):
        steps = [entry.row.cost["steps"] for entry in rows[label].values()]
        if None in steps or max(steps) > 1.02 * min(steps):
            why = "its steps change with the share of labels, or are not told; --set budget=steps holds them"
            drawing.omit(family.name, f"{label} is left out, because {why}")
            del rows[label]
    least = {label: next(iter(points.values())) for label, points in rows.items()}
    for label in sorted(rows, key=lambda label: style.first(least[label]))[style.MAX_ROWS :]:
        drawing.omit(family.name, f"{label} is left out, because only {style.MAX_ROWS} rows are drawn")
        del rows[label]
    if not rows:
        return
    across = 2 if len(g.tasks) in (1, 3) else 3
    down = -(-(len(g.tasks) + 1) // across)
    what = (
        f"Label budget: what each share of the labels gives. Bands: range over seeds. Δm: against "
        f"{g.protocol['reference']} on all labels, with 95 % intervals, cut at the frame"
    )
    drawing.folder.mkdir(parents=True, exist_ok=True)
    height = 1.9 * down + 0.1 + 0.16 * -(-len(rows) // 3) * max(wrapped(x).count("\n") + 1 for x in rows)
    with drawing.figure(FIGURE, what, height=height) as fig:
        axes = fig.subplots(down, across, squeeze=False).flat
        for ax, task in zip(axes, (*g.tasks, None), strict=False):
            _draw(ax, family, rows, task)
        fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)


def _draw(ax: Axes, family: Family, rows: dict[str, dict[float, Entry]], task: TaskInfo | None) -> None:
    """Draw a task's metric of each row with its range, or delta m with its interval."""
    values, bounds = [0.0], [0.0]
    minutes = family.minutes
    at = minutes or {share: share for share in family.curve}
    looks = cycle(product(("-", "--", "-."), sns.color_palette("colorblind", 6)))
    for i, ((label, points), (dash, colour)) in enumerate(zip(rows.items(), looks, strict=False)):
        shift = _DODGE * (i / max(len(rows) - 1, 1) - 0.5) if task is None else 0.0
        found = [(at[share], *v) for share, entry in points.items() if (v := _values(entry, task))]
        if not found:
            continue
        x, value, low, high = np.array(found).T
        x = x * (max(at.values()) / min(at.values())) ** shift
        ax.plot(x, value, dash, marker="o", markersize=3.5, color=colour, zorder=3, label=wrapped(label))
        if task is None:
            ax.vlines(x, low, high, color=colour, linewidth=0.9, alpha=0.6)
        else:
            ax.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)
        values += value.tolist()
        bounds += [*low.tolist(), *high.tolist()]
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator([*at.values()]))
    ax.xaxis.set_minor_locator(NullLocator())
    texts = [f"{minutes[s]:,.0f}\n{100 * s:g} %" if minutes else f"{100 * s:g}" for s in at]
    ax.xaxis.set_major_formatter(FixedFormatter(texts))
    ax.set_xlabel("minutes of labelling, of all tasks" if minutes else "labels of each task (%)")
    ax.set_title(f"{task.title} {task.arrow}" if task else "Δm (%) ↑")
    if task is None and ax.lines:  # limits by the values, as intervals of few seeds would crush them
        ax.set_ylim(*axis_limits(values, bounds, beyond=0.5))
        style.zero(ax.axhline)
    elif task is None:
        ax.clear()
        ax.set_axis_off()
        ax.text(0, 0.5, f"no Δm: {family.group.protocol['reference']}\non all labels is absent", fontsize=7.5)


def _values(entry: Entry, task: TaskInfo | None) -> tuple[float, float, float] | None:
    """(value, low, high); without an interval both are the value."""
    if task is None:
        delta = entry.against.get("full_labels")
        if delta is None or delta.low is None or delta.high is None:
            return (delta.value, delta.value, delta.value) if delta else None
        return delta.value, delta.low, delta.high
    values = entry.metrics[task.name].get(task.metric)
    return None if values is None else (float(values.mean()), float(values.min()), float(values.max()))
