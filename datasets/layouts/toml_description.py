"""dataset.toml: what a folder of one's own images and label maps holds, read key by key.

datasets/README.md has one with a comment on every key.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, get_args

from torch import nn

from benchmark.errors import UserError, shown, unknown
from benchmark.files import read_toml
from datasets import tasks as t
from datasets.fit import FITS, Fit
from datasets.layouts.toml_files import IMAGES, MAPS, Place, is_pattern
from datasets.tasks import IGNORE, Kind, Task

FILE = "dataset.toml"
KINDS = get_args(Kind)
# What stores and records keep beside tasks, under names of the same kind.
TAKEN = ("image", "extent", "extents", "available", "labelled")
_MAKE = {"depth": t.depth, "normals": t.normals, "edge": t.edge, "saliency": t.saliency}
_ANY = object()


@dataclass(frozen=True)
class Labels:
    """Describe one task's label maps.

    ignore: the number of pixels without a label (normals: in all three channels), which may be NaN. unit:
    metres a step of a .png. threshold: the least positive number of edges and saliency. None where unsaid.
    palette, void: the colours of the classes in their order, and those without a label, as 0xRRGGBB. teacher:
    where a teacher's maps of the same form are.
    """

    task: Task
    place: Place
    ignore: float | None = None
    unit: float | None = None
    threshold: float | None = None
    palette: tuple[int, ...] = ()
    void: tuple[int, ...] = ()
    teacher: Place | None = None


@dataclass(frozen=True)
class Description:
    """Hold what dataset.toml says.

    lists: {split: file}; where it is empty, `test_share` of the images are drawn by `split_seed` for testing.
    """

    name: str
    images: Place
    lists: dict[str, Path]
    test_share: float
    split_seed: int
    size: tuple[int, int]
    fit: Fit
    labels: dict[str, Labels]


class _Table:
    """A table of the file, whose keys are taken one by one."""

    def __init__(self, file: Path, where: str, values: Any) -> None:
        if not isinstance(values, dict):
            raise UserError(f"{where} in {file} is not a table; write [{where}] and its keys below.")
        self.file, self.values, self.said = file, values, f"[{where}] of {file}" if where else str(file)

    def only(self, *keys: str) -> None:
        """Raise `UserError` for a key that is none of these."""
        for key in self.values:
            if key not in keys:
                raise unknown(f"key in {self.said}", key, keys)

    def take(self, key: str, right: Any, expected: str, default: Any = _ANY) -> Any:
        """The value of a key; a `UserError` where it is not right, or missing without a default."""
        if key not in self.values:
            if default is not _ANY:
                return default
            raise UserError(f"{self.said} has no {key}; add {key} = {expected}.")
        value = self.values[key]
        if not right(value):
            raise UserError(f"{key} = {shown(value)} in {self.said} is wrong; expected {expected}.")
        return value

    def table(self, key: str, keys: str) -> Any:
        """What should be a table of its own; a `UserError` where it is missing or empty."""
        if not self.values.get(key):
            raise UserError(f"{self.said} has no [{key}]; add it, with {keys}.")
        return self.values[key]

    def path(self, key: str, example: str) -> Path:
        """A file or folder inside the data set's folder."""
        value = self.take(key, lambda v: isinstance(v, str) and v.strip(), f'"{example}"')
        if Path(value).is_absolute() or ".." in Path(value).parts or "\\" in value:
            inside = f"{self.file.parent}; name something inside it"
            raise UserError(f"{key} = {shown(value)} in {self.said} leads out of {inside}.")
        return self.file.parent / value

    def place(self, key: str, example: str, endings: tuple[str, ...]) -> Place:
        """A folder at `key`, and which of its files are meant."""
        place = Place(self.path(key, example), endings)
        if "pattern" not in self.values:
            return place
        example = (
            f'"{{name}}_{example}{endings[-2]}": {{name}} once, perhaps "{{dir}}/" before it, and the ending'
        )
        self.path("pattern", example)
        pattern = unicodedata.normalize(
            "NFC", self.take("pattern", lambda v: is_pattern(v, endings), example)
        )
        return replace(place, pattern=pattern)


def read(folder: Path) -> Description:
    """Read a folder's description.

    Raises `UserError` with one sentence for the first mistake in it.
    """
    file = folder / FILE
    values = read_toml(file)
    top = _Table(file, "", values)
    top.only("name", "images", "splits", "size", "tasks")
    name = top.take("name", _is_name, '"kitchens", of small letters, digits and hyphens')
    if isinstance(values.get("images"), dict):
        own = _Table(file, "images", values["images"])
        own.only("folder", "pattern")
        images = own.place("folder", "images", IMAGES)
    else:
        images = top.place("images", "images", IMAGES)
    either = 'train = "train.txt" and test = "test.txt", or test_share = 0.2'
    lists, share, seed = _splits(file, top.table("splits", either))
    size, fit = _size(file, top.table("size", "height = 192 and width = 256"))
    example = 'a table such as [tasks.depth] with kind = "depth" and folder = "depth" for each task'
    tables = top.table("tasks", example)
    labels = {key: _taught(file, key, values) for key, values in _Table(file, "tasks", tables).values.items()}
    return Description(name, images, lists, share, seed, size, fit, labels)


def _splits(file: Path, values: Any) -> tuple[dict[str, Path], float, int]:
    table = _Table(file, "splits", values)
    table.only("train", "test", "test_share", "split_seed")
    drawn = {"test_share", "split_seed"} & table.values.keys()
    if not drawn:
        return {split: table.path(split, f"{split}.txt") for split in ("train", "test")}, 0.0, 0
    if len(table.values) > len(drawn):
        raise UserError(f"{table.said} has both lists and {max(drawn)}; keep one of the two.")
    expected = "a share between 0 and 1, such as 0.2"
    share = table.take("test_share", lambda v: type(v) is float and 0 < v < 1, expected)
    seed = table.take("split_seed", lambda v: type(v) is int and v >= 0, "a whole number, 0 or more", 0)
    return {}, share, seed


def _size(file: Path, values: Any) -> tuple[tuple[int, int], Fit]:
    table = _Table(file, "size", values)
    table.only("height", "width", "fit")
    height, width = (
        table.take(
            key, lambda v: type(v) is int and 32 <= v <= 8192 and v % 8 == 0, "a multiple of 8, 32 to 8192"
        )
        for key in ("height", "width")
    )
    expected = " or ".join(f'"{how}"' for how in FITS)
    return (height, width), table.take("fit", lambda v: v in FITS, expected, "scale")


def _labels(file: Path, name: str, values: Any) -> Labels:
    if not is_task_name(name):
        cure = "use another, of small letters, digits and _, 40 at most"
        raise UserError(f"{shown(name)} in [tasks] of {file} cannot be the name of a task; {cure}.")
    table = _Table(file, f"tasks.{name}", values)
    kind = table.take("kind", lambda v: v in KINDS, "one of " + ", ".join(f'"{known}"' for known in KINDS))
    own = {"classes": ("classes", "palette"), "depth": ("unit",), "normals": ()}.get(kind, ("threshold",))
    table.only("kind", "folder", "pattern", "teacher", "ignore", *own)
    place = table.place("folder", name, MAPS)
    if "palette" in table.values:
        return _coloured(table, name, place)
    expected = "the number that pixels without a label have, such as 255 (nan in a .npy)"
    ignore = table.take("ignore", _is_number, expected, IGNORE if kind == "classes" else None)
    if kind == "classes":
        if ignore % 1 > 0:  # not so of NaN
            raise UserError(
                f"ignore = {ignore} in {table.said} is no class; expected a whole number, or nan."
            )
        return Labels(replace(t.semseg(_classes(table)), name=name), place, ignore)
    expected = "metres a step of a .png, as in 0.001"
    unit = table.take("unit", lambda v: type(v) in (int, float) and 1e-6 <= v < 100, expected, None)
    expected = "the least number that is positive, such as 128"
    threshold = table.take("threshold", lambda v: _is_number(v) and 0 < v < inf, expected, None)
    return Labels(replace(_MAKE[kind](), name=name), place, ignore, unit, threshold)


def _taught(file: Path, name: str, values: Any) -> Labels:
    """As `_labels`, with the place of a teacher's maps."""
    made, table = _labels(file, name, values), _Table(file, f"tasks.{name}", values)
    folder = table.path("teacher", f"{name}-teacher") if "teacher" in values else None
    if folder == made.place.folder:
        raise UserError(f"teacher in {table.said} is the folder of its labels; name one of other maps.")
    return replace(made, teacher=replace(made.place, folder=folder)) if folder else made


def _classes(table: _Table) -> tuple[str, ...]:
    expected = "a list of 2 to 255 different names, in the order of their numbers, 64 characters at most"
    return tuple(table.take("classes", _are_classes, expected))


def _coloured(table: _Table, name: str, place: Place) -> Labels:
    """Classes whose maps are of colours."""
    classes, one = _classes(table), 'such as "#800000" or [128, 0, 0]'
    expected = f"{len(classes)} different colours, those of the classes in their order, {one}"
    palette = _codes(table.take("palette", lambda v: len(_codes(v)) == len(classes), expected))
    expected = f"colours of pixels without a label, none of them in palette, {one}"
    void = table.take("ignore", lambda v: _codes(v) and not set(_codes(v)) & set(palette), expected, [])
    return Labels(replace(t.semseg(classes), name=name), place, palette=palette, void=_codes(void))


def _codes(value: Any) -> tuple[int, ...]:
    """The colours of a list, or one, as 0xRRGGBB; () unless they are colours, and different."""
    several = isinstance(value, list) and not all(type(part) is int for part in value)
    codes = [_code(one) for one in (value if several else [value])]
    found = tuple(code for code in codes if code is not None)
    return found if len(set(found)) == len(codes) else ()


def _code(value: Any) -> int | None:
    if isinstance(value, str) and re.fullmatch("#[0-9a-fA-F]{6}", value):
        return int(value[1:], 16)
    if not isinstance(value, list) or len(value) != 3:
        return None
    return int.from_bytes(value) if all(type(part) is int and 0 <= part < 256 for part in value) else None


def is_task_name(name: str) -> bool:
    """Tell whether stores, records and networks can hold a task of that name."""
    named = re.fullmatch("[a-z][a-z0-9_]{0,39}", name) is not None
    return named and name not in TAKEN and not hasattr(nn.ModuleDict(), name)


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) <= 2**32)


def _is_name(value: Any) -> bool:
    fits = isinstance(value, str) and len(value) <= 64
    return fits and re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", value) is not None


def _are_classes(value: Any) -> bool:
    return (
        isinstance(value, list)
        and all(
            isinstance(name, str) and name.strip() and name.isprintable() and len(name) <= 64
            for name in value
        )
        and len(set(value)) == len(value)
        and 2 <= len(value) <= 255
    )
