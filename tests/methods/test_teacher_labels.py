"""Supervision by a teacher's maps against a slow reference, and where labels are visible."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from methods.teacher_labels import TeacherLabels
from tests.helpers import assert_same, run_of, specs, tiny_split, trained, weights
from tests.methods.cases import LABELS, batch, check_losses, names, problem, sample_loss, supervised


@pytest.mark.parametrize("labelled", ["six", "none or all", "full"])
def test_losses_and_gradients_are_those_of_the_slow_reference(labelled: str) -> None:
    case = problem(names(labelled))
    made, data = TeacherLabels(case, weight=0.3).double(), batch(case, labelled)
    del data.teacher["depth"]  # a task without a teacher
    predictions, total = made.predict(data.images), torch.zeros((), dtype=torch.float64)
    for name, maps in data.teacher.items():
        for b, row in enumerate(LABELS[labelled]):
            if not row[list(case.tasks).index(name)]:
                own = 0.3 * case.loss_weights.get(name, 1.0) / len(data.images)
                total = total + own * sample_loss(case.tasks[name], predictions[name][b], maps[b])
    found = made.losses(data, torch.tensor(0.5))
    check_losses(made, found, {"teacher": total}, supervised(case, predictions, data))
    assert (total > 0) != bool(data.labelled.all())
    assert not made.losses(replace(data, teacher={}), torch.tensor(0.5)).extra


def test_a_teacher_s_map_where_a_label_is_visible_changes_no_bit(tmp_path: Path) -> None:
    spec, train = specs("teacher_labels", labels="random")[0], tiny_split()
    mask = run_of(spec, train).mask
    names = spec.protocol.tasks

    def garbage(shown: torch.Tensor) -> dict[str, torch.Tensor]:
        found = {}
        for t, name in enumerate(names):
            maps = train.teacher[name]
            bad = torch.full_like(maps, float("nan") if maps.is_floating_point() else 77)
            found[name] = torch.where(shown[:, t].view(-1, 1, 1, 1), bad, maps)
        return found

    clean = trained(spec, tmp_path / "clean", train)
    dirty = trained(spec, tmp_path / "dirty", replace(train, teacher=garbage(mask)))
    assert_same(weights(clean), weights(dirty))
    assert clean.curve == dirty.curve
    other = replace(train, teacher=train.targets | {"depth": train.teacher["depth"] + 1})
    assert clean.curve != trained(spec, tmp_path / "other", other).curve


def test_only_a_method_that_asks_is_given_a_teacher() -> None:
    train = tiny_split()
    asks, plain = (run_of(specs(name)[0], train).feed for name in ("teacher_labels", "consistency"))
    assert set(asks.batch(0).teacher) == {"semseg", "depth", "normals"}
    assert not hasattr(plain.batch(0), "teacher")
    assert not run_of(specs("teacher_labels")[0], replace(train, teacher={})).feed.batch(0).teacher
    for view in (asks.batch(0), plain.batch(0), *plain.batch(0).views):
        assert list(view.targets) == ["semseg", "depth", "normals"]
    # Augmented as labels are: crops, flips, depth by the zoom, normals mirrored.
    same = replace(train, teacher=train.targets)
    full = replace(specs("teacher_labels")[0], labels="full")
    for step in range(3):
        found = run_of(full, same).feed.batch(step)
        for name, target in found.targets.items():
            assert torch.equal(found.teacher[name], target)
