"""Read the records below a folder, and nothing else: what a report may know is what this module returns."""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

import numpy as np
import orjson

from benchmark.errors import UserError
from benchmark.runs import digest, rundir
from benchmark.spec.run import SCHEMA, run_id
from benchmark.training import snapshots

CheckId = Callable[[dict[str, Any]], str]
T = TypeVar("T")

# Where each value of a record is, and what it must be.
_SPEC: dict[str, type] = {
    "protocol": dict,
    "protocol.name": str,
    "protocol.version": int,
    "protocol.reference": str,
    "protocol.baseline": str,
    "dataset": str,
    "variant": str,
    "labels": str,
    "method": str,
    "method_version": int,
    "hyperparameters": dict,
    "changed": list,
    "balance": str,
    "tasks": list,
    "label_seed": int,
    "train_seed": int,
}
_RECORD: dict[str, type] = {
    "id": str,
    "spec": dict,
    **{f"spec.{key}": kind for key, kind in _SPEC.items()},
    "tasks": dict,
    "one_task": bool,
    "metrics": dict,
    "constant": dict,
    "curve": list,
    "cost": dict,
    "cost.device": str,
    "hashes": dict,
    "hashes.labels": str,
    "hashes.data": str,
    "label_counts": dict,
    "images": int,
    "environment": dict,
    "diagnostics": dict,
}
_COSTS = ("params_train", "params_infer", "seconds", "gpu_hours", "peak_gib", "images_per_second")
_KINDS = {
    dict: "an object",
    str: "a text",
    int: "a whole number",
    list: "a list",
    bool: "true or false",
    float: "a number",
}


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
            record = Record(
                path,
                _read(path, cure),
                _existing(run.file("per_image.npz")),
                _existing(run.file("panel.webp")),
            )
            _check(record, check_id, run.name.rpartition("-")[2], cure)
            finished.append(record)
        elif state == "failed":
            spec = _read(run.file("spec.json"), cure)
            _check_shape(spec, _SPEC, run.file("spec.json"), cure)
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
    record = Record(path, _read(path, cure), arrays, panel)
    _check(record, check_id, path.stem, cure)
    if complaint := digest.beside(path, record.content):
        raise UserError(f"{complaint}; {cure}.")
    return record


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None


def _read(path: Path, cure: str) -> dict[str, Any]:
    try:
        text = path.read_bytes()
        try:
            content = orjson.loads(text)
        except orjson.JSONDecodeError:
            # It takes no Infinity, which a keyword of a method may be; of what is no JSON, json says so in
            # the known words.
            content = json.loads(text.decode("utf-8"))
    except OSError as error:
        raise UserError(f"{path} could not be read: {error.strerror}; check its permissions.") from None
    except ValueError as error:
        raise UserError(f"{path} is truncated or not JSON ({error}); {cure}.") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no JSON object; {cure}.")
    return content


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


@cache
def _parts(key: str) -> tuple[str, ...]:
    return tuple(key.split("."))


def _check_shape(content: dict[str, Any], shape: dict[str, type], path: Path, cure: str) -> None:
    for key, kind in shape.items():
        value: Any = content
        for part in _parts(key):
            value = value.get(part) if isinstance(value, dict) else None
        if type(value) is not kind:
            raise UserError(f"{path} is damaged: {key} is {_shown(value)}, not {_KINDS[kind]}; {cure}.")


def _shown(value: Any) -> str:
    text = "missing" if value is None else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _check(record: Record, check_id: CheckId | None, named: str, cure: str) -> None:
    """Raise `UserError` unless a record has the shape this module promises and is what its name says."""
    path, content = record.path, record.content
    if content.get("schema") != SCHEMA:
        raise UserError(
            f"{path} has record schema {_shown(content.get('schema'))}, not {SCHEMA}; read it with the "
            f"version of bench that "
            f"wrote it, or {cure}."
        )
    _check_shape(content, _RECORD, path, cure)
    made = digest.of(content) if digest.KEY in content else None  # before anything is filled in
    _check_values(record, cure)
    derived = check_id(record.spec) if check_id else record.id
    if derived != record.id:
        raise UserError(
            f"{path} says id {record.id}, but its content has id {derived}: it was edited or mixed up; "
            f"{cure}."
        )
    if named != record.id:
        raise UserError(f"{path} holds the run {record.id}, not {named} as its name says; {cure}.")
    if made is not None and made != content[digest.KEY]:
        raise UserError(
            f"{path} was edited: its content has digest {made}, not {_shown(content[digest.KEY])} as it "
            f"says; {cure}."
        )


def _check_values(record: Record, cure: str) -> None:
    path, content, spec = record.path, record.content, record.spec

    def require_numbers(where: str, values: Iterable[tuple[str, Any]]) -> None:
        for key, value in values:
            if value is not None and not _is_number(value):
                raise UserError(f"{path} is damaged: {where}.{key} is {_shown(value)}, not a number; {cure}.")

    unknown = [name for name in spec["changed"] if name not in spec["hyperparameters"]]
    if unknown:
        raise UserError(
            f"{path} is damaged: spec.changed names {unknown[0]!r}, which is no hyperparameter; {cure}."
        )
    for task in spec["tasks"]:
        content["constant"].setdefault(task, {})  # a floor may be undefined
        info = {
            f"tasks.{task}.{key}": kind
            for key, kind in (("metric", str), ("higher_is_better", bool), ("unit", str))
        }
        _check_shape(content, info | {f"metrics.{task}": dict, f"constant.{task}": dict}, path, cure)
        for key in ("metrics", "constant"):
            require_numbers(f"{key}.{task}", content[key][task].items())
    require_numbers("cost", [(key, content["cost"].get(key)) for key in _COSTS])
    _check_shape(content, {f"label_counts.{task}": int for task in content["label_counts"]}, path, cure)
    _check_shape(content, {f"diagnostics.{name}.kind": str for name in content["diagnostics"]}, path, cure)
    for name, diagnostic in content["diagnostics"].items():
        axes = diagnostic.get("axes")
        if axes is not None and not (
            isinstance(axes, list) and len(axes) == 2 and all(isinstance(a, str) for a in axes)
        ):
            raise UserError(
                f"{path} is damaged: diagnostics.{name}.axes is {_shown(axes)}, not two texts; {cure}."
            )
    for point in content["curve"]:
        if (
            not isinstance(point, dict)
            or not _is_number(point.get("epoch"))
            or not isinstance(point.get("loss"), dict)
        ):
            raise UserError(
                f"{path} is damaged: a point of its curve is {_shown(point)}, without epoch or loss; {cure}."
            )


def _is_number(value: Any) -> TypeGuard[float]:
    return type(value) is float or type(value) is int  # what JSON gives; true and false are none
