"""A pytest plugin: a line of JSON for each test as it ends, which a run that is killed leaves."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # whoever starts the tests need not have it
    import pytest

FILE = "BENCH_GPU_TESTS"  # the environment variable that names the file


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ or (report.when != "call" and report.outcome == "passed"):
        return
    why = "" if report.outcome == "passed" else (report.longreprtext.strip().splitlines() or [""])[-1]
    seconds = round(report.duration, 3)
    line = {"test": report.nodeid, "outcome": report.outcome, "seconds": seconds, "why": why}
    with open(os.environ[FILE], "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
