"""The other uncertainty: which images the test set holds. Paired bootstrap from the statistics of every test image.

A draw is the test images resampled with replacement, the same draw for every run and task, so that what makes an image hard
for all cancels in delta m and in differences. Its interval says how far a mean over these seeds could be off for want of test
images, and holds no noise of training or labels: it stands beside the interval over seeds and is never added to it.

Draws come from the raw output of PCG64 with a fixed seed, which NumPy keeps the same in all versions and on all machines.
A 95 % interval runs from the 2.5th to the 97.5th percentile of `DRAWS` draws. Simulated, the interval of a mean
per pixel covers about 94 % with 64 images and with 300; that of mIoU less where few images show a class.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from benchmark.errors import UserError
from benchmark.report import stats
from benchmark.report.frame import Record
from benchmark.report.rows import Group, Pair, Row, TaskInfo
from benchmark.report.stats import Array, Estimate

DRAWS = 1000
_BETA_SQUARED = 0.3  # of maxF, as where it is measured
_LEVELS = 20  # counts of a binary map cut at 19 thresholds
_ROUNDED = 1e-5  # relative: statistics are kept in single precision


@dataclass(frozen=True)
class Images:
    """Intervals over test images of a row, None where the statistics of some run are not there or no longer kept per image.

    n of each estimate: test images. scores: {task: its primary metric's mean over seeds}. delta: delta m, over the seeds that
    row and reference share. versus: its difference to the baseline's.
    """

    scores: dict[str, Estimate | None]
    delta: Estimate | None = None
    versus: Estimate | None = None


@lru_cache(maxsize=4)
def weights(images: int) -> Array:
    """(DRAWS + 1, images) how often a draw holds each image; the first line is the test set itself, each image once."""
    drawn = (np.random.PCG64(0).random_raw(DRAWS * images) % np.uint64(images)).astype(np.int64).reshape(DRAWS, images)
    lines = np.arange(1, DRAWS + 1)[:, None] * images
    counts = np.bincount((drawn + lines).ravel(), minlength=(DRAWS + 1) * images).reshape(DRAWS + 1, images)
    counts[0] = 1
    return counts.astype(float)


class Resampled:
    """The primary metrics of every run of a group under the same draws of test images; runs are read once, when asked for."""

    def __init__(self, g: Group) -> None:
        self._g = g
        self._signs = np.array([t.sign for t in g.tasks], dtype=float)
        self._rows: dict[str, dict[Pair, Array]] = {}
        self._images: dict[str, int] = {}

    def scores(self, row: Row) -> dict[str, Estimate | None]:
        """{task: its primary metric's mean over all complete seeds of a row, with its interval over images}"""
        values = self._mean(row, sorted(row.seeds))
        return {t.name: self._interval(values[:, i], row) for i, t in enumerate(self._g.tasks)}

    def delta(self, row: Row, reference: Row, pairs: list[Pair]) -> Estimate | None:
        """Delta m over pairs of seeds, with its interval over images."""
        a, s = self._mean(row, pairs), self._mean(reference, pairs)
        return self._interval(self._changes(a, s), row)

    def difference(self, a: Row, b: Row, reference: Row, pairs: list[Pair]) -> Estimate | None:
        """Delta m of a minus that of b, with its interval over images."""
        means = [self._mean(row, pairs) for row in (a, b, reference)]
        with np.errstate(invalid="ignore"):  # infinite minus infinite, where the reference scores 0 on a draw
            return self._interval(self._changes(means[0], means[2]) - self._changes(means[1], means[2]), a)

    def _interval(self, values: Array, row: Row) -> Estimate | None:
        """The value of the test set itself with the percentile interval of the draws (DRAWS + 1,)."""
        if not np.isfinite(values).all():
            return None
        low, high = np.percentile(values[1:], [2.5, 97.5])
        return Estimate(float(values[0]), float(low), float(high), self._images[row.label])

    def _changes(self, scores: Array, reference: Array) -> Array:
        with np.errstate(invalid="ignore"):
            return np.asarray(stats.changes(scores[:, None], reference[:, None], self._signs).mean(-1))

    def _mean(self, row: Row, pairs: list[Pair]) -> Array:
        """(DRAWS + 1, T) means over units of means over the seeds of a unit; NaN where a run has no statistics."""
        by_unit: dict[int, list[Array]] = {}
        for pair in pairs:
            by_unit.setdefault(self._g.unit(pair), []).append(self._row(row)[pair])
        if not by_unit:
            return np.full((DRAWS + 1, len(self._g.tasks)), np.nan)
        return np.asarray(np.mean([np.mean(found, 0) for found in by_unit.values()], 0))

    def _row(self, row: Row) -> dict[Pair, Array]:
        """{seed: (DRAWS + 1, T) primary metrics under every draw}, NaN where a run has no statistics."""
        if row.label not in self._rows:
            self._rows[row.label] = self._read(row)
        return self._rows[row.label]

    def _read(self, row: Row) -> dict[Pair, Array]:
        tasks = {t.name: (i, t) for i, t in enumerate(self._g.tasks) if t.metric in _POOLED}
        parts: list[tuple[Pair, Record, str, Array]] = []
        for pair, seed in row.seeds.items():
            for record in seed.records:
                names = [name for name in record.spec["tasks"] if name in tasks]
                found = _statistics(record.arrays, names) if record.arrays else {}
                parts += [(pair, record, name, statistics) for name, statistics in found.items()]
        values = {pair: np.full((DRAWS + 1, len(self._g.tasks)), np.nan) for pair in row.seeds}
        for images in sorted({len(statistics) for *_, statistics in parts}):
            self._images[row.label] = images
            alike = [part for part in parts if len(part[3]) == images]
            # One product for all runs of a row, which is several times faster than one for each.
            sums = weights(images) @ np.concatenate([statistics for *_, statistics in alike], 1)
            ends = np.cumsum([statistics.shape[1] for *_, statistics in alike])
            for (pair, record, name, _), mine in zip(alike, np.split(sums, ends[:-1], 1), strict=True):
                i, task = tasks[name]
                values[pair][:, i] = _POOLED[task.metric](mine)
                _check(record, task, float(values[pair][0, i]))
        return values


def _check(record: Record, task: TaskInfo, found: float) -> None:
    """Raise `UserError` unless the statistics of the test images give the score that the record has."""
    said = float(record["metrics"][task.name][task.metric])
    if not abs(found - said) <= _ROUNDED * max(abs(said), 1e-3):
        raise UserError(
            f"{record.path} says {task.metric} {said:.6g} of {task.name}, but the test images in {record.arrays} give "
            f"{found:.6g}: one of the two was edited or belongs to another run; restore the files, or make the run again."
        )


def _statistics(path: Path, names: list[str]) -> dict[str, Array]:
    """{task: (N, K) statistics of its test images}, of the tasks that the file holds. Raises `UserError` for a damaged file."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            found = {name: arrays[name].astype(float) for name in names if name in arrays}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} could not be read ({error}); restore it, or remove it to do without it.") from None
    damaged = next((name for name, values in found.items() if values.ndim != 2 or not len(values)), None)
    if damaged:
        raise UserError(f"{path} has no table of {damaged}, a line an image; restore it, or remove it to do without it.")
    return found


def _iou(sums: Array) -> Array:
    right, predicted, true = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, 0)
    union = np.where(true > 0, true + predicted - right, 1)
    return _share(100 * np.where(true > 0, right / union, 0).sum(-1), (true > 0).sum(-1))


def _per_pixel(sums: Array) -> Array:
    return _share(sums[..., 1], sums[..., 0])


def _max_f(sums: Array) -> Array:
    negative, positive = np.moveaxis(sums[..., : 2 * _LEVELS].reshape(*sums.shape[:-1], 2, -1), -2, 0)
    right = _at_least(positive)
    possible = _BETA_SQUARED * positive.sum(-1, keepdims=True) + right + _at_least(negative)
    found = (100 * (1 + _BETA_SQUARED) * right / np.maximum(possible, 1e-12)).max(-1)
    return np.where(sums.any(-1), found, np.nan)


def _boundary_f(sums: Array) -> Array:
    wrong, right, found = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, 0)
    precision = _at_least(right) / np.maximum(_at_least(right) + _at_least(wrong), 1)
    recall = _at_least(found) / np.maximum(found.sum(-1, keepdims=True), 1)
    f = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return np.where(sums.any(-1), 100 * f.max(-1), np.nan)


def _at_least(levels: Array) -> Array:
    """Counts per level (..., L + 1) to counts at or above each of the L thresholds (..., L)."""
    return np.cumsum(levels[..., ::-1], -1)[..., ::-1][..., 1:]


def _share(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)


# {primary metric: from summed statistics (..., K) to values (...)}, as `values` of the metric's meter has it for one sum. odsF is
# not here: its counts at 99 thresholds are not kept per image.
_POOLED: dict[str, Callable[[Array], Array]] = {
    "mIoU": _iou,
    "absErr": _per_pixel,
    "mErr": _per_pixel,
    "maxF": _max_f,
    "boundaryF": _boundary_f,
}
