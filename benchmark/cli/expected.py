"""Hours of the unfinished runs of a plan, by the records of finished runs like them."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.report.rows import canonical, protocol_values
from benchmark.runs.schema import read_record
from benchmark.spec.run import RunSpec


@dataclass(frozen=True)
class Hours:
    """Hours of `cells` unfinished runs on a device that `records` finished runs of their kind used."""

    device: str
    hours: float
    cells: int
    records: int

    @property
    def unit(self) -> str:
        """What an hour is one of."""
        return "CPU-hours" if self.device.startswith("CPU ") else "GPU-hours"


def expect(missing: Sequence[RunSpec], results: Path, published: Path) -> tuple[list[Hours], int]:
    """Return the hours of missing runs for each device, and the number of runs that no record is like.

    A run takes the median of training and evaluation over finished runs of its method, protocol (all values)
    and data set, of its label setting where there are such. results: a folder of runs; published: a folder of
    records. Records that cannot be read are passed over.
    """
    names = {(spec.protocol.name, spec.method) for spec in missing}
    files = [file for p, m in sorted(names) for file in sorted(results.glob(f"{p}/{m}-*/record.json"))]
    past: dict[tuple[str, ...], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in _read([*files, *(sorted(published.glob("*.json")) if missing else ())]):
        kind, cost = _kind(record["spec"]), record["cost"]
        seconds = (cost.get("seconds") or 0.0) + (cost.get("evaluation_seconds") or 0.0)
        for key in (kind, kind[:-1]) if cost.get("seconds") else ():
            past[key][cost["device"]].append(seconds)
    kinds = [_kind(spec.as_dict()) for spec in missing]
    known = [key for kind in kinds if (key := kind if kind in past else kind[:-1]) in past]
    found = []
    for device in sorted({device for key in known for device in past[key]}):
        keys = [key for key in known if device in past[key]]
        hours = sum(statistics.median(past[key][device]) for key in keys) / 3600
        found.append(Hours(device, hours, len(keys), sum(len(past[key][device]) for key in set(keys))))
    return found, len(missing) - len(known)


def _kind(spec: dict[str, Any]) -> tuple[str, ...]:
    """What decides how long a run takes, the label setting last."""
    values = protocol_values(spec["protocol"])
    counted = {k: v for k, v in values.items() if k not in ("version", "reference", "baseline")}
    return spec["method"], spec["variant"], canonical(counted), spec["labels"]


def _read(files: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for file in files:
        with suppress(UserError):
            yield read_record(file)


def unnamed(cells: Sequence[RunSpec], results: Path) -> list[str]:
    """Return the folders of runs under the protocols of a plan that are none of its cells."""
    named = {spec.folder for spec in cells}
    specs = [file for p in {s.protocol.name for s in cells} for file in results.glob(f"{p}/[!.]*/spec.json")]
    return sorted({f"{file.parts[-3]}/{file.parts[-2]}" for file in specs} - named)
