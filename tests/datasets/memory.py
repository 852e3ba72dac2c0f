"""A source of made-up samples, and stores of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmark.errors import UserError
from datasets import packed, preparing, tasks
from datasets.layouts.base import Sample
from datasets.layouts.mtan import MtanNYUv2
from datasets.tasks import Task

TASKS: dict[str, Task] = {
    "semseg": tasks.semseg(("a", "b", "c")), "depth": tasks.depth(), "normals": tasks.normals(),
    "edge": tasks.edge(),
}  # fmt: skip
SIZE = (32, 40)


@dataclass
class Memory:
    """A source of made-up samples, each of its own size; every third without a depth label."""

    count: int = 5
    sizes: tuple[tuple[int, int], ...] = ((32, 40), (24, 30), (20, 40), (48, 30))
    layout: ClassVar[str] = "memory"
    path: Path = Path("memory")
    variant: str | None = None
    notes: tuple[str, ...] = ()
    joins: tuple[str, ...] = ()
    teachers: tuple[str, ...] = ()
    broken: int | None = None
    kept: tuple[str, ...] = tuple(TASKS)

    @property
    def tasks(self) -> dict[str, Task]:
        return {name: TASKS[name] for name in self.kept}

    def names(self, split: str) -> tuple[str, ...]:
        return tuple(f"{split}/{i}" for i in range(self.count if split == "train" else 2))

    def read(self, split: str, i: int) -> Sample:
        if i == self.broken:
            raise UserError(f"{split}/{i} is damaged.")
        random = np.random.default_rng([i, split == "train"])
        height, width = self.sizes[i % len(self.sizes)]
        vectors = random.normal(size=(height, width, 3)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
        known = random.random((height, width)) > 0.2
        found: dict[str, Any] = {
            "semseg": np.where(known, random.integers(0, 3, (height, width)), 255).astype(np.uint8),
            "depth": np.where(known, random.uniform(0.3, 9.9, (height, width)), 0).astype(np.float32),
            "normals": np.where(known[..., None], vectors, 0),
            "edge": random.integers(0, 2, (height, width)).astype(np.uint8),
        }
        if i % 3 == 2:
            del found["depth"]
        return Sample(random.integers(0, 256, (height, width, 3), dtype=np.uint8), found)


def prepared(source: Memory, data: Path, **options: Any) -> tuple[packed.Store, bool]:
    return preparing.prepare(source, data, "made-up", "made-up-1", SIZE, "pad", **options)


def made(tmp_path: Path, source: Memory | None = None, **options: Any) -> packed.Store:
    store, fresh = prepared(source or Memory(), tmp_path, **options)
    assert fresh
    return store


def prepare(
    folder: Path, data: Path, variant: str = "nyuv2-13", size: tuple[int, int] = SIZE, **options: bool
) -> tuple[packed.Store, bool]:
    return preparing.prepare(MtanNYUv2(folder), data, "nyuv2", variant, size, "scale", **options)
