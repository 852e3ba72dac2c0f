"""Rendered samples in a folder of chunk files, written whole or not at all, and checked by hash when read."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmark.errors import UserError
from benchmark.files import read_arrays, replacing

CHUNK = 32  # samples a file
Arrays = dict[str, np.ndarray]


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
