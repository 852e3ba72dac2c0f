"""Draw the figures of a board; scores, per-task changes and cost are drawn here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmark.report.board import Board, Entry
from benchmark.report.captions import without_delta
from benchmark.report.figures import curves, panels, qualitative, style, variance, wins
from benchmark.report.figures.limits import axis_limits
from benchmark.report.figures.style import Drawing, comparable, minus, reference_label, wrapped
from benchmark.report.formats import with_interval
from benchmark.report.naming import title

LEFT_OUT = "left-out.txt"
MARKERS = "Dos^v<>hpd"


def draw(board: Board, folder: Path) -> Drawing:
    """Draw every figure of a board into `folder` as SVG and PNG; remove all others.

    Omissions, with the reason, are listed in `left-out.txt` beside them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawing = Drawing(folder)
    for make in (
        delta_m,
        changes,
        cost,
        wins.wins,
        variance.variance,
        panels.label_mask,
        qualitative.predictions,
        qualitative.errors,
        panels.matrices,
        curves.training,
        curves.extra_losses,
        curves.diagnostics,
    ):
        make(board, drawing)
    earlier = {*folder.glob("*.svg"), *folder.glob("*.png"), *folder.glob(LEFT_OUT)}
    for path in sorted(earlier - set(drawing.files)):
        path.unlink()
    if drawing.notes:
        (folder / LEFT_OUT).write_text("\n".join(drawing.notes) + "\n", encoding="utf-8", newline="\n")
        drawing.files.append(folder / LEFT_OUT)
    return drawing


def _seed_values(entry: Entry) -> np.ndarray:
    """Delta m plus each seed's influence: their mean is delta m, their spread makes its interval."""
    assert entry.delta is not None
    return entry.delta.value + np.array([*(entry.psi or {}).values()])


def _limits(entries: list[Entry]) -> tuple[float, float]:
    """Limits of an axis of delta m with every seed and 0."""
    seeds = np.concatenate([[0.0], *map(_seed_values, entries)])
    return axis_limits(seeds.tolist(), (b for e in entries if e.delta for b in (e.delta.low, e.delta.high)))


def delta_m(board: Board, drawing: Drawing) -> None:
    """Draw delta m of every row: seeds as dots, mean and 95 % interval, numbers."""
    entries, looks, cut = comparable(board), style.board_looks(board), False
    if not entries:
        return drawing.omit("delta_m", without_delta(board))
    low, high = _limits(entries)
    what, texts = ("Δm of each method with its seeds", title(board.group)), []
    with drawing.figure("delta_m", *what, height=0.6 + 0.42 * len(entries)) as fig:
        ax = fig.add_subplot()
        for y, entry in enumerate(entries):
            delta, colour = entry.delta, looks[entry.label].color
            assert delta is not None
            if delta.low is not None and delta.high is not None:
                ax.plot([delta.low, delta.high], [y, y], marker="|", color=colour, linewidth=1.6, zorder=2)
                beyond = ((delta.low < low, low, "<"), (delta.high > high, high, ">"))
                for edge, marker in ((edge, marker) for out, edge, marker in beyond if out):
                    ax.plot(edge, y, marker, color=colour, markersize=5, clip_on=False)
                    cut = True
            if entry is not board.reference:
                values = _seed_values(entry)
                ax.plot(
                    values, np.full(len(values), y - 0.2), "o", color=colour, markersize=4, alpha=0.7, mew=0
                )
            ax.plot(delta.value, y, "D", color=colour, markersize=6, markeredgecolor="white", zorder=4)
            texts.append("0 (reference)" if entry is board.reference else with_interval(delta))
        ax.axvline(0, color=style.REFERENCE_COLOUR, linewidth=0.8, zorder=1)
        ax.set_xlim(low, high)
        style.name_rows(ax, [f"{wrapped(e.label)}  n={len(e.paired)}" for e in entries])
        style.write_values(ax, texts)
        arrows = "; an arrow: the interval goes on" if cut else ""
        about = "better to the right. Dots: seeds; bar: 95 % interval"
        ax.set_xlabel(f"Δm against {reference_label(board)} (%), {about}{arrows}")


def changes(board: Board, drawing: Drawing) -> None:
    """Draw the change of each task against the reference as a map with numbers."""
    entries = [e for e in comparable(board) if e is not board.reference]
    if not entries:
        reason = "there is no row besides the reference" if comparable(board) else without_delta(board)
        return drawing.omit("changes", reason)
    tasks = board.group.tasks
    table = [[*((e.changes or {}).get(t.name) for t in tasks), e.delta] for e in entries]
    values = np.array([[cell.value if cell else np.nan for cell in line] for line in table])
    texts = [[minus(with_interval(c).replace(" ", "\n", 1)) if c else "" for c in line] for line in table]
    width = max(3.5, min(style.WIDTH, 1.9 + 1.15 * (len(tasks) + 1)))
    what = (f"Change against {reference_label(board)} (%), + is better [95 %]", title(board.group))
    with drawing.figure("changes", *what, width=width, height=0.5 + 0.42 * len(entries)) as fig:
        ax = fig.add_subplot()
        span = 1.8 * float(np.nanmax(np.abs(values))) or 1.0  # about half the colours: dark ones hide numbers
        names = [*(f"{t.name}\n{t.metric} {t.arrow}" for t in tasks), "mean\n(Δm)"]
        colours = {"cmap": "PuOr", "vmin": -span, "vmax": span, "annot_kws": {"size": 6.8, "color": "black"}}
        style.heat_map(ax, values, np.array(texts), [wrapped(e.label) for e in entries], names, **colours)
        ax.axvline(len(tasks), color="black", linewidth=1.0)


def cost(board: Board, drawing: Drawing) -> None:
    """Draw the training time of a seed against delta m, a point a row."""
    points = [(e, e.delta, e.cost) for e in comparable(board)]
    timed = [(e, delta, c) for e, delta, c in points if delta and c and c.seconds is not None]
    if not timed:
        reason = "no record says how long its training took" if points else without_delta(board)
        return drawing.omit("cost", reason)
    looks, times = style.board_looks(board), [c.seconds or 0.0 for _, _, c in timed]
    unit, scale = ("minutes", 60) if max(times) >= 120 else ("seconds", 1)
    times = [seconds / scale for seconds in times]
    if all(c.gpu_hours for _, _, c in timed):
        unit, times = "GPU-hours", [c.gpu_hours or 0.0 for _, _, c in timed]
    devices = sorted({c.device for _, _, c in timed})
    names = [wrapped(e.label, 30) for e, _, _ in timed]
    height = 0.4 + sum(0.1 + 0.14 * (name.count("\n") + 1) for name in names)
    what = ("What Δm costs. Bar: 95 % interval, cut at the frame", title(board.group))
    with drawing.figure("cost", *what, height=max(2.2, height)) as fig:
        ax = fig.add_subplot()
        for i, ((entry, delta, _), time) in enumerate(zip(timed, times, strict=True)):
            colour = looks[entry.label].color
            if delta.low is not None and delta.high is not None:
                ax.vlines(time, delta.low, delta.high, color=colour, linewidth=1.0, alpha=0.5)
            marker: Any = {"marker": MARKERS[i % len(MARKERS)], "markersize": 7, "markeredgecolor": "white"}
            ax.plot(time, delta.value, color=colour, linestyle="", label=names[i], **marker)
        ax.axhline(0, color=style.REFERENCE_COLOUR, linewidth=0.8, zorder=1)
        ax.set_ylim(*_limits([e for e, _, _ in timed]))
        ax.set_xlim(0, max(times) * 1.08 or 1)
        where = "; ".join(devices)
        where = where if len(where) <= 48 else where[:45] + "..."
        ax.set_xlabel(f"training time of one seed, all its runs ({unit}; {where})")
        ax.set_ylabel(f"Δm against {reference_label(board)} (%)")
        fig.legend(loc="outside right center")
    if len(devices) > 1:
        drawing.omit("cost", "times come from different devices and cannot be compared")
