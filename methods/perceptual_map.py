"""Cross-task maps as a perceptual loss, after Zamir et al. (CVPR 2020)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from datasets.tasks import Task
from methods.base import Batch, Losses, Problem
from methods.multi_task import MultiTask
from methods.networks.cross_task import CrossTask, check, map_distances, map_losses
from methods.networks.frozen import frozen
from methods.networks.mapper import label_input, prediction_input


class PerceptualMap(MultiTask):
    """Map predictions into every other task's label space as labels do.

    With m_st the network of a pair, y^ the prediction, y the label, m~ the same network as a constant:

        s labelled:                |m~_st(y^_s) - m_st(y_s)|, for every t, labelled or not;
        s not labelled, t is:      loss_t(m~_st(y^_s), y_t), as m_st(y_s) is not to be had but y_t is;

    summed over pairs with the protocol's weights w_t, averaged over the batch, times map_weight. The first is
    an L1 distance of probabilities, metres or unit vectors over the pixels where y_s is known; unknown ones
    are blanked in y^_s too. Neither trains networks: that does `mapping`, loss_t(m_st(x), y_t) for every
    labelled t, with x = y_s, or y^_s, detached, without it.

    Departures:
        Zamir et al.: the first loss alone; the second says something of predictions without a label.
        Zamir et al.: networks are trained on pairs of labels beforehand; here along, from predictions where
            labels lack.
        Zamir et al.: a U-Net a pair; here one a run with FiLM a source, as T (T - 1) passes would be dear.
        MTPSL's and JTR's tables, which name the baseline without a formula: weight, distances and view are
            chosen here.
    """

    own_kinds = False
    summary = "multi_task, and predictions that must map into the other tasks' label spaces as labels do"
    paper = (
        "baseline of Li, Liu, Bilen, CVPR 2022, after Zamir et al.: Robust Learning Through Cross-Task "
        "Consistency, CVPR 2020"
    )

    def __init__(
        self,
        problem: Problem,
        *,
        map_weight: float = 1.0,
        mapper_width: int = 64,
        mapper_stride: Literal[1, 2, 4, 8] = 1,
        unlabelled_sources: bool = True,
    ) -> None:
        """Raise `UserError` for a value out of range.

        Args:
            map_weight: weight of both losses on mapped predictions.
            mapper_width: channels of the networks' first level.
            mapper_stride: s has the networks read, and be compared with, every s-th pixel.
            unlabelled_sources: take the second loss; without it predictions that have no label learn nothing.
        """
        super().__init__(problem)
        check("perceptual_map", problem, map_weight, mapper_width)
        self.map_weight, self.stride, self.unlabelled_sources = map_weight, mapper_stride, unlabelled_sources
        self.mapper = CrossTask(problem.tasks, mapper_width, mapper_stride)

    def losses(self, batch: Batch, progress: Tensor) -> Losses:
        """See `Method.losses`."""
        predictions = self.predict(batch.images)
        supervised = self.problem.task_losses(predictions, batch, batch.labelled)
        return Losses(supervised, self.mapped(predictions, batch.targets, batch.labelled))

    def mapped(
        self, predictions: dict[str, Tensor], targets: dict[str, Tensor], labelled: Tensor
    ) -> dict[str, Tensor]:
        """Compute the extra losses.

        predictions, targets: {task: (B, C, H, W)}; labelled: (B, T) bool.
        """
        stride = self.stride
        predicted, learnt, valid = dict[str, Tensor](), dict[str, Tensor](), dict[str, Tensor]()
        targets = {name: target[..., ::stride, ::stride] for name, target in targets.items()}
        for t, (name, task) in enumerate(self.problem.tasks.items()):
            has_label = labelled[:, t].view(-1, 1, 1, 1)
            valid[name] = task.valid(targets[name]) & has_label
            shown = valid[name] | ~has_label
            # Blanked before as well as after: the maximum of depth must not come from where the label has
            # none.
            map_ = prediction_input(task, torch.where(shown, predictions[name][..., ::stride, ::stride], 0))
            known = label_input(task, targets[name], map_.dtype)
            predicted[name] = torch.where(shown, map_, known)
            learnt[name] = torch.where(has_label, known, predicted[name].detach())
        of_predictions, of_labels = frozen(self.mapper, predicted), self.mapper(learnt)
        constants = {pair: m.detach() for pair, m in of_labels.items()}
        perceptual = map_distances(self.problem, of_predictions, constants, valid)
        if self.unlabelled_sources:
            perceptual = perceptual + map_losses(self.problem, of_predictions, targets, ~labelled)
        mapping = map_losses(self.problem, of_labels, targets, torch.ones_like(labelled))
        return {"perceptual": self.map_weight * perceptual.mean(), "mapping": mapping.mean()}

    @classmethod
    def skip(cls, tasks: dict[str, Task]) -> str | None:
        """See `Method.skip`."""
        return None if len(tasks) > 1 else "it maps tasks to one another, so it needs at least two"

    def inference_modules(self) -> list[nn.Module]:
        """See `Method.inference_modules`."""
        return [self.encoder, self.decoders, self.heads]
