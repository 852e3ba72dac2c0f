"""Semi-supervised consistency regularisation: two views of an image must get the same predictions."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from methods.base import Batch, Diagnostic, Losses, Problem
from methods.multi_task import MultiTask
from methods.networks import inspection
from methods.networks.pseudo_labels import SEARCH, PseudoLabels, trusted_shares


class Consistency(MultiTask):
    """Add to `multi_task` that two views agree where there is no label.

    The second view is a crop of the first. The first view's prediction, detached, is warped into it and
    becomes a pseudo-label where it is to be trusted (`PseudoLabels`); the second view's prediction learns it
    by the supervised loss, averaged over the pixels that have one, summed over a sample's unlabelled tasks
    with the protocol's loss weights, averaged over the batch. Both views go through the network as one batch.

    The first view is the teacher because it is what the supervised loss is on, shows more of the image, and
    sees more around every pixel. This is the baseline 'SS' of Li, Liu and Bilen (CVPR 2022), as far as it is
    known: that paper has no formula, its code thresholds but no weight and no ramp. Open, and chosen here:
    weight, ramp_up, which side is detached, and that normals agree by their cosine.
    """

    summary = "multi_task, and predictions for two views of an image that must agree where there is no label"
    paper = "consistency regularisation, the baseline of Li, Liu, Bilen, CVPR 2022"
    views: ClassVar[int] = 1
    search: ClassVar[dict[str, tuple[Any, ...]]] = SEARCH

    def __init__(
        self,
        problem: Problem,
        *,
        weight: float = 1.0,
        confidence: float = 0.95,
        agreement: float = 0.1,
        ramp_up: float = 0.25,
    ) -> None:
        """confidence: least probability of a class. agreement: largest difference of depth (metres) and of
        normals (1 - cosine). ramp_up: share of training over which `weight` grows.

        Raises `UserError` for a value out of range.
        """
        super().__init__(problem)
        self.pseudo_labels = PseudoLabels("consistency", weight, confidence, agreement, ramp_up)

    def losses(self, batch: Batch, progress: Tensor) -> Losses:
        """See `Method.losses`."""
        view = batch.views[0]
        first, second = self.both(batch)
        supervised = self.problem.task_losses(first, batch, batch.labelled)
        extra = self.pseudo_labels.loss(self.problem, first, second, view, batch.labelled, progress)
        return Losses(supervised, {"consistency": extra})

    def both(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Predict for the first view and for the second."""
        predictions = self.predict(torch.cat([batch.images, batch.views[0].images]))
        b = len(batch.images)
        return {name: p[:b] for name, p in predictions.items()}, {
            name: p[b:] for name, p in predictions.items()
        }

    def diagnostics(self, batch: Batch) -> dict[str, Diagnostic]:
        """Measure the share of pixels that get a pseudo-label, for each task."""
        targets = self.pseudo_labels.targets(self.problem.tasks, *self.both(batch), batch.views[0])
        return inspection.scalars(trusted_shares(self.problem.tasks, targets))
