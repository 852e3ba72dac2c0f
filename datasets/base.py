"""What the harness asks of a data set: a name, its tasks, and its splits as fixed-shape tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from torch import Tensor

from datasets.fit import Fit
from datasets.tasks import Task


@dataclass(frozen=True)
class Split:
    """Hold one split at one size, in compact dtypes; mapped or in memory.

    ids: stable sample numbers (N,) int64, the counters of every random stream. names: what people call the
    samples. images: (N, 3, H, W) uint8. targets: {task: (N, C, H, W)}, uint8 class maps, float16 or float32
    metres, int8 normals times 127 (0, 0, 0 unknown). available: (N, T) bool in the order of `targets`: which
    labels exist at all. fingerprint: hash of the content, for records. extents: (N, 2) int64 (h, w) of the
    content, which starts at the top left, where frames are padded (0 in images, unknown in labels); None
    where every image fills its frame. total: samples of the whole split, of which these may be the first.
    published: reads a frozen label split of the papers, by its name and those of T tasks, as (N, T) bool;
    None where there is none. fit: how images of other sizes met the frame, as in `datasets.fit`.
    source: (N,) int64 which of the joined data sets `sources` a sample is of; None where it is one.
    teacher: {task: (N, C, H, W)} of some tasks, as `targets`: a model's predictions for train samples, which
    methods may learn from and nothing is scored by.
    """

    ids: Tensor
    names: tuple[str, ...]
    images: Tensor
    targets: dict[str, Tensor]
    available: Tensor
    fingerprint: str
    extents: Tensor | None = None
    total: int | None = None
    published: Callable[[str, Sequence[str]], Tensor] | None = None
    fit: Fit = "scale"
    source: Tensor | None = None
    sources: tuple[str, ...] = ()
    teacher: dict[str, Tensor] = field(default_factory=dict)

    def frozen(self, tasks: Sequence[str]) -> Callable[[str], Tensor] | None:
        """Bind `published` to these tasks."""
        read = self.published
        return None if read is None else lambda which: read(which, tasks)

    def __len__(self) -> int:
        return len(self.ids)


class Dataset(Protocol):
    """Describe a data set; `name` and `variant` identify it in records.

    Such as "scenes" and "scenes-v1", or "nyuv2" and "nyuv2-13-derived-normals". One with a teacher's maps
    also names their tasks as `teachers`, and has a variant that changes with what the maps hold.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    licence: ClassVar[str]

    # Called with (done, wanted) while a split is made or read, if anybody wants to know.
    progress: Callable[[int, int], None] | None

    def __init__(self, data: Path, wanted: str = "") -> None:
        """data: the folder of data sets. wanted: the name that a plan gives, as exact as it likes."""

    @property
    def default_size(self) -> tuple[int, int]:
        """Return the (H, W) that is used unless a protocol asks for another."""

    def here(self) -> tuple[str, ...]:
        """Name what there is of them, one for each variant and size; () where they are absent."""

    @property
    def variant(self) -> str:
        """Name the data that are here; without any, those of their authors."""

    @property
    def tasks(self) -> dict[str, Task]:
        """Return the tasks that the data have labels of."""

    def split(self, name: str, size: tuple[int, int], limit: int | None = None) -> Split:
        """Read the first `limit` samples of "train" or "test" at (H, W). Raises `UserError` for odd data."""
