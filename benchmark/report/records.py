"""Read the records below a folder, and nothing else: what a report may know is what this module returns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import UserError, printable
from benchmark.files import read_arrays
from benchmark.runs import rundir
from benchmark.runs.schema import check_beside, read_record, read_spec


@dataclass(frozen=True)
class Record:
    """One finished run. path: its JSON file; arrays, panel: the files beside it, None where absent."""

    path: Path
    content: dict[str, Any]
    arrays: Path | None
    panel: Path | None

    def __getitem__(self, key: str) -> Any:
        return self.content[key]

    @property
    def id(self) -> str:
        """The run's id."""
        return str(self.content["id"])

    @property
    def spec(self) -> dict[str, Any]:
        """What was run."""
        spec: dict[str, Any] = self.content["spec"]
        return spec

    def statistics(self) -> dict[str, NDArray[np.float64]]:
        """Return the arrays beside it, none without the file. Raises `UserError` where that is damaged."""
        if self.arrays is None:
            return {}
        try:
            return {name: array.astype(float) for name, array in read_arrays(self.arrays).items()}
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.arrays} could not be read ({error}); restore it, or remove it to do without it."
            ) from None


@dataclass(frozen=True)
class Failure:
    """A run that ended in an error or without a score. reason: its error.txt's first line, or the score."""

    path: Path
    spec: dict[str, Any]
    reason: str


@dataclass(frozen=True)
class Collection:
    """Everything a report is made of, in the order of the files' names."""

    records: tuple[Record, ...]
    failures: tuple[Failure, ...] = ()


def collect(folder: Path) -> Collection:
    """Read a folder of runs, a results folder with `records/`, or a `records` folder itself.

    A run whose primary metric of a task is undefined is a failure. Raises `UserError` naming the file for a
    missing folder, a damaged or edited record, and one whose id differs from its content or its name.
    """
    if not folder.is_dir():
        raise UserError(
            f"there is no results folder {folder}; name another with --results, or make it with `bench run`."
        )
    records: list[Record] = []
    failures: list[Failure] = []
    published = folder / "records" if (folder / "records").is_dir() else folder
    if published != folder or (any(folder.glob("*.json")) and not rundir.every_run(folder)):
        cure = "restore the file, or publish the run again"
        for path in sorted(published.glob("*.json")):
            beside = path.with_suffix(".npz"), path.with_suffix(".webp")
            records.append(_record(path, *beside, path.stem, cure))
            check_beside(path, records[-1].content, cure)
    else:
        for run in rundir.every_run(folder):
            state = run.state()
            cure = f"remove the folder {run.path} and run the same command again"
            if state == "done":
                beside = run.file("per_image.npz"), run.file("panel.webp")
                records.append(_record(run.file("record.json"), *beside, run.name.rpartition("-")[2], cure))
            elif state == "failed":
                spec = read_spec(run.file("spec.json"), cure)
                reason = printable(run.reason or "no reason was written")
                failures.append(Failure(run.file("error.txt"), spec, reason))
    _tell_codes_apart(records)
    undefined = {r.id: reason for r in records if (reason := _undefined(r))}
    failures += [Failure(r.path, r.spec, undefined[r.id]) for r in records if r.id in undefined]
    return Collection(tuple(r for r in records if r.id not in undefined), tuple(failures))


def _tell_codes_apart(records: list[Record]) -> None:
    """Rename a plug-in's metric, to `near@1f2e3d`, where records have it from different code."""
    had = [(record, *own) for record in records for own in record.content.get("own_metrics", {}).items()]
    first = {name: own["code"] for _, name, own in had}
    several = {name for _, name, own in had if own["code"] != first[name]}
    for record, name, own in had:
        scores = [*record["metrics"].values(), *record["constant"].values()]
        for values in scores if name in several else ():
            if name in values:
                values[f"{name}@{own['code'][:6]}"] = values.pop(name)


def _undefined(record: Record) -> str:
    found = []
    for task in record.spec["tasks"]:
        metric = record["tasks"][task]["metric"]
        value = record["metrics"][task].get(metric)
        if value is None or not math.isfinite(value):
            found.append(f"its {metric} of {task} is undefined")
    return "; ".join(found)


def _record(path: Path, arrays: Path, panel: Path, named: str, cure: str) -> Record:
    content = read_record(path, named, cure)
    for task in content["spec"]["tasks"]:
        content["constant"].setdefault(task, {})  # a floor may be undefined
    return Record(path, content, *(file if file.is_file() else None for file in (arrays, panel)))
