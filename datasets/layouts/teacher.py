"""A teacher's maps of a task, as files: which of them are read, and what they are known by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from benchmark.files import file_hash
from datasets.layouts.base import reading


def variant(maps: Mapping[str, Mapping[str, Path]], names: Iterable[str]) -> str:
    """Return `-teacher-` and 8 hex digits of what the maps of these images hold, by task and image.

    maps: {task: {image: file}}. Raises `UserError` for a file that cannot be read.
    """
    named = [(f"{task} {name}", of[name]) for name in names for task, of in maps.items() if name in of]
    with reading(Path()):
        found = [(name, path, path.stat()) for name, path in named]
        lines = [f"{name} {_hash(path, at.st_size, at.st_mtime_ns)}" for name, path, at in found]
    return "-teacher-" + hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]


@lru_cache(maxsize=2**17)
def _hash(path: Path, size: int, changed: int) -> str:
    """The file's SHA-256, read once a process for as long as it is not written."""
    return file_hash(path)
