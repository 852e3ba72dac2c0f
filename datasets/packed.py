"""The memory-mapped store that data sets of files are packed into: one folder for a data set at a size.

    <data>/<variant>/<H>x<W>/  train-image.npy train-<task>.npy ... train-extent.npy, the same of test,
    manifest.json

Fixed shapes and compact dtypes, one array a file, so that a sample is one slice. A store is made in a folder
beside its place and renamed when its manifest, written last, is complete: what is there is whole.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from benchmark.errors import UserError
from datasets.fit import Fit
from datasets.layouts.base import Array, Source
from datasets.packing import Arrays, Progress, pack
from datasets.tasks import as_dict

FORMAT = 1
SPLITS = ("train", "test")


class Store:
    """Open a store on disk.

    Raises `UserError` for a manifest that is damaged or of another version of this program.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = _manifest(folder / "manifest.json", (folder / "manifest.json").stat().st_mtime_ns)

    @property
    def variant(self) -> str:
        """Name the data and their labels."""
        return str(self.manifest["variant"])

    @property
    def size(self) -> tuple[int, int]:
        """Return the (H, W) of its frames."""
        height, width = self.manifest["size"]
        return int(height), int(width)

    def arrays(self, split: str) -> Arrays:
        """Map a split's arrays into memory.

        Raises `UserError` naming a file that is missing, truncated or was changed. A file whose time of
        change is not the manifest's is read once and its hash compared.
        """
        entry = self.manifest["splits"][split]
        values = {}
        for name, file in entry["files"].items():
            path = self._intact(split, name)
            values[name] = np.load(path, mmap_mode="c") if file["bytes"] > 4096 else np.load(path)
        return Arrays(tuple(entry["names"]), values, tuple(entry["digests"]))

    def _intact(self, split: str, name: str) -> Path:
        path, file = self.folder / f"{split}-{name}.npy", self.manifest["splits"][split]["files"][name]
        try:
            found = path.stat()
        except OSError as error:
            raise UserError(f"{path} could not be read ({error.strerror}); {self._cure}.") from None
        if found.st_size != file["bytes"]:
            sizes = f"{found.st_size} bytes, not the {file['bytes']} that were packed"
            raise UserError(f"{path} has {sizes}; {self._cure}.")
        if found.st_mtime_ns != file["mtime_ns"] and file_hash(path) != file["sha256"]:
            raise UserError(f"{path} was changed since it was packed; {self._cure}.")
        return path

    @property
    def _cure(self) -> str:
        return f"prepare {self.folder} again with `bench data prepare ... --force`"

    def verify(self, progress: Progress = lambda done, wanted: None) -> list[str]:
        """Read everything; a sentence for each file that is not as packed."""
        found = []
        splits = self.manifest["splits"]
        files = [(split, name) for split in splits for name in splits[split]["files"]]
        for i, (split, name) in enumerate(files):
            try:
                path = self._intact(split, name)
                if file_hash(path) != splits[split]["files"][name]["sha256"]:
                    found.append(f"{path} is damaged: its content is not what was packed; {self._cure}.")
            except UserError as error:
                found.append(str(error))
            progress(i + 1, len(files))
        return found


@functools.lru_cache(maxsize=64)
def _manifest(path: Path, changed: int) -> dict[str, Any]:
    cure = f"remove {path.parent} and prepare the data again with `bench data prepare`"
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = content["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({' '.join(str(error).split())}); {cure}.") from None
    if version != FORMAT:
        ours = f"this version of bench reads format {FORMAT}"
        raise UserError(f"{path} was written in format {version}, and {ours}; {cure}.")
    wanted = {"dataset": str, "variant": str, "size": list, "tasks": list, "splits": dict, "layout": str}
    for key, kind in wanted.items():
        if not isinstance(content.get(key), kind):
            raise UserError(f"{path} is damaged ({key} is missing or of the wrong kind); {cure}.")
    return content


def find(data: Path, dataset: str) -> list[Store]:
    """Return a data set's stores in a data folder, by their paths."""
    # A variant's name starts with the data set's; whatever else lies in the data folder is not looked at.
    folders = sorted(path.parent for path in data.glob(f"{dataset}*/[0-9]*x[0-9]*/manifest.json"))
    return [store for store in map(Store, folders) if store.manifest["dataset"] == dataset]


def file_hash(path: Path) -> str:
    """Compute a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def prepare(
    source: Source,
    data: Path,
    dataset: str,
    variant: str,
    size: tuple[int, int],
    how: Fit,
    *,
    replace: bool = False,
    progress: Callable[[str, int, int], None] = lambda split, done, wanted: None,
) -> tuple[Store, bool]:
    """Pack a source at a size; the store, and whether it was packed now.

    A store that holds the same samples is left as it is. Interrupted, nothing is left in its place, and the
    next call starts clean. Raises `UserError` when the store there holds other samples and is not to be
    replaced, when another process is packing it, and when writing fails.
    """
    folder = data / variant / f"{size[0]}x{size[1]}"
    draft = folder.with_name(f".{folder.name}.part")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f".{folder.name}.lock", timeout=0):
            # Without a manifest a replacement was killed between the old and the new.
            whole = (folder / "manifest.json").is_file()
            old, state = Store(folder) if whole and not replace else None, _state(source, folder)
            if old:
                _check_samples(old, source, how)
                if old.manifest.get("state") == state:
                    for split in SPLITS:
                        old.arrays(split)  # names what is damaged
                    return old, False
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            try:
                splits = {split: _pack_split(source, split, draft, size, how, progress) for split in SPLITS}
                manifest = {
                    "format": FORMAT, "dataset": dataset, "variant": variant, "layout": source.layout,
                    "size": list(size), "fit": how, "tasks": list(source.tasks),
                    "notes": list(source.notes), "splits": splits,
                    "definitions": {name: as_dict(task) for name, task in source.tasks.items()},
                    "state": state,
                }  # fmt: skip
                _check_apart(source, splits)
                if old:  # files of other times, such as a copy's: what they hold decides
                    return _renewed(old, source, splits, state), False
                (draft / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
                shutil.rmtree(folder, ignore_errors=True)
                draft.rename(folder)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    except Timeout:
        cure = "wait for it, or end it and try again"
        raise UserError(f"another process is preparing {folder}; {cure}.") from None
    except OSError as error:
        cure = "make room there, or name another folder with --data DIR"
        raise UserError(f"cannot write {folder}: {error.strerror or error}; {cure}.") from error
    return Store(folder), True


def _renewed(store: Store, source: Source, splits: dict[str, Any], state: str) -> Store:
    """The store, if what was packed just now is what it holds; a `UserError` otherwise."""
    if any(splits[split]["digests"] != store.manifest["splits"][split]["digests"] for split in SPLITS):
        raise UserError(
            f"{store.folder} is prepared already, from files that held something else than {source.path} "
            f"does now; --force replaces it (runs on it then need --force too), --variant NAME keeps both."
        )
    draft = store.folder / ".manifest.json"
    draft.write_text(json.dumps(store.manifest | {"state": state}, indent=1) + "\n", encoding="utf-8")
    draft.replace(store.folder / "manifest.json")
    return Store(store.folder)


def _check_apart(source: Source, splits: dict[str, Any]) -> None:
    """Raise `UserError` if a sample is in both splits: what is tested on was trained on."""
    train, test = (dict(zip(splits[s]["digests"], splits[s]["names"], strict=True)) for s in SPLITS)
    both = [(test[digest], train[digest]) for digest in test if digest in train]
    if both:
        raise UserError(
            f"{source.path} has {len(both)} of its test samples among its train samples, such as "
            f"{both[0][0]}, which is {both[0][1]}; give folders or lists that share no image."
        )


def _check_samples(store: Store, source: Source, how: Fit) -> None:
    """Raise `UserError` unless the store was made from samples, tasks and a layout like the source's."""
    folder, keep = store.folder, "--force replaces it, --variant NAME keeps both"
    has = {split: tuple(store.manifest["splits"][split]["names"]) for split in SPLITS}
    wants = {split: source.names(split) for split in SPLITS}
    if store.manifest["tasks"] != list(source.tasks):
        tasks = " and ".join(", ".join(names) for names in (store.manifest["tasks"], source.tasks))
        raise UserError(f"{folder} is prepared already, with other tasks ({tasks}); {keep}.")
    if has == wants and store.manifest["fit"] == how and store.manifest["layout"] == source.layout:
        return
    counts = [" + ".join(str(len(names[split])) for split in SPLITS) for names in (has, wants)]
    raise UserError(
        f"{folder} is prepared already, from {store.manifest['layout']} with {counts[0]} images "
        f"({store.manifest['fit']}), not from {source.layout} with {counts[1]} ({how}); {keep}."
    )


def _state(source: Source, folder: Path) -> str:
    """What tells files from those that were packed: names, sizes and times of all that lies at the source.

    The store's `folder`, or all of the data folder, may lie inside of it and is not the source's.
    """
    root = source.path.resolve()
    places = (folder.parent.resolve(), folder.parent.parent.resolve())
    own = [place for place in places if place != root and root in place.parents]
    files = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    files = [path for path in files if not any(place in path.parents for place in own)]
    found = [(str(path.relative_to(root)), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16]


def _pack_split(
    source: Source,
    split: str,
    folder: Path,
    size: tuple[int, int],
    how: Fit,
    progress: Callable[[str, int, int], None],
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
    return {"names": list(arrays.names), "digests": list(arrays.digests), "files": files}
