"""Draw which row is ahead of which: the paired difference of every two rows."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from benchmark.report import statistics
from benchmark.report.board import RANKED_SEEDS, Board, Entry
from benchmark.report.captions import without_delta
from benchmark.report.figures import style
from benchmark.report.figures.style import Drawing, comparable, minus, paragraphs, wrapped
from benchmark.report.formats import counted, signed
from benchmark.report.naming import title
from benchmark.report.statistics import Estimate
from benchmark.report.verdict import shared

CELL = 0.46  # inches
AHEAD, BEHIND, UNSURE = "ahead", "behind", "cannot tell"
MARKS = {AHEAD: "▲", BEHIND: "▼", UNSURE: "?"}
# The two sides of the map of `changes`, pale enough for black numbers; grey for neither.
COLOURS = {AHEAD: "#bcb7da", BEHIND: "#fdc57f", UNSURE: "#efefef"}


def gap(board: Board, a: Entry, b: Entry) -> Estimate | None:
    """Return delta m of a minus that of b over the seeds shared with the reference."""
    reference, g = board.reference, board.group
    pairs = shared(a.row, b.row, reference.row) if reference else []
    if not pairs or reference is None:
        return None
    base = g.scores(reference.row, pairs)
    if (base.mean(0) == 0).any():
        return None
    return statistics.difference(
        g.scores(a.row, pairs), g.scores(b.row, pairs), base, np.array([t.sign for t in g.tasks], dtype=float)
    )


def verdict(found: Estimate, planned: tuple[int, ...], *rows: Entry) -> str:
    """Return one of `MARKS`."""
    missing = not all(e.whole(planned) for e in rows)
    if missing or found.n < RANKED_SEEDS or not found.excludes_zero():
        return UNSURE
    return AHEAD if found.value > 0 else BEHIND


def wins(board: Board, drawing: Drawing) -> None:
    """Draw a cell for every two rows: delta m, row minus column, and the verdict."""
    rows = drawing.select("wins", comparable(board))
    n = len(rows)
    pairs = {(r, c): gap(board, rows[r], rows[c]) for r in range(n) for c in range(r + 1, n)}
    gaps = {at: found for at, found in pairs.items() if found is not None}
    if not gaps:
        return drawing.omit("wins", "no two rows share seeds" if rows else without_delta(board))
    verdicts = {(r, c): verdict(found, board.planned, rows[r], rows[c]) for (r, c), found in gaps.items()}
    kinds, cells = list(MARKS), np.full((n, n), np.nan)
    texts = np.full((n, n), "", dtype=object)
    for at, found in gaps.items():
        cells[at] = kinds.index(verdicts[at])
        texts[at] = minus(f"{signed(found.value)}\n{MARKS[verdicts[at]]}")
    width = min(style.WIDTH, max(4.6, 2.0 + CELL * (n - 1)))
    what = (
        "Pairwise differences of Δm (row minus column, points), paired by seed. Descriptive and not "
        "corrected for their number; "
        f"only the comparisons with {board.group.protocol['baseline'] or 'a baseline'} are confirmatory"
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
        style.legend_below(fig, _legend(board, rows, [*gaps.values()], width), 1)


def _legend(board: Board, rows: list[Entry], gaps: list[Estimate], width: float) -> list[Patch]:
    """What the verdicts mean, with why nothing can be told where that is so for all."""
    least, most = min(found.n for found in gaps), max(found.n for found in gaps)
    unsure = (
        f"cannot tell: the interval includes 0, two rows share fewer than {RANKED_SEEDS} seeds, or a planned "
        f"seed is missing"
    )
    if most < RANKED_SEEDS:
        seeds = f"{least} to {most} seeds" if least < most else counted(most, "seed")
        unsure = f"cannot tell: these rows share {seeds}, and fewer than {RANKED_SEEDS} tell nothing apart"
    elif not any(e.whole(board.planned) for e in rows):
        unsure = "cannot tell: every row lacks a planned seed"
    texts = {
        AHEAD: "row ahead: the paired 95 % interval of the difference is above 0",
        BEHIND: "row behind: the interval is below 0",
        UNSURE: unsure,
    }
    return [
        Patch(facecolor=COLOURS[kind], label=paragraphs(f"{MARKS[kind]} {text}", inches=width - 0.4))
        for kind, text in texts.items()
    ]
