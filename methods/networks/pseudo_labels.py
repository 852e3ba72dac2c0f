"""Pseudo-labels: one view's predictions as targets of another, where they are to be trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.errors import UserError
from datasets.tasks import Task
from methods.base import Problem, View
from methods.losses import per_sample_loss

# What a search of the keywords below tries, whichever method has them.
SEARCH: dict[str, tuple[Any, ...]] = {
    "weight": (0.25, 0.5, 1.0, 2.0, 4.0),
    "confidence": (0.5, 0.8, 0.9, 0.95, 0.99),
    "agreement": (0.025, 0.05, 0.1, 0.2, 0.4),
    "ramp_up": (0.0, 0.125, 0.25, 0.5, 1.0),
}


@dataclass(frozen=True)
class PseudoLabels:
    """Say where pseudo-labels are trusted, and how much they weigh.

    weight: of the loss, at its full height. confidence: classes and binary maps count where the most likely
    class has a probability above it. agreement: regressions have no probability, so they count where the two
    predictions differ by less: in metres for depth (in its own unit for inverse depth), by 1 - cosine for
    normals (0.1 is 26 degrees). ramp_up: share of training over which the weight grows, as exp(-5 (1 - x)^2)
    does from x = 0 to 1; 0 is full weight from the first step. Raises `UserError`, in the name of `method`,
    for a value out of range.
    """

    method: str
    weight: float
    confidence: float
    agreement: float
    ramp_up: float

    def __post_init__(self) -> None:
        rules = {
            f"weight must be 0 or more, not {self.weight}": 0 <= self.weight < math.inf,
            f"confidence must be at least 0 and below 1, not {self.confidence}": 0 <= self.confidence < 1,
            f"agreement must be greater than 0, not {self.agreement}": self.agreement > 0,
            f"ramp_up must lie between 0 and 1, not {self.ramp_up}": 0 <= self.ramp_up <= 1,
        }
        for sentence, holds in rules.items():
            if not holds:
                raise UserError(f"{self.method}: {sentence}; change the hyper-parameter.")

    def loss(
        self,
        problem: Problem,
        source: dict[str, Tensor],
        online: dict[str, Tensor],
        view: View,
        labelled: Tensor,
        progress: Tensor,
    ) -> Tensor:
        """Compute the weighted loss, a scalar.

        weight ramp(progress) (1/B) sum_b sum_{t not labelled in b} w_t loss_t(online, target). source: {task:
        (B, C, H, W)} predictions for the first view, constants here, which become `targets` of `view`.
        online: predictions for `view`, which learn. loss_t: the supervised loss, over the pixels that have a
        pseudo-label.
        """
        targets, terms = self.targets(problem.tasks, source, online, view), []
        for t, (name, task) in enumerate(problem.tasks.items()):
            of_samples = per_sample_loss(task, online[name], targets[name])
            terms.append(problem.loss_weights.get(name, 1.0) * (of_samples * ~labelled[:, t]).mean())
        return self.weight * ramp(progress, self.ramp_up) * torch.stack(terms).sum()

    @torch.no_grad()
    def targets(
        self, tasks: dict[str, Task], source: dict[str, Tensor], online: dict[str, Tensor], view: View
    ) -> dict[str, Tensor]:
        """Make {task: (B, C', H, W)} targets of `view`, ignored where unsure.

        Pixels of exactly the mean colour are what lies outside an image in its frame, and get none.
        """
        shown = (view.images != 0).any(1, keepdim=True)
        wide = [x.to(torch.promote_types(x.dtype, torch.float32)) for x in source.values()]
        warped = warp(torch.cat(wide, 1), view.geometry).split([x.shape[1] for x in wide], 1)
        zoom = 1 / view.geometry[:, 0, 0].to(wide[0].dtype).view(-1, 1, 1, 1)
        found = {}
        for name, maps in zip(source, warped, strict=True):
            target, trusted = self._target(tasks[name], maps, online[name].to(maps.dtype), zoom)
            found[name] = torch.where(trusted & shown, target, tasks[name].ignore)
        return found

    def _target(self, task: Task, maps: Tensor, online: Tensor, zoom: Tensor) -> tuple[Tensor, Tensor]:
        """Target (B, C', H, W) from warped predictions, and where it is trusted (B, 1, H, W) bool."""
        if task.kind == "classes":
            probability, best = maps.softmax(1).max(1, keepdim=True)
            return best, probability > self.confidence
        if task.kind in ("edge", "saliency"):
            return (maps > 0).long(), maps.abs().sigmoid() > self.confidence
        if task.kind == "depth":
            depth = maps * zoom if task.inverse else maps / zoom  # as the view's own depth targets are
            return depth, (depth - online).abs() < self.agreement
        normal = _unit(maps)
        return normal, 1 - (normal * _unit(online)).sum(1, keepdim=True) < self.agreement


def ramp(progress: Tensor, over: float) -> Tensor:
    """Compute exp(-5 (1 - x)^2), x = progress / over, at most 1.

    1 where `over` is 0 (Laine and Aila, ICLR 2017).
    """
    if over == 0:
        return torch.ones_like(progress)
    return torch.exp(-5 * (1 - (progress / over).clamp(max=1)).square())


def warp(maps: Tensor, geometry: Tensor) -> Tensor:
    """Warp maps (B, C, H, W) of the first view to a further view.

    Bilinear, by its `geometry` (B, 2, 3), border repeated.
    """
    height, width = maps.shape[-2:]
    # Not affine_grid: its matrix product would round coordinates to half precision under autocast, and on
    # TF32 units.
    y, x = ((2 * torch.arange(n, device=maps.device) + 1).to(maps.dtype) / n - 1 for n in (height, width))
    along_x, along_y, shift = geometry.to(maps.dtype)[:, None, None].unbind(-1)  # (B, 1, 1, 2) each
    grid = along_x * x[:, None] + along_y * y[:, None, None] + shift
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=False)


def trusted_shares(tasks: dict[str, Task], targets: dict[str, Tensor]) -> dict[str, Tensor]:
    """Measure the share of pixels that have a pseudo-label, for each task."""
    return {
        f"share pseudo-labelled, {name}": task.valid(targets[name]).float().mean()
        for name, task in tasks.items()
    }


def _unit(x: Tensor) -> Tensor:
    return x * x.square().sum(1, keepdim=True).clamp_min(1e-12).rsqrt()
