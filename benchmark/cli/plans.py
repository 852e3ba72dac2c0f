"""`bench plan`: what a plan means, before anything runs, and the hours that finished runs tell it takes."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.text import Text

from benchmark.cli.options import (
    DATA,
    RESULTS,
    RUNS,
    Answer,
    Data,
    Plugin,
    Published,
    Results,
    Set,
    What,
    say,
    show_table,
)
from benchmark.errors import UserError
from benchmark.execute.progress import STYLES, row_name
from benchmark.runs.rundir import RunDir
from benchmark.runs.schema import read_record
from benchmark.spec.plan import make
from benchmark.spec.run import RunSpec


def plan(
    what: What = None,
    settings: Set = [],  # noqa: B006
    plugin: Plugin = [],  # noqa: B006
    results: Results = RUNS,
    published_in: Published = RESULTS,
    data: Data = DATA,
) -> Answer:
    """Show every run of a plan and its state, what was left out and why, and the hours still missing."""
    from benchmark.execute import data as execute

    made = make(what or [], settings, data)
    execute.check_keywords(made.cells, execute.Data(data))
    states: dict[str, str] = {s.id: RunDir(results, s.folder).state() for s in made.cells}
    missing = [spec for spec in made.cells if states[spec.id] != "done"]
    hours, unknown = expect(missing, results, published_in / "records")
    cells = [{"state": states[s.id], "folder": s.folder} | s.as_dict() | {"id": s.id} for s in made.cells]
    show_table(
        [
            {"method": row_name(s), "tasks": ", ".join(s.tasks) if s.tasks != s.protocol.tasks else "all"}
            | {"labels": s.labels, "seed": s.seed, "protocol": s.protocol.name, "data set": s.variant}
            | {"id": s.id, "state": Text(states[s.id], STYLES[states[s.id]])}
            for s in made.cells
        ],
        f"plan {made.name}: {len(made.cells)} runs",
    )
    for note in made.notes:
        say(f"note: {note}")
    for found in hours:
        rests = f"{found['cells']} of {len(missing)} unfinished runs, by {found['records']} like them"
        say(f"expected: {found['hours']:.2g} {found['unit']} on {found['device']} for {rests}")
    if unknown:
        asked = " ".join(["bench perf", *(what or []), *(f"--set {setting}" for setting in settings)])
        say(f"expected: unknown for {unknown} of {len(missing)} unfinished runs; `{asked}` measures them")
    say(", ".join(f"{count} {state}" for state, count in Counter(states.values()).items()))
    expected = {"hours": hours, "unknown": unknown}
    return 0, {"plan": made.name, "notes": made.notes, "cells": cells, "expected": expected}


def expect(missing: Sequence[RunSpec], results: Path, published: Path) -> tuple[list[dict[str, Any]], int]:
    """Return ({device, hours, unit, cells, records} of missing runs, the number of runs no record is like).

    A run takes the median of training and evaluation over finished runs of its method, protocol (all values)
    and data set, of its label setting where there are such. results: a folder of runs; published: a folder of
    records. Records that cannot be read are passed over.
    """
    names = {(spec.protocol.name, spec.method) for spec in missing}
    files = [file for p, m in sorted(names) for file in sorted(results.glob(f"{p}/{m}-*/record.json"))]
    past: dict[tuple[str, ...], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for file in [*files, *(sorted(published.glob("*.json")) if missing else ())]:
        with suppress(UserError):
            record = read_record(file)
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
        unit = "CPU-hours" if device.startswith("CPU ") else "GPU-hours"
        counts = {"cells": len(keys), "records": sum(len(past[key][device]) for key in set(keys))}
        found.append({"device": device, "hours": hours, "unit": unit} | counts)
    return found, len(missing) - len(known)


def _kind(spec: dict[str, Any]) -> tuple[str, ...]:
    """What decides how long a run takes, the label setting last."""
    from benchmark.report.rows import canonical, protocol_values  # numpy comes along

    values = protocol_values(spec["protocol"])
    counted = {k: v for k, v in values.items() if k not in ("version", "reference", "baseline")}
    return spec["method"], spec["variant"], canonical(counted), spec["labels"]
