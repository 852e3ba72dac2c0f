"""Supervised multi-task learning: a shared encoder, a decoder a task."""

from __future__ import annotations

from torch import Tensor, nn

from methods.base import Batch, Losses, Method, Problem


class MultiTask(Method):
    """Train each task on the samples that are labelled for it.

    One encoder, one decoder and head a task.

    Departures:
        DiffusionMTL's baseline: it has six blocks a decoder; here as many as the protocol's other methods.
    """

    summary = "shared encoder, one decoder a task, supervised on the labels that are there"
    paper = "baseline"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.encoder = problem.make_encoder()
        self.decoders = nn.ModuleDict({name: problem.make_decoder() for name in problem.tasks})
        self.heads = nn.ModuleDict({name: problem.make_head(task) for name, task in problem.tasks.items()})

    def losses(self, batch: Batch, progress: Tensor) -> Losses:
        """See `Method.losses`."""
        return Losses(self.problem.task_losses(self.predict(batch.images), batch, batch.labelled))

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """See `Method.predict`."""
        shared = self.encoder(images)
        return {name: self.heads[name](self.decoders[name](shared)) for name in self.problem.tasks}
