"""The other definitions of delta m that papers print: over all metrics of all tasks, and by task over its
metrics first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from benchmark.report.rows import Group, Pair, Row, TaskInfo

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
