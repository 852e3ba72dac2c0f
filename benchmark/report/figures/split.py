"""Where the noise comes from: the draw of labels, the training, and what is left, for delta m and each
task.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import seaborn as sns
from matplotlib.patches import Patch

from benchmark.report.board import Board, Entry
from benchmark.report.figures import style
from benchmark.report.figures.style import chosen, heading, wrapped
from benchmark.report.formats import fixed
from benchmark.report.references import DELTA_M
from benchmark.report.statistics import LABEL_SEEDS, TRAIN_SEEDS

FIGURE = "variance"
MAX_ROWS = 12
PARTS = ("label seed", "train seed", "rest (interaction, re-runs)")


class Noise(NamedTuple):
    """Standard deviations of one quantity of a row: points of delta m, or percent of the reference's mean
    score of a task.
    """

    label: float
    train: float
    rest: float


def noise(board: Board, entry: Entry) -> dict[str, Noise]:
    """{task, or `DELTA_M`: its noise} of a row, in points of delta m or percent of what the reference scores;
    {} where the parts cannot be told apart or no reference gives the scale."""
    reference, g = board.reference, board.group
    if reference is None or not reference.units:
        return {}
    base = dict(
        zip((t.name for t in g.tasks), g.scores(reference.row, reference.row.seeds).mean(0), strict=True)
    )
    scale = {name: 100 / abs(float(mean)) for name, mean in base.items() if mean} | {DELTA_M: 1.0}
    return {
        name: Noise(*(scale[name] * sd for sd in (found.label_sd, found.train_sd, found.rest_sd)))
        for name, found in entry.beside.variance.items()
        if name in scale
    }


def variance(board: Board, folder: Path) -> tuple[list[Path], list[str]]:
    """A plot a quantity; in it three bars a row: the noise over label seeds, over train seeds, and what is
    left.
    """
    rows = [e for e in board.entries if e.units and not e.row.outdated]
    found = {e.label: noise(board, e) for e in rows}
    split = [e for e in rows if found[e.label]]
    if not split:
        why = (
            f"no row has a whole grid of {LABEL_SEEDS} label seeds x {TRAIN_SEEDS} train seeds, so its "
            f"parts are not separable"
        )
        if board.group.fixed_mask:
            why = f"labels '{board.group.labels}' are one mask, so all noise is that of training"
        elif any(e.beside.variance for e in rows):
            why = "no seed of the reference is complete, which gives the scale"
        return [], [f"{FIGURE}: {why}."]
    kept = chosen(split, MAX_ROWS)
    notes = [
        f"{FIGURE}: {e.label} is left out, because only {MAX_ROWS} rows are drawn."
        for e in split
        if e not in kept
    ]
    notes += [
        f"{FIGURE}: {e.label} is left out: not separable without a whole grid of {LABEL_SEEDS} label seeds x "
        f"{TRAIN_SEEDS} "
        f"train seeds."
        for e in rows
        if e not in split
    ]
    names = [
        name
        for name in (DELTA_M, *(t.name for t in board.group.tasks))
        if any(name in found[e.label] for e in kept)
    ]
    grids = sorted({(s.label_seeds, s.train_seeds) for e in kept for s in e.beside.variance.values()})
    sizes = ", ".join(f"{a} label x {b} train seeds" for a, b in grids)
    metrics = {t.name: f"{t.name} {t.metric}" for t in board.group.tasks} | {DELTA_M: "Δm (points)"}
    reference = board.reference.label if board.reference else ""
    what = (
        f"Noise by source, over {sizes}: standard deviations, for tasks in % of {reference}'s mean. "
        f"Estimates from so few seeds "
        f"are rough"
    )
    across = min(4, len(names))
    down = -(-len(names) // across)
    title = heading(board, what)
    with style.figure(style.WIDTH, 0.65 + 0.14 * title.count("\n") + down * (0.55 + 0.42 * len(kept))) as fig:
        axes = fig.subplots(down, across, squeeze=False, sharex=True, sharey=True)
        for ax in axes.flat[len(names) :]:
            ax.set_visible(False)
        colours = sns.color_palette("colorblind", 3)
        for ax, name in zip(axes.flat, names, strict=False):
            for y, entry in enumerate(kept):
                for k, sd in enumerate(found[entry.label].get(name, ())):
                    at = y + 0.27 * (k - 1)
                    ax.barh(at, sd, height=0.25, color=colours[k], zorder=2)
                    ax.annotate(
                        fixed(sd, 2), (sd, at), (2, 0), textcoords="offset points", va="center", fontsize=6
                    )
            ax.set_title(metrics[name])
            ax.grid(False, axis="y")
            ax.tick_params(labelbottom=True)
            ax.set_xlabel("points" if name == DELTA_M else "% of the mean")
        largest = max(sd for of in found.values() for parts in of.values() for sd in parts)
        axes[0, 0].set_xlim(0, 1.25 * largest or 1)
        axes[0, 0].set_yticks(np.arange(len(kept)), [wrapped(e.label) for e in kept])
        axes[0, 0].set_ylim(len(kept) - 0.5, -0.5)
        handles = [Patch(color=colour, label=part) for colour, part in zip(colours, PARTS, strict=True)]
        fig.legend(handles=handles, loc="outside lower center", ncols=3)
        style.add_title(fig, title)
        return style.save(fig, folder / FIGURE), notes
