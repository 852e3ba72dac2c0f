"""Cross-task maps of predictions against a loop over samples and pairs, with BatchNorm over batches of
one.
"""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.base import Batch
from methods.direct_map import DirectMap
from methods.networks.cross_task import CrossTask
from methods.networks.mapper import PairNorm
from tests.methods.cases import (
    ALL,
    MIXED,
    NONE_OR_ALL,
    ONE,
    SIX,
    THREE,
    batch,
    batch_norm,
    check_losses,
    constant,
    problem,
    reached,
    sample_loss,
    slow_input,
)


def random_affine(network: CrossTask) -> None:
    """Ones and zeros in the normalisation would hide a wrong source."""
    for module in network.modules():
        if isinstance(module, PairNorm | nn.InstanceNorm2d):
            for name, parameter in module.named_parameters():
                nn.init.normal_(parameter, 0.0 if name in ("bias", "beta") else 1.0, 0.3)


def method(names: tuple[str, ...] = THREE, **keywords: object) -> DirectMap:
    torch.manual_seed(3)
    made = DirectMap(problem(names), mapper_width=2, **keywords).double()
    random_affine(made.mapper)
    return made


def slow_maps(network: CrossTask, tasks: list[str], s: str, x: Tensor) -> dict[str, Tensor]:
    """{t: (C_t, h, w)} of one input (C_s, h, w): five levels less one for each halving of the input, then the
    last layers.
    """
    number = tasks.index(s)

    def level(module: nn.Module, x: Tensor) -> Tensor:
        for conv, norm in zip(module.convs, module.norms, strict=True):
            x = batch_norm(norm.weight, norm.bias, F.conv2d(x, conv.weight, conv.bias, padding=1))
            x = (x * norm.gamma[number].view(1, -1, 1, 1) + norm.beta[number].view(1, -1, 1, 1)).clamp_min(0)
        return x

    conv, norm = network.first[s][:2]
    first = batch_norm(norm.weight, norm.bias, conv(x[None])).clamp_min(0)
    reached = [level(network.down[0], first)]
    for module in list(network.down)[1:]:
        reached.append(level(module, F.max_pool2d(reached[-1], 2, ceil_mode=True)))
    x = reached[-1]
    for depth, module in zip(reversed(range(len(reached) - 1)), network.up, strict=True):
        height, width = reached[depth].shape[2:]
        larger = x.repeat_interleave(2, 2).repeat_interleave(2, 3)[..., :height, :width]
        x = level(module, torch.cat([larger, reached[depth]], 1))
    out, found, place = network.last[s](x)[0], {}, 0
    for t in tasks:
        if t != s:
            found[t] = out[place : place + ALL[t].channels]
            place += ALL[t].channels
    assert place == len(out)
    return found


def slow_direct(
    made: DirectMap, network: CrossTask, predictions: dict[str, Tensor], data: Batch, of_labels: bool
) -> Tensor:
    """Unlabelled s predicted to labelled t; of_labels: labelled s to labelled t."""
    names, total, stride = list(made.problem.tasks), torch.zeros((), dtype=torch.float64), made.stride
    for b, s, t in itertools.product(range(len(data.labelled)), names, names):
        source_labelled, target_labelled = (bool(data.labelled[b, names.index(n)]) for n in (s, t))
        if s == t or source_labelled != of_labels or not target_labelled:
            continue
        source = (data.targets if of_labels else predictions)[s][b][:, ::stride, ::stride]
        map_ = slow_maps(network, names, s, slow_input(ALL[s], source, of_labels))[t]
        weight = made.problem.loss_weights.get(t, 1.0)
        total = total + weight * sample_loss(ALL[t], map_, data.targets[t][b][:, ::stride, ::stride])
    return total / len(data.labelled)


def check(made: DirectMap, data: Batch) -> None:
    predictions = made.predict(data.images)
    found = made.losses(data, torch.tensor(0.5))
    network = constant(made.mapper) if made.learns_from == "labels" else made.mapper
    expected = {"direct": made.map_weight * slow_direct(made, network, predictions, data, of_labels=False)}
    if made.learns_from == "labels":
        expected["mapping"] = slow_direct(made, made.mapper, predictions, data, of_labels=True)
    check_losses(made, found, expected, made.problem.task_losses(predictions, data, data.labelled))


@pytest.mark.usefixtures("no_noise")
@pytest.mark.parametrize(
    ("labelled", "stride", "learns_from"),
    [(ONE, 1, "predictions"), (MIXED, 2, "labels"), (MIXED, 8, "predictions"), (ONE, 4, "labels"),
     (NONE_OR_ALL, 4, "labels"), (SIX, 4, "predictions"), (SIX, 4, "labels")],
)  # fmt: skip
def test_losses_equal_the_loop(labelled: list[list[int]], stride: int, learns_from: str) -> None:
    """And their gradients: maps that learn from labels are constants of the predictions' loss."""
    made = method(
        tuple(ALL)[: len(labelled[0])], mapper_learns_from=learns_from, map_weight=1.5, mapper_stride=stride
    )
    check(made, batch(made.problem, labelled))


@pytest.mark.usefixtures("no_noise")
def test_labels_without_a_valid_pixel_and_full_labels_give_exactly_nothing() -> None:
    made = method()
    check(made, batch(made.problem, ONE, empty=((0, "semseg"), (1, "depth"))))
    for data in (
        batch(made.problem, ONE, empty=((0, "semseg"), (1, "depth"), (2, "normals"))),
        batch(made.problem, [[0, 0, 0], [1, 1, 1]]),
    ):
        made.zero_grad()
        extra = made.losses(data, torch.tensor(0.0)).extra["direct"]
        extra.backward()
        assert extra == 0 and not reached(made)


@pytest.mark.parametrize(("size", "stride"), [((32, 64), 1), ((50, 70), 2), ((97, 33), 8)])
def test_maps_have_the_channels_and_the_grid_of_what_they_are_compared_with(
    size: tuple[int, int], stride: int
) -> None:
    made = DirectMap(problem(size=size), mapper_width=1, mapper_stride=stride)
    inputs = {
        n: torch.zeros(2, t.channels, *size)[..., ::stride, ::stride] for n, t in made.problem.tasks.items()
    }
    maps = made.mapper(inputs)
    assert set(maps) == set(itertools.permutations(made.problem.tasks, 2))
    for (s, t), found in maps.items():
        assert found.shape == (2, ALL[t].channels, *inputs[s].shape[2:])
    assert len(made.mapper.down) == {1: 5, 2: 4, 8: 2}[stride]
