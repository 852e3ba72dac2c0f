"""What delta m is relative to, and secondary numbers of a row: other references and definitions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.report import statistics
from benchmark.report.rows import Group, Pair, Row, TaskInfo
from benchmark.report.statistics import Estimate, Split
from benchmark.spec.protocol import ABOUT

DELTA_M = "delta_m"
REFERENCES = {  # {what delta m may be relative to: how it is run}
    "equal_epochs": "equal epochs (--set budget=epochs)",
    "equal_steps": "equal steps (--set budget=steps)",
    "full_labels": "full labels (--set labels=full)",
}
# The metrics that the other definitions count, and whether higher is better (1) or lower (-1), by the kind of
# task. For segmentation, depth and normals these are the nine of NYUv2 that papers report; other metrics of
# ours are left out. The primary one is always counted.
_COUNTED: dict[str, dict[str, int]] = {
    "classes": {"mIoU": 1, "pixAcc": 1},
    "depth": {"absErr": -1, "relErr": -1},
    "normals": {"mErr": -1, "medErr": -1, "within11.25": 1, "within22.5": 1, "within30": 1},
}


def plainness(row: Row) -> tuple[Any, ...]:
    """Sort rows of a method: the fewest changes, equal weights, a searched rate."""
    return len(row.changed), row.balance != "equal", row.untuned(row), row.label


def named(rows: Sequence[Row], method: str) -> Row | None:
    """Return the row that a protocol means by a method's name, the plainest."""
    return min((row for row in rows if row.method == method), key=plainness, default=None)


@dataclass(frozen=True)
class Other:
    """A row of another group than the row's own, such as its reference.

    by_train: its labels are others, so that its seeds pair with a row's by train seed alone. where: what
    tells its group from the row's own, if not the budget.
    """

    g: Group
    row: Row
    by_train: bool = False
    where: str = ""

    @property
    def label(self) -> str:
        """Return the label of the row, with what tells its group."""
        where = self.where or f"at equal {self.g.protocol['budget']}"
        return f"{self.row.label} {where}"

    def scores(self, g: Group, row: Row) -> tuple[list[Pair], np.ndarray]:
        """Return the seeds of a row of `g` that pair with a seed of this one, and this one's scores there."""

        def key(pair: Pair) -> object:
            return pair[1] if self.by_train else pair

        mine = self.g.shared(self.row)
        place = {key(pair): i for i, pair in enumerate(mine)}
        pairs = [pair for pair in g.shared(row) if key(pair) in place]
        return pairs, self.g.scores(self.row, mine)[[place[key(pair)] for pair in pairs]]


References = dict[str, Other]  # by name as in `REFERENCES`


def references(g: Group, groups: Sequence[Group]) -> References:
    """Return the references of a group among those of all groups of the results.

    Those of the same setting with the budget counted in passes over the images that a run may use
    ("equal_epochs") and in optimiser steps ("equal_steps"), the group's own being one of the two, and that
    trained on every label ("full_labels").
    """
    found = {
        f"equal_{budget}": _find(g, groups, {"budget": budget}, g.labels) for budget in ("epochs", "steps")
    }
    found["full_labels"] = _find(g, groups, {}, "full", "fraction:1.0")
    return {name: other for name, other in found.items() if other}


def beside(g: Group, found: References) -> References:
    """Return the references of another budget, whose runs are those of another group."""
    return {name: other for name, other in found.items() if name != "full_labels" and other.g is not g}


def _find(g: Group, groups: Sequence[Group], changed: dict[str, Any], *labels: str) -> Other | None:
    wanted = unnamed(g.protocol | changed)
    alike = [x for x in groups if (x.dataset, x.variant) == (g.dataset, g.variant) and x.labels in labels]
    # A budget of another kind may stand in a protocol file of another name; that of the same name is first.
    for x in sorted(alike, key=lambda x: (labels.index(x.labels), x.protocol["name"] != g.protocol["name"])):
        row = named(x.rows, g.protocol["reference"])
        if row and x.shared(row) and unnamed(x.protocol) == wanted and same_data(g, x):
            return Other(x, row, by_train=x.labels != g.labels)
    return None


def unnamed(protocol: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a protocol that make a run what it is, whatever the protocol is called."""
    return {key: value for key, value in protocol.items() if key not in ("name", "version", *ABOUT)}


def same_data(g: Group, other: Group) -> bool:
    """Tell whether two groups have the same images, and the same labels where seeds and setting agree."""
    records = [[r for row in x.rows for r in row.records] for x in (g, other)]
    prints = [{(r["hashes"]["data"], r["hashes"].get("test_data")) for r in found} for found in records]
    tasks = [[(t.name, t.metric) for t in x.tasks] for x in (g, other)]
    masks = [{r.spec["label_seed"]: r["hashes"]["labels"] for r in found} for found in records]
    both = masks[0].keys() & masks[1].keys() if g.labels == other.labels else ()
    same_labels = all(masks[0][seed] == masks[1][seed] for seed in both)
    return prints[0] == prints[1] and tasks[0] == tasks[1] and same_labels


def against(g: Group, row: Row, other: Other) -> Estimate | None:
    """Return delta m against another reference, None where it is not defined."""
    pairs, base = other.scores(g, row)
    defined = bool(pairs) and base.mean(0).all()
    return statistics.delta_m(g.scores(row, pairs), base, g.signs) if defined else None


def counted(task: TaskInfo) -> dict[str, int]:
    """Return {metric: +1 or -1} of the metrics that count, the primary one first."""
    return {task.metric: task.sign} | _COUNTED.get(task.kind, {})


def definitions(
    g: Group, row: Row, reference: Row, pairs: list[Pair]
) -> tuple[float, float] | tuple[None, None]:
    """Return delta m by two other definitions, in percent, higher is better.

    The flat mean over all metrics of all tasks (Navon et al., "Multi-Task Learning as a Bargaining Game",
    ICML 2022, and its code, which prints it with the opposite sign), and the mean over tasks of the mean over
    a task's metrics (LibMTL, which prints a share).
    """

    def change(task: TaskInfo, metric: str, sign: int) -> float:
        means = [g.by_unit(r, task.name, metric, pairs) for r in (row, reference)]
        score, base = (float(np.mean([*found.values()])) if found else math.nan for found in means)
        return 100 * sign * (score / base - 1) if base else math.nan

    by_task = [[change(task, m, sign) for m, sign in counted(task).items()] for task in g.tasks]
    flat = [value for values in by_task for value in values]
    if not flat or not all(map(math.isfinite, flat)):
        return None, None
    return float(np.mean(flat)), float(np.mean([np.mean(values) for values in by_task]))


def splits(g: Group, row: Row, reference: Row | None) -> dict[str, Split]:
    """Return {task, and `DELTA_M`: the split of its noise}; empty where its parts cannot be told apart.

    Delta m is in points, with the reference held at its mean: the row's own noise.
    """
    if g.fixed_mask:
        return {}
    scores = {t.name: {p: s.metrics[t.name][t.metric] for p, s in row.seeds.items()} for t in g.tasks}
    base = {t.name: reference.mean(t) for t in g.tasks} if reference and reference.seeds else {}
    if base and all(base.values()):
        weight = {t.name: 100 * t.sign / base[t.name] / len(g.tasks) for t in g.tasks}
        scores[DELTA_M] = {p: sum(weight[t.name] * scores[t.name][p] for t in g.tasks) for p in row.seeds}
    found = {name: statistics.split(by_pair) for name, by_pair in scores.items()}
    return {name: result for name, result in found.items() if result}
