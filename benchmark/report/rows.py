"""Rows (one method with one set of hyperparameters over its seeds), in groups that may be compared."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np

from benchmark.report.records import Failure, Record
from benchmark.report.statistics import Array
from benchmark.report.statistics import Pair as Pair
from benchmark.spec import protocol as protocols
from benchmark.spec.tuning import alike, of_rates

# What a record says of cost, beside its device.
COST = (
    "params_train", "params_infer", "seconds", "gpu_hours", "peak_gib", "images_per_second", "steps",
    "cpu_seconds", "operations",
)  # fmt: skip
Cost = dict[str, Any]


@dataclass(frozen=True)
class TaskInfo:
    """A task as a board shows it.

    metric: the primary one. test_images: how many test images carry its label. kind: "classes", "depth",
    "normals", "saliency" or "edge"; empty where a record does not say.
    """

    name: str
    metric: str
    unit: str
    higher_is_better: bool
    test_images: int | None
    kind: str = ""

    @property
    def sign(self) -> int:
        """Return +1 where higher is better, else -1."""
        return 1 if self.higher_is_better else -1

    @property
    def arrow(self) -> str:
        """Return the arrow of its direction."""
        return "↑" if self.higher_is_better else "↓"

    @property
    def title(self) -> str:
        """Return `depth absErr (m)`."""
        return f"{self.name} {self.metric}" + (f" ({self.unit})" if self.unit else "")


@dataclass(frozen=True)
class Seed:
    """A complete seed of a row: one record, or one a task for a one-task method."""

    label_seed: int
    train_seed: int
    records: tuple[Record, ...]

    @cached_property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Return {task: {metric: value}} of the metrics that have one."""
        found = {task: r["metrics"][task] for r in reversed(self.records) for task in r.spec["tasks"]}
        return {task: {m: float(v) for m, v in of.items() if v is not None} for task, of in found.items()}

    @cached_property
    def cost(self) -> Cost:
        """Return what its runs cost: sums, the largest memory, means of images per second and of steps."""
        runs = {key: [r["cost"].get(key) for r in self.records] for key in COST}
        found: Cost = {key: None if None in v else float(sum(v)) for key, v in runs.items()}
        if found["steps"] is not None:  # those of one network
            found["steps"] /= len(self.records)
        if found["peak_gib"] is not None:
            found["peak_gib"] = float(max(runs["peak_gib"]))
        if found["images_per_second"] is not None:
            timed = bool(found["seconds"])
            rates = runs["images_per_second"]
            found["images_per_second"] = float(np.average(rates, weights=runs["seconds"])) if timed else None
        return found | {"device": devices(self.records)}


@dataclass(frozen=True)
class Row:
    """A method with its changed hyperparameters and its balance.

    label: what tells it from the other rows of its group. unsaid: changed values that the label does not
    show, because all rows of the method share them. seeds: every complete seed; failed: {pair: failures};
    partial: {pair: missing tasks}.
    """

    method: str
    version: int
    changed: dict[str, Any]
    balance: str
    label: str
    unsaid: dict[str, Any]
    seeds: dict[Pair, Seed]
    failed: dict[Pair, tuple[Failure, ...]]
    partial: dict[Pair, tuple[str, ...]]

    def untuned(self, *by: Row | None) -> bool:
        """Tell whether its learning rate lacks the trials of the first of `by` whose rate was searched."""
        found = [[str(record.spec.get("tuning", "")) for record in row.records] for row in (self, *by) if row]
        how = next((text for texts in found[1:] for text in texts if of_rates(text)), "none")
        return not all(alike(text, how) for text in found[0])

    @property
    def attempted(self) -> set[Pair]:
        """Return the seeds that were run, whatever came of them."""
        return {*self.seeds, *self.failed, *self.partial}

    @property
    def records(self) -> list[Record]:
        """Return the records of its complete seeds."""
        return [record for seed in self.seeds.values() for record in seed.records]

    def mean(self, task: TaskInfo) -> float:
        """Return the mean of a primary metric over all complete seeds, those of a grid included."""
        return float(np.mean([seed.metrics[task.name][task.metric] for seed in self.seeds.values()]))

    @cached_property
    def cost(self) -> Cost:
        """Return the mean cost of a seed, None where some seed does not say; {} without seeds."""
        columns = {key: [seed.cost[key] for seed in self.seeds.values()] for key in COST if self.seeds}
        means: Cost = {k: None if None in v else float(np.mean(v)) for k, v in columns.items()}
        return means | {"device": devices(self.records)} if means else {}


@dataclass(frozen=True)
class Group:
    """Rows that may be compared: one protocol, variant and label setting, the same data and masks.

    tasks: those of the protocol that some record describes. run_ids: of all its records. earlier: {`NAME
    v1`: the number of runs of an earlier version, which are in no row}. fixed_mask: the setting draws no
    labels, so seeds vary training alone and the unit of all statistics is the train seed; otherwise it is the
    label seed, each with one train seed.
    """

    protocol: dict[str, Any]
    dataset: str
    variant: str
    labels: str
    tasks: tuple[TaskInfo, ...]
    rows: tuple[Row, ...]
    run_ids: tuple[str, ...]
    earlier: dict[str, int] = field(default_factory=dict)

    @cached_property
    def fixed_mask(self) -> bool:
        """Tell whether the label setting draws no labels."""
        return self.labels in ("full", "given") or self.labels.startswith("published:")

    @cached_property
    def signs(self) -> Array:
        """Return (T,) +1 for tasks whose primary metric is better when higher, else -1."""
        return np.array([t.sign for t in self.tasks], dtype=float)

    @cached_property
    def diagonal(self) -> frozenset[Pair]:
        """Return the seeds that statistics rest on: no two share a label seed or a train seed.

        Of a crossed grid these are its diagonal. Averages over train seeds that several label seeds share
        would hide their noise, so further seeds serve the split of the variance alone.
        """
        chosen: list[Pair] = []
        attempted = set[Pair]().union(*(row.attempted for row in self.rows))
        for pair in sorted(attempted, key=lambda p: (p[0] != p[1], p)):
            taken = any(p[1] == pair[1] or (p[0] == pair[0] and not self.fixed_mask) for p in chosen)
            if not taken:
                chosen.append(pair)
        return frozenset(chosen)

    @property
    def planned(self) -> tuple[int, ...]:
        """Return the units that any row has attempted."""
        return self.units(self.diagonal)

    def minutes(self, row: Row) -> float | None:
        """Return the minutes that the visible labels of a seed took to make, on average over a row's seeds.

        None where the protocol's `cost` lacks a task, and without a seed.
        """
        cost = self.protocol["cost"]
        if not row.seeds or not {task.name for task in self.tasks} <= cost.keys():
            return None
        counts = [(task, n) for record in row.records for task, n in record["label_counts"].items()]
        return float(sum(cost[task] * n for task, n in counts) / len(row.seeds))

    def unit(self, pair: Pair) -> int:
        """Return the unit of a seed."""
        return pair[1] if self.fixed_mask else pair[0]

    def shared(self, *rows: Row) -> list[Pair]:
        """Return the seeds of the diagonal that all rows have complete, ordered by unit."""
        return sorted(self.diagonal.intersection(*(row.seeds for row in rows)), key=self.unit)

    def whole(self, row: Row) -> bool:
        """Tell whether a row has every planned seed."""
        return self.diagonal <= row.seeds.keys()

    def units(self, pairs: Iterable[Pair]) -> tuple[int, ...]:
        """Return the units of those of the seeds that are on the diagonal."""
        return tuple(sorted(self.unit(pair) for pair in self.diagonal.intersection(pairs)))

    def scores(self, row: Row, pairs: Iterable[Pair]) -> Array:
        """Return (n, T) primary metrics of a row, a line a unit in the order of `units`."""
        columns = [[*self.by_unit(row, task.name, task.metric, pairs).values()] for task in self.tasks]
        return np.array(columns, dtype=float).T

    def over(self, pairs: Iterable[Pair], *rows: Row) -> list[Array]:
        """Return the `scores` of each row over the same seeds."""
        return [self.scores(row, pairs) for row in rows]

    def by_unit(self, row: Row, task: str, metric: str, pairs: Iterable[Pair]) -> dict[int, float]:
        """Return {unit: value} of one metric over units; empty unless every seed has it."""
        kept = sorted(self.diagonal.intersection(pairs), key=self.unit)
        values = {self.unit(pair): row.seeds[pair].metrics[task].get(metric) for pair in kept}
        found = {unit: value for unit, value in values.items() if value is not None}
        return found if len(found) == len(values) else {}


def devices(records: Iterable[Record]) -> str:
    """Return the devices that runs were on, each once."""
    return "; ".join(sorted({record["cost"]["device"] for record in records}))


def canonical(value: Any) -> str:
    """Return a value as JSON with sorted keys and no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def protocol_values(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Return a protocol's values without its prose, newer keys at their defaults."""
    return {key: value for key, value in {**_defaults(), **protocol}.items() if key != "summary"}


@cache
def _defaults() -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(protocols.Protocol(name=""))))
    return plain


def shipped_values(name: str) -> dict[str, Any] | None:
    """Return the values of the shipped protocol of this name, None where there is none."""
    if name not in protocols.names():
        return None
    return protocol_values(json.loads(json.dumps(dataclasses.asdict(protocols.load(name)))))
