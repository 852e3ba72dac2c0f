"""`bench ablate` over made-up records, and a plan that changes while its runs go on."""

import json
from pathlib import Path

import pandas as pd
import pytest

from benchmark.cli import run as ablate
from benchmark.execute import workers
from benchmark.report.figures import board as plots
from benchmark.report.figures.style import Drawing
from benchmark.spec import plan
from benchmark.spec.run import RunSpec
from tests.benchmark.report import make
from tests.commands import sets
from tests.conftest import Bench

HEAD = 'protocol = "thin"\ndataset = "scenes"\nlabels = "one"\nseeds = 2\n'
PLAN = (
    f'[[grid]]\n{HEAD}method = "single_task"\n[ablate]\n{HEAD}method = "prototype"\nform = "cumulative"\n'
    "components.tae = { vq = false, tae = false }\n"
    "components.tke = { tke = false, retrieval = false, tc = false }\n"
)


def test_an_ablation_of_finished_runs(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "draw", lambda board, folder: Drawing(folder))
    file, results = tmp_path / "mine.toml", tmp_path / "runs"
    file.write_text(PLAN)
    arguments = ["ablate", file, "--results", results]
    for spec in plan.make([str(file)], [], tmp_path).cells:
        folder = results / spec.folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = make.write_run(tmp_path / "made", make.record(spec.as_dict()), panels=False)
        made.parent.rename(folder)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(ablate, "run", lambda **_: print("ran") or (0, {}))
    out = bench.ok(*arguments)
    assert "prototype, cumulative: thin v1" in out and "Difference: Δm minus that of the row above" in out
    stem = results / "tables" / "ablation-mine"
    rows = pd.read_csv(stem.with_suffix(".csv"), dtype=str, keep_default_na=False).to_dict("records")
    assert [r["row"] for r in rows] == ["base", "+ tae", "+ tke"]
    assert {r["reference"] for r in rows} == {"single_task"}
    assert rows[0]["difference"] == "" != rows[1]["difference"]
    text = stem.with_suffix(".md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 5 and len({line.count("|") for line in lines}) == 1
    assert all(f"| {r['row']} | 2 |" in text and f"{r['row']} " in out for r in rows) and out.count("± ") >= 9
    code, out, err = bench(*arguments, "--json")  # alone on standard output
    assert code == 0 and "ran" in err
    assert json.loads(out) == {"plan": "mine", "form": "cumulative", "rows": rows}
    # The board's tables do not take the ablation's for theirs.
    assert bench.ok("leaderboard", "--results", results) and stem.with_suffix(".md").read_text() == text
    bench.ok("leaderboard", "--check", "--results", results)


def test_what_cannot_be_ablated(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, results = tmp_path / "mine.toml", tmp_path / "runs"
    said = bench.refused("ablate", "thin", "--results", results)
    assert "plan thin ablates nothing here; add [ablate] with method" in said
    file.write_text(PLAN)
    assert bench("ablate", file, "multi_task", "--results", results)[0] == 2 and not results.exists()
    monkeypatch.setattr(ablate, "run", lambda **_: results.mkdir() or (1, {}))  # every run fails
    code, out, _ = bench("ablate", file, "prototype", "--results", results)
    assert code == 1 and "no row of the ablation has a finished seed yet" in out
    assert not (results / "tables").exists()


def test_a_plan_is_read_at_the_start(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan is read at the start: what is in the file afterwards is for the next command."""
    file, results, expand = tmp_path / "mine.toml", tmp_path / "runs", plan.expand
    taken: list[RunSpec] = []
    monkeypatch.setattr(workers, "work", lambda cells, *arguments: taken.extend(cells))

    def expand_and_edit(*arguments: object) -> plan.Plan:
        made = expand(*arguments)  # type: ignore[arg-type]
        file.write_text("[[grid")
        return made

    file.write_text(f'[[grid]]\n{HEAD}method = "multi_task"\n')
    monkeypatch.setattr(plan, "expand", expand_and_edit)
    bench.ok("run", file, *sets(), "--results", results)
    assert sorted(spec.label_seed for spec in taken) == [0, 1]
    assert "is not valid TOML" in bench.refused("run", file, *sets(), "--results", results)
