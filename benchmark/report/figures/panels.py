"""Draw arrays as pixels: the label mask, and matrices that methods report."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple, cast

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import ListedColormap

from benchmark.report.board import Board
from benchmark.report.figures import style
from benchmark.report.figures.style import Drawing, minus, wrapped
from benchmark.report.formats import fixed
from benchmark.report.naming import title

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
    if mask.ndim != 2 or mask.shape[1] != len(names):
        wrong = f"the mask in {record.arrays} has shape {mask.shape}, not (images, {len(names)} tasks)"
        return drawing.omit("labels", wrong)
    shown = min(len(mask), ACROSS * LINES)
    lines, across = -(-shown // ACROSS), min(ACROSS, shown)
    palette = ListedColormap(["#ececec", *sns.color_palette("colorblind", len(names))])
    cut = f", the first {shown} of" if shown < len(mask) else ","
    what = f"Visible labels under label seed {record.spec['label_seed']}{cut} {len(mask)} images"
    height = 0.4 + lines * (0.16 * len(names) + 0.12)
    with drawing.figure("labels", what, title(board.group), height=height) as fig:
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
    found: dict[str, list[_Matrix]] = defaultdict(list)
    rows = [e for e in board.entries if not e.row.outdated]
    kinds = {n: d.get("kind") for e in rows for r in e.row.records for n, d in r["diagnostics"].items()}
    for name in sorted(name for name, kind in kinds.items() if kind == "matrix"):
        having = [e for e in rows if any(name in r["diagnostics"] for r in e.row.records)]
        for entry in drawing.select(f"matrix_{name}", having, MAX_MATRICES):
            held = [r["diagnostics"][name] for r in entry.row.records if name in r["diagnostics"]]
            arrays = [np.asarray(d["array"], dtype=float) for d in held]
            if len({a.shape for a in arrays}) != 1 or arrays[0].ndim != 2:
                wrong = f"{entry.label} is left out, because its seeds' arrays are not matrices of one shape"
                drawing.omit(f"matrix_{name}", wrong)
                continue
            called = f"{wrapped(entry.label, 20)}, n={len(arrays)}"
            labels, axes = held[0].get("labels") or [], held[0].get("axes") or []
            found[name].append(_Matrix(called, np.mean(arrays, axis=0), labels, axes))
    if not found:
        drawing.omit("matrix", "no record holds a diagnostic of kind matrix")
    for name, parts in found.items():
        _draw_matrices(board, name, parts, drawing)


def _draw_matrices(board: Board, name: str, parts: list[_Matrix], drawing: Drawing) -> None:
    rows, columns = (max(sides) for sides in zip(*(part.values.shape for part in parts), strict=True))
    # A cell that holds a number is wide enough for it.
    wide, high = (0.9 + max(1.2, CELL * min(side, ANNOTATED)) for side in (columns, rows))
    across = max(1, min(len(parts), int((style.WIDTH - 0.5) // wide)))
    down, width = -(-len(parts) // across), max(3.5, across * wide + 0.5)
    scale, what = _scale(parts), (f"{name}, mean over seeds", title(board.group))
    with drawing.figure(f"matrix_{name}", *what, width=width, height=down * high) as fig:
        axes = fig.subplots(down, across, squeeze=False)
        for ax, part in zip(axes.flat, parts, strict=False):
            image = _draw_matrix(ax, part, scale)
        fig.colorbar(image, ax=axes, shrink=0.8, aspect=25, pad=0.02)


def _scale(parts: list[_Matrix]) -> dict[str, Any]:
    """One scale of colours, to both sides of 0, or from 0 where nothing is negative.

    A scale from the smallest value would paint a near-uniform matrix as a pattern.
    """
    finite = np.concatenate([part.values[np.isfinite(part.values)] for part in parts])
    largest = float(np.abs(finite).max(initial=0)) or 1.0
    signed = bool((finite < 0).any())
    return {"cmap": "PuOr" if signed else "cividis", "vmin": -largest if signed else 0.0, "vmax": largest}


def _draw_matrix(ax: Axes, part: _Matrix, scale: dict[str, Any]) -> QuadMesh:
    """Draw a matrix with names at the axes, and with numbers in the cells of a small one."""
    sides = part.values.shape
    names = [
        names if len(names) == size <= 20 else "auto" for names, size in zip(part.labels, sides, strict=False)
    ]
    rows, columns = names if len(names) == 2 else ("auto", "auto")
    texts = (
        np.vectorize(lambda value: minus(fixed(value, 2)))(part.values) if max(sides) <= ANNOTATED else None
    )
    sns.heatmap(
        part.values,
        ax=ax,
        annot=texts,
        fmt="",
        cbar=False,
        xticklabels=columns,
        yticklabels=rows,
        annot_kws={"size": 7},
        **scale,
    )
    ax.tick_params(axis="y", rotation=0)
    ax.tick_params(axis="x", rotation=45 if sides[1] > 4 else 0)
    y_axis, x_axis = part.axes or ("", "")
    ax.set(ylabel=y_axis, xlabel=x_axis)
    ax.set_title(part.title, fontsize=8)
    return cast(QuadMesh, ax.collections[0])
