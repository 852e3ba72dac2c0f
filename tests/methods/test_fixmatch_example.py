"""The method that `bench new --example fixmatch` writes, against a loop over samples and pixels."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from benchmark.spec import registry
from methods.base import Batch, Method
from tests.methods.cases import ALL, batch, check_losses, problem
from tests.methods.pseudo_reference import both, slow_pseudo_loss, sure


@pytest.fixture
def made(fixmatch: str) -> Method:
    torch.manual_seed(3)
    method = registry.method(fixmatch)(problem(tuple(ALL)), weight=1.7, confidence=0.6, ramp_up=0.5).double()
    return sure(method)


def data(made: Method, labelled: str) -> Batch:
    """Of the strong view a square is erased, and it holds no label that could serve in place of a
    prediction.
    """
    plain = batch(made.problem, labelled, views=1)
    erased = torch.zeros(len(labelled), 1, 32, 64, dtype=torch.bool)
    erased[:, :, 4:20, 30:46] = True
    images = plain.views[0].images.masked_fill(erased, 0)
    return replace(plain, views=(replace(plain.views[0], images=images, targets={}, erased=erased),))


@pytest.mark.parametrize("progress", [0.2, 0.8])
def test_losses_equal_the_loop(made: Method, progress: float) -> None:
    given = data(made, "six")
    weak, strong = both(made, given)
    constant = {name: p.detach() for name, p in weak.items()}
    pseudo = slow_pseudo_loss(made.problem, constant, strong, given.views[0], given.labelled, 0.6, math.inf)
    found = made.losses(given, torch.tensor(progress, dtype=torch.float64))
    assert pseudo > 0
    expected = 1.7 * min(progress / 0.5, 1) * pseudo
    supervised = made.problem.task_losses(weak, given, given.labelled)
    check_losses(made, found, {"pseudo_labels": expected}, supervised)


def test_pseudo_labels_are_made_where_the_network_is_sure_and_for_regressions_everywhere(
    made: Method,
) -> None:
    weak, _ = both(made, data(made, "six"))
    shares = {
        name: float(task.valid(made.pseudo_label(task, weak[name])).double().mean())  # type: ignore[operator]
        for name, task in ALL.items()
    }
    assert shares["depth"] == shares["normals"] == 1
    assert all(0 < shares[name] < 1 for name in ("semseg", "parts", "edge", "saliency")), shares


def test_full_labels_leave_nothing_to_a_pseudo_label(made: Method) -> None:
    assert made.losses(data(made, [[1] * 6] * 2), torch.tensor(1.0)).extra["pseudo_labels"] == 0
