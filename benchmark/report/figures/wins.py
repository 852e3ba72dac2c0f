"""Draw which row is ahead of which: the paired difference of every two rows."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from benchmark.report.board import Board
from benchmark.report.captions import without_delta
from benchmark.report.figures import style
from benchmark.report.figures.style import Drawing, comparable, minus, paragraphs, wrapped
from benchmark.report.formats import signed
from benchmark.report.naming import title
from benchmark.report.verdict import AHEAD, BEHIND, TOO_FEW, UNSURE, Comparison

CELL = 0.46  # inches
MARKS = {AHEAD: "▲", BEHIND: "▼", UNSURE: "?"}
# The two sides of the map of `changes`, pale enough for black numbers; grey for neither.
COLOURS = {AHEAD: "#bcb7da", BEHIND: "#fdc57f", UNSURE: "#efefef"}


def wins(board: Board, drawing: Drawing) -> None:
    """Draw a cell for every two rows: delta m, row minus column, and the verdict."""
    rows = drawing.select("wins", comparable(board))
    n = len(rows)
    at = [(r, c) for r in range(n) for c in range(r + 1, n)]
    pairs = {(r, c): board.verdicts.pair(rows[r].row, rows[c].row) for r, c in at}
    found = {where: compared for where, compared in pairs.items() if compared is not None}
    if not found:
        return drawing.omit("wins", "no two rows share seeds" if rows else without_delta(board))
    kinds, cells = list(MARKS), np.full((n, n), np.nan)
    texts = np.full((n, n), "", dtype=object)
    for where, compared in found.items():
        cells[where] = kinds.index(compared.verdict)
        texts[where] = minus(f"{signed(compared.estimate.value)}\n{MARKS[compared.verdict]}")
    width = min(style.WIDTH, max(4.6, 2.0 + CELL * (n - 1)))
    what = (
        "Pairwise differences of Δm (row minus column, points), paired by seed; marked where the exact test "
        "is sure, corrected within the named contrasts, else for all pairs"
    )
    with drawing.figure("wins", what, title(board.group), width=width, height=0.2 + CELL * n) as fig:
        ax = fig.add_subplot()
        names = [f"{wrapped(e.label)}  {i}" for i, e in enumerate(rows, 1)]
        numbers = [str(i) for i in range(2, n + 1)]
        colours = {"cmap": ListedColormap([*COLOURS.values()]), "vmin": 0, "vmax": len(kinds) - 1}
        annotation = {"size": 7, "color": "black"}
        style.heat_map(ax, cells[:, 1:], texts[:, 1:], names, numbers, **colours, annot_kws=annotation)
        ax.tick_params(labeltop=True, labelbottom=False)
        ax.grid(False)
        style.legend_below(fig, _legend([*found.values()], width), 1)


def _legend(found: list[Comparison], width: float) -> list[Patch]:
    """What the verdicts mean, with why nothing can be told where that is so for all."""
    reasons = {compared.reason for compared in found}
    unsure = f"{UNSURE}: the test is not sure, a planned seed is missing, or {TOO_FEW}"
    if len(reasons) == 1 and "" not in reasons:
        unsure = f"{UNSURE}: {reasons.pop()}"
    texts = {AHEAD: "row ahead, sure", BEHIND: "row behind, sure", UNSURE: unsure}
    return [
        Patch(facecolor=COLOURS[kind], label=paragraphs(f"{MARKS[kind]} {text}", inches=width - 0.4))
        for kind, text in texts.items()
    ]
