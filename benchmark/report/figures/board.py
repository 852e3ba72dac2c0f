"""Draw the figures of a board; those of scores, pairs, cost and noise are made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from benchmark.report.board import Board, Entry
from benchmark.report.captions import without_delta
from benchmark.report.figures import curves, panels, qualitative, style
from benchmark.report.figures.style import Drawing, comparable, minus, paragraphs, reference_label, wrapped
from benchmark.report.formats import axis_limits, fixed, signed, with_interval
from benchmark.report.naming import title
from benchmark.report.references import DELTA_M
from benchmark.report.statistics import LABEL_SEEDS, TRAIN_SEEDS, Estimate
from benchmark.report.tables import by_seed
from benchmark.report.verdict import AHEAD, BEHIND, TOO_FEW, UNSURE

LEFT_OUT = "left-out.txt"
MARKERS = "Dos^v<>hpd"
CELL = 0.46  # inches a pair
MARKS = {AHEAD: "▲", BEHIND: "▼", UNSURE: "?"}
# The two sides of the map of `changes`, pale enough for black numbers; grey for neither.
COLOURS = {AHEAD: "#bcb7da", BEHIND: "#fdc57f", UNSURE: "#efefef"}
PARTS = ("label seed", "train seed", "rest (interaction, re-runs)")
Rows = list[tuple[Entry, Estimate]]


def draw(board: Board, folder: Path) -> Drawing:
    """Draw every figure of a board into `folder` as SVG and PNG; remove all others.

    Omissions, with the reason, are listed in `left-out.txt` beside them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawing, rows = Drawing(folder, title(board.group)), comparable(board)
    for make in (delta_m, changes, cost, wins):
        if rows:
            make(board, rows, drawing)
        else:
            drawing.omit(make.__name__, without_delta(board))
    variance(board, drawing)
    panels.label_mask(board, drawing)
    qualitative.draw(board, drawing, "predictions")
    qualitative.draw(board, drawing, "errors")
    panels.matrices(board, drawing)
    curves.training(board, drawing)
    curves.extra_losses(board, drawing)
    curves.diagnostics(board, drawing)
    earlier = {*folder.glob("*.svg"), *folder.glob("*.png"), *folder.glob(LEFT_OUT)}
    for path in earlier - set(drawing.files):
        path.unlink()
    if drawing.notes:
        (folder / LEFT_OUT).write_text("\n".join(drawing.notes) + "\n", encoding="utf-8", newline="\n")
        drawing.files.append(folder / LEFT_OUT)
    return drawing


def _limits(rows: Rows) -> tuple[float, float]:
    """Limits of an axis of delta m with every seed and 0."""
    seeds = [0.0, *(value for entry, _ in rows for value in by_seed(entry).values())]
    return axis_limits(seeds, (bound for _, delta in rows for bound in (delta.low, delta.high)))


def delta_m(board: Board, rows: Rows, drawing: Drawing) -> None:
    """Draw delta m of every row: seeds as dots, mean and 95 % interval, numbers."""
    looks, cut, texts, (low, high) = style.board_looks(board), False, list[str](), _limits(rows)
    height = 0.6 + 0.42 * len(rows)
    with drawing.figure("delta_m", "Δm of each method with its seeds", height=height) as fig:
        ax = fig.add_subplot()
        for y, (entry, delta) in enumerate(rows):
            colour = looks[entry.label]["color"]
            if delta.low is not None and delta.high is not None:
                ax.plot([delta.low, delta.high], [y, y], marker="|", color=colour, linewidth=1.6, zorder=2)
                for out, edge, marker in ((delta.low < low, low, "<"), (delta.high > high, high, ">")):
                    if out:
                        ax.plot(edge, y, marker, color=colour, markersize=5, clip_on=False)
                        cut = True
            if entry is not board.reference:
                dots: Any = {"color": colour, "markersize": 4, "alpha": 0.7, "mew": 0}
                ax.plot([*by_seed(entry).values()], np.full(len(entry.paired), y - 0.2), "o", **dots)
            ax.plot(delta.value, y, "D", color=colour, markersize=6, markeredgecolor="white", zorder=4)
            texts.append("0 (reference)" if entry is board.reference else with_interval(delta))
        ax.axvline(0, color=style.REFERENCE_COLOUR, linewidth=0.8, zorder=1)
        ax.set_xlim(low, high)
        style.name_rows(ax, [f"{wrapped(e.label)}  n={len(e.paired)}" for e, _ in rows], texts)
        arrows = "; an arrow: the interval goes on" if cut else ""
        about = "better to the right. Dots: seeds; bar: 95 % interval"
        ax.set_xlabel(f"Δm against {reference_label(board)} (%), {about}{arrows}")


def changes(board: Board, rows: Rows, drawing: Drawing) -> None:
    """Draw the change of each task against the reference as a map with numbers."""
    tasks, rows = board.group.tasks, [(e, delta) for e, delta in rows if e is not board.reference]
    if not rows:
        return drawing.omit("changes", "there is no row besides the reference")
    table = [[*((e.changes or {}).get(t.name) for t in tasks), delta] for e, delta in rows]
    values = np.array([[cell.value if cell else np.nan for cell in line] for line in table])
    texts = [[minus(with_interval(c).replace(" ", "\n", 1)) if c else "" for c in line] for line in table]
    width = max(3.5, min(style.WIDTH, 1.9 + 1.15 * (len(tasks) + 1)))
    what = f"Change against {reference_label(board)} (%), + is better [95 %]"
    with drawing.figure("changes", what, width=width, height=0.5 + 0.42 * len(rows)) as fig:
        ax = fig.add_subplot()
        span = 1.8 * float(np.nanmax(np.abs(values))) or 1.0  # about half the colours: dark ones hide numbers
        names = [*(f"{t.name}\n{t.metric} {t.arrow}" for t in tasks), "mean\n(Δm)"]
        colours = {"cmap": "PuOr", "vmin": -span, "vmax": span, "annot_kws": {"size": 6.8, "color": "black"}}
        style.heat_map(ax, values, np.array(texts), [wrapped(e.label) for e, _ in rows], names, **colours)
        ax.axvline(len(tasks), color="black", linewidth=1.0)


def cost(board: Board, rows: Rows, drawing: Drawing) -> None:
    """Draw the training time of a seed against delta m, a point a row."""
    rows = [(e, delta) for e, delta in rows if e.cost and e.cost.seconds is not None]
    if not rows:
        return drawing.omit("cost", "no record says how long its training took")
    costs = [e.cost for e, _ in rows if e.cost]
    seconds, hours = [c.seconds or 0.0 for c in costs], [c.gpu_hours or 0.0 for c in costs]
    unit, scale = ("minutes", 60) if max(seconds) >= 120 else ("seconds", 1)
    times = [value / scale for value in seconds]
    if all(hours):
        unit, times = "GPU-hours", hours
    looks, names = style.board_looks(board), [wrapped(e.label, 30) for e, _ in rows]
    height = max(2.2, 0.4 + sum(0.1 + 0.14 * (name.count("\n") + 1) for name in names))
    with drawing.figure("cost", "What Δm costs. Bar: 95 % interval, cut at the frame", height=height) as fig:
        ax = fig.add_subplot()
        for i, ((entry, delta), time) in enumerate(zip(rows, times, strict=True)):
            colour = looks[entry.label]["color"]
            if delta.low is not None and delta.high is not None:
                ax.vlines(time, delta.low, delta.high, color=colour, linewidth=1.0, alpha=0.5)
            marker: Any = {"marker": MARKERS[i % len(MARKERS)], "markersize": 7, "markeredgecolor": "white"}
            ax.plot(time, delta.value, color=colour, linestyle="", label=names[i], **marker)
        ax.axhline(0, color=style.REFERENCE_COLOUR, linewidth=0.8, zorder=1)
        ax.set_ylim(*_limits(rows))
        ax.set_xlim(0, max(times) * 1.08 or 1)
        devices = sorted({c.device for c in costs})
        where = "; ".join(devices)
        where = where if len(where) <= 48 else where[:45] + "..."
        ax.set_xlabel(f"training time of one seed, all its runs ({unit}; {where})")
        ax.set_ylabel(f"Δm against {reference_label(board)} (%)")
        fig.legend(loc="outside right center")
    if len(devices) > 1:
        drawing.omit("cost", "times come from different devices and cannot be compared")


def wins(board: Board, rows: Rows, drawing: Drawing) -> None:
    """Draw a cell for every two rows: delta m, row minus column, and the verdict."""
    shown = drawing.select("wins", [entry for entry, _ in rows])
    n, kinds, reasons = len(shown), list(MARKS), set[str]()
    cells, texts = np.full((n, n), np.nan), np.full((n, n), "", dtype=object)
    for r, c in zip(*np.triu_indices(n, 1), strict=True):
        if compared := board.verdicts.pair(shown[r].row, shown[c].row):
            cells[r, c] = kinds.index(compared.verdict)
            texts[r, c] = minus(f"{signed(compared.estimate.value)}\n{MARKS[compared.verdict]}")
            reasons.add(compared.reason)
    if not reasons:
        return drawing.omit("wins", "no two rows share seeds")
    width = min(style.WIDTH, max(4.6, 2.0 + CELL * (n - 1)))
    what = (
        "Pairwise differences of Δm (row minus column, points), paired by seed; marked where the exact test "
        "is sure, corrected within the named contrasts, else for all pairs"
    )
    unsure = f"the test is not sure, a planned seed is missing, or {TOO_FEW}"
    unsure = unsure if len(reasons) > 1 or "" in reasons else reasons.pop()  # one reason for all
    meanings = {AHEAD: "▲ row ahead, sure", BEHIND: "▼ row behind, sure", UNSURE: f"? {UNSURE}: {unsure}"}
    with drawing.figure("wins", what, width=width, height=0.2 + CELL * n) as fig:
        ax = fig.add_subplot()
        names = [f"{wrapped(e.label)}  {i}" for i, e in enumerate(shown, 1)]
        numbers = [str(i) for i in range(2, n + 1)]
        colours = {"cmap": ListedColormap([*COLOURS.values()]), "vmin": 0, "vmax": len(kinds) - 1}
        annotation = {"size": 7, "color": "black"}
        style.heat_map(ax, cells[:, 1:], texts[:, 1:], names, numbers, **colours, annot_kws=annotation)
        ax.tick_params(labeltop=True, labelbottom=False)
        ax.grid(False)
        labels = {kind: paragraphs(text, inches=width - 0.4) for kind, text in meanings.items()}
        style.legend_below(fig, [Patch(facecolor=COLOURS[k], label=text) for k, text in labels.items()], 1)


def noise(board: Board, entry: Entry) -> dict[str, tuple[float, float, float]]:
    """Return {task or `DELTA_M`: standard deviations of `PARTS`} of a row.

    In points of delta m, or percent of the reference's mean score of a task; {} where the parts are not
    separable or no reference gives the scale.
    """
    if board.reference is None or not board.reference.units:
        return {}
    scale = {t.name: 100 / abs(mean) for t in board.group.tasks if (mean := board.reference.row.mean(t))}
    scale[DELTA_M] = 1.0
    return {
        name: (scale[name] * part.label_sd, scale[name] * part.train_sd, scale[name] * part.rest_sd)
        for name, part in entry.beside.variance.items()
        if name in scale
    }


def variance(board: Board, drawing: Drawing) -> None:
    """Draw a plot a quantity, in it three bars a row: the noise of each of `PARTS`."""
    rows = style.current(board)
    noises = {e.label: found for e in rows if (found := noise(board, e))}
    grid = f"a whole grid of {LABEL_SEEDS} label seeds x {TRAIN_SEEDS} train seeds"
    if not noises:
        reason = f"no row has {grid}, so its parts are not separable"
        if board.group.fixed_mask:
            reason = f"labels '{board.group.labels}' are one mask, so all noise is that of training"
        elif any(e.beside.variance for e in rows):
            reason = "no seed of the reference is complete, which gives the scale"
        return drawing.omit("variance", reason)
    for entry in (e for e in rows if e.label not in noises):
        drawing.omit("variance", f"{entry.label} is left out: not separable without {grid}")
    kept = drawing.select("variance", [e for e in rows if e.label in noises])
    titles = {DELTA_M: "Δm (points)"} | {t.name: f"{t.name} {t.metric}" for t in board.group.tasks}
    names = [name for name in titles if any(name in noises[e.label] for e in kept)]
    grids = sorted({(v.label_seeds, v.train_seeds) for e in kept for v in e.beside.variance.values()})
    sizes = ", ".join(f"{a} label x {b} train seeds" for a, b in grids)
    what = (
        f"Noise by source, over {sizes}: standard deviations, for tasks in % of "
        f"{reference_label(board)}'s mean. Estimates from so few seeds are rough"
    )
    across = min(4, len(names))
    down, colours = -(-len(names) // across), sns.color_palette("colorblind", len(PARTS))
    with drawing.figure("variance", what, height=down * (0.55 + 0.42 * len(kept))) as fig:
        axes = fig.subplots(down, across, squeeze=False, sharex=True, sharey=True)
        for ax, name in zip(axes.flat, names, strict=False):
            parts = {y: noises[e.label][name] for y, e in enumerate(kept) if name in noises[e.label]}
            for k, colour in enumerate(colours):
                values = [sds[k] for sds in parts.values()]
                bars = ax.barh([y + 0.27 * (k - 1) for y in parts], values, 0.25, color=colour, zorder=2)
                ax.bar_label(bars, [fixed(value, 2) for value in values], padding=2, fontsize=6)
            ax.set_title(titles[name])
            ax.tick_params(labelbottom=True)
            ax.set_xlabel("points" if name == DELTA_M else "% of the mean")
            style.name_rows(ax, [wrapped(e.label) for e in kept])
        largest = max(sd for e in kept for parts in noises[e.label].values() for sd in parts)
        axes[0, 0].set_xlim(0, 1.25 * largest or 1)
        handles = [Patch(color=colour, label=part) for colour, part in zip(colours, PARTS, strict=True)]
        style.legend_below(fig, handles, len(PARTS))
