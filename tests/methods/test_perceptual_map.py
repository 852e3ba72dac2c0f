"""The perceptual loss of cross-task maps against a loop over samples and pairs."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from datasets.tasks import Task
from methods.base import Batch
from methods.perceptual_map import PerceptualMap
from tests.methods.cases import (
    ALL,
    MIXED,
    NONE_OR_ALL,
    ONE,
    SIX,
    THREE,
    batch,
    check_losses,
    constant,
    problem,
    reached,
    sample_loss,
    slow_input,
)
from tests.methods.test_direct_map import random_affine, slow_maps


def method(names: tuple[str, ...] = THREE, **keywords: object) -> PerceptualMap:
    torch.manual_seed(3)
    made = PerceptualMap(problem(names), mapper_width=2, **keywords).double()
    random_affine(made.mapper)
    return made


def known(task: Task, target: Tensor) -> Tensor:
    """(H, W) bool: the pixels of a target (C', H, W) that carry a label."""
    return target[0] != 255 if task.is_map_of_integers else (target != 0).any(0)


def values(task: Task, map_: Tensor) -> Tensor:
    """What is compared of a map (C, H, W)."""
    if task.kind == "classes":
        return map_.exp() / map_.exp().sum(0)
    if task.kind in ("edge", "saliency"):
        return 1 / (1 + (-map_).exp())
    return map_ if task.kind == "depth" else map_ / map_.norm(dim=0)


def predicted_input(task: Task, prediction: Tensor, target: Tensor | None) -> Tensor:
    """The network's input for a prediction; where its label is unknown, what the label's input holds
    there.
    """
    if target is None:
        return slow_input(task, prediction, False)
    pixels = known(task, target)
    of_prediction = slow_input(task, torch.where(pixels, prediction, 0), False)
    return torch.where(pixels, of_prediction, slow_input(task, target, True))


def slow_terms(made: PerceptualMap, predictions: dict[str, Tensor], data: Batch) -> dict[str, Tensor]:
    names, stride, fixed = list(made.problem.tasks), made.stride, constant(made.mapper)
    perceptual = mapping = torch.zeros((), dtype=torch.float64)
    for b, s in itertools.product(range(len(data.labelled)), names):
        has_label = bool(data.labelled[b, names.index(s)])
        target = data.targets[s][b][:, ::stride, ::stride]
        map_ = predictions[s][b][:, ::stride, ::stride]
        of_prediction = predicted_input(ALL[s], map_, target if has_label else None)
        mapped = slow_maps(fixed, names, s, of_prediction)
        learnt = slow_input(ALL[s], target, True) if has_label else of_prediction.detach()
        reference = slow_maps(made.mapper, names, s, learnt)
        for t in names:
            if t == s:
                continue
            weight = made.problem.loss_weights.get(t, 1.0)
            wanted = data.targets[t][b][:, ::stride, ::stride]
            if data.labelled[b, names.index(t)]:
                mapping = mapping + weight * sample_loss(ALL[t], reference[t], wanted)
                if not has_label and made.unlabelled_sources:
                    perceptual = perceptual + weight * sample_loss(ALL[t], mapped[t], wanted)
            if has_label and (pixels := known(ALL[s], target)).any():
                apart = (values(ALL[t], mapped[t]) - values(ALL[t], reference[t].detach())).abs().sum(0)
                perceptual = perceptual + weight * apart[pixels].mean()
    return {
        "perceptual": made.map_weight * perceptual / len(data.labelled),
        "mapping": mapping / len(data.labelled),
    }


def check(made: PerceptualMap, data: Batch) -> None:
    predictions = made.predict(data.images)
    found = made.losses(data, torch.tensor(0.5))
    supervised = made.problem.task_losses(predictions, data, data.labelled)
    check_losses(made, found, slow_terms(made, predictions, data), supervised)


@pytest.mark.usefixtures("no_noise")
@pytest.mark.parametrize(
    ("labelled", "stride", "unlabelled"),
    [
        (ONE, 2, True),
        (ONE, 2, False),
        (MIXED, 1, True),
        (MIXED, 4, False),
        (NONE_OR_ALL, 2, True),
        (SIX, 4, True),
    ],
)
def test_losses_equal_the_loop(labelled: list[list[int]], stride: int, unlabelled: bool) -> None:
    made = method(
        tuple(ALL)[: len(labelled[0])], mapper_stride=stride, unlabelled_sources=unlabelled, map_weight=1.5
    )
    check(made, batch(made.problem, labelled))


@pytest.mark.usefixtures("no_noise")
def test_labels_without_a_valid_pixel_give_exactly_nothing() -> None:
    made = method(mapper_stride=2)
    check(made, batch(made.problem, ONE, empty=((0, "semseg"), (1, "depth"))))
    made.zero_grad()
    nothing = batch(made.problem, ONE, empty=((0, "semseg"), (1, "depth"), (2, "normals")))
    extra = made.losses(nothing, torch.tensor(0.0)).extra
    sum(extra.values()).backward()
    assert extra["perceptual"] == 0 and extra["mapping"] == 0 and not reached(made)


@pytest.mark.usefixtures("no_noise")
def test_a_prediction_that_is_its_label_is_at_no_distance() -> None:
    made = method(tuple(ALL), mapper_stride=2)
    data = batch(made.problem, [[1] * 6] * 2)
    perfect = {}
    for name, task in ALL.items():
        target = data.targets[name]
        sure = 90.0 * ((target == 1) * 2.0 - 1) if task.is_map_of_integers else target + 5.0 * (target == 0)
        if task.kind == "classes":
            sure = 90.0 * (target == torch.arange(task.channels).view(1, -1, 1, 1))
        perfect[name] = sure.double()
    extra = made.mapped(perfect, data.targets, data.labelled)
    assert float(extra["perceptual"].detach()) == pytest.approx(0, abs=1e-9)
    assert float(extra["mapping"].detach()) > 0.1
