"""Supervision by a teacher's maps, such as a foundation model's, where an image has no label."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from benchmark.errors import UserError
from methods.base import Batch, Losses, Problem
from methods.losses import per_sample_loss
from methods.multi_task import MultiTask
from methods.networks.taught import TaughtBatch


class TeacherLabels(MultiTask):
    """Add to `multi_task` a teacher's maps of the tasks that an image has no visible label of.

    The maps were made before training, by whatever model, and come with the data (`TaughtBatch.teacher`). The
    prediction learns them by the supervised loss of its task, over the pixels that have one, summed over a
    sample's unlabelled tasks with the protocol's loss weights, averaged over the batch:
    `weight` / B sum_b sum_t w_t [no label of t in b] loss_t(prediction, teacher's map). Where a label of the
    task is visible, its image's map is not used, in no pixel; a map is trusted in all of its pixels.

    Departures:
        Depth Anything (CVPR 2024): the student sees strongly distorted views; here the protocol's.
        Noisy Student (CVPR 2020): the student is the next teacher; here the one that is given stays.
        Both of them: pseudo-labels of further images; here of the data set's own, in place of labels.
    """

    summary = (
        "multi_task, and a teacher's precomputed maps (of a foundation model, say) where there is no label"
    )
    paper = "pseudo-labels of a fixed teacher; after Yang et al.: Depth Anything, CVPR 2024"
    uses_teacher: ClassVar[bool] = True

    def __init__(self, problem: Problem, *, weight: float = 1.0) -> None:
        """Raise `UserError` for a weight out of range.

        Args:
            weight: factor of the loss on the teacher's maps; 1 trusts a map as a label of an image that has
                all, 0 is `multi_task`.
        """
        super().__init__(problem)
        if not 0 <= weight < math.inf:
            raise UserError(
                f"teacher_labels: weight must be 0 or more, not {weight}; change the hyper-parameter."
            )
        self.weight = weight

    def losses(self, batch: Batch, progress: Tensor) -> Losses:
        """See `Method.losses`."""
        assert isinstance(batch, TaughtBatch)  # as `uses_teacher` asks
        predictions = self.predict(batch.images)
        found = Losses(self.problem.task_losses(predictions, batch, batch.labelled))
        terms = []
        for t, (name, task) in enumerate(self.problem.tasks.items()):
            if name in batch.teacher and self.weight:
                seen = batch.labelled[:, t].view(-1, 1, 1, 1)
                unseen = batch.teacher[name].masked_fill(seen, task.ignore)
                loss = per_sample_loss(task, predictions[name], unseen).mean()
                terms.append(self.problem.loss_weights.get(name, 1.0) * loss)
        if terms:
            found.extra["teacher"] = self.weight * torch.stack(terms).sum()
        return found
