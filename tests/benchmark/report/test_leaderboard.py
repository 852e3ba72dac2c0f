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
from rich.console import Console

from benchmark.errors import UserError
from benchmark.report import leaderboard
from benchmark.report.board import Board, Entry, build
from benchmark.report.captions import sentences, verdict
from benchmark.report.figures import board as plots
from benchmark.report.formats import digits, duration, fixed, interval, signed
from benchmark.report.naming import title
from benchmark.report.records import collect
from benchmark.report.tables import columns, csv_text, decimals, markdown
from tests.benchmark.report import make


def only(folder: Path) -> Board:
    (board,) = build(collect(folder))
    return board


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


def test_difference_to_the_baseline(tmp_path: Path) -> None:
    make.write_board(tmp_path, seeds=3)
    board = only(tmp_path)
    assert board.baseline is not None and board.baseline.label == "multi_task" and board.comparisons == 3
    for e in board.entries:
        compared = e.role == ""
        assert (e.versus is not None) == compared and (e.decidable is not None) == compared
        if e.versus and e.delta and board.baseline.delta:
            assert e.versus.value == pytest.approx(e.delta.value - board.baseline.delta.value)
            assert e.decidable is False


def test_only_shared_seeds_count(tmp_path: Path) -> None:
    write(tmp_path, "single_task", [0, 1])
    write(tmp_path, "multi_task", [1, 2, 3])
    board = only(tmp_path)
    row = entry(board, "multi_task")
    assert row.units == (1, 2, 3) and row.paired == (1,) and board.planned == (0, 1, 2, 3)
    assert row.delta is not None and row.delta.n == 1 and row.delta.low is None
    line = lines(board)["multi_task"]
    assert (line["n_seeds"], line["n_paired"], line["n_planned"], line["ci_low"]) == ("3", "1", "4", "")
    assert any("Left out of Δm: multi_task seed 2, 3" in s for s in sentences(board))
    assert "one seed gives no interval" in verdict(board)


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
    assert any("training noise only" in s for s in sentences(board))


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
        assert "Likely, not sure: the interval excludes 0, but 5 seeds are too few" in verdict(board)
        make.write_failure(tmp_path, make.spec("mtpsl", 5))
        found = {e.label: e.tier for e in only(tmp_path).entries}
        assert set(found.values()) == {"incomplete"}  # nobody has the planned sixth seed
    else:
        assert "3 seeds are development" in verdict(board)
        assert any("nothing is ranked" in s for s in sentences(board))


def test_verdicts(tmp_path: Path) -> None:
    write(tmp_path / "a", "multi_task", [0])
    board = only(tmp_path / "a")
    assert "No Δm: no seed of the reference single_task is complete" in verdict(board)
    assert lines(board)["multi_task"]["delta_m"] == "" and lines(board)["constant"]["delta_m"] == ""
    write(tmp_path / "b", "single_task", [0, 1])
    assert "no other method has a complete seed" in verdict(only(tmp_path / "b"))
    write(tmp_path / "b", "multi_task", [0, 1], gain=-15.0)
    assert "No method beats single_task: the nearest is multi_task at Δm -1" in verdict(only(tmp_path / "b"))
    write(tmp_path / "b", "mtpsl", [0, 1], gain=0.3)
    assert "Not sure" in verdict(only(tmp_path / "b"))


def test_failures_and_weak_rows_are_told(tmp_path: Path) -> None:
    make.write_board(tmp_path, seeds=2)
    make.write_failure(tmp_path, make.spec("mtpsl", 2))
    weak = make.record(make.spec("multi_task", 2))
    make.write_run(tmp_path, weak)
    bad = make.record(make.spec("prototype", 0, changed={"codes": 2}))
    bad["metrics"]["depth"]["absErr"] = 0.95
    bad["environment"]["dirty"] = True
    make.write_run(tmp_path, bad)
    board = only(tmp_path)
    caption = "\n".join(sentences(board))
    assert "Failed: mtpsl seed 2: loss of xtc became infinite" in caption
    assert "NOT above it: prototype(codes=2) on depth" in caption
    assert "uncommitted changes: prototype(codes=2)" in caption
    assert "semseg 64, depth 64, normals 64 (of 192 images)" in caption
    assert lines(board)["mtpsl"]["n_failed"] == "1" and lines(board)["mtpsl"]["n_planned"] == "3"
    assert (
        lines(board)["constant"]["tier"] == "not a method"
        and float(lines(board)["constant"]["delta_m"]) < -50
    )


def test_a_row_that_only_failed_is_shown(tmp_path: Path) -> None:
    make.write_failure(tmp_path, make.spec("mtpsl", 0))
    board = only(tmp_path)
    assert [e.label for e in board.entries] == ["mtpsl"] and lines(board)["mtpsl"]["n_failed"] == "1"
    assert "mtpsl" in markdown(board)
    write(tmp_path, "single_task", [0])
    write(tmp_path, "multi_task", [0])
    assert entry(only(tmp_path), "mtpsl").delta is None


def test_an_older_version_is_shown_but_not_ranked(tmp_path: Path) -> None:
    write(tmp_path, "single_task", range(2))
    write(tmp_path, "mtpsl", range(2), gain=50.0, method_version=1)
    write(tmp_path, "mtpsl", range(2), gain=1.0, method_version=2)
    board = only(tmp_path)
    assert entry(board, "mtpsl v1").tier == "version 1 (current 2)" and board.entries[-1].label == "mtpsl v1"
    assert board.lead is not None and board.lead.best.label == "mtpsl"


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
        "single_task v1 was computed by version 1" in s and "nothing is ranked" in s for s in sentences(board)
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
    names = columns(found)
    assert names.index("protocol_changes") == names.index("protocol") + 1


def test_a_complete_write_removes_other_boards(tmp_path: Path) -> None:
    make.write_run(tmp_path / "runs", make.record(make.spec("multi_task")))
    boards, out = build(collect(tmp_path / "runs")), tmp_path / "out"
    kept = [
        "leaderboards/notes.txt",
        "tables/old.csv",
        "figures/mine/a.svg",
        "figures/mine/draft.ai",
        "figures/loose.png",
    ]
    kept += ["figures/deep/inside/a.png"]
    gone = [
        "leaderboards/old.csv",
        "tables/old.md",
        "figures/old/a.svg",
        "figures/old/a.png",
        "figures/old/left-out.txt",
    ]
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


def test_a_reference_of_zero_is_named(tmp_path: Path) -> None:
    for method in ("single_task", "multi_task"):
        for seed in (0, 1):
            for s in make.specs(method, seed):
                r = make.record(s)
                if method == "single_task" and "semseg" in r["metrics"]:
                    r["metrics"]["semseg"]["mIoU"] = 0.0
                make.write_run(tmp_path, r)
    board = only(tmp_path)
    assert verdict(board) == "Δm is undefined: the reference scores 0 on semseg."
    assert {line["delta_m"] for line in lines(board).values()} == {""}
    notes = plots.draw(board, tmp_path / "figures").notes
    for name in ("delta_m", "changes", "cost"):
        assert f"{name}: Δm is undefined: the reference scores 0 on semseg." in notes


def test_rows_no_better_than_the_constant(tmp_path: Path) -> None:
    def change(value: dict[str, float]) -> tuple[str, str]:
        for method in ("single_task", "multi_task"):
            for s in make.specs(method, 0):
                r = make.record(s)
                for task in r["metrics"]:
                    r["metrics"][task][make.INFO[task]["metric"]] = value.get(
                        task, make.score(method, task, 0, 1.0, 1.0)
                    )
                make.write_run(tmp_path, r)
        board = only(tmp_path)
        return verdict(board), next(s for s in sentences(board) if s.startswith("constant:"))

    headline, floor = change({})
    assert headline.startswith("Highest") or headline.startswith("No method beats")
    assert floor.endswith("; every method is above it on every task.")
    headline, floor = change({"semseg": make.FLOOR["semseg"]})
    assert "No method has learnt" not in headline
    assert "NOT above it: " in floor and "multi_task on semseg" in floor and "single_task on semseg" in floor
    headline, floor = change({"semseg": 4.0, "depth": 0.9, "normals": 60.0})
    nothing = (
        "No method has learnt more than the best constant prediction on any task; Δm compares noise here. "
    )
    assert headline.startswith(nothing) and sentences(only(tmp_path))[0] == headline
    assert floor.endswith("; no method is above it on any task.")


def test_identical_seeds_are_marked(tmp_path: Path) -> None:
    for method in ("single_task", "multi_task"):
        for seed in (0, 1, 2):
            for s in make.specs(method, seed):
                make.write_run(tmp_path, make.record(s, gain=make.GAIN[method], noise=0.0))
    board = only(tmp_path)
    assert "(seeds identical)" in verdict(board) and "Not sure: 3 seeds without any spread" in verdict(board)
    assert lines(board)["multi_task"]["ci_low"] == "" and "+2.0 (seeds identical)" in markdown(board)
    assert "[+" not in markdown(board) and "[+" not in shown(board, 100)


def test_changes_that_no_label_shows_are_told(tmp_path: Path) -> None:
    for changed in ({"codes": 256}, {"codes": 256, "tke": False}):
        make.write_run(tmp_path, make.record(make.spec("prototype", changed=changed, balance="dwa")))
    make.write_run(tmp_path, make.record(make.spec("mtpsl", changed={"weight": 0.5})))
    make.write_run(tmp_path, make.record(make.spec("multi_task")))
    board = only(tmp_path)
    told = [s for s in sentences(board) if "defaults" in s]
    assert told == [
        "mtpsl runs with weight=0.5, away from its defaults.",
        "prototype runs with codes=256, balance=dwa, away from its defaults.",
    ]
    for sentence in told:
        assert sentence in markdown(board) and sentence in shown(board, 140)


def test_csv_is_stable_and_complete(tmp_path: Path) -> None:
    make.write_board(tmp_path / "runs", seeds=3)
    make.write_board(tmp_path / "published", seeds=3, published=True)
    board, text = only(tmp_path / "runs"), csv_text(only(tmp_path / "runs"))
    assert text == csv_text(only(tmp_path / "published")) and text.endswith("\n") and "\r" not in text
    assert markdown(board) == markdown(only(tmp_path / "published"))
    table = list(csv.reader(io.StringIO(text)))
    assert len({len(line) for line in table}) == 1 and len(table) == 1 + 5 + 1
    assert table[0][-5:] == ["gpu_hours", "seconds", "peak_gib", "images_per_second", "device"]
    line = lines(board)["single_task"]
    assert line["role"] == "reference" and line["delta_m"] == "0" and len(line["run_ids"].split()) == 9
    assert line["label_masks"] == "0:mask0 1:mask1 2:mask2"
    seeds = [float(part.split(":")[1]) for part in lines(board)["mtpsl"]["delta_m_seeds"].split()]
    assert np.mean(seeds) == pytest.approx(float(lines(board)["mtpsl"]["delta_m"]), rel=1e-4)
    assert lines(board)["prototype(tke=false)"]["hyperparameters"] == '{"tke":false}'


def test_cost_alone_changes_the_last_columns(tmp_path: Path) -> None:
    for name, factor in (("a", 1), ("b", 3)):
        for method in ("single_task", "multi_task"):
            for s in make.specs(method, 0):
                record = make.record(s)
                record["cost"] |= {"seconds": record["cost"]["seconds"] * factor, "peak_gib": float(factor)}
                make.write_run(tmp_path / name, record)
    a, b = (list(csv.reader(io.StringIO(csv_text(only(tmp_path / name))))) for name in ("a", "b"))
    assert a != b and [line[:-5] for line in a] == [line[:-5] for line in b]


def test_check_finds_every_difference(tmp_path: Path) -> None:
    for method in ("single_task", "mtpsl"):
        for seed in range(2):
            for s in make.specs(method, seed):
                make.write_run(tmp_path, make.record(s), published=True)
    boards = build(collect(tmp_path))
    tables = {name: (tmp_path / name) for name in leaderboard.files(boards)}
    assert {m.split()[0] for m in leaderboard.check(boards, tmp_path)} == set(tables)
    found = leaderboard.write(boards, tmp_path)
    written = found.paths
    assert any("diagnostic of kind matrix" in note for note in found.notes)
    assert leaderboard.check(boards, tmp_path) == [] and all(path.is_file() for path in written)
    before = {path: path.read_bytes() for path in written}
    leaderboard.write(boards, tmp_path)
    assert {path: path.read_bytes() for path in written} == before  # the figures too
    path = tmp_path / f"leaderboards/{boards[0].name}.csv"
    value = lines(boards[0])["mtpsl"]["delta_m"]
    path.write_text(path.read_text().replace(value, "99.9", 1))
    (message,) = leaderboard.check(boards, tmp_path)
    assert (
        message
        == f"leaderboards/{path.name} differs: delta_m of mtpsl is '99.9' on disk, {value!r} from the "
        f"records."
    )
    path.write_bytes(before[path].replace(b"\n", b"\r\n"))
    assert "differs" in leaderboard.check(boards, tmp_path)[0]
    path.write_bytes(before[path])
    (tmp_path / "tables" / "old.md").write_text("gone")
    table = tmp_path / f"tables/{boards[0].name}.md"
    table.write_text(table.read_text().replace("mtpsl", "mtpls", 1))
    messages = leaderboard.check(boards, tmp_path)
    assert messages == [
        f"tables/{table.name} differs: method of mtpsl is 'mtpls' on disk, 'mtpsl' from the records (line "
        f"5).",
        "tables/old.md belongs to no board of these records.",
    ]


def test_a_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    make.write_run(tmp_path / "runs", make.record(make.spec("multi_task")))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "leaderboards").write_text("in the way")
    with pytest.raises(UserError, match="could not write"):
        leaderboard.write(build(collect(tmp_path / "runs")), tmp_path / "out")


def shown(board: Board, width: int) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(leaderboard.text(board))
    return console.export_text()


@pytest.mark.parametrize("width", [80, 100, 140])
@pytest.mark.parametrize("tasks", [make.TASKS, tuple(make.INFO)])
def test_terminal_cuts_nothing(tasks: tuple[str, ...], width: int, tmp_path: Path) -> None:
    make.write_board(tmp_path, seeds=2, tasks=tasks)
    make.write_failure(tmp_path, make.spec("mtpsl", 2, tasks))
    board = only(tmp_path)
    text = shown(board, width)
    assert "…" not in text and max(map(len, text.splitlines())) <= width
    flat = " ".join(text.split())
    for sentence in (title(board.group), *sentences(board)):
        assert " ".join(sentence.split()) in flat
    places = decimals(board)
    for e in board.entries:
        assert e.delta is not None
        numbers = [] if e.role == "reference" else [signed(e.delta.value), interval(e.delta)]
        for t in board.group.tasks:
            spread, change = e.spreads[t.name][t.metric], (e.changes or {})[t.name]
            numbers += [fixed(spread.mean, places[t.name]), f"± {fixed(spread.sd, places[t.name])}"]
            numbers += [] if e.role == "reference" or change is None else [f"{signed(change.value)} %"]
        for number in (*numbers, "(tke=false)", "1 failed", "constant", *tasks):
            assert number in text
    costs = len(tasks) == 3 or width == 140
    assert ("GiB" in text) == costs and ("Costs need more columns than this terminal has" in flat) != costs
    # The caption takes the whole width, whatever the table's.
    assert len(text.splitlines()[-2]) <= width < max(map(len, sentences(board)))


def test_formats() -> None:
    assert [digits([v]) for v in (31.2, 0.41, 5.0, 0.052, 120.0, 0.0)] == [2, 3, 3, 4, 1, 2]
    assert [fixed(-0.001, 2), fixed(-0.01, 2), fixed(None, 2), signed(0.0), signed(-2.04), signed(2.06)] == [
        "0.00", "-0.01", "", "+0.0", "-2.0", "+2.1",
    ]  # fmt: skip
    assert [duration(s) for s in (4.21, 45, 600, 9000)] == ["4.2 s", "45 s", "10 min", "2.5 h"]
