"""Boards from records: numbers against plain arithmetic on the same records, tiers, captions, tables and
their check.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.errors import UserError
from benchmark.report import leaderboard
from benchmark.report.board import Board, Entry, build
from benchmark.report.captions import facts
from benchmark.report.leaderboard import markdown
from benchmark.report.naming import title
from benchmark.report.records import collect
from benchmark.report.tables import csv_text, frame
from tests.benchmark.report import make
from tests.benchmark.report.drawn import only


def entry(board: Board, label: str) -> Entry:
    return next(e for e in board.entries if e.label == label)


def lines(board: Board) -> dict[str, dict[str, str]]:
    return {line["method"]: line for line in csv.DictReader(io.StringIO(csv_text(board)))}


def write(
    folder: Path, method: str, seeds: range | list[int], gain: float | None = None, **values: Any
) -> None:
    for seed in seeds:
        for s in make.specs(method, seed, **values):
            make.write_run(folder, make.record(s, gain))


def test_numbers_against_plain_arithmetic(tmp_path: Path) -> None:
    make.write_board(tmp_path, seeds=3)
    board = only(tmp_path)
    records = collect(tmp_path).records
    for label, changed in (("mtpsl", []), ("prototype", []), ("prototype(tke=false)", ["tke"])):
        total = []
        for task, info in make.INFO.items():
            if task not in make.TASKS:
                continue
            means = []
            for method, names in ((label.split("(")[0], changed), ("single_task", [])):
                rows = [
                    r
                    for r in records
                    if r.spec["method"] == method and r.spec["changed"] == names and task in r["metrics"]
                ]
                values = [r["metrics"][task][info["metric"]] for r in rows]
                assert len(values) == 3
                means.append(sum(values) / 3)
            change = 100 * (means[0] - means[1]) / means[1] * (1 if info["higher_is_better"] else -1)
            found = (entry(board, label).changes or {})[task]
            assert found is not None and found.value == pytest.approx(change, rel=1e-9)
            assert entry(board, label).spreads[task][info["metric"]].mean == pytest.approx(means[0])
            total.append(change)
        delta = entry(board, label).delta
        assert delta is not None and delta.value == pytest.approx(sum(total) / 3, rel=1e-9) and delta.n == 3
        seeds = entry(board, label).psi
        assert seeds is not None and np.mean([*seeds.values()]) == pytest.approx(0, abs=1e-9)
    values = [e.delta.value for e in board.entries if e.delta]
    assert values == sorted(values, reverse=True) and len(values) == 5
    reference = board.reference
    assert (
        reference is not None
        and reference.delta is not None
        and reference.delta.value == 0
        and reference.delta.low is None
    )


def test_only_shared_seeds_count(tmp_path: Path) -> None:
    write(tmp_path, "single_task", [0, 1])
    write(tmp_path, "multi_task", [1, 2, 3])
    board = only(tmp_path)
    row = entry(board, "multi_task")
    assert row.units == (1, 2, 3) and row.paired == (1,) and board.planned == (0, 1, 2, 3)
    assert row.delta is not None and row.delta.n == 1 and row.delta.low is None
    line = lines(board)["multi_task"]
    assert (line["n_seeds"], line["n_paired"], line["n_planned"], line["ci_low"]) == ("3", "1", "4", "")


def test_train_seeds_are_averaged_inside_label_seeds(tmp_path: Path) -> None:
    for method in ("single_task", "multi_task"):
        for seed in (0, 1):
            for train in (0, 1, 2):
                for s in make.specs(method, seed, train_seed=train):
                    make.write_run(tmp_path / "one", make.record(s))
                for s in make.specs(method, 0, train_seed=train, labels="full"):
                    if seed == 0:
                        make.write_run(tmp_path / "full", make.record(s))
    row = entry(only(tmp_path / "one"), "multi_task")
    assert row.delta is not None and row.delta.n == 2 and row.units == (0, 1)
    # No labels are drawn under 'full': the train seed is the unit, and the caption says so.
    board = only(tmp_path / "full")
    row = entry(board, "multi_task")
    assert row.delta is not None and row.delta.n == 3
    assert any("training noise only" in value for _, value in facts(board))


@pytest.mark.parametrize(("seeds", "tiers"), [(3, {"development"}), (5, {"1", "2", "3", "4"})])
def test_tiers(seeds: int, tiers: set[str], tmp_path: Path) -> None:
    write(tmp_path, "single_task", range(seeds))
    write(tmp_path, "multi_task", range(seeds), gain=20.0)
    write(tmp_path, "mtpsl", range(seeds), gain=20.3)
    write(tmp_path, "prototype", range(seeds), gain=40.0)
    board = only(tmp_path)
    found = {e.label: e.tier for e in board.entries}
    assert set(found.values()) <= tiers
    if seeds == 5:
        assert (
            found["prototype"] == "1"
            and found["mtpsl"] == found["multi_task"] == "2"
            and found["single_task"] == "3"
        )
        make.write_failure(tmp_path, make.spec("mtpsl", 5))
        found = {e.label: e.tier for e in only(tmp_path).entries}
        assert set(found.values()) == {"incomplete"}  # nobody has the planned sixth seed


def test_a_row_of_an_earlier_version_of_its_weighting_is_told_apart_and_outdated(tmp_path: Path) -> None:
    """Records of before weightings had versions are of their first."""
    for method, values in (("single_task", {}), ("multi_task", {}), ("multi_task", {"balance_version": 2})):
        write(tmp_path, method, range(5), **({"balance": "mgda"} if method == "multi_task" else {}), **values)
    board = only(tmp_path)
    old = entry(board, "multi_task mgda v1")
    assert old.tier == lines(board)["multi_task mgda v1"]["tier"] == "version 1 of mgda (current 2)"
    assert old.row.outdated and not entry(board, "multi_task").row.outdated
    assert entry(board, "multi_task").tier == "1"
    assert any("multi_task mgda v1: version 1 of mgda (current 2)" in text for _, text in facts(board))


@pytest.mark.parametrize(
    "current", [{"mtpsl": 2, "other": 9}, {"mtpsl": 2, "single_task": 1, "multi_task": 1}]
)
def test_the_current_versions_make_rows_outdated(current: dict[str, int], tmp_path: Path) -> None:
    for method in ("single_task", "multi_task", "mtpsl"):
        write(tmp_path, method, range(5), method_version=1)
    (board,) = build(collect(tmp_path), current)
    assert entry(board, "mtpsl v1").tier == lines(board)["mtpsl v1"]["tier"] == "version 1 (current 2)"
    assert "| mtpsl v1 | version 1 (current 2) |" in markdown(board)
    assert (
        entry(board, "multi_task").tier in ("1", "2")
        and board.lead is not None
        and board.lead.best.label == "multi_task"
    )
    (board,) = build(collect(tmp_path), {"mtpsl": 1})
    assert entry(board, "mtpsl").tier in ("1", "2")
    (board,) = build(collect(tmp_path), {"single_task": 2})
    assert {e.tier for e in board.entries} == {"", "version 1 (current 2)"}
    assert any(
        "single_task v1: version 1" in value and "nothing is ranked" in value for _, value in facts(board)
    )


def test_file_names_do_not_depend_on_other_boards(tmp_path: Path) -> None:
    other = make.record(make.spec("mtpsl", labels="fraction:0.25", protocol={"epochs": 3.0}))
    make.write_run(tmp_path / "a", other)
    name = only(tmp_path / "a").name
    assert re.fullmatch(r"thin-scenes-v1-fraction-0\.25-[0-9a-f]{6}", name)
    make.write_run(tmp_path / "a", make.record(make.spec("mtpsl", labels="fraction:0.25")))
    assert [board.name for board in build(collect(tmp_path / "a"))] == ["thin-scenes-v1-fraction-0.25", name]
    del other["spec"]["protocol"]["weights"]  # as a record made before this key existed
    make.write_run(tmp_path / "b", other)
    assert only(tmp_path / "b").name == name


def test_changed_protocols_say_so(tmp_path: Path) -> None:
    def board(name: str, /, **protocol: Any) -> Board:
        make.write_run(tmp_path / name, make.record(make.spec("multi_task", protocol=protocol)))
        return only(tmp_path / name)

    def told(found: Board) -> tuple[str, str, str]:
        return (
            title(found.group),
            markdown(found).splitlines()[0][2:],
            lines(found)["multi_task"]["protocol_changes"],
        )

    end = ": scenes-v1, labels 'one'"
    assert told(board("shipped")) == (f"thin v1{end}", f"thin v1{end}", "")
    changed = "size=[32,64], epochs=1"
    assert told(board("changed", epochs=1.0, size=[32, 64])) == (*[f"thin v1 ({changed}){end}"] * 2, changed)
    many = "size=[32,64], encoder=resnet18, width=16, batch=4, epochs=0.5, flip=false"
    short = f"thin v1 (size=[32,64], encoder=resnet18, width=16, batch=4 and 2 more){end}"
    found = board("many", epochs=0.5, size=[32, 64], encoder="resnet18", width=16, batch=4, flip=False)
    assert told(found) == (short, f"thin v1 ({many}){end}", many)
    own = told(board("own", name="mine", version=3))
    assert own == (*[f"mine v3 (own protocol){end}"] * 2, "own protocol")
    assert told(board("newer", version=7))[2] == "shipped: v1"
    names = list(frame(found))
    assert names.index("protocol_changes") == names.index("protocol") + 1


def test_a_complete_write_removes_other_boards(tmp_path: Path) -> None:
    make.write_run(tmp_path / "runs", make.record(make.spec("multi_task")))
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


def test_a_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    make.write_run(tmp_path / "runs", make.record(make.spec("multi_task")))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "leaderboards").write_text("in the way")
    with pytest.raises(UserError, match="could not write"):
        leaderboard.write(build(collect(tmp_path / "runs")), tmp_path / "out")
