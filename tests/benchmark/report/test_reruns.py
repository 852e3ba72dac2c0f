"""The re-run floor: its value against plain arithmetic, where it is shown, and what counts as a second
run.
"""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.errors import UserError
from benchmark.report import details
from benchmark.report.board import Board
from benchmark.report.leaderboard import boards_of
from benchmark.report.records import collect
from benchmark.report.tables import csv_text
from tests.benchmark.report import make
from tests.conftest import Bench

SHIFT = {
    "semseg": 0.3,
    "depth": -0.004,
    "normals": 0.2,
}  # what the second run of seed 0 has more; seed 1 twice that


def second(r: dict[str, Any], shift: dict[str, float] = SHIFT) -> dict[str, Any]:
    """The record of another run of the same spec."""
    r["cost"]["seconds"] += 1.5
    for task, metrics in r["metrics"].items():
        metrics[make.INFO[task]["metric"]] += shift.get(task, 0.0) * (1 + r["spec"]["label_seed"])
    return r


def write(folder: Path, again: Path) -> None:
    """Three seeds; two of one method, and of the reference, a second time, and one of another that came out
    the same.
    """
    make.write_board(folder, seeds=3)
    for seed in range(2):
        for s in (make.spec("mtpsl", seed), *make.specs("single_task", seed)):
            make.write_run(again, second(make.record(s)), panels=False)
    make.write_run(again, second(make.record(make.spec("multi_task", 0)), {}), panels=False)


def lines(board: Board) -> dict[str, dict[str, str]]:
    return {line["method"]: line for line in csv.DictReader(io.StringIO(csv_text(board)))}


def test_the_floor_by_plain_arithmetic(tmp_path: Path) -> None:
    write(tmp_path / "runs", tmp_path / "again")
    (plain,), (board,) = boards_of(tmp_path / "runs"), boards_of(tmp_path / "runs", tmp_path / "again")
    records = [r for r in collect(tmp_path / "runs").records if r.spec["method"] == "single_task"]
    metrics = {t: make.INFO[t]["metric"] for t in SHIFT}
    base = {t: np.mean([r["metrics"][t][metrics[t]] for r in records if t in r["metrics"]]) for t in SHIFT}
    signs = {t: 1 if make.INFO[t]["higher_is_better"] else -1 for t in SHIFT}
    d = [100 / 3 * sum(signs[t] * shift * k / base[t] for t, shift in SHIFT.items()) for k in (1, 2)]
    floor = board.reruns["mtpsl"]
    assert floor.n == 2 and floor.sd == pytest.approx(math.sqrt((d[0] ** 2 + d[1] ** 2) / 2 / 2), abs=1e-9)
    assert floor.tasks["depth"] == pytest.approx(0.004 * math.sqrt((1 + 4) / 4), abs=1e-9)
    # Changes that cancel in delta m are no noise of it; those of the tasks stay.
    assert board.reruns["single_task"].sd == pytest.approx(floor.sd, abs=1e-9)
    assert board.reruns["multi_task"].sd == 0 and "prototype" not in board.reruns
    table = lines(board)
    assert table["mtpsl"]["rerun_floor"] == f"{floor.sd:.6g}" and table["mtpsl"]["rerun_n"] == "2"
    assert (table["multi_task"]["rerun_floor"], table["multi_task"]["rerun_n"]) == ("0", "1")
    assert table["prototype"]["rerun_floor"] == table["prototype"]["rerun_n"] == ""
    (section,) = [s for s in details.sections(board) if s.title == "The same seeds run again"]
    shown = {line[0]: line for line in section.table.values.tolist()}
    assert shown["mtpsl"][1:3] == ["2", f"{floor.sd:.2f}"] and shown["multi_task"][2] == "0.00"
    assert "prototype" not in shown and "The same seeds run again" not in {
        s.title for s in details.sections(plain)
    }


def test_what_is_no_second_run_is_refused(tmp_path: Path) -> None:
    runs, again = tmp_path / "runs", tmp_path / "again"
    write(runs, again)
    assert boards_of(runs, again)[0].reruns["mtpsl"].sd > 0
    other = make.record(make.spec("mtpsl", 2))
    other["hashes"]["data"] = "data9"
    make.write_run(again, other, panels=False)
    for folder, sentence in (
        (runs, "it is the very same run, its time included"),
        (tmp_path, "holds no whole seed of a row in "),
        (tmp_path / "none", "there is no results folder "),
        (again, "it was given other training data"),
    ):
        with pytest.raises(UserError, match=sentence):
            boards_of(runs, folder)


def test_published_second_runs(bench: Bench, tmp_path: Path) -> None:
    runs, again, public = tmp_path / "runs", tmp_path / "again", tmp_path / "public"
    write(runs, again)
    at = ("--published-in", public)
    code, _, err = bench("publish", "--all", "--force", "--rerun", "--results", again, *at)
    assert code == 2 and "publish the first ones without --rerun" in err and not (public / "reruns").exists()
    assert bench("publish", "--all", "--force", "--results", runs, *at)[0] == 0
    for source in (runs, again):
        make.write_run(source, second(make.record(make.spec("elsewhere", 0))), panels=False)
    stranger = next(again.glob("thin/elsewhere*"))
    code, _, err = bench("publish", stranger, "--rerun", "--results", again, *at)
    assert code == 2 and "is no second run: " in err and "publish the first run without --rerun" in err
    code, _, err = bench("publish", "--all", "--force", "--rerun", "--results", runs, *at)
    assert (
        code == 2 and "it is the very same run, its time included" in err and not (public / "reruns").exists()
    )
    code, out, _ = bench("publish", "--all", "--force", "--rerun", "--results", again, *at, "--json")
    made = sorted(path.name for path in (public / "reruns").iterdir())
    assert (
        code == 0
        and len(json.loads(out)["published"]) == 9
        and len(made) == 18
        and not any("webp" in name for name in made)
    )
    (board,) = (board for board in boards_of(public) if board.reruns)
    assert board.reruns["mtpsl"].sd > 0 and board.reruns["multi_task"].sd == 0
    assert "prototype" not in board.reruns
    code, out, _ = bench("compare", "mtpsl", "multi_task", "--published", *at, "--json")
    assert code == 0 and json.loads(out)["answers"][0]["rerun"]["n"] == 3
