"""Boundary F: thinning, and matching within a tolerance, in tensor arithmetic with static shapes.

This is NOT the odsF of BSDS and SEISM (`benchmark.metrics.ods`), which matches pixels one to one: here a
predicted pixel is right if any true pixel lies within the tolerance, and a true pixel is found if any
predicted pixel does. Two pixels may share their counterpart, and thinning differs as well. The two numbers
must not be compared: for predictions made from the truth, blurred, displaced, noisy or thick, boundaryF was 6
to 18 points above odsF. Only for almost perfect predictions do the two agree, to 0.3 points.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.metrics.base import Meter, level, tally
from benchmark.metrics.pooled import ABOUT, THRESHOLDS, boundary_scores

TOLERANCE = 0.0075  # of the frame's diagonal, padding included: the maxDist of SEISM for PASCAL
_DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))


class BoundaryMeter(Meter):
    """Boundary F at the best of 19 thresholds, matched within a tolerance: NOT the odsF of BSDS and SEISM.

    The prediction is thinned (`ridges`) and cut at a threshold. P is the share of predicted pixels with a
    true one within `tolerance`, R the share of true pixels with a predicted one within it, both pooled over
    the data set. Unlabelled pixels are neither predicted nor true. 0 where the truth has no boundary.
    Columns: wrong, right and found pixels by level.
    """

    kind, columns = "edge", 3 * (THRESHOLDS + 1)

    def _statistics(self, prediction: Tensor, target: Tensor) -> Tensor:
        radius = tolerance(*target.shape[-2:])
        valid, true = self.task.valid(target), target == 1
        logit = prediction.to(torch.promote_types(prediction.dtype, torch.float32))
        thin = torch.where(ridges(logit) & valid, logit, -torch.inf)
        near = dilate(true.float(), radius) > 0
        # The greatest prediction around a true pixel says at which thresholds it is found: one dilation for
        # all of them.
        levels = THRESHOLDS + 1
        predicted = tally(level(thin) + levels * near, valid, 2 * levels)
        return torch.cat([predicted, tally(level(dilate(thin, radius)), true, levels)], 1)

    def _values(self, sums: np.ndarray) -> dict[str, float]:
        return dict(zip(ABOUT["edge"], boundary_scores(sums).tolist(), strict=True))


def tolerance(height: int, width: int) -> float:
    """Return the matching distance in pixels: 0.0075 of the diagonal, not rounded, and at least 1."""
    return max(1.0, TOLERANCE * math.hypot(height, width))


def dilate(values: Tensor, radius: float) -> Tensor:
    """Return (B, 1, H, W): the greatest value at most `radius` pixels (Euclidean) away, inside the image.

    Dilating grey values dilates every threshold's set of pixels at once: max over a disc >= t where some
    pixel is.
    """
    reach = int(radius)
    height, width = values.shape[-2:]
    padded = F.pad(values, (reach, reach, reach, reach), value=-torch.inf)
    rows = {0: padded[..., reach : reach + width]}  # rows[w]: the maximum over 2w + 1 pixels of a row
    for w in range(1, reach + 1):
        left, right = (padded[..., reach + x : reach + x + width] for x in (-w, w))
        rows[w] = torch.maximum(rows[w - 1], torch.maximum(left, right))
    result = values
    for y in range(-reach, reach + 1):
        row = rows[int(math.sqrt(radius * radius - y * y))]
        result = torch.maximum(result, row[..., reach + y : reach + y + height, :])
    return result


def ridges(values: Tensor) -> Tensor:
    """Return (B, 1, H, W) bool: pixels that no neighbour across their ridge exceeds.

    Across is the one of four directions in which the values curve down most (the least second difference).
    Networks predict boundaries several pixels thick; unthinned, a thick but well placed map scores little
    better than a misplaced one. Equal neighbours both stay: a flat map, or a binary one at its upper value,
    is kept as it is.
    """
    height, width = values.shape[-2:]
    padded = F.pad(values, (1, 1, 1, 1), mode="replicate")
    least = torch.full_like(values, torch.inf)
    keep = torch.zeros_like(values, dtype=torch.bool)
    for y, x in _DIRECTIONS:
        ahead = padded[..., 1 + y : 1 + y + height, 1 + x : 1 + x + width]
        behind = padded[..., 1 - y : 1 - y + height, 1 - x : 1 - x + width]
        curvature = (ahead + behind - 2 * values) / (y * y + x * x)
        keep = torch.where(curvature < least, (values >= ahead) & (values >= behind), keep)
        least = torch.minimum(least, curvature)
    return keep
