"""dataset.toml, read key by key; datasets/README.md has one with a comment on every key."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

from torch import nn

from benchmark.errors import UserError, shown
from benchmark.files import read_toml
from datasets import kinds
from datasets import tasks as t
from datasets.fit import FITS, Fit
from datasets.layouts.toml_files import IMAGES, MAPS, Place
from datasets.layouts.toml_table import ANY, Table
from datasets.tasks import IGNORE, Task

FILE = "dataset.toml"
# What stores and records keep beside tasks, under names of the same kind.
TAKEN = ("image", "extent", "extents", "available", "labelled")
_MAKE = {"depth": t.depth, "normals": t.normals, "edge": t.edge, "saliency": t.saliency}


@dataclass(frozen=True)
class Labels:
    """Describe one task's label maps.

    ignore: the number of pixels without a label (normals: in all three channels), which may be NaN. unit:
    metres a step of a .png. threshold: the least positive number of edges and saliency. None where unsaid.
    palette, void: the colours of the classes in their order, and those without a label, as 0xRRGGBB. teacher:
    where a teacher's maps of the same form are. learnt, numbers: the task whose classes these are mapped to,
    and what each of them is there, or `IGNORE`.
    """

    task: Task
    place: Place
    ignore: float | None = None
    unit: float | None = None
    threshold: float | None = None
    palette: tuple[int, ...] = ()
    void: tuple[int, ...] = ()
    teacher: Place | None = None
    learnt: Task | None = None
    numbers: tuple[int, ...] = ()

    @property
    def of(self) -> Task:
        """Return the task that is learnt from them."""
        return self.learnt or self.task


@dataclass(frozen=True)
class Description:
    """Hold what dataset.toml says.

    joins: the name of several sources, and those of all.
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
    joins: tuple[str, ...] = ()


def read(folder: Path) -> tuple[Description, ...]:
    """Read the description of one data set or its [[sources]]. Raises `UserError` for a mistake in it."""
    top = Table(folder / FILE, "", read_toml(folder / FILE))
    top.only("name", "size", *(["sources"] if "sources" in top.values else ["images", "splits", "tasks"]))
    expected = '"kitchens", of small letters, digits and hyphens'
    name = top.take("name", _is_name, expected)
    size = _size(top.below("size", top.table("size", "height = 192 and width = 256")))
    if "sources" not in top.values:
        return (_described(top, name, *size, ()),)
    words = "2 to 32 tables [[sources]], each with name, images, splits and tasks"
    found: list[Description] = []
    several = top.take("sources", lambda v: type(v) is list and 1 < len(v) < 33, words)
    for number, values in enumerate(several, 1):
        table = top.below(f"sources.{number}", values)
        table.only("name", "images", "splits", "tasks")
        own = f"{name}-{table.take('name', _is_name, expected)}"
        if own in [each.name for each in found]:
            raise UserError(f"{table.said} has the name of another source; give each its own.")
        found.append(_described(table, own, *size, found))
    return tuple(replace(each, joins=(name, *(of.name for of in found))) for each in found)


def _described(
    table: Table, name: str, size: tuple[int, int], fit: Fit, others: Sequence[Description]
) -> Description:
    """One data set; others: those before it, whose classes a map leads to where it names none."""
    if isinstance(table.values.get("images"), dict):
        own = table.below("images", table.values["images"])
        own.only("folder", "pattern")
        images = own.place("folder", "images", IMAGES)
    else:
        images = table.place("images", "images", IMAGES)
    either = 'train = "train.txt" and test = "test.txt", or test_share = 0.2'
    lists, share, seed = _splits(table.below("splits", table.table("splits", either)))
    example = 'a table such as [tasks.depth] with kind = "depth" and folder = "depth" for each task'
    tasks, labels = table.below("tasks", table.table("tasks", example)), {}
    for key, values in tasks.values.items():
        heads = [c for of in others if key in of.labels and (c := of.labels[key].of.classes)]
        made, own = _labels(tasks, key, values), tasks.below(key, values)
        folder = own.path("teacher", f"{key}-teacher") if "teacher" in values else None
        if folder == made.place.folder:
            raise UserError(f"teacher in {own.said} is the folder of its labels; name one of other maps.")
        taught = replace(made, teacher=replace(made.place, folder=folder)) if folder else made
        labels[key] = _mapped(own, taught, next(iter(heads), ANY))
    return Description(name, images, lists, share, seed, size, fit, labels)


def _mapped(table: Table, labels: Labels, head: Any) -> Labels:
    """Labels whose classes are learnt under the names of another list, where the table has a map."""
    if not {"map", "head"} & table.values.keys():
        return labels
    line = 'a line such as carpet = "floor" for each class'
    own = table.below("map", table.table("map", line))
    own.only(*labels.task.classes)
    head = tuple(table.take("head", _are_classes, "the list of the classes that map leads to", head))
    expected = f'one of {", ".join(head)}, or "" for no label'
    to = [own.take(name, lambda v: v in ("", *head), expected) for name in labels.task.classes]
    numbers = tuple(head.index(name) if name else IGNORE for name in to)
    return replace(labels, learnt=replace(labels.task, classes=head, channels=len(head)), numbers=numbers)


def _splits(table: Table) -> tuple[dict[str, Path], float, int]:
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


def _size(table: Table) -> tuple[tuple[int, int], Fit]:
    table.only("height", "width", "fit")
    side = "a multiple of 8, 32 to 8192"
    right = lambda v: type(v) is int and v in range(32, 8193, 8)  # noqa: E731
    height, width = (table.take(key, right, side) for key in ("height", "width"))
    expected = " or ".join(f'"{how}"' for how in FITS)
    return (height, width), table.take("fit", lambda v: v in FITS, expected, "scale")


def _labels(tasks: Table, name: str, values: Any) -> Labels:
    if not is_task_name(name):
        cure = "use another, of small letters, digits and _, 40 at most"
        raise UserError(f"{shown(name)} in {tasks.said} cannot be the name of a task; {cure}.")
    table = tasks.below(name, values)
    known = kinds.names()
    expected = f"one of {', '.join(map(json.dumps, known))} (one of your own needs --plugin KIND.py)"
    kind = table.take("kind", lambda v: v in known, expected)
    own = {"classes": ("classes", "palette", "map", "head"), "normals": ()}
    own |= dict.fromkeys(("saliency", "edge"), ("threshold",))
    table.only("kind", "folder", "pattern", "teacher", "ignore", *own.get(kind, ("unit",)))
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
    expected = f"{'metres' if kind == 'depth' else 'numbers'} a step of a .png, as in 0.001"
    unit = table.take("unit", lambda v: type(v) in (int, float) and 1e-6 <= v < 100, expected, None)
    expected = "the least number that is positive, such as 128"
    threshold = table.take("threshold", lambda v: _is_number(v) and 0 < v < inf, expected, None)
    task = replace(_MAKE[kind](), name=name) if kind in _MAKE else t.own(kind, name)
    return Labels(task, place, ignore, unit, threshold)


def _classes(table: Table) -> tuple[str, ...]:
    expected = "a list of 2 to 255 different names, in the order of their numbers, 64 characters at most"
    return tuple(table.take("classes", _are_classes, expected))


def _coloured(table: Table, name: str, place: Place) -> Labels:
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
    names = value if isinstance(value, list) else []
    texts = all(isinstance(n, str) and n.strip() and n.isprintable() and len(n) <= 64 for n in names)
    return texts and 2 <= len(names) <= 255 and len(set(names)) == len(names)
