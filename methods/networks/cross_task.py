"""Networks from one task's label space into another's (Zamir et al., CVPR 2020).

Zamir et al. train a U-Net a pair. Here a source task has one pass for all of its targets: its own first
layer, a U-Net that the sources share, with the source's gamma and beta (FiLM) after every normalisation as in
the mapper of Li, Liu and Bilen (CVPR 2022), and its own last layer for each target. So all T (T - 1) maps of
a sample cost T passes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import UserError
from datasets.tasks import Task
from methods.base import Problem
from methods.losses import per_sample_loss
from methods.networks.mapper import PairNorm, affine_maps, first_layer

LEVELS = 5  # resolutions of the U-Net at stride 1: w - 2w - 4w - 8w - 8w channels at strides 1 to 16

Maps = dict[tuple[str, str], Tensor]


class Level(nn.Module):
    """Convolve twice, each normalised, with the source's FiLM, then ReLU."""

    def __init__(self, a: int, b: int, sources: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(a, b, 3, padding=1), nn.Conv2d(b, b, 3, padding=1)])
        self.norms = nn.ModuleList(PairNorm(b, sources) for _ in range(2))

    def forward(self, x: Tensor, affine: Iterator[tuple[Tensor, Tensor]]) -> Tensor:
        """x: (N, a, h, w); affine: gives its norms' weights and biases, in their order."""
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = norm(conv(x), *next(affine))
        return x


class CrossTask(nn.Module):
    """Compute m_st of every ordered pair of tasks (s, t).

    width: w of the first level. stride: of the inputs; 2 leaves out the deepest level, as the others move one
    down, and so on, so that the deepest is at stride 16 of the image whatever the stride.
    """

    source: Tensor

    def __init__(self, tasks: dict[str, Task], width: int, stride: int) -> None:
        super().__init__()
        self.channels = {s: [task.channels for t, task in tasks.items() if t != s] for s in tasks}
        self.register_buffer("source", torch.arange(len(tasks)), persistent=False)
        widths = [min(2**level, 8) * width for level in range(LEVELS - int(math.log2(stride)))]
        self.first = nn.ModuleDict({name: first_layer(task.channels, width) for name, task in tasks.items()})
        ends = itertools.pairwise([width, *widths])
        self.down = nn.ModuleList(Level(a, b, len(tasks)) for a, b in ends)
        self.up = nn.ModuleList(
            Level(a + b, a, len(tasks)) for a, b in reversed([*itertools.pairwise(widths)])
        )
        self.last = nn.ModuleDict({s: nn.Conv2d(width, sum(many), 1) for s, many in self.channels.items()})

    def forward(self, inputs: dict[str, Tensor]) -> Maps:
        """Map {s: (B, C_s, h, w)} to {(s, t): (B, C_t, h, w)}.

        Inputs as `prediction_input` and `label_input` have them; outputs as predictions.
        """
        x = torch.stack([self.first[name](x) for name, x in inputs.items()], 1)
        levels = (*self.down, *self.up)
        affine = affine_maps((n for level in levels for n in level.norms), self.source.repeat(len(x)))
        shape, x, skips = x.shape, x.flatten(0, 1), []
        for number, level in enumerate(self.down):
            x = level(F.max_pool2d(x, 2, ceil_mode=True) if number else x, affine)
            skips.append(x)
        for level, skip in zip(self.up, skips[-2::-1], strict=True):
            x = level(torch.cat([F.interpolate(x, skip.shape[-2:], mode="nearest"), skip], 1), affine)
        found: Maps = {}
        for s, of_source in zip(inputs, x.view(shape).unbind(1), strict=True):
            maps = self.last[s](of_source).split(self.channels[s], 1)
            found |= {(s, t): m for t, m in zip([t for t in inputs if t != s], maps, strict=True)}
        return found


def check(method: str, problem: Problem, map_weight: float, mapper_width: int) -> None:
    """Raise `UserError` for hyperparameters out of range or small images."""
    if map_weight < 0 or mapper_width < 1:
        raise UserError(
            f"{method}: mapper_width must be at least 1 and map_weight not negative; change the "
            f"hyper-parameter."
        )
    if min(problem.size) < 32:
        raise UserError(
            f"{method}: images must be at least 32 pixels high and wide, not {problem.size}; raise the size."
        )


def map_losses(problem: Problem, maps: Maps, targets: dict[str, Tensor], sources: Tensor) -> Tensor:
    """Sum w_t loss_t(map, label of t) over pairs; (B,).

    The protocol's loss, of the sources that take part. targets: {task: (B, C', h, w)} on the grid of `maps`;
    a target without a valid pixel gives 0. sources: (B, T) bool.
    """
    column = {name: t for t, name in enumerate(problem.tasks)}
    return torch.stack(
        [
            problem.loss_weights.get(t, 1.0)
            * per_sample_loss(problem.tasks[t], m, targets[t])
            * sources[:, column[s]]
            for (s, t), m in maps.items()
        ]
    ).sum(0)


def map_distances(problem: Problem, a: Maps, b: Maps, valid: dict[str, Tensor]) -> Tensor:
    """Sum w_t |a - b|_1 over pairs; (B,).

    Summed over channels, averaged over the valid pixels of s; 0 where there are none. Compared are class and
    binary probabilities, metres, and unit vectors. valid: {s: (B, 1, h, w)} bool.
    """
    return torch.stack(
        [
            problem.loss_weights.get(t, 1.0) * _distance(problem.tasks[t], a[s, t], b[s, t], valid[s])
            for s, t in a
        ]
    ).sum(0)  # fmt: skip


def _distance(task: Task, a: Tensor, b: Tensor, valid: Tensor) -> Tensor:
    error = (_values(task, a) - _values(task, b)).abs().sum(1, keepdim=True) * valid
    return error.flatten(1).sum(1) / valid.flatten(1).sum(1).clamp_min(1)


def _values(task: Task, x: Tensor) -> Tensor:
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    if task.kind == "classes":
        return x.softmax(1)
    if task.kind in ("edge", "saliency"):
        return x.sigmoid()
    return x if task.kind == "depth" else x * x.square().sum(1, keepdim=True).clamp_min(1e-12).rsqrt()
