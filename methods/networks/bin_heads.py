"""`multi_task` with a second head a regression, which says how sure it is by bins."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.base import Batch, Losses, Problem
from methods.multi_task import MultiTask
from methods.networks.bins import BinTable

BINS_WEIGHT = 0.1  # of their cross-entropy beside the loss of the value, as HiTTs has it

Outputs = tuple[dict[str, Tensor], dict[str, Tensor]]  # predictions, and logits (B, K, h, w) of the bins


class BinHeads(MultiTask):
    """Predict as `multi_task`, and where `binned` each regression's bins from its decoder's output too."""

    own_kinds = False
    window = False  # of `Bins.confidence`

    def __init__(self, problem: Problem, binned: bool) -> None:
        super().__init__(problem)
        self.bins = BinTable(problem, binned)
        self.bin_heads = nn.ModuleDict(
            {name: nn.Conv2d(problem.width, len(self.bins.of(name).centres), 1) for name in self.bins}
        )

    def run(self, images: Tensor) -> Outputs:
        """Compute predictions and the logits of the bins."""
        shared, predictions, logits = self.encoder(images), {}, {}
        for name in self.problem.tasks:
            feature = self.decoders[name](shared)
            predictions[name] = self.heads[name](feature)
            if name in self.bins:
                logits[name] = self.bin_heads[name](feature)
        return predictions, logits

    def both(self, batch: Batch) -> tuple[Outputs, Outputs]:
        """Run on the first view and on the second, as one batch."""
        found = self.run(torch.cat([batch.images, batch.views[0].images]))
        halves = [[{name: x.chunk(2)[i] for name, x in part.items()} for part in found] for i in (0, 1)]
        return (halves[0][0], halves[0][1]), (halves[1][0], halves[1][1])

    def scores(self, outputs: Outputs) -> dict[str, Tensor]:
        """Measure each regression's confidence (B, 1, H, W), if there are bins."""
        return self.bins.confidences(outputs[1], self.window)

    def supervised(self, outputs: Outputs, batch: Batch) -> Losses:
        """Compute the supervised losses, those of the bins among the extra ones."""
        predictions, logits = outputs
        found = Losses(self.problem.task_losses(predictions, batch, batch.labelled))
        if self.bins:
            found.extra["bins"] = BINS_WEIGHT * self.bins.loss(logits, batch)
        return found

    def inference_modules(self) -> list[nn.Module]:
        """See `Method.inference_modules`."""
        return [self.encoder, self.decoders, self.heads]
