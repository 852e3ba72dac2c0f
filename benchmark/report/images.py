"""The other uncertainty: which images the test set holds. Paired bootstrap from the statistics of every test
image.

A draw is the test images resampled with replacement, the same draw for every run and task, so that what makes
an image hard for all cancels in delta m and in differences. Its interval says how far a mean over these seeds
could be off for want of test images, and holds no noise of training or labels: it stands beside the interval
over seeds and is never added to it.

Draws come from the raw output of PCG64 with a fixed seed, which NumPy keeps the same in all versions and on
all machines. A 95 % interval runs from the 2.5th to the 97.5th percentile of `DRAWS` draws. Simulated, the
interval of a mean per pixel covers about 94 % with 64 images and with 300; that of mIoU less where few images
show a class.
"""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from benchmark.errors import UserError
from benchmark.metrics.pooled import PRIMARY
from benchmark.report import statistics
from benchmark.report.records import Record
from benchmark.report.rows import Group, Pair, Row, TaskInfo
from benchmark.report.statistics import Array, Estimate

DRAWS = 1000
_ROUNDED = 1e-5  # relative: statistics are kept in single precision
_BATCH = 8  # records that a thread takes at once
_THREADS = min(8, os.cpu_count() or 1)  # more wait for each other: a part of the work holds Python's lock
_DEFINED = 0.95  # share of draws: an interval of fewer would be one of a luckier test set
_KEPT_ROWS = 3  # the reference, the baseline and the row itself


@dataclass(frozen=True)
class Images:
    """Intervals over test images of a row, None where the statistics of some run are not there or no longer
    kept per image, or where too few images carry a label.

    n of each estimate: test images. scores: {task: its primary metric's mean over seeds}. delta: delta m,
    over the seeds that row and reference share. versus: its difference to the baseline's.
    """

    scores: dict[str, Estimate | None]
    delta: Estimate | None = None
    versus: Estimate | None = None


@lru_cache(maxsize=4)
def weights(images: int) -> Array:
    """(DRAWS + 1, images) how often a draw holds each image; the first line is the test set itself, each
    image once.
    """
    drawn = (
        (np.random.PCG64(0).random_raw(DRAWS * images) % np.uint64(images))
        .astype(np.int64)
        .reshape(DRAWS, images)
    )
    lines = np.arange(1, DRAWS + 1)[:, None] * images
    counts = np.bincount((drawn + lines).ravel(), minlength=(DRAWS + 1) * images).reshape(DRAWS + 1, images)
    counts[0] = 1
    return counts.astype(float)


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()  # looks through all loaded libraries, which takes longer than to read a row


class Resampled:
    """The primary metrics of every run of a group under the same draws of test images; runs are read when
    asked for.

    Rows come one after the other, each held against the same two or three; the last few are kept, and no more
    memory is held.
    """

    def __init__(self, g: Group) -> None:
        self._g = g
        self._signs = np.array([t.sign for t in g.tasks], dtype=float)
        self._rows: OrderedDict[str, dict[Pair, Array]] = OrderedDict()
        self._images: dict[str, int] = {}

    def scores(self, row: Row) -> dict[str, Estimate | None]:
        """{task: its primary metric's mean over all complete seeds of a row, with its interval over
        images}
        """
        values = self._mean(row, sorted(row.seeds))
        return {t.name: self._interval(mine, row) for t, mine in zip(self._g.tasks, values, strict=True)}

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
        """The value of the test set itself with the percentile interval of the draws (DRAWS + 1,) in which it
        is defined, as a draw may have no image with a label; None where fewer than `_DEFINED` of them are."""
        drawn = values[1:][np.isfinite(values[1:])]
        if not np.isfinite(values[0]) or len(drawn) < _DEFINED * DRAWS:
            return None
        low, high = np.percentile(drawn, [2.5, 97.5])
        return Estimate(float(values[0]), float(low), float(high), self._images[row.label])

    def _changes(self, scores: Array, reference: Array) -> Array:
        with np.errstate(invalid="ignore"):
            return np.asarray(
                statistics.changes(scores.T[:, None], reference.T[:, None], self._signs).mean(-1)
            )

    def _mean(self, row: Row, pairs: list[Pair]) -> Array:
        """(T, DRAWS + 1) means over units of means over the seeds of a unit; NaN where a run has no
        statistics.
        """
        by_unit: dict[int, list[Array]] = {}
        if pairs:
            values = self._row(row)
            for pair in pairs:
                by_unit.setdefault(self._g.unit(pair), []).append(values[pair])
        if not by_unit:
            return np.full((len(self._g.tasks), DRAWS + 1), np.nan)
        return _average([_average(found) for found in by_unit.values()])

    def _row(self, row: Row) -> dict[Pair, Array]:
        """{seed: (T, DRAWS + 1) primary metrics under every draw}, NaN where a run has no statistics."""
        if row.label not in self._rows:
            while len(self._rows) >= _KEPT_ROWS:
                self._rows.popitem(last=False)
            self._rows[row.label] = self._read(row)
        self._rows.move_to_end(row.label)
        return self._rows[row.label]

    def _read(self, row: Row) -> dict[Pair, Array]:
        values = {pair: np.full((len(self._g.tasks), DRAWS + 1), np.nan) for pair in row.seeds}
        records = [(record, values[pair]) for pair, seed in row.seeds.items() for record in seed.records]
        batches = [records[i : i + _BATCH] for i in range(0, len(records), _BATCH)]
        # Products of this size are too small to share among threads, which would wait for each other longer
        # than they multiply.
        with _libraries().limit(limits=1, user_api="blas"), ThreadPoolExecutor(_THREADS) as pool:
            found = {images for batch in pool.map(self._batch, batches) for images in batch}
        if found:
            self._images[row.label] = max(found)
        return values

    def _batch(self, records: Sequence[tuple[Record, Array]]) -> set[int]:
        """Fill in the metrics (T, DRAWS + 1) of each record. Returns their numbers of test images."""
        tasks = {t.name: (i, t) for i, t in enumerate(self._g.tasks) if t.metric in PRIMARY}
        counts = set()
        # For the sums of one record after another: to ask for new memory takes as long as the product.
        room: Array = np.empty((0, DRAWS + 1))
        for record, values in records:
            names = [name for name in record.spec["tasks"] if name in tasks]
            tables = _statistics(record.arrays, names) if record.arrays else {}
            for images in sorted({len(table) for table in tables.values()}):
                alike = {name: table for name, table in tables.items() if len(table) == images}
                joined = np.concatenate([*alike.values()], 1, dtype=float)
                if len(room) < joined.shape[1]:
                    room = np.empty((joined.shape[1], DRAWS + 1))
                sums = np.matmul(joined.T, weights(images).T, out=room[: joined.shape[1]])
                ends = np.cumsum([table.shape[1] for table in alike.values()])
                for name, mine in zip(alike, np.split(sums, ends[:-1]), strict=True):
                    i, task = tasks[name]
                    values[i] = PRIMARY[task.metric](mine.T)
                    _check(record, task, float(values[i, 0]))
                counts.add(images)
        return counts


def _average(arrays: Sequence[Array]) -> Array:
    """Their mean, summed one by one: an array of them all would be as large again as they are."""
    if len(arrays) == 1:
        return arrays[0]
    total = arrays[0] + arrays[1]
    for array in arrays[2:]:
        total += array
    return total / len(arrays)


def _check(record: Record, task: TaskInfo, found: float) -> None:
    """Raise `UserError` unless the statistics of the test images give the score that the record has."""
    said = float(record["metrics"][task.name][task.metric])
    if not abs(found - said) <= _ROUNDED * max(abs(said), 1e-3):
        raise UserError(
            f"{record.path} says {task.metric} {said:.6g} of {task.name}, but the test images in "
            f"{record.arrays} give "
            f"{found:.6g}: one of the two was edited or belongs to another run; restore the files, or make "
            f"the run again."
        )


def _statistics(path: Path, names: list[str]) -> dict[str, NDArray[Any]]:
    """{task: (N, K) statistics of its test images}, of the tasks that the file holds. Raises `UserError` for
    a damaged file.
    """
    try:
        with zipfile.ZipFile(path) as file:
            held = set(file.namelist())
            found = {name: _array(file.read(f"{name}.npy")) for name in names if f"{name}.npy" in held}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(
            f"{path} could not be read ({error}); restore it, or remove it to do without it."
        ) from None
    tables = {
        name
        for name, values in found.items()
        if values.ndim == 2 and len(values) and values.dtype.kind in "iuf"
    }
    damaged = next((name for name in found if name not in tables), None)
    if damaged:
        raise UserError(
            f"{path} has no table of {damaged}, a line an image; restore it, or remove it to do without it."
        )
    return found


def _array(content: bytes) -> NDArray[Any]:
    """The array of a .npy file of format 1.0, as `numpy.savez` writes it: thousands of files have few headers
    between them, and
    `numpy.load` would parse each as Python. Raises `ValueError` for another content."""
    end = 10 + int.from_bytes(content[8:10], "little")
    shape, fortran, dtype = _header(content[:end])
    return np.frombuffer(content, dtype, offset=end).reshape(shape, order="F" if fortran else "C")


@lru_cache(maxsize=1024)
def _header(content: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    file = io.BytesIO(content)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("an array of it is of an unknown format")
    return np.lib.format.read_array_header_1_0(file)
