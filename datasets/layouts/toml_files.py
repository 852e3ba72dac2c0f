"""Which files of a folder are images and label maps: by their endings, or by patterns of their paths.

Sub-folders are looked into; an image's name is its path without ending, as in "kitchen/0001". Nothing leads
out of the folder: no pattern, and no link that lies in it. Hidden files are left alone.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.errors import UserError, printable

IMAGES = (".jpg", ".jpeg", ".png", ".webp")
MAPS = (".png", ".npy")
MOST, DEEPEST = 2_000_000, 32  # files and folders in a folder; folders in each other


@dataclass(frozen=True)
class Place:
    """Name a folder, and the files that are meant in it and in its sub-folders.

    pattern: of a path below the folder, as in "{name}_depth.png" or "{dir}/depth/{name}.png"; where it is
    empty, a file with any of the `endings` is named as its image.
    """

    folder: Path
    endings: tuple[str, ...]
    pattern: str = ""

    @property
    def said(self) -> str:
        """Say in words which files are meant."""
        if self.pattern:
            return f"named {self.pattern}"
        return f"ending in {', '.join(self.endings[:-1])} or {self.endings[-1]}"

    @property
    def literal(self) -> int:
        """Count the characters that the pattern fixes: of two that fit a file, the one with more is meant."""
        return len(re.sub(r"\{\w+\}", "", self.pattern))

    def name_of(self, path: str) -> str | None:
        """Return the image's name that a path below the folder stands for; None for no such file."""
        stem, dot, ending = path.rpartition(".")
        if not self.pattern:
            return stem if (dot + ending).lower() in self.endings else None
        name = "[^/]+" if "{dir}" in self.pattern else ".+"
        fits = re.escape(self.pattern).replace(r"\{dir\}", "(?P<dir>.+)").replace(r"\{name\}", f"({name})")
        found = re.fullmatch(fits, path)
        return "/".join(found.groups()) if found else None

    def example(self, name: str) -> str:
        """Return paths that belong to an image, for messages."""
        if not self.pattern:
            return " or ".join(name + ending for ending in self.endings)
        folder, _, own = name.rpartition("/")
        return self.pattern.format(dir=folder, name=own if "{dir}" in self.pattern else name)


def is_pattern(value: Any, endings: tuple[str, ...]) -> bool:
    """Tell whether it has {name} once, perhaps a folder {dir} before it, and an ending that is read."""
    parts = value.split("/")
    fields = re.findall(r"\{[^{}]*\}", value)
    return (
        fields in (["{name}"], ["{dir}", "{name}"])
        and value.count("{") == value.count("}") == len(fields)
        and all(part == "{dir}" for part in parts if "{dir}" in part)
        and all(part.strip(".") for part in parts)
        and value.isprintable()
        and value.lower().endswith(endings)
    )


@dataclass(frozen=True)
class Found:
    """Hold files, {who names them: {image: file}}, and those left, {folder: paths that are nobody's}."""

    files: dict[str, dict[str, Path]]
    left: dict[Path, list[str]]


def find(root: Path, places: Mapping[str, Place], skip: Collection[Path]) -> Found:
    """Find the files of `places`, {who names it: place}, in `root`.

    A folder that one names is no part of another's around it; of two patterns, the one that fixes more
    characters takes a file. skip: files that are no data. Raises `UserError` for what `walk` refuses, for a
    name that cannot be shown, an image or map that is there twice, and a file that could be two things.
    """
    found = Found({who: {} for who in places}, {})
    folders = {place.folder for place in places.values()}
    for folder in sorted(folders):
        here = {who: place for who, place in places.items() if place.folder == folder}
        for path, file in walk(root, folder, folders | {*skip}):
            names = {who: name for who, place in here.items() if (name := place.name_of(path)) is not None}
            most = max((here[who].literal for who in names), default=0)
            best = [who for who in names if here[who].literal == most]
            if not best:
                found.left.setdefault(folder, []).append(printable(path).replace("\n", " "))
            elif printable(path) != path or "\n" in path:
                what = "is no text in UTF-8, or holds a control or direction mark"
                raise UserError(f"{folder} holds {path!a}, whose name {what}; rename it.")
            elif len({here[who] for who in best}) > 1:
                both = " and ".join(f"{who} ({here[who].said})" for who in best)
                raise UserError(f"{file} is meant by {both}; tell them apart by folder or pattern.")
            for who in best:
                if other := found.files[who].get(names[who]):
                    both = f"{other.relative_to(folder).as_posix()!a} and {path!a}"
                    raise UserError(f"{folder} holds both {both}; keep one of the two.")
                found.files[who][names[who]] = file
    return found


def walk(root: Path, folder: Path, skip: Collection[Path] = ()) -> Iterator[tuple[str, Path]]:
    """Yield (path below the folder, accents composed; file) of all that is not hidden, in order.

    skip: files and sub-folders that are not looked at. Raises `UserError` for a link to a folder or out of
    `root`, and for more than `MOST` files; `OSError` for a folder that cannot be read.
    """

    def fail(error: OSError) -> None:
        raise error

    inside, count = [os.path.realpath(place) for place in (root, folder)], 0
    for where, folders, files in os.walk(folder, onerror=fail):
        folders[:] = sorted(n for n in folders if not n.startswith(".") and Path(where, n) not in skip)
        for name in (*folders, *sorted(files)):
            file, count = Path(where, name), count + 1
            if count > MOST or len(file.parts) - len(folder.parts) > DEEPEST:
                most = f"more than {MOST} files, or folders more than {DEEPEST} deep"
                raise UserError(f"{folder} holds {most}; name the folder of the data set alone.")
            if name.startswith(".") or file in skip:  # hidden: what desktops keep for themselves
                continue
            if file.is_symlink():
                real = os.path.realpath(file)
                if name in folders or not any(
                    real.startswith(base.rstrip(os.sep) + os.sep) for base in inside
                ):
                    what = "to a folder" if name in folders else f"out of {root}"
                    raise UserError(f"{file} is a link {what}; put what it leads to there instead.")
            if name not in folders:
                yield unicodedata.normalize("NFC", file.relative_to(folder).as_posix()), file
