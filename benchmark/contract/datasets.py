"""What every data set must keep: `bench check` of a data set reads both splits whole and runs these."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.contract.methods import Broken, Finding
from benchmark.errors import UserError
from benchmark.spec import registry
from datasets.base import Dataset, Split
from datasets.tasks import Task

SPLITS = ("train", "test")
SAMPLES = 16  # read at a time: splits may be large, and memory-mapped
DTYPES = {
    "classes": (torch.uint8,), "saliency": (torch.uint8,), "edge": (torch.uint8,),
    "depth": (torch.float16, torch.float32), "normals": (torch.int8,),
}  # fmt: skip


ROUNDING = 3.0  # of the length of a vector of three rounded, or cut off, components
FAR = 1000.0  # metres that no scene is away in the middle


class Subject:
    """A data set and its splits, read once."""

    def __init__(self, name: str, data: Path) -> None:
        self.dataset: Dataset = registry.open_dataset(name, data)
        self.size = self.dataset.default_size
        self.splits = {name: self.dataset.split(name, self.size) for name in SPLITS}


def check(name: str, data: Path) -> Iterator[Finding]:
    """The findings of all checks. Raises the data set's own `UserError` where its data are not here."""
    try:
        subject = Subject(name, data)
    except UserError:
        raise
    except Exception as error:
        yield Finding("reading", "Both splits can be read", f"{type(error).__name__}: {error}")
        return
    for each in CHECKS:
        reason = ""
        try:
            each(subject)
        except Broken as broken:
            reason = str(broken)
        except UserError:
            raise
        except Exception as error:  # the data set's own, whatever it is
            reason = f"{type(error).__name__}: {error}"
        about = " ".join((each.__doc__ or "").split()).removesuffix(".")
        yield Finding(each.__name__.replace("_", " "), about, reason)


def description(subject: Subject) -> None:
    """Name, variant, summary, source and licence are given, and tasks stand under their own names."""
    dataset = subject.dataset
    for key in ("name", "variant", "summary", "source", "licence"):
        if not (isinstance(getattr(dataset, key, None), str) and getattr(dataset, key)):
            raise Broken(f"{key} is not a text")
    if not dataset.variant.startswith(dataset.name):
        raise Broken(f"variant {dataset.variant!r} does not start with the name {dataset.name!r}")
    for name, task in dataset.tasks.items():
        if not isinstance(task, Task) or task.name != name:
            raise Broken(f"tasks[{name!r}] is not a Task called {name!r}")


def shapes(subject: Subject) -> None:
    """Images are (N, 3, H, W) uint8 and every target (N, C, H, W) in its kind's compact dtype."""
    for where, split in subject.splits.items():
        if not len(split):
            raise Broken(f"{where} has no sample")
        _shapes(where, split, subject.dataset, subject.size)


def _shapes(where: str, split: Split, dataset: Dataset, size: tuple[int, int]) -> None:
    count = len(split)
    _same(f"{where} images", split.images, (count, 3, *size), (torch.uint8,))
    if list(split.targets) != list(dataset.tasks):
        raise Broken(f"{where} has targets {list(split.targets)}, not {list(dataset.tasks)} in that order")
    for name, task in dataset.tasks.items():
        _same(f"{where} {name}", split.targets[name], (count, task.target_channels, *size), DTYPES[task.kind])
        if split.targets[name].requires_grad:
            raise Broken(f"{where} {name} requires a gradient; detach it")
    _same(f"{where} available", split.available, (count, len(split.targets)), (torch.bool,))
    if len(split.names) != count:
        raise Broken(f"{where} has {len(split.names)} names for {count} samples")


def sizes(subject: Subject) -> None:
    """Another size gives images and targets of that size, with another fingerprint, or is refused."""
    other = (max(32, subject.size[0] // 2), max(32, subject.size[1] // 2))
    for where in SPLITS:
        try:
            small = subject.dataset.split(where, other, 2)
        except UserError:  # packed data are there at the sizes that were prepared
            continue
        _shapes(f"{where} at {other[0]}x{other[1]}", small, subject.dataset, other)
        if (
            other != subject.size
            and small.fingerprint == subject.dataset.split(where, subject.size, 2).fingerprint
        ):
            raise Broken(f"{where} has one fingerprint for two sizes")


def values(subject: Subject) -> None:
    """Class maps hold classes or 255, depth metres, normals 127 times unit vectors; what is available has a
    labelled pixel.
    """
    for where, split in subject.splits.items():
        for t, (name, task) in enumerate(subject.dataset.tasks.items()):
            seen = _Seen(f"{where} {name}", task)
            for rows in _blocks(split):
                target = split.targets[name][rows]
                seen.look(target)
                differs = task.valid(target).flatten(1).any(1) != split.available[rows, t]
                if differs.any():
                    row = rows.start + int(differs.nonzero()[0])
                    says = (
                        "available without a labelled pixel"
                        if split.available[row, t]
                        else "labelled but not available"
                    )
                    raise Broken(f"{where} {name} of sample {split.names[row]!r} is {says}")
            seen.done()


class _Seen:
    """The values of one task of one split, looked at block by block."""

    def __init__(self, what: str, task: Task) -> None:
        self.what, self.task = what, task
        self.medians: list[Tensor] = []  # of depth
        self.least: list[int] = []  # of normals' components

    def look(self, target: Tensor) -> None:
        """Raise `Broken` for a value that cannot be: target (N, C, H, W)."""
        known = self.task.valid(target)
        if self.task.is_map_of_integers:
            most = self.task.channels if self.task.kind == "classes" else 2
            odd = target[(target >= most) & known]
            if odd.numel():
                raise Broken(
                    f"{self.what} holds {int(odd[0])}, which is neither one of {most} classes nor "
                    f"{self.task.ignore}"
                )
        elif self.task.kind == "depth":
            if not bool((torch.isfinite(target) & (target >= 0)).all()):
                raise Broken(f"{self.what} holds values that are negative or not finite")
            self.medians += [target[known].float().median()] if known.any() else []
        else:
            lengths = target.float().square().sum(1, keepdim=True).sqrt()[known]
            odd = lengths[(lengths - 127).abs() > ROUNDING]
            if odd.numel():
                raise Broken(
                    f"{self.what} holds a vector of length {float(odd[0]):.0f}, which is neither 127 nor 0"
                )
            self.least += [int(target.min())] if known.any() else []

    def done(self) -> None:
        """Raise `Broken` for values that cannot be as a whole."""
        if (
            self.medians
            and not self.task.inverse
            and (middle := float(torch.stack(self.medians).median())) > FAR
        ):
            raise Broken(
                f"{self.what} has a median of {middle:.0f}, which looks like millimetres; give metres"
            )
        if self.least and min(self.least) >= 0:
            raise Broken(f"{self.what} holds no negative component, so they look like (n + 1) / 2; give n")


def _blocks(split: Split) -> Iterator[slice]:
    return (slice(start, start + SAMPLES) for start in range(0, len(split), SAMPLES))


def samples(subject: Subject) -> None:
    """Ids and names tell samples of a split apart, and no image is in both splits, under whatever name."""
    for where, split in subject.splits.items():
        if (
            split.ids.dtype != torch.int64
            or len(split.ids.unique()) != len(split)
            or len(set(split.names)) != len(split)
        ):
            raise Broken(f"{where} has ids that are not int64 or not unique, or names that are not unique")
        if bool((split.ids < 0).any()):
            raise Broken(f"{where} has the negative id {int(split.ids.min())}; number samples from 0")
    train, test = (subject.splits[name] for name in SPLITS)
    tested = {_digest(image) for image in test.images}
    for name, image in zip(train.names, train.images, strict=True):
        if _digest(image) in tested:
            raise Broken(f"the image of train sample {name!r} is in test, too")
    if train.fingerprint == test.fingerprint:
        raise Broken("train and test have one fingerprint; hash what each of them holds, labels too")


def _digest(image: Tensor) -> bytes:
    return hashlib.sha256(image.contiguous().numpy().data).digest()


def repeatable(subject: Subject) -> None:
    """Reading again gives the same bits and fingerprint; a part of a split is its first samples, with ids of
    their own.
    """
    for where, split in subject.splits.items():
        count = max(1, min(SAMPLES, len(split) - 1))
        part, again = (subject.dataset.split(where, subject.size, count) for _ in range(2))
        if again.fingerprint != part.fingerprint or not _equal(again, part, count):
            raise Broken(f"reading {where} twice gives two contents or fingerprints")
        if len(part) != count or not _equal(part, split, count):
            raise Broken(f"the first {count} samples of {where} are not those that a limit gives")
        if count < len(split) and part.fingerprint == split.fingerprint:
            raise Broken(f"{where} has one fingerprint for {count} and for {len(split)} samples")


def _equal(a: Split, b: Split, count: int) -> bool:
    pairs: list[tuple[Any, Any]] = [(a.images, b.images), (a.ids, b.ids), (a.available, b.available)]
    pairs += [(a.targets[name], b.targets[name]) for name in b.targets]
    return (
        all(torch.equal(one[:count], two[:count]) for one, two in pairs)
        and a.names[:count] == b.names[:count]
    )


def _same(what: str, found: Tensor, shape: tuple[int, ...], dtypes: tuple[torch.dtype, ...]) -> None:
    if tuple(found.shape) != shape or found.dtype not in dtypes:
        kinds = " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
        raise Broken(
            f"{what} is {tuple(found.shape)} {str(found.dtype).removeprefix('torch.')}, not {shape} {kinds}"
        )


CHECKS: tuple[Callable[[Subject], None], ...] = (
    description, shapes, sizes, values, samples, repeatable,
)  # fmt: skip
