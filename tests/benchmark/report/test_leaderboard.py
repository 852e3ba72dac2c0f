"""Boards from records: numbers against plain arithmetic on the same records, tiers, names and files."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.errors import UserError
from benchmark.report import leaderboard
from benchmark.report.board import Board, build
from benchmark.report.captions import facts
from benchmark.report.figures import board as plots
from benchmark.report.grouping import title
from benchmark.report.records import collect
from benchmark.report.views import markdown
from tests.benchmark.report import make
from tests.benchmark.report.drawn import blank, entry, lines, only

TIERS = {"single_task": 0.0, "multi_task": 20.0, "mtpsl": 20.3, "prototype": 40.0}


def test_numbers_against_plain_arithmetic(runs: Path, board: Board) -> None:
    records = collect(runs).records
    for label, changed in (("mtpsl", []), ("prototype", []), ("prototype(tke=false)", ["tke"])):
        found, total = entry(board, label), []
        for task in make.TASKS:
            info, means = make.INFO[task], []
            for method, names in ((label.split("(")[0], changed), ("single_task", [])):
                same = [r for r in records if (r.spec["method"], r.spec["changed"]) == (method, names)]
                values = [r["metrics"][task][info["metric"]] for r in same if task in r["metrics"]]
                assert len(values) == 4
                means.append(sum(values) / 4)
            total.append(100 * (means[0] / means[1] - 1) * (1 if info["higher_is_better"] else -1))
            assert found.changes[task].value == pytest.approx(total[-1], rel=1e-9)
            assert found.metrics[task][info["metric"]].mean() == pytest.approx(means[0])
        assert found.delta and found.delta.value == pytest.approx(sum(total) / 3, rel=1e-9)
        assert np.mean([*found.by_seed.values()]) == pytest.approx(found.delta.value) and found.delta.n == 4
    values = [e.delta.value for e in board.entries if e.delta]
    assert values[:4] == sorted(values[:4], reverse=True) and len(values) == 5
    assert [e.role for e in board.entries][4:] == ["ablation"]  # though it is second best
    reference = board.reference
    assert reference and reference.delta and (reference.delta.value, reference.delta.low) == (0, None)


def test_only_shared_seeds_count(tmp_path: Path) -> None:
    make.write(tmp_path, "single_task", [0, 1])
    make.write(tmp_path, "multi_task", [1, 2, 3])
    board = only(tmp_path)
    row = entry(board, "multi_task")
    assert row.units == (1, 2, 3) and row.paired == (1,) and board.group.planned == (0, 1, 2, 3)
    assert row.delta is not None and row.delta.n == 1 and row.delta.low is None
    line = lines(board)["multi_task"]
    assert (line["n_seeds"], line["n_paired"], line["n_planned"], line["ci_low"]) == ("3", "1", "4", "")


def test_tiers(tmp_path: Path) -> None:
    for seeds in (3, 5):
        for method, gain in TIERS.items():
            make.write(tmp_path, method, seeds, gain)
        found = {e.label: e.tier for e in only(tmp_path).entries}
        assert seeds == 5 or set(found.values()) == {"development"}
    assert found == {"prototype": "1", "mtpsl": "2", "multi_task": "2", "single_task": "3"}
    make.write_failure(tmp_path, make.spec("mtpsl", 5))  # then nobody has the planned sixth seed
    assert {e.tier for e in only(tmp_path).entries} == {"incomplete"}


def test_runs_of_earlier_versions_are_on_no_board_and_told(tmp_path: Path) -> None:
    """Records of before weightings had versions are of their first."""
    make.write(tmp_path, "single_task", 2)
    make.write(tmp_path, "mtpsl", 2, method_version=1)
    make.write(tmp_path, "multi_task", 2, balance="mgda")
    make.write(tmp_path, "multi_task", 1, balance="mgda", balance_version=2)
    (board,) = build(collect(tmp_path), {"mtpsl": 2, "other": 9, "single_task": 1})
    assert {(e.label, len(e.units)) for e in board.entries} == {("single_task", 2), ("multi_task", 1)}
    told = "mtpsl v1 (2 runs), multi_task by mgda v1 (2 runs)"
    assert ("earlier versions, on no board", told) in facts(board) and len(board.group.run_ids) == 7
    (board,) = build(collect(tmp_path), {"mtpsl": 1})
    assert "mtpsl" in lines(board) and board.group.earlier == {"multi_task by mgda v1": 2}
    current = {"mtpsl": 2, "single_task": 9, "multi_task": 9}
    assert build(collect(tmp_path), current) == []


def test_file_names_do_not_depend_on_other_boards(tmp_path: Path) -> None:
    other = make.record(make.spec("mtpsl", labels="fraction:0.25", protocol={"epochs": 3.0}))
    make.write_run(tmp_path / "a", other)
    name = only(tmp_path / "a").name
    assert re.fullmatch(r"thin-scenes-v1-fraction-0\.25-[0-9a-f]{6}", name)
    make.write(tmp_path / "a", "mtpsl", labels="fraction:0.25")
    assert [board.name for board in build(collect(tmp_path / "a"))] == ["thin-scenes-v1-fraction-0.25", name]
    del other["spec"]["protocol"]["weights"]  # as a record made before this key existed
    make.write_run(tmp_path / "b", other)
    assert only(tmp_path / "b").name == name


@pytest.mark.parametrize(
    ("protocol", "name", "changes"),
    [
        ({}, "thin v1", ""),
        ({"epochs": 0.5, "size": [32, 64], "flip": False}, "thin v1", "size=[32,64], epochs=0.5, flip=false"),
        ({"name": "mine", "version": 3}, "mine v3", "own protocol"),
        ({"version": 7}, "thin v7", "shipped: v1"),
    ],
)
def test_changed_protocols_say_so(protocol: dict[str, Any], name: str, changes: str, tmp_path: Path) -> None:
    make.write(tmp_path, "multi_task", protocol=protocol)
    made = only(tmp_path)
    full = f"{name} ({changes})" if changes else name
    assert markdown(made).splitlines()[0] == f"# {title(made.group)}" == f"# {full}: scenes-v1, labels 'one'"
    assert lines(made)["multi_task"]["protocol_changes"] == changes


def test_a_complete_write_removes_other_boards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "draw", blank)
    make.write(tmp_path / "runs", "multi_task")
    boards, out = build(collect(tmp_path / "runs")), tmp_path / "out"
    kept = ["leaderboards/notes.txt", "tables/old.csv", "figures/mine/a.svg", "figures/mine/draft.ai"]
    kept += ["figures/loose.png", "figures/deep/inside/a.png"]
    gone = ["leaderboards/old.csv", "tables/old.md"]
    gone += [f"figures/old/{name}" for name in ("a.svg", "a.png", "left-out.txt")]
    for name in (*kept, *gone):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("of an earlier write")
    (out / "figures" / "linked").symlink_to(out / "figures" / "deep" / "inside")
    leaderboard.write(boards, out)
    assert all((out / name).is_file() for name in (*kept, *gone))
    written = leaderboard.write(boards, out, complete=True)
    assert all((out / name).is_file() for name in kept) and all(path.is_file() for path in written.paths)
    assert not any((out / name).exists() for name in gone) and not (out / "figures" / "old").exists()
    assert leaderboard.check(boards, out) == []
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "leaderboards").write_text("a file where a folder is needed")
    with pytest.raises(UserError, match="could not write"):
        leaderboard.write(boards, tmp_path / "blocked")
