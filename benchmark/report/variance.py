"""How much of a method's noise is the draw of labels, and how much the training: variance components of a
crossed grid.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from benchmark.report.rows import Group, Pair, Row
from benchmark.report.stats import Array

LABEL_SEEDS, TRAIN_SEEDS = 4, 3  # the smallest grid whose components mean something


DELTA_M = "delta_m"


@dataclass(frozen=True)
class Split:
    """Standard deviations, in the unit of the values: over label seeds, over train seeds, and of what is
    left, which holds the interaction of the two and what differs when a run is repeated. label_seeds,
    train_seeds: the size of the grid."""

    label_sd: float
    train_sd: float
    rest_sd: float
    label_seeds: int
    train_seeds: int


def components(values: Array) -> Split:
    """The split of values (a, b), a label seeds times b train seeds, one run each.

    Crossed random effects y_ij = mean + L_i + T_j + e_ij, by the mean squares of the two-way analysis of
    variance (Searle, Casella, McCulloch, Variance Components, 1992, section 4.7): var e = MS_e, var L = (MS_L
    - MS_e) / b, var T = (MS_T - MS_e) / a. An estimate below 0 is 0.
    """
    a, b = values.shape
    mean, rows, columns = values.mean(), values.mean(1, keepdims=True), values.mean(0, keepdims=True)
    rest = float(((values - rows - columns + mean) ** 2).sum() / ((a - 1) * (b - 1)))
    of_labels = float(b * ((rows - mean) ** 2).sum() / (a - 1))
    of_training = float(a * ((columns - mean) ** 2).sum() / (b - 1))
    variances = (max(0.0, (of_labels - rest) / b), max(0.0, (of_training - rest) / a), rest)
    label, train, left = (variance**0.5 for variance in variances)
    return Split(label, train, left, a, b)


def split(values: Mapping[Pair, float]) -> Split | None:
    """The split of {(label seed, train seed): value}, None where no grid of 4 label seeds x 3 train seeds is
    complete.

    The grid is that of the label seeds with three train seeds or more, and of the train seeds that all of
    those have.
    """
    trained: dict[int, set[int]] = defaultdict(set)
    for label, train in values:
        trained[label].add(train)
    labels = sorted(label for label, found in trained.items() if len(found) >= TRAIN_SEEDS)
    shared = sorted(set.intersection(*(trained[label] for label in labels))) if labels else []
    if len(labels) < LABEL_SEEDS or len(shared) < TRAIN_SEEDS:
        return None
    return components(np.array([[values[label, train] for train in shared] for label in labels], dtype=float))


def splits(g: Group, row: Row, reference: Row | None) -> dict[str, Split]:
    """{task: the split of its primary metric} of a row, and under `DELTA_M` that of delta m, in points, with
    the reference held
    at its mean: the row's own noise. Empty where the two seeds cannot be told apart.

    They cannot under a fixed mask, where the label seed changes nothing.
    """
    if g.fixed_mask:
        return {}
    values = {
        t.name: {pair: seed.value(t.name, t.metric) for pair, seed in row.seeds.items()} for t in g.tasks
    }
    scores = {task: {pair: v for pair, v in found.items() if v is not None} for task, found in values.items()}
    if reference and reference.seeds:
        base = dict(zip(scores, g.scores(reference, reference.seeds).mean(0), strict=True))
        if all(base.values()):
            weight = {t.name: 100 * t.sign / base[t.name] / len(g.tasks) for t in g.tasks}
            scores[DELTA_M] = {
                pair: sum(weight[t.name] * scores[t.name][pair] for t in g.tasks) for pair in row.seeds
            }
    found = {name: split(by_pair) for name, by_pair in scores.items()}
    return {name: result for name, result in found.items() if result}
