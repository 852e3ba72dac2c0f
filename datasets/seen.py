"""What `bench data` says of prepared data: what they hold, and what of it looks wrong."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from datasets.base import Split
from datasets.tasks import Task

NEAR, FAR = 0.3, 100.0  # metres: all nearer, or most farther, is a unit that is off
APART = 30  # times that a map's median depth may differ from the others' without a word
Remarks = Mapping[str, Mapping[str, tuple[int, str]]]
Looks = Mapping[str, Mapping[str, Mapping[str, Any]]]


def look(split: Split, tasks: Mapping[str, Task]) -> dict[str, dict[str, Any]]:
    """Describe each task of a split.

    {task: {images: with a label, share: of their pixels with one, values: in words, and low, high and median
    of depth, mean of normals, or pixels of each class; astray: how many maps are unlike the others, and the
    first's name}}.
    """
    return {name: _look(task, split, column) for column, (name, task) in enumerate(tasks.items())}


def _look(task: Task, split: Split, column: int) -> dict[str, Any]:
    available, maps = split.available[:, column].numpy(), split.targets[task.name]
    rows, found, known = np.flatnonzero(available), dict[str, Any](), list[int]()
    each, bounds, counts = list[Any](), list[float](), np.zeros(256, np.int64)
    for i in rows:
        part = maps[i].numpy()[:, task.valid(maps[i : i + 1])[0, 0].numpy()]
        known.append(part.shape[1])
        if task.is_map_of_integers:
            counts += np.bincount(part.ravel(), minlength=256)
        elif task.kind == "normals":
            each.append(part.sum(1, dtype=np.int64))
        else:
            bounds += [float(part.min()), float(part.max())]
            each.append(part[:, ::17].astype(np.float32))  # a part tells the middle well enough
    content = int(split.extents.prod(1)[available].sum()) if split.extents is not None else 0
    content, total = max(1, content or len(rows) * maps[0, 0].numel()), max(1, sum(known))
    if task.kind == "normals":
        sums = np.array(each, np.int64).reshape(-1, 3)
        found["mean"] = (sums.sum(0) / total / 127).round(4).tolist()
        means = sums / np.array(known).reshape(-1, 1) / 127
        # A single view may be of a wall at its side; hardly so that nothing faces the camera.
        beside = _exchanged(means) & (means[:, 2] > -0.3)
        found["astray"] = _first(split, rows[(means[:, 2] > 0) | beside])
        text = "unit vectors, mean " + ", ".join(f"{mean:+.2f}" for mean in found["mean"])
    elif not task.is_map_of_integers:
        middles = np.array([np.median(part) for part in each])
        found = {"low": min(bounds, default=0.0), "high": max(bounds, default=0.0)}
        found["median"] = float(np.median(np.concatenate(each, 1))) if each else 0.0
        if task.kind == "depth" and each:
            ratio = middles / np.median(middles)
            found["astray"] = _first(split, rows[(ratio > APART) | (ratio < 1 / APART)])
        unit = f" {task.unit}".rstrip()
        text = f"{found['low']:.3g} to {found['high']:.3g}{unit}, median {found['median']:.3g}"
    else:
        found["counts"] = counts[: len(_classes(task))].tolist()
        text = f"{counts[1] / total:.1%} positive"
        if task.kind == "classes":
            common, share = _classes(task)[int(counts.argmax())], counts.max() / total
            text = f"{(counts > 0).sum()} of {task.channels} classes, most often {common} ({share:.0%})"
    return {"images": len(rows), "share": sum(known) / content, "values": text} | found


def _classes(task: Task) -> tuple[str, ...]:
    """What the numbers of a map of integers stand for."""
    if task.kind != "classes":
        return ("0", "1")
    return task.classes or tuple(map(str, range(task.channels)))


def _exchanged(means: Any) -> Any:
    """Whether means of normals (..., 3) are those of BGR: no photograph of NYUv2 has such a mean."""
    return means[..., 0] < np.minimum(-0.3, means[..., 2])


def _first(split: Split, rows: Any) -> tuple[int, str]:
    """How many samples, and the name of the first."""
    return len(rows), split.names[rows[0]] if len(rows) else ""


def notes(
    looks: Looks, splits: Mapping[str, Split], tasks: Mapping[str, Task], remarks: Remarks
) -> list[str]:
    """Return a sentence for each oddity. looks: {split: `look`}; remarks: {split: as `said` has them}."""
    odd = (_odd(task, [of[name] for of in looks.values()]) for name, task in tasks.items())
    found = [*itertools.chain(*odd), *said(remarks.values())]
    for name, split in splits.items():
        if bare := (~split.available.any(1)).nonzero().flatten().tolist():
            few = f"{len(bare)} of {len(split)} {name} images have no label"
            found.append(f"{few}, such as {split.names[bare[0]]}.")
    return found


def said(remarks: Iterable[Mapping[str, tuple[int, str]]]) -> list[str]:
    """Return a sentence for each remark of readers, {"what|advice": (samples, the first one's name)}."""
    merged = dict[str, tuple[int, str]]()
    for remark, (count, first) in (item for each in remarks for item in each.items()):
        before = merged.get(remark, (0, first))
        merged[remark] = (before[0] + count, before[1])
    parts = [(*remark.partition("|"), *seen) for remark, seen in merged.items()]
    return [f"{count} {what}, such as {first}: {advice}." for what, bar, advice, count, first in parts if bar]


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
            found.append(f"{words}, so x and z look exchanged (BGR): surfaces face the camera, z < 0.")
        elif mean[2] > 0:
            found.append(f"{words}, but visible surfaces face the camera, z < 0: x right, y down, z forward.")
        elif count:
            unlike = f"{count} maps of {name} have another mean than the others, {example}"
            found.append(f"{unlike}: z > 0, or x and z look exchanged (BGR).")
    elif task.kind == "depth" and (seen := [each for each in looks if each["images"]]):
        middle, low, high = (
            [e["median"] for e in seen],
            min(e["low"] for e in seen),
            max(e["high"] for e in seen),
        )
        if max(middle) > APART * min(middle):
            splits = f"{min(middle):.3g} in one split and {max(middle):.3g} in the other"
            found.append(f"the median of {name} is {splits}: look whether both are in one unit.")
        if task.unit == "m" and (high < NEAR or min(middle) > FAR):
            found.append(f"{name} is {low:.3g} to {high:.3g} m, which looks like another unit.")
        elif task.unit == "m" and count:
            apart = f"a median depth more than {APART} times that of the others, or less than a {APART}th"
            found.append(f"{count} maps of {name} have {apart}, {example}: look at their unit.")
    elif task.is_map_of_integers:
        counts, labels = np.array([each["counts"] for each in looks]), _classes(task)
        if absent := [label for label, count in zip(labels, counts.sum(0), strict=True) if not count]:
            kind = "classes" if task.kind == "classes" else "numbers"
            what = f"{len(absent)} of {len(labels)} {kind} of {name}"
            cure = "look whether the maps' numbers, classes and ignore are what is meant"
            found.append(f"{what} occur in no label map: {_listed(absent)}; {cure}.")
        elif unlearnt := [label for label, count in zip(labels, counts[0], strict=True) if not count]:
            found.append(f"{name}: {_listed(unlearnt)} occurs in test images alone.")
    return found


def _listed(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
