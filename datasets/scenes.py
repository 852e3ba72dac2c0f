"""Rendered rooms with exact labels for six tasks, made on the spot, in any number at any size.

They are kept in a folder of chunk files, written whole or not at all, and checked by hash when read.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from benchmark.errors import UserError, unknown
from benchmark.files import read_arrays, replacing
from benchmark.streams import seed_of
from datasets.base import Split
from datasets.rendering.furniture import CLASSES, PARTS
from datasets.rendering.render import render
from datasets.tasks import Task, depth, edge, normals, parts, saliency, semseg

# What photographs of other places look like: colours of the light, mist that hides what is far, no colour.
STYLES = ("evening", "mist", "grey")
VERSION = 1  # of the generator; a change of any pixel or label needs a new one
CHUNK = 32  # samples a file of the cache
Arrays = dict[str, np.ndarray]
SIZES = {"train": 640, "test": 160}  # of the splits, unless a limit asks for another number


class Cache:
    """Keep samples 0, 1, 2, ... of one split at one size in chunk files.

    none: each array of no sample, which says their dtypes and shapes. Chunk k holds the first so many of
    samples 32 k to 32 k + 31. Every file carries the SHA-256 of each of its samples; a truncated or altered
    file is rendered anew. Processes may share a folder: a file appears by rename, complete, and every process
    would write the same bytes.
    """

    def __init__(self, folder: Path, none: Arrays) -> None:
        self.folder = folder
        self.none = none | {"sha256": np.empty((0, 32), np.uint8)}

    def load(
        self, count: int, make: Callable[[int], Arrays], done: Callable[[int], None]
    ) -> tuple[Arrays, list[str]]:
        """Return the first `count` samples, stacked, and their hashes.

        `make(i)` renders what is missing and `done(n)` hears of it. Raises `UserError` when a chunk that is
        missing cannot be written.
        """
        chunks: list[Arrays] = []
        for start in range(0, count, CHUNK):
            wanted = min(CHUNK, count - start)
            have = self._read(start // CHUNK)
            present = len(have["sha256"])
            if present < wanted:
                made = []
                for i in range(start + present, start + wanted):
                    sample = make(i)
                    made.append(sample | {"sha256": np.frombuffer(self._digest(sample), dtype=np.uint8)})
                    done(i + 1)
                new = {name: np.stack([sample[name] for sample in made]) for name in have}
                have = {name: np.concatenate([have[name], new[name]]) for name in have}
                self._write(start // CHUNK, have)
            else:
                done(start + wanted)
            chunks.append({name: values[:wanted] for name, values in have.items()})
        arrays = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in self.none}
        return arrays, [digest.tobytes().hex() for digest in arrays.pop("sha256")]

    def _digest(self, sample: Arrays) -> bytes:
        content = hashlib.sha256()
        for name in self.none:
            if name != "sha256":
                content.update(np.ascontiguousarray(sample[name]).data)
        return content.digest()

    def _path(self, chunk: int) -> Path:
        return self.folder / f"{chunk:05d}.npz"

    def _read(self, chunk: int) -> Arrays:
        """What is intact of a chunk: all of it or nothing."""
        try:
            one = sum(math.prod(values.shape[1:]) * values.itemsize + 4096 for values in self.none.values())
            content = read_arrays(self._path(chunk), CHUNK * one)
            arrays = {name: content[name] for name in self.none}
        except (OSError, ValueError, KeyError):
            return self.none
        count = len(arrays["sha256"])
        for name, values in arrays.items():
            if (values.dtype, values.shape) != (self.none[name].dtype, (count, *self.none[name].shape[1:])):
                return self.none
        samples = ({name: values[i] for name, values in arrays.items()} for i in range(count))
        intact = all(sample["sha256"].tobytes() == self._digest(sample) for sample in samples)
        return arrays if intact else self.none

    def _write(self, chunk: int, arrays: Arrays) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(self._path(chunk)) as draft, draft.open("wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
        except OSError as error:
            raise UserError(
                f"cannot write rendered scenes to {self.folder}: {error.strerror or error}; "
                "choose a writable data folder with --data DIR or BENCH_DATA, or make room there."
            ) from error


class Scenes:
    """Render furnished rooms.

    Sample i of a split depends on the split's name, i, the size and `VERSION` alone, and shows the same room
    at every size; train and test are drawn from different random streams. `scenes-STYLE` has other rooms, in
    one of `STYLES`. progress: called as progress(done, wanted) while a split is rendered or read.
    """

    name: ClassVar[str] = "scenes"
    summary: ClassVar[str] = (
        "rendered rooms: 13 classes, depth, normals, edges, saliency and figure parts, all exact"
    )
    source: ClassVar[str] = "generated by this program; nothing to download"
    licence: ClassVar[str] = "that of this program"
    default_size = (96, 128)

    def __init__(self, data: Path, wanted: str = "") -> None:
        style = wanted.rpartition("-")[2]
        self.style = style if style in STYLES else ""
        styled = [f"{self.name}-{style}" for style in STYLES]
        if wanted not in ("", self.name, self.variant, *styled):
            raise unknown(f"variant of {self.name}", wanted, [self.variant, *styled])
        self.folder = Path(data) / "scenes" / (f"v{VERSION}-{self.style}" if self.style else f"v{VERSION}")
        self.progress: Callable[[int, int], None] | None = None

    @property
    def variants(self) -> tuple[str, ...]:
        """Name all that can be made."""
        plain = f"{self.name}-v{VERSION}"
        return (plain, *(f"{plain}-{style}" for style in STYLES))

    @property
    def variant(self) -> str:
        """Name the generator's version, and the style."""
        return f"scenes-v{VERSION}" + (f"-{self.style}" if self.style else "")

    def present(self) -> bool:
        """Tell that rooms can always be made."""
        return True

    def here(self) -> tuple[str, ...]:
        """Say that they are made when needed."""
        return (f"{self.variant}, made when needed",)

    @property
    def tasks(self) -> dict[str, Task]:
        """Return all six tasks."""
        tasks = (semseg(CLASSES), depth(), normals(), edge(), saliency(), parts(PARTS))
        return {task.name: task for task in tasks}

    def split(self, name: str, size: tuple[int, int], limit: int | None = None) -> Split:
        """Render or read a split's first `limit` rooms at (H, W).

        None: 640 of "train", 160 of "test". Labels exist for all tasks, except parts where no figure is in
        view: there the target is 255 throughout. Raises `UserError` for an unknown split, an impossible size
        or limit, and a data folder that cannot be written.
        """
        if name not in SIZES:
            raise unknown("split of scenes", name, SIZES)
        count = SIZES[name] if limit is None else limit
        height, width = size
        if count < 1:
            raise UserError(f"scenes: limit is {limit}; expected at least 1 image.")
        if min(size) < 8:
            raise UserError(f"scenes: size is {height}x{width}; expected at least 8x8 pixels.")

        def make(i: int) -> Arrays:
            with _one_thread():
                made = {key: value.numpy() for key, value in render(_seed(name, i, self.style), size).items()}
            return made | {"image": styled(made["image"], made["depth"], self.style)}

        def done(n: int) -> None:
            if self.progress:
                self.progress(n, count)

        none = {"image": np.empty((0, 3, *size), np.uint8)}
        for task in self.tasks.values():
            none[task.name] = torch.empty(0, task.target_channels, *size, dtype=task.maps.stored).numpy()
        arrays, digests = Cache(self.folder / f"{name}-{height}x{width}", none).load(count, make, done)
        targets = {task: torch.from_numpy(arrays[task]) for task in self.tasks}
        known = [task.valid(targets[name]).flatten(1).any(1) for name, task in self.tasks.items()]
        return Split(
            ids=torch.arange(count),
            names=tuple(f"{name}-{i:05d}" for i in range(count)),
            images=torch.from_numpy(arrays["image"]),
            targets=targets,
            available=torch.stack(known, 1),
            fingerprint=hashlib.sha256(
                "\n".join([self.variant, name, f"{height}x{width}", *digests]).encode()
            ).hexdigest(),
        )


def _seed(split: str, i: int, style: str = "") -> int:
    return seed_of(VERSION, f"scenes/{split}" + (f"/{style}" if style else ""), i)


def styled(image: np.ndarray, depth: np.ndarray, style: str) -> np.ndarray:
    """Repaint an image (3, H, W) uint8 in a style; depth: (1, H, W) metres. "" leaves it as it is."""
    wide = image.astype(np.float32)
    if style == "evening":
        wide *= np.array([0.85, 0.6, 0.4], np.float32)[:, None, None]
    elif style == "mist":
        clear = np.exp(-depth.astype(np.float32) / 6)
        wide = wide * clear + 200 * (1 - clear)
    elif style == "grey":
        wide = np.broadcast_to(wide.mean(0), wide.shape)
    return np.rint(wide).clip(0, 255).astype(np.uint8) if style else image


@contextmanager
def _one_thread() -> Iterator[None]:
    """Rendering is many small operations: on several threads they wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
