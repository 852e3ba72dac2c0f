"""The secondary numbers of a row: other references and definitions, the split of the noise."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.metrics.pooled import ABOUT, TASKS
from benchmark.report import statistics
from benchmark.report.board import Board, Entry, build
from benchmark.report.captions import facts
from benchmark.report.details import sections
from benchmark.report.records import collect
from benchmark.report.references import counted
from benchmark.report.rows import TaskInfo
from benchmark.report.tables import csv_text, frame
from tests.benchmark.report import make
from tests.benchmark.report.drawn import entry, only
from tests.benchmark.report.test_statistics import mean_squares

SIGNS = {"semseg": 1, "depth": -1, "normals": -1}


def board(folder: Path, budget: str = "epochs") -> Board:
    wanted = ("one", budget)
    return next(b for b in build(collect(folder)) if (b.group.labels, b.group.protocol["budget"]) == wanted)


def row(made: Board, label: str = "multi_task") -> Entry:
    return entry(made, label)


def scores(folder: Path, method: str, budget: str, labels: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for r in sorted(collect(folder).records, key=lambda r: r.spec["train_seed"]):
        s = r.spec
        if (s["method"], s["protocol"]["budget"], s["labels"]) == (method, budget, labels):
            for task in s["tasks"]:
                found.setdefault(task, []).append(r["metrics"][task][make.INFO[task]["metric"]])
    return found


def test_references_of_other_boards(tmp_path: Path) -> None:
    make.write(tmp_path, "multi_task", range(3), 4.0)
    make.write(tmp_path, "single_task", range(3), 0.0)
    alone = board(tmp_path)
    assert row(alone).against == {"equal_epochs": row(alone).delta}
    missing = "equal steps (--set budget=steps), full labels (--set labels=full)"
    assert ("references not run (single_task)", missing) in facts(alone)
    make.write(tmp_path, "single_task", range(3), 1.5, protocol={"budget": "steps", "name": "other"})
    make.write(tmp_path, "single_task", range(3), 9.0, labels="full")
    found = row(board(tmp_path)).against
    mine = scores(tmp_path, "multi_task", "epochs", "one")
    for name, budget, labels in (
        ("equal_epochs", "epochs", "one"),
        ("equal_steps", "steps", "one"),
        ("full_labels", "epochs", "full"),
    ):
        base = scores(tmp_path, "single_task", budget, labels)
        plain = sum(100 * SIGNS[t] * (sum(mine[t]) - sum(base[t])) / sum(base[t]) for t in SIGNS) / 3
        estimate = found[name]
        assert estimate.value == pytest.approx(plain, abs=1e-9) and estimate.n == 3, name
        assert estimate.low is not None and estimate.low < plain
    # References of the other budget alone have no board, as this one shows them.
    assert {b.group.protocol["budget"] for b in build(collect(tmp_path))} == {"epochs"}
    make.write(tmp_path, "multi_task", range(3), 4.0, protocol={"budget": "steps", "name": "other"})
    steps = row(board(tmp_path, "steps"), "single_task").against
    assert steps["equal_steps"] == statistics.Estimate(0.0, None, None, 3)
    assert steps["equal_epochs"].value > 0 and "full_labels" not in steps


def test_references_that_are_not_comparable_do_not_count(tmp_path: Path) -> None:
    make.write(tmp_path, "multi_task", range(2), 4.0)
    make.write(tmp_path, "single_task", range(2), 0.0)
    make.write(tmp_path, "single_task", range(2), 0.0, labels="full", protocol={"epochs": 99.0})
    steps = [s | {"protocol": s["protocol"] | {"budget": "steps"}} for s in make.specs("single_task", 0)]
    for key in ("data", "test_data", "labels", ""):
        for s in steps:
            r = make.record(s, 0.0)
            make.write_run(tmp_path, r | {"hashes": r["hashes"] | {key: "other"}}, panels=False)
        found = row(board(tmp_path)).against.keys()
        assert found == {"equal_epochs"} if key else found == {"equal_epochs", "equal_steps"}


LOWER = {"absErr", "relErr", "mErr", "medErr"}
NAMES = {
    "semseg": ("mIoU", "pixAcc"),
    "depth": ("absErr", "relErr"),
    "normals": ("mErr", "medErr", "within11.25", "within22.5", "within30"),
}


@pytest.mark.parametrize("kind", sorted(set(TASKS.values())))
def test_directions_are_those_of_the_metrics(kind: str) -> None:
    about = ABOUT[kind]
    primary = next(iter(about))
    task = TaskInfo("task", primary, "", "higher is better" in about[primary], None, kind)
    for metric, sign in counted(task).items():
        assert f"{'higher' if sign > 0 else 'lower'} is better" in about[metric], metric
    assert next(iter(counted(task))) == primary


def values(method: str, seed: int) -> dict[str, dict[str, float]]:
    """Every metric of every task."""
    rng = make.rng("definitions", method, seed)
    return {task: {name: float(rng.uniform(10, 40)) for name in names} for task, names in NAMES.items()}


def with_metrics(folder: Path, **damage: dict[str, float]) -> Board:
    """Two rows with every metric. damage: what tasks of the reference have instead."""

    def edit(r: dict[str, Any]) -> None:
        s = r["spec"]
        found = values(s["method"], s["label_seed"]) | (damage if s["method"] == "single_task" else {})
        r["metrics"] = {task: found[task] for task in s["tasks"]}

    for method in ("single_task", "multi_task"):
        make.write(folder, method, 2, edit=edit)
    return only(folder)


def test_both_definitions_by_plain_arithmetic(tmp_path: Path) -> None:
    made = with_metrics(tmp_path)
    changes: dict[str, list[float]] = {}
    for task, names in NAMES.items():
        for name in names:
            mine, base = (sum(values(m, seed)[task][name] for seed in (0, 1)) / 2
                          for m in ("multi_task", "single_task"))  # fmt: skip
            changes.setdefault(task, []).append(100 * (mine - base) / base * (-1 if name in LOWER else 1))
    found, flat = row(made), [change for each in changes.values() for change in each]
    assert len(flat) == 9
    assert found.definitions["delta_m_all_metrics"] == pytest.approx(sum(flat) / 9, abs=1e-9)
    by_task = sum(sum(each) / len(each) for each in changes.values()) / 3
    assert found.definitions["delta_m_task_mean"] == pytest.approx(by_task, abs=1e-9)
    firsts = sum(each[0] for each in changes.values()) / 3
    assert found.delta and found.delta.value == pytest.approx(firsts, abs=1e-9)
    reference = row(made, "single_task").definitions
    assert (reference["delta_m_all_metrics"], reference["delta_m_task_mean"]) == (0.0, 0.0)


@pytest.mark.parametrize("damage", [{"depth": {"absErr": 0.4}}, {"normals": {"mErr": 24.0, "within30": 0.0}}])
def test_a_metric_that_is_missing_or_zero_leaves_them_empty(damage: dict[str, Any], tmp_path: Path) -> None:
    made = row(with_metrics(tmp_path, **damage))
    assert made.definitions["delta_m_all_metrics"] is made.definitions["delta_m_task_mean"] is None
    assert made.delta is not None


def test_a_board_of_a_crossed_grid(tmp_path: Path) -> None:
    for method in ("single_task", "multi_task"):
        for train in range(3):
            make.write(tmp_path, method, 4, train_seed=train)
    make.write(tmp_path, "mtpsl")
    made = only(tmp_path)
    found = {e.label: e.variance for e in made.entries}
    assert found["mtpsl"] == {} and found["multi_task"].keys() == {"delta_m", *make.TASKS}
    records = {(r.spec["label_seed"], r.spec["train_seed"]): r["metrics"]
               for r in collect(tmp_path).records if r.spec["method"] == "multi_task"}  # fmt: skip
    y = np.array([[records[i, j]["depth"]["absErr"] for j in range(3)] for i in range(4)])
    table, text = frame(made).set_index("method").loc["multi_task"], csv_text(made)
    for part, variance in zip(("label_seed", "train_seed", "rest"), mean_squares(y), strict=True):
        sd = max(0.0, variance) ** 0.5
        assert table[f"depth_absErr_sd_{part}"] == pytest.approx(sd, abs=1e-9), part
    assert "delta_m_sd_label_seed" in frame(made) and ",4 x 3," in text and ",not separable," in text
    section = next(s for s in sections(made) if s.title == "Where the noise comes from")
    assert list(section.table["seeds"]) == ["4 x 3"] * 2 and len(section.table.columns) == 14


def test_under_a_fixed_mask_nothing_is_split(tmp_path: Path) -> None:
    mask = {"labels": "mask0"}  # one for all
    for train in range(3):
        values = {"train_seed": train, "labels": "full"}
        make.write(tmp_path, "multi_task", 4, edit=lambda r: r["hashes"].update(mask), **values)
    made = only(tmp_path)
    assert made.entries[0].variance == {} and "delta_m_sd_label_seed" not in frame(made)
