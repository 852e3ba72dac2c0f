"""Consistency of two views against a loop over samples and pixels, and where its gradient goes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from methods.base import Batch
from methods.consistency import Consistency
from tests.methods.cases import ALL, FULL, MIXED, NOTHING, ONE, SIX, THREE, problem
from tests.methods.pseudo_reference import KEYWORDS, check_pseudo, cropped


def method(names: tuple[str, ...] = THREE, **keywords: float) -> Consistency:
    torch.manual_seed(3)
    made = Consistency(problem(names), **KEYWORDS | keywords).double()
    for name, head in made.heads.items():
        head.conv.weight.data *= 20 if made.problem.tasks[name].is_map_of_integers else 1
    return made


def data(made: Consistency, labelled: list[list[int]]) -> Batch:
    return cropped(made.problem, labelled)


def check(made: Consistency, given: Batch, progress: float) -> None:
    b = len(given.images)
    shared = made.encoder(torch.cat([given.images, given.views[0].images]))
    predictions = {name: made.heads[name](made.decoders[name](shared)) for name in made.problem.tasks}
    first, second = (
        {name: p[part] for name, p in predictions.items()} for part in (slice(b), slice(b, None))
    )
    found = made.losses(given, torch.tensor(progress, dtype=torch.float64))
    check_pseudo(found, made, given, progress, first, second, source=first)


@pytest.mark.parametrize(("labelled", "progress"), [(ONE, 0.0), (MIXED, 0.3), (FULL, 0.8), (NOTHING, 0.8)])
def test_losses_equal_the_loop(labelled: list[list[int]], progress: float) -> None:
    made = method()
    check(made, data(made, labelled), progress)


def test_losses_equal_the_loop_for_every_kind_of_task() -> None:
    made = method(tuple(ALL))
    given = data(made, SIX)
    shares = {name: float(d.array) for name, d in made.diagnostics(given).items()}
    assert len(shares) == 6 and all(0 < share < 1 for share in shares.values()), shares
    check(made, given, 0.8)


def gradients(made: Consistency, loss: Tensor) -> dict[str, bool]:
    """{parameter: whether its gradient is not zero}."""
    made.zero_grad()
    loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    assert all(p.grad is None or p.grad.isfinite().all() for p in made.parameters())
    return {name: p.grad is not None and bool((p.grad != 0).any()) for name, p in made.named_parameters()}


def test_gradients_reach_what_they_should() -> None:
    made = method()
    losses = made.losses(data(made, [[1, 0, 0]] * 3), torch.tensor(1.0))
    supervised = gradients(made, torch.stack(list(losses.tasks.values())).sum())
    extra = gradients(made, losses.extra["consistency"])
    for name in supervised:
        task = next((t for t in THREE if f"s.{t}." in name), None)
        assert supervised[name] == (task in (None, "semseg")), name
        if task == "semseg":
            assert not extra[name], "a labelled task learns nothing from a pseudo-label"
        else:
            assert extra[name], name


def test_the_first_views_prediction_is_a_constant() -> None:
    """The gradient is that of the second view's prediction alone: in evaluation mode the views do not meet in
    BatchNorm.
    """
    made = method().eval()
    given = data(made, NOTHING)
    images = given.images.clone().requires_grad_()
    other = given.views[0].images.clone().requires_grad_()
    seen = replace(given, images=images, views=(replace(given.views[0], images=other),))
    made.losses(seen, torch.tensor(1.0)).extra["consistency"].backward()
    assert (images.grad == 0).all() and (other.grad != 0).any()
