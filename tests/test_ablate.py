"""`bench ablate` from end to end on small rooms, and a plan that changes while its runs go on."""

import csv
import io
import json
from pathlib import Path

import pytest

from benchmark.cli import runs
from benchmark.report.figures import board as plots
from benchmark.report.figures.style import Drawing
from benchmark.spec import plan
from tests.conftest import Bench
from tests.test_cli import records, sets

HEAD = 'protocol = "thin"\ndataset = "scenes"\nlabels = "one"\nseeds = 2\n'
PLAN = (
    f'[[grid]]\n{HEAD}method = ["single_task", "multi_task"]\n[ablate]\n{HEAD}method = "prototype"\nform = '
    f'"cumulative"\n'
    "components = { tae = { vq = false, tae = false }, tke = { tke = false, retrieval = false, tc = false } "
    "}\n"
    "[ablate.hparams.prototype]\ncodes = 16\nproto_dim = 16\nwidth = 16\nheads = 2\n"
)


def table(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.read_text())))


def test_a_plan_of_an_ablation_alone_knows_its_protocols(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(PLAN[PLAN.index("[ablate]") :])
    assert list(plan.make([str(file)], [], tmp_path).protocols) == ["thin"]


def test_an_ablation_from_nothing_to_its_table(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "draw", lambda board, folder: Drawing(folder))
    file, results = tmp_path / "mine.toml", tmp_path / "runs"
    file.write_text(PLAN)
    arguments = ["ablate", file, *sets("epochs=1", 'tasks=["semseg", "depth"]'), "--results", results]
    assert bench(*arguments, "--dry-run")[0] == 0 and not results.exists()
    code, out, _ = bench(*arguments)
    assert code == 0 and len(records(results)) == 12
    assert "prototype, cumulative: thin v1" in out and "Difference: Δm minus that of the row above" in out
    text = (results / "tables" / "ablation-mine.md").read_text()
    rows = table(results / "tables" / "ablation-mine.csv")
    assert [r["row"] for r in rows] == ["base", "+ tae", "+ tke"] and all(
        r["reference"] == "single_task" for r in rows
    )
    assert (
        all(f"| {r['row']} | 2 |" in text for r in rows)
        and rows[0]["difference"] == "" != rows[1]["difference"]
    )
    # Every part off is supervised multi-task learning, to the last digit.
    (board,) = (results / "leaderboards").glob("*.csv")
    multi = next(r for r in table(board) if r["method"] == "multi_task")
    assert (rows[0]["delta_m"], rows[0]["depth_absErr"]) == (multi["delta_m"], multi["depth_absErr_mean"])
    monkeypatch.setenv("COLUMNS", "80")
    narrow = bench(*arguments)[1]
    assert all(f"{r['row']} " in narrow for r in rows) and narrow.count("± ") >= 9
    monkeypatch.delenv("COLUMNS")
    # Again: nothing to run, the same table; JSON alone on standard output.
    code, out, err = bench(*arguments, "--json")
    shown = json.loads(out)
    assert code == 0 and "nothing to do: all 12 runs" in err
    assert (shown["plan"], shown["form"], shown["rows"]) == ("mine", "cumulative", rows)
    # The board's tables do not take the ablation's for theirs.
    assert bench("leaderboard", "--check", "--results", results)[0] == 0
    assert bench("leaderboard", "--results", results)[0] == 0
    assert (results / "tables" / "ablation-mine.md").read_text() == text


def test_what_cannot_be_ablated(bench: Bench, tmp_path: Path) -> None:
    code, out, err = bench("ablate", "thin", "--results", tmp_path / "runs")
    assert (
        code == 2
        and not out
        and "plan thin ablates nothing here; add [ablate] with method and components" in err
    )
    (tmp_path / "mine.toml").write_text(PLAN)
    assert bench("ablate", tmp_path / "mine.toml", "multi_task", "--results", tmp_path / "runs")[0] == 2
    assert not (tmp_path / "runs").exists()


def test_an_ablation_whose_runs_all_failed_has_no_table(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.toml").write_text(PLAN)
    results = tmp_path / "runs"
    results.mkdir()
    monkeypatch.setattr(runs, "run", lambda *_, **__: 1)
    code, out, _ = bench("ablate", tmp_path / "mine.toml", "prototype", "--results", results)
    assert code == 1 and "no row of the ablation has a finished seed yet" in out
    assert not (results / "tables").exists()


def test_a_plan_edited_while_it_runs_changes_nothing(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan is read at the start: what is in the file afterwards, even no plan at all, is for the next
    command.
    """
    file, results, expand = tmp_path / "mine.toml", tmp_path / "runs", plan.expand

    def expand_and_edit(*arguments: object) -> plan.Plan:
        made = expand(*arguments)  # type: ignore[arg-type]
        file.write_text("[[grid")
        return made

    file.write_text(f'[[grid]]\n{HEAD}method = "multi_task"\n')
    monkeypatch.setattr(plan, "expand", expand_and_edit)
    assert bench("run", file, *sets(), "--results", results)[0] == 0
    assert sorted(r["spec"]["label_seed"] for r in records(results).values()) == [0, 1]
    code, _, err = bench("run", file, *sets(), "--results", results)
    assert code == 2 and "is not valid TOML" in err
