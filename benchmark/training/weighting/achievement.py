"""Weightings that look at how well the visible labels of training batches are predicted."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from benchmark.spec.weighting import OfAMTLG
from benchmark.training.weighting.base import Balancing, LossBalancing, per_label, present_softmax
from datasets.tasks import Task
from methods.base import Batch, Diagnostic, Losses, Problem, View
from methods.losses import binary_weight

NEAR_RATIO, NEAR_DEGREES = 1.25, 11.25  # of depths, of normals that count as right


@torch.no_grad()
def score(task: Task, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Measure the share of a batch's labelled pixels that are right, 0-d in [0, 1]; and how many there are.

    Class maps: the most likely class. Depth: within a ratio of 1.25. Normals: within 11.25 degrees. Edge and
    saliency: the right side of 1/2, pixels weighted as in their loss, as most of them are background.
    prediction: (B, C, H, W); target: (B, C', H, W), hidden labels ignored.
    """
    valid, x = task.valid(target), prediction.to(torch.promote_types(prediction.dtype, torch.float32))
    weight = valid.to(x)
    if task.kind == "classes":
        right = x.max(1, keepdim=True).indices == target
    elif task.kind == "depth":
        known = torch.where(valid, target, 1)
        right = (x < NEAR_RATIO * known) & (known < NEAR_RATIO * x)
    elif task.kind == "normals":
        along = (x * torch.where(valid, target, 0)).sum(1, keepdim=True)
        right = along > math.cos(math.radians(NEAR_DEGREES)) * x.square().sum(1, keepdim=True).sqrt()
    else:
        right = (x > 0) == (target == 1)
        weight = weight * binary_weight(task, (target == 1).to(x), valid)
    total = weight.sum(dtype=torch.float64)
    return (right * weight).sum(dtype=torch.float64) / torch.where(total > 0, total, 1), total


class Scores(nn.Module):
    """Moving averages of each task's `score`, of the batches that carry its labels.

    Measured on the predictions that the method first calls `Problem.task_losses` with in a step, which are
    those that it makes, before auxiliary ones; or as the method gives them in `Losses.scores`. A task's first
    score is its average; then average <- decay average + (1 - decay) score. An absent task's stays.
    """

    averages: Tensor

    def __init__(self, problem: Problem, decay: float) -> None:
        super().__init__()
        self.kinds, self.decay = problem.tasks, decay
        never = torch.full((len(self.kinds),), -1.0, dtype=torch.float64)
        self.register_buffer("averages", never)
        self._measured: Tensor | None = None  # of this step: (T, 2) scores and pixels
        problem.observers.append(self._observe)

    def begin(self) -> None:
        """Begin a step: forget what was seen outside of one."""
        self._measured = None

    def _observe(self, predictions: dict[str, Tensor], batch: Batch | View) -> None:
        if self._measured is None:
            found = [score(t, predictions[n], batch.targets[n]) for n, t in self.kinds.items()]
            self._measured = torch.stack([torch.stack(each) for each in found])

    def move(self, losses: Losses, present: Tensor) -> Tensor:
        """Return the averages (T,) after this step; those of tasks never present are below 0.

        present: (T,) bool. Raises `TypeError` where the method gives no scores and nothing was seen.
        """
        if losses.scores:
            new = torch.stack([losses.scores[name].detach().double() for name in self.kinds])
        elif self._measured is not None:
            new, present = self._measured[:, 0], present & (self._measured[:, 1] > 0)
        else:
            raise TypeError(
                "this weighting needs scores: losses() must call problem.task_losses or give Losses.scores"
            )
        moved = torch.where(self.averages < 0, new, self.decay * self.averages + (1 - self.decay) * new)
        self.averages.copy_(torch.where(present, moved, self.averages))
        self.begin()
        return self.averages

    def diagnostics(self) -> dict[str, Diagnostic]:
        """Return each task's average; 0 before its first label."""
        values = self.averages.clamp_min(0).cpu().numpy()
        return {f"score, {n}": Diagnostic("scalar", v) for n, v in zip(self.kinds, values, strict=True)}


class Equal(Balancing):
    """The plain sum: the protocol's own weights are in the losses, and an absent task adds 0."""

    def __init__(self, problem: Problem | None = None) -> None:
        """problem: of the method, to record `Scores` too, which change nothing."""
        super().__init__()
        self.scores = Scores(problem, OfAMTLG().decay) if problem else None

    def begin(self) -> None:
        """Begin a step."""
        if self.scores:
            self.scores.begin()

    def backward(self, losses: Losses, batch: Batch) -> None:
        """Take the backward pass of the sum."""
        if self.scores:
            values = torch.stack([losses.tasks[name].detach() for name in self.scores.kinds])
            self.scores.move(losses, values != 0)
        losses.total().backward()

    def diagnostics(self) -> dict[str, Diagnostic]:
        """Return the scores, where they are recorded."""
        return self.scores.diagnostics() if self.scores else {}


class AMTLG(LossBalancing):
    """Achievement-based training progress balancing, geometric (Yun and Cho, ICCV 2023).

    With k_t the moving average of a task's score on visible training labels (`Scores`) and P_t its potential,
    raised by the margin:

        a_t = min(1, k_t / P_t)   w = softmax_t((1 - a_t)^gamma)   G = exp(sum labels w log l / sum labels w)

    and weight_t = w_t (G / l_t) sum labels / sum labels w: the gradient of the weighted geometric mean, times
    the number of labels. Equal w, as of gamma = 0, are `GLS`, to the bit. A w is at most e times another.

    Departures. The published scores are those of the test set, twice an epoch, of averaged weights: here of
    the training batches' visible labels, so that nothing is chosen on the test set. Its metrics (mIoU, mAP)
    are pooled over a data set: here shares of pixels, which a batch has. Above the potential an even gamma
    raises w again: a_t ends at 1. Without potentials they are 1, which no task passes, and are not raised.

    Absence: w is over the tasks present. An absent task enters no mean and no state; one alone has weight 1.
    """

    def __init__(self, problem: Problem, values: OfAMTLG) -> None:
        super().__init__(problem.tasks, problem.label_shares)
        self.gamma, self.scores = values.gamma, Scores(problem, values.decay)
        given = [values.potentials.get(name, 1.0) for name in self.tasks]
        potentials = torch.tensor(given, dtype=torch.float64) * (
            1 + values.margin if values.potentials else 1
        )
        self.register_buffer("potentials", potentials, persistent=False)
        self.potentials: Tensor
        self._losses: Losses | None = None

    def begin(self) -> None:
        """Begin a step."""
        self.scores.begin()

    def backward(self, losses: Losses, batch: Batch) -> None:
        """Take the backward pass of the weighted sum."""
        self._losses = losses
        super().backward(losses, batch)
        self._losses = None

    def _weights(self, losses: Tensor, labels: Tensor) -> Tensor:
        assert self._losses is not None
        present = labels > 0
        achieved = self.scores.move(self._losses, present) / self.potentials
        # Times the number present: 1 where all are equal.
        focus = present.sum() * present_softmax((1 - achieved.clamp(0, 1)) ** self.gamma, present)
        tiny, logs = torch.finfo(labels.dtype).tiny, torch.log(per_label(losses, labels))
        total = (labels * focus).sum().clamp_min(tiny)
        mean = (labels * focus * logs).sum() / total
        return focus * torch.exp(mean - logs) * (labels.sum() / total) * present

    def diagnostics(self) -> dict[str, Diagnostic]:
        """Return mean weights and the scores."""
        return super().diagnostics() | self.scores.diagnostics()
