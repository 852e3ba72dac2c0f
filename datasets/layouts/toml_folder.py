"""A folder of one's own images and label maps, described by a dataset.toml.

A label map has the name of its image, or one that a pattern makes of it, and its size (`toml_files`, and
`toml_maps` for what is in it). An image without a file has no label of that task. Images are turned as their
EXIF orientation says.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from benchmark.errors import UserError, shown
from benchmark.files import file_hash
from datasets.layouts import toml_description, toml_maps
from datasets.layouts.base import TEACHER, Array, Sample, Source, reading
from datasets.layouts.files import read_list
from datasets.layouts.nyuv2_maps import load_normals
from datasets.layouts.pixels import TURNED, load_photograph
from datasets.layouts.toml_description import Description, Labels
from datasets.layouts.toml_files import Found, Place, find
from datasets.tasks import IGNORE, Task


class TomlFolder(Source):
    """Read the folder."""

    layout: ClassVar[str] = "folder"
    marks: ClassVar[tuple[str, ...]] = (toml_description.FILE,)

    def __init__(self, path: Path, number: int = 0) -> None:
        """number: which of several sources."""
        super().__init__(path)
        self.number = number

    @cached_property
    def description(self) -> Description:
        """Read dataset.toml, once."""
        return toml_description.read(self.path)[self.number]

    @property
    def members(self) -> tuple[Source, ...]:
        """Return the data sets that the description is of."""
        return tuple(TomlFolder(self.path, number) for number in range(max(1, len(self.joins) - 1)))

    @property
    def joins(self) -> tuple[str, ...]:
        """Name them as the description does."""
        return self.description.joins

    @property
    def tasks(self) -> dict[str, Task]:
        """Return the tasks that the description names."""
        return {name: labels.of for name, labels in self.description.labels.items()}

    @property
    def teachers(self) -> tuple[str, ...]:
        """Return the tasks with a folder of a teacher's maps."""
        return tuple(name for name in self.tasks if TEACHER + name in self._labels)

    @property
    def variant(self) -> str | None:
        """Name the data set as the description does, and a teacher by what its maps hold."""
        maps = {task: self._maps[TEACHER + task] for task in self.teachers}
        names = self.names("train") if maps else ()
        named = [(f"{task} {name}", of[name]) for name in names for task, of in maps.items() if name in of]
        with reading(self.path):
            found = [(name, path, path.stat()) for name, path in named]
            lines = [f"{name} {_hash(path, at.st_size, at.st_mtime_ns)}" for name, path, at in found]
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]
        return self.description.name + (f"-teacher-{digest}" if maps else "")

    @property
    def notes(self) -> tuple[str, ...]:
        """Say how images were split, and name the files that were left aside."""
        found, names = [], {name for names in self._splits.values() for name in names}
        of = self.description
        if not of.lists:
            test, rest = self._splits["test"], len(self._splits["train"])
            drew = f"drew {len(test)} images for testing, such as {test[0]}, and left {rest} for training"
            better = "where neighbours look alike, lists of names say better which"
            share = f"test_share = {of.test_share:g} with split_seed = {of.split_seed}"
            found.append(f"{share} {drew}; {better}.")
        for folder, others in self._found.left.items():
            kinds = dict.fromkeys(place.said for place in self._places.values() if place.folder == folder)
            found.append(_said(others, folder, f"not {' or '.join(kinds)}"))
        unused = [str(file) for name, file in self._images.items() if name not in names]
        found.append(_said(unused, of.images.folder, "in neither list"))
        for task, files in self._maps.items():
            astray = [str(file) for name, file in files.items() if name not in self._images]
            found.append(_said(astray, self._labels[task].place.folder, "with the name of no image"))
        return tuple(filter(None, found))

    def _list(self, split: str) -> tuple[str, ...]:
        """Images without suffix: in the order of the list, or else sorted."""
        return self._splits[split]

    def read(self, split: str, i: int) -> Sample:
        """Read sample i of a split, with the labels that exist."""
        name = self.names(split)[i]
        image, remarks = load_photograph(self._images[name], upright=True)
        shape, labels = (image.shape[0], image.shape[1]), {}
        of = f"of its image's size{', as EXIF turns it,' * (TURNED in remarks)}"
        for task, files in self._maps.items():
            if name in files and (split == "train" or task in self.tasks):
                labels[task], found = self._label(files[name], self._labels[task], shape, of)
                if numbers := self._labels[task].numbers:
                    learnt = np.array([*numbers, *[IGNORE] * (256 - len(numbers))], np.uint8)
                    labels[task] = learnt[labels[task]]
                remarks += tuple(f"maps of {task} {remark}" for remark in found)
        return Sample(image, labels, remarks)

    def _label(self, path: Path, labels: Labels, shape: tuple[int, int], of: str) -> tuple[Array, list[str]]:
        """A label map as `Sample` holds it, with remarks, or a `UserError` for one that is none."""
        kind = labels.task.kind
        what = f"{'a map of ' * (kind in ('edge', 'saliency'))}{kind} {of}"
        if kind == "normals":
            return load_normals(path, shape, f" {of}", labels.ignore), []
        if labels.task.own_kind:
            return toml_maps.measured(path, labels, what, shape), []
        if labels.palette:
            return toml_maps.coloured(path, labels, what, shape), []
        return toml_maps.numbered(path, labels, what, shape, self._check_palette)

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
    def _labels(self) -> dict[str, Labels]:
        """Of every task, and under `TEACHER` and its name of a teacher's maps."""
        own = self.description.labels
        return own | {TEACHER + n: replace(of, place=of.teacher) for n, of in own.items() if of.teacher}

    @cached_property
    def _places(self) -> dict[str, Place]:
        """{who names it: where files are}, of the images and of each task."""
        tasks = {f"[tasks.{task}]": of.place for task, of in self._labels.items()}
        return {"images": self.description.images} | tasks

    @cached_property
    def _found(self) -> Found:
        own = self.path / toml_description.FILE
        for place in self._places.values():
            if not place.folder.is_dir():
                raise UserError(
                    f"the folder {place.folder} is missing, which {own} names; add or correct it."
                )
        found = find(self.path, self._places, (own, *self.description.lists.values()))
        if not found.files["images"]:
            folder, said = self.description.images.folder, self.description.images.said
            others = _said(found.left.get(folder, []), folder, "others")
            raise UserError(f"{folder} holds no file {said}; put the images there. {others}".rstrip())
        return found

    @property
    def _images(self) -> dict[str, Path]:
        return self._found.files["images"]

    @property
    def _maps(self) -> dict[str, dict[str, Path]]:
        """{task: {image: file}}."""
        return {task: self._found.files[f"[tasks.{task}]"] for task in self._labels}

    @cached_property
    def _colours(self) -> dict[tuple[str, int], tuple[Path, tuple[int, ...]]]:
        """{(task, index): the first file that has it, and its colour}, filled by `_check_palette`."""
        return {}

    @cached_property
    def _splits(self) -> dict[str, tuple[str, ...]]:
        splits = self._from_lists() if self.description.lists else self._by_share()
        for task, files in self._maps.items():
            place, own = self._labels[task].place, f"[tasks.{task.removeprefix(TEACHER)}]"
            drop = own if task in self.tasks else f"teacher from {own}"
            for split, names in splits.items():
                if not any(name in files for name in names) and (split == "train" or task in self.tasks):
                    none = (
                        f"{place.folder} holds no label of {task} for any of the {len(names)} {split} images"
                    )
                    other = "" if self.description.lists else "take another split_seed, "
                    cure = f"such as {place.example(names[0])}: add some, {other}or remove {drop}"
                    others = _said(self._found.left.get(place.folder, []), place.folder, "others")
                    raise UserError(f"{none}; a label map is named as its image, {cure}. {others}".rstrip())
        return splits

    def _from_lists(self) -> dict[str, tuple[str, ...]]:
        lists, images = self.description.lists, self.description.images
        what = "names of images without suffix"
        splits = {split: read_list(path, what, folders=True) for split, path in lists.items()}
        for split, names in splits.items():
            if absent := [name for name in names if name not in self._images]:
                none = f"names {shown(absent[0])}, but {images.folder} holds no such image {images.said}"
                raise UserError(f"{lists[split]} {none}; expected {what}, one a line.")
        if both := sorted({*splits["train"]} & {*splits["test"]}):
            share = f"share {len(both)} images, such as {both[0]!r}; list each in one of them"
            raise UserError(f"{lists['train']} and {lists['test']} {share}.")
        return splits

    def _by_share(self) -> dict[str, tuple[str, ...]]:
        """Draw the images with the lowest hashes: one more image moves at most one other."""
        names, share, seed = sorted(self._images), self.description.test_share, self.description.split_seed
        count = round(share * len(names))
        if not 0 < count < len(names):
            found = f"test_share = {share} of {len(names)} images in {self.description.images.folder}"
            raise UserError(f"{found} leaves none for one of the splits; change it, or add images.")
        drawn = sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())[:count]
        return {"train": tuple(sorted({*names} - {*drawn})), "test": tuple(sorted(drawn))}


def _said(files: list[str], folder: Path, what: str) -> str:
    """A sentence about files in a folder, or none about none."""
    if not files:
        return ""
    return f"left aside in {folder}: {len(files)} {what}, such as {min(files).removeprefix(f'{folder}/')}."


@lru_cache(maxsize=2**17)
def _hash(path: Path, size: int, changed: int) -> str:
    """The SHA-256 of a teacher's map, read once a process for as long as it is not written."""
    return file_hash(path)
