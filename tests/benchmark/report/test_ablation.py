"""The table of an ablation: its numbers by an independent computation, and what is missing in it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from benchmark.report import ablation
from benchmark.report.board import build
from benchmark.report.records import collect
from benchmark.report.verdict import UNTUNED
from benchmark.spec import plan
from benchmark.spec.run import RunSpec
from tests.benchmark.report import make

HEAD = 'protocol = "thin"\ndataset = "scenes"\nlabels = "one"\nseeds = 4\n'
GRID = f'[[grid]]\n{HEAD}method = ["single_task", "multi_task"]\n'
ABLATE = f'[ablate]\n{HEAD}method = "prototype"\ncomponents = {{ tke = false, tc = false }}\n'
SIGN = {"semseg": 1, "depth": -1, "normals": -1}


def planned(folder: Path, text: str, settings: tuple[str, ...] = ()) -> Any:
    (folder / "mine.toml").write_text(text)
    return plan.make([str(folder / "mine.toml")], list(settings), folder)


def tables(made: Any, folder: Path, cells: list[RunSpec]) -> list[ablation.Table]:
    """The tables of a plan's ablation where these runs are done."""
    for s in cells:
        gain = 7.0 - 2 * len(s.changed) if s.changed else None
        make.write_run(folder, make.record(s.as_dict(), gain, curve=False), panels=False)
    return ablation.tables(made.ablation, build(collect(folder)))


def scores(folder: Path, specs: list[RunSpec], seeds: list[int]) -> np.ndarray:
    """(seeds, tasks) from the records alone."""
    found = {r.id: r for r in collect(folder).records}
    values = {(s.label_seed, task): found[s.id]["metrics"][task][make.INFO[task]["metric"]]
              for s in specs if s.id in found for task in s.tasks}  # fmt: skip
    return np.array([[values[seed, task] for task in SIGN] for seed in seeds])


def by_hand(a: np.ndarray, ref: np.ndarray) -> tuple[float, list[float]]:
    """Delta m and psi of every seed, in plain loops after the formula of the design."""
    value, psi = 0.0, [0.0] * len(a)
    for t, sign in enumerate(SIGN.values()):
        m, s = (sum(x[:, t]) / len(x) for x in (a, ref))
        value += 100 / len(SIGN) * sign * (m - s) / s
        for i in range(len(a)):
            psi[i] += 100 / len(SIGN) * sign * ((a[i, t] - m) / s - m / s**2 * (ref[i, t] - s))
    return value, psi


def half(values: Any) -> float:
    return float(scipy_stats.t.ppf(0.975, len(values) - 1) * scipy_stats.sem(values))


@pytest.mark.parametrize("form", ["leave-one-out", "cumulative"])
@pytest.mark.parametrize("referenced", [True, False])
def test_numbers_agree_with_an_independent_computation(form: str, referenced: bool, tmp_path: Path) -> None:
    made = planned(tmp_path, (GRID if referenced else "") + ABLATE + f'form = "{form}"\n')
    (table,) = tables(made, tmp_path / "runs", list(made.cells))
    seeds, single = [0, 1, 2, 3], [c for c in made.cells if c.method == "single_task"]
    rows = {row.name: scores(tmp_path / "runs", list(row.cells), seeds) for row in made.ablation.rows}
    first = made.ablation.rows[0].name
    reference = scores(tmp_path / "runs", single, seeds) if referenced else rows[first]
    assert table.reference == ("single_task" if referenced else f"the row '{first}'")
    assert table.compared == ("the row 'full'" if form == "leave-one-out" else "the row above")
    before = None
    for line, (name, values) in zip(table.lines, rows.items(), strict=True):
        assert (line.name, line.units, line.planned) == (name, 4, 4)
        value, psi = by_hand(values, reference)
        names = [f"{t}_{make.INFO[t]['metric']}" for t in SIGN]
        expected = {n: (v.mean(), half(v)) for n, v in zip(names, values.T, strict=True)}
        expected["delta_m"] = (value, half(psi))
        if before:
            expected["difference"] = (value - before[0], half(np.subtract(psi, before[1])))
        assert line.estimates.keys() == expected.keys()
        for key, estimate in line.estimates.items():
            ends = (estimate.value, (estimate.high or estimate.value) - estimate.value)
            assert ends == pytest.approx(expected[key], abs=1e-9)
        if before is None or form == "cumulative":
            before = value, psi


def test_seeds_that_are_missing_or_not_planned(tmp_path: Path) -> None:
    """The plan's seeds count alone; a difference rests on those that both rows and the reference share."""
    made, more = planned(tmp_path, GRID + ABLATE), planned(tmp_path, GRID + ABLATE, ("seeds=6",))
    rows, runs = made.ablation.rows, tmp_path / "runs"
    gone = {rows[1].cells[0].id, rows[2].cells[3].id}
    (table,) = tables(made, runs, [c for c in more.cells if c.id not in gone])
    assert [(line.units, line.planned) for line in table.lines] == [(4, 4), (3, 4), (3, 4)]
    full, tke = (scores(runs, list(row.cells), [1, 2, 3]) for row in rows[:2])
    single = scores(runs, [c for c in more.cells if c.method == "single_task"], [1, 2, 3])
    found = table.lines[1].estimates["difference"]
    assert found.value == pytest.approx(by_hand(tke, single)[0] - by_hand(full, single)[0]) and found.n == 3
    assert "without tke: 3 of 4 label seeds finished." in table.sentences
    assert ablation.shown(table)["seeds"][1] == "3 of 4"
    assert table.sentences[-1] == f"{UNTUNED}; none for multi_task, single_task."  # as its board says


def test_a_table_a_setting_and_none_where_nothing_is_done(tmp_path: Path) -> None:
    made = planned(tmp_path, GRID + ABLATE, ('labels=["one", "full", "random"]', "seeds=2"))
    found = tables(made, tmp_path / "runs", [c for c in made.cells if c.labels != "random"])
    assert [t.group.labels for t in found] == ["one", "full"]
    assert "One mask of labels: the intervals hold training noise only." in found[1].sentences
    assert ablation.tables(made.ablation, []) == []
    rows = ablation.records(found).to_dict("records")
    names = ("full", "without tke", "without tc")
    assert [(r["labels"], r["row"]) for r in rows] == [(label, n) for label in ("one", "full") for n in names]
    assert float(rows[0]["delta_m_low"]) < float(rows[0]["delta_m"]) < float(rows[0]["delta_m_high"])
    assert rows[0]["difference"] == "" and rows[1]["difference_low"]


def test_without_a_reference_or_a_finished_first_row_there_is_no_delta(tmp_path: Path) -> None:
    made = planned(tmp_path, ABLATE)
    (table,) = tables(made, tmp_path / "runs", list(made.ablation.rows[1].cells))
    assert table.reference == "" and not any("delta_m" in line.estimates for line in table.lines)
    assert "No Δm: no reference of this setting shares finished seeds with every row." in table.sentences
    cells = ablation.shown(table).to_numpy()
    assert [*cells[0][2:]] == [""] * 5 and cells[1][2] != ""
