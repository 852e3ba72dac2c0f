"""NYUv2 from the NYUD_MT folder, in both known packs (Vandenhende et al., TPAMI 2021; InvPT, ECCV 2022).

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

from benchmark.errors import UserError
from datasets import tasks as t
from datasets.layouts import nyuv2_facts
from datasets.layouts.base import LISTED, Array, Sample, Source
from datasets.layouts.files import check_values, load_npy, missing, read_list
from datasets.layouts.nyuv2_facts import Classes
from datasets.layouts.nyuv2_maps import load_normals, metres
from datasets.layouts.pixels import load_numbers, load_photograph, load_white
from datasets.tasks import Task

FOLDERS = ("images", "segmentation", "depth", "normals")
LAYOUT = "images/, segmentation/, depth/, normals/, gt_sets/{train,val}.txt and perhaps edge/"


class NyudMt(Source):
    """Read the NYUD_MT folder, with its 40 classes or the 13 they make."""

    layout: ClassVar[str] = "nyud_mt"
    dataset: ClassVar[str] = "nyuv2"
    marks: ClassVar[tuple[str, ...]] = ("gt_sets", "segmentation")

    def __init__(self, path: Path, classes: Classes) -> None:
        super().__init__(path)
        self.classes: Classes = classes

    @property
    def tasks(self) -> dict[str, Task]:
        """Return classes, depth, normals and, where there are any, edges."""
        every = [t.semseg(nyuv2_facts.NAMES[self.classes]), t.depth(), t.normals(), t.edge(0.011)]
        return {task.name: task for task in every if task.name != "edge" or (self.path / "edge").is_dir()}

    def _list(self, split: str) -> tuple[str, ...]:
        """Ids in the order of the list."""
        for folder in FOLDERS:
            if not (self.path / folder).is_dir():
                raise UserError(
                    f"the folder {self.path / folder} is missing; the NYUD_MT layout is {LAYOUT}."
                )
        return read_list(self.path / "gt_sets" / f"{LISTED[split]}.txt", "ids of images")

    def read(self, split: str, i: int) -> Sample:
        """Read sample i of a split; see `Source.read`."""
        name = self.names(split)[i]
        image, remarks = load_photograph(self._file("images", name, ".jpg", ".png"))
        shape = (image.shape[0], image.shape[1])
        semseg, depth = self.path / "segmentation" / f"{name}.png", self.path / "depth" / f"{name}.npy"
        classes = load_numbers(semseg, "classes", shape, indices=True).values
        check_values(semseg, bool((classes <= 40).all()), "classes 0..40 (0 where void)", classes)
        labels = {
            "semseg": nyuv2_facts.FROM_40[self.classes][classes],
            "depth": metres(depth, load_npy(depth, "metres", shape, (*shape, 1))),
            "normals": load_normals(self._file("normals", name, ".npy", ".png"), shape),
        }
        if "edge" in self.tasks:
            labels["edge"] = _edges(self._file("edge", name, ".npy", ".png"), shape)
        return Sample(image, labels, remarks)

    def _file(self, folder: str, name: str, *suffixes: str) -> Path:
        """The first of the files that a sample may have in a folder. Raises `UserError` when it has none."""
        files = [self.path / folder / f"{name}{suffix}" for suffix in suffixes]
        found = next((file for file in files if file.is_file()), None)
        if found is None:
            other = f"neither is there {files[1].name}; expected one of the two for each id in gt_sets"
            raise missing(files[0], other)
        return found


def _edges(path: Path, shape: tuple[int, int]) -> Array:
    if path.suffix == ".png":
        return load_white(path, "a grey map of edges", shape)
    edge = load_npy(path, "edges", shape, (*shape, 1))
    check_values(path, bool(((edge >= 0) & (edge <= 1)).all()), "edges of 0 and 1", edge)
    return (edge > 0.5).reshape(shape).astype(np.uint8)
