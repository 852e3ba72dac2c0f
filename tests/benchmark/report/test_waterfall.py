"""Ablation figures: which rows form steps, and that each bar is the paired difference of its two rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from scipy import stats as scipy_stats

from benchmark.cli.results import boards_of
from benchmark.report import ablation
from benchmark.report.figures import waterfall
from benchmark.spec import plan
from tests.benchmark.report import make
from tests.benchmark.report.drawn import cut_off, figures, only, texts, twice
from tests.benchmark.report.test_ablation import ABLATE, GRID, planned, write

OFF: list[dict[str, Any]] = [
    {},
    {"tc": False},
    {"tc": False, "tke": False},
    {"tc": False, "tke": False, "tae": False},
]
DEFAULTS = {"tc": True, "tke": True, "tae": True, "codes": 128}


def board_of(folder: Path, rows: list[dict[str, Any]], seeds: int = 3, **values: Any) -> None:
    for seed in range(seeds):
        specs = make.specs("single_task", seed)
        for changed in rows:
            s = make.spec("prototype", seed, changed=changed, **values)
            s["hyperparameters"] = DEFAULTS | changed
            specs.append(s)
        for s in specs:
            make.write_run(folder, make.record(s, gain=5.0 - 1.3 * len(s["changed"])), panels=False)


def scores(folder: Path, method: str, changed: dict[str, Any]) -> np.ndarray:
    """(seeds, tasks) from the records alone."""
    runs = [r for e in only(folder).entries for r in e.row.records if r.spec["method"] == method]
    runs = [
        r
        for r in runs
        if r.spec["changed"] == sorted(changed) and changed.items() <= r.spec["hyperparameters"].items()
    ]
    seeds = sorted({r.spec["label_seed"] for r in runs})
    return np.array(
        [[next(r["metrics"][t][make.INFO[t]["metric"]]
               for r in runs if r.spec["label_seed"] == u and t in r["metrics"])
          for t in make.TASKS] for u in seeds]
    )  # fmt: skip


def by_hand(folder: Path, a: dict[str, Any], b: dict[str, Any]) -> tuple[float, float]:
    """The paired difference of delta m and half its interval."""
    base = scores(folder, "single_task", {})
    sign = np.array([1 if make.INFO[t]["higher_is_better"] else -1 for t in make.TASKS])
    d = 100 * sign * (scores(folder, "prototype", a) - scores(folder, "prototype", b)) / base.mean(0)
    psi = (d - d.mean(0) - d.mean(0) * (base - base.mean(0)) / base.mean(0)).mean(1)
    return d.mean(), scipy_stats.t.ppf(0.975, len(d) - 1) * psi.std(ddof=1) / len(d) ** 0.5


def bars(ax: Axes) -> list[tuple[float, float]]:
    """(start, width)"""
    return [(bar.get_x(), bar.get_width()) for bar in ax.patches]


def names(ax: Axes) -> list[str]:
    return [label.get_text() for label in ax.get_yticklabels()]


def test_nested_rows_become_steps_from_the_plainest_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board_of(tmp_path, OFF)
    found, board = figures(monkeypatch), only(tmp_path)
    assert waterfall.waterfall(board, tmp_path)[1] == []
    (ax,) = found["ablation"].axes
    assert names(ax) == ["without tae, tc, tke", "+ tae", "+ tke", "+ tc"]
    plainest = next(e for e in board.entries if len(e.row.changed) == 3)
    assert plainest.delta is not None
    level = plainest.delta.value
    drawn, said = bars(ax), texts(ax)
    np.testing.assert_allclose(drawn[0], (0.0, level), rtol=1e-9)
    for i, (richer, plainer) in enumerate(zip(OFF[2::-1], OFF[:0:-1], strict=True), 1):
        value, half = by_hand(tmp_path, richer, plainer)
        np.testing.assert_allclose(drawn[i], (level, value), rtol=1e-9)
        assert said[i] == f"{value:+.1f}  [{value - half:+.1f}, {value + half:+.1f}]"
        level += value
    full = next(e for e in board.entries if e.label == "prototype")
    assert full.delta is not None and abs(level - full.delta.value) < 1e-9
    assert cut_off(found["ablation"]) == []


def test_rows_that_change_one_thing_each_are_compared_with_the_full_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone: list[dict[str, Any]] = [{"tc": False}, {"tke": False}, {"codes": 64}]
    board_of(tmp_path, [{}, *alone])
    found, board = figures(monkeypatch), only(tmp_path)
    waterfall.waterfall(board, tmp_path)
    (ax,) = found["ablation"].axes
    by_name = {"without tc": alone[0], "without tke": alone[1], "codes=64": alone[2]}
    assert names(ax)[0] == "prototype" and sorted(names(ax)[1:]) == sorted(by_name)
    for name, bar, said in zip(names(ax)[1:], bars(ax)[1:], texts(ax)[1:], strict=True):
        value, half = by_hand(tmp_path, by_name[name], {})
        np.testing.assert_allclose(bar, (0.0, value), rtol=1e-9, atol=1e-12)
        assert said == f"{value:+.1f}  [{value - half:+.1f}, {value + half:+.1f}]"
    assert ax.get_xlabel() == "Δm minus that of prototype (points)"


def test_steps_and_single_changes_stand_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board_of(tmp_path, [*OFF, {"codes": 64}])
    found = figures(monkeypatch)
    waterfall.waterfall(only(tmp_path), tmp_path)
    steps, single = found["ablation"].axes
    assert len(bars(steps)) == 4 and sorted(names(single)) == ["codes=64", "prototype", "without tc"]


def test_other_balances_are_no_ablation(tmp_path: Path) -> None:
    board_of(tmp_path, [{}])
    for seed in range(3):
        make.write_run(
            tmp_path, make.record(make.spec("prototype", seed, balance="uncertainty")), panels=False
        )
        make.write_run(tmp_path, make.record(make.spec("mtpsl", seed)), panels=False)
    assert waterfall.waterfall(only(tmp_path), tmp_path) == (
        [],
        ["ablation: no method has rows here that differ in hyperparameters alone and share seeds."],
    )


def test_the_same_board_gives_the_same_bytes(tmp_path: Path) -> None:
    board_of(tmp_path, [*OFF, {"codes": 64}], seeds=2)
    first, second = twice(waterfall.waterfall, tmp_path)
    assert first == second and len(first) == 2


@pytest.mark.parametrize("form", ["leave-one-out", "cumulative"])
def test_a_plan_is_drawn_with_its_own_names_and_order(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = GRID + ABLATE + f'form = "{form}"\n[ablate.names]\ntke = "task keys"\n'
    made: plan.Plan = planned(tmp_path, text)
    write(tmp_path / "runs", list(made.cells))
    assert made.ablation is not None
    (table,) = ablation.tables(made.ablation, boards_of(tmp_path / "runs"))
    found = figures(monkeypatch)
    waterfall.draw_tables([table], "mine", tmp_path / "ablation-mine")
    fig = found["ablation-mine"]
    (ax,) = fig.axes
    assert names(ax) == [line.name for line in table.lines]
    assert names(ax)[1] == ("+ task keys" if form == "cumulative" else "without task keys")
    for line, (start, width) in list(zip(table.lines, bars(ax), strict=True))[1:]:
        assert (
            line.delta is not None
            and line.difference is not None
            and abs(width - line.difference.value) < 1e-9
        )
        assert abs(start - (line.delta.value - width if form == "cumulative" else 0.0)) < 1e-9
    assert "plan mine" in fig.get_suptitle() and cut_off(fig) == []


def test_an_ablation_without_differences_removes_an_earlier_figure(tmp_path: Path) -> None:
    (tmp_path / "ablation-mine.png").write_bytes(b"of earlier runs")
    assert waterfall.draw_tables([], "mine", tmp_path / "ablation-mine") == []
    assert list(tmp_path.iterdir()) == []
