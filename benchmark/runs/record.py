"""The record of a finished run, from the plain outcome of its training and evaluation."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.errors import UserError
from benchmark.runs import digest
from benchmark.runs.schema import check_record
from benchmark.spec import plugged, registry
from benchmark.spec.run import SCHEMA, RunSpec
from datasets.tasks import Task, as_dict

if TYPE_CHECKING:
    from methods.base import Diagnostic


@dataclass(frozen=True)
class Outcome:
    """What training and evaluation of a run ended in.

    metrics: {task: {metric: value}}, the primary first; constant: those of the constant prediction.
    per_image: {task: (N, K)} statistics of the test images. test_images: {task: number with a label}. curve:
    the points of training. images: train images used; mask: their labels, (N, T) of the protocol's tasks.
    fit: how images met the frame. by_source: {task: {source: {metric: value}}} where data sets were joined.
    """

    tasks: dict[str, Task]
    metrics: dict[str, dict[str, float]]
    constant: dict[str, dict[str, float]]
    per_image: dict[str, np.ndarray]
    test_images: dict[str, int]
    curve: list[dict[str, Any]]
    cost: dict[str, Any]
    hashes: dict[str, Any]
    label_counts: dict[str, int]
    images: int
    mask: np.ndarray
    fit: str
    environment: dict[str, Any]
    diagnostics: dict[str, Diagnostic]
    by_source: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)


def assemble(spec: RunSpec, outcome: Outcome) -> dict[str, Any]:
    """Return the record of a run, sealed by its digest."""
    method = registry.method(spec.method)
    tasks = {name: as_dict(task) for name, task in outcome.tasks.items()}
    kinds = {task.kind for task in outcome.tasks.values()}
    own = {name: facts for name, facts in plugged.metric_facts().items() if facts["kind"] in kinds}
    more = {"by_source": outcome.by_source, "own_metrics": own}
    record = {
        "schema": SCHEMA,
        "id": spec.id,
        "spec": spec.as_dict(),
        "one_task": method.one_task,
        "summary": method.summary,
        "source": registry.source_hash(spec.method),
        "tasks": {n: task | {"test_images": outcome.test_images[n]} for n, task in tasks.items()},
        "metrics": outcome.metrics,
        "constant": outcome.constant,
        "oracle": _oracle(spec, outcome),
        "curve": outcome.curve,
        "cost": outcome.cost,
        "hashes": outcome.hashes,
        "label_counts": outcome.label_counts,
        "images": outcome.images,
        "fit": outcome.fit,
        "environment": outcome.environment,
        "diagnostics": {name: _listed(d) for name, d in outcome.diagnostics.items()},
    } | {key: value for key, value in more.items() if value}
    made = digest.sealed(_rounded(record))
    try:  # what later commands would refuse is refused here, where it can be told from damage
        check_record(json.loads(json.dumps(made)), f"the record of {spec.folder}", spec.id, "")
    except UserError as error:
        raise ValueError(str(error).rstrip("; .")) from None
    return made


def write_arrays(outcome: Outcome, path: Path) -> None:
    """Write the statistics of the test images, and which labels the run saw."""
    tables: dict[str, Any] = {name: rows.astype(np.float32) for name, rows in outcome.per_image.items()}
    with path.open("wb") as file:  # numpy would add .npz to a draft's name
        np.savez_compressed(file, **tables, labelled=outcome.mask.astype(np.uint8))


def _oracle(spec: RunSpec, outcome: Outcome) -> dict[str, float]:
    """Best value of each primary metric over all evaluations on the test set; a diagnostic, never a score."""
    best = {}
    for name, task in outcome.tasks.items() if spec.protocol.evaluations else ():
        final = next(iter(outcome.metrics[name].values()))
        seen = [final, *(point["test"][name] for point in outcome.curve if "test" in point)]
        best[name] = max(seen) if task.higher_is_better else min(seen)
    return best


def _listed(diagnostic: Diagnostic) -> dict[str, Any]:
    values = np.asarray(diagnostic.array, dtype=float).tolist()
    labels = [list(axis) for axis in diagnostic.labels]
    axes = {"axes": list(diagnostic.axes)} if diagnostic.axes else {}
    return {"kind": diagnostic.kind, "array": values, "labels": labels, **axes}


def _rounded(value: Any, digits: int = 9) -> Any:
    """Round floats to significant digits, a curve's to 5, to keep records small; null for what JSON lacks."""
    if isinstance(value, dict):
        fewer = ("curve", "diagnostics")
        return {k: v if k == "spec" else _rounded(v, 5 if k in fewer else digits) for k, v in value.items()}
    if isinstance(value, list):
        return [_rounded(item, digits) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    return value
