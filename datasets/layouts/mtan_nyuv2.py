"""NYUv2 from the folder that MTAN distributes (Liu, Johns, Davison, CVPR 2019) and MTPSL, JTR and LibMTL
read.

{train,val}/{image,label,depth,normal}/{i}.npy, i = 0..N-1 (795 and 654; "val" is the official test set), all
at 288x384: image (H, W, 3) RGB in [0, 1]; label (H, W) classes 0..12, -1 void; depth (H, W, 1) metres, 0
unknown; normal (H, W, 3) unit vectors, (0, 0, 0) unknown. A SOURCE.json beside train and val names the
variant of a folder whose labels are not the papers'.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import ClassVar

from datasets import tasks as t
from datasets.layouts import mtan, nyuv2_facts
from datasets.layouts.base import Sample
from datasets.layouts.files import load_npy, source_variant
from datasets.layouts.nyuv2_maps import directions, metres
from datasets.tasks import Task

KINDS = ("image", "label", "depth", "normal")
CLASSES = nyuv2_facts.names(13)


class MtanNYUv2:
    """MTAN's NYUv2 folder. Nothing is read before it is asked for."""

    layout: ClassVar[str] = "mtan"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names: dict[str, tuple[str, ...]] = {}

    @classmethod
    def detect(cls, path: Path) -> bool:
        """Whether a folder has images, classes, depth and normals to train on."""
        return mtan.detect(path, KINDS)

    @property
    def tasks(self) -> dict[str, Task]:
        return {"semseg": t.semseg(CLASSES), "depth": t.depth(), "normals": t.normals()}

    @property
    def variant(self) -> str | None:
        return source_variant(self.path, "nyuv2")

    @property
    def notes(self) -> tuple[str, ...]:
        return ()

    def names(self, split: str) -> tuple[str, ...]:
        """The samples of "train" or "test" as "train/0" or "val/0"."""
        if split not in self._names:
            self._names[split] = mtan.names(self.path, split, KINDS)
        return self._names[split]

    @cached_property
    def _size(self) -> tuple[int, int]:
        return mtan.size(self.path)

    def read(self, split: str, i: int) -> Sample:
        """Sample i of a split. Raises `UserError` naming the first file that is missing, damaged or not what
        the layout says.
        """
        image, label, depth, normal = (self.path / mtan.FOLDERS[split] / kind / f"{i}.npy" for kind in KINDS)
        shape = self._size
        pixels = mtan.load_colours(image, shape)
        labels = {
            "semseg": mtan.load_classes(label, len(CLASSES), shape),
            "depth": metres(depth, load_npy(depth, "metres", (*shape, 1))),
            "normals": directions(normal, load_npy(normal, "unit vectors", (*shape, 3))),
        }
        return Sample(pixels, labels)
