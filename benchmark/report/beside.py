"""What stands beside delta m: other definitions, other references, the oracle, test images, and where the
noise comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmark.report import paired, variance
from benchmark.report.definitions import Definitions, definitions
from benchmark.report.images import Images, Resampled
from benchmark.report.references import Against, References, against, oracle_delta_m
from benchmark.report.rows import Group, Pair, Row
from benchmark.report.variance import Split


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


@dataclass(frozen=True)
class Beside:
    """See the types of its fields. oracle: delta m of best evaluations on the test set, a diagnostic.
    variance: {task, or "delta_m": split into label seed and train seed}, empty where they cannot be told
    apart."""

    definitions: Definitions = field(default_factory=Definitions)
    against: Against = field(default_factory=Against)
    oracle: float | None = None
    images: Images | None = None
    variance: dict[str, Split] = field(default_factory=dict)


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
    d = paired.differences(of_a, of_b, base, signs)
    by_unit = {unit: float(value) for unit, value in zip(g.units(pairs), d, strict=True)}
    return Comparison(
        by_unit, paired.sign_flip(d), paired.p_better(d), paired.correlation(of_a, of_b, base, signs)
    )


def holm(found: Sequence[Comparison | None]) -> list[float]:
    """The corrected p of each comparison of a family; one that has no seeds yet counts with p = 1."""
    return [float(p) for p in paired.holm(np.array([c.p if c else 1.0 for c in found]))]


def beside(
    g: Group, row: Row, reference: Row | None, baseline: Row | None, others: References, resampled: Resampled
) -> Beside:
    """All of it for a row. baseline: None for rows that are not compared with one."""
    split = variance.splits(g, row, reference)
    if not row.seeds:
        return Beside()
    scores = resampled.scores(row)
    pairs = shared(row, reference) if reference else []
    if not pairs or reference is None or (g.scores(reference, pairs).mean(0) == 0).any():
        return Beside(against=against(g, row, others), images=Images(scores), variance=split)
    if row is reference:
        return Beside(definitions(g, row, row, pairs), against(g, row, others), None, Images(scores), split)
    three = shared(row, baseline, reference) if baseline else []
    delta = resampled.delta(row, reference, pairs)
    versus = resampled.difference(row, baseline, reference, three) if baseline and three else None
    oracle = oracle_delta_m(g, row, reference, pairs)
    return Beside(
        definitions(g, row, reference, pairs),
        against(g, row, others),
        oracle,
        Images(scores, delta, versus),
        split,
    )
