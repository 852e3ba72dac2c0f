"""The plan for real images, on 24 + 24 of them, where they are at hand."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SHARED = Path(os.environ.get("BENCH_SHARED_DATA", ROOT.parent / "shared" / "data"))


@pytest.mark.skipif(
    not (SHARED / "expand.py").is_file(),
    reason="no real images: put the NYUv2 development data at ../shared/data or name its folder in "
    "BENCH_SHARED_DATA",
)
def test_four_methods_on_real_images(tmp_path: Path) -> None:
    folder, data, results = tmp_path / "mtan", tmp_path / "data", tmp_path / "runs"
    command = [
        sys.executable,
        str(SHARED / "expand.py"),
        "--layout",
        "mtan",
        "--out",
        str(folder),
        "--limit",
        "24",
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    command = [
        sys.executable,
        "-m",
        "benchmark",
        "data",
        "prepare",
        "nyuv2",
        str(folder),
        "--data",
        str(data),
    ]
    subprocess.run([*command, "--size", "96x128"], cwd=ROOT, check=True, capture_output=True, timeout=120)
    command = [
        sys.executable,
        "-m",
        "benchmark",
        "run",
        "nyuv2-smoke",
        "--data",
        str(data),
        "--results",
        str(results),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    records = [json.loads(p.read_text()) for p in results.glob("*/*/record.json")]
    assert (
        sorted(r["spec"]["method"] for r in records)
        == ["mtpsl", "multi_task", "prototype"] + ["single_task"] * 3
    )
    for record in records:
        assert record["spec"]["variant"] == "nyuv2-13-derived-normals"
        for curve in (record["curve"],):
            for task in record["tasks"]:
                early, late = (sum(p["loss"][task] for p in part) for part in (curve[:5], curve[-5:]))
                assert late < early, (record["spec"]["method"], task)
    assert "nyuv2-13-derived-normals" in done.stdout and "multi_task" in done.stdout
