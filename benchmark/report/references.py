"""What delta m is relative to, and what stands beside it: other references and definitions, the oracle, test
images, where the noise comes from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmark.report import statistics
from benchmark.report.images import Images, Resampled
from benchmark.report.rows import Group, Pair, Row, TaskInfo, average
from benchmark.report.statistics import Estimate, Split
from benchmark.report.verdict import shared

DELTA_M = "delta_m"


def named(rows: Sequence[Row], method: str) -> Row | None:
    """The row that a protocol means by a method's name: its newest version, the fewest changes, equal
    weights.
    """
    found = [row for row in rows if row.method == method]
    return min(found, key=lambda r: (-r.version, len(r.changed), r.balance != "equal", r.label), default=None)


@dataclass(frozen=True)
class Other:
    """The reference of another group than the row's own. g: that group. by_train: its labels are others, so
    that its seeds pair with a row's by train seed alone."""

    g: Group
    row: Row
    by_train: bool = False


@dataclass(frozen=True)
class References:
    """The references that a group's rows can be held against, None where the results hold no comparable one.

    equal_epochs, equal_steps: of the same setting with the budget counted in passes over the images that a
    run may use, and in optimiser steps; the group's own is one of the two. full_labels: trained on every
    label, with the group's own budget.
    """

    equal_epochs: Other | None
    equal_steps: Other | None
    full_labels: Other | None


@dataclass(frozen=True)
class Against:
    """Delta m of one row against each of `References`."""

    equal_epochs: Estimate | None = None
    equal_steps: Estimate | None = None
    full_labels: Estimate | None = None


def references(g: Group, groups: Sequence[Group]) -> References:
    """The references of a group among those of all groups of the results."""
    budgets = {budget: _find(g, groups, {"budget": budget}, g.labels) for budget in ("epochs", "steps")}
    full = next(
        (found for labels in ("full", "fraction:1.0") if (found := _find(g, groups, {}, labels))), None
    )
    return References(budgets["epochs"], budgets["steps"], full)


def against(g: Group, row: Row, found: References) -> Against:
    """Delta m of a row against every reference that shares seeds with it."""
    return Against(
        *(_delta(g, row, other) for other in (found.equal_epochs, found.equal_steps, found.full_labels))
    )


def oracle_delta_m(g: Group, row: Row, reference: Row, pairs: Iterable[Pair]) -> float | None:
    """Delta m had every run, the reference's too, kept its best evaluation on the test set for each task: a
    diagnostic of how much that would flatter, never a score. None where a run was not evaluated during
    training."""
    kept = list(pairs)
    found = []
    for task in g.tasks:
        means = []
        for r in (row, reference):
            values: dict[int, list[float]] = {}
            for pair in kept:
                best = next(
                    (
                        x["oracle"].get(task.name)
                        for x in r.seeds[pair].records
                        if task.name in x.spec["tasks"]
                    ),
                    None,
                )
                if best is None:
                    return None
                values.setdefault(g.unit(pair), []).append(float(best))
            means.append(average([average(v) for v in values.values()]))
        if means[1] == 0:
            return None
        found.append(100 * task.sign * (means[0] / means[1] - 1))
    return float(np.mean(found))


def _find(g: Group, groups: Sequence[Group], changed: dict[str, Any], labels: str) -> Other | None:
    wanted = _unnamed(g.protocol | changed)
    alike = [x for x in groups if (x.dataset, x.variant, x.labels) == (g.dataset, g.variant, labels)]
    # A budget of another kind may stand in a protocol file of another name; that of the same name comes
    # first.
    alike.sort(key=lambda x: x.protocol["name"] != g.protocol["name"])
    for other in alike:
        row = named(other.rows, g.protocol["reference"])
        if (
            _unnamed(other.protocol) == wanted
            and row
            and row.seeds
            and not row.outdated
            and _same_data(g, other)
        ):
            return Other(other, row, by_train=labels != g.labels)
    return None


def _unnamed(protocol: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in protocol.items() if key not in ("name", "version")}


def _same_data(g: Group, other: Group) -> bool:
    """Whether two groups were trained and tested on the same images, and with the same labels where seeds and
    setting agree.
    """
    records = [[r for row in x.rows for r in row.records] for x in (g, other)]
    prints = [{(r["hashes"]["data"], r["hashes"].get("test_data")) for r in found} for found in records]
    tasks = [[(t.name, t.metric) for t in x.tasks] for x in (g, other)]
    masks = [{r.spec["label_seed"]: r["hashes"]["labels"] for r in found} for found in records]
    shared = masks[0].keys() & masks[1].keys() if g.labels == other.labels else ()
    return (
        prints[0] == prints[1]
        and tasks[0] == tasks[1]
        and all(masks[0][seed] == masks[1][seed] for seed in shared)
    )


def _delta(g: Group, row: Row, other: Other | None) -> Estimate | None:
    if other is None:
        return None
    partner = _partners(row, other)
    if not partner:
        return None
    signs = np.array([t.sign for t in g.tasks], dtype=float)
    scores = g.scores(row, partner)
    by_unit: dict[int, list[list[Pair]]] = {}
    for pair, partners in partner.items():
        by_unit.setdefault(g.unit(pair), []).append(partners)
    columns = [other.row.column(t.name, t.metric).items() for t in g.tasks]
    known = [{pair: value for pair, value in column if value is not None} for column in columns]
    base = np.array([[_mean(column, by_unit[unit]) for column in known] for unit in g.units(partner)])
    if (base.mean(0) == 0).any():
        return None
    found = statistics.delta_m(scores, base, signs)
    distinct = {pair[1] for pair in partner}
    if other.by_train and len(distinct) < len(partner):
        # The same runs of the reference stand against several units, so that pairs no longer carry its noise.
        return Estimate(found.value, None, None, found.n)
    return found


def _partners(row: Row, other: Other) -> dict[Pair, list[Pair]]:
    """{seed of the row: the reference's seeds that it pairs with}"""
    pairs = sorted(row.seeds)
    if not other.by_train:
        return {pair: [pair] for pair in pairs if pair in other.row.seeds}
    found = {pair: [q for q in sorted(other.row.seeds) if q[1] == pair[1]] for pair in pairs}
    return {pair: partners for pair, partners in found.items() if partners}


def _mean(column: dict[Pair, float], partners: list[list[Pair]]) -> float:
    """The mean of one metric of a reference over seeds, for one unit."""
    return average([average([column[q] for q in qs]) for qs in partners])


# The metrics that those definitions count, and whether higher is better (1) or lower (-1), by the kind of
# task. For segmentation, depth and normals these are the nine of NYUv2 that papers report; other metrics of
# ours are left out (RMSE of depth, IoU of a class, the precision and recall behind an F, a metric in a second
# form). The primary one is always counted.
_COUNTED: dict[str, dict[str, int]] = {
    "classes": {"mIoU": 1, "pixAcc": 1},
    "depth": {"absErr": -1, "relErr": -1},
    "normals": {"mErr": -1, "medErr": -1, "within11.25": 1, "within22.5": 1, "within30": 1},
}


@dataclass(frozen=True)
class Definitions:
    """Delta m by two other definitions, in percent, higher is better; None where a metric is missing or the
    reference's is 0.

    all_metrics: the flat mean over all metrics of all tasks (Navon et al., "Multi-Task Learning as a
    Bargaining Game", ICML 2022, and its code, which prints it with the opposite sign). task_mean: the mean
    over tasks of the mean over a task's metrics (LibMTL, which prints a share, not percent).
    """

    all_metrics: float | None = None
    task_mean: float | None = None


def counted(task: TaskInfo) -> dict[str, int]:
    """{metric: 1 where higher is better, else -1} of the metrics that count, the primary one first."""
    return {task.metric: task.sign} | _COUNTED.get(task.kind, {})


def definitions(g: Group, row: Row, reference: Row, pairs: Iterable[Pair]) -> Definitions:
    """Both definitions of a row over pairs of seeds that it shares with the reference, means over units
    divided.
    """
    kept = list(pairs)
    by_task = [
        [_change(g, row, reference, kept, task, m, sign) for m, sign in counted(task).items()]
        for task in g.tasks
    ]
    flat = [change for changes in by_task for change in changes]
    if not flat or not all(map(math.isfinite, flat)):
        return Definitions()
    return Definitions(float(np.mean(flat)), float(np.mean([np.mean(changes) for changes in by_task])))


def _change(
    g: Group, row: Row, reference: Row, pairs: list[Pair], task: TaskInfo, metric: str, sign: int
) -> float:
    means = [g.by_unit(r, task.name, metric, pairs) for r in (row, reference)]
    score, base = (float(np.mean([*found.values()])) if found else math.nan for found in means)
    return 100 * sign * (score / base - 1) if base else math.nan


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
    found = {name: statistics.split(by_pair) for name, by_pair in scores.items()}
    return {name: result for name, result in found.items() if result}


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


def beside(
    g: Group, row: Row, reference: Row | None, baseline: Row | None, others: References, resampled: Resampled
) -> Beside:
    """All of it for a row. baseline: None for rows that are not compared with one."""
    split = splits(g, row, reference)
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
