"""One run: what it may not do, what it leaves, and when it stops."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.errors import UserError
from benchmark.runs import rundir
from benchmark.runs.claim import Lost
from benchmark.training import batches
from benchmark.training.batches import Samples
from benchmark.training.flops import workload
from benchmark.training.loop import CURVE_POINTS, Diverged, Options, Run
from datasets import tasks as t
from tests.helpers import (
    SIX,
    TASKS,
    THREE,
    assert_same,
    begun,
    finished,
    tiny_spec,
    tiny_split,
    trained,
    weights,
)


def test_evaluating_during_training_changes_no_weight_and_the_oracle_is_the_best_seen(tmp_path: Path) -> None:
    quiet, _, plain = finished(tiny_spec(epochs=2.0), tmp_path)
    watched, _, record = finished(tiny_spec(evaluations=3, epochs=2.0), tmp_path)
    assert_same(weights(quiet), weights(watched))
    assert plain["metrics"] == record["metrics"] and plain["oracle"] == {}
    seen = [p["test"] for p in record["curve"] if "test" in p]
    assert len(seen) == 3
    for name in THREE:
        final = next(iter(record["metrics"][name].values()))
        values = [final, *(s[name] for s in seen)]
        best = max(values) if TASKS[name].higher_is_better else min(values)
        assert record["oracle"][name] == pytest.approx(best, rel=1e-4)  # curves hold 5 digits
    assert len({s["semseg"] for s in seen} | {s["depth"] for s in seen}) > 2


def test_a_method_is_told_whether_its_labels_are_complete(tmp_path: Path) -> None:
    settings = ("full", "one", "random", "fraction:0.5", "fraction:1.0")
    runs = [begun(tiny_spec(labels=labels), tmp_path)[0] for labels in settings]
    assert [run.method.problem.complete for run in runs] == [True, False, False, False, True]
    assert begun(tiny_spec("single_task", only=("depth",)), tmp_path)[0].method.problem.complete


def test_a_budget_in_steps_gives_one_task_runs_the_steps_of_all_images(tmp_path: Path) -> None:
    steps = {}
    for budget in ("epochs", "steps"):
        for method, only in (("multi_task", ()), ("single_task", ("depth",))):
            steps[budget, method] = begun(tiny_spec(method, only=only, budget=budget), tmp_path)[0].feed.steps
    assert steps.pop(("epochs", "single_task")) == 3  # 4 of 12 images, 3 epochs, batches of 4
    assert {*steps.values()} == {9}


def test_what_a_record_counts(tmp_path: Path) -> None:
    run, place, record = finished(tiny_spec("prototype", epochs=1.0), tmp_path)
    everything = sum(p.numel() for p in run.method.parameters())
    thrown_away = sum(p.numel() for p in run.method.image_decoder.parameters())  # type: ignore[union-attr]
    assert record["cost"]["params_train"] == everything
    assert record["cost"]["params_infer"] == everything - thrown_away < everything
    cost = workload("prototype", run.spec.protocol, run.tasks, run.spec.hyperparameters)
    planned = cost["train_flops"] * run.spec.protocol.batch * 3  # steps; a CPU resizes by matrix products too
    assert planned < record["cost"]["operations"] < 1.05 * planned
    assert record["label_counts"] == {name: 4 for name in THREE} and record["images"] == 12
    tables = np.load(place.file("per_image.npz"))
    assert tables["labelled"].sum(1).tolist() == [1] * 12 and tables["depth"].shape[0] == 4
    assert json.loads(place.file("record.json").read_text()) == record
    lines = place.file("curve.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]
    assert not place.file("checkpoint.pt").exists() and place.file("weights.pt").exists()


def test_a_record_of_six_tasks_can_be_published(tmp_path: Path) -> None:
    """16 KiB hold 13 classes, six tasks, all terms of the richest method, a full curve and 5 evaluations."""
    classes = tuple(f"some class {i}" for i in range(13))
    tasks = TASKS | {"semseg": t.semseg(classes)}
    spec = tiny_spec("prototype", tasks=SIX, evaluations=2, epochs=2.0)
    _, place, record = finished(spec, tmp_path, None, tasks)
    # The tiny labels hold 4 of the classes; the others' values would add this much, and so would more points.
    missing = 2 * sum(len(f'"IoU/{name}":12.3456789,') for name in classes)
    sizes = sorted(len(json.dumps(point, separators=(",", ":"))) for point in record["curve"])
    missing += 3 * sizes[-1] + (CURVE_POINTS - 3 - len(sizes)) * sizes[0]
    assert place.file("record.json").stat().st_size + missing < 16 * 1024
    assert place.file("panel.webp").stat().st_size < 60 * 1024


def test_a_process_that_lost_its_run_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, place, claim = begun(tiny_spec(), tmp_path, checkpoint_every=2)
    monkeypatch.setattr(rundir, "alive", lambda claim: False)  # as if this host had been cut off
    new = place.claim(run.spec)
    assert new is not None
    with pytest.raises(Lost):
        run.train(place, claim)
    assert not place.file("checkpoint.pt").exists()
    with pytest.raises(Lost):
        run.finish(place, claim)
    left = {p.name for p in place.path.iterdir()}
    assert not left & {"record.json", "weights.pt", "panel.webp", "per_image.npz", "checkpoint.pt"}
    new.release()


def test_a_resumed_run_counts_the_time_before(tmp_path: Path) -> None:
    stopped = trained(tiny_spec(), tmp_path, stop=4)
    resumed, _, claim = begun(tiny_spec(), tmp_path)
    assert resumed.step == 4 and resumed.seconds == stopped.seconds > 0
    claim.release()


def test_weights_that_blow_up_in_the_last_update_fail_the_run(tmp_path: Path) -> None:
    bad = tiny_spec(lr=1e38, clip=0.0, epochs=1 / 3, optimiser="sgd", loss_weights={"depth": 1e6})
    run, place, claim = begun(bad, tmp_path)
    assert run.feed.steps == 1
    with pytest.raises(Diverged, match=r"after the update is not finite at step 0 .* learning rate 1e\+38"):
        run.train(place, claim)
    claim.release()


@pytest.mark.parametrize("labels", ["given", "fraction:0.5"])
@pytest.mark.parametrize("method", ["single_task", "multi_task"])
def test_a_task_without_a_visible_training_label_is_refused(method: str, labels: str) -> None:
    spec = tiny_spec(method, labels=labels, only=("depth",) if method == "single_task" else ())
    train = tiny_split()
    without = replace(train, available=train.available & torch.tensor([True, False, True, True, True, True]))
    with pytest.raises(UserError, match="no image carries a label for depth"):
        Run(spec, without, tiny_split(4, 9), {n: TASKS[n] for n in THREE}, Options())


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every split too large for its device."""
    monkeypatch.setattr(batches, "_fits", lambda parts, device: False)


@pytest.mark.parametrize("asked", [[0, 1, 2, 3], [2, 0, 1, 1, 3, 0]])
def test_batches_are_a_function_of_their_number(asked: list[int], elsewhere: None) -> None:
    split = replace(tiny_split(), extents=torch.arange(24).view(12, 2))
    order = torch.tensor([3, 1, 0, 11, 5, 5, 2, 7, 8, 9, 10, 4, 6, 0, 1, 2])
    samples = Samples(split, {n: TASKS[n] for n in THREE}, order, 4, "cpu")
    for number in asked:
        batch, here = samples(number), order[4 * number : 4 * number + 4]
        assert torch.equal(batch.images, split.images[here]) and list(batch.targets) == list(THREE)
        assert all(torch.equal(batch.targets[n], split.targets[n][here]) for n in THREE)
        assert batch.extents is not None and split.extents is not None
        assert torch.equal(batch.extents, split.extents[here])


def test_a_run_from_either_ends_in_the_same_bits(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    spec = tiny_spec(epochs=2.0)
    resident, _, record = finished(spec, tmp_path / "resident")
    request.getfixturevalue("elsewhere")
    sent, _, same = finished(spec, tmp_path / "sent")
    assert (record["metrics"], record["curve"]) == (same["metrics"], same["curve"])
    assert_same(weights(resident), weights(sent))
