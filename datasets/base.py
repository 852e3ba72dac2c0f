"""What the harness asks of a data set: a name, its tasks, and its splits as fixed-shape tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from datasets.tasks import Task


@dataclass(frozen=True)
class Split:
    """One split at one size, in compact dtypes; memory-mapped or in memory alike.

    ids: stable sample numbers (N,) int64, the counters of every random stream. names: what people call the samples.
    images: (N, 3, H, W) uint8. targets: {task: (N, C, H, W)}, uint8 class maps, float16 or float32 metres, int8 normals
    times 127 (0, 0, 0 unknown). available: (N, T) bool in the order of `targets`: which labels exist at all.
    fingerprint: hash of the content, for records.
    """

    ids: Tensor
    names: tuple[str, ...]
    images: Tensor
    targets: dict[str, Tensor]
    available: Tensor
    fingerprint: str

    def __len__(self) -> int:
        return len(self.ids)


class Dataset(Protocol):
    """A data set. `name` and `variant` identify it in specs and records ("scenes-v1", "nyuv2-13-derived-normals")."""

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    licence: ClassVar[str]
    default_size: ClassVar[tuple[int, int]]

    # Called with (done, wanted) while a split is made or read, if anybody wants to know.
    progress: Callable[[int, int], None] | None

    def __init__(self, data: Path) -> None: ...

    def present(self) -> bool:
        """Whether the data are here, or can be made here."""
        ...

    @property
    def variant(self) -> str:
        """The name in specs and records; without data, that of the data as their authors publish them."""
        ...

    @property
    def tasks(self) -> dict[str, Task]: ...

    def split(self, name: str, size: tuple[int, int], limit: int | None = None) -> Split:
        """Split "train" or "test" at (H, W), its first `limit` samples. Raises `UserError` when data are missing or odd."""
        ...


def widen(task: Task, target: Tensor) -> Tensor:
    """A compact target in the dtype that losses and metrics take: int64 class maps, float32 metres, unit float32 normals."""
    if task.is_map_of_integers:
        return target.long()
    if task.kind == "normals":
        vectors = target.to(torch.float32)
        # Vectors of length 0 (unknown) stay exactly 0. `norm` over a strided dimension is sixty times slower on a CPU.
        return vectors / vectors.square().sum(1, keepdim=True).sqrt().clamp_min(1e-6)
    return target.to(torch.float32)
