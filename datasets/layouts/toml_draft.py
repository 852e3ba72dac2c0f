"""A first dataset.toml for any folder: guesses, each with its reason, and choices where nothing can be told.

Photographs are those that most other files are named as, up to a folder or an affix; label maps go by what is
in them first, and by words of their names where that leaves a choice.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmark.errors import UserError, printable
from benchmark.files import replacing
from datasets.layouts.base import SPLITS, reading
from datasets.layouts.files import read_list
from datasets.layouts.pixels import load_photograph
from datasets.layouts.toml_description import FILE, is_task_name
from datasets.layouts.toml_files import IMAGES, MAPS, walk
from datasets.layouts.toml_folder import TomlFolder
from datasets.layouts.toml_guess import guess

PHOTO = "photo"
LOOKS, MOST = 40, 300_000  # files of a series that are looked at; files in all
WORDS = {
    "depth": "depth|distance", "normals": "normal", "edge": "edge|bound|contour",
    "saliency": "salien|foreground", "classes": "seg|label|class", PHOTO: "rgb|image|img|colo|photo",
}  # fmt: skip
Series = tuple[str, str]  # a folder, "" of files in none, and a pattern or ""


def write(folder: Path) -> tuple[Path, list[str]]:
    """Write a folder's dataset.toml; the file, and what is left to do. Raises `UserError` where it cannot."""
    file = folder / FILE
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; name the one that holds your images and label maps.")
    if file.exists() or file.is_symlink():
        raise UserError(f"{file} is there already; remove or rename it to have a draft written.")
    with reading(folder):
        text, names, todo = _draft(folder)
    with replacing(file) as draft:
        draft.write_text(text, encoding="utf-8")
    try:
        source = TomlFolder(folder)
        if more := [name for split in SPLITS for name in source.names(split) if name not in names]:
            choose = "if they are label maps, choose their task first"
            todo.append(f"{len(more)} more files count as images, such as {more[0]}: {choose}.")
        return file, [*todo, *source.notes]
    except UserError as error:
        return file, [*todo, str(error)]


def _draft(folder: Path) -> tuple[str, Collection[str], list[str]]:
    """The text, the images' names, and a sentence for each series that could not be told."""
    files = [path for path, _ in walk(folder, folder) if path.lower().endswith((*IMAGES, *MAPS))]
    if len(files) > MOST:
        raise UserError(f"{folder} holds more than {MOST} files; write {FILE} as datasets/README.md says.")
    every = _series(files)
    images = _photographs(folder, every)
    names, found = every[images], _paired(every, images)
    if len(names) < 3 or not found:
        cure = "maps (.png or .npy) are named as their images, in other folders or with an affix"
        raise UserError(f"{folder} holds {len(names)} images, with {len(found)} kinds of label maps; {cure}.")
    called = _word(folder.resolve().name).replace("_", "-") or "data"
    place = _value(images[0] or ".")
    if images[1]:
        place = f"{{ folder = {place}, pattern = {_value(images[1])} }}"
    height, width, _ = load_photograph(folder / min(names.values()), upright=True).pixels.shape
    scale = min(1, 512 / max(height, width)) / 8
    sides = [max(4, round(side * scale)) * 8 for side in (height, width)]
    lines = [
        "# Guesses of `bench data draft`, each with its reason: look at them, then",
        "# bench data prepare own-data FOLDER",
        f"name = {_value(called)}",
        f"# {len(names)} photographs, as which {sum(map(len, found.values()))} other files are named",
        f"images = {place}",
        *_splits(folder, names),
        f"# the first photograph has {height}x{width}; sides are multiples of 8",
        f"size = {{ height = {sides[0]}, width = {sides[1]} }}",
    ]
    todo, taken = [], set[str]()
    for number, (series, maps) in enumerate(found.items(), 1):
        where = "/".join(filter(None, (series[0].strip("."), series[1] or "{name}")))
        made = guess([folder / path for path in _some(maps.values(), LOOKS)], _hint(series))
        lines += ["", f"# {where}: {len(maps)} maps of {len(names)} images; {made.why}"]
        if made.kind is None:
            continue
        words = ["semseg" if made.kind == "classes" else made.kind, _word(_affix(series)), f"task_{number}"]
        name = next(word for word in words if word not in taken and is_task_name(word))
        taken.add(name)
        keys = {"kind": made.kind, "folder": series[0] or ".", "pattern": series[1], **made.keys}
        block = [f"[tasks.{name}]", *(f"{key} = {_value(value)}" for key, value in keys.items() if value)]
        if not made.kind:
            todo.append(f"what {where} holds cannot be told: choose in {folder / FILE}.")
            lines.append("# What they are cannot be told: choose, and remove the # of the lines that hold.")
            block = [f"# {line}" for line in block]
        lines += [*block, *(f"# {choice}" for choice in made.choices)]
    known = {*names.values(), *(path for maps in found.values() for path in maps.values())}
    if rest := [printable(path) for path in files if path not in known]:
        lines += ["", f"# left out: {len(rest)} files that are named as no photograph, such as {rest[0]!r}"]
    return "\n".join(lines) + "\n", names, todo


def _splits(folder: Path, names: Collection[str]) -> list[str]:
    for test in ("test.txt", "val.txt"):
        lists = [folder / "train.txt", folder / test]
        listed = [read_list(each, "names of images", folders=True) for each in lists if each.is_file()]
        if len(listed) == 2 and {*listed[0], *listed[1]} <= {*names}:
            return ["# both lists name images", f'splits = {{ train = "train.txt", test = "{test}" }}']
    said = '# drawn; where neighbours look alike, write lists: { train = "train.txt", test = "test.txt" }'
    return [said, "splits = { test_share = 0.2, split_seed = 0 }"]


def _readings(path: str) -> Iterator[tuple[Series, str]]:
    """Each way in which a path may be read: (its series, the image's name)."""
    *folders, file = path.split("/")
    stem, _, ending = file.rpartition(".")
    cuts = [found.start() for found in re.finditer("[._-]", stem)]
    affixes = [("", ""), *((stem[: cut + 1], "") for cut in cuts), *(("", stem[cut:]) for cut in cuts)]
    for before, after in affixes:
        core = stem[len(before) : len(stem) - len(after)]
        if not core or not (before == after or _is_affix(before + after)):
            continue
        last = f"{before}{{name}}{after}.{ending}"
        below = f"{{dir}}/{last}" if before else last  # a prefix is of the file, not of its folders
        yield ("." if folders else "", below if folders else last), "/".join([*folders, core])
        if folders:
            own = below if folders[1:] else last
            plain = [(folders[0], "")] if own == f"{{name}}.{ending}" else []
            yield from ((series, "/".join([*folders[1:], core])) for series in [(folders[0], own), *plain])
        if folders[1:]:
            yield (".", f"{{dir}}/{folders[-1]}/{last}"), "/".join([*folders[:-1], core])


def _series(files: list[str]) -> dict[Series, dict[str, str]]:
    """{series: {name of an image: path}}, of those in which each name occurs once."""
    found: dict[Series, dict[str, str]] = defaultdict(dict)
    twice = set()
    for path in files:
        if path.isprintable() and not re.search(r"[{}\\]", path):
            for series, name in _readings(path):
                if found[series].setdefault(name, path) != path:
                    twice.add(series)
    return {series: _shortest(names) for series, names in found.items() if series not in twice}


def _shortest(names: dict[str, str]) -> dict[str, str]:
    """Those that are not another with a suffix: of 0001 and 0001_depth, the first."""

    def is_longer(name: str) -> bool:
        cuts = (cut.start() for cut in re.finditer("[._-]", name))
        return any(name[:cut] in names and _is_affix(name[cut:]) for cut in cuts)

    return {name: path for name, path in names.items() if not is_longer(name)}


def _is_affix(text: str) -> bool:
    """Tell whether a text is of words, none of which starts with a digit."""
    return "/" not in text and all(word[:1].isalpha() for word in re.split("[._-]+", text.strip("._-")))


def _photographs(folder: Path, every: dict[Series, dict[str, str]]) -> Series:
    """The series of photographs that most other files are named as."""
    at: dict[str, set[str]] = defaultdict(set)
    for names in every.values():
        for name, path in names.items():
            at[name].add(path)

    def rank(series: Series) -> tuple[Any, ...]:
        named = set[str]().union(*(at[name] for name in every[series])) - {*every[series].values()}
        return -len(named), -len(every[series]), _hint(series) != PHOTO, len("".join(series)), series

    pictures = [s for s, names in every.items() if all(p.lower().endswith(IMAGES) for p in names.values())]
    ranked = sorted(pictures, key=rank)
    for series in ranked[:99]:
        if all(guess([folder / p], "").kind is None for p in _some(every[series].values(), 3)):
            return series
    if drawn := [series for series in ranked if _hint(series) == PHOTO]:  # they may have few colours
        return drawn[0]
    raise UserError(f"{folder} holds no photographs (.jpg, .png or .webp); put the images there.")


def _paired(every: dict[Series, dict[str, str]], images: Series) -> dict[Series, dict[str, str]]:
    """{series: {image: map}} of the other files that are named as images, each file once."""
    left = {s: {n: path for n, path in names.items() if n in every[images]} for s, names in every.items()}
    done, found = {*every[images].values()}, dict[Series, dict[str, str]]()
    while True:
        left = {s: {n: path for n, path in names.items() if path not in done} for s, names in left.items()}
        best = min(left, key=lambda series: (-len(left[series]), len("".join(series)), series))
        if not left[best]:
            return dict(sorted(found.items()))
        found[best] = left[best]
        done |= {*found[best].values()}


def _affix(series: Series) -> str:
    """What a series' names have in common."""
    return re.sub(r"\{\w+\}|\.\w+$", " ", "/".join(series)).strip(" ./_-")


def _hint(series: Series) -> str:
    """The kind of task that a name speaks of, `PHOTO` or ""."""
    return next((kind for kind, words in WORDS.items() if re.search(words, _affix(series).lower())), "")


def _word(text: str) -> str:
    return re.sub("[^a-z0-9]+", "_", text.lower()).strip("_")[:40].rstrip("_")


def _value(value: Any) -> str:
    """As TOML has it, in one line; it writes texts and lists of them as JSON does."""
    return json.dumps(value, ensure_ascii=False)


def _some(paths: Iterable[str], count: int) -> list[str]:
    """So many of the paths at the most, spread evenly."""
    every = sorted(paths)
    return [every[i * len(every) // count] for i in range(count)] if len(every) > count else every
