"""NYUv2 and Cityscapes from MTAN's folders (Liu, Johns, Davison, CVPR 2019).

{train,val}/{kind}/{i}.npy, i = 0..N-1 ("val" is the test set): image (H, W, 3) RGB in [0, 1]; label (H, W)
classes from 0, -1 void; depth (H, W, 1), 0 unknown; normal (H, W, 3) unit vectors, (0, 0, 0) unknown. NYUv2:
795 + 654 at 288x384, 13 classes, depth in metres. Cityscapes: 2975 + 500 at 128x256 or 256x512, label_7 and
label_19, inverse depth. A SOURCE.json beside train and val names the variant of a folder whose labels are not
the papers'.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from benchmark.errors import UserError
from datasets import tasks as t
from datasets.layouts import nyuv2_facts
from datasets.layouts.base import LISTED, Array, Sample, Source
from datasets.layouts.files import check_values, load_npy
from datasets.layouts.nyuv2_maps import directions, metres
from datasets.tasks import IGNORE, Task

ROUNDING = 1e-3  # by which a colour may leave [0, 1]
LARGEST = 1000.0  # of an inverse depth; those of the pack are below 1
CITYSCAPES = {
    7: ("flat", "construction", "object", "nature", "sky", "human", "vehicle"),
    19: (
        "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign",
        "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle",
        "bicycle",
    ),
}  # fmt: skip


class Mtan(Source):
    """Read a folder of arrays, one folder a kind."""

    layout: ClassVar[str] = "mtan"
    kinds: tuple[str, ...]

    def _list(self, split: str) -> tuple[str, ...]:
        """Name the samples "train/0" or "val/0", and so on."""
        folder, counts = self.path / LISTED[split], {}
        for kind in self.kinds:
            if not (folder / kind).is_dir():
                expected = f"{{train,val}}/{{{','.join(self.kinds)}}}/{{i}}.npy"
                raise UserError(f"the folder {folder / kind} is missing; MTAN's layout is {expected}.")
            files = {file.name for file in (folder / kind).glob("[!.]*.npy")}
            counts[kind] = len(files)
            for i in range(len(files)):
                if f"{i}.npy" not in files:
                    found = f"{len(files)} .npy files but no {i}.npy"
                    raise UserError(f"{folder / kind} holds {found}; expected 0.npy, 1.npy and so on.")
        if len(set(counts.values())) > 1 or not counts["image"]:
            found = ", ".join(f"{kind} {count}" for kind, count in counts.items())
            expected = "equally many .npy files of each kind, and at least one"
            raise UserError(f"{folder} must hold {expected}, but holds: {found}.")
        return tuple(f"{LISTED[split]}/{i}" for i in range(counts["image"]))

    @cached_property
    def _size(self) -> tuple[int, int]:
        """(H, W) of the first image to train on, which all images of the folder must have."""
        height, width, _ = _colours(self.path / LISTED["train"] / "image" / "0.npy", (-1, -1)).shape
        return height, width

    def _files(self, split: str, i: int) -> list[Path]:
        return [self.path / LISTED[split] / kind / f"{i}.npy" for kind in self.kinds]


class MtanNYUv2(Mtan):
    """Read MTAN's NYUv2 folder."""

    dataset: ClassVar[str] = "nyuv2"
    kinds = ("image", "label", "depth", "normal")
    marks: ClassVar[tuple[str, ...]] = ("train/image", "train/label", "train/depth", "train/normal")

    @property
    def tasks(self) -> dict[str, Task]:
        """Return classes, depth and normals."""
        return {"semseg": t.semseg(nyuv2_facts.NAMES[13]), "depth": t.depth(), "normals": t.normals()}

    def read(self, split: str, i: int) -> Sample:
        """Read sample i of a split; see `Source.read`."""
        image, label, depth, normal = self._files(split, i)
        shape = self._size
        pixels = _colours(image, shape)
        labels = {
            "semseg": _classes(label, 13, shape),
            "depth": metres(depth, load_npy(depth, "metres", (*shape, 1))),
            "normals": directions(normal, load_npy(normal, "unit vectors", (*shape, 3))),
        }
        return Sample(pixels, labels)


class MtanCityscapes(Mtan):
    """Read MTAN's Cityscapes folder, with 7 or 19 classes; the other labels may be absent."""

    dataset: ClassVar[str] = "cityscapes"
    marks: ClassVar[tuple[str, ...]] = ("train/image", "train/depth")

    def __init__(self, path: Path, classes: Literal[7, 19]) -> None:
        super().__init__(path)
        self.classes, self.kinds = classes, ("image", f"label_{classes}", "depth")

    @classmethod
    def detect(cls, path: Path) -> bool:
        """Tell whether a folder has images, depth and labels of either kind."""
        either = any((path / "train" / f"label_{number}").is_dir() for number in CITYSCAPES)
        return either and super().detect(path)

    @property
    def tasks(self) -> dict[str, Task]:
        """Return classes and inverse depth."""
        return {"semseg": t.semseg(CITYSCAPES[self.classes]), "depth": t.inverse_depth()}

    def read(self, split: str, i: int) -> Sample:
        """Read sample i of a split; see `Source.read`."""
        image, label, depth = self._files(split, i)
        shape = self._size
        pixels, classes = _colours(image, shape), _classes(label, self.classes, shape)
        inverse = load_npy(depth, "inverse depth", (*shape, 1), shape)
        right = bool((inverse >= 0).all() and (inverse <= LARGEST).all())
        check_values(depth, right, f"inverse depths in 0..{LARGEST:g} (0 where unknown)", inverse)
        return Sample(pixels, {"semseg": classes, "depth": inverse.reshape(shape).astype(np.float32)})


def _colours(path: Path, shape: tuple[int, int]) -> Array:
    """(H, W, 3) uint8 of RGB in [0, 1]."""
    image = load_npy(path, "RGB in [0, 1]", (*shape, 3))
    check_values(path, bool((np.abs(image - 0.5) <= 0.5 + ROUNDING).all()), "values in [0, 1]", image)
    return np.rint(image.clip(0, 1) * 255).astype(np.uint8)


def _classes(path: Path, count: int, shape: tuple[int, int]) -> Array:
    """(H, W) uint8 of classes 0..count-1, 255 where -1 says void."""
    label = load_npy(path, "classes", shape)
    right = bool(((label >= -1) & (label < count) & (label == np.floor(label))).all())
    check_values(path, right, f"whole numbers -1..{count - 1}", label)
    return np.where(label < 0, IGNORE, label).astype(np.uint8)
