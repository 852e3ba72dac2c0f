"""Cross-task consistency in pairwise spaces (MTPSL: Li, Liu and Bilen, CVPR 2022)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from benchmark.errors import UserError
from methods.base import Batch, Losses, Problem, View
from methods.networks.mapper import Mapper, cosine_distance, direction
from methods.networks.pair_maps import PairMapped, pair_maps


class MTPSL(PairMapped):
    """Make `multi_task`'s unlabelled predictions agree with labels, by pairs.

    For sample b, task s without label and task t with one, m the mapper of pair (s, t), y^ the prediction, f
    the encoder's deepest feature, detached, and D = 1 - cosine over channels, averaged over positions:

        D(m(y^_s), m(y_t)) + regulariser * (D(m(y^_s), f) + D(m(y_t), f)),

    summed over pairs, averaged over the batch, times consistency_weight. It is taken on a second view; the
    supervised loss is on the first; both go through the network as one batch. Weights as published for NYUv2;
    the plan `cityscapes` has those for Cityscapes.

    Where the run's labels are complete, all ordered pairs of tasks are taken, as in the published code, in
    which that is a matter of the run: a fully labelled sample among partly labelled ones has no pair, there
    as here.

    Departures:
        MTPSL's code: a label without a valid pixel in the second view takes part; here it has nothing to
            agree with.
        MTPSL's code: depth over its largest value; here over its magnitude, as predictions may all be
            negative.
        MTPSL's code: FiLM's rate halves every 30 epochs, the rest's every 100; here both follow the protocol.
        MTPSL's code: a plain sum, with 1 - cosine of normals; here the protocol's losses, the same for all
            methods.
        MTPSL's code: bilinear normals in a crop, not made unit again; here the nearest pixel's.
        MTPSL's code for Cityscapes: inverse depth of a zoomed crop is divided by the zoom; here multiplied,
            being nearer.
        MTPSL's code: it has no edge and saliency; here a sample of the two-class distribution, as of classes.
    """

    summary = (
        "multi_task, and consistency of unlabelled tasks' predictions with the labels that are there, "
        "in pairwise spaces"
    )
    paper = (
        "Li, Liu, Bilen: Learning Multiple Dense Prediction Tasks from Partially Annotated Data, CVPR 2022"
    )
    version: ClassVar[int] = 2
    views: ClassVar[int] = 1

    def __init__(
        self,
        problem: Problem,
        *,
        consistency_weight: float = 2.0,
        regulariser: float = 0.5,
        mapper_width: int = 64,
        mapper_stride: Literal[1, 2, 4, 8, 16] = 1,
        film_lr_scale: float = 10.0,
    ) -> None:
        """Raise `UserError` for a value out of range, and for images too small for the mapper.

        Args:
            consistency_weight: weight of the consistency beside the supervised losses; 2 for NYUv2, 1 for
                Cityscapes.
            regulariser: weight of the distances to the encoder's feature, over that of the pair's own.
            mapper_width: channels of the mapper's first level; 64 as published.
            mapper_stride: s has the mapper read every s-th pixel, with as much less pooling; 1 as published.
            film_lr_scale: learning rate of the mapper's FiLM over the rest's; 10 for NYUv2, 0.1 for
                Cityscapes.
        """
        super().__init__(problem)
        if min(consistency_weight, regulariser, film_lr_scale) < 0 or mapper_width < 1:
            raise UserError(
                "mtpsl: mapper_width must be at least 1 and no weight or scale negative; change the "
                "hyper-parameter."
            )
        if min(problem.size) < 32:
            raise UserError(
                f"mtpsl: images must be at least 32 pixels high and wide, not {problem.size}; raise the size."
            )
        self.consistency_weight, self.regulariser, self.film_lr_scale = (
            consistency_weight,
            regulariser,
            film_lr_scale,
        )
        self.stride = mapper_stride
        self.mapper = Mapper(problem.tasks, mapper_width, self.encoder.channels[-1], mapper_stride)

    def losses(self, batch: Batch, progress: Tensor) -> Losses:
        """See `Method.losses`."""
        view, b = batch.views[0], len(batch.images)
        stages = self.encoder.stages(torch.cat([batch.images, view.images]))
        shared = self.encoder.fuse(stages)
        halves = {name: self.heads[name](self.decoders[name](shared)).chunk(2) for name in self.problem.tasks}
        first, second = ({name: p[v] for name, p in halves.items()} for v in range(2))
        supervised = self.problem.task_losses(first, batch, batch.labelled)
        consistency = self.consistency(second, view, batch.labelled, stages[-1][b:].detach())
        return Losses(supervised, {"consistency": self.consistency_weight * consistency})

    def consistency(
        self, predictions: dict[str, Tensor], view: View, labelled: Tensor, deepest: Tensor
    ) -> Tensor:
        """Sum over a sample's pairs, mean over the batch.

        deepest: (B, c, H/32, W/32).
        """
        maps, place, taken = pair_maps(
            self.mapper, self.problem, predictions, view.targets, labelled, self.stride
        )
        of_prediction, of_label = direction(maps).view(2, *place.shape, *maps.shape[1:]).unbind(0)
        feature = direction(deepest)[:, None]
        apart = cosine_distance(of_prediction, of_label)
        apart = apart + self.regulariser * (
            cosine_distance(of_prediction, feature) + cosine_distance(of_label, feature)
        )
        return (apart * taken).sum(1).mean()
