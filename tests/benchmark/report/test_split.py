"""The split of noise: bars hold the components of the records, in units that share an axis."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmark.report.figures import split
from tests.benchmark.report import make
from tests.benchmark.report.drawn import cut_off, figures, only, twice


def write(
    folder: Path,
    label_seeds: int = 4,
    train_seeds: int = 3,
    methods: tuple[str, ...] = ("single_task", "multi_task"),
) -> None:
    for method in methods:
        for label in range(label_seeds):
            for train in range(train_seeds):
                for s in make.specs(method, label, train_seed=train):
                    make.write_run(folder, make.record(s), panels=False)


def by_hand(values: np.ndarray) -> list[float]:
    """The three standard deviations of a grid (labels, trainings) by its two-way analysis of variance."""
    a, b = values.shape
    rest = sum(
        (values[i, j] - values[i].mean() - values[:, j].mean() + values.mean()) ** 2
        for i in range(a)
        for j in range(b)
    ) / ((a - 1) * (b - 1))
    label = (b * values.mean(1).var(ddof=1) - rest) / b
    train = (a * values.mean(0).var(ddof=1) - rest) / a
    return [max(0.0, v) ** 0.5 for v in (label, train, rest)]


def test_bars_are_the_components_in_percent_of_the_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    found, board = figures(monkeypatch), only(tmp_path)
    assert split.variance(board, tmp_path)[1] == []
    fig = found["variance"]
    shown = [ax for ax in fig.axes if ax.get_visible()]
    assert [ax.get_title("left") for ax in shown] == [
        "Δm (points)",
        "semseg mIoU",
        "depth absErr",
        "normals mErr",
    ]
    assert board.reference is not None
    grids, means = {}, {}
    for task in make.TASKS:
        for entry in board.entries:
            values = np.zeros((4, 3))
            for r in entry.row.records:
                if task in r["metrics"]:
                    values[r.spec["label_seed"], r.spec["train_seed"]] = r["metrics"][task][
                        make.INFO[task]["metric"]
                    ]
            grids[entry.label, task] = values
        means[task] = grids[board.reference.label, task].mean()
    for ax, quantity in zip(shown, ("delta_m", *make.TASKS), strict=True):
        expected = []
        for entry in board.entries:
            if quantity == "delta_m":
                sign = {t: 1 if make.INFO[t]["higher_is_better"] else -1 for t in make.TASKS}
                grid = (
                    sum(
                        (sign[t] * 100 * grids[entry.label, t] / means[t] for t in make.TASKS),
                        np.zeros((4, 3)),
                    )
                    / 3
                )
            else:
                grid = 100 * grids[entry.label, quantity] / means[quantity]
            expected += by_hand(grid)
        np.testing.assert_allclose([bar.get_width() for bar in ax.patches], expected, rtol=1e-9, atol=1e-9)
        assert [text.get_text() for text in ax.texts] == [f"{sd:.2f}" for sd in expected]
    assert any(bar.get_width() > 0.1 for bar in shown[0].patches)
    assert len({ax.get_xlim() for ax in shown}) == 1 and cut_off(fig) == []
    assert "over 4 label x 3 train seeds" in fig.get_suptitle()


def test_rows_without_a_grid_are_named(tmp_path: Path) -> None:
    write(tmp_path)
    for seed in range(2):
        make.write_run(tmp_path, make.record(make.spec("mtpsl", seed)), panels=False)
    files, notes = split.variance(only(tmp_path), tmp_path)
    assert len(files) == 2
    assert notes == [
        "variance: mtpsl is left out: not separable without a whole grid of 4 label seeds x 3 train seeds."
    ]


def test_boards_that_cannot_be_split_say_why(tmp_path: Path) -> None:
    write(tmp_path / "few", label_seeds=3)
    assert split.variance(only(tmp_path / "few"), tmp_path) == (
        [],
        [
            "variance: no row has a whole grid of 4 label seeds x 3 train seeds, so its parts are not "
            "separable."
        ],
    )
    write(tmp_path / "alone", methods=("multi_task",))
    assert split.variance(only(tmp_path / "alone"), tmp_path) == (
        [],
        ["variance: no seed of the reference is complete, which gives the scale."],
    )
    for seed in range(2):
        make.write_run(
            tmp_path / "fixed",
            make.record(make.spec("multi_task", 0, train_seed=seed, labels="full")),
            panels=False,
        )
    assert split.variance(only(tmp_path / "fixed"), tmp_path) == (
        [],
        ["variance: labels 'full' are one mask, so all noise is that of training."],
    )


def test_the_same_board_gives_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path)
    first, second = twice(split.variance, tmp_path)
    assert first == second and len(first) == 2
