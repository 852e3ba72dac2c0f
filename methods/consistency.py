"""Semi-supervised consistency regularisation: two views of an image must get the same predictions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from torch import Tensor

from methods.base import Batch, Diagnostic, Losses, Problem
from methods.networks import inspection
from methods.networks.bin_heads import BinHeads
from methods.networks.pseudo_labels import SEARCH, PseudoLabels, trusted_shares


class Consistency(BinHeads):
    """Add to `multi_task` that two views agree where there is no label.

    The second view is a crop of the first. The first view's prediction, detached, is warped into it and
    becomes a pseudo-label where it is to be trusted (`PseudoLabels`); the second view's prediction learns it
    by the supervised loss, averaged over the pixels that have one, summed over a sample's unlabelled tasks
    with the protocol's loss weights, averaged over the batch. Both views go through the network as one batch.

    The first view is the teacher because it is what the supervised loss is on, shows more of the image, and
    sees more around every pixel. This is the baseline 'SS' of Li, Liu and Bilen (CVPR 2022), as far as it is
    known.

    Departures:
        MTPSL's paper: it has no formula; weight, ramp_up and which side is detached are chosen here.
        MTPSL's code, in helpers never called: normals agree a component at a time; here by their cosine, an
            angle.
        MTPSL's code, there too: the mean is over all pixels; here over the trusted, as every loss of the
            protocol.
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
            trust: regressions count where two predictions agree, or where bins of a further
                head are confident, with a loss of their own (HiTTs, ACM MM 2025).
            certainty: least confidence of the bins.
            window: count the neighbours of the likeliest bin to its confidence.
        """
        super().__init__(problem, trust == "bins")
        self.pseudo_labels = PseudoLabels("consistency", weight, confidence, agreement, ramp_up, certainty)
        self.window = window

    def losses(self, batch: Batch, progress: Tensor) -> Losses:
        """See `Method.losses`."""
        first, second = self.both(batch)
        found = self.supervised(first, batch)
        found.extra["consistency"] = self.pseudo_labels.loss(
            self.problem, first[0], second[0], batch.views[0], batch.labelled, progress, self.scores(first)
        )
        return found

    def prepare(self, batches: Iterator[Batch]) -> None:
        """Place the bins."""
        self.bins.place(batches)

    def diagnostics(self, batch: Batch) -> dict[str, Diagnostic]:
        """Measure the share of pixels that get a pseudo-label, for each task."""
        first, second = self.both(batch)
        targets = self.pseudo_labels.targets(
            self.problem.tasks, first[0], second[0], batch.views[0], self.scores(first)
        )
        return inspection.scalars(trusted_shares(self.problem.tasks, targets))
