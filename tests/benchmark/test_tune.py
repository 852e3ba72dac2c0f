"""Tuning: equal draws for every method, on held-out train images alone, said in records and on boards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmark import plan, tune
from benchmark.errors import UserError
from tests.conftest import Bench
from tests.test_cli import sets

SMALL = sets("train_images=20", "epochs=1", "hparams.mtpsl.mapper_width=4")


def test_trials_are_the_defaults_and_then_draws_of_the_grid() -> None:
    base = {"weight": 2.0, "width": 8, "on": True, "consistency_weight": 2.0, "regulariser": 0.5, "film_lr_scale": 10.0}
    space = tune.space("mtpsl", base, [])
    assert space == {
        "consistency_weight": (0.5, 1.0, 2.0, 4.0, 8.0),
        "regulariser": (0.125, 0.25, 0.5, 1.0, 2.0),
        "film_lr_scale": (2.5, 5.0, 10.0, 20.0, 40.0),
    }
    assert tune.trial("mtpsl", space, 0) == {}
    drawn = [tune.trial("mtpsl", space, n) for n in range(1, 200)]
    assert drawn[0] == tune.trial("mtpsl", space, 1) and drawn[0] != drawn[1]
    for name, values in space.items():
        counts = [sum(d[name] == v for d in drawn) for v in values]
        assert sum(counts) == 199 and min(counts) > 20
    assert tune.space("mtpsl", base, ["regulariser=[0.1, 1]"]) == {"regulariser": (0.1, 1)}


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        ("mtpsl", ["regularizer=[1, 2]"], r"unknown keyword of mtpsl in --space 'regularizer'; did you mean 'regulariser'\?"),
        ("mtpsl", ["regulariser=1"], "is not a keyword with two or more values"),
        ("mtpsl", ["regulariser"], "is not a keyword with two or more values"),
        ("multi_task", [], "multi_task has no keyword that is a number with a fraction"),
    ],
)
def test_a_space_that_cannot_be_is_one_sentence(method: str, given: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        tune.space(method, {}, given)


def test_the_score_is_the_mean_change_over_tasks() -> None:
    def record(iou: float, error: float) -> dict[str, object]:
        tasks = {"a": {"metric": "mIoU", "higher_is_better": True}, "b": {"metric": "absErr", "higher_is_better": False}}
        return {"tasks": tasks, "metrics": {"a": {"mIoU": iou}, "b": {"absErr": error}}}

    first, trial = [record(10.0, 1.0), record(20.0, 3.0)], [record(18.0, 1.0), record(18.0, 2.0)]
    assert tune.score(first, first) == 0
    assert tune.score(trial, first) == pytest.approx((100 * (18 - 15) / 15 - 100 * (1.5 - 2.0) / 2.0) / 2)


def test_from_trials_to_a_row_that_says_how_it_was_tuned(bench: Bench, tmp_path: Path) -> None:
    command = ("tune", "mtpsl", "--trials", 3, *SMALL, "--space", "regulariser=[0.1, 1.0, 5.0]", "--results", tmp_path)
    code, out, err = bench(*command)
    assert code == 0, out + err
    assert "best of 3 trials on the last 10% of the train images" in out
    records = [json.loads(p.read_text()) for p in tmp_path.glob("*/*/record.json")]
    assert records and all(r["spec"]["protocol"]["judge"] == "holdout" for r in records)
    assert {r["images"] for r in records} == {18}  # of 20: none was trained on the slice
    again = bench(*command)[1]
    assert "done in" not in again and "best of 3 trials" in again  # nothing is run twice
    file = tmp_path / "tuned" / "mtpsl-quickstart.toml"
    (cell,) = plan.make([str(file)], [], tmp_path).cells
    assert cell.protocol.judge == "test" and cell.tuning == "3 trials on the last 10% of train"
    assert cell.protocol.train_images == 20 and cell.hyperparameters["mapper_width"] == 4
    untuned = plan.make(["mtpsl"], [s for s in SMALL if s != "--set"], tmp_path).cells[0]
    assert untuned.protocol == cell.protocol and untuned.id != cell.id
    code, out, err = bench("run", file, "mtpsl", "multi_task", "single_task", "--results", tmp_path)
    assert code == 0, out + err
    said = " ".join(out.split())
    assert "Search of keywords, NOT the same for all, so differences may come from it: mtpsl: 3 trials on the last 10% of" in said
    scored = [p.read_text() for p in (tmp_path / "leaderboards").glob("*.csv")]
    assert any("3 trials on the last 10% of train" in text for text in scored)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tune", "mtpsl", "--trials", "1"], "--trials 1 leaves nothing to compare"),
        (["tune", "mtpls"], "unknown plan or method 'mtpls'|neither a method nor the only plan"),
    ],
)
def test_bad_input_is_one_sentence(bench: Bench, arguments: list[str], message: str) -> None:
    import re

    code, _, err = bench(*arguments)
    assert code == 2 and re.search(message, err) and err.count("\n") == 1


def test_a_plan_that_lies_about_tuning_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text('[[grid]]\nprotocol = "quickstart"\ndataset = "scenes"\nmethod = "mtpsl"\n[grid.tuning.mtpsl]\ntrials = 3\n')
    with pytest.raises(UserError, match="must hold trials and holdout"):
        plan.make([str(file)], [], tmp_path)
