"""The table of an ablation: its numbers by an independent computation, what it is relative to, and what it
says is missing.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from benchmark.report import ablation
from benchmark.report.board import build
from benchmark.report.figures.waterfall import waterfall
from benchmark.report.records import collect
from benchmark.spec import plan
from benchmark.spec.run import RunSpec
from tests.benchmark.report import make
from tests.benchmark.report.drawn import cut_off, figures, texts

GRID = (
    '[[grid]]\nprotocol = "thin"\ndataset = "scenes"\nlabels = "one"\nmethod = ["single_task", '
    '"multi_task"]\nseeds = 4\n'
)
ABLATE = (
    '[ablate]\nprotocol = "thin"\ndataset = "scenes"\nlabels = "one"\nmethod = "prototype"\nseeds = 4\n'
    "components = { tke = false, tc = false }\n"
)
SIGN = {"semseg": 1, "depth": -1, "normals": -1}


def planned(folder: Path, text: str, settings: list[str] | None = None) -> plan.Plan:
    (folder / "mine.toml").write_text(text)
    return plan.make([str(folder / "mine.toml")], settings or [], folder)


def write(folder: Path, specs: list[RunSpec]) -> dict[str, dict[str, Any]]:
    """Made-up records of these runs; {id: record}."""
    folder.mkdir(exist_ok=True)
    made = {
        s.id: make.record(s.as_dict(), gain=7.0 - 2.0 * len(s.changed) if s.changed else None) for s in specs
    }
    for record in made.values():
        make.write_run(folder, record)
    return made


def scores(specs: list[RunSpec], records: dict[str, dict[str, Any]], task: str) -> dict[int, float]:
    found = {
        s.label_seed: records[s.id]["metrics"][task] for s in specs if s.id in records and task in s.tasks
    }
    return {seed: next(iter(values.values())) for seed, values in found.items()}


def by_hand(
    a: dict[str, dict[int, float]], ref: dict[str, dict[int, float]], seeds: list[int]
) -> tuple[float, list[float]]:
    """Delta m and psi of every seed, in plain loops after the formula of the design."""
    value, psi, n = 0.0, [0.0] * len(seeds), len(seeds)
    for task, sign in SIGN.items():
        m, s = (sum(x[task][seed] for seed in seeds) / n for x in (a, ref))
        value += 100 / len(SIGN) * sign * (m - s) / s
        for i, seed in enumerate(seeds):
            psi[i] += 100 / len(SIGN) * sign * ((a[task][seed] - m) / s - m / s**2 * (ref[task][seed] - s))
    return value, psi


def half(values: list[float]) -> float:
    n, mean = len(values), sum(values) / len(values)
    sd = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1))
    return float(scipy_stats.t.ppf(0.975, n - 1)) * sd / math.sqrt(n)


@pytest.mark.parametrize("form", ["leave-one-out", "cumulative"])
@pytest.mark.parametrize("referenced", [True, False])
def test_numbers_agree_with_an_independent_computation(form: str, referenced: bool, tmp_path: Path) -> None:
    made = planned(tmp_path, (GRID if referenced else "") + ABLATE + f'form = "{form}"\n')
    records = write(tmp_path / "runs", list(made.cells))
    assert made.ablation is not None
    (table,) = ablation.tables(made.ablation, build(collect(tmp_path / "runs")))
    rows = {row.name: {t: scores(list(row.cells), records, t) for t in SIGN} for row in made.ablation.rows}
    single = [c for c in made.cells if c.method == "single_task"]
    first = made.ablation.rows[0].name
    reference = {t: scores(single, records, t) for t in SIGN} if referenced else rows[first]
    assert table.reference == ("single_task" if referenced else f"the row '{first}'")
    assert table.compared == ("the row 'full'" if form == "leave-one-out" else "the row above")
    before = None
    for line, (name, values) in zip(table.lines, rows.items(), strict=True):
        assert (line.name, line.units, line.planned) == (name, 4, 4)
        for task in SIGN:
            found, column = line.scores[task], [values[task][seed] for seed in range(4)]
            assert found.value == pytest.approx(np.mean(column), rel=1e-9)
            assert found.high is not None and found.high - found.value == pytest.approx(
                half(column), rel=1e-9
            )
        value, psi = by_hand(values, reference, [0, 1, 2, 3])
        assert line.delta is not None and line.delta.value == pytest.approx(value, abs=1e-9)
        if values is reference:
            assert line.delta.high is None and line.delta.value == 0
        else:
            assert line.delta.high is not None and line.delta.high - line.delta.value == pytest.approx(
                half(psi), rel=1e-9
            )
        if before is None:
            assert line.difference is None
        else:
            assert line.difference is not None and line.difference.low is not None
            assert line.difference.value == pytest.approx(value - before[0], abs=1e-9)
            gap = half([a - b for a, b in zip(psi, before[1], strict=True)])
            assert line.difference.value - line.difference.low == pytest.approx(gap, rel=1e-9)
        if before is None or form == "cumulative":
            before = value, psi


def test_seeds_that_are_missing_or_not_planned(tmp_path: Path) -> None:
    """The plan's seeds count alone; a difference rests on the seeds that both rows and the reference
    share.
    """
    made = planned(tmp_path, GRID + ABLATE)
    more = planned(tmp_path, GRID + ABLATE, ["seeds=6"])
    assert made.ablation is not None
    gone = {made.ablation.rows[1].cells[0].id, made.ablation.rows[2].cells[3].id}
    records = write(tmp_path / "runs", [c for c in more.cells if c.id not in gone])
    (table,) = ablation.tables(made.ablation, build(collect(tmp_path / "runs")))
    assert [(line.units, line.planned) for line in table.lines] == [(4, 4), (3, 4), (3, 4)]
    full, tke = ({t: scores(list(row.cells), records, t) for t in SIGN} for row in made.ablation.rows[:2])
    single = {t: scores([c for c in more.cells if c.method == "single_task"], records, t) for t in SIGN}
    expected = by_hand(tke, single, [1, 2, 3])[0] - by_hand(full, single, [1, 2, 3])[0]
    assert table.lines[1].difference is not None and table.lines[1].difference.value == pytest.approx(
        expected
    )
    assert table.lines[1].difference.n == 3
    assert "without tke: 3 of 4 label seeds finished." in table.sentences
    assert ablation.shown(table)["seeds"][1] == "3 of 4"


def test_a_table_a_setting_and_none_where_nothing_is_done(tmp_path: Path) -> None:
    made = planned(tmp_path, GRID + ABLATE, ['labels=["one", "full", "random"]', "seeds=2"])
    write(tmp_path / "runs", [c for c in made.cells if c.labels != "random"])
    assert made.ablation is not None
    found = ablation.tables(made.ablation, build(collect(tmp_path / "runs")))
    assert [t.group.labels for t in found] == ["one", "full"]
    assert "One mask of labels: the intervals hold training noise only." in found[1].sentences
    assert found[1].sentences[0].startswith("Means over train seeds;")
    assert ablation.tables(made.ablation, []) == []
    rows = ablation.records(found).to_dict("records")
    assert [(r["labels"], r["row"]) for r in rows] == [
        (labels, name) for labels in ("one", "full") for name in ("full", "without tke", "without tc")
    ]
    assert float(rows[0]["delta_m_low"]) < float(rows[0]["delta_m"]) < float(rows[0]["delta_m_high"])
    assert rows[0]["difference"] == "" and rows[1]["difference_low"]


def test_without_a_reference_or_a_finished_first_row_there_is_no_delta(tmp_path: Path) -> None:
    made = planned(tmp_path, ABLATE)
    assert made.ablation is not None
    write(tmp_path / "runs", list(made.ablation.rows[1].cells))
    (table,) = ablation.tables(made.ablation, build(collect(tmp_path / "runs")))
    assert table.reference == "" and all(
        line.delta is None and line.difference is None for line in table.lines
    )
    assert "No Δm: no reference of this setting shares finished seeds with every row." in table.sentences
    cells = ablation.shown(table).to_numpy()
    assert [*cells[0][2:]] == [""] * 5 and cells[1][2] != ""


@pytest.mark.parametrize("form", ["leave-one-out", "cumulative"])
def test_the_figure_draws_the_differences_with_the_plans_names(form: str, tmp_path: Path) -> None:
    made = planned(
        tmp_path, GRID + ABLATE + f'form = "{form}"\n[ablate.names]\ntke = "task keys"\n', ["seeds=2"]
    )
    write(tmp_path / "runs", list(made.cells))
    assert made.ablation is not None
    tables = ablation.tables(made.ablation, build(collect(tmp_path / "runs")))
    with figures() as found:
        waterfall(tables, "mine", tmp_path / "ablation-mine")
    fig = found["ablation-mine"]
    (ax,) = fig.axes
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == [line.name for line in tables[0].lines] and "task keys" in names[1]
    for line, bar, text in list(zip(tables[0].lines, ax.patches, texts(ax), strict=True))[1:]:
        assert line.delta is not None and line.difference is not None
        assert bar.get_width() == pytest.approx(line.difference.value)
        start = line.delta.value - line.difference.value if form == "cumulative" else 0.0
        assert bar.get_x() == pytest.approx(start) and text.startswith(f"{line.difference.value:+.1f} [")
    assert "plan mine" in fig.get_suptitle() and cut_off(fig) == []
    drawn = [[path.read_bytes() for path in waterfall(tables, "mine", tmp_path / n)] for n in ("a", "b")]
    assert drawn[0] == drawn[1] and len(drawn[0]) == 2
    assert waterfall([], "mine", tmp_path / "a") == [] and not [*tmp_path.glob("a.*")]
