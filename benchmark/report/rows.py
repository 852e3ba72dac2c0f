"""What a board is made of: rows (one method with one set of hyperparameters over its seeds) in groups that
may be compared.
"""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from benchmark.errors import UserError
from benchmark.report.records import Collection, Failure, Record
from benchmark.report.statistics import Array
from benchmark.report.statistics import Pair as Pair
from benchmark.spec.protocol import Protocol

MORE = {
    "file": "plugin",
    "tuned": "tuning",
}  # what labels call these keys of a spec, where rows of a method differ in them


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


def protocol_values(protocol: dict[str, Any]) -> dict[str, Any]:
    """A protocol's values without its prose, keys that are newer than the record at their defaults."""
    return {key: value for key, value in (_defaults() | protocol).items() if key != "summary"}


@cache
def _defaults() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(Protocol(name=""))))
    return found


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def group(collection: Collection, current: Mapping[str, int] | None = None) -> list[Group]:
    """The groups of a collection, in the order of their keys. Raises `UserError` where records contradict
    each other.

    current: {method: its version today}, which makes rows of earlier versions outdated.
    """
    keyed: dict[tuple[str, ...], tuple[list[Record], list[Failure]]] = defaultdict(lambda: ([], []))
    items: tuple[Record | Failure, ...] = (*collection.records, *collection.failures)
    for item in items:
        spec = item.spec
        values = protocol_values(spec["protocol"])
        key = (values["name"], spec["dataset"], spec["variant"], spec["labels"], canonical(values))
        records, failures = keyed[key]
        if isinstance(item, Record):
            records.append(item)
        else:
            failures.append(item)
    return [_group(*keyed[key], current or {}) for key in sorted(keyed)]


def _group(records: list[Record], failures: list[Failure], current: Mapping[str, int]) -> Group:
    _check_comparable(records)
    every = [record.spec for record in records] + [failure.spec for failure in failures]
    spec = every[0]
    protocol = protocol_values(spec["protocol"])
    required = tuple(protocol["tasks"] or max((s["tasks"] for s in every), key=len))
    tasks, rows = _tasks(required, records), _rows(required, records, failures, current)
    ids = tuple(record.id for record in records)
    return Group(protocol, spec["dataset"], spec["variant"], spec["labels"], tasks, rows, ids)


def _fingerprint(record: Record) -> str:
    """Of the training and the test data."""
    return "/".join(str(record["hashes"][key]) for key in ("data", "test_data") if key in record["hashes"])


def _check_comparable(records: Sequence[Record]) -> None:
    masks: dict[int, Record] = {}
    for record in records:
        first, mine = records[0], record["hashes"]
        data, others = (_fingerprint(r) for r in (record, first))
        if data != others:
            raise UserError(
                f"{first.path} and {record.path} used different data (fingerprints {others} and {data}), so "
                f"they cannot share a "
                f"board; run one of them again on the other's data, or move one out of the folder."
            )
        same = masks.setdefault(record.spec["label_seed"], record)
        if mine["labels"] != same["hashes"]["labels"]:
            raise UserError(
                f"{same.path} and {record.path} have label seed {record.spec['label_seed']} but different "
                f"labels (mask hashes "
                f"{same['hashes']['labels']} and {mine['labels']}), so they cannot share a board; run one of "
                f"them again, or move "
                f"one out of the folder."
            )


def _tasks(required: Sequence[str], records: Sequence[Record]) -> tuple[TaskInfo, ...]:
    found: dict[str, tuple[TaskInfo, Record]] = {}
    for record in records:
        for name in record.spec["tasks"]:
            value = record["tasks"][name]
            more = (value.get("test_images"), str(value.get("kind", "")))
            info = TaskInfo(name, value["metric"], value["unit"], value["higher_is_better"], *more)
            first, other = found.setdefault(name, (info, record))
            if info != first:
                raise UserError(
                    f"{other.path} and {record.path} describe the task {name} differently, so they cannot "
                    f"share a board; run one "
                    f"of them again, or move one out of the folder."
                )
    return tuple(found[name][0] for name in required if name in found)


def _rows(
    required: Sequence[str],
    records: Sequence[Record],
    failures: Sequence[Failure],
    current: Mapping[str, int],
) -> tuple[Row, ...]:
    keyed: dict[str, list[Record | Failure]] = defaultdict(list)
    every: tuple[Record | Failure, ...] = (*records, *failures)
    for item in every:
        spec = item.spec
        keyed[canonical([spec["method"], spec["method_version"], _away(spec)])].append(item)
    specs = [items[0].spec for items in keyed.values()]
    rows = []
    for items in keyed.values():
        spec = items[0].spec
        siblings = [s for s in specs if s["method"] == spec["method"]]
        newest = max(current.get(spec["method"], 0), *(s["method_version"] for s in siblings))
        done, partial = _seeds(required, [i for i in items if isinstance(i, Record)])
        failed: dict[Pair, tuple[Failure, ...]] = {}
        for failure in (i for i in items if isinstance(i, Failure)):
            pair = _pair(failure.spec)
            failed[pair] = (*failed.get(pair, ()), failure)
        partial = {pair: missing for pair, missing in partial.items() if pair not in failed}
        version, distinct = spec["method_version"], _distinct(spec, siblings)
        label = row_label(spec, siblings) + (f" v{version}" if version < newest else "")
        unsaid = {
            name: value for name, value in _away(spec).items() if name not in distinct and name not in MORE
        }
        rows.append(
            Row(
                spec["method"],
                version,
                _changed(spec),
                spec["balance"],
                label,
                newest,
                unsaid,
                done,
                failed,
                partial,
            )
        )
    return tuple(sorted(rows, key=lambda row: row.label))


def _pair(spec: dict[str, Any]) -> Pair:
    return spec["label_seed"], spec["train_seed"]


def _changed(spec: dict[str, Any]) -> dict[str, Any]:
    return {name: spec["hyperparameters"].get(name) for name in sorted(spec["changed"])}


def _away(spec: dict[str, Any]) -> dict[str, Any]:
    """The changed hyperparameters, balance and rate where they are not equal weights and the protocol's rate,
    and what else makes a row its own."""
    balance = {"balance": spec["balance"]} if spec["balance"] != "equal" else {}
    rate = {"lr_scale": spec["lr_scale"]} if spec.get("lr_scale", 1.0) != 1.0 else {}
    return (
        _changed(spec) | balance | rate | {label: spec[key] for label, key in MORE.items() if spec.get(key)}
    )


def _distinct(spec: dict[str, Any], siblings: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Those of the values away from their defaults in which the rows of the method differ."""
    others = [_away(s) for s in siblings]
    return {
        name: v
        for name, v in _away(spec).items()
        if any(name not in other or other[name] != v for other in others)
    }


def row_label(spec: dict[str, Any], siblings: Sequence[dict[str, Any]]) -> str:
    """The method, and in brackets those of its changed values in which the rows of this method differ."""
    text = ", ".join(
        f"{name}={v if isinstance(v, str) else canonical(v)}" for name, v in _distinct(spec, siblings).items()
    )
    return f"{spec['method']}({text})" if text else str(spec["method"])


def _seeds(
    required: Sequence[str], records: Sequence[Record]
) -> tuple[dict[Pair, Seed], dict[Pair, tuple[str, ...]]]:
    """The complete seeds of a row, and what the others lack. One-task runs make a seed when all tasks are
    in.
    """
    parts: dict[Pair, dict[str, Record]] = defaultdict(dict)
    for record in records:
        part = parts[_pair(record.spec)]
        # A one-task run covers its task; any other run must cover them all to be comparable.
        whole = set(required) <= set(record.spec["tasks"])
        covered = record.spec["tasks"] if record["one_task"] else required if whole else ()
        for task in covered:
            other = part.setdefault(task, record)
            if other is not record:
                raise UserError(
                    f"{other.path} and {record.path} are the same run twice; move one of them out of the "
                    f"folder."
                )
    done, partial = {}, {}
    for pair, found in sorted(parts.items()):
        missing = tuple(task for task in required if task not in found)
        if missing:
            partial[pair] = missing
        else:
            unique = {id(found[task]): found[task] for task in required}
            done[pair] = Seed(*pair, tuple(unique.values()))
    return done, partial
