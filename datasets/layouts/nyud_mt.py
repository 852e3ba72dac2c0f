"""NYUv2 from the NYUD_MT folder, in both known packs (Vandenhende et al., TPAMI 2021; Ye and Xu, "InvPT",
ECCV 2022).

images/{id}.jpg or .png; segmentation/{id}.png, 0 void, 1..40; depth/{id}.npy, (H, W) or (H, W, 1) metres, 0
unknown; normals/{id}.npy, (H, W, 3) unit vectors, (0, 0, 0) unknown, or .png, n = 2x/255 - 1; edge/{id}.npy
of 0 and 1, or .png, an edge where x/255 > 0.5; gt_sets/{train,val}.txt, one id a line ("val" is the official
test set). edge may be absent as a whole. Everything of one image has its size. A SOURCE.json in the folder
names the variant of labels that are not the papers'.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from benchmark.errors import UserError, unknown
from datasets import tasks as t
from datasets.layouts import nyuv2_facts
from datasets.layouts.base import Array, Sample
from datasets.layouts.files import check_values, load_image, load_npy, missing, read_list, source_variant
from datasets.layouts.nyuv2_facts import Classes
from datasets.layouts.nyuv2_maps import directions, metres, vectors_of_colours
from datasets.tasks import Task

LISTS = {"train": "train", "test": "val"}
FOLDERS = ("images", "segmentation", "depth", "normals")
LAYOUT = "images/, segmentation/, depth/, normals/, gt_sets/{train,val}.txt and perhaps edge/"


class NyudMt:
    """The NYUD_MT folder, with its 40 classes or the 13 that they make. Nothing is read before it is asked
    for.
    """

    layout: ClassVar[str] = "nyud_mt"

    def __init__(self, path: Path, classes: Classes) -> None:
        self.path = path
        self.classes: Classes = classes
        self._names: dict[str, tuple[str, ...]] = {}

    @classmethod
    def detect(cls, path: Path) -> bool:
        return all((path / folder).is_dir() for folder in ("gt_sets", "segmentation"))

    @property
    def tasks(self) -> dict[str, Task]:
        tasks = {
            "semseg": t.semseg(nyuv2_facts.names(self.classes)),
            "depth": t.depth(),
            "normals": t.normals(),
        }
        return tasks | {"edge": t.edge(0.011)} if (self.path / "edge").is_dir() else tasks

    @property
    def variant(self) -> str | None:
        return source_variant(self.path, "nyuv2")

    @property
    def notes(self) -> tuple[str, ...]:
        return ()

    def names(self, split: str) -> tuple[str, ...]:
        """The ids of "train" or "test", in the order of the list."""
        if split not in LISTS:
            raise unknown("split", split, LISTS)
        if split not in self._names:
            for folder in FOLDERS:
                if not (self.path / folder).is_dir():
                    raise UserError(
                        f"the folder {self.path / folder} is missing; the NYUD_MT layout is {LAYOUT}."
                    )
            self._names[split] = read_list(self.path / "gt_sets" / f"{LISTS[split]}.txt", "ids of images")
        return self._names[split]

    def read(self, split: str, i: int) -> Sample:
        """Sample i of a split. Raises `UserError` naming the first file that is missing, damaged or not what
        the layout says.
        """
        name = self.names(split)[i]
        image = load_image(self._file("images", name, ".jpg", ".png"), "an RGB picture", (-1, -1, 3))
        shape = (image.shape[0], image.shape[1])
        depth = self.path / "depth" / f"{name}.npy"
        labels = {
            "semseg": self._classes(name, shape),
            "depth": metres(depth, load_npy(depth, "metres", shape, (*shape, 1))),
            "normals": self._normals(name, shape),
        }
        if "edge" in self.tasks:
            labels["edge"] = self._edges(name, shape)
        return Sample(image, labels)

    def _file(self, folder: str, name: str, *suffixes: str) -> Path:
        """The first of the files that a sample may have in a folder. Raises `UserError` when it has none."""
        files = [self.path / folder / f"{name}{suffix}" for suffix in suffixes]
        for file in files:
            if file.is_file():
                return file
        raise missing(
            files[0], f"neither is there {files[1].name}; expected one of the two for each id in gt_sets"
        )

    def _classes(self, name: str, shape: tuple[int, int]) -> Array:
        path = self.path / "segmentation" / f"{name}.png"
        label = load_image(path, "classes, 8 bits a pixel,", shape)
        check_values(path, bool((label <= 40).all()), "classes 0..40 (0 where void)", label)
        return nyuv2_facts.from_40(self.classes)[label]

    def _normals(self, name: str, shape: tuple[int, int]) -> Array:
        path = self._file("normals", name, ".npy", ".png")
        if path.suffix == ".npy":
            return directions(path, load_npy(path, "unit vectors", (*shape, 3)))
        return directions(path, vectors_of_colours(load_image(path, "normals as colours", (*shape, 3))))

    def _edges(self, name: str, shape: tuple[int, int]) -> Array:
        path = self._file("edge", name, ".npy", ".png")
        if path.suffix == ".png":
            return (load_image(path, "a grey map of edges", shape) > 127).astype(np.uint8)  # x / 255 > 0.5
        edge = load_npy(path, "edges", shape, (*shape, 1))
        check_values(path, bool(((edge >= 0) & (edge <= 1)).all()), "edges of 0 and 1", edge)
        return (edge > 0.5).reshape(shape).astype(np.uint8)
