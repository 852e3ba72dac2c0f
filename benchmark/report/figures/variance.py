"""Draw where noise comes from: the draw of labels, the training, and the rest."""

from __future__ import annotations

import seaborn as sns
from matplotlib.patches import Patch

from benchmark.report.board import Board, Entry
from benchmark.report.figures import style
from benchmark.report.figures.style import Drawing, reference_label, wrapped
from benchmark.report.formats import fixed
from benchmark.report.naming import title
from benchmark.report.references import DELTA_M
from benchmark.report.statistics import LABEL_SEEDS, TRAIN_SEEDS

FIGURE = "variance"
PARTS = ("label seed", "train seed", "rest (interaction, re-runs)")


def noise(board: Board, entry: Entry) -> dict[str, tuple[float, float, float]]:
    """Return {task or `DELTA_M`: standard deviations of `PARTS`} of a row.

    In points of delta m, or percent of the reference's mean score of a task; {} where the parts are not
    separable or no reference gives the scale.
    """
    reference, g = board.reference, board.group
    if reference is None or not reference.units:
        return {}
    scale = {t.name: 100 / abs(mean) for t in g.tasks if (mean := reference.row.mean(t))}
    scale[DELTA_M] = 1.0
    parts = {name: part for name, part in entry.beside.variance.items() if name in scale}
    return {
        name: (scale[name] * part.label_sd, scale[name] * part.train_sd, scale[name] * part.rest_sd)
        for name, part in parts.items()
    }


def variance(board: Board, drawing: Drawing) -> None:
    """Draw a plot a quantity, in it three bars a row: the noise of each of `PARTS`."""
    rows = style.current(board)
    noises = {e.label: noise(board, e) for e in rows}
    separable = [e for e in rows if noises[e.label]]
    grid = f"a whole grid of {LABEL_SEEDS} label seeds x {TRAIN_SEEDS} train seeds"
    if not separable:
        reason = f"no row has {grid}, so its parts are not separable"
        if board.group.fixed_mask:
            reason = f"labels '{board.group.labels}' are one mask, so all noise is that of training"
        elif any(e.beside.variance for e in rows):
            reason = "no seed of the reference is complete, which gives the scale"
        return drawing.omit(FIGURE, reason)
    for entry in (e for e in rows if e not in separable):
        drawing.omit(FIGURE, f"{entry.label} is left out: not separable without {grid}")
    kept = drawing.select(FIGURE, separable)
    titles = {DELTA_M: "Δm (points)"} | {t.name: f"{t.name} {t.metric}" for t in board.group.tasks}
    names = [name for name in titles if any(name in noises[e.label] for e in kept)]
    grids = sorted({(v.label_seeds, v.train_seeds) for e in kept for v in e.beside.variance.values()})
    sizes = ", ".join(f"{a} label x {b} train seeds" for a, b in grids)
    what = (
        f"Noise by source, over {sizes}: standard deviations, for tasks in % of "
        f"{reference_label(board)}'s mean. Estimates from so few seeds are rough"
    )
    across = min(4, len(names))
    down = -(-len(names) // across)
    colours = sns.color_palette("colorblind", len(PARTS))
    height = down * (0.55 + 0.42 * len(kept))
    with drawing.figure(FIGURE, what, title(board.group), height=height) as fig:
        axes = fig.subplots(down, across, squeeze=False, sharex=True, sharey=True)
        for ax, name in zip(axes.flat, names, strict=False):
            rows_here = [y for y, e in enumerate(kept) if name in noises[e.label]]
            for k, colour in enumerate(colours):
                values = [noises[kept[y].label][name][k] for y in rows_here]
                bars = ax.barh([y + 0.27 * (k - 1) for y in rows_here], values, 0.25, color=colour, zorder=2)
                ax.bar_label(bars, [fixed(value, 2) for value in values], padding=2, fontsize=6)
            ax.set_title(titles[name])
            ax.tick_params(labelbottom=True)
            ax.set_xlabel("points" if name == DELTA_M else "% of the mean")
            style.name_rows(ax, [wrapped(e.label) for e in kept])
        largest = max(sd for e in kept for parts in noises[e.label].values() for sd in parts)
        axes[0, 0].set_xlim(0, 1.25 * largest or 1)
        handles = [Patch(color=colour, label=part) for colour, part in zip(colours, PARTS, strict=True)]
        style.legend_below(fig, handles, len(PARTS))
