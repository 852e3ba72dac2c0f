"""The long form: every value of every record once, and enough to make the board's numbers again."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as scipy_stats

from benchmark.report import long
from benchmark.report.board import Board, build
from benchmark.report.records import collect
from tests.benchmark.report import make


def only(folder: Path) -> Board:
    (board,) = build(collect(folder))
    return board


def lines(board: Board) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(long.csv_text(board))))


def test_every_value_of_every_record_once(tmp_path: Path) -> None:
    make.write_board(tmp_path, seeds=2)
    found = {(x["run_id"], x["task"], x["metric"]): x for x in lines(only(tmp_path)) if x["run_id"]}
    wanted = {}
    for r in collect(tmp_path).records:
        wanted |= {
            (r.id, task, metric): (r, value)
            for task, m in r["metrics"].items()
            for metric, value in m.items()
        }
    assert found.keys() == wanted.keys() and len(wanted) > 40
    for key, (record, value) in wanted.items():
        line, s = found[key], record.spec
        assert float(line["value"]) == pytest.approx(value, rel=1e-8)
        assert (line["label_seed"], line["train_seed"], line["unit"]) == (str(s["label_seed"]),) * 3
        assert line["method"].startswith(s["method"]) and (line["state"], line["device"]) == (
            "done",
            record["cost"]["device"],
        )
        assert (line["dataset"], line["labels"], line["version"]) == (
            s["variant"],
            s["labels"],
            str(s["method_version"]),
        )


def test_delta_m_can_be_made_again(tmp_path: Path) -> None:
    """From the long form alone, by plain arithmetic: means of scores, the change of each task, the t-interval
    of its lines.
    """
    make.write_board(tmp_path, seeds=4)
    board = only(tmp_path)
    table = lines(board)
    for e in board.entries:
        mine = [x for x in table if x["method"] == e.label and not x["task"]]
        by_seed = [float(x["value"]) for x in mine if x["metric"] == "delta_m"]
        assert e.delta is not None and len(by_seed) == 4
        changes = []
        for task in make.TASKS:
            of = [
                [
                    float(x["value"])
                    for x in table
                    if (x["method"], x["task"], x["metric"]) == (name, task, make.INFO[task]["metric"])
                ]
                for name in (e.label, "single_task")
            ]
            sign = 1 if make.INFO[task]["higher_is_better"] else -1
            changes.append(sign * 100 * (np.mean(of[0]) / np.mean(of[1]) - 1))
        assert e.delta.value == pytest.approx(np.mean(changes), abs=1e-6) == np.mean(by_seed)
        if e.delta.low is not None:
            low, _ = scipy_stats.t.interval(0.95, 3, np.mean(by_seed), scipy_stats.sem(by_seed))
            assert e.delta.low == pytest.approx(low, abs=1e-6)
        influence = [float(x["value"]) for x in mine if x["metric"] == "influence"]
        assert sum(influence) == pytest.approx(0, abs=1e-7)
        versus = [float(x["value"]) for x in mine if x["metric"] == "vs_baseline"]
        assert bool(versus) == (e.role == "") and (
            not versus or np.mean(versus) == pytest.approx(e.versus.value, abs=1e-6)
        )  # type: ignore[union-attr]


def test_train_seeds_and_failures(tmp_path: Path) -> None:
    for method in ("single_task", "multi_task"):
        for label in (0, 1):
            for train in (0, 1):
                for s in make.specs(method, label, train_seed=train):
                    if (method, label, train) == ("multi_task", 1, 1):
                        make.write_failure(tmp_path, s)
                    elif (method, label, train, s["tasks"]) != ("single_task", 1, 0, ["depth"]):
                        make.write_run(tmp_path, make.record(s), panels=False)
    table = lines(only(tmp_path))
    without = [
        (x["method"], x["label_seed"], x["train_seed"], x["state"], x["value"])
        for x in table
        if x["state"] != "done"
    ]
    assert sorted(without) == [
        ("multi_task", "1", "1", "failed", ""),
        ("single_task", "1", "0", "incomplete", ""),
    ]
    units = {
        (x["label_seed"], x["train_seed"], x["unit"])
        for x in table
        if x["method"] == "multi_task" and x["task"]
    }
    assert units == {("0", "0", "0"), ("0", "1", "0"), ("1", "0", "1")}


def test_it_is_sorted_and_stable(tmp_path: Path) -> None:
    make.write_board(tmp_path, seeds=2)
    board = only(tmp_path)
    text = long.csv_text(board)
    assert text == long.csv_text(only(tmp_path)) and text.endswith("\n") and "\r" not in text
    assert text.splitlines()[0] == ",".join(long.COLUMNS)
    order = list(dict.fromkeys(x["method"] for x in lines(board)))
    assert order == [e.label for e in board.entries]
