"""odsF: boundaries judged as the BSDS benchmark does, on the host."""

from __future__ import annotations

import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from benchmark import ROOT
from benchmark.metrics import correspond
from benchmark.metrics.base import Meter, level
from benchmark.metrics.correspond import THRESHOLDS
from benchmark.metrics.pooled import ABOUT, best_f
from benchmark.system import cores

# pixels of a batch, some 2 seconds of work, from which on several processes count; each takes 0.4 s to start
SHARED = 400_000


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
    columns: ClassVar[int] = 2  # the rest would take some 300 bytes an image

    def _statistics(self, prediction: Tensor, target: Tensor) -> Tensor:
        maps = (level(prediction, THRESHOLDS).to(torch.uint8), self.task.valid(target), target == 1)
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
        predicted, matched = sums[self.stored :].reshape(2, THRESHOLDS)
        return dict(zip(ABOUT["ods"], best_f(matched, predicted, matched, sums[1]).tolist(), strict=True))
