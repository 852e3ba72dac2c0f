"""Meters: each image's sufficient statistics on the device, and values of their sum.

`meter(task).statistics(prediction, target)` is (B, K): additive numbers of each image, computed without host
syncs, with static shapes (but for odsF, which works on the host). `values(stats.sum(0))` is then the metric
pooled over the data set, in whatever batches the images came. Counts are exact; errors are float64 from the
first subtraction on, whatever precision the prediction has, so that vectorised loops and their ends agree.

With finite predictions a metric is NaN if and only if no pixel at all was labelled. Other predictions make
depth and normals NaN, and count as whatever the comparison says elsewhere; the caller checks.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from benchmark.metrics import pooled
from benchmark.metrics.base import Meter, level, tally
from benchmark.metrics.boundary import BoundaryMeter, OdsMeter
from benchmark.metrics.pooled import NEAR_ANGLES, THRESHOLDS, TWICE
from datasets.tasks import Task

BELOW_HALF = 9  # thresholds below 0.5, the least value of a sigmoid of a probability
ANGLE_BIN = 0.05  # degrees, the width of the bins that the median angle comes from


def meter(task: Task) -> Meter:
    """Return the meter of a task's kind; of the two for boundaries, the one of the task's metric."""
    if task.kind == "edge" and task.metric == "odsF":
        return OdsMeter(task, task.tolerance)
    return (LabelledMeter if task.own_kind else _METERS[task.kind])(task)


class ClassesMeter(Meter):
    """Semantic segmentation and parts, from one confusion matrix over the data set.

    mIoU: mean of TP / (TP + FP + FN) over the classes that the truth of the test set contains. A class that
    is predicted but absent from the truth has no IoU of its own; its pixels are misses of the classes they
    were taken from. Values also hold "IoU/<class>" for every class that the truth contains. A label outside
    the classes is an index error, not a guess. Columns: right, predicted and true pixels of each class.
    """

    kind = "classes"

    @property
    def stored(self) -> int:
        """All columns."""
        return 3 * self.task.channels

    def _statistics(self, prediction: Tensor, target: Tensor) -> Tensor:
        c = self.task.channels
        # max(1).indices is the first greatest class, as argmax has it, and several times faster on a CPU.
        pair = target.long() * c + prediction.max(1, keepdim=True).indices
        confusion = tally(pair, self.task.valid(target), c * c).unflatten(1, (c, c))
        return torch.cat([confusion.diagonal(dim1=1, dim2=2), confusion.sum(1), confusion.sum(2)], 1)

    def _values(self, sums: np.ndarray) -> dict[str, float]:
        right, _, true = sums.reshape(3, self.task.channels)
        names = self.task.classes or tuple(map(str, range(self.task.channels)))
        iou = zip(names, pooled.class_iou(sums).tolist(), strict=True)
        each = {f"IoU/{name}": value for name, value in iou if not math.isnan(value)}
        return {"mIoU": float(pooled.mean_iou(sums)), "pixAcc": float(100 * right.sum() / true.sum()), **each}


class DepthMeter(Meter):
    """Depth errors pooled over all labelled pixels, predictions as they are, neither scaled nor clipped.

    Columns: pixels, and sums of the absolute, relative and squared error.
    """

    kind, stored = "depth", 4

    def _statistics(self, prediction: Tensor, target: Tensor) -> Tensor:
        valid = self.task.valid(target)
        true = torch.where(valid, target, 1).double()
        error = torch.where(valid, (prediction.double() - true).abs(), 0)
        sums = (valid, error, error / true, error.square())
        return torch.stack([x.flatten(1).sum(1, dtype=torch.float64) for x in sums], 1)

    def _values(self, sums: np.ndarray) -> dict[str, float]:
        pixels, _, relative, squared = (float(x) for x in sums)
        absolute = float(pooled.mean_error(sums))
        return {"absErr": absolute, "relErr": relative / pixels, "RMSE": math.sqrt(squared / pixels)}


class NormalsMeter(Meter):
    """Angles between predicted and true normals, both of unit length, pooled over all labelled pixels.

    The angle is 2 atan2(|p - g|, |p + g|), which unlike acos is accurate near 0 and 180 degrees; a prediction
    of length 0 is 90 degrees off. The median comes from a histogram with bins of 0.05 degrees, with linear
    interpolation: it is within 0.05 degrees of the exact one (the mean of the two middle angles where their
    number is even). Columns: pixels, sum of angles, pixels within each of `NEAR_ANGLES`, the histogram.
    """

    kind, stored = "normals", 2 + len(NEAR_ANGLES)
    bins: ClassVar[int] = round(180 / ANGLE_BIN)

    def _statistics(self, prediction: Tensor, target: Tensor) -> Tensor:
        valid = self.task.valid(target)[:, 0]
        p, g = _unit(prediction.double()), _unit(target.double())
        apart, along = ([a + sign * b for a, b in zip(p, g, strict=True)] for sign in (-1, 1))
        angle = torch.where(valid, (2 * torch.atan2(_length(*apart), _length(*along))).rad2deg(), 0)
        near = [valid & (angle < limit) for limit in NEAR_ANGLES]
        sums = [x.flatten(1).sum(1, dtype=torch.float64) for x in (valid, angle, *near)]
        index = (angle / ANGLE_BIN).long().clamp(0, self.bins - 1)  # 180 degrees belong to the last bin
        return torch.cat([torch.stack(sums, 1), tally(index, valid, self.bins)], 1)

    def _values(self, sums: np.ndarray) -> dict[str, float]:
        pixels, _, *near = (float(x) for x in sums[: self.stored])
        result = {"mErr": float(pooled.mean_error(sums))}
        if len(sums) > self.stored:
            result["medErr"] = _histogram_median(sums[self.stored :]) * ANGLE_BIN
        shares = zip(NEAR_ANGLES, near, strict=True)
        return result | {f"within{angle:g}": 100 * share / pixels for angle, share in shares}


class SaliencyMeter(Meter):
    """maxF: the greatest (1 + b) P R / (b P + R), b = 0.3, over 19 thresholds, from counts of all images.

    A pixel is positive at threshold t where sigmoid(logit) >= t. 0 where the truth has no positive pixel.
    maxF_twice has sigmoid(sigmoid(logit)) >= t instead, as the code has that published rows come from (InvPT,
    DiffusionMTL). That lies in 0.5 ... 0.731: everything is positive up to t = 0.5, pixels of a probability
    from 0.201, 0.405, 0.619 and 0.847 are at the four thresholds above, and none is from 0.75 on. Columns:
    negative and positive pixels by level, then the same of levels after the second sigmoid.
    """

    kind, stored = "saliency", 2 * (THRESHOLDS + 1) + 2 * (TWICE + 1)

    def _statistics(self, prediction: Tensor, target: Tensor) -> Tensor:
        valid, positive = self.task.valid(target), target.long()
        twice = (level(torch.sigmoid(prediction.double())) - BELOW_HALF).clamp(0, TWICE)
        levels = ((level(prediction), THRESHOLDS), (twice, TWICE))
        return torch.cat(
            [tally(reached + (n + 1) * positive, valid, 2 * (n + 1)) for reached, n in levels], 1
        )

    def _values(self, sums: np.ndarray) -> dict[str, float]:
        twice = sums[2 * (THRESHOLDS + 1) :]
        return {"maxF": float(pooled.max_f(sums)), "maxF_twice": float(pooled.max_f(twice, TWICE))}


class LabelledMeter(Meter):
    """Whether an image has a label, for kinds of plug-ins; `own.extended` puts their metrics behind it."""

    kind, stored = "own", 1

    def _statistics(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.task.valid(target).flatten(1).any(1, keepdim=True).double()

    def _values(self, sums: np.ndarray) -> dict[str, float]:
        return {}


_METERS: dict[str, type[Meter]] = {
    kind.kind: kind for kind in (ClassesMeter, DepthMeter, NormalsMeter, SaliencyMeter, BoundaryMeter)
}


def _length(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    return (x * x + y * y + z * z).sqrt()


def _unit(vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three components (B, H, W) of vectors (B, 3, H, W) brought to unit length; 0 stays 0."""
    x, y, z = vectors.unbind(1)
    scale = _length(x, y, z).clamp_min(1e-12)
    return x / scale, y / scale, z / scale


def _histogram_median(counts: np.ndarray) -> float:
    """Median in bin widths: the mean of the two middle ranks, each interpolated inside its bin."""
    upper = np.cumsum(counts)
    total = int(upper[-1])
    positions = []
    for rank in ((total - 1) // 2, total // 2):
        b = int(np.searchsorted(upper, rank, side="right"))
        positions.append(b + (rank - (upper[b] - counts[b]) + 0.5) / counts[b])
    return float(sum(positions)) / 2
