"""PAD-Net (Xu, Ouyang, Wang and Sebe, CVPR 2018): preliminary predictions, then distillation between
tasks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmark.errors import UserError
from datasets.tasks import Task
from methods.base import Batch, Losses, Problem
from methods.multi_task import MultiTask
from methods.networks.distillation import Distillation


class PADNet(MultiTask):
    """Let every task of `multi_task` receive from all others' features.

    A reference for partial labels: all information is exchanged between the tasks, in features, and neither
    loss asks for more than the labels that are there. What task k sends to task l is trained by l's labels,
    also where k has none.

    Departures:
        PAD-Net's paper: attention is read from the receiver; here from the sender, as in the survey of
            Vandenhende et al. (TPAMI 2021), whose public code is what others compare with.
        PAD-Net's paper: upsampled backbone features and decoders of deconvolutions; here the protocol's
            network.
        PAD-Net's paper: further tasks help two final ones; here every task of the protocol is both.
    """

    summary = "multi_task, and every task's feature receives from all others' by spatial attention"
    paper = (
        "Xu, Ouyang, Wang, Sebe: PAD-Net: Multi-Tasks Guided Prediction-and-Distillation Network, CVPR 2018"
    )

    def __init__(self, problem: Problem, *, preliminary_weight: float = 1.0) -> None:
        """Raise `UserError` for a negative weight.

        Args:
            preliminary_weight: weight of the supervised losses of the preliminary heads; 1 as in the survey's
                code.
        """
        super().__init__(problem)
        if preliminary_weight < 0:
            raise UserError(
                f"pad_net: preliminary_weight = {preliminary_weight} is negative; change the hyper-parameter."
            )
        self.preliminary_weight = preliminary_weight
        self.preliminary_heads = nn.ModuleDict(
            {name: problem.make_head(task) for name, task in problem.tasks.items()}
        )
        self.distillation = Distillation(len(problem.tasks), problem.width)

    def losses(self, batch: Batch, progress: Tensor) -> Losses:
        """See `Method.losses`."""
        features = self.features(batch.images)
        final = self.problem.task_losses(self.refined(features), batch, batch.labelled)
        preliminary = self.problem.task_losses(
            _predicted(self.preliminary_heads, features), batch, batch.labelled
        )
        return Losses(
            final, {"preliminary": self.preliminary_weight * torch.stack([*preliminary.values()]).sum()}
        )

    def features(self, images: Tensor) -> list[Tensor]:
        """Compute each task's feature (B, C, h, w) before the exchange."""
        shared = self.encoder(images)
        return [self.decoders[name](shared) for name in self.problem.tasks]

    def refined(self, features: list[Tensor]) -> dict[str, Tensor]:
        """Predict after the exchange."""
        return _predicted(self.heads, self.distillation(features))

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """See `Method.predict`."""
        return self.refined(self.features(images))

    @classmethod
    def skip(cls, tasks: dict[str, Task]) -> str | None:
        """See `Method.skip`."""
        return None if len(tasks) > 1 else "tasks exchange what they know, so it needs at least two"

    def inference_modules(self) -> list[nn.Module]:
        """See `Method.inference_modules`."""
        return [self.encoder, self.decoders, self.distillation, self.heads]


def _predicted(heads: nn.ModuleDict, features: list[Tensor]) -> dict[str, Tensor]:
    return {name: head(feature) for (name, head), feature in zip(heads.items(), features, strict=True)}
