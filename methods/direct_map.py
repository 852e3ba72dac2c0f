"""Cross-task maps of predictions to labels, after Zamir et al. (CVPR 2020)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from datasets.tasks import Task
from methods.base import Batch, Losses, Problem
from methods.multi_task import MultiTask
from methods.networks.cross_task import CrossTask, check, map_losses
from methods.networks.frozen import frozen
from methods.networks.mapper import label_input, prediction_input


class DirectMap(MultiTask):
    """Map `multi_task`'s unlabelled predictions to the labels there are.

    For sample b, task s without label and task t with one, m_st the network of that pair, y^ the prediction,
    y the label:

        loss_t(m_st(y^_s), y_t),

    the supervised loss of t with the protocol's weight, summed over pairs, averaged over the batch, times
    map_weight. The network's input is that of `mtpsl`: a hard Gumbel sample of classes, depth over its
    maximum, (n + 1) / 2.

    Departures:
        Zamir et al.: networks are trained on pairs of labels beforehand; here along, as no set has all
            labels.
        Zamir et al.: |m_st(y^_s) - y_t| of any task; here the protocol's loss of t, which classes have too.
        Zamir et al.: a U-Net a pair; here one a run with FiLM a source, as T (T - 1) passes would be dear.
        MTPSL's and JTR's tables, which name the baseline without a formula: weight and view are chosen here.
    """

    own_kinds = False
    summary = "multi_task, and predictions of unlabelled tasks mapped to the labels that are there"
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
        mapper_learns_from: Literal["predictions", "labels"] = "predictions",
    ) -> None:
        """Raise `UserError` for a value out of range.

        Args:
            map_weight: weight of the loss on mapped predictions.
            mapper_width: channels of the networks' first level.
            mapper_stride: s has the networks read, and be compared with, every s-th pixel.
            mapper_learns_from: "predictions", the loss above, along with them; "labels", as in Zamir et al.,
                pairs
                of labels of one image alone (there are none with one label an image), as constants of that
                    loss.
        """
        super().__init__(problem)
        check("direct_map", problem, map_weight, mapper_width)
        self.map_weight, self.stride, self.learns_from = map_weight, mapper_stride, mapper_learns_from
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
        tasks, s = self.problem.tasks, self.stride
        targets = {name: targets[name][..., ::s, ::s] for name in tasks}
        inputs = {
            name: prediction_input(task, predictions[name][..., ::s, ::s]) for name, task in tasks.items()
        }
        if self.learns_from == "predictions":
            direct = map_losses(self.problem, self.mapper(inputs), targets, ~labelled)
            return {"direct": self.map_weight * direct.mean()}
        direct = map_losses(self.problem, frozen(self.mapper, inputs), targets, ~labelled)
        known = {name: label_input(task, targets[name], inputs[name].dtype) for name, task in tasks.items()}
        mapping = map_losses(self.problem, self.mapper(known), targets, labelled)
        return {"direct": self.map_weight * direct.mean(), "mapping": mapping.mean()}

    @classmethod
    def skip(cls, tasks: dict[str, Task]) -> str | None:
        """See `Method.skip`."""
        return None if len(tasks) > 1 else "it maps tasks to one another, so it needs at least two"

    def inference_modules(self) -> list[nn.Module]:
        """See `Method.inference_modules`."""
        return [self.encoder, self.decoders, self.heads]
