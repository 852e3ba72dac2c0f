"""From samples of any size to arrays of one shape, and to a split; the same in memory and in a store."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from datasets import fit
from datasets.base import Split
from datasets.fit import Fit, Row
from datasets.layouts.base import TEACHER, Array, Source, reading
from datasets.tasks import Task

T = TypeVar("T")
LARGE = 3 * 20_000_000  # colours of an image; of larger ones, one is in memory at a time
READERS = 2  # threads that read files: decoding releases the interpreter, and a disk likes two
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
            teacher={
                name: torch.from_numpy(self.values[TEACHER + name][:count])
                for name in tasks
                if TEACHER + name in self.values
            },
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
    """Read a split's first `limit` samples into arrays that `allocate` makes.

    Raises the reader's `UserError`.
    """
    names = source.names(split)[:limit]
    count = len(names)
    taught = {TEACHER + name: tasks[name] for name in source.teachers if name in tasks and split == "train"}
    shapes: dict[str, tuple[Any, tuple[int, ...]]]
    shapes = {"image": (np.uint8, (3, *size)), "extent": (np.int16, (2,))}
    for name, task in (tasks | taught).items():
        shapes[name] = (torch.empty(0, dtype=task.maps.stored).numpy().dtype, (task.target_channels, *size))
    shapes["available"] = (np.bool_, (len(tasks),))
    values = {name: allocate(name, np.dtype(kind), (count, *shape)) for name, (kind, shape) in shapes.items()}

    sizes: list[int] = []

    def read(i: int) -> tuple[Row, list[bool], list[str]]:
        with reading(source.path):
            sample = source.read(split, i)
        sizes.append(sample.image.size)
        row = fit.fit(sample, tasks | taught, size, how)
        known = [bool(task.valid(row.targets[name][None]).any()) for name, task in tasks.items()]
        blank = [name for name, any_ in zip(tasks, known, strict=True) if name in sample.labels and not any_]
        return row, known, [*sample.remarks, *(f"blank of {name}" for name in blank)]

    digests, remarks = [], dict[str, tuple[int, str]]()
    for i, (row, known, found) in enumerate(
        _in_order(read, count, lambda: 1 if max(sizes) > LARGE else READERS)
    ):
        values["image"][i], values["extent"][i], values["available"][i] = row.image.numpy(), row.extent, known
        for name, target in row.targets.items():
            values[name][i] = target.numpy()
        for remark in found:
            seen, first = remarks.get(remark, (0, names[i]))
            remarks[remark] = (seen + 1, first)
        own = _digest(values, i, ("image", "extent", *tasks))
        digests.append(own + (_digest(values, i, taught) if taught else ""))
        progress(i + 1, count)
    return Arrays(names, values, tuple(digests), remarks)


def _in_order(read: Callable[[int], T], count: int, readers: Callable[[], int]) -> Iterator[T]:
    """`read(0)`, `read(1)`, ..., a few ahead of what is asked for.

    readers: how many threads, once the first is read.
    """
    if not count:
        return
    yield read(0)
    with ThreadPoolExecutor(number := readers()) as pool:
        numbers = iter(range(1, count))
        ahead = [pool.submit(read, i) for i in itertools.islice(numbers, 2 * number)]
        try:
            while ahead:
                row = ahead.pop(0).result()
                ahead.extend(pool.submit(read, i) for i in itertools.islice(numbers, 1))
                yield row
        finally:
            for future in ahead:
                future.cancel()


def _digest(values: dict[str, Array], i: int, names: Iterable[str]) -> str:
    content = hashlib.sha256()
    for name in names:
        content.update(np.ascontiguousarray(values[name][i]).data)
    return content.hexdigest()[:16]


def narrowed(split: Split, start: int, stop: int) -> Split:
    """Take samples start..stop-1: views, with a fingerprint of their own."""
    here = slice(start, stop)

    def published(which: str, tasks: Sequence[str]) -> Tensor:
        assert split.published is not None
        return split.published(which, tasks)[here]

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
        published=None if split.published is None else published,
        source=None if split.source is None else split.source[here],
    )
