"""The picture in a cell of the table: delta m with its interval and seeds on one scale for the whole
board.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.report.board import Board, Entry
from benchmark.report.figures.limits import axis_limits

WIDTH, HEIGHT, MARGIN = 112, 16, 5  # pixels


def scale(board: Board) -> tuple[float, float]:
    """The least and the largest delta m that a strip shows: every seed, and intervals as far as they do not
    crush the rest.
    """
    rows = [e for e in board.entries if e.delta]
    seeds = [0.0] + [e.delta.value + psi for e in rows if e.delta for psi in (0.0, *(e.psi or {}).values())]
    bounds = (b for e in rows if e.delta for b in (e.delta.low, e.delta.high) if b is not None)
    return axis_limits(seeds, bounds, beyond=0.5, margin=0.0)


@dataclass(frozen=True)
class Strip:
    """Positions in pixels from the left. low, high: the ends of the interval, cut at the frame where cut_low
    or cut_high.
    """

    zero: float
    mean: float
    seeds: tuple[float, ...]
    low: float | None
    high: float | None
    cut_low: bool = False
    cut_high: bool = False
    width: int = WIDTH
    height: int = HEIGHT

    @classmethod
    def of(cls, entry: Entry, reference: bool, bounds: tuple[float, float]) -> Strip | None:
        """The strip of a row, None without delta m."""
        if entry.delta is None:
            return None
        least, most = bounds
        usable = WIDTH - 2 * MARGIN

        def at(value: float) -> float:
            share = (min(max(value, least), most) - least) / ((most - least) or 1.0)
            return round(MARGIN + usable * share, 1)

        value, low, high = entry.delta.value, entry.delta.low, entry.delta.high
        seeds = () if reference else tuple(at(value + psi) for psi in (entry.psi or {}).values())
        if low is None or high is None:
            return cls(at(0.0), at(value), seeds, None, None)
        return cls(at(0.0), at(value), seeds, at(low), at(high), low < least, high > most)
