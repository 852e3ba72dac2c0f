"""PASCAL-Context with five tasks, from ASTMT's PASCAL_MT (Maninis, Radosavovic, Kokkinos, CVPR 2019).

JPEGImages/{id}.jpg; ImageSets/Context/{train,val}.txt, one id a line ("val" is the test set; 4998 and 5105
ids); pascal-context/trainval/{id}.mat with LabelMap, one of 459 classes a pixel; semseg/VOC12/{id}.png or
else semseg/pascal-context/{id}.png, 21 classes, 255 void; normals_distill/{id}.png, n = 2x/255 - 1;
sal_distill/{id}.png, salient where x/255 > 0.5. Images differ in size; everything of one image has its size.
Boundaries are not stored: they are the thinned edges between the classes of LabelMap.

human_parts/{id}.mat holds the struct `anno` (imname, objects) of VOC's part annotations (Chen et al., CVPR
2014), 24 names in the papers' 6 groups; objects(i): class, class_ind, mask, parts; parts(j): part_name, mask.
Masks have the image's size; an object without parts has an empty matrix there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy.ndimage import laplace

from benchmark.errors import UserError, shown
from benchmark.files import read_text
from datasets import tasks as t
from datasets.layouts.base import LISTED, Array, Sample, Source
from datasets.layouts.files import check_values, load_mat, missing, numbers, opening, read_list
from datasets.layouts.nyuv2_facts import NAMES
from datasets.layouts.nyuv2_maps import vectors_of_colours
from datasets.layouts.pixels import load_classes, load_colours, load_photograph, load_white
from datasets.tasks import Task

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
PARTS = ("background", "head", "torso", "upper arm", "lower arm", "upper leg", "lower leg")
PERSON = 15  # among VOC's 20 object classes
WHAT = "the struct anno of VOC's part annotations"
GROUPS = {
    "head": ("hair", "head", "lear", "rear", "leye", "reye", "lebrow", "rebrow", "mouth", "nose"),
    "torso": ("neck", "torso"),
    "upper arm": ("luarm", "ruarm"),
    "lower arm": ("llarm", "rlarm", "lhand", "rhand"),
    "upper leg": ("luleg", "ruleg"),
    "lower leg": ("llleg", "rlleg", "lfoot", "rfoot"),
}
CLASS_OF = {name: PARTS.index(group) for group, names in GROUPS.items() for name in names}
CONTEXT_CLASSES = 459
# Those of the 459 that NYUv2 names too, as far as PASCAL-Context's usual subset of 59 goes; and the monitor.
MONITOR = ("tvmonitor", 427)
SURFACES = {
    "bag": 9, "bed": 18, "cabinet": 46, "ceiling": 68, "chair": 72, "curtain": 105, "door": 115, "floor": 158,
    "person": 284, "shelves": 349, "sofa": 368, "table": 397, MONITOR[0]: MONITOR[1], "wall": 440,
    "window": 454,
}  # fmt: skip


class PascalMt(Source):
    """Read the PASCAL_MT folder."""

    layout: ClassVar[str] = "pascal_mt"
    dataset: ClassVar[str] = "pascal_context"
    marks: ClassVar[tuple[str, ...]] = ("ImageSets/Context",)

    @property
    def tasks(self) -> dict[str, Task]:
        """Return five tasks, in the papers' order."""
        every = (t.semseg(CLASSES), t.parts(PARTS), t.saliency(), t.normals(), t.edge())
        return {task.name: task for task in every}

    @property
    def variant(self) -> str | None:
        """Name the labels where they are not the papers', as without the list of names some normals are."""
        return super().variant or (None if self._labels_file else "fewer-normals")

    @property
    def notes(self) -> tuple[str, ...]:
        """Say which normals are missing without the list of names."""
        if self._labels_file:
            return ()
        return (
            f"{self.path} has no labels.txt, the list of PASCAL-Context's 459 class names, so normals are "
            f"kept on the {len(SURFACES)} classes known without it ({', '.join(SURFACES)}), not on all that "
            "NYUv2 names too as published; put labels.txt there and prepare again to have them all.",
        )

    def _list(self, split: str) -> tuple[str, ...]:
        """Ids such as 2008_000002, in the order of the list."""
        return read_list(self.path / "ImageSets" / "Context" / f"{LISTED[split]}.txt", "ids of images")

    def read(self, split: str, i: int) -> Sample:
        """Read sample i of a split; parts are absent where none is annotated."""
        name = self.names(split)[i]
        image, remarks = load_photograph(self.path / "JPEGImages" / f"{name}.jpg")
        shape = (image.shape[0], image.shape[1])
        context, salient = self._context(name, shape), self.path / "sal_distill" / f"{name}.png"
        labels = {
            "semseg": self._semseg(name, shape),
            "saliency": load_white(salient, "a grey map of saliency", shape),
            "normals": self._normals(name, context),
            "edge": edges(context),
        }
        parts = load_parts(self.path / "human_parts" / f"{name}.mat", shape)
        if parts is not None:
            labels["parts"] = parts
        return Sample(image, labels, remarks)

    def _context(self, name: str, shape: tuple[int, int]) -> Array:
        """(H, W) int32 classes of PASCAL-Context, 0..459."""
        path = self.path / "pascal-context" / "trainval" / f"{name}.mat"
        what = "a map of classes named LabelMap"
        context = numbers(path, load_mat(path, "LabelMap", what), what, shape)
        right = bool(((context >= 0) & (context <= CONTEXT_CLASSES) & (context == np.floor(context))).all())
        check_values(path, right, f"whole numbers 0..{CONTEXT_CLASSES}", context)
        return context.astype(np.int32)

    def _semseg(self, name: str, shape: tuple[int, int]) -> Array:
        first, second = (self.path / "semseg" / of / f"{name}.png" for of in ("VOC12", "pascal-context"))
        path = first if first.is_file() else second
        if not path.is_file():
            raise missing(path, f"neither is there {first}; expected classes in one of the two")
        return load_classes(path, shape, len(CLASSES))

    def _normals(self, name: str, context: Array) -> Array:
        """Unit vectors on the classes that the network they come from knew: it was trained on NYUv2."""
        path = self.path / "normals_distill" / f"{name}.png"
        vectors = vectors_of_colours(load_colours(path, "normals as colours", (*context.shape, 3)))
        length = np.sqrt(np.einsum("hwc,hwc->hw", vectors, vectors))
        unit = vectors / np.where(length > 0, length, 1)[..., None]
        return np.where(self._surfaces[context][..., None], unit, np.float32(0))

    @cached_property
    def _labels_file(self) -> Path | None:
        places = (self.path / "labels.txt", self.path / "pascal-context" / "labels.txt")
        return next((place for place in places if place.is_file()), None)

    @cached_property
    def _surfaces(self) -> Array:
        """(460,) bool: the classes on which normals are kept."""
        if self._labels_file:
            known = {*NAMES[40], MONITOR[0]}
            ids = [i for i, name in read_context_names(self._labels_file).items() if name in known]
        else:
            ids = list(SURFACES.values())
        table = np.zeros(CONTEXT_CLASSES + 1, np.bool_)
        table[ids] = True
        return table


def read_context_names(path: Path) -> dict[int, str]:
    """Read {id: name} of PASCAL-Context's labels.txt, as "427: tvmonitor".

    Raises `UserError` for other lines, ids outside 0..459, and lists without that very line, such as that of
    the 59 classes.
    """
    expected = "expected PASCAL-Context's list of 459 classes with lines such as '427: tvmonitor'"
    with opening(path, expected):
        lines = read_text(path).splitlines()
    found: dict[int, str] = {}
    for line in filter(str.strip, lines):
        match = re.fullmatch(r"\s*(\d{1,9})\s*:\s*(\S.*?)\s*", line, re.ASCII)
        if not match or int(match[1]) > CONTEXT_CLASSES or int(match[1]) in found:
            odd = f"{path} has the line {line.strip()[:80]!r}"
            raise UserError(f"{odd}; {expected}, each id 0..{CONTEXT_CLASSES} once.")
        found[int(match[1])] = match[2]
    if found.get(MONITOR[1]) != MONITOR[0]:
        raise UserError(f"{path} names class {MONITOR[1]} {found.get(MONITOR[1])!r}; {expected}.")
    return found


def edges(context: Array) -> Array:
    """Draw the boundaries of a map of classes; (H, W) uint8, 1 on them.

    Where the Laplacian of four neighbours, mirrored about the outermost pixels, is not 0, thinned to lines
    one pixel wide. Raises `UserError` without scikit-image.
    """
    try:
        from skimage.morphology import thin
    except ImportError:
        cure = "install it with `pip install -e '.[data]'`"
        raise UserError(f"boundaries of PASCAL-Context need scikit-image; {cure}.") from None
    thinned: Array = thin(laplace(context.astype(np.int32), mode="mirror") != 0)
    return thinned.astype(np.uint8)


def load_parts(path: Path, shape: tuple[int, int]) -> Array | None:
    """Read (H, W) uint8 parts of `PARTS`, 0 outside; None without any.

    Where parts overlap, the last in the file counts. Raises `UserError` when the file is missing, damaged, of
    another structure or size, or has a person's part of another name.
    """
    target: Array | None = None
    for anno in _structs(path, load_mat(path, "anno", WHAT)):
        for thing in _structs(path, _field(path, anno, "objects")):
            if not np.array_equal(_field(path, thing, "class_ind"), PERSON):
                continue
            for part in _structs(path, _field(path, thing, "parts")):
                name = _field(path, part, "part_name")
                if not isinstance(name, str) or name not in CLASS_OF:
                    known = f"expected one of {', '.join(CLASS_OF)}"
                    raise UserError(f"{path} has a person's part named {shown(name)}; {known}.")
                mask = numbers(path, _field(path, part, "mask"), f"a mask of {name}", shape)
                if target is None:
                    target = np.zeros(shape, np.uint8)
                target[mask != 0] = CLASS_OF[name]
    return target


def _structs(path: Path, value: Any) -> Iterator[dict[str, Any]]:
    """The structs of a row of them, or of a row of cells; none of an empty matrix."""
    if isinstance(value, dict):
        yield value
    elif isinstance(value, list) or np.size(value) == 0:
        for element in value:
            yield from _structs(path, element)
    else:
        kind = np.asarray(value).dtype
        raise UserError(f"{path} holds {kind} values where a struct belongs; expected {WHAT}.")


def _field(path: Path, struct: dict[str, Any], name: str) -> Any:
    if name not in struct:
        raise UserError(f"{path} has a struct without the field {name}; expected {WHAT}.")
    return struct[name]
