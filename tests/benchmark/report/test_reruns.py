"""The re-run floor: its value by plain arithmetic, where it is shown, and what counts as a second run."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.errors import UserError
from benchmark.report import details
from benchmark.report.leaderboard import boards_of
from benchmark.report.records import collect
from tests.benchmark.report import make
from tests.benchmark.report.drawn import lines
from tests.conftest import Bench

# What the second run of seed 0 has more; seed 1 twice that.
SHIFT = {"semseg": 0.3, "depth": -0.004, "normals": 0.2}


def second(r: dict[str, Any], shift: dict[str, float] = SHIFT) -> dict[str, Any]:
    """The record of another run of the same spec."""
    r["cost"]["seconds"] += 1.5
    for task, metrics in r["metrics"].items():
        metrics[make.INFO[task]["metric"]] += shift.get(task, 0.0) * (1 + r["spec"]["label_seed"])
    return r


def write(folder: Path, again: Path) -> None:
    """Three seeds; two of a method and of the reference a second time, and one that came out the same."""
    make.write_board(folder, seeds=3)
    for method in ("mtpsl", "single_task"):
        make.write(again, method, 2, edit=second)
    make.write(again, "multi_task", edit=lambda r: second(r, {}))


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
    assert board.reruns["single_task"].sd == pytest.approx(floor.sd, abs=1e-9)
    assert board.reruns["multi_task"].sd == 0 and "prototype" not in board.reruns
    table = {name: (line["rerun_floor"], line["rerun_n"]) for name, line in lines(board).items()}
    assert (table["mtpsl"], table["multi_task"]) == ((f"{floor.sd:.6g}", "2"), ("0", "1"))
    assert table["prototype"] == ("", "")
    title = "The same seeds run again"
    (section,) = [s for s in details.sections(board) if s.title == title]
    shown = {line[0]: line for line in section.table.values.tolist()}
    assert shown["mtpsl"][1:3] == ["2", f"{floor.sd:.2f}"] and shown["multi_task"][2] == "0.00"
    assert "prototype" not in shown and title not in {s.title for s in details.sections(plain)}


def test_what_is_no_second_run_is_refused(tmp_path: Path) -> None:
    runs, again = tmp_path / "runs", tmp_path / "again"
    write(runs, again)
    assert boards_of(runs, again)[0].reruns["mtpsl"].sd > 0
    make.write(again, "mtpsl", [2], edit=lambda r: r["hashes"].update(data="data9"))
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
    every = ("publish", "--all", "--force", *at)
    assert "publish the first ones without --rerun" in bench(*every, "--rerun", "--results", again)[2]
    bench.ok(*every, "--results", runs)
    for source in (runs, again):
        make.write(source, "elsewhere", edit=second)
    stranger = next(again.glob("thin/elsewhere*"))
    assert "is no second run: " in bench("publish", stranger, "--rerun", "--results", again, *at)[2]
    assert "it is the very same run, its time included" in bench(*every, "--rerun", "--results", runs)[2]
    assert not (public / "reruns").exists()
    assert len(bench.json(*every, "--rerun", "--results", again)["published"]) == 9
    assert sorted(p.suffix for p in (public / "reruns").iterdir()) == [".json"] * 9 + [".npz"] * 9
    (board,) = (board for board in boards_of(public) if board.reruns)
    assert board.reruns["mtpsl"].sd > 0 and board.reruns["multi_task"].sd == 0
    assert "prototype" not in board.reruns
    answer = bench.json("compare", "mtpsl", "multi_task", "--published", *at)["answers"][0]
    assert answer["rerun"]["n"] == 3
