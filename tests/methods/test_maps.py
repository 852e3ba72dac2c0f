"""Direct and perceptual maps against loops over samples and pairs, with BatchNorm over batches of one."""

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datasets.tasks import Task
from methods.base import Batch
from methods.direct_map import DirectMap
from methods.networks.cross_task import CrossTask
from methods.networks.mapper import PairNorm
from methods.perceptual_map import PerceptualMap
from tests.methods import cases
from tests.methods.cases import ALL, THREE, batch, check_losses, problem, sample_loss, slow_input

pytestmark = pytest.mark.usefixtures("no_noise")
Maps = dict[str, Tensor]


def method(kind: type, tasks: tuple[str, ...] = THREE, **keywords: object) -> Any:
    """Ones and zeros in the normalisation would hide a wrong source."""
    torch.manual_seed(3)
    made = kind(problem(tasks), mapper_width=2, **keywords).double()
    for module in made.mapper.modules():
        if isinstance(module, PairNorm | nn.InstanceNorm2d):
            for name, parameter in module.named_parameters():
                nn.init.normal_(parameter, 0.0 if name in ("bias", "beta") else 1.0, 0.3)
    return made


def slow_maps(network: CrossTask, tasks: list[str], s: str, x: Tensor) -> Maps:
    """{t: (C_t, h, w)} of one input (C_s, h, w): five levels less one for each halving of the input, then the
    last layers.
    """
    number = tasks.index(s)

    def level(module: nn.Module, x: Tensor) -> Tensor:
        for conv, norm in zip(module.convs, module.norms, strict=True):
            x = cases.batch_norm(norm.weight, norm.bias, F.conv2d(x, conv.weight, conv.bias, padding=1))
            x = (x * norm.gamma[number].view(1, -1, 1, 1) + norm.beta[number].view(1, -1, 1, 1)).clamp_min(0)
        return x

    conv, norm = network.first[s][:2]
    first = cases.batch_norm(norm.weight, norm.bias, conv(x[None])).clamp_min(0)
    reached = [level(network.down[0], first)]
    for module in list(network.down)[1:]:
        reached.append(level(module, F.max_pool2d(reached[-1], 2, ceil_mode=True)))
    x = reached[-1]
    for depth, module in zip(reversed(range(len(reached) - 1)), network.up, strict=True):
        height, width = reached[depth].shape[2:]
        larger = x.repeat_interleave(2, 2).repeat_interleave(2, 3)[..., :height, :width]
        x = level(module, torch.cat([larger, reached[depth]], 1))
    out, others = network.last[s](x)[0], [t for t in tasks if t != s]
    return dict(zip(others, out.split([ALL[t].channels for t in others]), strict=True))


def slow_direct(made: DirectMap, network: CrossTask, guesses: Maps, data: Batch, of_labels: bool) -> Tensor:
    """Unlabelled s predicted to labelled t; of_labels: labelled s to labelled t."""
    names, total, stride = list(made.problem.tasks), torch.zeros((), dtype=torch.float64), made.stride
    for b, s, t in itertools.product(range(len(data.labelled)), names, names):
        source_labelled, target_labelled = (bool(data.labelled[b, names.index(n)]) for n in (s, t))
        if s == t or source_labelled != of_labels or not target_labelled:
            continue
        source = (data.targets if of_labels else guesses)[s][b][:, ::stride, ::stride]
        map_ = slow_maps(network, names, s, slow_input(ALL[s], source, of_labels))[t]
        weight = made.problem.loss_weights.get(t, 1.0)
        total = total + weight * sample_loss(ALL[t], map_, data.targets[t][b][:, ::stride, ::stride])
    return total / len(data.labelled)


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
    """Of a prediction; where its label is unknown, what the label's input holds there."""
    if target is None:
        return slow_input(task, prediction, False)
    pixels = known(task, target)
    of_prediction = slow_input(task, torch.where(pixels, prediction, 0), False)
    return torch.where(pixels, of_prediction, slow_input(task, target, True))


def slow_perceptual(made: PerceptualMap, predictions: Maps, data: Batch) -> Maps:
    names, stride, fixed = list(made.problem.tasks), made.stride, cases.constant(made.mapper)
    perceptual = mapping = torch.zeros((), dtype=torch.float64)
    for b, s in itertools.product(range(len(data.labelled)), names):
        has_label = bool(data.labelled[b, names.index(s)])
        target = data.targets[s][b][:, ::stride, ::stride]
        map_ = predictions[s][b][:, ::stride, ::stride]
        of_prediction = predicted_input(ALL[s], map_, target if has_label else None)
        mapped = slow_maps(fixed, names, s, of_prediction)
        learnt = slow_input(ALL[s], target, True) if has_label else of_prediction.detach()
        reference = slow_maps(made.mapper, names, s, learnt)
        for t in reference:
            weight = made.problem.loss_weights.get(t, 1.0)
            wanted = data.targets[t][b][:, ::stride, ::stride]
            if data.labelled[b, names.index(t)]:
                mapping = mapping + weight * sample_loss(ALL[t], reference[t], wanted)
                if not has_label and made.unlabelled_sources:
                    perceptual = perceptual + weight * sample_loss(ALL[t], mapped[t], wanted)
            if has_label and (pixels := known(ALL[s], target)).any():
                apart = (values(ALL[t], mapped[t]) - values(ALL[t], reference[t].detach())).abs().sum(0)
                perceptual = perceptual + weight * apart[pixels].mean()
    count = len(data.labelled)
    return {"perceptual": made.map_weight * perceptual / count, "mapping": mapping / count}


def check(made: Any, data: Batch) -> None:
    """Losses and their gradients: maps that learn from labels are constants of the predictions' loss."""
    predictions = made.predict(data.images)
    found = made.losses(data, torch.tensor(0.5))
    if isinstance(made, PerceptualMap):
        expected = slow_perceptual(made, predictions, data)
    else:
        network = cases.constant(made.mapper) if made.learns_from == "labels" else made.mapper
        expected = {"direct": made.map_weight * slow_direct(made, network, predictions, data, False)}
        if made.learns_from == "labels":
            expected["mapping"] = slow_direct(made, made.mapper, predictions, data, True)
    check_losses(made, found, expected, made.problem.task_losses(predictions, data, data.labelled))


@pytest.mark.parametrize(
    ("labelled", "stride", "given"),
    [
        *((*each, {"mapper_learns_from": "predictions"}) for each in (("one", 1), ("mixed", 8), ("six", 4))),
        *((*each, {"mapper_learns_from": "labels"})
          for each in (("mixed", 2), ("one", 4), ("none or all", 4), ("six", 4))),
        *((*each, {"unlabelled_sources": True})
          for each in (("one", 2), ("mixed", 1), ("none or all", 2), ("six", 4))),
        *((*each, {"unlabelled_sources": False}) for each in (("one", 2), ("mixed", 4))),
        ("empty", 2, {"mapper_learns_from": "predictions"}), ("empty", 2, {"unlabelled_sources": True}),
    ],
)  # fmt: skip
def test_losses_equal_the_loop(labelled: str, stride: int, given: dict[str, Any]) -> None:
    """Labels without a valid pixel, of "empty", count as none."""
    empty = ((0, "semseg"), (1, "depth")) if labelled == "empty" else ()
    labelled = "one" if empty else labelled
    kind = DirectMap if "mapper_learns_from" in given else PerceptualMap
    made = method(kind, cases.names(labelled), map_weight=1.5, mapper_stride=stride, **given)
    check(made, batch(made.problem, labelled, empty=empty))


@pytest.mark.parametrize(("size", "stride"), [((32, 64), 1), ((50, 70), 2), ((97, 33), 8)])
def test_maps_are_of_the_channels_and_the_grid_of_their_targets(size: tuple[int, int], stride: int) -> None:
    made = DirectMap(problem(size=size), mapper_width=1, mapper_stride=stride)
    grid = torch.zeros(2, 1, *size)[..., ::stride, ::stride]
    maps = made.mapper({n: grid.expand(-1, t.channels, -1, -1) for n, t in made.problem.tasks.items()})
    assert set(maps) == set(itertools.permutations(made.problem.tasks, 2))
    for (_, t), found in maps.items():
        assert found.shape == (2, ALL[t].channels, *grid.shape[2:])
    assert len(made.mapper.down) == {1: 5, 2: 4, 8: 2}[stride]
