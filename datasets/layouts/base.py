"""What a reader of a published layout offers: names, tasks, and one checked sample at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from numpy.typing import NDArray

from datasets.tasks import Task

Array = NDArray[Any]


@dataclass(frozen=True)
class Sample:
    """One sample at its stored size, everything checked and in the product's own conventions.

    image: (H, W, 3) uint8 RGB. labels: {task: array of the same H and W} for the tasks that this sample has a
    label of: classes, saliency and edge (H, W) uint8 with 255 unknown; depth (H, W) float32 with 0 unknown;
    normals (H, W, 3) float32 of unit length in camera axes (x right, y down, z forward) with (0, 0, 0)
    unknown. A task that is absent here has no label at all.
    """

    image: Array
    labels: dict[str, Array] = field(default_factory=dict)


class Source(Protocol):
    """A folder or file of a user's, in one published layout.

    layout: its name. path: what the user named. tasks: those it holds labels of, in the data set's order.
    variant: the name of its labels where they are not the papers', which becomes part of the data set's name.
    notes: sentences that whoever prepares it should read.
    """

    layout: ClassVar[str]
    path: Path

    @property
    def tasks(self) -> dict[str, Task]: ...

    @property
    def variant(self) -> str | None: ...

    @property
    def notes(self) -> tuple[str, ...]: ...

    def names(self, split: str) -> tuple[str, ...]:
        """What people call the samples of "train" or "test"; the position is a sample's stable number.

        Raises `UserError` when a list, a folder or a file that the layout needs is missing or empty.
        """
        ...

    def read(self, split: str, i: int) -> Sample:
        """Sample i of a split. Raises `UserError` naming the first file that is missing, damaged or not what
        the layout says.
        """
        ...
