"""Boundaries: F of thinned pixels within a tolerance, in tensor arithmetic; and odsF, counted on the host.

boundaryF is NOT the odsF of BSDS and SEISM, which matches pixels one to one: in boundaryF a predicted pixel
is right if any true pixel lies within the tolerance, and a true pixel is found if any predicted pixel does.
Two pixels may share their counterpart, and thinning differs as well. The two numbers must not be compared:
for predictions made from the truth, blurred, displaced, noisy or thick, boundaryF was 6 to 18 points above
odsF. Only for almost perfect predictions do the two agree, to 0.3 points.
"""

from __future__ import annotations

import io
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark import ROOT
from benchmark.metrics import correspond
from benchmark.metrics.base import Meter, level, tally
from benchmark.metrics.pooled import ABOUT, THRESHOLDS, best_f, boundary_scores
from benchmark.system import cores

TOLERANCE = 0.0075  # of the frame's diagonal, padding included: the maxDist of SEISM for PASCAL
# pixels of a batch, some 2 seconds of work, from which on several processes count; each takes 0.4 s to start
SHARED = 400_000
_DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))


class BoundaryMeter(Meter):
    """Boundary F at the best of 19 thresholds, matched within a tolerance: NOT the odsF of BSDS and SEISM.

    The prediction is thinned (`ridges`) and cut at a threshold. P is the share of predicted pixels with a
    true one within `tolerance`, R the share of true pixels with a predicted one within it, both pooled over
    the data set. Unlabelled pixels are neither predicted nor true. 0 where the truth has no boundary.
    Columns: wrong, right and found pixels by level.
    """

    kind, stored = "edge", 3 * (THRESHOLDS + 1)

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


@dataclass(frozen=True)
class OdsMeter(Meter):
    """odsF of BSDS and SEISM: boundary F at the best of 99 thresholds, pixels matched one to one.

    At every threshold 0.01 ... 0.99 the prediction is cut, thinned as MATLAB's bwmorph does and matched with
    the truth: pairs are at most `distance` of the diagonal apart (BSDS and PASCAL 0.0075, NYUD 0.011), and no
    pixel is in two. P is the share of predicted pixels in a pair, R that of true ones, both pooled over the
    data set. Unlabelled pixels are neither predicted nor true, and padding without labels does not count
    towards the diagonal. 0 where the truth has no boundary.

    Exact here is the number of pairs: the greatest there is. The published correspondPixels wants pairs of
    least total distance, which are as many, and its solver comes near that: on seven maps of up to 321 x 481
    pixels it found up to 7 pairs of some 3,800 fewer, and odsF up to 0.15 points lower.
    Other differences: the truth is thinned as well (else a truth of two pixels keeps a perfect prediction at
    87); BSDS also interpolates P and R between thresholds; pipelines such as HED's suppress non-maxima
    beforehand, which is no step of the metric and raises odsF by 1 to 7 points on blurred or noisy maps.

    The one meter that works on the host: it waits for the device, and takes about 0.7 s of one core for an
    image of 321 x 481, 1.2 s for 512 x 512. Batches large enough are shared out among processes, one a core
    at the most. Columns: labelled and true pixels, then predicted and matched ones at every threshold.
    """

    distance: float = 0.0075
    kind: ClassVar[str] = "ods"
    stored: ClassVar[int] = 2  # the rest would take some 300 bytes an image

    def _statistics(self, prediction: Tensor, target: Tensor) -> Tensor:
        reached = level(prediction, correspond.THRESHOLDS).to(torch.uint8)
        maps = (reached, self.task.valid(target), target == 1)
        levels, labelled, true = (x[:, 0].cpu().numpy() for x in maps)
        parts = min(len(levels), cores()) if levels.size >= SHARED else 1
        if parts > 1:
            with ThreadPoolExecutor(parts) as pool:
                split = (np.array_split(x, parts) for x in (levels, labelled, true))
                rows = np.concatenate(list(pool.map(self._elsewhere, *split)))
        else:
            images = zip(levels, labelled, true, strict=True)
            rows = np.stack([correspond.counts(*image, self.distance) for image in images])
        return torch.from_numpy(rows).to(target.device)

    def _elsewhere(self, levels: np.ndarray, labelled: np.ndarray, true: np.ndarray) -> np.ndarray:
        """(B, K): counts of images (B, H, W), made in a process of its own, out of an interrupt's reach."""
        given = io.BytesIO()
        np.savez(given, levels=levels, labelled=labelled, true=true, distance=self.distance)
        command = [sys.executable, "-m", correspond.__name__]
        streams: Any = {"input": given.getvalue(), "stdout": subprocess.PIPE}
        done = subprocess.run(command, **streams, cwd=ROOT, check=True, start_new_session=True)
        rows: np.ndarray = np.load(io.BytesIO(done.stdout))
        return rows

    def _values(self, sums: np.ndarray) -> dict[str, float]:
        if len(sums) == self.stored:
            return {}
        predicted, matched = sums[self.stored :].reshape(2, correspond.THRESHOLDS)
        return dict(zip(ABOUT["ods"], best_f(matched, predicted, matched, sums[1]).tolist(), strict=True))


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
