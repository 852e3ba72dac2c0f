"""A folder of one's own images and label maps, described by a dataset.toml.

A label map has the name of its image and its size, and is a .png or .npy: classes, one whole number a pixel;
depth, metres in a .npy and steps of a unit in a .png, 0 unknown; normals (H, W, 3), unit vectors in camera
axes (x right, y down, z forward), (0, 0, 0) unknown, or colours n = 2x/255 - 1; edges and saliency, of 0 and
1 or 0 and 255, or positive from a threshold on. Pixels of the number `ignore` have no label. An image without
a file has no label of that task. Images are turned as their EXIF orientation says.
"""

from __future__ import annotations

import unicodedata
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from benchmark.errors import UserError, printable, shown
from datasets.fit import Fit
from datasets.layouts import toml_description
from datasets.layouts.base import Array, Sample, Source
from datasets.layouts.files import check_finite, check_values, read_list
from datasets.layouts.nyuv2_maps import equal, load_normals
from datasets.layouts.pixels import Numbers, load_numbers, load_photograph
from datasets.layouts.toml_description import Description, Labels
from datasets.tasks import IGNORE, Task

IMAGES = (".jpg", ".jpeg", ".png", ".webp")
MAPS = (".png", ".npy")
NEAREST, FARTHEST = 1e-5, 1000.0  # metres; stores cannot hold less, and more are millimetres


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
        """Say how images were split, and name the files that were left aside."""
        found, names = [], {name for names in self._splits.values() for name in names}
        if not self.description.lists:
            test, share = self._splits["test"], self.description.test_share
            found.append(
                f"test_share = {share:g} takes the last {len(test)} images by name, from {test[0]} on; where "
                "neighbours look alike, lists of names say better which."
            )
        for folder, others in self._left_aside.items():
            kinds = IMAGES if folder == self.description.images else MAPS
            found.append(_said(others, folder, f"not ending in {_listed(kinds)}"))
        unused = [file.name for name, file in self._images.items() if name not in names]
        found.append(_said(unused, self.description.images, "in neither list"))
        for task, files in self._maps.items():
            astray = [file.name for name, file in files.items() if name not in self._images]
            found.append(_said(astray, self.description.labels[task].folder, "with the name of no image"))
        return tuple(filter(None, found))

    def _list(self, split: str) -> tuple[str, ...]:
        """Images without suffix: in the order of the list, or else sorted."""
        return self._splits[split]

    def read(self, split: str, i: int) -> Sample:
        """Read sample i of a split, with the labels that exist."""
        name = self.names(split)[i]
        image, remarks = load_photograph(self._images[name], upright=True)
        shape, labels = (image.shape[0], image.shape[1]), {}
        of = f"of its image's size{', as EXIF turns it,' * ('turned' in remarks)}"
        for task, files in self._maps.items():
            if name in files:
                labels[task], found = self._label(files[name], self.description.labels[task], shape, of)
                remarks += tuple(f"{remark} of {task}" for remark in found)
        return Sample(image, labels, remarks)

    def _label(self, path: Path, labels: Labels, shape: tuple[int, int], of: str) -> tuple[Array, list[str]]:
        """A label map as `Sample` holds it, with remarks, or a `UserError` for one that is none."""
        kind = labels.task.kind
        what = f"{'a map of ' * (kind in ('edge', 'saliency'))}{kind} {of}"
        if kind == "normals":
            return load_normals(path, shape, f" {of}", labels.ignore), []
        found = load_numbers(path, what, shape, indices=kind == "classes")
        ignored = equal(found.values, labels.ignore)
        if kind == "classes":
            if found.palette is not None:
                self._check_palette(path, labels.task.name, found.values, found.palette)
            return _classes(path, labels, found, ignored)
        return (_metres if kind == "depth" else _binary)(path, labels, found, ignored)

    def _check_palette(self, path: Path, task: str, values: Array, palette: Array) -> None:
        """Raise `UserError` where a palette's indices may not be what was drawn."""
        cure = "which of them are the classes is not sure: save their numbers without a palette"
        used = np.flatnonzero(np.bincount(values.ravel(), minlength=len(palette)))
        odd = used[palette[used, 0] != used]
        if len(odd) and (palette == palette[:, :1]).all():
            raise UserError(f"{path} shows index {odd[0]} as the grey {palette[odd[0], 0]}; {cure}.")
        for index in used.tolist():
            colour = tuple(palette[index].tolist())
            first, known = self._colours.setdefault((task, index), (path, colour))
            if colour != known:
                raise UserError(f"{path} shows index {index} in another colour than {first}; {cure}.")

    @cached_property
    def _images(self) -> dict[str, Path]:
        folder = self.description.images
        found = self._files(folder, IMAGES)
        if not found:
            others = _said(self._left_aside.get(folder, []), folder, "others")
            raise UserError(f"{folder} holds no {_listed(IMAGES)}; put the images there. {others}".rstrip())
        return found

    @cached_property
    def _maps(self) -> dict[str, dict[str, Path]]:
        """{task: {image: file}}."""
        return {task: self._files(of.folder, MAPS) for task, of in self.description.labels.items()}

    @cached_property
    def _colours(self) -> dict[tuple[str, int], tuple[Path, tuple[int, ...]]]:
        """{(task, index): the first file that has it, and its colour}, filled by `_check_palette`."""
        return {}

    @cached_property
    def _left_aside(self) -> dict[Path, list[str]]:
        """{folder: names that end in nothing that is read there}, filled by `_files`."""
        return {}

    def _files(self, folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
        """{name without suffix, accents composed: file}. Raises `UserError` for no folder or a name twice."""
        if not folder.is_dir():
            where = self.path / toml_description.FILE
            raise UserError(
                f"the folder {folder} is missing, which {where} names; add it or correct its name."
            )
        found: dict[str, Path] = {}
        for file in sorted(folder.iterdir()):
            name = unicodedata.normalize("NFC", file.stem)
            if file.name.startswith("."):  # what desktops keep for themselves
                continue
            if file.suffix.lower() not in suffixes:
                self._left_aside.setdefault(folder, []).append(printable(file.name).replace("\n", " "))
            elif printable(file.name) != file.name or "\n" in file.name:
                what = "is no text in UTF-8, or holds a control or direction mark"
                raise UserError(f"{folder} holds {file.name!a}, whose name {what}; rename it.")
            elif name in found:
                both = f"{found[name].name!a} and {file.name!a}"
                raise UserError(f"{folder} holds both {both}; keep one of the two.")
            else:
                found[name] = file
        return found

    @cached_property
    def _splits(self) -> dict[str, tuple[str, ...]]:
        splits = self._from_lists() if self.description.lists else self._by_share()
        for task, files in self._maps.items():
            labels = self.description.labels[task]
            for split, names in splits.items():
                if not any(name in files for name in names):
                    example = " or ".join(names[0] + suffix for suffix in MAPS)
                    others = _said(self._left_aside.get(labels.folder, []), labels.folder, "others")
                    raise UserError(
                        f"{labels.folder} holds no label of {task} for any of the {len(names)} {split} "
                        f"images; a label map has the name of its image, such as {example}: add some, or "
                        f"remove [tasks.{task}]. {others}".rstrip()
                    )
        return splits

    def _from_lists(self) -> dict[str, tuple[str, ...]]:
        lists = self.description.lists
        splits = {split: read_list(path, "names of images without suffix") for split, path in lists.items()}
        for split, names in splits.items():
            for name in names:
                if name not in self._images:
                    raise UserError(
                        f"{lists[split]} names {shown(name)}, but {self.description.images} holds none "
                        f"with {_listed(IMAGES)}; expected names of images without suffix, one a line."
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


def _listed(suffixes: tuple[str, ...]) -> str:
    return f"{', '.join(suffixes[:-1])} or {suffixes[-1]}"


def _said(files: list[str], folder: Path, what: str) -> str:
    """A sentence about files in a folder, or none about none."""
    if not files:
        return ""
    return f"left aside in {folder}: {len(files)} {what}, such as {min(files)}."


def _classes(path: Path, labels: Labels, found: Numbers, ignored: Array) -> tuple[Array, list[str]]:
    """Classes are numbered in the order of their names, leaving out the number that is ignored."""
    stored = found.values
    numbers = [number for number in range(256) if number != labels.ignore][: len(labels.task.classes)]
    table = np.full(256, IGNORE, np.uint8)
    table[numbers] = np.arange(len(numbers))
    odd = ~ignored & ~((stored >= 0) & (stored <= numbers[-1]) & (stored == np.floor(stored)))
    if odd.any():
        known = f"{len(numbers)} classes, numbered {numbers[0]}..{numbers[-1]}, and ignores {labels.ignore}"
        raise UserError(
            f"{path} holds class {stored[odd][0]}, but [tasks.{labels.task.name}] names {known}; "
            f"correct the map, classes or ignore."
        )
    classes: Array = table[np.where(ignored, 0, stored).astype(np.uint8)]
    classes[ignored] = IGNORE
    white = labels.ignore == (found.most or IGNORE) and bool(ignored.any()) and not stored[~ignored].any()
    return classes, [f"white {labels.ignore:g}"] * (white and not ignored.all())


def _binary(path: Path, labels: Labels, found: Numbers, ignored: Array) -> tuple[Array, list[str]]:
    """Of 0 and one other number, 1 or white, or positive from a threshold on."""
    values, where = found.values, f"[tasks.{labels.task.name}]"
    remarks = [f"bits {found.most}"] if found.most else []
    if labels.threshold is None:
        white = [n for n in dict.fromkeys((1, 255, found.most)) if n and (~ignored & (values == n)).any()]
        odd = ~ignored & ~np.isin(values, [0, *white[:1]])
        if odd.any():
            cure = "name the number of pixels without a label as ignore, or the least that is positive as "
            raise UserError(
                f"{path} holds {values[odd][0]}; a map of {labels.task.kind} is of 0 and 1, or of 0 and 255: "
                f"{cure}threshold, in {where}."
            )
        remarks = [f"positive {number}" for number in white]
    elif found.most is not None and labels.threshold > found.most:
        raise UserError(
            f"{path} holds numbers up to {found.most}, below threshold = {labels.threshold:g} of {where}; "
            "save every map with the same number of bits."
        )
    else:
        check_finite(path, values[~ignored], f"expected numbers, or ignore = nan in {where}")
        if found.most is None and labels.threshold > 1 >= values[~ignored].max(initial=0):
            remarks = ["bits 1"]  # a .npy of probabilities, perhaps among pictures of 0 to 255
    positive = np.where(ignored, IGNORE, values >= (labels.threshold or 1)).astype(np.uint8)
    if labels.task.kind == "edge" and 2 * (positive == 1).sum() > (~ignored).sum():
        remarks.append("mostly")
    return positive, remarks


def _metres(path: Path, labels: Labels, found: Numbers, ignored: Array) -> tuple[Array, list[str]]:
    depth, where = found.values, f"[tasks.{labels.task.name}]"
    remarks = [f"bits {found.most}"] if found.most else []
    if not remarks and labels.unit is not None and depth.dtype.kind in "iu":
        remarks = ["whole numbers"]
    if found.most is not None:
        if labels.unit is None:
            cure = "add the metres a step of it, such as unit = 0.001"
            raise UserError(f"{path} is a .png, and {where} has no unit; {cure}.")
        if found.most > 15 and bool(((depth == found.most) & ~ignored).any()):
            remarks.append(f"largest {found.most}")
        depth = depth.astype(np.float32)
        depth *= labels.unit
    if ignored.any():
        depth = np.where(ignored, 0, depth)
    check_finite(path, depth, f"expected metres, 0 where unknown (or ignore = nan or inf in {where})")
    right = bool(((depth == 0) | ((depth >= NEAREST) & (depth <= FARTHEST))).all())
    check_values(
        path, right, f"metres in {NEAREST:g}..{FARTHEST:g}, 0 where unknown (millimetres? unit?)", depth
    )
    return depth.astype(np.float32, copy=False), remarks
