"""The other uncertainty: which images the test set holds. Paired bootstrap over test images.

A draw is the test images resampled with replacement, the same draw for every run and task, so that what makes
an image hard for all cancels in delta m and in differences. Its interval says how far a mean over these seeds
could be off for want of test images, and holds no noise of training or labels: it is never added to the
interval over seeds. Draws come from the raw output of PCG64 with a fixed seed, the same on all machines.
Simulated, the 95 % interval of a mean per pixel covers about 94 % with 64 images and with 300; that of mIoU
less where few images show a class.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from benchmark.errors import UserError
from benchmark.metrics.pooled import PRIMARY
from benchmark.report import statistics
from benchmark.report.records import Record
from benchmark.report.rows import Group, Pair, Row, TaskInfo
from benchmark.report.statistics import Array, Estimate

DRAWS = 1000
_ROUNDED = 1e-5  # relative: statistics are kept in single precision
_DEFINED = 0.95  # share of draws: an interval of fewer would be one of a luckier test set


@lru_cache(maxsize=4)
def weights(images: int) -> Array:
    """Return (DRAWS + 1, images) how often a draw holds each image.

    The first line is the test set itself, each image once.
    """
    raw = np.random.PCG64(0).random_raw(DRAWS * images) % np.uint64(images)
    lines = np.arange(1, DRAWS + 1)[:, None] * images
    drawn = (raw.astype(np.int64).reshape(DRAWS, images) + lines).ravel()
    counts = np.bincount(drawn, minlength=(DRAWS + 1) * images).reshape(DRAWS + 1, images)
    counts[0] = 1
    return counts.astype(float)


class Resampled:
    """Intervals over test images of the rows of a group, whose statistics are read when asked for.

    n of each estimate counts images. None where the statistics of some run are not there or not kept per
    image, or where too few images carry a label.
    """

    def __init__(self, g: Group) -> None:
        self._g = g
        self._means: dict[tuple[str, tuple[Pair, ...]], Array] = {}
        self._images: dict[str, int] = {}

    def scores(self, row: Row) -> dict[str, Estimate | None]:
        """Return {task: its primary metric's mean over the seeds of a row}."""
        values = self._mean(row, self._g.shared(row))
        return {t.name: self._interval(mine, row) for t, mine in zip(self._g.tasks, values, strict=True)}

    def difference(self, a: Row, b: Row, reference: Row, pairs: list[Pair]) -> Estimate | None:
        """Return delta m of a minus that of b, with its interval over images."""
        with np.errstate(invalid="ignore"):  # infinite minus infinite, where the reference scores 0 on a draw
            gap = self._changes(a, reference, pairs) - self._changes(b, reference, pairs)
        return self._interval(gap, a)

    @np.errstate(invalid="ignore")
    def _changes(self, row: Row, reference: Row, pairs: list[Pair]) -> Array:
        a, s = (self._mean(r, pairs).T[:, None] for r in (row, reference))
        return np.asarray(statistics.changes(a, s, self._g.signs).mean(-1))

    def _interval(self, values: Array, row: Row) -> Estimate | None:
        """Return the value of the test set with the interval of the draws in which it is defined."""
        drawn = values[1:][np.isfinite(values[1:])]
        if not np.isfinite(values[0]) or len(drawn) < _DEFINED * DRAWS:
            return None
        low, high = np.percentile(drawn, [2.5, 97.5])
        return Estimate(float(values[0]), float(low), float(high), self._images[row.label])

    def _mean(self, row: Row, pairs: list[Pair]) -> Array:
        """Return (T, DRAWS + 1) means over seeds; NaN where a run has no statistics."""
        key = row.label, tuple(pairs)
        if key not in self._means:
            values = np.full((len(pairs), len(self._g.tasks), DRAWS + 1), np.nan)
            for pair, seed in zip(pairs, values, strict=True):
                for record in row.seeds[pair].records:
                    self._fill(seed, record, row)
            self._means[key] = values.mean(0) if pairs else np.full(values.shape[1:], np.nan)
        return self._means[key]

    def _fill(self, seed: Array, record: Record, row: Row) -> None:
        """Set the metrics (T, DRAWS + 1) that a record has the statistics of, a line (K,) an image."""
        tables = record.statistics()
        for i, task in enumerate(self._g.tasks):
            if task.metric in PRIMARY and task.name in record.spec["tasks"] and task.name in tables:
                table = tables[task.name]
                seed[i] = PRIMARY[task.metric](weights(len(table)) @ table)
                _check(record, task, float(seed[i, 0]))
                self._images[row.label] = max(self._images.get(row.label, 0), len(table))


def _check(record: Record, task: TaskInfo, found: float) -> None:
    own = float(record["metrics"][task.name][task.metric])
    if not abs(found - own) <= _ROUNDED * max(abs(own), 1e-3):
        raise UserError(
            f"{record.path} says {task.metric} {own:.6g} of {task.name}, but the test images in "
            f"{record.arrays} give {found:.6g}: one of the two was edited or belongs to another run; restore "
            f"the files, or make the run again."
        )
