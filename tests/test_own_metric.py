"""A metric of one's own: written by `bench new --metric`, checked, and computed with `--plugin`."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import benchmark
from benchmark.contract import metrics as contract
from benchmark.errors import UserError
from benchmark.metrics.maps import meter
from benchmark.metrics.own import Metric, extended
from benchmark.metrics.pooled import TASKS as KINDS
from benchmark.spec import plugged, plugins
from tests.commands import records, sets
from tests.conftest import Bench
from tests.helpers import TASKS, failures, replace_in, tiny_split
from tests.test_own_method import clean


@pytest.fixture
def near(bench: Bench, tmp_path: Path) -> Path:
    file, out = tmp_path / "near.py", bench.ok("new", "near", "--metric", "--out", tmp_path)
    assert f"`bench check {file}`, then `bench run --plugin {file}`" in out
    return file


def test_what_new_writes_keeps_the_contract_and_is_scored(bench: Bench, near: Path, tmp_path: Path) -> None:
    assert clean(tmp_path) and (tmp_path / "test_near.py").exists()
    assert f"near passes all 7 checks; `bench run --plugin {near}` computes it" in bench.ok("check", near)
    metrics = bench.json("list", "metrics", "--plugin", near)
    (summary,) = [m["summary"] for m in metrics if m["metric"] == "near"]
    assert summary == "share of pixels whose depth is less than 25 % off; higher is better"
    results = tmp_path / "runs"
    run = ("run", "multi_task", *sets("epochs=1", "seeds=2"), "--results", results)
    bench.ok(*run[:-3], "seeds=1", *run[-2:], "--plugin", near)
    (record,) = records(results).values()
    value, floor = record["metrics"]["depth"]["near"], record["constant"]["depth"]["near"]
    assert 0 <= value <= 100 and 0 < floor <= 100
    assert all("near" not in record["metrics"][task] for task in ("semseg", "normals"))
    own = record["own_metrics"]["near"]
    assert own["code"] == plugins.code("near") and own["unit"] == "%" and own["higher_is_better"]
    assert benchmark.load_board(results).depth_near_mean[0] == pytest.approx(value, rel=1e-6)
    near.write_text(near.read_text() + "\n\n# changed\n")  # a comment makes no number
    replace_in(near, "< 1.25", "< 1.5")
    told = "1 runs, such as .*, ended without near as near.py has it now: --force makes them again"
    assert re.search(told, bench.ok(*run, "--plugin", near).replace("\n", " "))
    codes = [r["own_metrics"]["near"]["code"][:6] for r in records(results).values()]
    assert len(set(codes)) == 2
    names = {f"near@{code}" for code in codes}  # numbers of two files never meet in a mean
    table = benchmark.load_records(results)
    assert names < set(table[table.task == "depth"].metric) and "near" not in set(table.metric)
    assert not benchmark.load_board(results).columns.str.startswith("depth_near").any()
    assert "nothing to do: all 2 runs" in bench.ok(*run)  # a metric enters no id


class Primary(Metric):
    """The primary metric of a kind's own meter."""

    summary, higher_is_better = "the same", True

    def per_image(self, prediction: Tensor, target: Tensor) -> Tensor:
        return meter(self.task).statistics(prediction, target)

    def pooled(self, sums: np.ndarray) -> float:
        return next(iter(meter(self.task).values(sums).values()))


@pytest.mark.parametrize("name", ["semseg", "depth", "normals", "saliency", "edge"])
def test_the_metrics_here_keep_the_contract_too(name: str) -> None:
    of = {"kind": KINDS[name], "higher_is_better": TASKS[name].higher_is_better, "bounds": (0.0, 1e4)}
    task = contract.TASKS[KINDS[name]]
    target = task.maps.widen(torch.full((1, task.target_channels, 16, 16), task.ignore))
    width = meter(task).statistics(torch.zeros(1, task.channels, 16, 16), target).shape[1]
    kind = type("Same", (Primary,), of | {"columns": width})
    assert [f for f in contract.check("same", kind) if f.reason] == []


@pytest.mark.parametrize("name", ["semseg", "depth", "normals", "edge"])
def test_a_meter_and_metrics_behind_it_give_what_each_gives_alone(name: str) -> None:
    class Count(Primary):
        kind, columns = KINDS[name], 2

        def per_image(self, prediction: Tensor, target: Tensor) -> Tensor:
            known = self.task.valid(target).flatten(1).sum(1).double()
            return torch.stack([known + torch.where(known > 0, 0, torch.nan), torch.ones_like(known)], 1)

        def pooled(self, sums: np.ndarray) -> float:
            return float(sums[0] / sums[1])

    task, other = TASKS[name], type("Other", (Primary,), {"kind": "saliency"})
    target = task.maps.widen(tiny_split(3).targets[name])
    target[1] = task.ignore
    base, both = meter(task), extended(meter(task), {"a": Count, "b": Count, "c": other})
    rows = both.statistics(torch.zeros(3, task.channels, *target.shape[2:]), target)
    alone = base.statistics(torch.zeros(3, task.channels, *target.shape[2:]), target)
    assert both.stored == base.stored and torch.equal(rows[:, : alone.shape[1]], alone)
    values, plain = both.values(rows.sum(0).numpy()), base.values(alone.sum(0).numpy())
    mean = float(task.valid(target).sum()) / 2  # the image without a label counts nowhere
    assert values == pytest.approx(plain | {"a": mean, "b": mean}, nan_ok=True)
    assert list(values)[-2:] == ["a", "b"] and list(both.values(rows.sum(0)[: base.stored].numpy())) != []
    empty = both.values(np.zeros(rows.shape[1]))
    assert np.isnan([*empty.values()]).all() and {"a", "b"} < empty.keys()
    assert extended(base, {"c": other}) is base


BROKEN = {
    "columns": ("columns = 2", "columns = 3", "numbers of an image",
                r"per_image\(\) is \(4, 2\) float64, not"),
    "infinite": ("(labelled, near)]", "(labelled, 1 / (ratio - ratio))]", "numbers of an image",
                 "not finite"),
    "mean": ("(labelled, near)]", "(labelled, near * near.sum())]", "pooling",
             "other numbers in another batch"),
    "unmasked": ("near = labelled & (", "near = (", "no label", "without a label gives"),
    "direction": ("higher_is_better = True", "higher_is_better = False", "perfect prediction",
                  "the truth itself scores 100 .* though lower is better"),
    "bounds": ("(0.0, 100.0)", "(0.0, 1.0)", "bounds", r"the truth scores 100, which is not in 0\.\.1"),
    "sync": ("        near =", "        assert ratio.sum().item() > -1\n        near =", "no look at data",
             r"item\(\) waits for the device"),
    "boolean": ("        near =", "        ratio[labelled].sum()\n        near =", "no look at data",
                "nonzero|indexes with booleans"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_contract_is_named_with_its_reason(near: Path, case: str) -> None:
    old, new, check, reason = BROKEN[case]
    replace_in(near, old, new)
    plugins.use(near)
    found = failures(contract.check("near", plugged.metrics()["near"]))
    assert check in found and re.search(reason, found[check]), found


def test_bad_input_is_one_sentence(bench: Bench, near: Path, tmp_path: Path) -> None:
    said = bench.refused("check", near, "--set", "batch=2")
    assert "--set batch=2 is for methods; leave it out for near" in said
    text = near.read_text()
    for name, changed, message in (
        ("far", text.replace('"depth"', '"detph"'), "kind = 'detph' of Near is not one of classes, depth"),
        ("far", text.replace('"%"', '"=1+1"'), "unit = '=1+1' of Near is not a short unit"),
        ("far", text.replace("    columns =", "    # columns ="), "columns = None of Near is not a whole"),
        ("far", text.replace("(Metric)", ""), "far.py defines 0 subclasses of benchmark.metrics.own.Metric"),
    ):
        (tmp_path / f"{name}.py").write_text(changed)
        assert message in bench.refused("check", tmp_path / f"{name}.py")


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("near", "columns = 2", "columns = 3", r"metric near fails \(per_image\(\) gives \(2, 2\)"),
        ("near", "near = labelled", "near = nothing", r"near fails \(.*'nothing' is not defined"),
        ("near", "def pooled", "def polled", "near fails .*abstract"),
        ("absErr", "", "", "tasks of kind depth have a metric absErr already; rename the file"),
    ],
)
def test_a_metric_that_cannot_be_computed_is_refused_before_the_first_step(
    bench: Bench, near: Path, tmp_path: Path, name: str, old: str, new: str, message: str
) -> None:
    file = tmp_path / f"{name}.py"
    file.write_text(near.read_text().replace(old, new))
    plugins.use(file)
    with pytest.raises(UserError, match=message):
        extended(meter(TASKS["depth"]), plugged.metrics())
