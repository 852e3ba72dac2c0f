"""Geometric loss strategy (Chennupati, Sistu, Yogamani and Rawashdeh, CVPR Workshops 2019)."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.training.weighting.base import LossBalancing, per_label


class GLS(LossBalancing):
    """The geometric mean G of the tasks' losses, times their number: its gradient is that of sum_t (G / L_t)
    L_t.

    Absence: G = exp(sum_t labels_t log l_t / sum_t labels_t), the geometric mean of the mean losses per label
    in which a task counts as often as it is labelled, and weight_t = G / l_t. A full batch gives the paper's
    product, an absent task is left out, and a single present task keeps weight 1. On L_t itself every present
    task would pull equally hard, however few of the batch's labels are its own.
    """

    def weights(self, losses: Tensor, labels: Tensor) -> Tensor:
        logs = torch.log(per_label(losses, labels))
        mean = (labels * logs).sum() / labels.sum().clamp_min(torch.finfo(labels.dtype).tiny)
        return torch.exp(mean - logs) * (labels > 0)
