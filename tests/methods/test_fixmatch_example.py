"""The method that `bench new --example fixmatch` writes, against a loop over samples and pixels."""

import math
from dataclasses import replace

import pytest
import torch

from benchmark.spec import registry
from methods.base import Batch, Method
from tests.methods.cases import ALL, Labelled, batch, check_losses, problem
from tests.methods.pseudo_reference import both, slow_pseudo_loss, sure


@pytest.fixture
def made(fixmatch: str) -> Method:
    torch.manual_seed(3)
    method = registry.method(fixmatch)(problem(tuple(ALL)), weight=1.7, confidence=0.6, ramp_up=0.5).double()
    return sure(method)


def data(made: Method, labelled: Labelled) -> Batch:
    """Of the strong view a square is erased, and it holds no label to serve in place of a prediction."""
    plain = batch(made.problem, labelled, views=1)
    erased = torch.zeros(3, 1, 32, 64, dtype=torch.bool)
    erased[:, :, 4:20, 30:46] = True
    images = plain.views[0].images.masked_fill(erased, 0)
    return replace(plain, views=(replace(plain.views[0], images=images, targets={}, erased=erased),))


@pytest.mark.parametrize(("labelled", "progress"), [("six", 0.2), ("six", 0.8), ([[1] * 6] * 3, 0.8)])
def test_losses_equal_the_loop(made: Method, labelled: Labelled, progress: float) -> None:
    given = data(made, labelled)
    weak, strong = both(made, given)
    constant = {name: p.detach() for name, p in weak.items()}
    pseudo = slow_pseudo_loss(made.problem, constant, strong, given.views[0], given.labelled, 0.6, math.inf)
    found = made.losses(given, torch.tensor(progress, dtype=torch.float64))
    assert (pseudo > 0) != bool(given.labelled.all())
    expected = 1.7 * min(progress / 0.5, 1) * pseudo
    supervised = made.problem.task_losses(weak, given, given.labelled)
    check_losses(made, found, {"pseudo_labels": expected}, supervised)
    for name, task in ALL.items():
        share = float(task.valid(made.pseudo_label(task, weak[name])).double().mean())  # type: ignore[operator]
        assert share == 1 if task.kind in ("depth", "normals") else 0 < share < 1, name
