"""A batch with a teacher's maps. It is no part of `Batch`, so that what others see stays what it was."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from methods.base import Batch


@dataclass(frozen=True)
class TaughtBatch(Batch):
    """Hold what a method sees whose class attribute `uses_teacher` is True.

    teacher: {task: (B, C, H, W)}, a teacher's maps in the geometry of `targets`, the ignore value where there
    is none, of the tasks that the data have such maps of. They are given where a label is visible too.
    """

    teacher: dict[str, Tensor] = field(default_factory=dict)
