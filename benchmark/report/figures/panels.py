"""Figures made of arrays: the label mask, matrices that methods report."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb

from benchmark.report.board import Board, Entry
from benchmark.report.figures import style
from benchmark.report.figures.style import heading, minus, wrapped
from benchmark.report.formats import fixed

MAX_MATRICES = 6
CELL, ANNOTATED = 0.37, 8  # inches a cell of a matrix; the largest matrix whose cells hold numbers
ACROSS, LINES = 96, 8  # images in a line of the mask, and lines at most


def label_mask(board: Board, folder: Path) -> tuple[list[Path], list[str]]:
    """Which label of which training image is visible under the lowest label seed: a column an image, a line a
    task.
    """
    records = sorted(
        (r for e in board.entries for r in e.row.records), key=lambda r: (r.spec["label_seed"], r.id)
    )
    record = next((r for r in records if r.labelled is not None), None)
    if record is None or record.labelled is None:
        return [], ["labels: no per-image arrays with the mask lie beside the records."]
    names, mask = list(board.group.protocol["tasks"]), record.labelled
    if mask.ndim != 2 or mask.shape[1] != len(names):
        return [], [
            f"labels: the mask in {record.arrays} has shape {mask.shape}, not (images, {len(names)} tasks)."
        ]
    shown = min(len(mask), ACROSS * LINES)
    lines = -(-shown // ACROSS)
    across = min(ACROSS, shown)
    palette = [to_rgb(style.HIDDEN_COLOUR), *sns.color_palette("colorblind", len(names))]
    with style.figure(style.WIDTH, 0.9 + lines * (0.16 * len(names) + 0.12)) as fig:
        axes = fig.subplots(lines, 1, squeeze=False)[:, 0]
        for line, ax in enumerate(axes):
            part = mask[line * across : min((line + 1) * across, shown)].T
            colours = np.where(part, np.arange(1, len(names) + 1)[:, None], 0)
            look = {"cmap": ListedColormap(palette), "vmin": -0.5, "vmax": len(names) + 0.5}
            # As pixels: a path for each of hundreds of cells makes a large SVG.
            ax.pcolormesh(colours, edgecolors="white", linewidth=0.4, rasterized=True, **look)
            ax.set_xlim(0, across)
            ax.set_ylim(len(names), 0)
            counts = [
                f"{name} {int(mask[:, t].sum())}" if line == 0 else name for t, name in enumerate(names)
            ]
            ax.set_yticks(np.arange(len(names)) + 0.5, counts)
            ax.set_xticks(
                np.arange(0, part.shape[1] + 1, 16),
                [str(line * across + i) for i in range(0, part.shape[1] + 1, 16)],
            )
            ax.tick_params(length=0, labelsize=6.5)
            ax.grid(False)
            for spine in ax.spines.values():
                spine.set_visible(False)
        axes[-1].set_xlabel("training image (each column one image; grey: the label is hidden)")
        cut = f", the first {shown} of" if shown < len(mask) else ","
        what = f"Visible labels under label seed {record.spec['label_seed']}{cut} {len(mask)} images"
        style.add_title(fig, heading(board, what))
        return style.save(fig, folder / "labels"), []


@dataclass(frozen=True)
class _Matrix:
    """A row's matrix (R, C), the mean over n seeds. labels: names along its two axes; axes: what the axes
    are, y first.
    """

    entry: Entry
    values: np.ndarray
    labels: list[list[str]]
    axes: list[str]
    n: int


def matrices(board: Board, folder: Path) -> tuple[list[Path], list[str]]:
    """Every diagnostic of kind matrix: one figure a name, one plot a row, the mean over its seeds."""
    found: dict[str, list[_Matrix]] = defaultdict(list)
    notes = []
    for entry in (e for e in board.entries if not e.row.outdated):
        records = entry.row.records
        for name in sorted(
            {n for r in records for n, d in r["diagnostics"].items() if d.get("kind") == "matrix"}
        ):
            held = [r["diagnostics"][name] for r in records if name in r["diagnostics"]]
            arrays = [np.asarray(d["array"], dtype=float) for d in held]
            if len({a.shape for a in arrays}) != 1 or arrays[0].ndim != 2:
                notes.append(
                    f"matrix_{name}: {entry.label} is left out, because its seeds' arrays are not matrices "
                    f"of one shape."
                )
                continue
            labels, axes = held[0].get("labels") or [], held[0].get("axes") or []
            found[name].append(_Matrix(entry, np.mean(arrays, axis=0), labels, axes, len(arrays)))
    if not found:
        return [], [*notes, "matrix: no record holds a diagnostic of kind matrix."]
    files = []
    for name, parts in sorted(found.items()):
        for part in parts[MAX_MATRICES:]:
            notes.append(
                f"matrix_{name}: {part.entry.label} is left out, because only {MAX_MATRICES} rows are drawn."
            )
        files += _matrix_figure(board, name, parts[:MAX_MATRICES], folder)
    return files, notes


def _matrix_figure(board: Board, name: str, parts: list[_Matrix], folder: Path) -> list[Path]:
    rows, columns = (max(sides) for sides in zip(*(part.values.shape for part in parts), strict=True))
    # A cell that holds a number is wide enough for it.
    wide, high = (0.9 + max(1.2, CELL * min(side, ANNOTATED)) for side in (columns, rows))
    across = max(1, min(len(parts), int((style.WIDTH - 0.5) // wide)))
    down = -(-len(parts) // across)
    look = style.matrix_look([part.values for part in parts])
    width = max(3.5, across * wide + 0.5)
    what = heading(board, f"{name}, mean over seeds", width)
    with style.figure(width, 0.4 + 0.14 * what.count("\n") + down * (high - 0.2)) as fig:
        axes = fig.subplots(down, across, squeeze=False)
        for ax in axes.flat[len(parts) :]:
            ax.set_visible(False)
        for ax, part in zip(axes.flat, parts, strict=False):
            image = ax.imshow(part.values, aspect="auto", **look)
            _label_matrix(ax, part.values, part.labels)
            if part.axes:
                ax.set_ylabel(part.axes[0])
                ax.set_xlabel(part.axes[1])
            ax.set_title(f"{wrapped(part.entry.label, 20)}, n={part.n}", fontsize=8)
            ax.grid(False)
        fig.colorbar(image, ax=axes, shrink=0.8, aspect=25, pad=0.02)
        style.add_title(fig, what)
        return style.save(fig, folder / f"matrix_{name}")


def _label_matrix(ax: Axes, matrix: np.ndarray, labels: list[list[str]]) -> None:
    """Names at the axes, and the numbers in the cells of a small matrix."""
    for axis, size, set_ticks in ((0, matrix.shape[0], ax.set_yticks), (1, matrix.shape[1], ax.set_xticks)):
        names = labels[axis] if len(labels) > axis and len(labels[axis]) == size else None
        if names and size <= 20:
            set_ticks(range(size), names)
    if matrix.shape[1] > 4:
        ax.tick_params(axis="x", rotation=45)
    if max(matrix.shape) <= ANNOTATED:
        norm = ax.images[0].norm
        for (r, c), value in np.ndenumerate(matrix):
            rgb = ax.images[0].cmap(norm(value))
            dark = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] < 0.5
            ax.text(
                c,
                r,
                minus(fixed(value, 2)),
                ha="center",
                va="center",
                fontsize=7,
                color="white" if dark else "black",
            )
