"""What delta m is relative to: the reference of a board, and references of other boards that stand beside
it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.report import stats
from benchmark.report.rows import Group, Pair, Row, average
from benchmark.report.stats import Estimate


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
    found = stats.delta_m(scores, base, signs)
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
