"""Joint-task regularisation (Nishi et al., CVPR 2024): all tasks' maps as one stack, with a latent code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from benchmark.errors import UserError
from datasets.tasks import Task
from methods.base import Batch, Losses, Problem, View
from methods.multi_task import MultiTask
from methods.networks.autoencoder import StackDecoder, StackEncoder
from methods.networks.frozen import frozen
from methods.networks.joint import Joint, Stacks
from methods.networks.mapper import cosine_distance, direction


class JTR(MultiTask):
    """Compare stacks of all tasks' maps in a latent space that is learnt.

    Y^ is the stack of all tasks' predictions, Y the same with labels for the labelled tasks, g an encoder, h
    its decoder, g~ the encoder as a constant, and D = 1 - cosine over channels, averaged over positions. The
    supervised loss is on the first view; the second trains predictions, the third trains the auto-encoder on
    stacks that are constants:

        distance        dist_weight D(g~(Y_1), g~(Y^_1)),
        latent          dist_weight recon_weight D(g(Y_2), g(Y^_2)),
        reconstruction  recon_weight (R(h(g(Y_2)), Y_2) + R(h(g(Y^_2)), Y^_2)),

    averaged over the batch, 0 for samples without a valid label. Predictions of labelled tasks are constants
    of Y^_1, so that unlabelled tasks alone learn from the distance. `methods.networks.joint` makes the stacks
    and is R. The weight of `latent` is that of the published code, which trains both networks together, too.

    Departures:
        JTR's code: the depth of Y^_2 to be rebuilt is scaled twice; here once, as what went in.
        JTR's code: normals of Y^_2 are rebuilt as (n + 1) / 2, over components; here as unit vectors, over
            pixels.
        JTR's code: classes are drawn again for the rebuilding; here the sample that went in is rebuilt.
        JTR's code: means are over nonzero values of the target; here over the pixels that count.
        JTR's code: labels stay where another label of the sample has none; here both stacks are blank there.
        JTR's code: NYUv2's mean and deviation scale any depth; here those of the labels, unless given.
        JTR's code: the third view shares the others' batch; here it is apart, as no gradient of it is to be
            kept.
        JTR's code: two operations of RandAugment a view; here the protocol's colours, the same for all
            methods.
        JTR's code for Cityscapes: inverse depth of a zoomed crop is divided by the zoom; here multiplied,
            being nearer.
    """

    own_kinds = False
    summary = (
        "multi_task, and an auto-encoder over all tasks' maps in whose latent space predictions must "
        "agree with labels"
    )
    paper = (
        "Nishi, Kim, Li, Pfister: Joint-Task Regularization for Partially Labeled Multi-Task Learning, "
        "CVPR 2024"
    )
    version: ClassVar[int] = 2
    views: ClassVar[int] = 2

    def __init__(
        self,
        problem: Problem,
        *,
        dist_weight: float = 4.0,
        recon_weight: float = 2.0,
        ae_width: int = 64,
        ae_stride: Literal[1, 2, 4, 8, 16] = 1,
        depth_mean: float | None = None,
        depth_std: float | None = None,
    ) -> None:
        """Raise `UserError` for a value out of range, and for images too small for the auto-encoder.

        Args:
            dist_weight: weight of the distance and the latent term.
            recon_weight: weight of the reconstruction, and once more of the latent term.
            ae_width: channels of the auto-encoder's first level; 64 as published.
            ae_stride: s has the auto-encoder read every s-th pixel, with as much less pooling; 1 as
                published.
            depth_mean: the mean that scales depth, in its unit (2.3618 as published); none: of the first
                labels.
            depth_std: the deviation that scales depth (1.5876 as published); given or left out with
                depth_mean.
        """
        super().__init__(problem)
        if min(dist_weight, recon_weight) < 0 or ae_width < 1:
            raise UserError(
                "jtr: ae_width must be at least 1 and no weight negative; change the hyper-parameter."
            )
        if (depth_mean is None) != (depth_std is None) or (depth_std is not None and depth_std <= 0):
            raise UserError(
                "jtr: depth_mean and depth_std go together, and depth_std must be positive; give both or "
                "neither."
            )
        if min(problem.size) < 32:
            raise UserError(
                f"jtr: images must be at least 32 pixels high and wide, not {problem.size}; raise the size."
            )
        self.dist_weight, self.recon_weight, self.stride = dist_weight, recon_weight, ae_stride
        self.measures = depth_mean is None
        self.joint = Joint(
            problem.tasks, 0.0 if depth_mean is None else depth_mean, 1.0 if depth_std is None else depth_std
        )
        channels = sum(self.joint.channels)
        self.stack_encoder = StackEncoder(channels, ae_width, ae_stride)
        self.stack_decoder = StackDecoder(channels, ae_width, ae_stride)

    def losses(self, batch: Batch, progress: Tensor) -> Losses:
        """See `Method.losses`."""
        second, third = batch.views
        b = len(batch.images)
        predictions = self.predict(torch.cat([batch.images, second.images]))
        # After the others: autocast keeps weights that it has cast, with their gradient or without.
        with torch.no_grad():
            last = self.predict(third.images)
        supervised = self.problem.task_losses(
            {name: p[:b] for name, p in predictions.items()}, batch, batch.labelled
        )
        near = self.stacks(
            {name: p[b:] for name, p in predictions.items()}, second, batch.labelled, soft=False
        )
        distance = self.distance(near, batch.labelled)
        latent, reconstruction = self.learning(
            self.stacks(last, third, batch.labelled, soft=True), batch.labelled
        )
        extra = {
            "distance": self.dist_weight * distance,
            "latent": self.dist_weight * self.recon_weight * latent,
            "reconstruction": self.recon_weight * reconstruction,
        }
        return Losses(supervised, extra)

    def stacks(self, predictions: dict[str, Tensor], view: View, labelled: Tensor, soft: bool) -> Stacks:
        """Stack a view's labels and predictions; see `Joint.stack`."""
        s = self.stride
        predicted = {name: p[..., ::s, ::s] for name, p in predictions.items()}
        return self.joint.stack(
            predicted, {name: t[..., ::s, ::s] for name, t in view.targets.items()}, labelled, soft
        )

    def distance(self, stacks: Stacks, labelled: Tensor) -> Tensor:
        """Compute D through an encoder that is a constant."""
        latent = direction(frozen(self.stack_encoder, torch.cat([stacks.known, stacks.predicted]))[-1])
        return (cosine_distance(*latent.chunk(2)) * _applies(stacks, labelled)).mean()

    def learning(self, stacks: Stacks, labelled: Tensor) -> tuple[Tensor, Tensor]:
        """Compute D, and how well both stacks are rebuilt.

        The stacks must be constants.
        """
        both = torch.cat([stacks.known, stacks.predicted])
        features = self.stack_encoder(both)
        apart = cosine_distance(*direction(features[-1]).chunk(2))
        wrong = self.joint.rebuilding(self.stack_decoder(features), both, stacks.mask.repeat(2, 1, 1, 1))
        applies = _applies(stacks, labelled)
        return (apart * applies).mean(), (wrong.view(2, -1).sum(0) * applies).mean()

    def prepare(self, batches: Iterator[Batch]) -> None:
        """Measure the scales of depth on the labels of these batches."""
        if self.measures:
            self.joint.measure(batch.targets for batch in batches)

    @classmethod
    def skip(cls, tasks: dict[str, Task]) -> str | None:
        """See `Method.skip`."""
        return None if len(tasks) > 1 else "it relates the maps of several tasks, so it needs at least two"

    def inference_modules(self) -> list[nn.Module]:
        """See `Method.inference_modules`."""
        return [self.encoder, self.decoders, self.heads]


def _applies(stacks: Stacks, labelled: Tensor) -> Tensor:
    """(B,) bool: samples with a label, and with a pixel that counts."""
    return labelled.any(1) & stacks.mask.flatten(1).any(1)
