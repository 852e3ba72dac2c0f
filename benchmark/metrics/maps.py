"""Metrics, each as per-image sufficient statistics and a pure function from their sum to named values.

`meter(task).statistics(prediction, target)` is (B, K): additive numbers of each image, computed on the device
without host syncs, with static shapes (but for odsF, which works on the host). `values(stats.sum(0))` is then
the metric pooled over the data set, in whatever batches the images came; `values(stats[resampled].sum(0))` is
one draw of an image bootstrap. Counts are exact; errors are float64 from the first subtraction on, whatever
precision the prediction has, so that vectorised loops and their ends agree.

With finite predictions a metric is NaN if and only if no pixel at all was labelled. Predictions that are not
finite are not
searched for: they make depth and normals NaN, and count as whatever the comparison says elsewhere; the caller
checks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from benchmark.metrics.boundary import BoundaryMeter
from benchmark.metrics.ods import OdsMeter
from benchmark.metrics.tallies import THRESHOLDS, at_least, level, tally
from datasets.tasks import Kind, Task

BETA_SQUARED = 0.3  # of maxF: weighs precision over recall, as is usual for saliency (ATRC)
BELOW_HALF = 9  # thresholds below 0.5, the least value of a sigmoid of a probability
TWICE = 5  # thresholds 0.50 ... 0.70, those that such values tell apart; none is above 0.732
NEAR_ANGLES = (11.25, 22.5, 30.0)  # degrees
ANGLE_BIN = 0.05  # degrees, the width of the bins that the median angle comes from


class Meter(Protocol):
    """The metrics of one task.

    about: what each metric is, by name, primary first. columns: names of the K statistics. stored: the first
    `stored` of them are few and worth keeping per image; the rest only as sums.
    """

    about: ClassVar[dict[str, str]]

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def stored(self) -> int: ...

    def statistics(self, prediction: Tensor, target: Tensor) -> Tensor:
        """(B, K) float64 on the device. prediction: raw network output (B, C, H, W), any float dtype.

        target: (B, C', H, W) as `datasets.base.widen` makes it. An image without a label gives a row of
        zeros.
        """
        ...

    def values(self, sums: np.ndarray) -> dict[str, float]:
        """{metric: value}, primary first, of summed statistics (K,).

        Sums of the stored columns alone (stored,) will do; metrics that need the others are then left out.
        """
        ...


def meter(task: Task) -> Meter:
    """The meter of a task's kind; of the two for boundaries, the one whose primary metric the task names."""
    if task.kind == "edge" and task.metric == "odsF":
        return OdsMeter(task, task.tolerance)
    return _METERS[task.kind](task)


@dataclass(frozen=True)
class ClassesMeter:
    """Semantic segmentation and parts, from one confusion matrix over the data set.

    mIoU: mean of TP / (TP + FP + FN) over the classes that the truth of the test set contains. A class that
    is predicted but absent from the truth has no IoU of its own; its pixels are misses of the classes they
    were taken from. Values also hold "IoU/<class>" for every class that the truth contains. A label outside
    the classes is an index error, not a guess.
    """

    about: ClassVar[dict[str, str]] = {
        "mIoU": "mean intersection over union of the classes present, in percent; higher is better",
        "pixAcc": "share of labelled pixels of the right class, in percent; higher is better",
    }

    task: Task

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(f"{count}/{name}" for count in ("right", "predicted", "true") for name in self._names)

    @property
    def stored(self) -> int:
        return 3 * self.task.channels

    @property
    def _names(self) -> tuple[str, ...]:
        return self.task.classes or tuple(str(c) for c in range(self.task.channels))

    @torch.no_grad()
    def statistics(self, prediction: Tensor, target: Tensor) -> Tensor:
        c = self.task.channels
        # max(1).indices is the first greatest class, as argmax has it, and several times faster on a CPU.
        pair = target.long() * c + prediction.max(1, keepdim=True).indices
        confusion = tally(pair, self.task.valid(target), c * c).unflatten(1, (c, c))
        return torch.cat([confusion.diagonal(dim1=1, dim2=2), confusion.sum(1), confusion.sum(2)], 1)

    def values(self, sums: np.ndarray) -> dict[str, float]:
        right, predicted, true = sums.reshape(3, self.task.channels)
        present = np.flatnonzero(true)
        if not len(present):
            return dict.fromkeys(self.about, math.nan)
        iou = 100 * right[present] / (true + predicted - right)[present]
        accuracy = 100 * right.sum() / true.sum()
        each = {f"IoU/{self._names[c]}": float(value) for c, value in zip(present, iou, strict=True)}
        return {"mIoU": float(iou.mean()), "pixAcc": float(accuracy), **each}


@dataclass(frozen=True)
class DepthMeter:
    """Depth errors pooled over all labelled pixels; predictions count as they are, without scaling or
    clipping.
    """

    about: ClassVar[dict[str, str]] = {
        "absErr": "mean absolute error, in metres; lower is better",
        "relErr": "mean of absolute error over true depth; lower is better",
        "RMSE": "root of the mean squared error, in metres; lower is better",
    }
    task: Task
    columns: ClassVar[tuple[str, ...]] = ("pixels", "absolute", "relative", "squared")
    stored: ClassVar[int] = 4

    @torch.no_grad()
    def statistics(self, prediction: Tensor, target: Tensor) -> Tensor:
        valid = self.task.valid(target)
        true = torch.where(valid, target, 1).double()
        error = torch.where(valid, (prediction.double() - true).abs(), 0)
        sums = (valid, error, error / true, error.square())
        return torch.stack([x.flatten(1).sum(1, dtype=torch.float64) for x in sums], 1)

    def values(self, sums: np.ndarray) -> dict[str, float]:
        pixels, absolute, relative, squared = (float(x) for x in sums)
        if pixels == 0:
            return dict.fromkeys(self.about, math.nan)
        return {"absErr": absolute / pixels, "relErr": relative / pixels, "RMSE": math.sqrt(squared / pixels)}


@dataclass(frozen=True)
class NormalsMeter:
    """Angles between predicted and true normals, both brought to unit length, pooled over all labelled
    pixels.

    The angle is 2 atan2(|p - g|, |p + g|), which unlike acos is accurate near 0 and 180 degrees; a prediction
    of length 0 is 90 degrees off. The median comes from a histogram with bins of 0.05 degrees, with linear
    interpolation: it is within 0.05 degrees of the exact one (the mean of the two middle angles where their
    number is even).
    """

    about: ClassVar[dict[str, str]] = {
        "mErr": "mean angular error, in degrees; lower is better",
        "medErr": "median angular error, in degrees, to 0.05; lower is better",
        **{
            f"within{a:g}": f"share of pixels less than {a:g} degrees off, in percent; higher is better"
            for a in NEAR_ANGLES
        },
    }
    task: Task
    bins: ClassVar[int] = round(180 / ANGLE_BIN)
    columns: ClassVar[tuple[str, ...]] = (
        "pixels",
        "angle",
        *(f"within{a:g}" for a in NEAR_ANGLES),
        *(f"bin/{b}" for b in range(bins)),
    )
    stored: ClassVar[int] = 2 + len(NEAR_ANGLES)

    @torch.no_grad()
    def statistics(self, prediction: Tensor, target: Tensor) -> Tensor:
        valid = self.task.valid(target)[:, 0]
        p, g = _unit(prediction.double()), _unit(target.double())
        angle = 2 * torch.atan2(
            _length(p[0] - g[0], p[1] - g[1], p[2] - g[2]), _length(p[0] + g[0], p[1] + g[1], p[2] + g[2])
        )
        angle = torch.where(valid, angle.rad2deg(), 0)
        near = [valid & (angle < limit) for limit in NEAR_ANGLES]
        sums = [x.flatten(1).sum(1, dtype=torch.float64) for x in (valid, angle, *near)]
        index = (angle / ANGLE_BIN).long().clamp(0, self.bins - 1)  # 180 degrees belong to the last bin
        return torch.cat([torch.stack(sums, 1), tally(index, valid, self.bins)], 1)

    def values(self, sums: np.ndarray) -> dict[str, float]:
        pixels, angle, *near = (float(x) for x in sums[: self.stored])
        if pixels == 0:
            return dict.fromkeys(self.about, math.nan)
        result = {"mErr": angle / pixels}
        if len(sums) > self.stored:
            result["medErr"] = _histogram_median(sums[self.stored :]) * ANGLE_BIN
        return result | {
            f"within{a:g}": 100 * share / pixels for a, share in zip(NEAR_ANGLES, near, strict=True)
        }


@dataclass(frozen=True)
class SaliencyMeter:
    """maxF: the greatest (1 + b) P R / (b P + R), b = 0.3, over 19 thresholds, from counts over the whole
    data set.

    A pixel is positive at threshold t where sigmoid(logit) >= t. 0 where the truth has no positive pixel.
    maxF_twice has sigmoid(sigmoid(logit)) >= t instead, as the code has that published rows come from (InvPT,
    DiffusionMTL). That lies in 0.5 ... 0.731: everything is positive up to t = 0.5, pixels of a probability
    from 0.201, 0.405, 0.619 and 0.847 are at the four thresholds above, and none is from 0.75 on.
    """

    about: ClassVar[dict[str, str]] = {
        "maxF": "F measure (beta squared 0.3) at the best threshold for the data set, in percent; higher is "
        "better",
        "maxF_twice": "maxF as published code computes it, the sigmoid applied twice; only for comparison "
        "with published rows",
    }
    task: Task
    columns: ClassVar[tuple[str, ...]] = (
        *(f"{truth}/{k}" for truth in ("negative", "positive") for k in range(THRESHOLDS + 1)),
        *(f"{truth}_twice/{k}" for truth in ("negative", "positive") for k in range(TWICE + 1)),
    )
    stored: ClassVar[int] = len(columns)

    @torch.no_grad()
    def statistics(self, prediction: Tensor, target: Tensor) -> Tensor:
        valid, positive = self.task.valid(target), target.long()
        twice = (level(torch.sigmoid(prediction.double())) - BELOW_HALF).clamp(0, TWICE)
        levels = ((level(prediction), THRESHOLDS), (twice, TWICE))
        return torch.cat(
            [tally(reached + (n + 1) * positive, valid, 2 * (n + 1)) for reached, n in levels], 1
        )

    def values(self, sums: np.ndarray) -> dict[str, float]:
        if not sums.any():
            return dict.fromkeys(self.about, math.nan)
        once, twice = np.split(sums, [2 * (THRESHOLDS + 1)])
        return {"maxF": _max_f(*once.reshape(2, -1)), "maxF_twice": _max_f(*twice.reshape(2, -1))}


_METERS: dict[
    Kind,
    type[ClassesMeter] | type[DepthMeter] | type[NormalsMeter] | type[SaliencyMeter] | type[BoundaryMeter],
] = {
    "classes": ClassesMeter,
    "depth": DepthMeter,
    "normals": NormalsMeter,
    "saliency": SaliencyMeter,
    "edge": BoundaryMeter,
}


def _max_f(negative: np.ndarray, positive: np.ndarray) -> float:
    """The greatest F, in percent, over the thresholds that pixels are counted by."""
    right = at_least(positive)
    # F with precision and recall multiplied out, so that no threshold divides 0 by 0.
    possible = BETA_SQUARED * positive.sum() + right + at_least(negative)
    return float(np.max(100 * (1 + BETA_SQUARED) * right / np.maximum(possible, 1e-12)))


def _length(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    return (x * x + y * y + z * z).sqrt()


def _unit(vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three components (B, H, W) of vectors (B, 3, H, W) brought to unit length; 0 stays 0."""
    x, y, z = vectors.unbind(1)
    scale = _length(x, y, z).clamp_min(1e-12)
    return x / scale, y / scale, z / scale


def _histogram_median(counts: np.ndarray) -> float:
    """Median in units of the bin width: the mean of the two middle ranks, each interpolated inside its
    bin.
    """
    upper = np.cumsum(counts)
    total = int(upper[-1])
    positions = []
    for rank in ((total - 1) // 2, total // 2):
        b = int(np.searchsorted(upper, rank, side="right"))
        positions.append(b + (rank - (upper[b] - counts[b]) + 0.5) / counts[b])
    return float(sum(positions)) / 2
