"""Cityscapes from the folder that MTAN distributes (Liu, Johns, Davison, CVPR 2019) and MTPSL, JTR and LibMTL
read.

{train,val}/{image,label_7,label_19,depth}/{i}.npy, i = 0..N-1 (2975 and 500; "val" is the test set), at
128x256 or 256x512: image (H, W, 3) RGB in [0, 1]; label (H, W) classes from 0, -1 void; depth (H, W, 1)
inverse depth, 0 unknown.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from datasets import tasks as t
from datasets.layouts import mtan
from datasets.layouts.base import Array, Sample
from datasets.layouts.files import check_values, load_npy, source_variant
from datasets.tasks import Task

CLASSES = {
    7: ("flat", "construction", "object", "nature", "sky", "human", "vehicle"),
    19: (
        "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign",
        "vegetation", "terrain", "sky",
        "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    ),
}  # fmt: skip


LARGEST = 1000.0  # of an inverse depth; those of the pack are below 1


class MtanCityscapes:
    """MTAN's Cityscapes folder with Cityscapes' 7 categories or its 19 classes; the labels not asked for may
    be absent.
    """

    layout: ClassVar[str] = "mtan"

    def __init__(self, path: Path, classes: Literal[7, 19]) -> None:
        self.path = path
        self.classes = classes
        self._names: dict[str, tuple[str, ...]] = {}

    @classmethod
    def detect(cls, path: Path) -> bool:
        """Whether a folder has images, inverse depth and labels of either kind to train on."""
        return any(mtan.detect(path, ("image", f"label_{number}", "depth")) for number in CLASSES)

    @property
    def kinds(self) -> tuple[str, ...]:
        return ("image", f"label_{self.classes}", "depth")

    @property
    def tasks(self) -> dict[str, Task]:
        return {"semseg": t.semseg(CLASSES[self.classes]), "depth": t.inverse_depth()}

    @property
    def variant(self) -> str | None:
        return source_variant(self.path, "cityscapes")

    @property
    def notes(self) -> tuple[str, ...]:
        return ()

    def names(self, split: str) -> tuple[str, ...]:
        """The samples of "train" or "test" as "train/0" or "val/0"."""
        if split not in self._names:
            self._names[split] = mtan.names(self.path, split, self.kinds)
        return self._names[split]

    @cached_property
    def _size(self) -> tuple[int, int]:
        return mtan.size(self.path)

    def read(self, split: str, i: int) -> Sample:
        """Sample i of a split. Raises `UserError` naming the first file that is missing, damaged or not what
        the layout says.
        """
        image, label, depth = (self.path / mtan.FOLDERS[split] / kind / f"{i}.npy" for kind in self.kinds)
        shape = self._size
        pixels = mtan.load_colours(image, shape)
        classes = mtan.load_classes(label, len(CLASSES[self.classes]), shape)
        return Sample(pixels, {"semseg": classes, "depth": _inverse_depth(depth, shape)})


def _inverse_depth(path: Path, shape: tuple[int, int]) -> Array:
    depth = load_npy(path, "inverse depth", (*shape, 1), shape)
    right = bool((depth >= 0).all() and (depth <= LARGEST).all())
    check_values(path, right, f"inverse depths in 0..{LARGEST:g} (0 where unknown)", depth)
    return depth.reshape(shape).astype(np.float32)
