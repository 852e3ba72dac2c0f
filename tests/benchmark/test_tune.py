"""Tuning: as many different settings for every method, on held-out train images alone, said in records and on
boards.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import UserError
from benchmark.execute import attempt as execute
from benchmark.spec import plan, plugins, registry, tune, tuned
from benchmark.spec.run import RunSpec
from benchmark.spec.tuning import alike, words
from benchmark.training.build import check_method
from tests.benchmark.report.make import record, spec, write_run
from tests.conftest import Bench
from tests.test_cli import sets

SMALL = sets("train_images=20", "epochs=1", "seeds=1", "hparams.mtpsl.mapper_width=4")
MTPSL = {"consistency_weight": 2.0, "regulariser": 0.5, "film_lr_scale": 10.0, "mapper_width": 8}
NOTHING = ("multi_task", "retrieval", "single_task")  # of whose keywords none is a number with a fraction


@pytest.mark.parametrize("method", registry.method_names())
def test_every_method_can_be_built_in_each_of_its_first_trials(method: str, tmp_path: Path) -> None:
    base = plan.make([method], [], tmp_path)
    own = base.cells[0].hyperparameters
    if method in NOTHING:
        with pytest.raises(
            UserError,
            match=f"^{method} has nothing to search: no keyword of it is a number with a fraction; name",
        ):
            tune.space(method, own, [])
        return
    space = tune.space(method, own, [])
    assert all(own[name] in values and len(values) == 5 for name, values in space.items())
    chosen = tune.trials(method, space, own, 20)
    assert len(chosen) == min(20, 5 ** len(space)) and len({repr(sorted(c.items())) for c in chosen}) == len(
        chosen
    )
    data = execute.Data(tmp_path)
    for keywords in chosen:
        for cell in tuned.cells(base.cells, keywords, "holdout"):
            check_method(cell, data.tasks(cell))


def test_trials_are_the_defaults_and_then_draws_of_the_grid() -> None:
    space = tune.space("mtpsl", MTPSL, [])
    assert space == {
        "consistency_weight": (0.5, 1.0, 2.0, 4.0, 8.0),
        "regulariser": (0.125, 0.25, 0.5, 1.0, 2.0),
        "film_lr_scale": (2.5, 5.0, 10.0, 20.0, 40.0),
    }
    assert tune.space("mtpsl", MTPSL, ["regulariser=[0.1, 1, 1.0]"]) == {"regulariser": (0.1, 1.0)}
    drawn = tune.trials("mtpsl", space, MTPSL, 100)
    assert drawn[0] == {} and drawn[:20] == tune.trials("mtpsl", space, MTPSL, 20) and len(drawn) == 100
    for name, values in space.items():
        counts = [sum(d[name] == v for d in drawn[1:]) for v in values]
        assert sum(counts) == 99 and min(counts) > 10


def test_no_setting_is_tried_twice_and_a_small_space_is_tried_whole() -> None:
    space = tune.space("direct_map", {"map_weight": 1.0}, [])
    found = tune.trials("direct_map", space, {"map_weight": 1.0}, 20)
    assert found[0] == {} and sorted(c["map_weight"] for c in found[1:]) == [0.25, 0.5, 2.0, 4.0]
    # Where the plan's own value is none of the grid's, all of the grid's are further trials.
    assert len(tune.trials("direct_map", space, {"map_weight": 3.0}, 20)) == 6
    everything = tune.trials("mtpsl", tune.space("mtpsl", MTPSL, []), MTPSL, 1000)
    assert len(everything) == 125 == len({repr(MTPSL | c) for c in everything})


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        (
            "mtpsl",
            ["regularizer=[1, 2]"],
            r"unknown keyword of mtpsl in --space 'regularizer'; did you mean 'regulariser'\?",
        ),
        ("mtpsl", ["regulariser=1"], "is not a keyword with two or more values"),
        ("mtpsl", ["regulariser=[1, 1.0]"], "is not a keyword with two or more values"),
        (
            "mtpsl",
            ["regulariser=[1, 'a']"],
            "regulariser is 'a'; expected a number, got a text; change its value",
        ),
        ("mtpsl", ["regulariser"], "is not a keyword with two or more values"),
    ],
)
def test_a_space_that_cannot_be_is_one_sentence(method: str, given: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        tune.space(method, {}, given)


def test_a_search_of_a_keyword_that_a_class_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.method("mtpsl"), "search", {"regularizer": (0.1, 0.5)}, raising=False)
    with pytest.raises(
        UserError, match=r"unknown keyword in search of the class of mtpsl 'regularizer'; did you mean"
    ):
        tune.space("mtpsl", MTPSL, [])


def test_the_score_is_the_mean_change_over_tasks() -> None:
    def record(iou: float, error: float) -> dict[str, object]:
        tasks = {
            "a": {"metric": "mIoU", "higher_is_better": True},
            "b": {"metric": "absErr", "higher_is_better": False},
        }
        return {"tasks": tasks, "metrics": {"a": {"mIoU": iou}, "b": {"absErr": error}}}

    first, trial = [record(10.0, 1.0), record(20.0, 3.0)], [record(18.0, 1.0), record(18.0, 2.0)]
    assert tune.score(first, first) == 0
    assert tune.score(trial, first) == pytest.approx((100 * (18 - 15) / 15 - 100 * (1.5 - 2.0) / 2.0) / 2)


def test_from_trials_to_a_row_that_says_how_it_was_tuned(bench: Bench, tmp_path: Path) -> None:
    command = (
        "tune",
        "mtpsl",
        "--trials",
        3,
        *SMALL,
        "--space",
        "regulariser=[0.1, 0.5, 5.0]",
        "--results",
        tmp_path,
    )
    code, out, err = bench(*command)
    assert code == 0, out + err
    assert "best of 3 trials on the last 10% of train" in out
    records = [json.loads(p.read_text()) for p in tmp_path.glob("*/*/record.json")]
    assert len(records) == 3 and all(r["spec"]["protocol"]["judge"] == "holdout" for r in records)
    assert {r["images"] for r in records} == {18}  # of 20: none was trained on the slice
    (file,) = (tmp_path / "tuned").iterdir()
    written = file.read_text()
    again = bench(*command)[1]
    assert "done in" not in again and "best of 3 trials" in again  # nothing is run twice
    assert list((tmp_path / "tuned").iterdir()) == [file] and file.read_text() == written
    (cell,) = plan.make([str(file)], [], tmp_path).cells
    assert cell.protocol.judge == "test" and cell.tuning == "3 trials on the last 10% of train"
    assert cell.protocol.train_images == 20 and cell.hyperparameters["mapper_width"] == 4
    untuned = plan.make(["mtpsl"], [s for s in SMALL if s != "--set"], tmp_path).cells[0]
    assert untuned.protocol == cell.protocol and untuned.id != cell.id
    code, out, err = bench("run", file, "mtpsl", "multi_task", "single_task", "--results", tmp_path)
    assert code == 0, out + err
    said = " ".join(out.split())
    row = (
        "mtpsl: 3 trials on the last 10% of train; multi_task: nothing to search; single_task: nothing to "
        "search."
    )
    assert "Search of keywords, the same for all:" in said and all(
        part in said for part in row[:-1].split("; ")
    )
    scored = [p.read_text() for p in (tmp_path / "leaderboards").glob("*.csv")]
    assert any("3 trials on the last 10% of train" in text for text in scored)


def test_another_search_keeps_the_plan_of_the_one_before(bench: Bench, tmp_path: Path) -> None:
    small = (
        "tune",
        "mtpsl",
        *SMALL,
        "--set",
        "train_images=10",
        "--set",
        "epochs=0.1",
        "--results",
        tmp_path,
    )
    searches = [
        ("--trials", 2),
        ("--trials", 2, "--set", "labels=random"),
        ("--trials", 3),
        ("--trials", 2, "--space", "regulariser=[0.1, 0.5]"),
    ]
    for count, search in enumerate(searches, 1):
        code, out, err = bench(*small, *search)
        assert code == 0, out + err
        assert len(list((tmp_path / "tuned").iterdir())) == count
    labels = [tomllib.loads(path.read_text())["grid"][0]["labels"] for path in (tmp_path / "tuned").iterdir()]
    assert sorted(labels) == ["one", "one", "one", "random"]


def test_a_space_smaller_than_the_trials_says_so(bench: Bench, tmp_path: Path) -> None:
    small = sets(
        "train_images=10",
        "epochs=0.1",
        "seeds=1",
        "hparams.direct_map.mapper_width=4",
        "hparams.direct_map.mapper_stride=8",
    )
    code, out, err = bench("tune", "direct_map", "--trials", 20, *small, "--results", tmp_path)
    assert code == 0, out + err
    assert "note: direct_map has 5 settings here, so that many trials are run and not 20." in out
    assert "best of 5 of 20 trials, all there are, on the last 10% of train: trial" in out
    assert len(list(tmp_path.glob("*/*/record.json"))) == 5
    (file,) = (tmp_path / "tuned").iterdir()
    assert {c.tuning for c in plan.make([str(file)], [], tmp_path).cells} == {
        "5 of 20 trials, all there are, on the last 10% of train"
    }


PLANS = {
    "seeds": (["thin"], ["seeds=3", "labels=random"]),
    "lists": (
        ["thin"],
        ['labels=["one", "random"]', 'balance=["equal", "uncertainty"]', "label_seeds=[0, "
                                                                         "2]", "train_seeds=[1, "
                                                                               "2]", "lr=1e-3"],
    ),
    "protocol values": (
        ["thin"],
        ["train_images=none", "size=[32, 64]", "scales=[1, 1.5]", 'tasks=["depth", '
                                                                  '"semseg"]', "loss_weights={ depth = 0.5 }",
         "flip=false", "optimiser=sgd", "clip=0", "holdout=0.2"],
    ),
    "every data set": (["field"], ["epochs=2"]),
    "own files": (["mine.toml"], []),
    "a published split": (["nyuv2"], ["labels=published:one"]),
}  # fmt: skip
MINE = """
[[grid]]
protocol = "own.toml"
dataset = "scenes"
labels = "one"
method = ["mtpsl", "multi_task"]
seeds = [1, 4]
encoder = "resnet18"
weights = 'some "weights" ä.pt'
judge = "holdout"
hparams.mtpsl = { mapper_width = 4, regulariser = 0.25 }

[[grid]]
protocol = "thin"
dataset = "scenes"
method = "mtpsl"
labels = ["full", "random"]
label_seeds = 2
epochs = [1.0, 2.0]
hparams.mtpsl = { mapper_width = 2, regulariser = 0.25, film_lr_scale = 5.0 }
"""


def bare(cells: tuple[RunSpec, ...]) -> set[str]:
    """Runs without what tuning changes."""
    plain = [
        replace(c, protocol=replace(c.protocol, judge="test"), hyperparameters={}, changed=(), tuning="")
        for c in cells
    ]
    return {repr(cell) for cell in plain}


@pytest.mark.parametrize("name", PLANS)
def test_the_plan_scores_the_runs_that_were_tuned(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.toml").write_text('base = "thin"\nversion = 7\nwidth = 8\nscales = [1.0]\n')
    Path('some "weights" ä.pt').write_bytes(b"weights")
    Path("mine.toml").write_text(MINE)
    (source,), settings = PLANS[name]
    base = plan.make([source, "mtpsl"], settings, tmp_path)
    table = {"trials": 20, "distinct": 7}
    text = tuned.text(base, {"consistency_weight": 0.5}, table, tmp_path)
    Path("written.toml").write_text(text, encoding="utf-8")
    found = plan.make(["written.toml"], [], tmp_path).cells
    assert bare(found) == bare(base.cells) and len(found) == len(base.cells)
    assert {c.tuning for c in found} == {words(table | {"holdout": c.protocol.holdout}, "") for c in found}
    assert {c.protocol.judge for c in found} == {"test"}
    wanted = {repr(sorted((c.hyperparameters | {"consistency_weight": 0.5}).items())) for c in base.cells}
    assert {repr(sorted(c.hyperparameters.items())) for c in found} == wanted
    if name == "own files":
        assert (
            text.count("[[grid]]") == 9 and 'protocol = "own.toml"' in text
        )  # 1 + 2 labels x 2 epochs x 2 label seeds


def test_what_cannot_be_written_is_said_before_any_trial(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuned, "_seeds", lambda pairs, labels: [{"seeds": [9]}])
    code, out, err = bench("tune", "mtpsl", *SMALL, "--results", tmp_path / "runs")
    assert code == 2 and out == "" and not (tmp_path / "runs").exists()
    assert (
        err
        == "bench: the runs of plan thin cannot be written as a plan of their own; tune on another plan.\n"
    )


BROKEN = """
from methods.multi_task import MultiTask

class Broken(MultiTask):
    summary = "its default does not train"
    search = {"height": (1.0, 2.0)}

    def __init__(self, problem, *, height: float = 1.0):
        super().__init__(problem)
        self.height = height

    def losses(self, batch, progress):
        assert self.height > 1, "too low"
        return super().losses(batch, progress)
"""


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "broken.py").write_text(BROKEN)
    yield tmp_path / "broken.py"
    plugins.forget()


def test_without_the_first_trial_there_is_its_reason(bench: Bench, tmp_path: Path, broken: Path) -> None:
    command = (
        "tune",
        "broken",
        "--plugin",
        broken,
        "--trials",
        2,
        *sets("seeds=1"),
        "--results",
        tmp_path / "runs",
    )
    for _ in range(2):  # as it fails, and as the failure is found
        code, out, err = bench(*command)
        assert code == 1 and err == "" and not (tmp_path / "runs" / "tuned").exists()
        said = " ".join(out.split())
        assert (
            "the first trial of broken, the plan's own keywords, is not done: AssertionError: too low "
            "(details in" in said
        )
    (failed,) = (path.parent for path in (tmp_path / "runs").glob("*/*/error.txt"))
    assert f"to try again, remove {failed} and repeat the command)." in said
    code, out, _ = bench(*command, "--json")
    trials = [
        {"keywords": {}, "failure": "AssertionError: too low"},
        {"keywords": {"height": 2.0}, "score": None},
    ]
    assert code == 1 and json.loads(out) == {"method": "broken", "trials": trials, "best": None, "plan": None}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mtpsl", "--trials", "1"], "--trials 1 leaves nothing to compare; give 2 or more, and the same "
                                     "number to every "),
        (["mtpsll"], "unknown method 'mtpsll'; did you mean 'mtpsl'?"),
        (["field"], "unknown method 'field'; known: "),
        (["mtpsl", "--plan", "multi_task"], "unknown plan 'multi_task'; known: "),
        (["mtpsl", "--plan", "quikstart"], "unknown plan 'quikstart'; did you mean 'quickstart'?"),
        (["mtpsl", "--set", "judge=test"], "--set judge is not for tuning: trials are judged on held-out "
                                           "train images"),
        (["multi_task"], "multi_task has nothing to search: "),
        (["mtpsl", "--set", "hparams.regulariser=[0.1, 0.5, 1]"],
         "plan thin gives regulariser of mtpsl several values (0.1, 0.5, 1.0), which are no one trial; give "
         "it one with "
         "--set hparams.mtpsl.regulariser=..., or tune on another plan."),
        (["consistency", "--space", "confidence=[0.9, 1.9]"], "consistency: confidence must be at least 0 "
                                                              "and below 1, not 1.9"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(bench: Bench, tmp_path: Path, arguments: list[str], message: str) -> None:
    code, _, err = bench("tune", *arguments, "--results", tmp_path / "runs")
    assert code == 2 and err.startswith(f"bench: {message}") and err.count("\n") == 1
    assert not list((tmp_path / "runs").rglob("*"))


@pytest.mark.parametrize(
    "table",
    [
        "trials = 3",
        'trials = 3\nholdout = "a"',
        "trials = 3\nholdout = 0.1\nluck = 1",
        "trials = 3\ndistinct = 3",
    ],
)
def test_a_plan_that_lies_about_tuning_is_refused(table: str, tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text(
        f'[[grid]]\nprotocol = "thin"\ndataset = "scenes"\nmethod = "mtpsl"\n[grid.tuning.mtpsl]\n{table}\n'
    )
    with pytest.raises(UserError, match="must hold trials and holdout, as `bench tune` writes them"):
        plan.make([str(file)], [], tmp_path)


def test_searches_are_alike_where_as_many_trials_were_asked_for() -> None:
    twenty = words({"trials": 20, "holdout": 0.1}, "p")
    assert twenty == "20 trials on the last 10% of train"  # as records have it
    five = words({"trials": 20, "distinct": 5, "holdout": 0.1}, "p")
    assert five == "5 of 20 trials, all there are, on the last 10% of train"
    assert alike(twenty, five) and alike(five, twenty) and alike("", "")
    assert not alike(twenty, words({"trials": 20, "holdout": 0.2}, "p"))
    assert not alike(five, words({"trials": 5, "holdout": 0.1}, "p")) and not alike(five, "")


TWENTY, FIVE = "20 trials on the last 10% of train", "5 of 20 trials, all there are, on the last 10% of train"
ROWS: dict[str, tuple[dict[str, str], str]] = {
    "none was searched": ({"mtpsl": "", "multi_task": ""}, ""),
    "alike": (
        {"mtpsl": TWENTY, "direct_map": FIVE, "multi_task": ""},
        f"Search of keywords, the same for all: direct_map: {FIVE}; mtpsl: {TWENTY}; multi_task: nothing to "
        f"search.",
    ),
    "one was left out": (
        {"mtpsl": TWENTY, "prototype": "", "multi_task": ""},
        f"Search of keywords, NOT the same for all, so differences may come from it: mtpsl: {TWENTY}; "
        f"multi_task: nothing to "
        f"search; prototype: none.",
    ),
    "fewer": (
        {"mtpsl": TWENTY, "direct_map": "5 trials on the last 10% of train"},
        f"Search of keywords, NOT the same for all, so differences may come from it: direct_map: 5 trials on "
        f"the last 10% of "
        f"train; mtpsl: {TWENTY}.",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_board_says_how_each_row_was_searched(name: str, tmp_path: Path) -> None:
    from benchmark.cli.results import boards_of
    from benchmark.report.captions import sentences

    tunings, wanted = ROWS[name]
    for method, how in tunings.items():
        values: dict[str, Any] = spec(method) | ({"tuning": how} if how else {})
        if method == "direct_map":
            values["hyperparameters"] = {"map_weight": 1.0, "mapper_width": 8}
        write_run(tmp_path, record(values), panels=False)
    (board,) = boards_of(tmp_path)
    said = [s for s in sentences(board) if s.startswith("Search of")]
    assert [ordered(s) for s in said] == ([ordered(wanted)] if wanted else [])


def ordered(sentence: str) -> tuple[str, list[str]]:
    """What is said of all, and of each row."""
    head, _, rows = sentence.removesuffix(".").partition(": ")
    return head, sorted(rows.split("; "))
