"""Mean teacher (Tarvainen and Valpola, NeurIPS 2017): a network's moving average gives pseudo-labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from benchmark.errors import UserError
from methods.base import Batch, Diagnostic, Losses, Problem
from methods.networks import averaged, inspection
from methods.networks.bin_heads import BinHeads, Outputs
from methods.networks.pseudo_labels import SEARCH, PseudoLabels, trusted_shares


class MeanTeacher(BinHeads):
    """Add to `multi_task` pseudo-labels of a moving average of it.

    The teacher is a second network of the same shape, theta' <- a theta' + (1 - a) theta after step k = 0, 1,
    ..., with a = min(decay, (k + 1) / (k + 10)); it starts as a copy of the student and gets no gradient. Its
    prediction for the first view, warped into the second, which is a crop of it, becomes a pseudo-label where
    it is to be trusted (`PseudoLabels`). The student learns it by the supervised loss, averaged over the
    pixels that have one, summed over a sample's unlabelled tasks with the protocol's loss weights, averaged
    over the batch. Both views go through the student as one batch.

    The teacher's BatchNorm statistics come from its own forward passes in training mode, as in the published
    code: averaged weights have other activations than the networks they average, so averaged statistics would
    not be theirs.

    Departures:
        The paper: a squared distance of probabilities everywhere; pseudo-labels carry over to regressions.
        HiTTs (ACM MM 2025): the threshold 0.9 is its own for segmentation; here also for binary maps.
        The authors' code: a = min(1 - 1 / (k + 1), decay); here (k + 1) / (k + 10), which forgets sooner.
        None of them: weight and agreement are chosen here, as in `consistency`.
    """

    summary = (
        "multi_task, and a moving average of the network that labels unlabelled tasks where it is confident"
    )
    paper = "Tarvainen, Valpola: Mean teachers are better role models, NeurIPS 2017"
    views: ClassVar[int] = 1
    search: ClassVar[dict[str, tuple[Any, ...]]] = SEARCH | {"decay": (0.9, 0.99, 0.995, 0.999, 0.9995)}
    updates: Tensor

    def __init__(
        self,
        problem: Problem,
        *,
        weight: float = 1.0,
        confidence: float = 0.9,
        agreement: float = 0.1,
        ramp_up: float = 0.25,
        decay: float = 0.999,
        evaluate: Literal["teacher", "student"] = "teacher",
        trust: Literal["agreement", "bins"] = "agreement",
        certainty: float = 0.85,
        window: bool = False,
    ) -> None:
        """Raise `UserError` for a value out of range.

        Args:
            weight: factor of the loss on pseudo-labels, at its full height.
            confidence: the probability that a class or binary prediction must exceed to be a pseudo-label.
            agreement: largest difference of the two predictions, in metres of depth and 1 - cosine of
                normals.
            ramp_up: share of training over which `weight` grows; 0 is full weight from the first step.
            decay: a, the share of the average that a step keeps, once it has grown.
            evaluate: whose predictions count.
            trust: regressions count where teacher and student agree, or where bins of a further
                head are confident, with a loss of their own (HiTTs, ACM MM 2025).
            certainty: least confidence of the bins.
            window: count the neighbours of the likeliest bin to its confidence.
        """
        super().__init__(problem, trust == "bins")
        self.pseudo_labels = PseudoLabels("mean_teacher", weight, confidence, agreement, ramp_up, certainty)
        if not 0 <= decay < 1:
            raise UserError(
                f"mean_teacher: decay must be at least 0 and below 1, not {decay}; change the "
                f"hyper-parameter."
            )
        self.decay, self.evaluate, self.window = decay, evaluate, window
        self.teacher = BinHeads(problem, trust == "bins").requires_grad_(False)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def losses(self, batch: Batch, progress: Tensor) -> Losses:
        """See `Method.losses`."""
        first, second = self.both(batch)
        found, taught = self.supervised(first, batch), self.taught(batch.images)
        found.extra["consistency"] = self.pseudo_labels.loss(
            self.problem, taught[0], second[0], batch.views[0], batch.labelled, progress, self.scores(taught)
        )
        return found

    @torch.no_grad()
    def taught(self, images: Tensor) -> Outputs:
        """Run the teacher, moving its BatchNorm statistics in training."""
        return self.teacher.run(images)

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """See `Method.predict`."""
        return self.teacher.predict(images) if self.evaluate == "teacher" else super().predict(images)

    def prepare(self, batches: Iterator[Batch]) -> None:
        """Place the bins and make the teacher a copy of the student, now that its weights are final."""
        self.bins.place(batches)
        averaged.start(self.teacher, self)

    def after_step(self) -> None:
        """Move the average."""
        averaged.move(self.teacher, self, self.updates, self.decay)

    def inference_modules(self) -> list[nn.Module]:
        """See `Method.inference_modules`."""
        return self.teacher.inference_modules() if self.evaluate == "teacher" else super().inference_modules()

    def diagnostics(self, batch: Batch) -> dict[str, Diagnostic]:
        """Measure the share of pixels that get a pseudo-label, for each task."""
        (_, second), taught = self.both(batch), self.taught(batch.images)
        targets = self.pseudo_labels.targets(
            self.problem.tasks, taught[0], second[0], batch.views[0], self.scores(taught)
        )
        return inspection.scalars(trusted_shares(self.problem.tasks, targets))
