"""Predictions to metric values: per-image statistics gathered on the device, read once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmark.metrics.base import Meter
from benchmark.metrics.maps import meter
from benchmark.metrics.own import extended
from benchmark.spec import plugged
from benchmark.training.batches import Samples
from benchmark.training.device import autocast, laid_out
from datasets import augment
from datasets.base import Split
from datasets.tasks import Task
from methods.base import Method

EVALUATED = 8  # images at least that a GPU is given at once: smaller batches would keep it waiting


@dataclass(frozen=True)
class Scores:
    """Values {metric: value}, the primary first, and per_image (N, K) statistics, as far as stored.

    by_source: {source: values} of those that label the task, where the test set joins several.
    """

    values: dict[str, float]
    per_image: np.ndarray
    test_images: int
    by_source: dict[str, dict[str, float]]


class TestSet:
    """The test split on the device, in batches of one size, the last filled up and its surplus cut off.

    The size is that of training or, on a GPU, `EVALUATED` where that is more.
    """

    __test__ = False  # not a test class, whatever its name suggests to pytest

    def __init__(
        self,
        split: Split,
        tasks: dict[str, Task],
        normalisation: tuple[Sequence[float], Sequence[float]],
        batch: int,
        device: str,
        encoder: str = "",
    ) -> None:
        """encoder: of the protocol, which decides how images lie in memory."""
        batch = max(batch, EVALUATED) if device.startswith("cuda") else batch
        self.tasks, self.normalisation, self.batch, self.count = tasks, normalisation, batch, len(split)
        self.images, self.encoder = split.images, encoder
        self.sources = split.sources
        self.source = None
        if split.source is not None:
            numbers = torch.arange(len(split.sources))[:, None]
            self.source = (split.source == numbers).to(device, torch.float64)  # (S, N)
        order = torch.arange(-(-self.count // batch) * batch).clamp_max(self.count - 1)
        self.samples = Samples(split, tasks, order, batch, device)
        self.beat: Callable[[], None] = lambda: None  # called after every batch
        own = plugged.metrics()
        self.meters = {name: extended(meter(task), own) for name, task in tasks.items()}

    def rows(self, start: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return normalised images and widened targets from `start`; the last sample fills up a batch."""
        images, targets, extents = self.samples(start // self.batch)
        shown, wide = augment.identity(images, targets, self.tasks, *self.normalisation, extents)
        return laid_out(shown, self.encoder), wide

    @torch.no_grad()
    def scores(self, method: Method, precision: str) -> dict[str, Scores]:
        """Return {task: scores} of a method, with full labels; it is in training mode afterwards."""
        method.eval()

        def predict(images: Tensor) -> dict[str, Tensor]:
            with autocast(str(images.device), precision):
                return method.predict(images)

        scores = self._judge(predict)
        method.train()
        return scores

    def constant(self, constants: dict[str, Tensor]) -> dict[str, dict[str, float]]:
        """Return {task: metrics} of a raw prediction (C,) for every pixel of every image."""

        def predict(images: Tensor) -> dict[str, Tensor]:
            shape = (len(images), -1, *images.shape[2:])
            return {n: c.to(images.device).view(1, -1, 1, 1).expand(shape) for n, c in constants.items()}

        return {name: scores.values for name, scores in self._judge(predict).items()}

    def _judge(self, predict: Callable[[Tensor], dict[str, Tensor]]) -> dict[str, Scores]:
        """Gather statistics on the device and read them at the end: per image where few, else summed."""
        stored: dict[str, list[Tensor]] = {name: [] for name in self.tasks}
        sums: dict[str, Tensor] = {}
        for start in range(0, self.count, self.batch):
            images, targets = self.rows(start)
            predictions = predict(images)
            for name, judge in self.meters.items():
                rows = judge.statistics(predictions[name], targets[name])[: self.count - start]
                stored[name].append(rows[:, : judge.stored])
                total = rows.sum(0, keepdim=True)
                if self.source is not None:
                    total = self.source[:, start : start + len(rows)] @ rows
                sums[name] = sums[name] + total if name in sums else total
            self.beat()
        return {
            name: _scores(judge, torch.cat(stored[name]), sums[name], self.sources)
            for name, judge in self.meters.items()
        }


def _scores(judge: Meter, stored: Tensor, sums: Tensor, sources: Sequence[str]) -> Scores:
    """sums: (S, K), of each source."""
    per_image, rows = stored.cpu().numpy(), sums.cpu().numpy()
    by_source = {source: judge.values(row) for source, row in zip(sources, rows, strict=False) if row.any()}
    labelled = int((per_image != 0).any(1).sum())
    return Scores(judge.values(rows.sum(0)), per_image, labelled, by_source)
