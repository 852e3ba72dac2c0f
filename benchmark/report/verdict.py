"""Which row is ahead of which: paired comparisons and their correction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.report import statistics
from benchmark.report.rows import Group, Pair, Row


@dataclass(frozen=True)
class Comparison:
    """A row with another over the n units that both share with the reference.

    differences: {unit: difference in points of delta m}. p: exact two-sided sign-flip test. p_holm: that
    corrected for the family of comparisons with the baseline, None outside it or where it has too few seeds
    to decide. p_better: share of units in which the row is ahead, ties half. rho: correlation of the two over
    units, None below three.
    """

    differences: dict[int, float]
    p: float
    p_better: float
    rho: float | None
    p_holm: float | None = None


def shared(*rows: Row) -> list[Pair]:
    """The seeds that all rows have complete."""
    return sorted(set.intersection(*(set(row.seeds) for row in rows)))


def compare(g: Group, a: Row, b: Row, reference: Row) -> Comparison | None:
    """The comparison of a with b, None without seeds that all three share or where the reference scores 0."""
    pairs = shared(a, b, reference)
    if not pairs or (g.scores(reference, pairs).mean(0) == 0).any():
        return None
    signs = np.array([t.sign for t in g.tasks], dtype=float)
    of_a, of_b, base = (g.scores(row, pairs) for row in (a, b, reference))
    d = statistics.differences(of_a, of_b, base, signs)
    by_unit = {unit: float(value) for unit, value in zip(g.units(pairs), d, strict=True)}
    return Comparison(
        by_unit,
        statistics.sign_flip(d),
        statistics.p_better(d),
        statistics.correlation(of_a, of_b, base, signs),
    )


def holm(found: Sequence[Comparison | None]) -> list[float]:
    """The corrected p of each comparison of a family; one that has no seeds yet counts with p = 1."""
    return [float(p) for p in statistics.holm(np.array([c.p if c else 1.0 for c in found]))]
