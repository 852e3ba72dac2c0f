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
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from msgspec import Meta, Struct

from benchmark.errors import UserError, reason
from benchmark.files import file_hash, read_json
from benchmark.typed import convert
from datasets.fit import Fit
from datasets.layouts.base import TEACHER
from datasets.packing import Arrays, Progress

FORMAT = 1
SPLITS = ("train", "test")
Side = Annotated[int, Meta(ge=1, le=2**15)]


class File(Struct):
    """An array of a split."""

    sha256: str
    bytes: int
    mtime_ns: int


class Packed(Struct):
    """A split."""

    names: list[str]
    digests: list[str]
    files: dict[str, File]
    remarks: dict[str, tuple[int, str]] = {}


class Splits(Struct):
    """Both splits."""

    train: Packed
    test: Packed


class Manifest(Struct):
    """What a store's manifest must say, as far as every store does."""

    format: int
    dataset: str
    variant: str
    layout: str
    size: tuple[Side, Side]
    fit: Fit
    tasks: list[str]
    splits: Splits


class Store:
    """Open a store on disk. Raises `UserError` for a manifest that is damaged or of another version."""

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

    @property
    def teachers(self) -> tuple[str, ...]:
        """Name the tasks of which train samples have a teacher's maps."""
        files = self.manifest["splits"]["train"]["files"]
        return tuple(name for name in self.manifest["tasks"] if TEACHER + name in files)

    def arrays(self, split: str) -> Arrays:
        """Map a split's arrays into memory.

        Raises `UserError` naming a file that is missing, truncated or was changed. A file whose time of
        change is not the manifest's is read once and its hash compared.
        """
        entry = self.manifest["splits"][split]
        values = {}
        for name, file in entry["files"].items():
            path = self._intact(split, name)
            try:
                values[name] = np.load(path, mmap_mode="c") if file["bytes"] > 4096 else np.load(path)
                if len(values[name]) != len(entry["names"]):
                    raise ValueError("it holds another number of samples")
            except (ValueError, SyntaxError, EOFError, TypeError) as error:
                raise UserError(f"{path} is damaged ({reason(error)[:120]}); {self._cure}.") from None
        return Arrays(tuple(entry["names"]), values, tuple(entry["digests"]))

    def _intact(self, split: str, name: str, whole: bool = False) -> Path:
        path, file = self.folder / f"{split}-{name}.npy", self.manifest["splits"][split]["files"][name]
        try:
            found = path.stat()
        except OSError as error:
            raise UserError(f"{path} could not be read ({error.strerror}); {self._cure}.") from None
        if found.st_size != file["bytes"]:
            sizes = f"{found.st_size} bytes, not the {file['bytes']} that were packed"
            raise UserError(f"{path} has {sizes}; {self._cure}.")
        touched = whole or found.st_mtime_ns != file["mtime_ns"]
        if touched and file_hash(path) != file["sha256"]:
            raise UserError(f"{path} is damaged: it was changed since it was packed; {self._cure}.")
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
                self._intact(split, name, whole=True)
            except UserError as error:
                found.append(str(error))
            progress(i + 1, len(files))
        return found


@functools.lru_cache(maxsize=64)
def _manifest(path: Path, changed: int) -> dict[str, Any]:
    cure = f"remove {path.parent} and prepare the data again with `bench data prepare`"
    content = read_json(path, cure)
    if type(content.get("format")) is int and content["format"] != FORMAT:
        ours = f"this version of bench reads format {FORMAT}"
        raise UserError(f"{path} was written in format {content['format']}, and {ours}; {cure}.")
    made = convert(content, Manifest, f"{path} is damaged", cure)
    wanted = {"image", "extent", "available", *made.tasks}
    more = made.splits.train.files.keys() - {TEACHER + name for name in made.tasks}
    whole = more == wanted == made.splits.test.files.keys()
    if not whole or sealed(content)["sha256"] != content.get("sha256", sealed(content)["sha256"]):
        raise UserError(f"{path} is damaged: it was changed since it was packed; {cure}.")
    return content


def sealed(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return a manifest with the hash of all that it says; earlier ones have none."""
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    return rest | {"sha256": hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()}


def write(path: Path, manifest: dict[str, Any]) -> None:
    """Write a manifest with its hash."""
    path.write_text(json.dumps(sealed(manifest), indent=1) + "\n", encoding="utf-8")


def find(data: Path, dataset: str) -> list[Store]:
    """Return a data set's stores in a data folder, by their paths."""
    # A variant's name starts with the data set's; whatever else lies in the data folder is not looked at.
    folders = sorted(path.parent for path in data.glob(f"{dataset}*/[0-9]*x[0-9]*/manifest.json"))
    return [store for store in map(Store, folders) if store.manifest["dataset"] == dataset]
