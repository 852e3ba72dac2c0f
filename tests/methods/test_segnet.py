"""SegNet: the published size and cost, and unpooling against a loop.

It computes what MTAN's network does with torch's own unpooling: `performance.test_published_steps`.
"""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmark.spec import protocol
from benchmark.training.build import initialise
from methods.base import Problem
from methods.multi_task import MultiTask
from methods.networks.build import make_encoder
from methods.networks.segnet import Conv, unpool
from tests.performance.against_published import TASKS


def published() -> MultiTask:
    made = protocol.load("nyuv2-13-segnet")
    encoder = lambda: make_encoder(made.encoder, made.width, made.weights)  # noqa: E731
    return MultiTask(Problem(TASKS, made.size, made.width, made.decoder_blocks, encoder, made.loss_weights))


def test_the_published_network_has_as_many_parameters_and_operations() -> None:
    with torch.device("meta"):
        made, image = published(), torch.empty(1, 3, 288, 384)
    # JTR's count; MTPSL's 25,055,188 has three numbers more, one a task, that are no part of the network.
    assert sum(p.numel() for p in made.parameters()) == 25_055_185
    with FlopCounterMode(display=False) as counter:
        predictions = made.predict(image)
    assert round(counter.get_total_flops() / 1e9, 1) == 137.2
    assert {name: tuple(p.shape) for name, p in predictions.items()} == {
        "semseg": (1, 13, 288, 384), "depth": (1, 1, 288, 384), "normals": (1, 3, 288, 384)
    }  # fmt: skip


def slow_unpool(x: Tensor, before: Tensor) -> Tensor:
    """Window by window: the pooled value to the first of the window's maxima in reading order."""
    (height, width), values, places = before.shape[2:], before.flatten().tolist(), []
    for plane, y, z in itertools.product(range(len(x) * x.shape[1]), *map(range, x.shape[2:])):
        window = itertools.product((2 * y, 2 * y + 1), (2 * z, 2 * z + 1))
        inside = [(plane * height + i) * width + j for i, j in window if i < height and j < width]
        places.append(max(inside, key=values.__getitem__))
    empty = torch.zeros(before.numel(), dtype=x.dtype)
    return empty.index_copy(0, torch.tensor(places), x.flatten()).view(before.shape)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(4, 6), (5, 7), (1, 3)])
def test_unpooling_and_gradients_equal_the_loop(size: tuple[int, int], layout: torch.memory_format) -> None:
    before = torch.randn(2, 3, *size, dtype=torch.float64).relu()  # zeros tie
    before = before.contiguous(memory_format=layout)
    half = (math.ceil(size[0] / 2), math.ceil(size[1] / 2))
    x = torch.randn(2, 3, *half, dtype=torch.float64, requires_grad=True)
    found = unpool(x, before)
    assert torch.equal(found.detach(), slow_unpool(x.detach(), before))
    assert found.is_contiguous(memory_format=layout)
    weights = torch.randn_like(before)
    (found * weights).sum().backward()
    of_each = F.pad(slow_unpool(torch.ones_like(x), before) * weights, (0, size[1] % 2, 0, size[0] % 2))
    assert torch.equal(x.grad, of_each.unfold(2, 2, 2).unfold(3, 2, 2).sum((4, 5)))


def test_its_convolutions_are_drawn_by_xavier_also_when_the_harness_draws_them() -> None:
    made = published()
    for redrawn in (False, True):
        if redrawn:
            before = made.encoder.fusion.levels[0][0].weight.clone()
            initialise(made, 3)
            assert not torch.equal(before, made.encoder.fusion.levels[0][0].weight)
        convs = [m for m in made.encoder.modules() if isinstance(m, nn.Conv2d)]
        assert len(convs) == 26 and all(isinstance(c, Conv) for c in convs)
        for conv in convs:
            expected = math.sqrt(2 / (9 * (conv.in_channels + conv.out_channels)))
            assert float(conv.weight.detach().std()) == pytest.approx(expected, rel=0.06)
            assert conv.bias is not None and (conv.bias == 0).all()
