"""PAD-Net's distillation against a loop over samples and pairs of tasks."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from methods.base import Batch
from methods.networks.distillation import Distillation
from methods.pad_net import PADNet
from tests.methods.cases import THREE, batch, check_losses, names, problem, supervised


def method(names: tuple[str, ...] = THREE, weight: float = 1.0) -> PADNet:
    torch.manual_seed(3)
    return PADNet(problem(names), preliminary_weight=weight).double()


def slow_distillation(network: Distillation, features: list[Tensor]) -> list[Tensor]:
    """(C, h, w) a task, of one sample: F_k + sum over l != k of sigmoid(A_kl * F_l) (W_kl * F_l)."""
    found = []
    for k, own in enumerate(features):
        total = own
        for sender, other in enumerate(features):
            if sender == k:
                continue
            c = len(own)
            place = k if k < sender else k - 1  # of the receiver among the sender's others
            rows = slice(place * c, (place + 1) * c)
            attend, send = network.attend[sender], network.send[sender]
            gate = 1 / (1 + torch.exp(-F.conv2d(other, attend.weight[rows], attend.bias[rows], padding=1)))
            total = total + gate * F.conv2d(other, send.weight[rows], padding=1)
        found.append(total)
    return found


def check(made: PADNet, data: Batch) -> None:
    features = made.features(data.images)
    samples = [slow_distillation(made.distillation, [*sample]) for sample in zip(*features, strict=True)]
    refined = [torch.stack([sample[k] for sample in samples]) for k in range(len(features))]
    names = list(made.problem.tasks)
    final = {name: made.heads[name](f) for name, f in zip(names, refined, strict=True)}
    before = {name: made.preliminary_heads[name](f) for name, f in zip(names, features, strict=True)}
    preliminary = made.preliminary_weight * sum(supervised(made.problem, before, data).values())
    found = made.losses(data, torch.tensor(0.5))
    check_losses(made, found, {"preliminary": preliminary}, supervised(made.problem, final, data))


@pytest.mark.parametrize("labelled", ["one", "mixed", "full", "nothing", "six"])
def test_losses_equal_the_loop(labelled: str) -> None:
    """And their gradients: of one task's labels none reaches another's head."""
    made = method(names(labelled), weight=0.7)
    check(made, batch(made.problem, labelled))
