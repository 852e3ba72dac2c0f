"""Sort records into groups that may be compared, and those into rows, with names; refuse contradictions."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.errors import UserError
from benchmark.report.records import Collection, Failure, Record
from benchmark.report.rows import Group, Pair, Row, Seed, TaskInfo, canonical, protocol_values, shipped_values
from benchmark.spec import protocol as protocols
from benchmark.spec.protocol import ABOUT
from benchmark.spec.weighting import BALANCES

# What labels call these keys of a spec, where rows of a method differ in them.
MORE = {"file": "plugin", "tuned": "tuning"}
_CURE = "run one of them again, or move one out of the folder"

Item = Record | Failure


def group(collection: Collection, current: Mapping[str, int] | None = None) -> list[Group]:
    """Return the groups of a collection, in the order of their keys.

    current: {method: its version today}; runs of earlier versions, or of earlier versions of their weighting,
    are set aside and told. Raises `UserError` where records contradict each other.
    """
    keyed: dict[tuple[str, ...], list[Item]] = defaultdict(list)
    items: tuple[Item, ...] = (*collection.records, *collection.failures)
    for item in items:
        spec, values = item.spec, _compared(item.spec["protocol"])
        place = (values["name"], spec["dataset"], _variant(spec), spec["labels"])
        keyed[*place, canonical(values)].append(item)
    parted = [_today(keyed[key], current or {}) for key in sorted(keyed)]
    return [_group(kept, earlier) for kept, earlier in parted if kept]


def _today(items: Sequence[Item], current: Mapping[str, int]) -> tuple[list[Item], dict[str, int]]:
    """Return the runs of the newest versions, and {`NAME v1`: the number of runs of an earlier one}."""
    newest, kept, earlier = dict(current), list[Item](), Counter[str]()
    for spec in (item.spec for item in items):
        newest[spec["method"]] = max(newest.get(spec["method"], 0), spec["method_version"])
    for item in items:
        method, version, balance = (item.spec[key] for key in ("method", "method_version", "balance"))
        own, known = int(item.spec.get("balance_version", 1)), BALANCES.get(balance)
        if version < newest[method]:
            earlier[f"{method} v{version}"] += 1
        elif known and own < known.version:
            earlier[f"{method} by {balance} v{own}"] += 1
        else:
            kept.append(item)
    return kept, dict(sorted(earlier.items()))


def _variant(spec: Mapping[str, Any]) -> str:
    """Name the data, with the code of kinds of plug-ins, which decides what is learnt and scored."""
    return ", ".join(
        [spec["variant"], *(f"{kind}@{code[:6]}" for kind, code in spec.get("kinds", {}).items())]
    )


def _compared(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a protocol that make a run what it is."""
    return {key: value for key, value in protocol_values(protocol).items() if key not in ABOUT}


def _about(items: Sequence[Item]) -> dict[str, Any]:
    """Return what is said of a protocol: by its file as shipped, which may have learnt it after the runs.

    By the records where the protocol is no shipped one; of one whose values were changed no trial is known.
    Prices of labels are the shipped protocol's, or else the highest that a record names.
    """
    own = [protocol_values(item.spec["protocol"]) for item in items]
    shipped, prices = shipped_values(own[0]["name"]), [p["cost"] for p in own]
    cost = {task: max(p.get(task, 0.0) for p in prices) for each in prices for task in each}
    if shipped and _compared(shipped) == _compared(own[0]):
        about = {key: shipped[key] for key in ABOUT if key != "summary"}
        return about | {"cost": shipped["cost"] or cost}
    trials = {} if shipped else {name: v for p in own for name, v in p["doubled"].items()}
    about = {"doubled": trials, "demonstration": any(p["demonstration"] for p in own), "cost": cost}
    return about | {"controls": (shipped or max(own, key=lambda p: len(p["controls"])))["controls"]}


def _group(items: list[Item], earlier: dict[str, int]) -> Group:
    records = [item for item in items if isinstance(item, Record)]
    first: dict[str, tuple[Any, Record]] = {}  # what records of a group share, from the first that has it
    for record in records:
        hashes, seed = record["hashes"], record.spec["label_seed"]
        shared: dict[str, Any] = {
            "used different data": (hashes["data"], hashes.get("test_data")),
            f"used different labels under label seed {seed}": hashes["labels"],
        }
        for name in record.spec["tasks"]:
            t = record["tasks"][name]
            more = (t.get("test_images"), str(t.get("kind", "")))
            info = TaskInfo(name, t["metric"], t["unit"], t["higher_is_better"], *more)
            shared[f"describe the task {name} differently"] = info
        for what, value in shared.items():
            known, other = first.setdefault(what, (value, record))
            if value != known:
                raise UserError(
                    f"{other.path} and {record.path} {what}, so they cannot share a board; {_CURE}."
                )
    spec = items[0].spec
    protocol = protocol_values(spec["protocol"]) | _about(items)
    required = tuple(protocol["tasks"] or max((item.spec["tasks"] for item in items), key=len))
    described = {info.name: info for info, _ in first.values() if isinstance(info, TaskInfo)}
    tasks = tuple(described[name] for name in required if name in described)
    ids = tuple(record.id for record in records)
    rows = _rows(required, items)
    return Group(protocol, spec["dataset"], _variant(spec), spec["labels"], tasks, rows, ids, earlier)


def _rows(required: Sequence[str], items: Sequence[Item]) -> tuple[Row, ...]:
    keyed: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        keyed[canonical([item.spec["method"], away(item.spec)])].append(item)
    specs = [same[0].spec for same in keyed.values()]
    rows = []
    for same in keyed.values():
        spec = same[0].spec
        siblings = [s for s in specs if s["method"] == spec["method"]]
        failed: dict[Pair, tuple[Failure, ...]] = defaultdict(tuple)
        for item in same:
            if isinstance(item, Failure):
                failed[item.spec["label_seed"], item.spec["train_seed"]] += (item,)
        done, partial = _seeds(required, [item for item in same if isinstance(item, Record)])
        partial = {pair: missing for pair, missing in partial.items() if pair not in failed}
        hidden = _distinct(spec, siblings).keys() | MORE.keys()
        unsaid = {name: value for name, value in away(spec).items() if name not in hidden}
        of_row = (spec["method"], spec["method_version"], _changed(spec), spec["balance"])
        rows.append(Row(*of_row, row_label(spec, siblings), unsaid, done, dict(failed), partial))
    return tuple(sorted(rows, key=lambda row: row.label))


def _seeds(
    required: Sequence[str], records: Sequence[Record]
) -> tuple[dict[Pair, Seed], dict[Pair, tuple[str, ...]]]:
    """Return the complete seeds of a row, and the tasks that others lack.

    A one-task run covers its task, and all of them make a seed; any other run must cover all tasks.
    """
    parts: dict[Pair, dict[str, Record]] = defaultdict(dict)
    for record in records:
        part = parts[record.spec["label_seed"], record.spec["train_seed"]]
        whole = set(required) <= set(record.spec["tasks"])
        for task in record.spec["tasks"] if record["one_task"] else required if whole else ():
            if (other := part.setdefault(task, record)) is not record:
                same = f"{other.path} and {record.path} are the same run twice"
                raise UserError(f"{same}; move one of them out of the folder.")
    done, partial = {}, {}
    for pair, found in sorted(parts.items()):
        if missing := tuple(task for task in required if task not in found):
            partial[pair] = missing
        else:
            unique = {id(found[task]): found[task] for task in required}
            done[pair] = Seed(*pair, tuple(unique.values()))
    return done, partial


def _changed(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters away from their defaults, those of its weighting by `WEIGHTING.NAME`."""
    own = {name: spec["hyperparameters"].get(name) for name in sorted(spec["changed"])}
    return own | {f"{spec['balance']}.{key}": value for key, value in spec.get("weighting", {}).items()}


def away(spec: dict[str, Any]) -> dict[str, Any]:
    """Return what makes a row its own: all that is away from its default."""
    balance = {"balance": spec["balance"]} if spec["balance"] != "equal" else {}
    rate = {"lr_scale": spec["lr_scale"]} if spec.get("lr_scale", 1.0) != 1.0 else {}
    more = {label: spec[key] for label, key in MORE.items() if spec.get(key)}
    return _changed(spec) | balance | rate | more


def _distinct(spec: dict[str, Any], siblings: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return those of the values away from their defaults in which the rows of the method differ."""
    others = [away(s) for s in siblings]
    return {n: v for n, v in away(spec).items() if any(n not in o or o[n] != v for o in others)}


def row_label(spec: dict[str, Any], siblings: Sequence[dict[str, Any]]) -> str:
    """Return the method, and in brackets the changed values in which its rows differ."""
    values = _distinct(spec, siblings).items()
    text = ", ".join(f"{name}={v if isinstance(v, str) else canonical(v)}" for name, v in values)
    return f"{spec['method']}({text})" if text else str(spec["method"])


def file_name(g: Group) -> str:
    """Return `quickstart-rooms-v1-one`, with a hash of other values than the shipped ones.

    It depends on the board alone, so that no later run renames it; values at their defaults and what is only
    said about a protocol are left out of the hash, so that a new protocol key or a trial does not either.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{g.protocol['name']}-{g.variant}-{g.labels}")
    shipped = shipped_values(g.protocol["name"])
    if shipped and _compared(g.protocol) == _compared(shipped):
        return plain
    defaults = protocol_values({"name": ""})
    changed = {k: v for k, v in g.protocol.items() if k not in ABOUT and v != defaults.get(k)}
    values = changed | {"version": g.protocol["version"]}
    return f"{plain}-{hashlib.sha256(canonical(values).encode()).hexdigest()[:6]}"


def protocol_summary(name: str) -> str:
    """Return what the shipped protocol of this name is for, "" for one that is not shipped."""
    return protocols.load(name).summary if name in protocols.names() else ""


def protocol_changes(protocol: dict[str, Any]) -> list[str]:
    """Return `["epochs=1", "size=[32,64]"]`: the values that differ from the shipped protocol's.

    A protocol that is not shipped gives `["own protocol"]`; another version of a shipped one starts with
    `shipped: v2`.
    """
    shipped = shipped_values(protocol["name"])
    if shipped is None:
        return ["own protocol"]
    keys = [key for key in (*shipped, *sorted(protocol.keys() - shipped.keys())) if key not in ABOUT]
    return [
        f"shipped: v{shipped['version']}" if key == "version" else f"{key}={value_text(protocol[key])}"
        for key in keys
        if protocol[key] != shipped.get(key)
    ]


def protocol_title(protocol: dict[str, Any]) -> str:
    """Return `quickstart v1 (epochs=1)`."""
    changes = ", ".join(protocol_changes(protocol))
    return f"{protocol['name']} v{protocol['version']}" + (f" ({changes})" if changes else "")


def title(g: Group) -> str:
    """Return `quickstart v1: rooms-v1, labels 'one'`."""
    return f"{protocol_title(g.protocol)}: {g.variant}, labels '{g.labels}'"


def value_text(value: Any) -> str:
    """Return a value as people write it: `1`, `0.5`, `resnet18`, `[32,64]`."""
    if value is None:
        return "none"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return value if isinstance(value, str) else canonical(value)
