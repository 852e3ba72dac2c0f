"""What all meters share: their two steps, and counts on the device of pixels by bin and image."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from benchmark.metrics.pooled import ABOUT, THRESHOLDS
from datasets.tasks import Task


@dataclass(frozen=True)
class Meter(ABC):
    """The metrics of one task. kind: its key in `pooled.ABOUT`."""

    task: Task
    kind: ClassVar[str]

    @property
    @abstractmethod
    def stored(self) -> int:
        """How many of the first columns are few and worth keeping per image."""

    @torch.no_grad()
    def statistics(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return (B, K) float64 on the device, a row of zeros for an image without a label.

        prediction: raw network output (B, C, H, W), any float dtype. target: (B, C', H, W) as
        `Task.maps.widen` makes it.
        """
        return self._statistics(prediction, target)

    def values(self, sums: np.ndarray) -> dict[str, float]:
        """Return {metric: value}, primary first, of summed statistics (K,); NaN without a labelled pixel.

        Sums of the stored columns alone (stored,) will do; metrics that need the others are then left out.
        """
        return self._values(sums) if sums.any() else dict.fromkeys(ABOUT[self.kind], math.nan)

    @abstractmethod
    def _statistics(self, prediction: Tensor, target: Tensor) -> Tensor:
        """As `statistics`."""

    @abstractmethod
    def _values(self, sums: np.ndarray) -> dict[str, float]:
        """As `values`, of sums with a labelled pixel."""


def tally(index: Tensor, counted: Tensor, bins: int) -> Tensor:
    """Return (B, bins) float64: how many of each image's counted pixels have each index.

    index: (B, ...) int64; counted: (B, ...) bool. An index that is no bin is an index error (on CUDA a device
    assertion).
    """
    slot = torch.where(counted, index + 1, 0).flatten(1)  # slot 0 takes what is not counted
    counts = torch.zeros(len(slot), bins + 1, dtype=torch.int64, device=slot.device)
    return counts.scatter_add_(1, slot, torch.ones_like(slot))[:, 1:].double()


def level(logit: Tensor, thresholds: int = THRESHOLDS) -> Tensor:
    """Return how many thresholds k / (thresholds + 1) a logit's probability reaches: int64, 0 for NaN."""
    return (torch.sigmoid(logit.double()) * (thresholds + 1)).nan_to_num(0).long().clamp(0, thresholds)
