"""Draw arrays as pixels: the label mask, and matrices that methods report."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import seaborn as sns
from matplotlib.colors import ListedColormap

from benchmark.report.board import Board
from benchmark.report.figures import style
from benchmark.report.figures.style import Drawing, minus, wrapped
from benchmark.report.formats import fixed

MAX_MATRICES = 6
CELL, ANNOTATED = 0.37, 8  # inches a cell of a matrix; the largest matrix whose cells hold numbers
ACROSS, LINES = 96, 8  # images in a line of the mask, and lines at most


def label_mask(board: Board, drawing: Drawing) -> None:
    """Draw which labels the lowest label seed shows: a column an image, a line a task."""
    records = sorted(
        (r for e in board.entries for r in e.row.records), key=lambda r: (r.spec["label_seed"], r.id)
    )
    record = next((r for r in records if r.labelled is not None), None)
    if record is None or record.labelled is None:
        return drawing.omit("labels", "no per-image arrays with the mask lie beside the records")
    names, mask = list(board.group.protocol["tasks"]), record.labelled
    shown = min(len(mask), ACROSS * LINES)
    lines, across = -(-shown // ACROSS), min(ACROSS, shown)
    palette = ListedColormap(["#ececec", *sns.color_palette("colorblind", len(names))])
    cut = f", the first {shown} of" if shown < len(mask) else ","
    what = f"Visible labels under label seed {record.spec['label_seed']}{cut} {len(mask)} images"
    with drawing.figure("labels", what, height=0.4 + lines * (0.16 * len(names) + 0.12)) as fig:
        axes = fig.subplots(lines, 1, squeeze=False)[:, 0]
        for first, ax in zip(range(0, shown, across), axes, strict=True):
            part = mask[first : min(first + across, shown)].T
            colours = np.where(part, np.arange(1, len(names) + 1)[:, None], 0)
            # As pixels: a path for each of hundreds of cells makes a large SVG.
            edges = {"edgecolors": "white", "linewidth": 0.4, "rasterized": True}
            ax.pcolormesh(colours, cmap=palette, vmin=-0.5, vmax=len(names) + 0.5, **edges)
            ax.set_xlim(0, across)
            ax.set_ylim(len(names), 0)
            counts = [name if first else f"{name} {mask[:, t].sum():d}" for t, name in enumerate(names)]
            ax.set_yticks(np.arange(len(names)) + 0.5, counts)
            ticks = range(0, part.shape[1] + 1, 16)
            ax.set_xticks(ticks, [str(first + i) for i in ticks])
            ax.tick_params(length=0, labelsize=6.5)
            ax.grid(False)
            ax.spines[:].set_visible(False)
        axes[-1].set_xlabel("training image (each column one image; grey: the label is hidden)")


class _Matrix(NamedTuple):
    """The mean matrix (R, C) of a row over its seeds. labels: {of rows, of columns}; axes: what they are."""

    title: str
    values: np.ndarray
    labels: list[list[str]]
    axes: list[str]


def matrices(board: Board, drawing: Drawing) -> None:
    """Draw each diagnostic of kind matrix, the mean over seeds, a plot a row."""
    rows = [e for e in board.entries if not e.row.outdated]
    kinds = {n: d.get("kind") for e in rows for r in e.row.records for n, d in r["diagnostics"].items()}
    names = sorted(name for name, kind in kinds.items() if kind == "matrix")
    for name in names:
        figure, found = f"matrix_{name}", list[_Matrix]()
        held = {e.label: [d for r in e.row.records if (d := r["diagnostics"].get(name))] for e in rows}
        for entry in drawing.select(figure, [e for e in rows if held[e.label]], MAX_MATRICES):
            first, arrays = held[entry.label][0], [np.array(d["array"], float) for d in held[entry.label]]
            if len({a.shape for a in arrays}) != 1 or arrays[0].ndim != 2:
                why = "because its seeds' arrays are not matrices of one shape"
                drawing.omit(figure, f"{entry.label} is left out, {why}")
                continue
            called = f"{wrapped(entry.label, 20)}, n={len(arrays)}"
            labels, axes = first.get("labels") or [], first.get("axes") or []
            found.append(_Matrix(called, np.mean(arrays, axis=0), labels, axes))
        if found:
            _draw(name, found, drawing)
    if not names:
        drawing.omit("matrix", "no record holds a diagnostic of kind matrix")


def _draw(name: str, parts: list[_Matrix], drawing: Drawing) -> None:
    """Draw matrices with names at the axes, small ones with numbers in their cells, on one scale."""
    rows, columns = (max(sides) for sides in zip(*(part.values.shape for part in parts), strict=True))
    # A cell that holds a number is wide enough for it.
    wide, high = (0.9 + max(1.2, CELL * min(side, ANNOTATED)) for side in (columns, rows))
    across = max(1, min(len(parts), int((style.WIDTH - 0.5) // wide)))
    down, width = -(-len(parts) // across), max(3.5, across * wide + 0.5)
    # To both sides of 0, or from 0: from the smallest value, near-uniform matrices would show a pattern.
    finite = np.concatenate([part.values[np.isfinite(part.values)] for part in parts])
    most, negative = float(np.abs(finite).max(initial=0)) or 1.0, bool((finite < 0).any())
    with drawing.figure(f"matrix_{name}", f"{name}, mean over seeds", width=width, height=down * high) as fig:
        axes = fig.subplots(down, across, squeeze=False)
        for ax, part in zip(axes.flat, parts, strict=False):
            sides = part.values.shape
            fit = [len(names) == size <= 20 for names, size in zip(part.labels, sides, strict=False)]
            ticks: list[Any] = ["auto", "auto"]
            if len(fit) == 2:
                ticks = [names if fits else "auto" for names, fits in zip(part.labels, fit, strict=True)]
            small = max(sides) <= ANNOTATED
            texts = np.vectorize(lambda value: minus(fixed(value, 2)))(part.values) if small else None
            how: Any = {"cmap": "PuOr" if negative else "cividis", "annot_kws": {"size": 7}, "cbar": False}
            how |= {"vmin": -most if negative else 0.0, "vmax": most, "annot": texts, "fmt": ""}
            sns.heatmap(part.values, ax=ax, yticklabels=ticks[0], xticklabels=ticks[1], **how)
            ax.tick_params(axis="y", rotation=0)
            ax.tick_params(axis="x", rotation=45 if sides[1] > 4 else 0)
            y_axis, x_axis = part.axes or ("", "")
            ax.set(ylabel=y_axis, xlabel=x_axis)
            ax.set_title(part.title, fontsize=8)
            image = ax.collections[0]
        fig.colorbar(image, ax=axes, shrink=0.8, aspect=25, pad=0.02)
