"""Draw the figures of a board; those of scores, pairs and cost are made here."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.colors import ListedColormap

from benchmark.report.board import Board, Entry
from benchmark.report.captions import without_delta
from benchmark.report.contrasts import Answer, answers
from benchmark.report.figures import curves, panels, style
from benchmark.report.figures.style import Drawing, minus, reference_label, wrapped
from benchmark.report.formats import axis_limits, signed, with_interval
from benchmark.report.grouping import title
from benchmark.report.statistics import Estimate
from benchmark.report.verdict import AHEAD, BEHIND, UNSURE

LEFT_OUT = "left-out.txt"
CELL = 0.33  # inches a pair, so that `style.MAX_ROWS` fit
MARKS = {AHEAD: "▲", BEHIND: "▼", UNSURE: "?"}
# Pale enough for black numbers; grey for neither.
COLOURS = {AHEAD: "#bcb7da", BEHIND: "#fdc57f", UNSURE: "#efefef"}
Rows = list[tuple[Entry, Estimate]]


def draw(board: Board, folder: Path) -> Drawing:
    """Draw every figure of a board into `folder` as SVG and PNG; remove all others.

    Omissions, with the reason, are listed in `left-out.txt` beside them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [(e, e.delta) for e in board.entries if e.delta]
    drawing = Drawing(folder, title(board.group))
    if found := answers(board):
        contrasts(found, drawing)
    for make in (delta_m, cost, wins):
        if rows:
            make(board, rows, drawing)
        else:
            drawing.omit(make.__name__, without_delta(board))
    panels.predictions(board, drawing)
    curves.draw(board, drawing)
    earlier = {*folder.glob("*.svg"), *folder.glob("*.png"), *folder.glob(LEFT_OUT)}
    for path in earlier - set(drawing.files):
        path.unlink()
    if drawing.notes:
        (folder / LEFT_OUT).write_text("\n".join(drawing.notes) + "\n", encoding="utf-8", newline="\n")
        drawing.files.append(folder / LEFT_OUT)
    return drawing


def _colour(board: Board, entry: Entry) -> str:
    return style.REFERENCE_COLOUR if entry is board.reference else style.COLOUR


def _limits(rows: Rows) -> tuple[float, float]:
    """Limits of an axis of delta m with every seed and 0."""
    seeds = [0.0, *(value for entry, _ in rows for value in entry.by_seed.values())]
    return axis_limits(seeds, (bound for _, delta in rows for bound in (delta.low, delta.high)))


def delta_m(board: Board, rows: Rows, drawing: Drawing) -> None:
    """Draw delta m of every row: seeds as dots, mean and 95 % interval, numbers."""
    cut, (low, high) = False, _limits(rows)
    height = 0.6 + 0.42 * len(rows)
    with drawing.figure("delta_m", "Δm of each method with its seeds", height=height) as fig:
        ax = fig.add_subplot()
        where: Any = {"xycoords": ax.get_yaxis_transform(), "va": "center", "annotation_clip": False}
        for y, (entry, delta) in enumerate(rows):
            look: Any = {"color": _colour(board, entry)}
            if delta.low is not None and delta.high is not None:
                ax.plot([delta.low, delta.high], [y, y], marker="|", linewidth=1.6, zorder=2, **look)
                for out, end, arrow in ((delta.low < low, low, "<"), (delta.high > high, high, ">")):
                    ax.plot([end] * out, [y] * out, arrow, clip_on=False, markersize=5, **look)
                    cut |= out
            if entry is not board.reference:
                dots = {"markersize": 4, "alpha": 0.7, "mew": 0} | look
                ax.plot([*entry.by_seed.values()], np.full(len(entry.paired), y - 0.2), "o", **dots)
            ax.plot(delta.value, y, "D", markersize=6, markeredgecolor="white", zorder=4, **look)
            text = "0 (reference)" if entry is board.reference else minus(with_interval(delta))
            ax.annotate(text, (1.03, y), fontsize=7.5, **where)
        style.zero(ax.axvline)
        ax.set(xlim=(low, high), ylim=(len(rows) - 0.5, -0.5))
        ax.set_yticks(range(len(rows)), [f"{wrapped(e.label)}  n={len(e.paired)}" for e, _ in rows])
        ax.grid(False, axis="y")
        more = "; arrow: the interval goes on" if cut else ""
        about = "better to the right. Dots: seeds; bar: 95 % interval"
        ax.set_xlabel(f"Δm against {reference_label(board)} (%), {about}{more}")


def contrasts(found: list[Answer], drawing: Drawing) -> None:
    """Draw the contrasts that a plan named: seeds as dots, mean and 95 % interval, in print, verdict."""
    compared = [answer.compared for answer in found]
    values = [0.0, *(value for c in compared for value in c.differences.values())]
    values += [a.printed for a in found if a.printed is not None]
    low, high = axis_limits(values, (bound for c in compared for bound in (c.estimate.low, c.estimate.high)))
    what = (
        "Asked before the runs: points of Δm, first minus second. Dots: seeds; bar: 95 % interval; cross: in "
        "print, by other code and networks"
    )
    with drawing.figure("contrasts", what, height=0.6 + 0.55 * len(found)) as fig:
        ax = fig.add_subplot()
        for y, (answer, c) in enumerate(zip(found, compared, strict=True)):
            sure = c.verdict != UNSURE
            look: Any = {"color": style.COLOUR}
            if c.estimate.low is not None and c.estimate.high is not None:
                ax.plot(np.clip([c.estimate.low, c.estimate.high], low, high), [y, y], linewidth=1.6, **look)
            dots = [*c.differences.values()]
            ax.plot(dots, np.full(len(dots), y - 0.2), "o", markersize=4, alpha=0.7, mew=0, **look)
            face = style.COLOUR if sure else "white"
            ax.plot(c.estimate.value, y, "D", markersize=6, mfc=face, mec=style.COLOUR, zorder=4)
            if answer.printed is not None:
                ax.plot(answer.printed, y, "x", markersize=6, color=style.REFERENCE_COLOUR, zorder=3)
            said = f"{minus(with_interval(c.estimate))}\n{wrapped(minus(answer.text.partition(' (')[0]))}"
            where: Any = {"xycoords": ax.get_yaxis_transform(), "va": "center", "annotation_clip": False}
            ax.annotate(said, (1.03, y), fontsize=7.5, **where)
        style.zero(ax.axvline)
        ax.set(xlim=(low, high), ylim=(len(found) - 0.5, -0.5))
        names = [
            f"{textwrap.fill(a.name, 34)}  n={len(c.differences)}"
            for a, c in zip(found, compared, strict=True)
        ]
        ax.set_yticks(range(len(found)), names)
        ax.grid(False, axis="y")
        ax.set_xlabel("points of Δm, first minus second")


def cost(board: Board, rows: Rows, drawing: Drawing) -> None:
    """Draw the training time of a seed against delta m, a point a row."""
    rows = [(e, delta) for e, delta in rows if e.row.cost["seconds"] is not None]
    if not rows:
        return drawing.omit("cost", "no record says how long its training took")
    costs = [e.row.cost for e, _ in rows]
    unit, times = "GPU-hours", [c["gpu_hours"] or 0.0 for c in costs]
    if not all(times):
        unit, times = "minutes", [c["seconds"] / 60 for c in costs]
        if all(c["cpu_seconds"] is not None for c in costs):  # which other load on the machine hardly moves
            unit, times = "CPU minutes", [c["cpu_seconds"] / 60 for c in costs]
    low, high = _limits(rows)
    height = max(2.4, 0.5 + 0.17 * len(rows))
    what = "What Δm costs. Bar: 95 % interval, cut at the frame. Grey steps: no row has more Δm for less time"
    with drawing.figure("cost", what, height=height) as fig:
        ax = fig.add_subplot()
        front = [i for i in np.argsort(times, kind="stable") if _undominated(i, times, rows)]
        ends = [times[i] for i in front], [rows[i][1].value for i in front]
        ax.step(*ends, where="post", color="#b5b5b5", linewidth=1.2, label="front", zorder=1)
        gap = (high - low) * 0.15 / (height - 0.5)
        places = style.spread([delta.value for _, delta in rows], gap, low, high)
        for i, ((entry, delta), time) in enumerate(zip(rows, times, strict=True)):
            look: Any = {"color": _colour(board, entry)}
            if delta.low is not None and delta.high is not None:
                ax.vlines(time, delta.low, delta.high, linewidth=1.0, alpha=0.5, **look)
            ax.plot(time, delta.value, "o", label=entry.label, markersize=7, mec="white", **look)
            where: Any = {"textcoords": ax.get_yaxis_transform(), "va": "center", "annotation_clip": False}
            line = {"arrowstyle": "-", "linewidth": 0.6, "shrinkB": 5, "alpha": 0.6, **look}
            ax.annotate(
                entry.label, (time, delta.value), (1.04, places[i]), fontsize=7.5, arrowprops=line, **where
            )
        style.zero(ax.axhline)
        ax.set_ylim(low, high)
        ax.set_xlim(0, max(times) * 1.04 or 1)
        devices = sorted({c["device"] for c in costs})
        text = textwrap.shorten("; ".join(devices), 48, placeholder="...")
        ax.set_xlabel(f"training time of one seed, all its runs ({unit}; {text})")
        ax.set_ylabel(f"Δm against {reference_label(board)} (%)")
    if len(devices) > 1:
        drawing.omit("cost", "times come from different devices and cannot be compared")


def _undominated(i: int, times: Sequence[float], rows: Rows) -> bool:
    """Tell whether no other row has as much delta m for less time, or more for as much."""
    mine = (-times[i], rows[i][1].value)
    others = [(-time, delta.value) for time, (_, delta) in zip(times, rows, strict=True)]
    return not any(o != mine and o[0] >= mine[0] and o[1] >= mine[1] for o in others)


def wins(board: Board, rows: Rows, drawing: Drawing) -> None:
    """Draw a cell for every two rows: delta m, row minus column, and the verdict."""
    shown = drawing.select("wins", [entry for entry, _ in rows])
    n, kinds = len(shown), list(MARKS)
    cells, texts = np.full((n, n), np.nan), np.full((n, n), "", dtype=object)
    for r, c in zip(*np.triu_indices(n, 1), strict=True):
        if compared := board.verdicts.pair(shown[r].row, shown[c].row):
            cells[r, c] = kinds.index(compared.verdict)
            texts[r, c] = minus(f"{signed(compared.estimate.value)}\n{MARKS[compared.verdict]}")
    if np.isnan(cells).all():
        return drawing.omit("wins", "no two rows share seeds")
    width = min(style.WIDTH, max(4.6, 2.0 + CELL * (n - 1)))
    what = (
        "Differences of Δm, row minus column, in points. ▲ ahead, ▼ behind: sure by the exact test, "
        "corrected within the named contrasts, else the comparisons with the baseline; any other pair for "
        f"all. ? {UNSURE}"
    )
    with drawing.figure("wins", what, width=width, height=0.2 + CELL * n) as fig:
        ax = fig.add_subplot()
        names = [f"{wrapped(e.label)}  {i}" for i, e in enumerate(shown, 1)]
        numbers = [str(i) for i in range(2, n + 1)]
        colours = {"cmap": ListedColormap([*COLOURS.values()]), "vmin": 0, "vmax": len(kinds) - 1}
        annotation = {"size": 7, "color": "black"}
        look = {"annot_kws": annotation, "fmt": "", "cbar": False, "linewidths": 1.2, **colours}
        sns.heatmap(cells[:, 1:], ax=ax, annot=texts[:, 1:], **look)
        ax.set_yticks(np.arange(n) + 0.5, names, rotation=0)
        ax.set_xticks(np.arange(n - 1) + 0.5, numbers, rotation=0)
        ax.tick_params(length=0, labeltop=True, labelbottom=False)
        ax.grid(False)
