"""The other definitions of delta m, and the directions of the metrics that they count."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from benchmark.metrics import boundary
from benchmark.metrics import maps as metrics
from benchmark.metrics import ods as odsf
from benchmark.report.board import Board, build
from benchmark.report.records import collect
from benchmark.report.references import Definitions, counted
from benchmark.report.rows import TaskInfo
from tests.benchmark.report import make

METERS = {
    "classes": metrics.ClassesMeter,
    "depth": metrics.DepthMeter,
    "normals": metrics.NormalsMeter,
    "saliency": metrics.SaliencyMeter,
    "edge": boundary.BoundaryMeter,
}
LOWER = {"absErr", "relErr", "mErr", "medErr"}
NAMES = {
    "semseg": ("mIoU", "pixAcc"),
    "depth": ("absErr", "relErr"),
    "normals": ("mErr", "medErr", "within11.25", "within22.5", "within30"),
}


@pytest.mark.parametrize("kind", METERS)
def test_directions_are_those_of_the_metrics(kind: str) -> None:
    about: dict[str, str] = METERS[kind].about
    primary = next(iter(about))
    task = TaskInfo("task", primary, "", "higher is better" in about[primary], None, kind)
    for metric, sign in counted(task).items():
        assert ("higher is better" in about[metric], "lower is better" in about[metric]) == (
            sign == 1,
            sign == -1,
        ), metric
    assert next(iter(counted(task))) == primary


def test_every_meter_is_of_a_known_kind() -> None:
    known = {*METERS.values(), odsf.OdsMeter}
    found = {
        c
        for m in (metrics, boundary, odsf)
        for _, c in inspect.getmembers(m, inspect.isclass)
        if c.__name__.endswith("Meter")
    }
    assert found - {metrics.Meter} == known


def values(method: str, seed: int) -> dict[str, dict[str, float]]:
    """Every metric of every task."""
    rng = make.rng("definitions", method, seed)
    return {task: {name: float(rng.uniform(10, 40)) for name in names} for task, names in NAMES.items()}


def board(folder: Path, change: Any = lambda found: found) -> Board:
    for method in ("single_task", "multi_task"):
        for seed in range(2):
            for s in make.specs(method, seed):
                r = make.record(s)
                found = change(values(method, seed)) if method == "single_task" else values(method, seed)
                r["metrics"] = {task: found[task] for task in s["tasks"]}
                make.write_run(folder, r, panels=False)
    (made,) = build(collect(folder))
    return made


def test_both_definitions_by_plain_arithmetic(tmp_path: Path) -> None:
    made = board(tmp_path)
    changes: dict[str, list[float]] = {}
    for task, names in NAMES.items():
        for name in names:
            mine, base = (
                sum(values(m, seed)[task][name] for seed in range(2)) / 2
                for m in ("multi_task", "single_task")
            )
            changes.setdefault(task, []).append(100 * (mine - base) / base * (-1 if name in LOWER else 1))
    found = next(e for e in made.entries if e.label == "multi_task")
    flat = [change for each in changes.values() for change in each]
    assert len(flat) == 9 and found.beside.definitions.all_metrics == pytest.approx(sum(flat) / 9, abs=1e-9)
    by_task = sum(sum(each) / len(each) for each in changes.values()) / 3
    assert found.beside.definitions.task_mean == pytest.approx(by_task, abs=1e-9)
    assert found.delta is not None and found.delta.value == pytest.approx(
        sum(each[0] for each in changes.values()) / 3, abs=1e-9
    )
    reference = next(e for e in made.entries if e.label == "single_task")
    assert reference.beside.definitions == Definitions(0.0, 0.0)


def test_a_metric_that_is_missing_or_zero_leaves_them_empty(tmp_path: Path) -> None:
    without = board(tmp_path / "a", lambda found: found | {"depth": {"absErr": found["depth"]["absErr"]}})
    zero = board(tmp_path / "b", lambda found: found | {"normals": found["normals"] | {"within30": 0.0}})
    for made in (without, zero):
        found = next(e for e in made.entries if e.label == "multi_task")
        assert found.beside.definitions == Definitions(None, None) and found.delta is not None
