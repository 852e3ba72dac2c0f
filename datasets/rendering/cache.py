"""Rendered samples, a file each, written whole or not at all, and checked by hash when read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from benchmark.errors import UserError
from benchmark.files import read_arrays, replacing

Arrays = dict[str, np.ndarray]


def load(
    folder: Path, like: Arrays, count: int, make: Callable[[int], Arrays], done: Callable[[int], None]
) -> tuple[Arrays, list[str]]:
    """Return the samples 0 ... `count` - 1 of one split at one size, stacked, and their hashes.

    like: arrays of the dtypes and shapes of a sample's. `make(i)` renders what is missing, truncated or
    altered; `done(n)` hears of each. Processes may share a folder: a file appears by rename, complete, and
    every process would write the same bytes. Raises `UserError` when it cannot be written.
    """
    limit = 4096 + sum(values.nbytes + 4096 for values in like.values())
    samples, digests = list[Arrays](), list[str]()
    for i in range(count):
        path = folder / f"room-{i:05d}.npz"
        try:
            found = read_arrays(path, limit)
            sample = {name: found[name] for name in like}
            fits = all((sample[n].dtype, sample[n].shape) == (v.dtype, v.shape) for n, v in like.items())
            intact = fits and found["sha256"].tobytes() == _digest(sample.values())
        except (OSError, ValueError, KeyError):
            intact = False
        if not intact:
            made = make(i)
            sample = {name: made[name] for name in like}
            _write(path, sample)
        samples.append(sample)
        digests.append(_digest(sample.values()).hex())
        done(i + 1)
    return {name: np.stack([sample[name] for sample in samples]) for name in like}, digests


def _digest(arrays: Iterable[np.ndarray]) -> bytes:
    content = hashlib.sha256()
    for values in arrays:
        content.update(np.ascontiguousarray(values).data)
    return content.digest()


def _write(path: Path, sample: Arrays) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as draft, draft.open("wb") as file:
            np.savez(file, sha256=np.frombuffer(_digest(sample.values()), np.uint8), **sample)  # type: ignore
    except OSError as error:
        raise UserError(
            f"cannot write rendered scenes to {path.parent}: {error.strerror or error}; "
            "choose a writable data folder with --data DIR or BENCH_DATA, or make room there."
        ) from error
