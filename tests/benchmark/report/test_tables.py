"""The views of a board: CSV, long CSV, JSON, Markdown, LaTeX and terminal hold the numbers of the board."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy import stats

import benchmark
from benchmark.errors import UserError
from benchmark.report import tables, views
from benchmark.report.board import Board
from benchmark.report.captions import notes, verdict
from benchmark.report.formats import fixed, interval, signed
from benchmark.report.leaderboard import boards_of
from benchmark.report.records import collect
from benchmark.report.views import escape
from benchmark.report.views import latex as table
from tests.benchmark.report import make
from tests.benchmark.report.drawn import lines, only


def test_the_csv_holds_the_numbers_of_the_board(board: Board) -> None:
    text = tables.csv_text(board)
    assert text.endswith("\n") and "\r" not in text
    *rows, constant = lines(board).values()
    assert [row["method"] for row in rows] == [e.label for e in board.entries]
    assert constant["tier"] == "not a method" and float(constant["delta_m"]) < -50
    for row, e in zip(rows, board.entries, strict=True):
        assert e.delta and float(row["delta_m"]) == pytest.approx(e.delta.value, rel=1e-5)
        assert (row["n_seeds"], row["n_planned"]) == ("4", "5")
        assert (row["ci_low"] == "") == (e.role == "reference")
        assert (row["n_failed"], row["role"]) == ("1" if e.label == "mtpsl" else "0", e.role)
        for task in board.group.tasks:
            name, values = f"{task.name}_{task.metric}", e.metrics[task.name][task.metric]
            ends = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
            found = [float(row[f"{name}_{part}"]) for part in ("mean", "sd", "ci_low", "ci_high")]
            assert found == pytest.approx([np.mean(values), np.std(values, ddof=1), *ends], rel=1e-4)
            assert row[f"{name}_seeds"].split()[1] == f"1:{values[1]:.6g}"
            change = e.changes[task.name]
            assert change and float(row[f"{task.name}_change"]) == pytest.approx(change.value, abs=1e-4)
        if e.compared:
            assert float(row["vs_baseline_mean"]) == pytest.approx(e.compared.estimate.value, rel=1e-4)
        assert row["params_infer"] == f"{e.row.cost['params_infer']:.0f}"
    line = next(row for row in rows if row["method"] == "single_task")
    assert line["delta_m"] == "0" and len(line["run_ids"].split()) == 12 and line["dirty"] == "no"
    assert line["label_masks"] == "0:mask0 1:mask1 2:mask2 3:mask3"
    assert next(row for row in rows if "(" in row["method"])["hyperparameters"] == '{"tke":false}'


def test_cost_alone_changes_the_last_columns(tmp_path: Path) -> None:
    texts = []
    for factor in (1.0, 3.0):
        cost = {"seconds": 9.0 * factor, "peak_gib": factor}
        for method in ("single_task", "multi_task"):
            make.write(tmp_path / str(factor), method, edit=lambda r: r["cost"].update(cost))  # noqa: B023
        texts.append(pd.read_csv(io.StringIO(tables.csv_text(only(tmp_path / str(factor)))), dtype=str))
    count = len(tables.COSTS)
    assert list(texts[0])[-count:] == list(tables.COSTS) and not texts[0].equals(texts[1])
    assert texts[0].iloc[:, :-count].equals(texts[1].iloc[:, :-count])


def test_objects_and_frame_have_one_type_a_column(board: Board) -> None:
    frame, rows = tables.frame(board), tables.objects(board)
    assert str(frame["n_seeds"].dtype) == "Int64" and frame["delta_m"].dtype == float
    assert [list(row) for row in rows] == [list(frame)] * 6 and json.dumps(rows, allow_nan=False)
    for row in rows[:-1]:
        for column in ("run_ids", "data", "label_masks", "delta_m_seeds", "dirty", "tier"):
            assert isinstance(row[column], str)
        assert isinstance(row["n_seeds"], int) and isinstance(row["depth_absErr_mean"], float)
    assert rows[-1]["n_seeds"] is None and rows[-1]["run_ids"] == ""
    assert not {"lr_scale", "delta_m_sd_rest"} & set(frame)


def test_every_value_of_every_record_is_once_in_the_long_form(runs: Path, board: Board) -> None:
    every = pd.read_csv(io.StringIO(tables.long_csv_text(board)), dtype=str, keep_default_na=False)
    rows = every.to_dict("records")
    found = {(x["run_id"], x["task"], x["metric"]): x for x in rows if x["run_id"]}
    wanted = {
        (r.id, task, metric): (r, value)
        for r in collect(runs).records
        for task, values in r["metrics"].items()
        for metric, value in values.items()
    }
    assert found.keys() == wanted.keys() and len(wanted) > 80
    for key, (record, value) in wanted.items():
        line, s = found[key], record.spec
        assert float(line["value"]) == pytest.approx(value, rel=1e-8)
        assert {line["unit"], line["label_seed"], line["train_seed"]} == {str(s["label_seed"])}
        assert line["method"].startswith(s["method"]) and line["device"] == record["cost"]["device"]


def shown(board: Board, width: int) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(views.text(board))
    return console.export_text()


@pytest.mark.parametrize(("width", "tasks"), [(60, tuple(make.INFO)), (160, make.TASKS)])
def test_terminal_and_markdown_cut_nothing(width: int, tasks: tuple[str, ...], tmp_path: Path) -> None:
    make.write_board(tmp_path, seeds=2, tasks=tasks)
    made = only(tmp_path)
    text, document, places = shown(made, width), views.markdown(made), views.decimals(made)
    assert "…" not in text and max(map(len, text.splitlines())) <= width
    flat = " ".join(text.split())
    said = [verdict(made), *notes(made)]
    assert all(" ".join(line.split()) in flat and line in document for line in said)
    for e in made.entries:
        assert e.delta is not None
        numbers = [] if e.role == "reference" else [signed(e.delta.value), interval(e.delta)]
        for t in made.group.tasks:
            values, change = e.metrics[t.name][t.metric], e.changes[t.name]
            mean, sd = (fixed(value, places[t.name]) for value in (values.mean(), values.std(ddof=1)))
            numbers.append(f"{mean} ± {sd}")
            numbers += [] if e.role == "reference" else [f"{signed(change.value)} %"]
        assert all(number in text for number in (*numbers, "(tke=false)", "constant", "GiB", *tasks))
        assert all(number.removesuffix(" %") in document for number in numbers)


def test_identical_seeds_are_marked(tmp_path: Path) -> None:
    for method in ("single_task", "multi_task"):
        make.write(tmp_path, method, 3, noise=0.0)
    made = only(tmp_path)
    assert "+2.0 (seeds identical)" in views.markdown(made) and "[+" not in shown(made, 100)
    assert lines(made)["multi_task"]["ci_low"] == "" and verdict(made).count("Not sure") == 1


def ranked(folder: Path, seeds: int, **data: str) -> Board:
    """Two best rows that cannot be told apart; one row lacks a failed seed."""
    rows = [("single_task", {}, 0.0), ("multi_task", {}, 2.0), ("own_a", {}, 4.0)]
    rows += [("prototype", {"changed": {"codes": 64}}, 8.0), ("mtpsl", {"method_version": 9}, 8.0)]
    for method, values, gain in rows:
        for seed in range(seeds):
            for s in make.specs(method, seed, labels="random", **values):
                if (method, seed) == ("own_a", 1):
                    make.write_failure(folder, s | data, "loss of a_b rose to 1e9 & more, 100 %")
                else:
                    make.write_run(folder, make.record(s | data, gain, noise=0.3, curve=False), panels=False)
    return only(folder)


def test_latex_marks_tier_one_and_sets_incomplete_rows_apart(tmp_path: Path) -> None:
    made = ranked(tmp_path, 9, dataset="nyuv2", variant="nyuv2-13")
    text = table(made)
    inside = text[text.index("\\toprule") : text.index("\\bottomrule")]
    parts = re.split(r"\\toprule|\\midrule", inside)[1:]
    header, counted, others, constant = (part.strip().splitlines() for part in parts)
    for words in ("mIoU (\\%) $\\uparrow$", "absErr (m) $\\downarrow$", "$\\Delta m$ vs single\\_task (\\%)"):
        assert words in header[0]
    best = {escape(e.label) for e in made.entries if e.tier == "1"}
    assert best and {re.match(r"\\textbf\{(.*?)\} &", line)[1] for line in counted if "bf{" in line} == best  # type: ignore[index]
    assert len(counted) == 4 and [line.split(" & ")[0] for line in others] == ["own\\_a"]
    assert "constant" in constant[0] and "bf{" not in "".join((*others, *constant))
    assert "Bold: tier 1." in text
    assert "bf{" not in table(ranked(tmp_path / "few", 3))


def test_text_is_escaped_for_latex() -> None:
    marks = r"50 \% of a\_b \& \{c\} \#1 \$x \textbackslash{}y \textasciitilde{} \textasciicircum{}"
    assert escape(r"50 % of a_b & {c} #1 $x \y ~ ^") == marks
    letters = r"$\Delta m$ $\uparrow$ $-$1.5 to +2, x-1, labels `one' ? é"
    assert escape("Δm ↑ -1.5 to +2, x-1, labels 'one' \u4e2d é") == letters


def test_records_and_boards_are_frames(results: Path, tmp_path: Path) -> None:
    table, records = benchmark.load_records(results), collect(results).records
    assert len(table) == sum(2 * len(r.spec["tasks"]) for r in records) and table.primary.mean() == 0.5
    for r in records[:4]:
        for task, metrics in r["metrics"].items():
            found = table[(table.run == r.id) & (table.task == task)].set_index("metric").value
            assert found.to_dict() == metrics
    made, (board,) = benchmark.load_board(results, "thin-scenes-v1-one"), boards_of(results)
    assert list(made.columns) == tables.csv_text(board).splitlines()[0].split(",")
    assert list(made.method)[:5] == [e.label for e in board.entries]
    (tmp_path / "none").mkdir()  # as after a plan of which every run failed
    assert list(benchmark.load_records(tmp_path / "none").columns) == list(table.columns)
    with pytest.raises(UserError, match=r"unknown board in .*; did you mean 'thin-scenes-v1-one'"):
        benchmark.load_board(results, "thin-scenes-v1-on")
    with pytest.raises(AttributeError, match="load_nothing"):
        benchmark.load_nothing  # noqa: B018
