"""Targets from another view's predictions: against loops, the harness's own crops, and at their edges."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from datasets import augment, tasks
from datasets.tasks import Task
from methods.base import Problem, View
from methods.networks.pseudo_labels import PseudoLabels, ramp, warp
from tests.methods.cases import ALL, problem
from tests.methods.pseudo_reference import crops, slow_target

SIZE = (12, 20)
DEFAULT = PseudoLabels("consistency", 1.0, 0.95, 0.1, 0.25)
Maps = dict[str, Tensor]


def maps(named: dict[str, Task], seed: int) -> Maps:
    """Predictions with smooth structure, so that some of them agree and some are confident."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, task in named.items():
        coarse = torch.randn(4, task.channels, 3, 5, generator=generator, dtype=torch.float64)
        factor = {"depth": 0.1, "normals": 1.0}.get(task.kind, 4.0)
        found[name] = factor * F.interpolate(coarse, SIZE, mode="bilinear") + (task.kind == "depth") * 2
    return found


def near(source: Maps, named: dict[str, Task], geometry: Tensor) -> Maps:
    """Predictions for the view that are a little away from what they should be."""
    noise = maps(named, 9)
    found = {}
    for name, task in named.items():
        zoom = 1 / geometry[:, 0, 0].view(-1, 1, 1, 1)
        factor = (zoom if task.inverse else 1 / zoom) if task.kind == "depth" else 1
        found[name] = warp(source[name], geometry) * factor + 0.5 * (noise[name] - (task.kind == "depth") * 2)
        found[name].requires_grad_()
    return found


def case(inverse: bool = False) -> tuple[Problem, Maps, Maps, View]:
    named = ALL | ({"depth": tasks.inverse_depth()} if inverse else {})
    made = replace(problem(tuple(ALL)), tasks=named, size=SIZE, loss_weights={"semseg": 1.5, "edge": 50.0})
    source = maps(named, 1)
    images = torch.randn(4, 3, *SIZE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    images[1, :, :3] = 0  # outside of the image, in its frame
    images[2, 0] = 0  # a channel that is 0 is not outside
    view = View(images, {}, crops(4))
    return made, source, near(source, named, view.geometry), view


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize(("confidence", "agreement"), [(0.95, 0.1), (0.6, 0.02)])
def test_targets_equal_the_loop(inverse: bool, confidence: float, agreement: float) -> None:
    made, source, online, view = case(inverse)
    found = PseudoLabels("m", 1.0, confidence, agreement, 0.0).targets(made.tasks, source, online, view)
    for name, task in made.tasks.items():
        for b in range(4):
            given = (source[name][b], online[name][b].detach(), view.images[b], view.geometry[b])
            expected = slow_target(task, *given, confidence, agreement)
            torch.testing.assert_close(found[name][b].double(), expected, rtol=1e-9, atol=1e-12)
        trusted = task.valid(found[name])
        assert 0.05 < trusted.double().mean() < 0.95, "the thresholds must be seen to act"
        assert not trusted[1, :, :3].any() and not found[name].requires_grad


def test_a_task_without_a_pseudo_label_gives_nothing() -> None:
    """What others give: `check_pseudo` of the methods that make them."""
    made, source, _, view = case()
    none = torch.zeros(4, 6, dtype=torch.bool)
    flat = {name: torch.zeros_like(x) for name, x in source.items()}
    far = {name: torch.full_like(x, 7.0).requires_grad_() for name, x in source.items()}
    found = DEFAULT.loss(made, flat, far, view, none, torch.tensor(1.0))
    assert found == 0
    found.backward()
    assert all((x.grad == 0).all() for x in far.values())


def test_a_warp_is_grid_sample_on_affine_grid() -> None:
    x, geometry = torch.randn(4, 5, *SIZE, dtype=torch.float64), crops(4)
    geometry = geometry + 0.1 * torch.randn(4, 2, 3, dtype=torch.float64)  # any affine map
    grid = F.affine_grid(geometry, [4, 5, *SIZE], align_corners=False)
    expected = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(warp(x, geometry), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("inverse", [False, True])
def test_what_is_right_in_the_first_view_is_right_in_the_crop(inverse: bool) -> None:
    """True maps of the harness's own first view, warped, are those of its second: zoom, flip and place."""
    height, width, count = 60, 80, 6
    named = {"depth": tasks.inverse_depth() if inverse else tasks.depth(), "normals": tasks.normals()}
    y, x = torch.meshgrid(torch.arange(height).double(), torch.arange(width).double(), indexing="ij")
    slope = torch.tensor([0.02, 0.04])
    depth = (5 + slope[0] * x + slope[1] * y).float().repeat(count, 1, 1, 1)
    normal = torch.stack([0.6 * torch.ones_like(x), 0.01 * y, -torch.ones_like(x)])
    normal = F.normalize(normal, dim=0).float()
    images = torch.randint(1, 250, (count, 3, height, width), dtype=torch.uint8)
    config = augment.Augmentation((1.0, 1.2, 1.5), True, 0.1)
    draws = [augment.draw(config, 3, torch.tensor(0), torch.arange(count), view) for view in range(2)]
    assert 0 < draws[0][:, 3].sum() < count and len(draws[1][:, 0].unique()) == 3
    given = {"depth": depth, "normals": normal.repeat(count, 1, 1, 1)}
    first, second = augment.apply(images, given, named, draws, (0.45,) * 3, (0.25,) * 3)
    labels = PseudoLabels("m", 1.0, 0.9, 100.0, 0.0)
    found = labels.targets(named, first.targets, second.targets, View(*second))
    # Both are nearest neighbours of the truth, each off by half a pixel of its own grid at most in x and y.
    most = 1.01 * float(slope.sum()) * (1.5 * 1.5 if inverse else 1.0)
    torch.testing.assert_close(found["depth"], second.targets["depth"], rtol=0, atol=most)
    torch.testing.assert_close(found["normals"], second.targets["normals"], rtol=0, atol=0.011)
    unscaled = warp(first.targets["depth"], second.geometry)
    assert (unscaled - second.targets["depth"]).abs().max() > 0.5


def test_weight_grows_like_a_bell_and_stays() -> None:
    values = [float(ramp(torch.tensor(p), 0.25)) for p in (0.0, 0.125, 0.25, 1.0)]
    assert values == pytest.approx([math.exp(-5), math.exp(-1.25), 1, 1], rel=1e-6)
    assert float(ramp(torch.tensor(0.0), 0.0)) == 1 and float(ramp(torch.tensor(1.0), 1.0)) == 1
