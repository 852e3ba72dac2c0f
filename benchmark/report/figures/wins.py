"""Which row is ahead of which: the paired differences of every two rows of a board, and whether they can be
told apart.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.patches import Patch, Rectangle

from benchmark.report import statistics
from benchmark.report.board import RANKED_SEEDS, Board, Entry
from benchmark.report.captions import without_delta
from benchmark.report.figures import style
from benchmark.report.figures.style import chosen, comparable, heading, minus, wrapped
from benchmark.report.formats import signed
from benchmark.report.statistics import Estimate
from benchmark.report.verdict import shared

MAX_ROWS = 12  # whose numbers can still be read at a page's width
CELL = 0.46  # inches
AHEAD, BEHIND, UNSURE = "ahead", "behind", "cannot tell"
MARKS = {AHEAD: "▲", BEHIND: "▼", UNSURE: "?"}
# The two sides of the map of `changes`, pale enough for black numbers; grey for neither.
_COLOURS = {AHEAD: "#bcb7da", BEHIND: "#fdc57f", UNSURE: "#efefef"}


def gap(board: Board, a: Entry, b: Entry) -> Estimate | None:
    """Delta m of a minus that of b, in points, over the seeds that both and the board's reference share; None
    without any.
    """
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
    """One of `MARKS`. Rows that lack a planned seed and differences over few seeds cannot be told apart."""
    missing = not all(e.whole(planned) for e in rows)
    if missing or found.n < RANKED_SEEDS or not found.excludes_zero():
        return UNSURE
    return AHEAD if found.value > 0 else BEHIND


def wins(board: Board, folder: Path) -> tuple[list[Path], list[str]]:
    """A cell for every two rows, in the order of the board: the difference of delta m, row minus column, and
    the verdict.
    """
    entries = chosen(comparable(board), MAX_ROWS)
    notes = [
        f"wins: {e.label} is left out, because only {MAX_ROWS} rows are drawn."
        for e in comparable(board)
        if e not in entries
    ]
    cells = {
        (r, c): gap(board, entries[r], entries[c])
        for r in range(len(entries))
        for c in range(r + 1, len(entries))
    }
    found = {at: estimate for at, estimate in cells.items() if estimate is not None}
    if not found:
        why = "no two rows share seeds" if entries else without_delta(board)
        return [], [*notes, f"wins: {why}."]
    names = [f"{wrapped(e.label)}  {i}" for i, e in enumerate(entries, 1)]
    left = max(_long(name) - CELL * i for i, name in enumerate(names)) + 0.1
    size = min(CELL, (style.WIDTH - left - 0.1) / (len(names) - 1))
    width, high, above = max(4.6, left + 0.1 + size * (len(names) - 1)), size * len(names), 0.2
    what = (
        "Pairwise differences of Δm (row minus column, points), paired by seed. Descriptive and not "
        "corrected for their number; "
        f"only the comparisons with {board.group.protocol['baseline'] or 'a baseline'} are confirmatory"
    )
    title = heading(board, what, width)
    lacking = not any(entries[i].whole(board.planned) for at in found for i in at)
    legend = _legend(lacking, [*found.values()], width)
    below = 0.1 + 0.16 * sum(str(patch.get_label()).count("\n") + 1 for patch in legend)
    over = 0.1 + 0.15 * (title.count("\n") + 1)
    total = over + above + high + below
    with style.figure(width, total) as fig:
        fig.set_layout_engine("none")  # the names stand beside their first cells: placed by hand
        ax = fig.add_axes((left / width, below / total, (high - size) / width, high / total))
        ax.set_xlim(0.5, len(names) - 0.5)
        ax.set_ylim(len(names) - 0.5, -0.5)
        style.hide(ax)
        for (r, c), estimate in found.items():
            said = verdict(estimate, board.planned, entries[r], entries[c])
            ax.add_patch(
                Rectangle(
                    (c - 0.5, r - 0.5), 1, 1, facecolor=_COLOURS[said], edgecolor="white", linewidth=1.2
                )
            )
            ax.text(c, r - 0.14, minus(signed(estimate.value)), ha="center", va="center", fontsize=7.5)
            ax.text(c, r + 0.25, MARKS[said], ha="center", va="center", fontsize=6)
        for i, name in enumerate(
            names
        ):  # a name ends below the cells of its column, left of those of its row
            ax.text(i + 0.4, i, name, ha="right", va="center", fontsize=7.5)
            if i:
                ax.text(i, -0.6, str(i + 1), ha="center", va="bottom", fontsize=7.5)
        fig.legend(
            handles=legend, loc="lower left", bbox_to_anchor=(0.01, 0.0), borderaxespad=0, handlelength=1.2
        )
        fig.text(0.01, 1 - 0.06 / total, title, ha="left", va="top", fontsize=8.5)
        return style.save(fig, folder / "wins"), notes


def _long(name: str) -> float:
    """About how many inches a name in 7.5 points takes."""
    return 0.065 * max(map(len, name.split("\n")))


def _legend(lacking: bool, found: list[Estimate], width: float) -> list[Patch]:
    """What the three verdicts mean, with why nothing can be told where that is so for all. lacking: no row
    has all its seeds.
    """
    seeds = sorted({estimate.n for estimate in found})
    few = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    unsure = (
        f"cannot tell: the interval includes 0, two rows share fewer than {RANKED_SEEDS} seeds, or a "
        f"planned seed is missing"
    )
    if seeds[-1] < RANKED_SEEDS:
        unsure = (
            f"cannot tell: these rows share {few} seed{'s' * (few != '1')}, and fewer than "
            f"{RANKED_SEEDS} tell nothing apart"
        )
    elif lacking:
        unsure = "cannot tell: every row lacks a planned seed"
    texts = {
        AHEAD: "row ahead: the paired 95 % interval of the difference is above 0",
        BEHIND: "row behind: the interval is below 0",
        UNSURE: unsure,
    }
    return [
        Patch(facecolor=_COLOURS[said], label=textwrap.fill(f"{MARKS[said]} {text}", int(15 * width)))
        for said, text in texts.items()
    ]
