"""Weightings of losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.training.weighting.base import LossBalancing, per_label, present_softmax
from datasets.tasks import Task

TEMPERATURE = 2.0  # of DWA, as in the paper
RATE, DECAY = 0.025, 1e-3  # of FAMO's logits, as in the paper
BETAS, EPSILON = (0.9, 0.999), 1e-8  # of Adam, which FAMO's code moves them with


class Uncertainty(LossBalancing):
    """Homoscedastic uncertainty (Kendall, Gal and Cipolla, CVPR 2018).

    The negative log-likelihood of all labels, with a learned log-variance s_t = log sigma_t^2 a task, from 0:

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
        factors = [0.5 if task.maps.regression else 1.0 for task in tasks.values()]
        self.register_buffer("factors", torch.tensor(factors, dtype=torch.float64), persistent=False)
        self.factors: Tensor
        self.log_variances = nn.Parameter(torch.zeros(len(factors)))

    def _weights(self, losses: Tensor, labels: Tensor) -> Tensor:
        return self.factors * torch.exp(-self.log_variances.double())

    def _regulariser(self, labels: Tensor) -> Tensor:
        return (labels * self.log_variances).sum() / 2

    def param_groups(self) -> list[dict[str, Any]]:
        """Return the log-variances, without weight decay."""
        return [{"params": [self.log_variances], "weight_decay": 0.0}]


class DWA(LossBalancing):
    """Dynamic weight average (Liu, Johns and Davison, CVPR 2019).

    weight_t = T softmax_t(r_t / 2) with r_t the ratio of the task's mean losses in the last two epochs; 1 in
    the first two.

    Absence: the mean loss of an epoch is that of its labels, sum L_t / sum labels_t over its steps, so a
    batch without the task enters neither sum. A task without a label in a whole epoch keeps its last ratio.
    Weights are not made to sum to T again over the tasks of a batch: they say how tasks compare over an
    epoch, and its other batches hold the other tasks.
    """

    step: Tensor
    sums: Tensor
    means: Tensor

    def __init__(self, tasks: Mapping[str, Task], shares: Tensor | None, epoch_steps: float) -> None:
        """epoch_steps: steps in an epoch, which need not be whole."""
        super().__init__(tasks, shares)
        self.epoch_steps = epoch_steps
        self.register_buffer("step", torch.zeros((), dtype=torch.float64))
        zeros = torch.zeros(2, len(self.tasks), dtype=torch.float64)
        self.register_buffer("sums", zeros)  # of losses, of labels
        self.register_buffer("means", zeros.clone())  # last epoch but one, last epoch

    def _weights(self, losses: Tensor, labels: Tensor) -> Tensor:
        begins = torch.floor(self.step / self.epoch_steps) > torch.floor((self.step - 1) / self.epoch_steps)
        mean = self.sums[0] / torch.where(self.sums[1] > 0, self.sums[1], 1)
        learnt = begins & (self.sums[1] > 0)
        self.means.copy_(torch.where(learnt, torch.stack([self.means[1], mean]), self.means))
        self.sums.copy_(torch.where(begins, 0, self.sums) + torch.stack([losses, labels]))
        self.step += 1
        known = (self.means > 0).all(0)
        ratios = torch.where(known, self.means[1] / torch.where(known, self.means[0], 1), 1)
        return len(self.tasks) * torch.softmax(ratios / TEMPERATURE, 0)


class RLW(LossBalancing):
    """Random loss weighting (Lin, Ye, Zhang and Tsang, TMLR 2022): n softmax(z), z standard normal.

    z is drawn in every step, from the global generator, which is seeded before each step and from which the
    method has drawn first: a resumed run draws the same, and no draw of the method's depends on it.

    Absence: the softmax is over the n tasks present, though a number is drawn for every task.
    """

    def _weights(self, losses: Tensor, labels: Tensor) -> Tensor:
        present = labels > 0
        z = torch.randn(labels.shape, dtype=labels.dtype, device=labels.device)
        return present.sum() * present_softmax(z, present)


class GLS(LossBalancing):
    """Geometric loss strategy (Chennupati, Sistu, Yogamani and Rawashdeh, CVPR Workshops 2019).

    The geometric mean G of the losses, times their number: its gradient is that of sum_t (G / L_t) L_t.

    Absence: G = exp(sum_t labels_t log l_t / sum_t labels_t), the geometric mean of the mean losses per label
    in which a task counts as often as it is labelled, and weight_t = G / l_t. A full batch gives the paper's
    product, an absent task is left out, and a single present task keeps weight 1. On L_t itself every present
    task would pull equally hard, however few of the batch's labels are its own.
    """

    def _weights(self, losses: Tensor, labels: Tensor) -> Tensor:
        logs = torch.log(per_label(losses, labels))
        mean = (labels * logs).sum() / labels.sum().clamp_min(torch.finfo(labels.dtype).tiny)
        return torch.exp(mean - logs) * (labels > 0)


class Isolate(LossBalancing):
    """One task a step, as StableMTL trains (Cao, Lopes and de Charette, 2025).

    Tasks take turns: of those present, the first at or after the counter, which then stands behind it. Its
    weight is the number of tasks present, so that one alone keeps weight 1.

    Departure: StableMTL draws batches of one task; here a batch has what labels it has, and those of the
    other tasks are discarded.

    Absence: an absent task is passed over, and a batch without any moves nothing.
    """

    counter: Tensor

    def __init__(self, tasks: Mapping[str, Task], shares: Tensor | None) -> None:
        super().__init__(tasks, shares)
        self.register_buffer("counter", torch.zeros((), dtype=torch.int64))

    def _weights(self, losses: Tensor, labels: Tensor) -> Tensor:
        count, present = len(self.tasks), labels > 0
        numbers = torch.arange(count, device=labels.device)
        chosen = torch.where(present, (numbers - self.counter) % count, count).argmin()
        self.counter.copy_(torch.where(present.any(), (chosen + 1) % count, self.counter))
        return (present & (numbers == chosen)) * present.sum().to(labels)


class FAMO(LossBalancing):
    """Fast adaptive multitask optimisation (Liu, Feng, Stone and Liu, NeurIPS 2023), in one forward pass.

    Weights are proportional to softmax_t(xi) / l_t; the logits xi fall for tasks whose log-loss falls faster
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
        never = torch.full((count,), torch.inf, dtype=torch.float64)
        self.register_buffer("last", never)  # log l_t; infinite: none yet

    def _weights(self, losses: Tensor, labels: Tensor) -> Tensor:
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
        squares = (gradient, gradient**2)
        moved_on = [b * m + (1 - b) * g for b, m, g in zip(BETAS, self.moments, squares, strict=True)]
        moments = torch.stack(moved_on)
        first, second = (m / (1 - b**updates) for b, m in zip(BETAS, moments, strict=True))
        logits = self.logits - RATE * first / (second.sqrt() + EPSILON)
        for state, new in ((self.logits, logits), (self.moments, moments), (self.updates, updates)):
            state.copy_(torch.where(moved, new, state))
