"""Fast adaptive multitask optimisation (Liu, Feng, Stone and Liu, NeurIPS 2023), without its second forward
pass.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from benchmark.training.weighting.base import LossBalancing, per_label, present_softmax
from datasets.tasks import Task

RATE, DECAY = 0.025, 1e-3  # of the logits, as in the paper
BETAS, EPSILON = (0.9, 0.999), 1e-8  # of Adam, which the paper's code moves them with


class FAMO(LossBalancing):
    """Weights proportional to softmax_t(xi) / l_t; the logits xi fall for tasks whose log-loss falls faster
    than others'.

    The paper computes the losses of a batch again after the update, d_t = log l_t(before) - log l_t(after),
    and moves xi by Adam along -(d softmax / d xi)^T d - decay xi. That is a second forward pass, and one in
    which normalisation statistics or codebooks would move again. Here `after` is the loss of the next batch,
    before its own update, and xi moves then. The difference between the two batches is in d_t too; it cancels
    over the steps, because what one step adds the next subtracts.

    Absence: `before` is the loss of the last batch that carried the task. xi, and Adam's moments and count of
    steps, move only for tasks present now and before, with the softmax and its mean of d over those; a task
    alone tells nothing, so it moves nothing. Weights are normalised over the tasks present, so that they
    average 1.
    """

    logits: Tensor
    moments: Tensor
    updates: Tensor
    last: Tensor

    def __init__(self, tasks: Mapping[str, Task], shares: Tensor | None) -> None:
        super().__init__(tasks, shares)
        count = len(self.tasks)
        self.register_buffer("logits", torch.zeros(count, dtype=torch.float64))
        self.register_buffer("moments", torch.zeros(2, count, dtype=torch.float64))
        self.register_buffer("updates", torch.zeros(count, dtype=torch.float64))
        self.register_buffer(
            "last", torch.full((count,), torch.inf, dtype=torch.float64)
        )  # log l_t; infinite: none yet

    def weights(self, losses: Tensor, labels: Tensor) -> Tensor:
        present, logs = labels > 0, torch.log(per_label(losses, labels))
        self._learn(logs, present)
        self.last.copy_(torch.where(present, logs, self.last))
        # In logarithms: softmax(xi) / l_t over its sum.
        return present.sum() * present_softmax(self.logits - logs, present)

    def _learn(self, logs: Tensor, present: Tensor) -> None:
        moved = present & torch.isfinite(self.last)
        moved = moved & (moved.sum() > 1)
        fall = torch.where(moved, self.last - logs, 0)
        z = present_softmax(self.logits, moved)
        gradient = z * (fall - (z * fall).sum()) + DECAY * self.logits
        updates = self.updates + 1
        moments = torch.stack(
            [
                b * m + (1 - b) * g
                for b, m, g in zip(BETAS, self.moments, (gradient, gradient**2), strict=True)
            ]
        )
        first, second = (m / (1 - b**updates) for b, m in zip(BETAS, moments, strict=True))
        logits = self.logits - RATE * first / (second.sqrt() + EPSILON)
        for state, new in ((self.logits, logits), (self.moments, moments), (self.updates, updates)):
            state.copy_(torch.where(moved, new, state))
