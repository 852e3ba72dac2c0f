"""What missing runs will take, by what finished ones took."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmark.cli import plans
from benchmark.files import write_json
from benchmark.spec import plan
from benchmark.spec.run import RunSpec
from tests.benchmark.report import make
from tests.conftest import Bench

NOWHERE = Path("no-such-data")


def cells(*settings: str) -> tuple[RunSpec, ...]:
    return plan.make(["single_task", "multi_task"], list(settings), NOWHERE).cells


def finish(results: Path, spec: RunSpec, seconds: float, device: str = "CPU x", **cost: Any) -> None:
    file = results / spec.folder / "record.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file.parent / "spec.json", spec.as_dict())
    spent = {"seconds": seconds, "device": device} | cost
    write_json(file, make.record(json.loads(json.dumps(spec.as_dict()))) | {"cost": spent})


def test_hours_are_medians_of_runs_of_the_same_kind(tmp_path: Path) -> None:
    done = [c for c in cells("seeds=5") if c.method == "multi_task"]
    for spec, seconds in zip(done, (100.0, 200.0, 600.0), strict=False):
        finish(tmp_path, spec, seconds - 40, evaluation_seconds=40.0)
    other = next(c for c in cells("seeds=5", "epochs=1") if c.method == "multi_task")  # another protocol
    finish(tmp_path, other, 1.0)
    missing = [c for c in cells("seeds=5") if c not in done[:3]]
    found = plans.expect(missing, tmp_path, tmp_path / "none")
    (hours,), unknown = found
    wanted = {"device": "CPU x", "unit": "CPU-hours", "cells": 2, "records": 3}
    assert hours == wanted | {"hours": pytest.approx(2 * 200 / 3600)} and unknown == 15
    assert plans.expect([], tmp_path, tmp_path / "none") == ([], 0)


def test_what_bench_plan_says(bench: Bench, tmp_path: Path) -> None:
    file, results = tmp_path / "mine.toml", tmp_path / "runs"
    grid = '[[grid]]\nprotocol = "thin"\ndataset = "scenes"\nseeds = 3\n'
    grid += 'method = ["multi_task", "single_task"]\n'
    file.write_text(grid + '[[exclude]]\nmethod = "single_task"\nseed = 2\n')
    runs = [c for c in cells("seeds=[0, 1]") if c.method == "multi_task"]
    finish(results, runs[0], 7200.0, "NVIDIA H100")
    for spec in cells("seeds=[10, 11, 12, 13]"):
        finish(results, spec, 1.0)
    arguments = ["plan", file, "--results", results, "--published-in", tmp_path / "nothing"]
    shown = bench.json(*arguments)
    assert len(shown["cells"]) == 9 and [c["state"] for c in shown["cells"]].count("done") == 1
    assert shown["notes"] == ['3 runs are left out by exclude method = "single_task", seeds = 2']
    gpu = next(h for h in shown["expected"]["hours"] if h["device"] == "NVIDIA H100")
    assert gpu == {"device": "NVIDIA H100", "hours": 4.0, "cells": 2, "records": 1, "unit": "GPU-hours"}
    assert shown["expected"]["unknown"] == 0
    out = bench.ok(*arguments)
    assert "expected: 4 GPU-hours on NVIDIA H100 for 2 of 8 unfinished runs, by 1 like them" in out
    assert "note: 3 runs are left out by exclude" in out and "1 done" in out
    again = bench.ok("plan", file, "--results", tmp_path / "empty", "--published-in", tmp_path / "nothing")
    assert f"expected: unknown for 9 of 9 unfinished runs; `bench perf {file}` measures them" in again
