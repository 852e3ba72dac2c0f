"""Records and boards as DataFrames, without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import benchmark
from benchmark.errors import UserError
from benchmark.report.load import boards_of
from benchmark.report.records import collect
from benchmark.report.tables import csv_text
from tests.benchmark.report import make


def test_records_and_boards_are_frames(tmp_path: Path) -> None:
    make.write_board(tmp_path, seeds=2, published=True)
    table, records = benchmark.load_records(tmp_path), collect(tmp_path).records
    assert len(table) == sum(2 * len(r.spec["tasks"]) for r in records) and table.primary.mean() == 0.5
    for r in records[:4]:
        for task, metrics in r["metrics"].items():
            found = table[(table.run == r.id) & (table.task == task)].set_index("metric").value
            assert found.to_dict() == metrics
    board = benchmark.load_board(tmp_path, "thin-scenes-v1-one")
    (made,) = boards_of(tmp_path)
    assert list(board.columns) == csv_text(made).splitlines()[0].split(",")
    assert isinstance(board, pd.DataFrame) and list(board.method)[:5] == [e.label for e in made.entries]
    with pytest.raises(UserError, match=r"unknown board in .*; did you mean 'thin-scenes-v1-one'"):
        benchmark.load_board(tmp_path, "thin-scenes-v1-on")
    with pytest.raises(AttributeError, match="load_nothing"):
        benchmark.load_nothing  # noqa: B018


def test_reading_results_imports_no_torch() -> None:
    code = "import sys, benchmark; benchmark.load_board('results', 'quickstart-scenes-v1-one')"
    code += "; assert not {'torch', 'matplotlib'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], cwd=benchmark.ROOT, check=True)
