"""Read the records below a folder, and nothing else: what a report may know is what this module returns."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmark.errors import UserError
from benchmark.files import read_json
from benchmark.runs import digest, rundir, snapshots
from benchmark.runs.schema import CheckId, check_record, check_spec
from benchmark.spec.run import run_id

T = TypeVar("T")


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
        return str(self.content["id"])

    @property
    def spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = self.content["spec"]
        return spec

    @cached_property
    def labelled(self) -> np.ndarray | None:
        """(N, T) bool: which label of which training image the run's setting shows, over the protocol's whole
        task set.

        None where no array file holds it. Raises `UserError` for a damaged file.
        """
        return self._held(lambda file: file["labelled"].astype(bool) if "labelled" in file else None)

    @cached_property
    def snapshots(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Epochs (P,) and {diagnostic: (P, *shape)} over training, none where no array file holds them.

        Raises `UserError` for a damaged file.
        """
        return self._held(snapshots.read) or (np.empty(0), {})

    def _held(self, read: Callable[[Any], T]) -> T | None:
        if self.arrays is None:
            return None
        try:
            with self.arrays.open("rb") as file, np.load(file) as arrays:
                return read(arrays)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise UserError(
                f"{self.arrays} could not be read ({error}); restore it, or remove it to do without it."
            ) from None


@dataclass(frozen=True)
class Failure:
    """A run that ended in an error or without a score. reason: one line of its error.txt, or which score is
    undefined.
    """

    path: Path
    spec: dict[str, Any]
    reason: str


@dataclass(frozen=True)
class Collection:
    """Everything a report is made of, in the order of the files' names."""

    records: tuple[Record, ...]
    failures: tuple[Failure, ...] = ()


def collect(folder: Path, check_id: CheckId | None = run_id) -> Collection:
    """The records below `folder`: a folder of runs, a results folder with `records/`, or a `records` folder
    itself.

    A run whose primary metric of a task is undefined is a failure: it leaves the other records readable.
    check_id: derives an id from a spec; None skips that comparison. Raises `UserError` naming the file for a
    missing folder, an unreadable, truncated or mis-shaped record, and a record whose id differs from its
    content or its name.
    """
    if not folder.is_dir():
        raise UserError(
            f"there is no results folder {folder}; name another with --results, or make it with `bench run`."
        )
    published = folder / "records" if (folder / "records").is_dir() else folder
    if published != folder or (any(folder.glob("*.json")) and not rundir.every_run(folder)):
        cure = "restore the file, or publish the run again"
        return _sorted_out([_published(path, check_id, cure) for path in sorted(published.glob("*.json"))])
    finished: list[Record] = []
    failures: list[Failure] = []
    for run in rundir.every_run(folder):
        state = run.state()
        cure = f"remove the folder {run.path} and run the same command again"
        if state == "done":
            path = run.file("record.json")
            files = _existing(run.file("per_image.npz")), _existing(run.file("panel.webp"))
            finished.append(_record(path, *files, check_id, run.name.rpartition("-")[2], cure))
        elif state == "failed":
            spec = read_json(run.file("spec.json"), cure)
            check_spec(spec, str(run.file("spec.json")), cure)
            failures.append(Failure(run.file("error.txt"), spec, _reason(run.file("error.txt"))))
    return _sorted_out(finished, failures)


def _sorted_out(records: Sequence[Record], failures: Sequence[Failure] = ()) -> Collection:
    """Those with every score as records, those without as failures."""
    undefined = {r.id: missing for r in records if (missing := _undefined(r))}
    without = [Failure(r.path, r.spec, undefined[r.id]) for r in records if r.id in undefined]
    return Collection(tuple(r for r in records if r.id not in undefined), (*failures, *without))


def _undefined(record: Record) -> str:
    """`its absErr of depth is undefined`, or nothing where every primary metric is a finite number."""
    primary = {task: record["tasks"][task]["metric"] for task in record.spec["tasks"]}
    values = {
        f"its {metric} of {task}": record["metrics"][task].get(metric) for task, metric in primary.items()
    }
    return "; ".join(
        f"{name} is undefined" for name, v in values.items() if v is None or not math.isfinite(v)
    )


def _published(path: Path, check_id: CheckId | None, cure: str) -> Record:
    arrays, panel = _existing(path.with_suffix(".npz")), _existing(path.with_suffix(".webp"))
    record = _record(path, arrays, panel, check_id, path.stem, cure)
    if complaint := digest.beside(path, record.content):
        raise UserError(f"{complaint}; {cure}.")
    return record


def _record(
    path: Path, arrays: Path | None, panel: Path | None, check_id: CheckId | None, named: str, cure: str
) -> Record:
    content = read_json(path, cure)
    check_record(content, path, named, cure, check_id)
    for task in content["spec"]["tasks"]:
        content["constant"].setdefault(task, {})  # a floor may be undefined
    return Record(path, content, arrays, panel)


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None


def _reason(path: Path) -> str:
    """The line of an error file that says most: the last of a traceback, else the first."""
    try:
        lines = [
            line.strip()
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
            if line.strip()
        ]
    except OSError as error:
        raise UserError(f"{path} could not be read: {error.strerror}; check its permissions.") from None
    return (
        "no reason was written" if not lines else lines[-1] if lines[0].startswith("Traceback") else lines[0]
    )
