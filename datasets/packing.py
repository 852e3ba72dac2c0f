"""From samples of any size to arrays of one shape, and to a split; the same in memory and in a store."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from datasets import fit
from datasets.base import Split
from datasets.fit import Fit, Row
from datasets.layouts.base import TEACHER, Array, Source, reading
from datasets.tasks import Task

LARGE = 3 * 20_000_000  # colours of an image; after such a one, one is in memory at a time
READERS, AHEAD = 2, 8  # threads that read files, as decoding releases the interpreter; samples at a time
Progress = Callable[[int, int], None]
Allocate = Callable[[str, np.dtype, tuple[int, ...]], Array]


@dataclass(frozen=True)
class Arrays:
    """Hold a packed split.

    values: {"image", "extent", a task, or `TEACHER` and a task: (N, ...)}. digests: SHA-256 of each sample,
    16 hex digits, and of its teacher's maps 16 more. remarks: {what a reader remarked: (samples, name of the
    first)}.
    """

    names: tuple[str, ...]
    values: dict[str, Array]
    digests: tuple[str, ...]
    remarks: dict[str, tuple[int, str]] = field(default_factory=dict)

    def split(self, tasks: dict[str, Task], limit: int | None, total: int | None = None) -> Split:
        """Return the first `limit` samples; of a store, views of its files."""
        count = len(self.names) if limit is None else min(limit, len(self.names))
        targets = {name: torch.from_numpy(self.values[name][:count]) for name in tasks}
        extents = torch.from_numpy(self.values["extent"][:count].astype(np.int64))
        size = tuple(self.values["image"].shape[2:])
        taught = [name for name in tasks if TEACHER + name in self.values]
        whole = bool((extents == torch.tensor(size)).all())
        return Split(
            ids=torch.arange(count),
            names=self.names[:count],
            images=torch.from_numpy(self.values["image"][:count]),
            targets=targets,
            available=torch.from_numpy(self.values["available"][:count]),
            fingerprint=hashlib.sha256(
                json.dumps([size, list(tasks), self.digests[:count]]).encode()
            ).hexdigest()[:16],
            extents=None if whole else extents,
            total=len(self.names) if total is None else total,
            teacher={n: torch.from_numpy(self.values[TEACHER + n][:count]) for n in taught},
        )


def pack(
    source: Source,
    split: str,
    tasks: dict[str, Task],
    size: tuple[int, int],
    how: Fit,
    *,
    limit: int | None = None,
    allocate: Allocate = lambda name, dtype, shape: np.empty(shape, dtype),
    progress: Progress = lambda done, wanted: None,
) -> Arrays:
    """Read a split's first `limit` samples into arrays of `allocate`. Raises the reader's `UserError`."""
    names = source.names(split)[:limit]
    count = len(names)
    taught = {TEACHER + name: tasks[name] for name in source.teachers if name in tasks and split == "train"}
    shapes: dict[str, tuple[Any, tuple[int, ...]]]
    shapes = {"image": (np.uint8, (3, *size)), "extent": (np.int16, (2,))}
    for name, task in (tasks | taught).items():
        shapes[name] = (torch.empty(0, dtype=task.maps.stored).numpy().dtype, (task.target_channels, *size))
    shapes["available"] = (np.bool_, (len(tasks),))
    values = {name: allocate(name, np.dtype(kind), (count, *shape)) for name, (kind, shape) in shapes.items()}

    largest = 0

    def read(i: int) -> tuple[Row, list[bool], list[str]]:
        nonlocal largest
        with reading(source.path):
            sample = source.read(split, i)
        largest = max(largest, sample.image.size)
        row = fit.fit(sample, tasks | taught, size, how)
        known = [bool(task.valid(row.targets[name][None]).any()) for name, task in tasks.items()]
        blank = [name for name, any_ in zip(tasks, known, strict=True) if name in sample.labels and not any_]
        none = "have no labelled pixel at this size|these images count as images without that label"
        return row, known, [*sample.remarks, *(f"maps of {name} {none}" for name in blank)]

    digests, remarks = [], dict[str, tuple[int, str]]()
    with ThreadPoolExecutor(READERS) as pool:
        batches = (
            (map if largest > LARGE else pool.map)(read, range(i, min(i + AHEAD, count)))
            for i in range(1, count, AHEAD)
        )
        rows = itertools.chain(map(read, range(min(1, count))), itertools.chain.from_iterable(batches))
        for i, (row, known, found) in enumerate(rows):
            values["image"][i], values["extent"][i] = row.image.numpy(), row.extent
            values["available"][i] = known
            for name, target in row.targets.items():
                values[name][i] = target.numpy()
            for remark in found:
                seen, first = remarks.get(remark, (0, names[i]))
                remarks[remark] = (seen + 1, first)
            own = _digest(values, i, ("image", "extent", *tasks))
            digests.append(own + (_digest(values, i, taught) if taught else ""))
            progress(i + 1, count)
    return Arrays(names, values, tuple(digests), remarks)


def _digest(values: dict[str, Array], i: int, names: Iterable[str]) -> str:
    content = hashlib.sha256()
    for name in names:
        content.update(np.ascontiguousarray(values[name][i]).data)
    return content.hexdigest()[:16]


def narrowed(split: Split, start: int, stop: int) -> Split:
    """Take samples start..stop-1: views, with a fingerprint of their own."""
    here, published = slice(start, stop), split.published
    return replace(
        split,
        ids=split.ids[here],
        names=split.names[here],
        images=split.images[here],
        targets={name: values[here] for name, values in split.targets.items()},
        teacher={name: values[here] for name, values in split.teacher.items()},
        available=split.available[here],
        fingerprint=hashlib.sha256(f"{split.fingerprint}/{start}:{stop}".encode()).hexdigest()[:16],
        extents=None if split.extents is None else split.extents[here],
        published=published and (lambda *which: published(*which)[here]),
        source=None if split.source is None else split.source[here],
    )
