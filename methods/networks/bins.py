"""Regressions as classes: bins, the value they stand for, its confidence (HiTTs, ACM MM 2025)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datasets.tasks import IGNORE, Task
from methods.base import Batch, Problem
from methods.losses import sample_weights
from methods.networks.decoders import upsampled

REGRESSIONS = ("depth", "normals")
NORMALS = 40
# Number of depth's bins and their range until labels are seen: NYUv2's and Cityscapes' in the published code.
DEPTH = (30, 0.67, 10.0)
INVERSE_DEPTH = (50, 0.01, 0.4922)
QUANTILES = (0.005, 0.995)
SHARPNESS = 5.0
NEAR = math.cos(math.radians(30))  # neighbours among the normals' centres are 24 degrees apart


class Bins(nn.Module):
    """Hold the K centres of a regression's bins.

    Depth: log-spaced between a low and a high value. Normals: Fibonacci points on the part of the unit sphere
    that faces the camera, z from -1 to 0.2 (visible surfaces have z < 0).
    """

    centres: Tensor

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task
        if task.kind == "normals":
            centres = _fibonacci(NORMALS)
        else:
            count, low, high = INVERSE_DEPTH if task.inverse else DEPTH
            centres = _spaced(low, high, count)
        self.register_buffer("centres", centres)

    def place(self, target: Tensor) -> None:
        """Lay depth's centres between the outer quantiles of labels (B, 1, H, W), if there are any."""
        if self.task.kind != "depth":
            return
        values = target[self.task.valid(target)].double()
        if len(values) > 1:
            ranks = [round(share * (len(values) - 1)) for share in QUANTILES]
            low, high = values.sort().values[ranks].clamp_min(1e-6).tolist()
            if high > low:
                self.centres.copy_(_spaced(low, high, len(self.centres)))

    def value(self, logits: Tensor) -> Tensor:
        """Compute the expected centre (B, C, H, W) of logits (B, K, H, W); normals of unit length."""
        chances = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(1)
        table = self.centres.to(chances).reshape(len(self.centres), -1)
        value = torch.einsum("bkhw,kc->bchw", chances, table)
        if self.task.kind == "normals":
            value = value * value.square().sum(1, keepdim=True).clamp_min(1e-12).rsqrt()
        return value

    def label(self, target: Tensor) -> Tensor:
        """Find the nearest bin of each pixel's label, (B, H, W) int64; `IGNORE` without one."""
        if self.task.kind == "normals":
            nearest = torch.einsum("bchw,kc->bkhw", target, self.centres.to(target)).argmax(1)
        else:
            middles = (self.centres[1:] + self.centres[:-1]) / 2
            nearest = torch.bucketize(target[:, 0].contiguous(), middles.to(target))
        return torch.where(self.task.valid(target)[:, 0], nearest, IGNORE)

    def losses(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute each sample's cross-entropy of logits (B, K, H, W), over its labelled pixels; (B,)."""
        wanted = self.label(target)
        error = F.cross_entropy(logits, wanted, ignore_index=IGNORE, reduction="none")
        return error.flatten(1).sum(1) / (wanted != IGNORE).flatten(1).sum(1).clamp_min(1)

    def confidence(self, logits: Tensor, window: bool) -> Tensor:
        """Measure the trust in `value`, (B, 1, H, W), as published max softmax(5 z).

        window: instead the mass of softmax(z) in the top bin and its neighbours, as a value halfway between
        two bins would else never be trusted, however sure.
        """
        if not window:
            return (SHARPNESS * logits).softmax(1).amax(1, keepdim=True)
        chances = logits.softmax(1)
        mass = torch.einsum("bkhw,jk->bjhw", chances, self._near().to(chances))
        return mass.gather(1, chances.argmax(1, keepdim=True))

    def _near(self) -> Tensor:
        """Which bins (K, K) are neighbours, or the same."""
        if self.task.kind == "normals":
            return self.centres @ self.centres.mT > NEAR
        order = torch.arange(len(self.centres), device=self.centres.device)
        return (order[:, None] - order).abs() <= 1


class BinTable(nn.ModuleDict):
    """Hold {task: Bins} for the regressions of a problem, or nothing."""

    def __init__(self, problem: Problem, binned: bool) -> None:
        tasks = problem.tasks.items() if binned else ()
        super().__init__({name: Bins(task) for name, task in tasks if task.kind in REGRESSIONS})
        self.problem = problem

    def of(self, name: str) -> Bins:
        """Return a task's bins."""
        return cast(Bins, self[name])

    def place(self, batches: Iterable[Batch]) -> None:
        """Place the bins by the visible labels of up to eight batches."""
        seen = list(itertools.islice(batches, 8)) if len(self) else []
        for name in self if seen else ():
            self.of(name).place(torch.cat([batch.targets[name] for batch in seen]))

    def loss(self, logits: dict[str, Tensor], batch: Batch) -> Tensor:
        """Compute sum_t w_t mean_b weight_bt CE_bt over the regressions, a scalar.

        logits: {task: (B, K, h, w)}, resized here to the labels' size.
        """
        weights, terms = sample_weights(batch.labelled, self.problem.label_shares), []
        for t, name in enumerate(self.problem.tasks):
            if name in self:
                full = upsampled(logits[name], self.problem.size)
                own = weights[:, t] * self.of(name).losses(full, batch.targets[name])
                terms.append(self.problem.loss_weights.get(name, 1.0) * own.mean())
        return torch.stack(terms).sum() if terms else weights.new_zeros(())

    def confidences(self, logits: dict[str, Tensor], window: bool = False) -> dict[str, Tensor]:
        """Measure {task: (B, 1, H, W)} confidence of the regressions from logits (B, K, h, w)."""
        size = self.problem.size
        return {name: self.of(name).confidence(upsampled(logits[name], size), window) for name in self}


def _spaced(low: float, high: float, count: int) -> Tensor:
    steps = torch.linspace(0, 1, count, dtype=torch.float64)
    return torch.exp(math.log(low) + steps * math.log(high / low)).to(torch.get_default_dtype())


def _fibonacci(count: int) -> Tensor:
    i = torch.arange(count, dtype=torch.float64)
    z = -1 + 1.2 * (i + 0.5) / count
    angle, radius = i * math.pi * (3 - math.sqrt(5)), (1 - z * z).sqrt()
    points = torch.stack([radius * angle.cos(), radius * angle.sin(), z], 1)
    return points.to(torch.get_default_dtype())
