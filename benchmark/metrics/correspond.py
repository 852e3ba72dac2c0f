"""The two steps of the BSDS boundary benchmark, on the host: thinning, and matching pixels one to one.

`python -m benchmark.metrics.correspond` counts the images that come through standard input, so that they can
be shared out among processes; `multiprocessing` would fork one that holds a GPU, or run a user's script
again. Without torch, which is slow to import.
"""

from __future__ import annotations

import io
import math
import sys

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow

THRESHOLDS = 99  # probabilities 0.01, 0.02, ... 0.99
# Neighbours (y, x): east, north-east, ...
_RING = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))


def counts(levels: np.ndarray, labelled: np.ndarray, true: np.ndarray, distance: float) -> np.ndarray:
    """Return (2 + 2 * 99,) float64: labelled and true pixels, then predicted and matched ones by threshold.

    levels: (H, W) uint8, how many of the thresholds the prediction reaches. labelled, true: (H, W) bool.
    distance: pixels match up to it, as a share of the diagonal. The image ends where its labels end: padding
    without labels changes nothing.
    """
    result = np.zeros(2 + 2 * THRESHOLDS)
    if not labelled.any():
        return result
    rows, columns = (np.flatnonzero(labelled.any(axis)) for axis in (1, 0))
    frame = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    levels, labelled = levels[frame], labelled[frame]
    truth = Truth(thin(true[frame]), distance * math.hypot(*labelled.shape))
    result[:2] = labelled.sum(), truth.pixels
    predicted, matched = result[2:].reshape(2, THRESHOLDS)
    occurs = np.bincount(levels.ravel(), minlength=THRESHOLDS + 1) > 0
    for k in range(THRESHOLDS):  # the threshold that a pixel reaches whose level is above k
        if k and not occurs[k]:  # no pixel between this threshold and the last: the same map
            predicted[k], matched[k] = predicted[k - 1], matched[k - 1]
        else:
            lines = thin(levels > k) & labelled
            predicted[k], matched[k] = lines.sum(), truth.match(lines)
    return result


def thin(image: np.ndarray) -> np.ndarray:
    """Return (H, W) bool: lines one pixel wide, as bwmorph(image, "thin", Inf) gives them.

    Two subiterations take turns until neither removes a pixel (Guo and Hall 1989; G1 to G3 of Lam, Lee and
    Suen 1992). Only neighbours of removed pixels are looked at again, which takes a tenth of the time of
    looking at all pixels.
    """
    height, width = image.shape
    # Beyond the border there is background. In C order, so that `ravel` below is a view.
    padded = np.pad(np.ascontiguousarray(image), 1)
    inner = image.copy()
    for y, x in _RING:
        inner &= padded[1 + y : 1 + y + height, 1 + x : 1 + x + width]
    pixels = padded.ravel()  # a view, as are the bits
    bits, steps = pixels.view(np.uint8), np.array([[y * (width + 2) + x] for y, x in _RING])
    recent = earlier = np.flatnonzero(np.pad(image & ~inner, 1))
    stamp = np.empty(len(pixels), np.int64)
    turn = 0
    while len(recent) or len(earlier):
        # A subiteration sees what has changed since it last had its turn: in the other's, and in its own.
        todo = np.concatenate([recent, earlier])
        todo = todo[pixels[todo]]
        stamp[todo] = order = np.arange(len(todo))
        todo = todo[stamp[todo] == order]  # each pixel once
        code = np.zeros(len(todo), np.uint8)
        for bit, step in enumerate(steps):
            code |= bits[todo + step] << bit
        gone = todo[_REMOVABLE[turn][code]]
        pixels[gone] = False
        near = (gone + steps).ravel()
        recent, earlier = near[pixels[near]], recent
        turn = 1 - turn
    return padded[1:-1, 1:-1]


class Truth:
    """The true pixels of one image, ready to be matched with predicted ones.

    true: (H, W) bool. radius: pixels (Euclidean). pixels: how many there are.
    """

    def __init__(self, true: np.ndarray, radius: float) -> None:
        self.reach = int(radius)
        padded = np.pad(true, self.reach)
        places = np.flatnonzero(padded)
        self.pixels = len(places)
        self._width = padded.shape[1]
        self._index = np.full(padded.size, -1)  # of the true pixel at a place
        self._index[places] = np.arange(self.pixels)
        y, x = np.mgrid[-self.reach : self.reach + 1, -self.reach : self.reach + 1]
        self._disc = (y * self._width + x)[y * y + x * x <= radius * radius]  # ascending
        self._near = np.zeros(padded.size, bool)
        self._near[(places[:, None] + self._disc).ravel()] = True

    def match(self, predicted: np.ndarray) -> int:
        """Return the greatest number of pairs of predicted (H, W) bool and true pixels, none in two pairs.

        The pairs are a flow from a source over predicted and true pixels to a sink. (scipy's
        maximum_bipartite_matching counts the same, but on some of these graphs takes seconds where Dinic's
        algorithm takes 10 ms.)
        """
        places = np.flatnonzero(np.pad(predicted, self.reach))
        places = places[self._near[places]]
        partners = self._index[places[:, None] + self._disc]
        paired = partners >= 0
        n, m = len(places), self.pixels
        # Nodes: the source, predicted pixels, true pixels, the sink. Rows of the graph: n edges, then the
        # pairs, then 1 each.
        ends = np.concatenate([np.arange(1, n + 1), partners[paired] + n + 1, np.full(m, n + m + 1)])
        degrees = np.concatenate([[0, n], paired.sum(1), np.ones(m, np.int64), [0]])
        arrays = np.ones(len(ends), np.int32), ends.astype(np.int32), degrees.cumsum().astype(np.int32)
        graph = csr_array(arrays, shape=(n + m + 2, n + m + 2))
        return int(maximum_flow(graph, 0, n + m + 1, method="dinic").flow_value)


def _removable() -> tuple[np.ndarray, np.ndarray]:
    """Of either subiteration, (256,) bool: whether a pixel goes; bit i of 256: the i-th of the ring."""
    codes = np.arange(256)
    x = [(codes >> i % 8 & 1).astype(bool) for i in range(10)]
    crossings = sum((~x[i] & (x[i + 1] | x[i + 2])).astype(int) for i in (0, 2, 4, 6))
    pairs = [sum((x[i + shift] | x[i + shift + 1]).astype(int) for i in (0, 2, 4, 6)) for shift in (0, 1)]
    fewest = np.minimum(*pairs)
    ends = (crossings == 1) & (fewest >= 2) & (fewest <= 3)
    east, west = ((x[s + 1] | x[s + 2] | ~x[(s + 7) % 8]) & x[s] for s in (0, 4))
    return ends & ~east, ends & ~west


_REMOVABLE = _removable()


def main() -> None:
    """Read arrays from standard input and write the counts of each image to standard output."""
    given = np.load(io.BytesIO(sys.stdin.buffer.read()))
    images = zip(given["levels"], given["labelled"], given["true"], strict=True)
    np.save(sys.stdout.buffer, np.stack([counts(*image, float(given["distance"])) for image in images]))


if __name__ == "__main__":
    main()
