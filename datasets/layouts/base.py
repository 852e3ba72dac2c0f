"""What a reader of a published layout offers: names, tasks, and one checked sample at a time."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

from benchmark.errors import UserError, reason, unknown
from benchmark.files import parse, read_text
from datasets.tasks import Task

Array = NDArray[Any]
SPLITS = ("train", "test")
LISTED = {"train": "train", "test": "val"}  # what papers call the splits
TEACHER = "teacher."  # before a task's name: a teacher's maps of it, in samples and stores


@dataclass(frozen=True)
class Sample:
    """Hold one checked sample at its stored size.

    image: (H, W, 3) uint8 RGB. labels: {task: array of the same H and W} for the tasks that this sample has a
    label of: classes, saliency and edge (H, W) uint8 with 255 unknown; depth (H, W) float32 with 0 unknown;
    normals (H, W, 3) float32 of unit length in camera axes (x right, y down, z forward), (0, 0, 0) unknown.
    A teacher's maps are among them under `TEACHER` and the task's name, of train samples alone.
    remarks: what of its files a person should hear, counted over all samples: "what|advice", as in "images
    are odd|look at them".
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

    layout: its name. dataset: what a SOURCE.json names. marks: what lies in every folder of it, and in no
    other's. path: what the user named. `_list` is called once for each split.
    """

    layout: ClassVar[str]
    dataset: ClassVar[str]
    marks: ClassVar[tuple[str, ...]]

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names: dict[str, tuple[str, ...]] = {}

    @property
    @abstractmethod
    def tasks(self) -> dict[str, Task]:
        """Return the tasks that it holds labels of, in the data set's order."""

    @classmethod
    def detect(cls, path: Path) -> bool:
        """Tell whether a folder or file is in this layout."""
        return all((path / mark).exists() for mark in cls.marks)

    @property
    def variant(self) -> str | None:
        """Name the labels where they are not the papers'; part of the data set's name."""
        return source_variant(self.path, self.dataset)

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
        """Name the samples of "train" or "test". Raises `UserError` where that is missing or empty."""
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
        """Read sample i of a split. Raises `UserError` naming a file that is missing or wrong."""


def source_variant(folder: Path, dataset: str) -> str | None:
    """Read the variant that SOURCE.json names; None without it. Raises `UserError` for a wrong one."""
    path = folder / "SOURCE.json"
    expected = f'expected JSON such as {{"dataset": "{dataset}", "variant": "derived-normals"}}'
    try:
        content = parse(read_text(path), lambda text: json.loads(text, object_pairs_hook=_each_once))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} could not be read ({reason(error)[:120]}); {expected}.") from None
    name = content.get("variant") if isinstance(content, dict) and content.get("dataset") == dataset else None
    if not isinstance(name, str) or not re.fullmatch(r"(?!.{65})[a-z0-9]+([.-][a-z0-9]+)*", name):
        raise UserError(f"{path} does not name a variant of {dataset}; {expected}.")
    return name


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("it says something twice")
    return found
