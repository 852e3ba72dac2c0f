"""Sort records into groups that may be compared and those into rows; refuse contradicting records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.errors import UserError
from benchmark.report.records import Collection, Failure, Record
from benchmark.report.rows import Group, Pair, Row, Seed, TaskInfo, canonical, protocol_values, shipped_values
from benchmark.spec.protocol import ABOUT
from benchmark.spec.weighting import BALANCES

# What labels call these keys of a spec, where rows of a method differ in them.
MORE = {"file": "plugin", "tuned": "tuning"}
_CURE = "run one of them again, or move one out of the folder"

Item = Record | Failure


def group(collection: Collection, current: Mapping[str, int] | None = None) -> list[Group]:
    """Return the groups of a collection, in the order of their keys.

    current: {method: its version today}, which makes rows of earlier versions outdated. Raises `UserError`
    where records contradict each other.
    """
    keyed: dict[tuple[str, ...], list[Item]] = defaultdict(list)
    items: tuple[Item, ...] = (*collection.records, *collection.failures)
    for item in items:
        spec, values = item.spec, _compared(item.spec["protocol"])
        place = (values["name"], spec["dataset"], spec["variant"], spec["labels"])
        keyed[*place, canonical(values)].append(item)
    return [_group(keyed[key], current or {}) for key in sorted(keyed)]


def _compared(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a protocol that make a run what it is."""
    return {key: value for key, value in protocol_values(protocol).items() if key not in ABOUT}


def _about(items: Sequence[Item]) -> dict[str, Any]:
    """Return what is said of a protocol: by its file as shipped, which may have learnt it after the runs.

    By the records where the protocol is no shipped one; of one whose values were changed no trial is known.
    """
    own = [protocol_values(item.spec["protocol"]) for item in items]
    shipped = shipped_values(own[0]["name"])
    if shipped and _compared(shipped) == _compared(own[0]):
        return {key: shipped[key] for key in ("doubled", "demonstration")}
    trials = {} if shipped else {name: v for p in own for name, v in p["doubled"].items()}
    return {"doubled": trials, "demonstration": any(p["demonstration"] for p in own)}


def _group(items: list[Item], current: Mapping[str, int]) -> Group:
    records = [item for item in items if isinstance(item, Record)]
    _check_comparable(records)
    spec = items[0].spec
    protocol = protocol_values(spec["protocol"]) | _about(items)
    required = tuple(protocol["tasks"] or max((item.spec["tasks"] for item in items), key=len))
    tasks, rows = _tasks(required, records), _rows(required, items, current)
    ids = tuple(record.id for record in records)
    return Group(protocol, spec["dataset"], spec["variant"], spec["labels"], tasks, rows, ids)


def _check_comparable(records: Sequence[Record]) -> None:
    masks: dict[int, Record] = {}
    for record in records:
        seed, hashes = record.spec["label_seed"], record["hashes"]
        for other, what, keys in (
            (records[0], "data", ("data", "test_data")),
            (masks.setdefault(seed, record), f"labels under label seed {seed}", ("labels",)),
        ):
            if any(hashes.get(key) != other["hashes"].get(key) for key in keys):
                raise UserError(
                    f"{other.path} and {record.path} used different {what}, so they cannot share a board; "
                    f"{_CURE}."
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
                    f"share a board; {_CURE}."
                )
    return tuple(found[name][0] for name in required if name in found)


def _rows(required: Sequence[str], items: Sequence[Item], current: Mapping[str, int]) -> tuple[Row, ...]:
    keyed: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        about = (item.spec["method"], item.spec["method_version"], _balance_version(item.spec))
        keyed[canonical([*about, _away(item.spec)])].append(item)
    specs = [same[0].spec for same in keyed.values()]
    rows = []
    for same in keyed.values():
        spec = same[0].spec
        siblings = [s for s in specs if s["method"] == spec["method"]]
        version = spec["method_version"]
        newest = max(current.get(spec["method"], 0), *(s["method_version"] for s in siblings))
        failed: dict[Pair, tuple[Failure, ...]] = defaultdict(tuple)
        for item in same:
            if isinstance(item, Failure):
                failed[_pair(item.spec)] += (item,)
        done, partial = _seeds(required, [item for item in same if isinstance(item, Record)])
        partial = {pair: missing for pair, missing in partial.items() if pair not in failed}
        label = row_label(spec, siblings) + (f" v{version}" if version < newest else "")
        weighting, known = spec["balance"], BALANCES.get(spec["balance"])
        versions = (_balance_version(spec), known.version if known else 1)
        label += f" {weighting} v{versions[0]}" if versions[0] < versions[1] else ""
        hidden = _distinct(spec, siblings).keys() | MORE.keys()
        unsaid = {name: value for name, value in _away(spec).items() if name not in hidden}
        of_row = (spec["method"], version, _changed(spec), weighting, label, newest, unsaid)
        rows.append(Row(*of_row, done, dict(failed), partial, versions))
    return tuple(sorted(rows, key=lambda row: row.label))


def _pair(spec: dict[str, Any]) -> Pair:
    return spec["label_seed"], spec["train_seed"]


def _changed(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters away from their defaults, those of its weighting by `WEIGHTING.NAME`."""
    own = {name: spec["hyperparameters"].get(name) for name in sorted(spec["changed"])}
    return own | {f"{spec['balance']}.{key}": value for key, value in spec.get("weighting", {}).items()}


def _balance_version(spec: dict[str, Any]) -> int:
    return int(spec.get("balance_version", 1))


def _away(spec: dict[str, Any]) -> dict[str, Any]:
    """Return what makes a row its own: all that is away from its default."""
    balance = {"balance": spec["balance"]} if spec["balance"] != "equal" else {}
    rate = {"lr_scale": spec["lr_scale"]} if spec.get("lr_scale", 1.0) != 1.0 else {}
    more = {label: spec[key] for label, key in MORE.items() if spec.get(key)}
    return _changed(spec) | balance | rate | more


def _distinct(spec: dict[str, Any], siblings: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return those of the values away from their defaults in which the rows of the method differ."""
    others = [_away(s) for s in siblings]
    return {n: v for n, v in _away(spec).items() if any(n not in o or o[n] != v for o in others)}


def row_label(spec: dict[str, Any], siblings: Sequence[dict[str, Any]]) -> str:
    """Return the method, and in brackets the changed values in which its rows differ."""
    values = _distinct(spec, siblings).items()
    text = ", ".join(f"{name}={v if isinstance(v, str) else canonical(v)}" for name, v in values)
    return f"{spec['method']}({text})" if text else str(spec["method"])


def _seeds(
    required: Sequence[str], records: Sequence[Record]
) -> tuple[dict[Pair, Seed], dict[Pair, tuple[str, ...]]]:
    """Return the complete seeds of a row, and the tasks that others lack.

    A one-task run covers its task, and all of them make a seed; any other run must cover all tasks.
    """
    parts: dict[Pair, dict[str, Record]] = defaultdict(dict)
    for record in records:
        part, whole = parts[_pair(record.spec)], set(required) <= set(record.spec["tasks"])
        for task in record.spec["tasks"] if record["one_task"] else required if whole else ():
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
