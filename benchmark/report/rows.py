"""What a board is made of: rows (one method with one set of hyperparameters over its seeds) in groups that
may be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from benchmark.report.frame import Failure, Record
from benchmark.report.stats import Array

Pair = tuple[int, int]  # (label seed, train seed)


@dataclass(frozen=True)
class TaskInfo:
    """A task as a board shows it. metric: the primary one. test_images: how many test images carry its label.
    kind: "classes", "depth", "normals", "saliency" or "edge"; empty where a record does not say."""

    name: str
    metric: str
    unit: str
    higher_is_better: bool
    test_images: int | None
    kind: str = ""

    @property
    def sign(self) -> int:
        return 1 if self.higher_is_better else -1

    @property
    def arrow(self) -> str:
        return "↑" if self.higher_is_better else "↓"

    @property
    def title(self) -> str:
        """`depth absErr (m)`"""
        return f"{self.name} {self.metric}" + (f" ({self.unit})" if self.unit else "")


@dataclass(frozen=True)
class Cost:
    """What one seed costs, None where a record does not say. One-task runs: parameters, time summed; memory
    the largest; images per second averaged by time. device: every device used, joined."""

    params_train: float | None
    params_infer: float | None
    seconds: float | None
    gpu_hours: float | None
    peak_gib: float | None
    images_per_second: float | None
    device: str


@dataclass(frozen=True)
class Seed:
    """A complete seed of a row: one record, or one a task for a one-task method."""

    label_seed: int
    train_seed: int
    records: tuple[Record, ...]

    def metrics(self, task: str) -> dict[str, float]:
        return {name: float(v) for name, v in self._metrics[task].items() if v is not None}

    def value(self, task: str, metric: str) -> float | None:
        """One of `metrics`, None where it is absent."""
        found = self._metrics[task].get(metric)
        return None if found is None else float(found)

    @cached_property
    def _metrics(self) -> dict[str, dict[str, Any]]:
        """{task: metrics} of the first record that has the task."""
        return {task: r["metrics"][task] for r in reversed(self.records) for task in r.spec["tasks"]}

    @property
    def cost(self) -> Cost:
        every = [r["cost"] for r in self.records]

        def values(key: str) -> list[float] | None:
            found = [cost.get(key) for cost in every]
            return None if None in found else found

        def total(key: str) -> float | None:
            found = values(key)
            return None if found is None else float(sum(found))

        rates, times, peaks = values("images_per_second"), values("seconds"), values("peak_gib")
        rate = float(np.average(rates, weights=times)) if rates and times and sum(times) > 0 else None
        device = "; ".join(sorted({cost["device"] for cost in every}))
        peak = max(peaks) if peaks else None
        return Cost(
            total("params_train"),
            total("params_infer"),
            total("seconds"),
            total("gpu_hours"),
            peak,
            rate,
            device,
        )


@dataclass(frozen=True)
class Row:
    """A method with its changed hyperparameters and its balance. label: what tells it from the other rows of
    its group.

    newest: the method's newest version, in the group or known otherwise. unsaid: changed values that the
    label does not show, because all rows of the method share them. failed: {pair: failures}; partial: {pair:
    missing tasks}.
    """

    method: str
    version: int
    changed: dict[str, Any]
    balance: str
    label: str
    newest: int
    unsaid: dict[str, Any]
    seeds: dict[Pair, Seed]
    failed: dict[Pair, tuple[Failure, ...]]
    partial: dict[Pair, tuple[str, ...]]

    @property
    def outdated(self) -> bool:
        return self.version < self.newest

    def column(self, task: str, metric: str) -> dict[Pair, float | None]:
        """{seed: one of its metrics}, None where it is absent."""
        if (task, metric) not in self._columns:
            self._columns[task, metric] = {
                pair: seed.value(task, metric) for pair, seed in self.seeds.items()
            }
        return self._columns[task, metric]

    @cached_property
    def _columns(self) -> dict[tuple[str, str], dict[Pair, float | None]]:
        return {}  # filled as asked for: every comparison asks for the same again

    @property
    def records(self) -> list[Record]:
        return [record for seed in self.seeds.values() for record in seed.records]


@dataclass(frozen=True)
class Group:
    """Rows that may be compared: equal protocol values, data set variant and label setting, the same data and
    masks.

    tasks: those of the protocol that some record describes. run_ids: of all its records. fixed_mask: the
    setting draws no labels, so the seeds vary training alone and the unit of all statistics is the train
    seed; otherwise the label seed.
    """

    protocol: dict[str, Any]
    dataset: str
    variant: str
    labels: str
    tasks: tuple[TaskInfo, ...]
    rows: tuple[Row, ...]
    run_ids: tuple[str, ...]

    @cached_property
    def fixed_mask(self) -> bool:
        return self.labels in ("full", "given") or self.labels.startswith("published:")

    def unit(self, pair: Pair) -> int:
        return pair[1] if self.fixed_mask else pair[0]

    def units(self, pairs: Iterable[Pair]) -> tuple[int, ...]:
        return tuple(sorted({self.unit(pair) for pair in pairs}))

    def scores(self, row: Row, pairs: Iterable[Pair]) -> Array:
        """(n, T) primary metrics of a row: one line a unit, in the order of `units`; seeds within a unit
        averaged.
        """
        columns = [self.by_unit(row, task.name, task.metric, pairs) for task in self.tasks]
        return np.array([[column[unit] for column in columns] for unit in self.units(pairs)], dtype=float)

    def by_unit(self, row: Row, task: str, metric: str, pairs: Iterable[Pair]) -> dict[int, float]:
        """{unit: value} of one metric, seeds within a unit averaged; empty unless every seed has it."""
        column, place = row.column(task, metric), 1 if self.fixed_mask else 0
        values: dict[int, list[float]] = {}
        for pair in sorted(pairs):
            value = column[pair]
            if value is None:
                return {}
            values.setdefault(pair[place], []).append(value)
        return {unit: average(values[unit]) for unit in sorted(values)}


def average(values: Sequence[float]) -> float:
    """Their mean; that of a single number, which is most of them, without the time of an array."""
    return float(np.mean(values)) if len(values) > 1 else values[0]
