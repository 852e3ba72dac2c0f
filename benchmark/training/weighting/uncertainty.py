"""Homoscedastic uncertainty (Kendall, Gal and Cipolla, CVPR 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.training.weighting.base import LossBalancing
from datasets.tasks import Task


class Uncertainty(LossBalancing):
    """The negative log-likelihood of all labels, with a learned log-variance s_t = log sigma_t^2 a task, from
    0:

        regression (depth, normals)                     1/2 exp(-s_t) L_t + 1/2 s_t     (equation 7)
        classification (class maps, edge, saliency)         exp(-s_t) L_t + 1/2 s_t     (equation 10)

    The s_t are a group of the run's optimiser at its learning rate, without weight decay; the gradient clip
    covers them.

    Absence: every label contributes its own log-likelihood, 1/2 s_t included, and one that is not there
    contributes none. So 1/2 s_t is weighted as the loss is, by labels_t: the optimum is exp(s_t) = c l_t, c =
    1 for regression and 2 for classification, whatever share of the labels is visible. Were 1/2 s_t added in
    full to every batch, its constant pull would raise a task's weight the more, the fewer batches know the
    task.
    """

    def __init__(self, tasks: Mapping[str, Task], shares: Tensor | None) -> None:
        super().__init__(tasks, shares)
        factors = [0.5 if task.kind in ("depth", "normals") else 1.0 for task in tasks.values()]
        self.register_buffer("factors", torch.tensor(factors, dtype=torch.float64), persistent=False)
        self.factors: Tensor
        self.log_variances = nn.Parameter(torch.zeros(len(factors)))

    def weights(self, losses: Tensor, labels: Tensor) -> Tensor:
        return self.factors * torch.exp(-self.log_variances.double())

    def regulariser(self, labels: Tensor) -> Tensor:
        return (labels * self.log_variances).sum() / 2

    def param_groups(self) -> list[dict[str, Any]]:
        return [{"params": [self.log_variances], "weight_decay": 0.0}]
