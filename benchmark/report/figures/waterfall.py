"""Draw an ablation: what each step of a plan's rows changes in delta m."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from benchmark.report.ablation import ABOVE, Table
from benchmark.report.figures import style
from benchmark.report.figures.style import Drawing, paragraphs, wrapped
from benchmark.report.formats import axis_limits, with_interval

_WHAT = (
    "Bars: what each row changes, in points of Δm; lines: its 95 % interval, paired by seed, cut at the frame"
)
_UP, _DOWN, _WHOLE = "#7b6fb0", "#e08214", "#b8b8b8"  # sides of the map of `changes`; grey: delta m itself


def waterfall(tables: Sequence[Table], plan: str, stem: Path) -> list[Path]:
    """Draw a plot for each table with a difference, as SVG and PNG; return the files.

    Where no row can be compared there is no figure, and an earlier one is removed.
    """
    for suffix in (".svg", ".png"):
        stem.with_name(stem.name + suffix).unlink(missing_ok=True)
    drawn = [table for table in tables if any(line.difference for line in table.lines)]
    if not drawn:
        return []
    heights = [0.75 + 0.3 * len(table.lines) for table in drawn]
    drawing = Drawing(stem.parent)
    with drawing.figure(stem.name, f"Ablation: plan {plan}. {_WHAT}", height=sum(heights)) as fig:
        axes = fig.subplots(len(drawn), 1, squeeze=False, height_ratios=heights)[:, 0]
        for ax, table in zip(axes, drawn, strict=True):
            _draw(ax, table)
    return drawing.files


def _draw(ax: Axes, table: Table) -> None:
    """Draw bars from each row's level to the next where steps add up, else from 0."""
    cumulative = table.compared == ABOVE
    ends, bounds, texts = [0.0], list[float](), []
    for y, line in enumerate(table.lines):
        delta, step, start, width = line.delta, line.difference, 0.0, 0.0
        if step:
            start, width = delta.value - step.value if cumulative and delta else 0.0, step.value
            if step.low is not None and step.high is not None:
                bounds += [start + step.low, start + step.high]
                ax.plot(bounds[-2:], (y, y), color="black", linewidth=1.0, zorder=3)
        elif cumulative and delta and y == 0:
            width = delta.value
        colour = _WHOLE if step is None else _UP if width >= 0 else _DOWN
        ax.barh(y, width, left=start, height=0.62, color=colour, zorder=2)
        if cumulative and y + 1 < len(table.lines):
            ax.vlines(start + width, y + 0.31, y + 0.69, color="#888888", linewidth=0.8, zorder=1)
        ends += [start, start + width]
        texts.append(with_interval(step) or f"Δm {with_interval(delta)}" if delta else "no seeds")
    ax.axvline(0, color=style.REFERENCE_COLOUR, linewidth=0.8, zorder=1)
    ax.set_xlim(*axis_limits(ends, bounds, margin=0.04))
    style.name_rows(ax, [wrapped(line.name, 30) for line in table.lines], texts)
    ax.set_title(paragraphs(f"{table.title}. Δm against {table.reference}", inches=6.3))
    ax.set_xlabel("Δm (%)" if cumulative else f"Δm minus that of {table.lines[0].name} (points)")
