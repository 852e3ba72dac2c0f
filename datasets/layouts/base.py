"""What a reader of a published layout offers: names, tasks, and one checked sample at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

from benchmark.errors import UserError, unknown
from datasets.tasks import Task

Array = NDArray[Any]
SPLITS = ("train", "test")
TEACHER = "teacher."  # before a task's name: a teacher's maps of it, in samples and stores


@dataclass(frozen=True)
class Sample:
    """Hold one checked sample at its stored size.

    image: (H, W, 3) uint8 RGB. labels: {task: array of the same H and W} for the tasks that this sample has a
    label of: classes, saliency and edge (H, W) uint8 with 255 unknown; depth (H, W) float32 with 0 unknown;
    normals (H, W, 3) float32 of unit length in camera axes (x right, y down, z forward), (0, 0, 0) unknown.
    A teacher's maps are among them under `TEACHER` and the task's name, of train samples alone.
    remarks: what of its files a person should hear, counted over all samples; `datasets.seen` has the words.
    """

    image: Array
    labels: dict[str, Array] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what fails in reading a folder or file of the user's into a `UserError` that names it."""
    try:
        yield
    except OSError as error:
        reason = f"{error.strerror or error}; check its permissions"
        raise UserError(f"{error.filename or path} could not be read: {reason}.") from error


class Source(ABC):
    """Describe a user's folder or file in one published layout; nothing is read before it is asked.

    layout: its name. path: what the user named. `_list` is called once for each split.
    """

    layout: ClassVar[str]

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names: dict[str, tuple[str, ...]] = {}

    @property
    @abstractmethod
    def tasks(self) -> dict[str, Task]:
        """Return the tasks that it holds labels of, in the data set's order."""

    @property
    @abstractmethod
    def variant(self) -> str | None:
        """Name the labels where they are not the papers'; part of the data set's name."""

    @property
    def teachers(self) -> tuple[str, ...]:
        """Name the tasks of which train samples have a teacher's maps: none."""
        return ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Return sentences for whoever prepares it: none."""
        return ()

    @property
    def joins(self) -> tuple[str, ...]:
        """Return the name of a description of several data sets, and their variants: none."""
        return ()

    @property
    def members(self) -> tuple[Source, ...]:
        """Return the data sets that it holds: itself, or those that one description joins."""
        return (self,)

    def names(self, split: str) -> tuple[str, ...]:
        """Name the samples of "train" or "test", by their stable numbers.

        Raises `UserError` when a list, a folder or a file that the layout needs is missing or empty.
        """
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        if split not in self._names:
            with reading(self.path):
                self._names[split] = self._list(split)
        return self._names[split]

    @abstractmethod
    def _list(self, split: str) -> tuple[str, ...]:
        """As `names`, of "train" or "test"."""

    @abstractmethod
    def read(self, split: str, i: int) -> Sample:
        """Read sample i of a split.

        Raises `UserError` naming the first file that is missing, damaged or not what the layout says.
        """
