"""What every data set must keep: `bench check` of a data set reads both splits whole and runs these."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.contract.checks import Finding, findings, require, require_tensor
from benchmark.errors import UserError, reason
from benchmark.spec import registry
from datasets.base import Dataset, Split
from datasets.tasks import Task

SPLITS = ("train", "test")
SAMPLES = 16  # read at a time: splits may be large, and memory-mapped
ROUNDING = 3.0  # of the length of a vector of three rounded, or cut off, components
FAR = 1000.0  # metres that no scene is away in the middle


class Subject:
    """A data set and its splits, read once."""

    def __init__(self, name: str, data: Path) -> None:
        self.dataset: Dataset = registry.open_dataset(name, data)
        self.size = self.dataset.default_size
        self.splits = {name: self.dataset.split(name, self.size) for name in SPLITS}


def check(name: str, data: Path) -> Iterator[Finding]:
    """Yield the findings of all checks. Raises the data set's own `UserError` where its data are not here."""
    try:
        subject = Subject(name, data)
    except UserError:
        raise
    except Exception as error:
        yield Finding("reading", "Both splits can be read", reason(error, named=True))
        return
    yield from findings(CHECKS, subject)


def description(subject: Subject) -> None:
    """Name, variant, summary, source and licence are given, and tasks stand under their own names."""
    dataset = subject.dataset
    for key in ("name", "variant", "summary", "source", "licence"):
        text = getattr(dataset, key, None)
        require(isinstance(text, str) and text, f"{key} is not a text")
    starts = dataset.variant.startswith(dataset.name)
    require(starts, f"variant {dataset.variant!r} does not start with the name {dataset.name!r}")
    for name, task in dataset.tasks.items():
        named = isinstance(task, Task) and task.name == name
        require(named, f"tasks[{name!r}] is not a Task called {name!r}")


def shapes(subject: Subject) -> None:
    """Images are (N, 3, H, W) uint8 and every target (N, C, H, W) in its kind's compact dtype."""
    for where, split in subject.splits.items():
        require(len(split), f"{where} has no sample")
        _require_shapes(where, split, subject.dataset, subject.size)


def _require_shapes(where: str, split: Split, dataset: Dataset, size: tuple[int, int]) -> None:
    count, names, tasks = len(split), list(split.targets), list(dataset.tasks)
    require_tensor(f"{where} images", split.images, (count, 3, *size), (torch.uint8,))
    require(names == tasks, f"{where} has targets {names}, not {tasks} in that order")
    require(where.startswith("train") or not split.teacher, f"{where} has a teacher's maps; train alone may")
    for name, task in dataset.tasks.items():
        shape = (count, task.target_channels, *size)
        kept = task.maps.stored
        dtypes = (kept, torch.float32) if kept.is_floating_point else (kept,)
        for target in (maps[name] for maps in (split.targets, split.teacher) if name in maps):
            require_tensor(f"{where} {name}", target, shape, dtypes)
            require(not target.requires_grad, f"{where} {name} requires a gradient; detach it")
    require_tensor(f"{where} available", split.available, (count, len(tasks)), (torch.bool,))
    require(len(split.names) == count, f"{where} has {len(split.names)} names for {count} samples")


def sizes(subject: Subject) -> None:
    """Another size gives images and targets of that size, with another fingerprint, or is refused."""
    other = (max(32, subject.size[0] // 2), max(32, subject.size[1] // 2))
    for where in SPLITS:
        try:
            small = subject.dataset.split(where, other, 2)
        except UserError:  # packed data are there at the sizes that were prepared
            continue
        _require_shapes(f"{where} at {other[0]}x{other[1]}", small, subject.dataset, other)
        whole = subject.dataset.split(where, subject.size, 2)
        differs = other == subject.size or small.fingerprint != whole.fingerprint
        require(differs, f"{where} has one fingerprint for two sizes")


def values(subject: Subject) -> None:
    """Class maps hold classes or 255, depth metres, normals 127 times unit vectors; availability is true."""
    for where, split in subject.splits.items():
        for t, (name, task) in enumerate(subject.dataset.tasks.items()):
            what, target, medians, least = f"{where} {name}", split.targets[name], [], []
            for start in range(0, len(split), SAMPLES):
                rows = slice(start, start + SAMPLES)
                part, known = target[rows], task.valid(target[rows])
                _require_values(what, task, part, known)
                if task.kind == "depth" and known.any():
                    medians.append(part[known].float().median())
                if task.kind == "normals" and known.any():
                    least.append(int(part.min()))
                differs = known.flatten(1).any(1) != split.available[rows, t]
                row = start + int(differs.byte().argmax())
                bare = "available without a labelled pixel"
                says = bare if split.available[row, t] else "labelled but not available"
                require(not differs.any(), f"{what} of sample {split.names[row]!r} is {says}")
            middle = float(torch.stack(medians).median()) if medians and not task.inverse else 0.0
            reason = f"{what} has a median of {middle:.0f}, which looks like millimetres; give metres"
            require(middle <= FAR, reason)
            halved = least and min(least) >= 0
            require(not halved, f"{what} holds no negative component, so they look like (n + 1) / 2; give n")


def _require_values(what: str, task: Task, target: Tensor, known: Tensor) -> None:
    """Raise `Broken` for a value that cannot be in a target (N, C, H, W)."""
    if task.is_map_of_integers:
        most = task.channels if task.kind == "classes" else 2
        for odd in target[(target >= most) & known][:1].tolist():
            require(False, f"{what} holds {odd}, which is neither one of {most} classes nor {task.ignore}")
    elif task.kind == "depth":
        fine = bool((torch.isfinite(target) & (target >= 0)).all())
        require(fine, f"{what} holds values that are negative or not finite")
    elif task.kind == "normals":
        lengths = target.float().square().sum(1, keepdim=True).sqrt()[known]
        for odd in lengths[(lengths - 127).abs() > ROUNDING][:1].tolist():
            require(False, f"{what} holds a vector of length {odd:.0f}, which is neither 127 nor 0")


def samples(subject: Subject) -> None:
    """Ids and names tell samples of a split apart, and no image is in both splits, under whatever name."""
    for where, split in subject.splits.items():
        unique = len(split.ids.unique()) == len(split) == len(set(split.names))
        whole = unique and split.ids.dtype == torch.int64
        require(whole, f"{where} has ids that are not int64 or not unique, or names that are not unique")
        least = int(split.ids.min())
        require(least >= 0, f"{where} has the negative id {least}; number samples from 0")
    train, test = (subject.splits[name] for name in SPLITS)
    tested = {_digest(image) for image in test.images}
    for name, image in zip(train.names, train.images, strict=True):
        require(_digest(image) not in tested, f"the image of train sample {name!r} is in test, too")
    differs = train.fingerprint != test.fingerprint
    require(differs, "train and test have one fingerprint; hash what each of them holds, labels too")


def _digest(image: Tensor) -> bytes:
    return hashlib.sha256(image.contiguous().numpy().data).digest()


def repeatable(subject: Subject) -> None:
    """Reading again gives the same bits and fingerprint; a part of a split is its first samples."""
    for where, split in subject.splits.items():
        count = max(1, min(SAMPLES, len(split) - 1))
        part, again = (subject.dataset.split(where, subject.size, count) for _ in range(2))
        same = again.fingerprint == part.fingerprint and _equal(again, part, count)
        require(same, f"reading {where} twice gives two contents or fingerprints")
        first = len(part) == count and _equal(part, split, count)
        require(first, f"the first {count} samples of {where} are not those that a limit gives")
        differs = count == len(split) or part.fingerprint != split.fingerprint
        require(differs, f"{where} has one fingerprint for {count} and for {len(split)} samples")


def _equal(a: Split, b: Split, count: int) -> bool:
    pairs = [(a.images, b.images), (a.ids, b.ids), (a.available, b.available)]
    pairs += [(a.targets[name], b.targets[name]) for name in b.targets]
    same = all(np.array_equal(one[:count], two[:count], equal_nan=True) for one, two in pairs)
    return same and a.names[:count] == b.names[:count]


CHECKS: tuple[Callable[[Subject], None], ...] = (description, shapes, sizes, values, samples, repeatable)
