"""Several data sets as one, each with the labels that it has: `scenes-fog:depth+own-data-kitchens`."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import torch
from torch import Tensor

from benchmark.errors import UserError, unknown
from datasets.base import Dataset, Split
from datasets.tasks import Task

APART = 2**26  # between the sample numbers of two sources; random streams take 32 bits of a number
MOST = 32
LONGEST = 200  # characters of a variant, which names the data of runs in records


@dataclass(frozen=True)
class Part:
    """Hold one source. only: the tasks whose labels are used; () for all that it has."""

    dataset: Dataset
    only: tuple[str, ...] = ()

    @property
    def variant(self) -> str:
        """Name its data and the tasks that are used."""
        return ":".join([self.dataset.variant, *self.only])

    @property
    def tasks(self) -> dict[str, Task]:
        """Return the tasks that are used. Raises `UserError` for one that it has not."""
        every = self.dataset.tasks
        for name in self.only:
            if name not in every:
                raise unknown(f"task of {self.dataset.variant}", name, every)
        return {name: every[name] for name in self.only or every}


class Sources:
    """Join data sets of which each may label other tasks; one training set, one test set.

    Tasks of one name share a head where they agree in all but the range of their pictures;
    otherwise the later one is a task of its own, named after its source's number: `semseg_2`. Every task is
    learnt and tested on the images of the sources that label it. Samples of the sources take turns in
    proportion, so that any part of a split has its share of each.
    """

    default_labels = "given"

    def __init__(self, parts: Sequence[Part]) -> None:
        """Raise `UserError` for a source that is named twice, and for too many."""
        self.parts = tuple(parts)
        self.name = "+".join(part.dataset.name for part in parts)
        self.progress: Callable[[int, int], None] | None = None
        names = [":".join([part.dataset.name, *part.only]) for part in parts]
        if len(parts) > MOST:
            raise UserError(f"{len(parts)} sources are more than {MOST}; pack some of them as one.")
        for part in parts:
            if len(set(part.only)) < len(part.only):
                raise UserError(f"{':'.join([part.dataset.name, *part.only])} names a task twice.")
        if len({part.dataset.variant for part in parts}) < len(parts):
            raise UserError(
                f"{'+'.join(names)} names a source twice, whose images would count twice; name each once, "
                "with all the tasks that are used of it (NAME:TASK:TASK)."
            )
        if len(self.variant) > LONGEST:
            raise UserError(
                f"{self.variant} has {len(self.variant)} characters, more than {LONGEST}, the most of a name "
                "of data; join fewer sources, or name fewer tasks."
            )

    @property
    def default_size(self) -> tuple[int, int]:
        """Return that of the first source."""
        return self.parts[0].dataset.default_size

    def present(self) -> bool:
        """Tell whether all sources are here."""
        return all(part.dataset.present() for part in self.parts)

    def here(self) -> tuple[str, ...]:
        """Name what there is of each."""
        return tuple(name for part in self.parts for name in part.dataset.here())

    @property
    def variant(self) -> str:
        """Name the data and tasks of each."""
        return "+".join(part.variant for part in self.parts)

    @property
    def tasks(self) -> dict[str, Task]:
        """Return the tasks of all sources."""
        return self._joined()[0]

    @property
    def teachers(self) -> tuple[str, ...]:
        """Return the tasks of which a source has a teacher's maps."""
        held = [getattr(part.dataset, "teachers", ()) for part in self.parts]
        names = zip(self._joined()[1], held, strict=True)
        return tuple(dict.fromkeys(task for own, of in names for task, name in own.items() if name in of))

    def _joined(self) -> tuple[dict[str, Task], list[dict[str, str]]]:
        """Return the joined tasks, and for each source {name: its own name of the task}."""
        joined: dict[str, Task] = {}
        names: list[dict[str, str]] = []
        every = {name for part in self.parts for name in part.tasks}
        for number, part in enumerate(self.parts, 1):
            own = {}
            for name, task in part.tasks.items():
                called = name
                if name in joined and replace(joined[name], span=task.span) != task:
                    others = (f"{name}_{n}" for n in itertools.count(number, len(self.parts)))
                    called = next(other for other in others if other not in every)
                joined.setdefault(called, replace(task, name=called))
                own[called] = name
            names.append(own)
        return joined, names

    def split(self, name: str, size: tuple[int, int], limit: int | None = None) -> Split:
        """Read the splits of all sources and join them; see `Dataset.split`.

        limit: images of all together, as evenly as a division goes. The images of all lie in memory.
        """
        joined, names = self._joined()
        counts: list[int | None] = [None] * len(self.parts)
        if limit is not None:
            if limit < len(self.parts):
                raise UserError(f"{limit} images leave a source of {self.name} without any; give more.")
            counts = [
                limit // len(self.parts) + (i < limit % len(self.parts)) for i in range(len(self.parts))
            ]
        splits = []
        for part, count in zip(self.parts, counts, strict=True):
            part.dataset.progress = self.progress
            splits.append(part.dataset.split(name, size, count))
            if int(splits[-1].ids.max()) >= APART:
                raise UserError(f"{part.variant} numbers its samples above {APART}; use it alone.")
        if len({split.fit for split in splits}) > 1:
            fits = ", ".join(
                f"{part.variant}: {split.fit}" for part, split in zip(self.parts, splits, strict=True)
            )
            raise UserError(
                f"joined data sets must meet the frame alike, not {fits}; prepare one of them anew."
            )
        turns = torch.cat([(torch.arange(len(split)) + 0.5) / len(split) for split in splits])
        order = turns.argsort(stable=True)
        source = torch.repeat_interleave(
            torch.arange(len(splits)), torch.tensor([len(split) for split in splits])
        )[order]
        variants = [part.variant for part in self.parts]
        labels = [
            f"{variant}/{each}"
            for variant, split in zip(variants, splits, strict=True)
            for each in split.names
        ]
        available = [
            torch.stack([_column(split, own.get(task)) for task in joined], 1)
            for split, own in zip(splits, names, strict=True)
        ]

        def stacked(held: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
            """The maps of each task that some source has any of."""
            columns = {
                n: [of.get(own.get(n, "")) for of, own in zip(held, names, strict=True)] for n in joined
            }
            used = ((n, column) for n, column in columns.items() if any(maps is not None for maps in column))
            return {n: _stacked(column, splits, joined[n])[order] for n, column in used}

        content = [f"{variant} {split.fingerprint}" for variant, split in zip(variants, splits, strict=True)]
        return Split(
            ids=torch.cat([split.ids + i * APART for i, split in enumerate(splits)])[order],
            names=tuple(labels[i] for i in order.tolist()),
            images=torch.cat([split.images for split in splits])[order],
            targets=stacked([split.targets for split in splits]),
            teacher=stacked([split.teacher for split in splits]),
            available=torch.cat(available)[order],
            fingerprint=hashlib.sha256("\n".join(content).encode()).hexdigest(),
            extents=_extents(splits, order, size),
            fit=splits[0].fit,
            source=source,
            sources=tuple(variants),
        )


def _column(split: Split, name: str | None) -> Tensor:
    if name is None:
        return torch.zeros(len(split), dtype=torch.bool)
    return split.available[:, list(split.targets).index(name)]


def _stacked(column: Sequence[Tensor | None], splits: Sequence[Split], task: Task) -> Tensor:
    """Stack a task's maps, (N, C, H, W), of which some sources have none that is used."""
    known = [maps for maps in column if maps is not None]
    kind = reduce(torch.promote_types, (maps.dtype for maps in known))
    blank = known[0].new_full((1, *known[0].shape[1:]), task.ignore, dtype=kind)
    pairs = zip(column, splits, strict=True)
    return torch.cat(
        [blank.expand(len(s), -1, -1, -1) if maps is None else maps.to(kind) for maps, s in pairs]
    )


def _extents(splits: Sequence[Split], order: Tensor, size: tuple[int, int]) -> Tensor | None:
    if all(split.extents is None for split in splits):
        return None
    whole = torch.tensor(size)
    return torch.cat(
        [whole.expand(len(split), 2) if split.extents is None else split.extents for split in splits]
    )[order]
