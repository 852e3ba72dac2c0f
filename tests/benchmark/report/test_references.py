"""Delta m against references of other boards: equal epochs, equal steps, full labels; and the oracle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmark.report import statistics
from benchmark.report.board import Board, Entry, build
from benchmark.report.captions import facts
from benchmark.report.records import collect
from benchmark.report.references import Against
from tests.benchmark.report import make

SIGNS = {"semseg": 1, "depth": -1, "normals": -1}


def write(folder: Path, method: str, seeds: range, gain: float, oracle: float = 0.0, **values: Any) -> None:
    for seed in seeds:
        for s in make.specs(method, seed, **values):
            r = make.record(s, gain, curve=False)
            if oracle:
                of = {t: r["metrics"][t][make.INFO[t]["metric"]] for t in s["tasks"]}
                r["oracle"] = {t: v * (1 + SIGNS[t] * oracle / 100) for t, v in of.items()}
            make.write_run(folder, r, panels=False)


def board(folder: Path, budget: str = "epochs") -> Board:
    return next(
        b for b in build(collect(folder)) if b.group.labels == "one" and b.group.protocol["budget"] == budget
    )


def row(made: Board, label: str = "multi_task") -> Entry:
    return next(e for e in made.entries if e.label == label)


def scores(folder: Path, method: str, budget: str, labels: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for r in sorted(collect(folder).records, key=lambda r: r.spec["train_seed"]):
        s = r.spec
        if (s["method"], s["protocol"]["budget"], s["labels"]) == (method, budget, labels):
            for task in s["tasks"]:
                found.setdefault(task, []).append(r["metrics"][task][make.INFO[task]["metric"]])
    return found


def test_references_of_other_boards(tmp_path: Path) -> None:
    write(tmp_path, "multi_task", range(3), 4.0)
    write(tmp_path, "single_task", range(3), 0.0)
    write(tmp_path, "single_task", range(3), 1.5, protocol={"budget": "steps", "name": "other"})
    write(tmp_path, "single_task", range(3), 9.0, labels="full")
    found = row(board(tmp_path)).beside.against
    mine = scores(tmp_path, "multi_task", "epochs", "one")
    for name, budget, labels in (
        ("equal_epochs", "epochs", "one"),
        ("equal_steps", "steps", "one"),
        ("full_labels", "epochs", "full"),
    ):
        base = scores(tmp_path, "single_task", budget, labels)
        plain = sum(100 * SIGNS[t] * (sum(mine[t]) - sum(base[t])) / sum(base[t]) for t in SIGNS) / 3
        estimate = getattr(found, name)
        assert (
            estimate.value == pytest.approx(plain, abs=1e-9)
            and estimate.n == 3
            and estimate.low < plain < estimate.high
        ), name
    assert row(board(tmp_path)).delta == found.equal_epochs
    assert found.equal_epochs and found.equal_steps and found.full_labels
    assert found.equal_epochs.value > found.equal_steps.value > found.full_labels.value
    # The board of the other budget holds the reference alone: 0 against itself, and each other's.
    steps = row(board(tmp_path, "steps"), "single_task").beside.against
    assert steps.equal_steps == statistics.Estimate(0.0, None, None, 3)
    assert steps.equal_epochs and steps.equal_epochs.value > 0 and steps.full_labels is None
    assert not any("not run" in name for name, _ in facts(board(tmp_path)))


def test_absent_references_are_named(tmp_path: Path) -> None:
    write(tmp_path, "multi_task", range(2), 4.0)
    write(tmp_path, "single_task", range(2), 0.0)
    made = board(tmp_path)
    found = row(made).beside.against
    assert found == Against(row(made).delta, None, None)
    missing = "equal steps (--set budget=steps), full labels (--set labels=full)"
    assert ("references not run (single_task)", missing) in facts(made)


def test_references_that_are_not_comparable_do_not_count(tmp_path: Path) -> None:
    write(tmp_path, "multi_task", range(2), 4.0)
    write(tmp_path, "single_task", range(2), 0.0)
    write(tmp_path, "single_task", range(2), 0.0, protocol={"budget": "steps"})
    write(
        tmp_path, "single_task", range(2), 0.0, labels="full", protocol={"epochs": 99.0}
    )  # another protocol
    assert (
        row(board(tmp_path)).beside.against.equal_steps
        and not row(board(tmp_path)).beside.against.full_labels
    )
    for key, value in (("data", "data9"), ("test_data", "data9"), ("labels", "mask9")):
        changed = []
        for path in tmp_path.rglob("record.json"):
            r = json.loads(path.read_text())
            if r["spec"]["protocol"]["budget"] == "steps":
                changed.append((path, path.read_text()))
                path.write_text(json.dumps(r | {"hashes": r["hashes"] | {key: value}}))
        assert row(board(tmp_path)).beside.against.equal_steps is None, key
        for path, text in changed:
            path.write_text(text)
    assert row(board(tmp_path)).beside.against.equal_steps


def test_the_oracle_is_a_diagnostic(tmp_path: Path) -> None:
    write(tmp_path, "multi_task", range(2), 4.0, oracle=3.0)
    write(tmp_path, "single_task", range(2), 0.0, oracle=1.0)
    made = board(tmp_path)
    mine, base = (scores(tmp_path, m, "epochs", "one") for m in ("multi_task", "single_task"))
    best = [
        100 * s * (sum(mine[t]) * (1 + s * 0.03) / (sum(base[t]) * (1 + s * 0.01)) - 1)
        for t, s in SIGNS.items()
    ]
    assert row(made).beside.oracle == pytest.approx(sum(best) / 3, abs=1e-9)
    assert row(made).delta and row(made).beside.oracle != row(made).delta.value  # type: ignore[union-attr]
    write(tmp_path, "multi_task", range(2, 3), 4.0)
    write(tmp_path, "single_task", range(2, 3), 0.0)
    assert row(board(tmp_path)).beside.oracle is None  # a run without evaluations has no best one
