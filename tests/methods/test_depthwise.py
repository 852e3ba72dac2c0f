"""The faster weight gradient of depthwise convolutions: torch's own numbers, only where it is meant to be."""

import copy

import pytest
import torch
from torch import nn

from methods.networks.depthwise import Depthwise, quicken


@pytest.mark.parametrize(("kernel", "padding", "size"), [(5, 2, (9, 7)), (5, 0, (5, 8)), (7, 3, (3, 4))])
def test_outputs_and_gradients_are_torchs(kernel: int, padding: int, size: tuple[int, int]) -> None:
    plain = nn.Sequential(nn.Conv2d(6, 6, kernel, padding=padding, groups=6, bias=False)).double()
    quick = copy.deepcopy(plain)
    quicken(quick)
    assert type(quick[0]) is Depthwise and list(quick.state_dict()) == list(plain.state_dict())
    found = []
    for network in (plain, quick):
        torch.manual_seed(1)
        x = torch.randn(3, 6, *size, dtype=torch.float64, requires_grad=True)
        y = network(x)
        weights = torch.randn_like(y)
        found.append((y, *torch.autograd.grad((y * weights).sum(), (x, network[0].weight))))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_several_gradients_at_once_are_those_one_by_one() -> None:
    """As gradient aggregation asks for them."""
    network = nn.Sequential(nn.Conv2d(4, 4, 5, padding=2, groups=4, bias=False)).double()
    quicken(network)
    y = network(torch.randn(2, 4, 6, 5, dtype=torch.float64)).flatten()
    weight = network[0].weight
    rows = torch.eye(len(y), dtype=y.dtype)[:4]
    (batched,) = torch.autograd.grad(y, weight, rows, is_grads_batched=True, retain_graph=True)
    for i in range(4):
        torch.testing.assert_close(batched[i], torch.autograd.grad(y[i], weight, retain_graph=True)[0])


def test_other_convolutions_stay() -> None:
    others = nn.Sequential(
        nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False),  # whose own gradient is fast
        nn.Conv2d(4, 4, 5, padding=2, groups=4),  # a bias
        nn.Conv2d(4, 8, 5, padding=2, groups=4, bias=False),
        nn.Conv2d(4, 4, 5, padding=2, groups=4, stride=2, bias=False),
        nn.Conv2d(4, 4, 5, padding=2, bias=False),
    )
    quicken(others)
    assert all(type(module) is nn.Conv2d for module in others)


def test_activations_out_of_place_give_the_same_bits() -> None:
    def layers() -> nn.Sequential:
        torch.manual_seed(0)
        found: list[nn.Module] = []
        for activation in (nn.ReLU6, nn.SiLU, nn.Hardswish, nn.ReLU):
            found += [nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), activation(inplace=True)]
        return nn.Sequential(*found)

    plain, quick = layers(), layers()
    quicken(quick)
    assert [m.inplace for m in quick if hasattr(m, "inplace")] == [False, False, False, True]
    x, found = torch.randn(2, 4, 8, 8), []
    for network in (plain, quick):
        y = network(x)
        y.square().sum().backward()
        found.append((y, *(p.grad for p in network.parameters())))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
