"""Counts on the device: pixels by bin and image, and levels of probabilities."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.metrics.pooled import THRESHOLDS


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
