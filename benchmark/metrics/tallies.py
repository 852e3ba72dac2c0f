"""Counts that binary and class metrics are made of: pixels by bin and image, and pixels by threshold."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

THRESHOLDS = 19  # binary maps are cut at probabilities 0.05, 0.10, ... 0.95


def tally(index: Tensor, counted: Tensor, bins: int) -> Tensor:
    """(B, bins) float64: how many of each image's counted pixels have each index.

    index: (B, ...) int64; counted: (B, ...) bool. An index that is no bin is an index error (on CUDA a device
    assertion).
    """
    slot = torch.where(counted, index + 1, 0).flatten(1)  # slot 0 takes what is not counted
    counts = torch.zeros(len(slot), bins + 1, dtype=torch.int64, device=slot.device)
    return counts.scatter_add_(1, slot, torch.ones_like(slot))[:, 1:].double()


def level(logit: Tensor, thresholds: int = THRESHOLDS) -> Tensor:
    """How many of the thresholds k / (thresholds + 1) the probability of a logit reaches: int64. NaN reaches
    none.
    """
    return (torch.sigmoid(logit.double()) * (thresholds + 1)).nan_to_num(0).long().clamp(0, thresholds)


def at_least(levels: np.ndarray) -> np.ndarray:
    """Counts per level (L + 1,) to counts at or above each of the L thresholds."""
    return np.cumsum(levels[::-1])[::-1][1:]
