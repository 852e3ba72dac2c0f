"""The published steps that ours are timed against compute what ours compute: the same loss, and gradients."""

import pytest
import torch
from torch import nn

from methods.jtr import JTR
from methods.networks import mapper
from methods.networks.mapper import PairNorm
from tests.methods.cases import largest
from tests.performance import published_steps
from tests.performance.against_published import Pair, made_up, pair

SIZE, WIDTH = (32, 64), 4


def perturb(ours: nn.Module) -> None:
    """Scales and shifts of 1 and 0 would hide one that is missing, or a wrong pair."""
    for norm in ours.modules():
        if isinstance(norm, (PairNorm, nn.BatchNorm2d, nn.InstanceNorm2d)):
            for number, p in enumerate(norm.parameters()):
                nn.init.normal_(p, (number + 1) % 2, 0.3)


@pytest.fixture(params=["mtpsl", "jtr"])
def both(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Pair:
    monkeypatch.setattr(mapper, "gumbel_sample", largest)
    monkeypatch.setattr(published_steps, "hard_sample", largest)
    torch.use_deterministic_algorithms(False)  # which theirs, in its unpooling, is not
    ours, theirs = pair(request.param, SIZE, WIDTH, torch.float64, perturb)
    if isinstance(ours, JTR):  # its third view is apart, theirs part of the batch: no statistics of batches
        for network in (ours.encoder, theirs.network):
            network.eval()
    return ours, theirs


def test_both_have_the_same_loss_and_the_same_gradient_of_the_network(both: Pair) -> None:
    ours, theirs = both
    data = made_up(ours.problem, 3, ours.views)
    found, expected = ours.losses(data, torch.tensor(0.0)).total(), theirs.loss(data)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)
    weight, of_theirs = ours.encoder.trunk.levels[0][0].weight, theirs.network.segnet.down[0][0].weight
    gradients = [torch.autograd.grad(loss, w)[0] for loss, w in ((found, weight), (expected, of_theirs))]
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-9)


def test_a_published_step_changes_every_weight(both: Pair) -> None:
    ours, theirs = both
    modules = [m for m in vars(theirs).values() if isinstance(m, torch.nn.Module)]
    before = [p.detach().clone() for m in modules for p in m.parameters()]
    theirs.step(made_up(ours.problem, 3, ours.views))
    after = [p for m in modules for p in m.parameters()]
    assert len(after) > 100 and not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))
