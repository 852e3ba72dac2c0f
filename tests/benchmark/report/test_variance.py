"""The split of the noise into label seed and train seed: plain mean squares, a simulation, and when it is
refused.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmark.report import statistics
from benchmark.report.board import build
from benchmark.report.details import sections
from benchmark.report.records import collect
from benchmark.report.tables import csv_text, frame
from tests.benchmark.report import make


def slow(y: np.ndarray) -> tuple[float, float, float]:
    """Variances from sums of squares about means, in loops."""
    a, b = y.shape
    mean = sum(map(sum, y)) / (a * b)
    rows = [sum(y[i]) / b for i in range(a)]
    columns = [sum(y[:, j]) / a for j in range(b)]
    total = sum((y[i, j] - mean) ** 2 for i in range(a) for j in range(b))
    between_rows, between_columns = (
        b * sum((r - mean) ** 2 for r in rows),
        a * sum((c - mean) ** 2 for c in columns),
    )
    rest = (total - between_rows - between_columns) / ((a - 1) * (b - 1))
    return (between_rows / (a - 1) - rest) / b, (between_columns / (b - 1) - rest) / a, rest


@pytest.mark.parametrize("shape", [(4, 3), (5, 5), (7, 4)])
def test_components_against_plain_mean_squares(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(shape[0])
    y = 30 + 2 * rng.normal(size=(shape[0], 1)) + 3 * rng.normal(size=(1, shape[1])) + rng.normal(size=shape)
    label, train, rest = slow(y)
    found = statistics.components(y)
    assert found.label_sd == pytest.approx(max(label, 0) ** 0.5, abs=1e-9)
    assert found.train_sd == pytest.approx(max(train, 0) ** 0.5, abs=1e-9)
    assert (
        found.rest_sd == pytest.approx(rest**0.5, abs=1e-9)
        and (found.label_seeds, found.train_seeds) == shape
    )


def test_components_in_a_simulation() -> None:
    rng, truth = np.random.default_rng(0), (1.5, 0.8, 0.5)
    squares = []
    for _ in range(2000):
        y = (
            truth[0] * rng.normal(size=(8, 1))
            + truth[1] * rng.normal(size=(1, 6))
            + truth[2] * rng.normal(size=(8, 6))
        )
        found = statistics.components(y)
        squares.append([found.label_sd**2, found.train_sd**2, found.rest_sd**2])
    np.testing.assert_allclose(np.mean(squares, 0), np.square(truth), rtol=0.06)


def test_an_estimate_below_zero_is_zero() -> None:
    y = np.array([[1.0, -1, 0], [-1, 1, 0], [1, -1, 0], [-1, 1, 0]])
    found = statistics.components(y)
    assert found.label_sd == 0 and found.rest_sd > 0


def test_the_grid_that_is_split() -> None:
    value = {(label, train): float(label + train) for label in range(4) for train in range(3)}
    assert statistics.split(value) == statistics.components(np.add.outer(np.arange(4.0), np.arange(3.0)))
    more = value | {(9, 9): 5.0, (8, 0): 1.0, (0, 7): 2.0}  # seeds outside the grid are left out
    assert statistics.split(more) == statistics.split(value)
    for missing in ((0, 0), (3, 2)):
        assert statistics.split({pair: v for pair, v in value.items() if pair != missing}) is None
    assert statistics.split({(label, train): v for (label, train), v in value.items() if label < 3}) is None
    assert statistics.split({(i, i): 1.0 for i in range(10)}) is None and statistics.split({}) is None


def test_a_board_of_a_crossed_grid(tmp_path: Path) -> None:
    for method in ("single_task", "multi_task"):
        for label in range(4):
            for train in range(3):
                for s in make.specs(method, label, train_seed=train):
                    make.write_run(tmp_path, make.record(s), panels=False)
    for s in make.specs("mtpsl", 0):
        make.write_run(tmp_path, make.record(s), panels=False)
    (board,) = build(collect(tmp_path))
    found = {e.label: e.beside.variance for e in board.entries}
    assert found["mtpsl"] == {} and found["multi_task"].keys() == {"delta_m", *make.TASKS}
    records = {
        (r.spec["label_seed"], r.spec["train_seed"]): r
        for r in collect(tmp_path).records
        if r.spec["method"] == "multi_task"
    }
    y = np.array([[records[i, j]["metrics"]["depth"]["absErr"] for j in range(3)] for i in range(4)])
    assert found["multi_task"]["depth"].rest_sd == pytest.approx(slow(y)[2] ** 0.5, abs=1e-9)
    assert (
        "delta_m_sd_label_seed" in frame(board)
        and ",4 x 3," in csv_text(board)
        and ",not separable," in csv_text(board)
    )
    section = next(s for s in sections(board) if s.title == "Where the noise comes from")
    assert list(section.table["seeds"]) == ["4 x 3"] * 2 and len(section.table.columns) == 14


def test_under_a_fixed_mask_nothing_is_split(tmp_path: Path) -> None:
    for label in range(4):
        for train in range(3):
            make.write_run(
                tmp_path,
                make.record(make.spec("multi_task", label, train_seed=train, labels="full")),
                panels=False,
            )
    for record in tmp_path.rglob("record.json"):  # one mask for all
        record.write_text(
            record.read_text()
            .replace('"mask1"', '"mask0"')
            .replace('"mask2"', '"mask0"')
            .replace('"mask3"', '"mask0"')
        )
    (board,) = build(collect(tmp_path))
    assert board.entries[0].beside.variance == {} and "delta_m_sd_label_seed" not in frame(board)
