"""What the missing runs of a plan will take, by what finished runs like them took; and runs on disk that it
does not name.
"""

from __future__ import annotations

import json
import os
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.report.rows import canonical, protocol_values
from benchmark.spec.run import RunSpec

Seconds = dict[str, list[float]]  # {device: seconds of each finished run on it}


@dataclass(frozen=True)
class Hours:
    """What `cells` of the missing runs would take on a device like those that `records` finished runs of
    their kind used.
    """

    device: str
    hours: float
    cells: int
    records: int

    @property
    def unit(self) -> str:
        return "CPU-hours" if self.device.startswith("CPU ") else "GPU-hours"


@dataclass(frozen=True)
class Expected:
    """hours: one entry a device that past runs used. unknown: missing runs whose kind has no finished run."""

    hours: tuple[Hours, ...]
    unknown: int


def expect(missing: Sequence[RunSpec], results: Path, published: Path) -> Expected:
    """The time that missing runs take: training and evaluation, for each the median over finished runs of its
    method, protocol (all values) and data set, of its label setting where there are such.

    results: a folder of runs; published: a folder of records. A record that cannot be read is passed over.
    """
    past: dict[tuple[str, ...], Seconds] = defaultdict(lambda: defaultdict(list))
    kinds: dict[str, str] = {}
    for record in _records(missing, results, published):
        try:
            kind, cost = _kind(record["spec"], kinds), record["cost"]
            seconds, device = (
                float(cost["seconds"]) + float(cost.get("evaluation_seconds") or 0),
                str(cost["device"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
        for key in (kind, kind[:-1]):
            past[key][device].append(seconds)
    total: dict[str, float] = defaultdict(float)
    cells: dict[str, int] = defaultdict(int)
    used: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    unknown = 0
    for spec in missing:
        kind = _kind(spec.as_dict(), kinds)
        key = kind if kind in past else kind[:-1]
        unknown += key not in past
        for device, seen in past.get(key, {}).items():
            total[device] += statistics.median(seen)
            cells[device] += 1
            used[device].add(key)
    rests = {device: sum(len(past[key][device]) for key in keys) for device, keys in used.items()}
    return Expected(tuple(Hours(d, total[d] / 3600, cells[d], rests[d]) for d in sorted(total)), unknown)


def _kind(spec: dict[str, Any], kinds: dict[str, str]) -> tuple[str, ...]:
    """What decides how long a run takes, the label setting last. kinds: protocols as they are written, by
    values that count.
    """
    text = json.dumps(spec["protocol"], sort_keys=True)
    if text not in kinds:
        values = protocol_values(spec["protocol"])
        kinds[text] = canonical(
            {k: v for k, v in values.items() if k not in ("version", "reference", "baseline")}
        )
    return spec["method"], spec["variant"], kinds[text], spec["labels"]


def _records(missing: Sequence[RunSpec], results: Path, published: Path) -> Iterator[dict[str, Any]]:
    """Spec and cost of the finished runs that may be like a missing one, by the names of their folders, and
    of all published records."""
    methods: dict[str, set[str]] = defaultdict(set)
    for spec in missing:
        methods[spec.protocol.name].add(spec.method)
    files = [
        f"{folder.path}/record.json"
        for protocol, names in sorted(methods.items())
        for folder in _folders(results / protocol)
        if any(folder.name.startswith(f"{name}-") for name in names)
    ]
    if missing and published.is_dir():
        files += sorted(entry.path for entry in os.scandir(published) if entry.name.endswith(".json"))
    for file in files:
        found: dict[str, Any] = {}
        try:
            with open(file, encoding="utf-8") as lines:
                for line in lines:  # a record has a line for each key, and the long ones are not needed
                    if line.startswith(('"cost":', '"spec":')):
                        found |= json.loads("{" + line.rstrip().rstrip(",") + "}")
        except (OSError, ValueError):
            continue
        yield found


def _folders(folder: Path) -> list[os.DirEntry[str]]:
    """Folders of runs, in no order."""
    try:
        return [entry for entry in os.scandir(folder) if not entry.name.startswith(".") and entry.is_dir()]
    except OSError:
        return []


def unnamed(cells: Sequence[RunSpec], results: Path) -> list[str]:
    """The runs below the protocols of a plan that are none of its cells, as `bench status` names them, in
    order.
    """
    named = {spec.folder for spec in cells}
    found = []
    for protocol in sorted({spec.protocol.name for spec in cells}):
        runs = (entry for entry in _folders(results / protocol) if f"{protocol}/{entry.name}" not in named)
        found += sorted(
            f"{protocol}/{entry.name}" for entry in runs if os.path.exists(f"{entry.path}/spec.json")
        )
    return found
