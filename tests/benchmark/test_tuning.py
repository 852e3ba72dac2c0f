"""Tuning: as many trials for every method, rates for every row, on held-out train images alone."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import UserError
from benchmark.execute.data import Data
from benchmark.spec import plan, registry, tuning
from benchmark.spec.grid import searched
from benchmark.spec.plan import Plan
from benchmark.training.build import check_method
from tests.commands import given
from tests.conftest import Bench

VALUES = ("train_images=10", "test_images=4", "epochs=0.1", "seeds=1", "hparams.mtpsl.mapper_width=4")
TINY = given(*VALUES)
MTPSL = {"consistency_weight": 2.0, "regulariser": 0.5, "film_lr_scale": 10.0, "mapper_width": 8}
NOTHING = ("multi_task", "retrieval", "single_task")  # of whose hyperparameters none has a fraction


@pytest.mark.parametrize("method", registry.method_names())
def test_every_method_can_be_built_in_each_of_its_first_trials(method: str, tmp_path: Path) -> None:
    base = plan.make([method], ["seeds=1"], tmp_path, taught=True)
    if method in NOTHING:
        with pytest.raises(UserError, match=f"^{method} has nothing to search: no hyperparameter"):
            tuning.hyperparameter_search(base, [], 20)
        return
    own = base.cells[0].hyperparameters
    space = tuning.space(method, own, [])
    assert all(own[name] in values and len(values) >= 4 for name, values in space.items())
    search = tuning.hyperparameter_search(base, [], 3)
    assert len(search.trials) == 3 == len({s.id for s in search.runs})
    data = Data(tmp_path)
    for spec in search.runs:
        assert spec.protocol.judge == "holdout"
        check_method(spec, data.tasks(spec))


def test_trials_are_the_defaults_and_then_different_draws_of_the_space() -> None:
    space = tuning.space("mtpsl", MTPSL, [])
    assert space["regulariser"] == (0.125, 0.25, 0.5, 1.0, 2.0) and len(space) == 3
    assert tuning.space("mtpsl", MTPSL, ["regulariser=[0.1, 1, 1.0]"]) == {"regulariser": (0.1, 1.0)}
    drawn = tuning.settings("mtpsl", space, MTPSL, 100)
    assert drawn[0] == {} and drawn[:20] == tuning.settings("mtpsl", space, MTPSL, 20) and len(drawn) == 100
    assert drawn[1] == {"consistency_weight": 4.0, "film_lr_scale": 20.0, "regulariser": 2.0}
    for name, values in space.items():
        assert min(sum(d[name] == v for d in drawn[1:]) for v in values) > 10
    everything = tuning.settings("mtpsl", space, MTPSL, 1000)
    assert len(everything) == 125 == len({repr(MTPSL | c) for c in everything})
    # Where the plan's own value is none of the space's, all of the space's are further trials.
    small = tuning.space("direct_map", {"map_weight": 1.0}, [])
    assert [len(tuning.settings("direct_map", small, {"map_weight": w}, 20)) for w in (1.0, 3.0)] == [5, 6]


UP, DOWN = {"metric": "mIoU", "higher_is_better": True}, {"metric": "absErr", "higher_is_better": False}


def record(iou: float | None, error: float) -> dict[str, Any]:
    return {"tasks": {"a": UP, "b": DOWN}, "metrics": {"a": {"mIoU": iou}, "b": {"absErr": error}}}


def test_the_score_is_the_mean_change_over_tasks() -> None:
    first, trial = [record(10.0, 1.0), record(20.0, 3.0)], [record(18.0, 1.0), record(18.0, 2.0)]
    assert tuning.score(first, first) == 0
    assert tuning.score(trial, first) == pytest.approx((100 * (18 - 15) / 15 - 100 * (1.5 - 2.0) / 2.0) / 2)
    with pytest.raises(UserError, match="mIoU of a is undefined in a trial"):
        tuning.score([record(None, 1.0)], first)


def two(tmp_path: Path, *settings: str) -> Plan:
    """A plan of two methods, one with an ablation of it, under both budgets."""
    (file := tmp_path / "two.toml").write_text(
        '[[grid]]\nprotocol = "thin"\ndataset = "scenes"\nseeds = 2\nbudget = ["epochs", "steps"]\n'
        'method = ["multi_task", "mtpsl"]\n[grid.hparams.mtpsl]\nregulariser = [0.5, 9.0]\n'
    )
    return plan.make([str(file)], list(settings), tmp_path)


def test_each_row_is_tried_alike_and_an_ablation_keeps_the_rate_of_what_it_ablates(tmp_path: Path) -> None:
    base = two(tmp_path)
    found = tuning.rate_searches(base, (0.3, 1.0), (100, 101), ["mtpsl (steps)"])
    assert {s.name: len(s.trials[0].tuned) for s in found} == {
        "multi_task": 2, "mtpsl": 4, "multi_task (steps)": 2, "mtpsl (steps)": 4,
    }  # fmt: skip
    for search in found:
        seeds = (100,) if search.name == "mtpsl (steps)" else (100, 101)
        wanted = [(rate, seed, seed) for rate in (0.3, 1.0) for seed in seeds]
        assert [(t.lr_scale, t.label_seed, t.train_seed) for t in search.runs] == wanted
        assert {(t.protocol.judge, t.tuning, t.contrasts) for t in search.runs} == {("holdout", "", ())}
        assert {t.hyperparameters.get("regulariser") for t in search.runs} <= {None, 0.5}
    (half, *_) = tuning.rate_searches(base, (0.3, 1.0), (100, 101), epochs=0.5)
    assert {t.protocol.epochs for t in half.runs} == {0.5}
    for short, whole in zip(half.trials[0].tuned, found[0].trials[0].tuned, strict=True):
        assert short.protocol == whole.protocol and short.id != whole.id
        assert short.tuning == whole.tuning.replace("seeds,", "seeds, for 0.5 epochs,")
    search = found[0]
    scored = [record(20.0, 1.0), record(22.0, 1.0), record(20.0, 1.0), record(20.0, 1.0)]
    known = dict(zip((s.id for s in search.runs), scored, strict=True))
    assert search.scores(known) == [pytest.approx(2.5), 0.0]
    for trial, changes in ((0, [None, 0.0]), (1, [None, None])):
        without = {name: value for name, value in known.items() if name != search.trials[trial].runs[0].id}
        assert search.scores(without) == changes
    for seeds, once, message in (((1, 100), [], "seed 1 is one of the plan's"), ((9,), ["mtpls"], "mtpsl")):
        with pytest.raises(UserError, match=message):
            tuning.rate_searches(base, (0.3, 1.0), seeds, once)


PLANS: dict[str, tuple[str, list[str]]] = {
    "seeds": ("thin", ["seeds=3", "labels=random"]),
    "lists": ("thin", ['labels=["one", "random"]', "label_seeds=[0, 2]", "train_seeds=[1, 2]", "lr=1e-3"]),
    "protocol values": (
        "thin",
        ["train_images=none", "size=[32, 64]", "scales=[1, 1.5]", 'tasks=["depth", "semseg"]', "clip=0",
         "loss_weights={ depth = 0.5 }", "flip=false", "optimiser=sgd", "holdout=0.2", "balance=dwa"],
    ),
    "a published split": ("nyuv2", ["labels=published:one"]),
    "own files": ("mine.toml", []),
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
hparams.mtpsl = { mapper_width = 2, regulariser = 0.25, film_lr_scale = inf }
"""


@pytest.mark.parametrize("name", PLANS)
def test_written_plans_are_of_tuned_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.toml").write_text('base = "thin"\nversion = 7\nwidth = 8\nscales = [1.0]\n')
    Path('some "weights" ä.pt').write_bytes(b"weights")
    Path("mine.toml").write_text(MINE)
    source, settings = PLANS[name]
    base = plan.make([source, "mtpsl"], settings, tmp_path)
    search = tuning.hyperparameter_search(base, ["consistency_weight=[0.5, 2.0]"], 3)
    text = tuning.written(base, [(search, search.trials[1])], "tuned", tmp_path)
    Path("written.toml").write_text(text, encoding="utf-8")
    found = plan.make(["written.toml"], [], tmp_path).cells
    assert {c.id for c in found} == {c.id for c in search.trials[1].tuned} and len(found) == len(base.cells)
    assert {(c.protocol.judge, c.hyperparameters["consistency_weight"]) for c in found} == {("test", 0.5)}
    assert {c.tuning.split(" on the last")[0] for c in found} == {"2 of 3 trials, all there are,"}


@pytest.mark.parametrize(("methods", "contrasts"), [(("multi_task", "single_task"), 1), (("retrieval",), 0)])
def test_a_part_of_a_plan_has_its_rates(methods: tuple[str, ...], contrasts: int, tmp_path: Path) -> None:
    base = plan.make(["nyuv2-small"], [], tmp_path)
    base = replace(base, cells=tuple(s for s in base.cells if s.method in methods))
    found = tuning.rate_searches(base, (0.5, 1.0), (100,), epochs=1.5)
    chosen = [(search, search.trials[number % 2]) for number, search in enumerate(found)]
    (file := tmp_path / "found.toml").write_text(tuning.written(base, chosen, "found", tmp_path))
    read = plan.make([str(file)], [], tmp_path).cells
    assert {s.id for s in read} == {s.id for _, trial in chosen for s in trial.tuned}
    assert len(read[0].contrasts) == contrasts


def test_from_trials_to_a_row_that_says_how_it_was_tuned(bench: Bench, tmp_path: Path) -> None:
    command = ["tune", "mtpsl", *TINY, "--results", tmp_path, "--json"]
    command += ["--trials", 2, "--space", "regulariser=[0.1, 0.5, 5.0]"]
    out = bench.ok(*command)
    shown = json.loads(out)
    (row,) = shown["rows"]
    assert row["row"] == "mtpsl" and row["best"] in row["scores"] and row["scores"]["0: defaults"] == 0.0
    records = [json.loads(p.read_text()) for p in tmp_path.glob("*/*/record.json")]
    assert len(records) == 2 and {r["spec"]["protocol"]["judge"] for r in records} == {"holdout"}
    assert {r["images"] for r in records} == {9}  # of 10: none was trained on the slice
    written = Path(shown["plan"]).read_text()
    assert bench.ok(*command) == out and Path(shown["plan"]).read_text() == written  # nothing is run twice
    (cell,) = plan.make([shown["plan"]], [], tmp_path).cells
    assert cell.protocol.judge == "test" and cell.tuning == "2 trials on the last 10% of train"
    assert cell.protocol.train_images == 10 and cell.hyperparameters["mapper_width"] == 4
    untuned = plan.make(["mtpsl"], list(VALUES), tmp_path).cells[0]
    assert untuned.protocol == cell.protocol and untuned.id != cell.id


def test_from_trials_to_a_plan_with_a_rate_for_each_row(bench: Bench, tmp_path: Path) -> None:
    source = tmp_path / "two.toml"
    source.write_text(
        '[[grid]]\nprotocol = "thin"\ndataset = "scenes"\nmethod = ["multi_task", "mtpsl"]\nseeds = 1\n'
        "[grid.hparams.mtpsl]\nmapper_stride = 8\n"
        '[[contrast]]\nname = "ours"\nfirst = { method = "mtpsl" }\nsecond = { method = "multi_task" }\n'
    )
    command = ("tune", "--rate", "--plan", source, *TINY, "--rates", "1", "--rates", "4", "--once", "mtpsl")
    shown = bench.json(*command, "--results", tmp_path / "runs")
    assert [row["row"] for row in shown["rows"]] == ["multi_task", "mtpsl"]
    assert all(set(row["scores"]) == {"1", "4"} and row["scores"]["1"] == 0.0 for row in shown["rows"])
    records = [json.loads(p.read_text()) for p in (tmp_path / "runs").rglob("record.json")]
    assert len(records) == 6 and {r["spec"]["protocol"]["judge"] for r in records} == {"holdout"}
    values = tomllib.loads(Path(shown["plan"]).read_text())
    assert [contrast["name"] for contrast in values["contrast"]] == ["ours"]
    found = plan.make([shown["plan"]], [], tmp_path).cells
    assert [f"{s.lr_scale:g}" for s in found] == [row["best"] for row in shown["rows"]]
    how = [f"{seeds}, judged on the last 10% of train" for seeds in ("2 seeds", "1 seed")]
    assert [s.tuning.partition(" on ")[2] for s in found] == how
    # Published, they are records beside those of boards, and another machine has no trial left to run.
    place = ("--published-in", tmp_path / "published")
    bench.ok("publish", "--all", "--force", "--results", tmp_path / "runs", *place)
    trials = sorted((tmp_path / "published" / "trials").iterdir())
    assert len(trials) == 6 and not (tmp_path / "published" / "records").exists()
    other = ("--results", tmp_path / "other")
    code, out, err = bench(*command, *other, "--json", *place)
    assert code == 0 and json.loads(out)["rows"] == shown["rows"] and "6 of 6 trials are taken from" in err
    assert not list((tmp_path / "other").rglob("record.json"))


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


def test_without_the_first_trial_there_is_its_reason(bench: Bench, tmp_path: Path) -> None:
    (broken := tmp_path / "broken.py").write_text(BROKEN)
    few = (*TINY[:-2], "--results", tmp_path / "runs")
    code, out, err = bench("tune", "broken", "--plugin", broken, "--trials", 2, *few, "--json")
    assert code == 1 and not (tmp_path / "runs" / "tuned").exists() and "no plan is written" in err
    shown = json.loads(out)
    assert shown["plan"] is None and shown["rows"][0]["best"] is None
    (why,) = shown["failures"].values()
    assert why.startswith("AssertionError: too low (details in") and "to try again, remove" in why


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"trials": 3}, "holdout is missing; let `bench tune` write it"),
        ({"holdout": 0.1}, "has neither trials nor rates; let `bench tune` write it"),
        ({"trials": 3, "holdout": "a"}, "holdout is 'a'; expected a number, got a text"),
        ({"rates": [1.0], "seeds": 1.5, "holdout": 0.1}, "seeds is 1.5; expected a whole number"),
        ({"trials": 3, "epochs": 2.0, "holdout": 0.1}, "unknown key beside trials .*'epochs'"),
        ({"rates": [1.0], "trials": 3, "holdout": 0.1}, "unknown key beside rates .*'trials'"),
    ],
)
def test_a_plan_that_lies_about_tuning_is_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        searched(table, "p")
    assert "tuning in plan p" in str(caught.value)


def test_searches_are_alike_where_as_much_was_asked_for() -> None:
    twenty = searched({"trials": 20, "holdout": 0.1}, "p")
    assert twenty == "20 trials on the last 10% of train"  # as records have it
    five = searched({"trials": 20, "distinct": 5, "holdout": 0.1}, "p")
    assert five == "5 of 20 trials, all there are, on the last 10% of train"
    assert tuning.alike(twenty, five) and tuning.alike("", "") and not tuning.alike(five, "")
    assert not tuning.alike(twenty, searched({"trials": 20, "holdout": 0.2}, "p"))
    assert not tuning.alike(five, searched({"trials": 5, "holdout": 0.1}, "p"))
    table = {"rates": [3.0, 1.0], "seeds": 2, "holdout": 0.1}
    both = searched(table, "p")
    assert both == "learning rates 1, 3 (of the protocol's) on 2 seeds, judged on the last 10% of train"
    assert tuning.alike(both, searched(table | {"seeds": 1}, "p")) and tuning.of_rates(both)
    assert not tuning.alike(both, searched(table | {"rates": [1.0]}, "p"))
    short = searched(table | {"epochs": 20.0}, "p")
    assert short == both.replace("seeds,", "seeds, for 20 epochs,") and not tuning.alike(both, short)
    assert tuning.alike(short, searched(table | {"epochs": 20.0, "seeds": 1}, "p"))
