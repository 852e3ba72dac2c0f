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
    does from x = 0 to 1; 0 is full weight from the first step. certainty: regressions count instead where
    their bins' confidence is above it, if scores are given (`methods.networks.bins`). edge_confidence,
    edge_weight: for boundaries, instead of confidence and of 1. Raises `UserError`, in the name of `method`,
    for a value out of range.
    """

    method: str
    weight: float
    confidence: float
    agreement: float
    ramp_up: float
    certainty: float = 0.85
    edge_confidence: float | None = None
    edge_weight: float = 1.0

    def __post_init__(self) -> None:
        rules = {
            f"weight must be 0 or more, not {self.weight}": 0 <= self.weight < math.inf,
            f"confidence must be at least 0 and below 1, not {self.confidence}": 0 <= self.confidence < 1,
            f"agreement must be greater than 0, not {self.agreement}": self.agreement > 0,
            f"ramp_up must lie between 0 and 1, not {self.ramp_up}": 0 <= self.ramp_up <= 1,
            f"certainty must be at least 0 and below 1, not {self.certainty}": 0 <= self.certainty < 1,
            f"edge_weight must be 0 or more, not {self.edge_weight}": 0 <= self.edge_weight < math.inf,
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
        scores: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """Compute the weighted loss, a scalar.

        weight ramp(progress) (1/B) sum_b sum_{t not labelled in b} w_t loss_t(online, target). source: {task:
        (B, C, H, W)} predictions for the first view, constants here, which become `targets` of `view`.
        online: predictions for `view`, which learn. scores: as for `targets`. loss_t: the supervised loss,
        over the pixels that have a pseudo-label, times edge_weight for boundaries.
        """
        targets, terms = self.targets(problem.tasks, source, online, view, scores), []
        for t, (name, task) in enumerate(problem.tasks.items()):
            of_samples = per_sample_loss(task, online[name], targets[name])
            weight = problem.loss_weights.get(name, 1.0) * (self.edge_weight if task.kind == "edge" else 1.0)
            terms.append(weight * (of_samples * ~labelled[:, t]).mean())
        return self.weight * ramp(progress, self.ramp_up) * torch.stack(terms).sum()

    @torch.no_grad()
    def targets(
        self,
        tasks: dict[str, Task],
        source: dict[str, Tensor],
        online: dict[str, Tensor],
        view: View,
        scores: dict[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Make {task: (B, C', H, W)} targets of `view`, ignored where unsure.

        scores: {regression: (B, 1, H, W)} confidence of `source`, which stands in for agreement; it is warped
        as the values are, and the zoom touches the values only. Pixels of exactly the mean colour are what
        lies outside an image in its frame, and get none.
        """
        shown = (view.images != 0).any(1, keepdim=True)
        scores = scores or {}
        given = [*source.values(), *scores.values()]
        wide = [x.to(torch.promote_types(x.dtype, torch.float32)) for x in given]
        warped = warp(torch.cat(wide, 1), view.geometry).split([x.shape[1] for x in wide], 1)
        sure = dict(zip(scores, warped[len(source) :], strict=True))
        zoom = 1 / view.geometry[:, 0, 0].to(wide[0].dtype).view(-1, 1, 1, 1)
        found = {}
        for name, maps in zip(source, warped, strict=False):
            target, trusted = self._target(tasks[name], maps, online[name].to(maps.dtype), zoom)
            if name in sure:
                trusted = sure[name] > self.certainty
            found[name] = torch.where(trusted & shown, target, tasks[name].ignore)
        return found

    def _target(self, task: Task, maps: Tensor, online: Tensor, zoom: Tensor) -> tuple[Tensor, Tensor]:
        """Target (B, C', H, W) from warped predictions, and where it is trusted (B, 1, H, W) bool."""
        if task.kind == "classes":
            probability, best = maps.softmax(1).max(1, keepdim=True)
            return best, probability > self.confidence
        if task.kind in ("edge", "saliency"):
            least = self.edge_confidence if task.kind == "edge" else None
            return (maps > 0).long(), maps.abs().sigmoid() > (self.confidence if least is None else least)
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
