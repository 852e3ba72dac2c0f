"""The plan for real images, on 24 + 24 of them, where they are at hand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import given, records
from tests.conftest import ROOT, Bench

SHARED = Path(os.environ.get("BENCH_SHARED_DATA", ROOT.parent / "shared" / "data"))


@pytest.mark.skipif(
    not (SHARED / "expand.py").is_file(),
    reason="no real images: put the NYUv2 development data at ../shared/data or name its folder in "
    "BENCH_SHARED_DATA",
)
def test_methods_on_real_images(bench: Bench, tmp_path: Path) -> None:
    folder, data, results = tmp_path / "mtan", tmp_path / "data", tmp_path / "runs"
    expand = [sys.executable, SHARED / "expand.py", "--layout", "mtan", "--out", folder, "--limit", "24"]
    subprocess.run(expand, check=True, capture_output=True, timeout=600)
    bench.ok("data", "prepare", "nyuv2", folder, "--data", data, "--size", "48x64")
    settings = given("size=[48, 64]", "width=16", "epochs=4")
    run = ("run", "nyuv2-smoke", "multi_task", "prototype", *settings)
    out, found = bench.ok(*run, "--data", data, "--results", results), records(results).values()
    assert sorted(r["spec"]["method"] for r in found) == ["multi_task", "prototype"]
    for record in found:
        assert record["spec"]["variant"] == "nyuv2-13-derived-normals"
        for task in record["tasks"]:
            losses = [point["loss"][task] for point in record["curve"]]
            assert sum(losses[-5:]) < sum(losses[:5]), (record["spec"]["method"], task)
    assert "nyuv2-13-derived-normals" in out and "multi_task" in out
