"""What `bench data` says of prepared data: what they hold, and what of it looks wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from datasets.base import Split
from datasets.tasks import Task

NEAR, FAR = 0.3, 100.0  # metres: all nearer, or most farther, is a unit that is off
APART = 30  # times that a map's median depth may differ from the others' without a word
Remarks = Mapping[str, Mapping[str, tuple[int, str]]]
Looks = Mapping[str, Mapping[str, Mapping[str, Any]]]
# By the first word of a remark, what follows being {value} and {task}.
_SENTENCES = {
    "turned": "{count} images were turned or mirrored as their EXIF orientation says, such as {first}: their "
    "label maps must be drawn on what a viewer shows.",
    "clear": "{count} images are transparent in places, such as {first}: their colours there count.",
    "dark": "{count} images of 16 bits use no number above 16383, such as {first}, and are dark at 8: scale "
    "them to 0..65535.",
    "black": "{count} images of 16 bits use no number above 255, such as {first}, and are black at 8: save "
    "them with 8 bits.",
    "whole": "{count} maps of {task} are .npy of whole {value}, such as that of {first}, and are read as "
    "metres: unit is for .png alone.",
    "white": "{count} maps of {task} hold 0 and {value} alone, such as that of {first}, and {value} is read "
    "as no label: if it was drawn for a class, save the number of that class.",
    "mostly": "{count} maps of {task} have more edges than other pixels, such as that of {first}: look "
    "whether black and white are exchanged.",
    "largest": "{count} maps of {task} hold {value}, the largest number of their format, such as that of "
    "{first}: if it says that nothing was measured, add ignore = {value} to [tasks.{task}].",
    "blank": "{count} maps of {task} have no labelled pixel at this size, such as that of {first}: these "
    "images count as images without that label.",
}


def look(split: Split, tasks: Mapping[str, Task]) -> dict[str, dict[str, Any]]:
    """Describe each task of a split.

    {task: {images: with a label, share: of their pixels with one, values: in words, and low, high and median
    of depth, mean of normals, or pixels of each class; astray: how many maps are unlike the others, and the
    first's name}}.
    """
    return {name: _look(task, split, column) for column, (name, task) in enumerate(tasks.items())}


def _look(task: Task, split: Split, column: int) -> dict[str, Any]:
    available = split.available[:, column].numpy()
    rows, found = np.flatnonzero(available), dict[str, Any]()
    values = split.targets[task.name].numpy()
    content = int(split.extents.prod(1)[available].sum()) if split.extents is not None else 0
    content = content or len(rows) * values[0, 0].size
    if task.kind == "normals":
        number = np.array([values[i].any(0).sum() for i in rows], np.int64)
        total = np.array([values[i].reshape(3, -1).sum(1, dtype=np.int64) for i in rows]).reshape(-1, 3)
        known = int(number.sum())
        found["mean"] = (total.sum(0) / max(known, 1) / 127).round(4).tolist()
        means = total / np.maximum(number, 1)[:, None] / 127
        # A single view may be of a wall at its side; hardly so that nothing faces the camera.
        beside = _exchanged(means) & (means[:, 2] > -0.3)
        found["astray"] = _first(split, rows[(means[:, 2] > 0) | beside])
        text = "unit vectors, mean " + ", ".join(f"{mean:+.2f}" for mean in found["mean"])
    elif task.kind == "depth":
        known, bounds, parts = 0, list[float](), [np.zeros(0, np.float32)]
        for i in rows:
            depths = values[i][values[i] != 0]
            known += depths.size
            bounds += [float(depths.min()), float(depths.max())]
            parts.append(depths[::17].astype(np.float32))  # a part tells the middle well enough
        middles = np.array([np.median(part) for part in parts[1:]])
        middle = float(np.median(np.concatenate(parts))) if bounds else 0.0
        ratio = middles / np.median(middles) if bounds else middles
        found |= {"low": min(bounds, default=0.0), "high": max(bounds, default=0.0), "median": middle}
        found["astray"] = _first(split, rows[(ratio > APART) | (ratio < 1 / APART)])
        text = f"{found['low']:.3g} to {found['high']:.3g} {task.unit}, median {middle:.3g}".replace(
            "  ", " "
        )
    elif not task.is_map_of_integers:
        found["low"], found["high"], known = np.inf, -np.inf, 0
        for i in rows:
            part = values[i][:, np.isfinite(values[i]).all(0)].astype(np.float32)
            known += part.shape[1]
            found["low"], found["high"] = min(found["low"], part.min()), max(found["high"], part.max())
        text = f"{found['low']:.3g} to {found['high']:.3g} {task.unit}".rstrip() if known else ""
    else:
        counts = sum((np.bincount(values[i].ravel(), minlength=256) for i in rows), np.zeros(256, np.int64))[
            :255
        ]
        known = int(counts.sum())
        found["counts"] = counts[: task.channels if task.kind == "classes" else 2].tolist()
        text = f"{counts[1] / max(known, 1):.1%} positive"
        if task.kind == "classes":
            most = int(counts.argmax())
            common = task.classes[most] if task.classes else str(most)
            share = counts[most] / max(known, 1)
            text = f"{(counts > 0).sum()} of {task.channels} classes, most often {common} ({share:.0%})"
    return {"images": len(rows), "share": known / max(content, 1), "values": text} | found


def _exchanged(means: Any) -> Any:
    """Whether means of normals (..., 3) are those of BGR: no photograph of NYUv2 has such a mean."""
    return means[..., 0] < np.minimum(-0.3, means[..., 2])


def _first(split: Split, rows: Any) -> tuple[int, str]:
    """How many samples, and the name of the first."""
    return len(rows), split.names[rows[0]] if len(rows) else ""


def notes(
    looks: Looks, splits: Mapping[str, Split], tasks: Mapping[str, Task], remarks: Remarks
) -> list[str]:
    """Return a sentence for each thing that is odd, in the order in which a person should look.

    looks: {split: `look`}. remarks: {split: {remark of a reader: (images, the first one's name)}}.
    """
    found = [
        sentence
        for name, task in tasks.items()
        for sentence in _odd(task, [of[name] for of in looks.values()])
    ]
    found += said(remarks.values())
    for name, split in splits.items():
        bare = (~split.available.any(1)).nonzero().flatten().tolist()
        if bare:
            found.append(
                f"{len(bare)} of {len(split)} {name} images have no label, such as {split.names[bare[0]]}."
            )
    return found


def said(remarks: Iterable[Mapping[str, tuple[int, str]]]) -> list[str]:
    """Return a sentence for each remark of readers, {remark: (samples, the first one's name)}."""
    merged, found = dict[str, tuple[int, str]](), list[str]()
    several: dict[tuple[str, str], dict[int, tuple[int, str]]] = {}
    for remark, (count, first) in (item for each in remarks for item in each.items()):
        before = merged.get(remark, (0, first))
        merged[remark] = (before[0] + count, before[1])
    for remark, (count, first) in merged.items():
        kind, _, rest = remark.partition(" ")
        value, _, task = rest.rpartition("of ")
        if kind in _SENTENCES:
            found.append(_SENTENCES[kind].format(count=count, first=first, value=value.strip(), task=task))
        elif kind in ("positive", "bits") and re.fullmatch(r"\d{1,9} ", value):
            several.setdefault((kind, task), {})[int(value)] = (count, first)
    for (kind, task), values in several.items():
        if len(values) > 1:
            (least, one), (most, other) = min(values.items()), max(values.items())
            of, cure = "of numbers up to", "look whether a number says the same in both"
            if kind == "positive":
                of = "of 0 and"
                cure = f"if {most} says that there is no label, add ignore = {most} to [tasks.{task}]"
            found.append(
                f"{one[0]} maps of {task} are {of} {least}, such as that of {one[1]}, and {other[0]} {of} "
                f"{most}, such as that of {other[1]}: {cure}."
            )
    return found


def _odd(task: Task, looks: list[Mapping[str, Any]]) -> list[str]:
    """What is odd about the labels of one task, over all splits."""
    name, found = task.name, []
    astray = [each["astray"] for each in looks if each.get("astray", (0, ""))[0]]
    count, example = sum(n for n, _ in astray), f"such as that of {astray[0][1]}" if astray else ""
    if task.kind == "normals":
        images = sum(each["images"] for each in looks)
        mean = np.sum([np.array(each["mean"]) * each["images"] for each in looks], 0) / max(images, 1)
        words = f"the mean of {name} is ({', '.join(f'{part:+.2f}' for part in mean)})"
        if _exchanged(mean):
            found.append(
                f"{words}, so x and z look exchanged (BGR): visible surfaces face the camera, z < 0."
            )
        elif mean[2] > 0:
            found.append(f"{words}, but visible surfaces face the camera, z < 0: x right, y down, z forward.")
        elif count:
            unlike = f"{count} maps of {name} have another mean than the others, {example}"
            found.append(f"{unlike}: z > 0, or x and z look exchanged (BGR).")
    middle = [each["median"] for each in looks if task.kind == "depth" and each["images"]]
    if middle and max(middle) > APART * min(middle):
        found.append(
            f"the median of {name} is {min(middle):.3g} in one split and {max(middle):.3g} in the other: "
            "look whether both are in one unit."
        )
    if task.kind == "depth" and task.unit == "m":
        seen = [each for each in looks if each["images"]]
        high, middle = max((each["high"] for each in seen), default=1.0), [each["median"] for each in seen]
        if high < NEAR or min(middle, default=1.0) > FAR:
            low = min(each["low"] for each in seen)
            found.append(f"{name} is {low:.3g} to {high:.3g} m, which looks like another unit.")
        elif count:
            apart = f"a median depth more than {APART} times that of the others, or less than a {APART}th"
            found.append(f"{count} maps of {name} have {apart}, {example}: look at their unit.")
    elif task.is_map_of_integers:
        counts = np.array([each["counts"] for each in looks])
        labels = (
            task.classes or tuple(map(str, range(task.channels))) if task.kind == "classes" else ("0", "1")
        )
        if absent := [label for label, count in zip(labels, counts.sum(0), strict=True) if not count]:
            what = "classes of" if task.kind == "classes" else "numbers of"
            found.append(
                f"{len(absent)} of {len(labels)} {what} {name} occur in no label map: {_listed(absent)}; "
                "look whether the maps' numbers, classes and ignore are what is meant."
            )
        elif unlearnt := [label for label, count in zip(labels, counts[0], strict=True) if not count]:
            found.append(f"{name}: {_listed(unlearnt)} occurs in test images alone.")
    return found


def _listed(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
