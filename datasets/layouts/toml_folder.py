"""A folder of one's own images and label maps, described by a dataset.toml.

A label map has the name of its image and its size: classes .png, one 8-bit number a pixel; depth .png, 8 or
16 bits, or .npy, metres, 0 unknown; normals .npy, (H, W, 3) unit vectors in camera axes (x right, y down, z
forward), (0, 0, 0) unknown, or .png, n = 2x/255 - 1; edges and saliency .png, of 0 and 1 or positive above
127. An image without a file has no label of that task. Images are turned as their EXIF orientation says.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from benchmark.errors import UserError
from datasets.fit import Fit
from datasets.layouts import toml_description
from datasets.layouts.base import Array, Sample, Source
from datasets.layouts.files import check_values, load_image, load_npy, read_list
from datasets.layouts.nyuv2_maps import load_normals
from datasets.layouts.toml_description import Description, Labels
from datasets.tasks import IGNORE, Task

IMAGES = (".jpg", ".jpeg", ".png", ".webp")
SUFFIXES = {"depth": (".png", ".npy"), "normals": (".png", ".npy")}
FARTHEST = 1000.0  # metres; more are millimetres


class TomlFolder(Source):
    """Read the folder."""

    layout: ClassVar[str] = "folder"

    @classmethod
    def detect(cls, path: Path) -> bool:
        """Tell whether a folder has a description."""
        return (path / toml_description.FILE).is_file()

    @cached_property
    def description(self) -> Description:
        """Read dataset.toml, once."""
        return toml_description.read(self.path)

    @property
    def tasks(self) -> dict[str, Task]:
        """Return the tasks that the description names."""
        return {name: labels.task for name, labels in self.description.labels.items()}

    @property
    def variant(self) -> str | None:
        """Name the data set as the description does."""
        return self.description.name

    @property
    def size(self) -> tuple[int, int]:
        """Return the (H, W) that the description asks for."""
        return self.description.size

    @property
    def fit(self) -> Fit:
        """Say how images of other sizes meet the frame."""
        return self.description.fit

    @property
    def notes(self) -> tuple[str, ...]:
        """Name label maps of no image: names that were meant to be another."""
        found = []
        for name, files in self._maps.items():
            astray = sorted(files.keys() - self._images.keys())
            if astray:
                folder, first = self.description.labels[name].folder, files[astray[0]].name
                found.append(f"{len(astray)} files in {folder} have the name of no image, such as {first}.")
        return tuple(found)

    def _list(self, split: str) -> tuple[str, ...]:
        """Images without suffix: in the order of the list, or else sorted."""
        return self._splits[split]

    def read(self, split: str, i: int) -> Sample:
        """Read sample i of a split, with the labels that exist."""
        name = self.names(split)[i]
        image = load_image(self._images[name], "an RGB picture", (-1, -1, 3), upright=True)
        shape = (image.shape[0], image.shape[1])
        labels = {
            task: _label(files[name], self.description.labels[task], shape)
            for task, files in self._maps.items()
            if name in files
        }
        return Sample(image, labels)

    @cached_property
    def _images(self) -> dict[str, Path]:
        found = _files(self.path, self.description.images, IMAGES)
        if not found:
            raise UserError(f"{self.description.images} holds no {_listed(IMAGES)}; put the images there.")
        return found

    @cached_property
    def _maps(self) -> dict[str, dict[str, Path]]:
        """{task: {image: file}}."""
        labels = self.description.labels.values()
        return {of.task.name: _files(self.path, of.folder, _suffixes(of.task)) for of in labels}

    @cached_property
    def _splits(self) -> dict[str, tuple[str, ...]]:
        splits = self._from_lists() if self.description.lists else self._by_share()
        for task, files in self._maps.items():
            labels = self.description.labels[task]
            for split, names in splits.items():
                if not any(name in files for name in names):
                    example = " or ".join(names[0] + suffix for suffix in _suffixes(labels.task))
                    raise UserError(
                        f"{labels.folder} holds no label of {task} for any of the {len(names)} {split} "
                        f"images; a label map has the name of its image, such as {example}: add some, or "
                        f"remove [tasks.{task}]."
                    )
        return splits

    def _from_lists(self) -> dict[str, tuple[str, ...]]:
        lists = self.description.lists
        splits = {split: read_list(path, "names of images without suffix") for split, path in lists.items()}
        for split, names in splits.items():
            for name in names:
                if name not in self._images:
                    raise UserError(
                        f"{lists[split]} names {name!r}, but {self.description.images} holds no {name} with "
                        f"{_listed(IMAGES)}; expected names of images without suffix, one a line."
                    )
        both = sorted(set(splits["train"]) & set(splits["test"]))
        if both:
            share = f"share {len(both)} images, such as {both[0]!r}; list each in one of them"
            raise UserError(f"{lists['train']} and {lists['test']} {share}.")
        return splits

    def _by_share(self) -> dict[str, tuple[str, ...]]:
        names, share = tuple(sorted(self._images)), self.description.test_share
        train = len(names) - round(share * len(names))
        if not 0 < train < len(names):
            found = f"test_share = {share} of {len(names)} images in {self.description.images}"
            raise UserError(f"{found} leaves none for one of the splits; change it, or add images.")
        return {"train": names[:train], "test": names[train:]}


def _suffixes(task: Task) -> tuple[str, ...]:
    return SUFFIXES.get(task.kind, (".png",))


def _listed(suffixes: tuple[str, ...]) -> str:
    return f"{', '.join(suffixes[:-1])} or {suffixes[-1]}"


def _files(root: Path, folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """{name without suffix: file}. Raises `UserError` when the folder is missing or holds a name twice."""
    if not folder.is_dir():
        where = root / toml_description.FILE
        raise UserError(f"the folder {folder} is missing, which {where} names; add it or correct its name.")
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in suffixes and not file.name.startswith("."):
            if file.stem in found:
                both = f"{found[file.stem].name} and {file.name}"
                raise UserError(f"{folder} holds both {both}; keep one of the two.")
            found[file.stem] = file
    return found


def _label(path: Path, labels: Labels, shape: tuple[int, int]) -> Array:
    """A label map as `Sample` holds it, or a `UserError` for one that is not what it should be."""
    kind = labels.task.kind
    if kind == "classes":
        return _classes(path, labels, shape)
    if kind == "depth":
        return _metres(path, labels, shape)
    if kind == "normals":
        return load_normals(path, shape, of=", of its image's size,")
    grey = load_image(path, f"a map of {kind}, 8 bits a pixel, of its image's size,", shape)
    return (grey > (127 if grey.max() > 1 else 0)).astype(np.uint8)


def _classes(path: Path, labels: Labels, shape: tuple[int, int]) -> Array:
    """Classes are numbered in the order of their names, leaving out the number that is ignored."""
    stored = load_image(path, "classes, 8 bits a pixel, of its image's size,", shape)
    numbers = [number for number in range(256) if number != labels.ignore][: len(labels.task.classes)]
    table = np.full(256, -1, np.int16)
    table[numbers] = np.arange(len(numbers))
    table[labels.ignore] = IGNORE
    classes = table[stored]
    if classes.min() < 0:
        known = f"{len(numbers)} classes, numbered {numbers[0]}..{numbers[-1]}, and ignores {labels.ignore}"
        raise UserError(
            f"{path} holds class {stored[classes < 0][0]}, but [tasks.{labels.task.name}] names {known}; "
            f"correct the map, classes or ignore."
        )
    return classes.astype(np.uint8)


def _metres(path: Path, labels: Labels, shape: tuple[int, int]) -> Array:
    if path.suffix.lower() == ".npy":
        what = "metres, 0 where unknown, of its image's size,"
        depth = load_npy(path, what, shape, (*shape, 1)).reshape(shape)
    elif labels.unit is None:
        cure = "add the metres a step of it, such as unit = 0.001"
        raise UserError(f"{path} is a .png, and [tasks.{labels.task.name}] has no unit; {cure}.")
    else:
        what = "depth, 8 or 16 bits a pixel, of its image's size,"
        depth = load_image(path, what, shape, deep=True) * labels.unit
    right = bool(depth.min() >= 0 and depth.max() <= FARTHEST)
    check_values(path, right, f"metres in 0..{FARTHEST:g} (millimetres? unit?)", depth)
    return depth.astype(np.float32, copy=False)
