"""Pack a source into a store: whole or not at all, by one process at a time, and over nothing else."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from benchmark.errors import UserError, shown
from benchmark.files import file_hash, replacing
from datasets.fit import Fit
from datasets.layouts.base import Array, Source, reading
from datasets.packed import FORMAT, SPLITS, Store, write
from datasets.packing import pack
from datasets.tasks import as_dict

Progress = Callable[[str, int, int], None]  # split, done, wanted


def prepare(
    source: Source,
    data: Path,
    dataset: str,
    variant: str,
    size: tuple[int, int],
    how: Fit,
    *,
    replace: bool = False,
    progress: Progress = lambda split, done, wanted: None,
) -> tuple[Store, bool]:
    """Pack a source at a size; the store, and whether it was packed now.

    A store that holds the same samples is left as it is. Interrupted, nothing is left in its place, and the
    next call starts clean. Raises `UserError` when the store there holds other samples and is not to be
    replaced, when another process is packing it, and when writing fails.
    """
    folder = data / variant / f"{size[0]}x{size[1]}"
    try:
        with _drafting(folder) as draft:
            whole = (folder / "manifest.json").is_file()
            if folder.exists() and not whole and not replace and any(folder.iterdir()):
                cure = "give another --data DIR, or --force to remove it"
                raise UserError(f"{folder} is no prepared data, as it has no manifest.json; {cure}.")
            old = Store(folder) if whole and not replace else None
            with reading(source.path):
                state = _state(source, folder)
            if old:
                _check_samples(old, source, how)
                if old.manifest.get("state") == state:
                    for split in SPLITS:
                        old.arrays(split)  # names what is damaged
                    return old, False
            splits = {split: _pack_split(source, split, draft, size, how, progress) for split in SPLITS}
            manifest = {
                "format": FORMAT, "dataset": dataset, "variant": variant, "layout": source.layout,
                "size": list(size), "fit": how, "tasks": list(source.tasks),
                "notes": list(source.notes), "splits": splits,
                "definitions": {name: as_dict(task) for name, task in source.tasks.items()},
                "state": state,
            } | ({"joins": list(source.joins)} if source.joins else {})  # fmt: skip
            _check_apart(source, splits)
            if old:  # files of other times, such as a copy's: what they hold decides
                return _renewed(old, source, manifest), False
            write(draft / "manifest.json", manifest)
            if folder.exists():
                folder.rename(_former(folder))
            draft.rename(folder)
    except Timeout:
        cure = "wait for it, or end it and try again"
        raise UserError(f"another process is preparing {folder}; {cure}.") from None
    except OSError as error:
        cure = "make room there, or name another folder with --data DIR"
        raise UserError(f"cannot write {folder}: {error.strerror or error}; {cure}.") from error
    return Store(folder), True


def _former(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


@contextmanager
def _drafting(folder: Path) -> Iterator[Path]:
    """Give a new folder beside `folder`, of which nothing is left in the end; alone, else `Timeout`."""
    draft, lock = folder.with_name(f".{folder.name}.part"), folder.with_name(f".{folder.name}.lock")
    made = [place for place in (folder.parent, folder.parent.parent) if not place.exists()]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock, timeout=0):
        try:
            if not folder.exists() and _former(folder).exists():  # killed between two renames
                _former(folder).rename(folder)
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            yield draft
        finally:
            for rest in (draft, _former(folder)):
                shutil.rmtree(rest, ignore_errors=True)
            if not folder.exists():
                lock.unlink(missing_ok=True)
                with suppress(OSError):  # where there is something else
                    for place in made:
                        place.rmdir()


def _renewed(store: Store, source: Source, manifest: dict[str, Any]) -> Store:
    """The store, if what was packed just now is what it holds; a `UserError` otherwise."""
    splits = manifest["splits"]
    if any(splits[split]["digests"] != store.manifest["splits"][split]["digests"] for split in SPLITS):
        held = f"is prepared already, from files that held something else than {source.path} does now"
        cure = "--force replaces it (runs on it then need --force too), --variant NAME keeps both"
        raise UserError(f"{store.folder} {held}; {cure}.")
    kept = {key: value for key, value in store.manifest.items() if key != "joins"}
    kept |= {key: manifest[key] for key in ("state", "joins") if key in manifest}
    with replacing(store.folder / "manifest.json") as draft:
        write(draft, kept)
    return Store(store.folder)


def _check_apart(source: Source, splits: dict[str, Any]) -> None:
    """Raise `UserError` if a sample is in both splits: what is tested on was trained on."""
    train, test = (  # without a teacher's maps, which only train samples have
        {digest[:16]: name for digest, name in zip(splits[s]["digests"], splits[s]["names"], strict=True)}
        for s in SPLITS
    )
    if both := [(test[digest], train[digest]) for digest in test if digest in train]:
        found = f"{len(both)} of its test samples among its train samples, such as {both[0][0]}"
        cure = "give folders or lists that share no image"
        raise UserError(f"{source.path} has {found}, which is {both[0][1]}; {cure}.")


def _check_samples(store: Store, source: Source, how: Fit) -> None:
    """Raise `UserError` unless the store was made from samples, tasks and a layout like the source's."""
    old, has = store.manifest, {split: tuple(store.manifest["splits"][split]["names"]) for split in SPLITS}
    wants = {split: source.names(split) for split in SPLITS}

    def images(names: dict[str, tuple[str, ...]], layout: str, fit: str) -> str:
        return f"{layout} with {' + '.join(str(len(names[split])) for split in SPLITS)} images ({fit})"

    known = {name: task["classes"] for name, task in old.get("definitions", {}).items()}
    classes = {name: list(task.classes) for name, task in source.tasks.items() if name in known}
    for what, before, now in (
        ("tasks", old["tasks"], list(source.tasks)),
        ("classes", known, classes),
        ("images", images(has, old["layout"], old["fit"]), images(wants, source.layout, how)),
        ("splits", sorted({*has["test"]} - {*wants["test"]}), sorted({*wants["test"]} - {*has["test"]})),
        ("names or order", has, wants),
    ):
        if before != now:
            apart = f"{shown(before)}, not {shown(now)}"
            keep = "--force replaces it, --variant NAME keeps both"
            raise UserError(f"{store.folder} is prepared already, with other {what}: {apart}; {keep}.")


def _state(source: Source, folder: Path) -> str:
    """Hash names, sizes and times of all that lies at the source, but for a store that lies in it."""
    root = source.path.resolve()
    places = (folder.parent.resolve(), folder.parent.parent.resolve())
    own = [place for place in places if place != root and root in place.parents]
    files = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    files = [path for path in files if not any(place in path.parents for place in own)]
    found = [(str(path.relative_to(root)), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16]


def _pack_split(
    source: Source, split: str, folder: Path, size: tuple[int, int], how: Fit, progress: Progress
) -> dict[str, Any]:
    """Write a split's files and return its entry in the manifest."""

    def allocate(name: str, dtype: np.dtype, shape: tuple[int, ...]) -> Array:
        path = folder / f"{split}-{name}.npy"
        mapped: Array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        # A full disk fails here, and not as a signal while the map is written.
        if hasattr(os, "posix_fallocate"):
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        return mapped

    said = functools.partial(progress, split)
    arrays = pack(source, split, source.tasks, size, how, allocate=allocate, progress=said)
    for values in arrays.values.values():
        values.flush()  # type: ignore[attr-defined]
    files = {}
    for name in arrays.values:
        path = folder / f"{split}-{name}.npy"
        found = path.stat()
        files[name] = {"sha256": file_hash(path), "bytes": found.st_size, "mtime_ns": found.st_mtime_ns}
    names, digests = list(arrays.names), list(arrays.digests)
    return {"names": names, "digests": digests, "files": files, "remarks": arrays.remarks}
