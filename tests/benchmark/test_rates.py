"""A learning rate for each row: in ids and on boards, searched alike on held-out images, and the contrasts
named before.
"""

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.errors import UserError
from benchmark.report.rows import row_label
from benchmark.spec import plan, rates, select, tuned
from benchmark.spec.grid import Expansion
from benchmark.spec.run import RunSpec, run_id
from benchmark.spec.tuning import alike, words
from benchmark.training.build import build_method
from benchmark.training.step import Step, make_optimiser
from tests.conftest import Bench
from tests.helpers import TASKS, tiny_batch, tiny_problem, tiny_protocol, tiny_spec

SMALL = (
    "--set",
    "encoder=small",
    "--set",
    "weights=none",
    "--set",
    "train_images=20",
    "--set",
    "test_images=4",
)
GRID: dict[str, Any] = {
    "protocol": "thin",
    "dataset": "scenes",
    "method": ["multi_task", "mtpsl"],
    "seeds": [0],
}


def expanded(tmp_path: Path, **keys: Any) -> list[RunSpec]:
    return Expansion({}, [], tmp_path).specs(GRID | keys, "p")


def test_a_rate_is_a_number_a_list_or_a_table_by_method_and_enters_ids_where_it_is_set(
    tmp_path: Path,
) -> None:
    plain = expanded(tmp_path)
    assert [s.id for s in expanded(tmp_path, lr_scale=1)] == [s.id for s in plain]
    table = expanded(tmp_path, lr_scale={"mtpsl": [0.5, 2]})
    assert [(s.method, s.lr_scale) for s in table] == [("multi_task", 1.0), ("mtpsl", 0.5), ("mtpsl", 2.0)]
    assert table[0].id == plain[0].id and len({s.id for s in [*table, *plain]}) == 4
    assert [s.lr_scale for s in expanded(tmp_path, lr_scale=[1, 3], method="mtpsl")] == [1.0, 3.0]
    old = plain[0].as_dict()  # of a record made before there was such a key
    del old["lr_scale"], old["contrasts"]
    assert run_id(old) == plain[0].id
    for wrong in (0, -1, True, "fast", [1.0, float("inf")], {"mtpsl": "x"}):
        with pytest.raises(UserError, match=r"plan p: lr_scale\S* is .*; expected a number"):
            expanded(tmp_path, lr_scale=wrong)
    with pytest.raises(UserError, match="did you mean 'mtpsl'"):
        expanded(tmp_path, lr_scale={"mtpls": 1.0})


def test_a_rate_tells_rows_apart_and_its_default_does_not() -> None:
    one = tiny_spec().as_dict()
    old = {key: value for key, value in one.items() if key != "lr_scale"}
    assert row_label(one, [one, old]) == row_label(old, [one, old]) == "multi_task"
    faster = one | {"lr_scale": 3.0}
    assert row_label(faster, [one, faster]) == "multi_task(lr_scale=3.0)"


def test_rates_of_groups_trunk_and_run_multiply() -> None:
    method = build_method(tiny_spec(), {n: TASKS[n] for n in ("semseg", "depth", "normals")}, None, {})
    protocol = tiny_protocol(encoder_lr_scale=0.1, lr=0.01, schedule="constant", optimiser="sgd")
    trunk = {id(p) for p in method.encoder.trunk.parameters()}  # type: ignore[union-attr]
    groups = make_optimiser(method, protocol).param_groups
    assert [g["lr_scale"] for g in groups] == [1.0, 0.1]
    assert {id(p) for p in groups[1]["params"]} == trunk and not {id(p) for p in groups[0]["params"]} & trunk
    step = Step(method, protocol, 2, lr_scale=3.0)
    step(
        tiny_batch(("semseg", "depth", "normals"), torch.ones(2, 3, dtype=torch.bool), dtype=torch.float32), 0
    )
    assert [float(g["lr"]) for g in step.optimiser.param_groups] == pytest.approx([0.03, 0.003])


@pytest.mark.parametrize(
    "method", ["multi_task", "mtpsl", "prototype", "mean_teacher", "perceptual_map", "diffusion"]
)
def test_a_frozen_trunk_keeps_weights_and_statistics_and_holds_no_graph(method: str) -> None:
    spec = tiny_spec(method)
    spec = replace(spec, protocol=replace(spec.protocol, freeze=True))
    made = build_method(spec, {n: TASKS[n] for n in spec.tasks}, None, {})
    encoder: Any = made.encoder
    before = {name: value.clone() for name, value in encoder.trunk.state_dict().items()}
    fusion = encoder.fusion.weight.clone()
    step = Step(made, spec.protocol, 3)
    batch = tiny_batch(spec.tasks, torch.eye(3, dtype=torch.bool), views=made.views, dtype=torch.float32)
    with torch.no_grad():
        made.prepare(iter([batch]))
    made.train()
    for number in range(2):
        step(batch, number)
    for name, value in encoder.trunk.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not torch.equal(fusion, encoder.fusion.weight)
    held = {id(p) for group in step.optimiser.param_groups for p in group["params"]}
    assert not held & {id(p) for p in encoder.trunk.parameters()}
    assert (
        all(not stage.requires_grad for stage in encoder.stages(batch.images))
        and encoder(batch.images).requires_grad
    )


def test_a_frozen_random_encoder_is_refused(bench: Bench, tmp_path: Path) -> None:
    code, _, err = bench("run", "multi_task", *SMALL, "--set", "freeze=true", "--results", tmp_path / "r")
    assert code == 2 and "would keep an encoder at random weights; set weights, or freeze = false" in err
    assert not (tmp_path / "r").exists()


def cells(**changes: Any) -> list[RunSpec]:
    base = [tiny_spec(m, seed=seed, **changes) for m in ("multi_task", "mtpsl") for seed in (0, 1)]
    return [*base, *(replace(s, hyperparameters=s.hyperparameters | {"regulariser": 9.0}) for s in base[2:])]


def test_each_row_is_tried_alike_and_an_ablation_keeps_the_rate_of_what_it_ablates() -> None:
    specs = [*cells(), *cells(budget="steps")]
    found = rates.searches(specs, (0.3, 1.0), (100, 101))
    assert [s.name for s in found] == ["multi_task", "mtpsl", "multi_task (steps)", "mtpsl (steps)"]
    assert [len(s.cells) for s in found] == [2, 4, 2, 4]
    for search in found:
        assert [(t.lr_scale, t.label_seed, t.train_seed) for t in search.runs] == [
            (0.3, 100, 100), (0.3, 101, 101), (1.0, 100, 100), (1.0, 101, 101),
        ]  # fmt: skip
        assert {t.protocol.judge for t in search.runs} == {"holdout"} and len(
            {t.id for t in search.runs}
        ) == 4
    assert found[1].runs[0].hyperparameters["regulariser"] != 9.0
    assert [t.train_seed for t in rates.shortened(found[0], 100).runs] == [100, 100]
    with pytest.raises(UserError, match="seed 1 is one of the plan's"):
        rates.searches(specs, (0.3, 1.0), (1, 100))


def record(value: float) -> dict[str, Any]:
    tasks = {
        "semseg": {"metric": "mIoU", "higher_is_better": True},
        "depth": {"metric": "absErr", "higher_is_better": False},
    }
    return {"tasks": tasks, "metrics": {"semseg": {"mIoU": value}, "depth": {"absErr": 10.0}}}


def test_the_best_rate_is_that_of_the_highest_mean_change() -> None:
    search = rates.searches(cells()[:1], (0.3, 1.0, 3.0), (100, 101))[0]
    known = dict(
        zip((s.id for s in search.runs), map(record, (20.0, 22.0, 20.0, 20.0, 23.0, 24.0)), strict=True)
    )
    scores = rates.scores(search, known)
    assert scores == {0.3: pytest.approx(2.5), 1.0: pytest.approx(0.0), 3.0: pytest.approx(8.75)}
    assert rates.best(scores) == 3.0
    without = known | {search.trials[3.0][1].id: None}
    assert rates.scores(search, without)[3.0] is None and rates.best(rates.scores(search, without)) == 0.3
    assert rates.best(rates.scores(search, known | {search.trials[1.0][0].id: None})) is None
    assert rates.best({1.0: 2.0, 0.3: 2.0}) == 0.3


def test_words_of_a_search_say_what_was_tried_and_whether_alike() -> None:
    table = {"rates": [3.0, 1.0], "seeds": 2, "holdout": 0.1}
    said = words(table, "p")
    assert said == "learning rates 1, 3 (of the protocol's) on 2 seeds, judged on the last 10% of train"
    assert alike(said, words(table | {"seeds": 1}, "p")) and not alike(
        said, words(table | {"rates": [1.0]}, "p")
    )
    for wrong in ({"rates": "all"}, {"seeds": 1.5}, {"more": 1}):
        with pytest.raises(UserError, match="must hold rates, seeds and holdout"):
            words(table | wrong, "p")


def test_from_trials_to_a_plan_with_a_rate_for_each_row(bench: Bench, tmp_path: Path) -> None:
    source = tmp_path / "two.toml"
    source.write_text(
        '[[grid]]\nprotocol = "thin"\ndataset = "scenes"\nlabels = "one"\nmethod = ["multi_task", '
        '"mtpsl"]\nseeds = 1\n'
        "[grid.hparams.mtpsl]\nmapper_width = 4\nmapper_stride = 8\n"
        '[[contrast]]\nname = "ours"\nfirst = { method = "mtpsl" }\nsecond = { method = "multi_task" }\n'
    )
    arguments = (
        "tune",
        "--rate",
        "--plan",
        source,
        *SMALL,
        "--set",
        "epochs=1",
        "--rates",
        "1",
        "--rates",
        "4",
        "--results",
    )
    code, out, _ = bench(*arguments, tmp_path / "runs", "--once", "mtpsl", "--json")
    assert code == 0
    shown = json.loads(out)
    assert [row["row"] for row in shown["rows"]] == ["multi_task", "mtpsl"]
    assert all(set(row["scores"]) == {"1", "4"} and row["scores"]["1"] == 0.0 for row in shown["rows"])
    records = [json.loads(p.read_text()) for p in (tmp_path / "runs").rglob("record.json")]
    assert len(records) == 6 and {r["spec"]["protocol"]["judge"] for r in records} == {"holdout"}
    values = tomllib.loads(Path(shown["plan"]).read_text())
    assert values["contrast"] == [
        {"name": "ours", "first": {"method": "mtpsl"}, "second": {"method": "multi_task"}}
    ]
    found = plan.make([shown["plan"]], [], tmp_path).cells
    assert [s.lr_scale for s in found] == [row["best"] for row in shown["rows"]]
    assert [s.tuning.split(", judged")[0][-7:] for s in found] == ["2 seeds", "1 seed"[-7:]] or found[
        1
    ].tuning.count("1 seed,")
    assert all(
        s.contrasts == select.read_contrasts(values["contrast"], "p") and s.protocol.judge == "test"
        for s in found
    )
    again = bench(*arguments, tmp_path / "runs", "--once", "mtpsl", "--json")
    assert again[0] == 0 and json.loads(again[1]) == shown
    # Published, they are records beside those of boards, and another machine has no trial left to run.
    place = ("--published-in", tmp_path / "published")
    assert bench("publish", "--all", "--results", tmp_path / "runs", *place)[0] == 0
    trials = sorted((tmp_path / "published" / "trials").iterdir())
    assert (
        len(trials) == 6
        and not (tmp_path / "published" / "records").exists()
        and {f.suffix for f in trials} == {".json"}
    )
    code, out, err = bench(*arguments, tmp_path / "other", "--once", "mtpsl", "--json", *place)
    assert code == 0 and json.loads(out)["rows"] == shown["rows"] and "6 of 6 trials are taken from" in err
    assert not list((tmp_path / "other").rglob("record.json"))
    trials[0].write_text(trials[0].read_text().replace('"steps"', '"stops"'))
    code, _, err = bench(*arguments, tmp_path / "other", "--once", "mtpsl", *place)
    assert code == 2 and "was edited" in err


@pytest.mark.parametrize("methods", [(), ("multi_task", "single_task"), ("retrieval",)])
def test_the_shipped_plan_can_be_written_with_rates_whole_or_in_part(
    tmp_path: Path, methods: tuple[str, ...]
) -> None:
    base = plan.make(["nyuv2-small"], [], tmp_path)
    base = replace(
        base, cells=tuple(spec for spec in base.cells if spec.method in (methods or (spec.method,)))
    )
    found = rates.searches(base.cells, (0.5, 1.0), (100,))
    chosen = [(search, 0.5 if number % 2 else 1.0) for number, search in enumerate(found)]
    (file := tmp_path / "found.toml").write_text(tuned.with_rates(base, chosen, tmp_path))
    read = plan.make([str(file)], [], tmp_path).cells
    wanted = {(spec.method, spec.protocol.budget): rate for search, rate in chosen for spec in search.cells}
    assert len(read) == len(base.cells)
    assert all(
        spec.lr_scale == wanted[spec.method, spec.protocol.budget] and "1 seed," in spec.tuning
        for spec in read
    )
    kept = {contrast["name"] for contrast in read[0].contrasts}
    assert len(kept) == {(): 3, ("multi_task", "single_task"): 1, ("retrieval",): 0}[methods]


def test_named_methods_are_searched_in_the_rows_that_the_plan_has(bench: Bench, tmp_path: Path) -> None:
    code, _, err = bench("tune", "--rate", "jtr", "--plan", "nyuv2-small", "--results", tmp_path / "runs")
    assert code == 2 and "unknown method of plan nyuv2-small 'jtr'; known: mtpsl, multi_task" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rates", "1"], "are not two or more different numbers above 0"),
        (["--rates", "1", "--rates", "nan"], "are not two or more different numbers above 0"),
        (["--seeds", "0"], "seed 0 is one of the plan's"),
        (["--once", "mtpls"], "did you mean 'mtpsl'"),
        (["--set", "lr_scale=2"], "sets it itself"),
        (["--set", "judge=test"], "sets it itself"),
        (["--plan", "quickstrat"], "did you mean 'quickstart'"),
        (["mtpls"], "did you mean 'mtpsl'"),
        (["--workers", "-1"], "--workers -1 is not a number of processes"),
    ],
)
def test_bad_searches_are_one_sentence(
    bench: Bench, tmp_path: Path, arguments: list[str], message: str
) -> None:
    code, out, err = bench("tune", "--rate", *arguments, "--results", tmp_path / "runs")
    assert (
        code == 2
        and out == ""
        and message in err
        and err.count("\n") == 1
        and not (tmp_path / "runs").exists()
    )


def plan_of(tmp_path: Path, contrast: str) -> plan.Plan:
    file = tmp_path / "c.toml"
    file.write_text(
        '[[grid]]\nprotocol = "thin"\ndataset = "scenes"\nmethod = ["multi_task", "prototype"]\nseeds = 1\n'
        "[grid.hparams.prototype]\ntke = [true, false]\n" + contrast
    )
    return plan.make([str(file)], [], tmp_path)


def test_every_run_keeps_the_contrasts_of_its_plan_and_its_id(tmp_path: Path) -> None:
    side = '[[contrast]]\nfirst = { method = "prototype", tke = true }\nsecond = { method = "multi_task" }\n'
    with_it, without = plan_of(tmp_path, side), plan_of(tmp_path, "")
    assert [s.id for s in with_it.cells] == [s.id for s in without.cells]
    assert all(
        [c["name"] for c in s.contrasts] == ["prototype(tke=True) - multi_task"] for s in with_it.cells
    )
    first = with_it.cells[0]
    assert RunSpec.from_dict(first.as_dict() | {"id": first.id}, "spec.json") == first


@pytest.mark.parametrize(
    ("contrast", "message"),
    [
        (
            'first = { method = "prototype" }\nsecond = { method = "multi_task" }',
            "is 2 rows of it, not one; add a key",
        ),
        (
            'first = { method = "prototype", tke = true }\nsecond = { method = "mtpsl" }',
            "is no row of it, not one; name a row",
        ),
        (
            'first = { method = "prototype", tkee = true }\nsecond = { method = "multi_task" }',
            "did you mean 'tke'",
        ),
        ('first = { method = "multi_task" }', "has no second ="),
        ('first = { method = "multi_task" }\nthird = 1', "unknown key in \\[\\[contrast\\]\\]"),
        ('name = 3\nfirst = { method = "multi_task" }\nsecond = { method = "multi_task" }', "is not a text"),
    ],
)
def test_a_contrast_that_names_no_row_or_several_is_refused(
    tmp_path: Path, contrast: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        plan_of(tmp_path, f"[[contrast]]\n{contrast}\n")


def test_a_trial_of_twice_the_epochs_is_no_part_of_an_id() -> None:
    spec = tiny_spec()
    told = replace(spec, protocol=replace(spec.protocol, doubled={"multi_task epochs semseg": 3.2}))
    assert told.id == spec.id and tiny_problem().tasks
