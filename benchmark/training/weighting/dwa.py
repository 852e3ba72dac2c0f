"""Dynamic weight average (Liu, Johns and Davison, CVPR 2019)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from benchmark.training.weighting.base import LossBalancing
from datasets.tasks import Task

TEMPERATURE = 2.0  # as in the paper


class DWA(LossBalancing):
    """weight_t = T softmax_t(r_t / 2) with r_t the ratio of the task's mean losses in the last two epochs; 1
    in the first two.

    Absence: the mean loss of an epoch is that of its labels, sum L_t / sum labels_t over its steps, so a
    batch without the task enters neither sum. A task without a label in a whole epoch keeps its last ratio.
    Weights are not made to sum to T
    again over the tasks of a batch: they say how tasks compare over an epoch, and its other batches hold the
    other tasks.
    """

    step: Tensor
    sums: Tensor
    means: Tensor

    def __init__(self, tasks: Mapping[str, Task], shares: Tensor | None, epoch_steps: float) -> None:
        """epoch_steps: steps in an epoch, which need not be whole; an epoch is whatever steps begin within
        it.
        """
        super().__init__(tasks, shares)
        self.epoch_steps = epoch_steps
        self.register_buffer("step", torch.zeros((), dtype=torch.float64))
        self.register_buffer(
            "sums", torch.zeros(2, len(self.tasks), dtype=torch.float64)
        )  # of losses, of labels
        self.register_buffer(
            "means", torch.zeros(2, len(self.tasks), dtype=torch.float64)
        )  # last epoch but one, last epoch

    def weights(self, losses: Tensor, labels: Tensor) -> Tensor:
        begins = torch.floor(self.step / self.epoch_steps) > torch.floor((self.step - 1) / self.epoch_steps)
        mean = self.sums[0] / torch.where(self.sums[1] > 0, self.sums[1], 1)
        learnt = begins & (self.sums[1] > 0)
        self.means.copy_(torch.where(learnt, torch.stack([self.means[1], mean]), self.means))
        self.sums.copy_(torch.where(begins, 0, self.sums) + torch.stack([losses, labels]))
        self.step += 1
        known = (self.means > 0).all(0)
        ratios = torch.where(known, self.means[1] / torch.where(known, self.means[0], 1), 1)
        return len(self.tasks) * torch.softmax(ratios / TEMPERATURE, 0)
