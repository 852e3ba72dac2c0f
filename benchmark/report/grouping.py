"""Sort records into groups that may be compared, and those into rows; refuse records that contradict each
other.
"""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from benchmark.errors import UserError
from benchmark.report.frame import Collection, Failure, Record
from benchmark.report.rows import Group, Pair, Row, Seed, TaskInfo
from benchmark.spec.protocol import Protocol

MORE = {
    "file": "plugin",
    "tuned": "tuning",
}  # what labels call these keys of a spec, where rows of a method differ in them


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
