"""Several data sets as one, each with the labels that it has: `scenes-fog:depth+own-data-kitchens`."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Sequence
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
            cure = "name each once, with all the tasks that are used of it (NAME:TASK:TASK)"
            twice = "names a source twice, whose images would count twice"
            raise UserError(f"{'+'.join(names)} {twice}; {cure}.")
        if (long := len(self.variant)) > LONGEST:
            most = f"has {long} characters, more than {LONGEST}, the most of a name of data"
            raise UserError(f"{self.variant} {most}; join fewer sources, or name fewer tasks.")

    @property
    def default_size(self) -> tuple[int, int]:
        """Return that of the first source."""
        return self.parts[0].dataset.default_size

    def here(self) -> tuple[str, ...]:
        """Name what there is of each; () unless all are here."""
        found = [part.dataset.here() for part in self.parts]
        return tuple(itertools.chain(*found)) if all(found) else ()

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
        """Read the splits of all sources, `limit` images together, and join them in memory."""
        joined, names = self._joined()
        number, splits = len(self.parts), list[Split]()
        if limit is not None and limit < number:
            raise UserError(f"{limit} images leave a source of {self.name} without any; give more.")
        for i, part in enumerate(self.parts):
            part.dataset.progress = self.progress
            count = None if limit is None else limit // number + (i < limit % number)
            splits.append(part.dataset.split(name, size, count))
            if int(splits[-1].ids.max()) >= APART:
                raise UserError(f"{part.variant} numbers its samples above {APART}; use it alone.")
        variants = [part.variant for part in self.parts]
        of_each = list(zip(variants, splits, names, strict=True))
        if len({split.fit for split in splits}) > 1:
            fits = ", ".join(f"{variant}: {split.fit}" for variant, split, _ in of_each)
            raise UserError(f"joined data sets must meet the frame alike, not {fits}; prepare one anew.")
        turns = [(torch.arange(len(split)) + 0.5) / len(split) for split in splits]
        order = torch.cat(turns).argsort(stable=True)

        def together(parts: Iterable[Tensor]) -> Tensor:
            """What the sources have of their samples, which take turns."""
            return torch.cat(list(parts))[order]

        def stacked(held: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
            """The maps (N, C, H, W) of each task that some source has any of, blank where one has none."""
            found = {}
            for task, kind in joined.items():
                column = [of.get(own.get(task, "")) for of, own in zip(held, names, strict=True)]
                if known := [maps for maps in column if maps is not None]:
                    dtype = reduce(torch.promote_types, (maps.dtype for maps in known))
                    blank = known[0].new_full((1, *known[0].shape[1:]), kind.ignore, dtype=dtype)
                    pairs = zip(column, splits, strict=True)
                    found[task] = together(
                        blank.expand(len(s), -1, -1, -1) if maps is None else maps.to(dtype)
                        for maps, s in pairs
                    )
            return found

        available = []
        for _, split, own in of_each:
            has = dict(zip(split.targets, split.available.unbind(1), strict=True))
            none = torch.zeros(len(split), dtype=torch.bool)
            columns = [has.get(own.get(task, ""), none) for task in joined]
            available.append(torch.stack(columns, 1))
        labels = [f"{variant}/{each}" for variant, split, _ in of_each for each in split.names]
        content = [f"{variant} {split.fingerprint}" for variant, split, _ in of_each]
        extents = [torch.tensor(size).expand(len(s), 2) if s.extents is None else s.extents for s in splits]
        return Split(
            ids=together(split.ids + i * APART for i, split in enumerate(splits)),
            names=tuple(labels[i] for i in order.tolist()),
            images=together(split.images for split in splits),
            targets=stacked([split.targets for split in splits]),
            teacher=stacked([split.teacher for split in splits]),
            available=together(available),
            fingerprint=hashlib.sha256("\n".join(content).encode()).hexdigest(),
            extents=None if all(split.extents is None for split in splits) else together(extents),
            fit=splits[0].fit,
            source=together(torch.full((len(split),), i) for i, split in enumerate(splits)),
            sources=tuple(variants),
        )
