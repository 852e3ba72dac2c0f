"""The papers' frozen label splits, from the user's copy of the authors' files.

Li, Liu, Bilen, "Learning Multiple Dense Prediction Tasks from Partially Annotated Data", CVPR 2022 (MTPSL),
publish one file for each data set and setting, which later papers copy byte for byte:
    *.pth  {"labels_weights": (N, T) 0/1}, row i for train image i: T = 3 for NYUv2, 2 for Cityscapes
    *.npy  {task: [image ids]} for PASCAL-Context, a pickled dict in an object array
Reading runs no code of theirs: tensors come through `read_tensors`, and of pickles the two files that the
papers share are read, known by their SHA-256. Which data set and setting a file is for follows from its
content, never from its name.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.errors import UserError
from benchmark.files import read_bytes, read_tensors, replacing
from datasets.layouts.files import opening

LARGEST = 16 * 2**20  # bytes of a file; the authors' have at most 1.2 MB
MOST = 100_000  # images
TASKS = {
    "nyuv2": ("semseg", "depth", "normals"),
    "cityscapes": ("semseg", "depth"),
    "pascal-context": ("semseg", "parts", "saliency", "normals", "edge"),
}
# Of the tasks of PASCAL-Context.
_THEIR_NAMES = ("semseg", "human_parts", "sal", "normals", "edge")
_EXPECTED = "a .pth of {'labels_weights': (N, 2 or 3) 0 and 1}, or PASCAL-Context's .npy of {task: [image]}"
# SHA-256 of the files that MTPSL, JTR and DiffusionMTL share.
_PAPERS = {
    ("nyuv2", "one"): "757b3a95e1bc5145c1e72a783a489539f4c52004de338cb9798d8e227df6f389",
    ("nyuv2", "random"): "54e7bcbb739bb071d097fd77e4654ab830daeea41730fadaf0a4741ac7436a12",
    ("cityscapes", "one"): "3ded35572b875fc36865354418b7f3c1ef23628d00987f8b5d260de8f0aa90d0",
    ("pascal-context", "one"): "527915d7728b4e9c39ec3651a54c68c1a37851108024e5f715150b049d62681e",
    ("pascal-context", "random"): "65247182ffdcc79e6c6be54ad2332cd4a2fa3b1d013305a02dd204b0e3f68a79",
}


@dataclass(frozen=True, eq=False)
class PublishedSplit:
    """Hold a published split: who is labelled for what.

    dataset: the data set's name. setting: "one" where every row has exactly one label, else "random". tasks:
    our names of the columns. rows: (N, T) bool with 1 to T-1 labels each. ids: (N,) image ids, sorted; None
    where row i is train image i. sha256: of the authors' file.
    """

    dataset: str
    setting: str
    tasks: tuple[str, ...]
    rows: Tensor
    ids: tuple[str, ...] | None
    sha256: str

    @property
    def counts(self) -> dict[str, int]:
        """Count the labelled images of each task."""
        return dict(zip(self.tasks, self.rows.sum(0).tolist(), strict=True))

    @property
    def as_in_papers(self) -> bool:
        """Tell whether the file is, byte for byte, the papers'."""
        return self.sha256 == _PAPERS.get((self.dataset, self.setting))


def parse_file(path: Path) -> PublishedSplit:
    """Read a split file as its authors publish it. Raises `UserError` for others, of which nothing runs."""
    with opening(path, f"expected {_EXPECTED}", "is no label split as the papers' authors publish it"):
        return _parse(read_bytes(path, LARGEST))


def _parse(content: bytes) -> PublishedSplit:
    digest = hashlib.sha256(content).hexdigest()
    if content.startswith(b"\x93NUMPY"):
        if digest not in [_PAPERS.get(("pascal-context", setting)) for setting in ("one", "random")]:
            raise ValueError("it is a pickle, which could run code, and not one that the papers share")
        return _by_task(np.load(io.BytesIO(content), allow_pickle=True).item(), digest)
    try:
        value = read_tensors(io.BytesIO(content), checked=False)
    except (OSError, ValueError) as error:
        raise ValueError("it holds more than tensors, or is damaged") from error
    weights = value.get("labels_weights") if isinstance(value, dict) and len(value) == 1 else None
    if type(weights) is not Tensor or weights.dim() != 2 or weights.device.type != "cpu":
        raise ValueError("it holds no matrix 'labels_weights'")
    if weights.layout is not torch.strided:
        raise ValueError("it holds no matrix 'labels_weights' but a sparse one")
    if weights.dtype not in (torch.float32, torch.float64, torch.int64, torch.bool):
        raise ValueError(f"its matrix holds {weights.dtype}".replace("torch.", ""))
    number, width = weights.shape
    # A tensor without content of its own can claim any shape.
    if width not in (2, 3) or not 1 <= number <= MOST:
        raise ValueError(f"its matrix has shape ({number}, {width})")
    if not bool(((weights == 0) | (weights == 1)).all()):
        raise ValueError("its matrix holds values other than 0 and 1")
    return _made("nyuv2" if width == 3 else "cityscapes", weights.bool(), None, digest)


def _by_task(value: dict[str, list[str]], digest: str) -> PublishedSplit:
    """A split of {task: [image ids]}."""
    rows: dict[str, list[bool]] = {}
    for column, name in enumerate(_THEIR_NAMES):
        for image in value[name]:
            rows.setdefault(str(image), [False] * len(_THEIR_NAMES))[column] = True
    ids = tuple(sorted(rows))
    return _made("pascal-context", torch.tensor([rows[i] for i in ids]), ids, digest)


def _made(dataset: str, rows: Tensor, ids: tuple[str, ...] | None, digest: str) -> PublishedSplit:
    labels = rows.sum(1)
    odd = ((labels == 0) | (labels == rows.shape[1])).nonzero().flatten().tolist()
    if odd:
        found = "no label at all" if labels[odd[0]] == 0 else "every label"
        raise ValueError(f"image {ids[odd[0]] if ids else odd[0]} has {found}")
    setting = "one" if bool((labels == 1).all()) else "random"
    return PublishedSplit(dataset, setting, TASKS[dataset], rows, ids, digest)


def import_file(path: Path, data: Path, replace: bool = False) -> PublishedSplit:
    """Keep a copy of a split file in the data folder; see `place`.

    Where the same split is there already, nothing is written. Raises `UserError` when the file is no split,
    when another split of that data set and setting is there and is not to be replaced, and when writing
    fails.
    """
    split = parse_file(path)
    target = place(data, split.dataset, split.setting)
    if target.exists() and not replace:
        there = _read(data, split.dataset, split.setting)
        if there.ids != split.ids or not torch.equal(there.rows, split.rows):
            cure = "give --replace to put this one in its place"
            raise UserError(f"{target} holds another split than {path}; {cure}.")
        return split
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as draft:
            shutil.copyfile(path, draft)
    except OSError as error:
        cure = "choose a writable data folder with --data DIR or BENCH_DATA"
        raise UserError(f"cannot write {target}: {error.strerror or error}; {cure}.") from error
    return split


def place(data: Path, dataset: str, setting: str) -> Path:
    """Return where an imported split lies: `<data>/labels/<dataset>-<setting>.pth` or `.npy`."""
    ending = "npy" if dataset == "pascal-context" else "pth"
    return data / "labels" / f"{dataset}-{setting}.{ending}"


def load(
    data: Path,
    dataset: str,
    setting: str,
    names: Sequence[str],
    ids: Tensor,
    total: int,
    tasks: Sequence[str],
) -> Tensor:
    """Read an imported split for samples of a train split; (N, T) bool.

    Columns are in the order of `tasks`. names: the samples' names (N,). ids: their numbers (N,) int64. total:
    samples of the whole train split. Raises `UserError` when the split is not imported or damaged, lacks a
    task, or was made for other images.
    """
    if (dataset, setting) not in _PAPERS:
        there = " or ".join(f"'published:{s}'" for d, s in _PAPERS if d == dataset)
        known = f"use {there}" if there else "use a setting that draws labels, such as 'one'"
        raise UserError(f"no paper publishes a label split 'published:{setting}' of {dataset}; {known}.")
    split, path = _read(data, dataset, setting), place(data, dataset, setting)
    for task in tasks:
        if task not in split.tasks:
            covers = f"of {dataset} covers {', '.join(split.tasks)} and not {task}"
            cure = "leave that task out, or use a setting that draws labels, such as 'one'"
            raise UserError(f"label setting 'published:{setting}' {covers}; {cure}.")
    if split.ids is None:
        if len(split.rows) != total:
            found = f"it has {len(split.rows)} rows and the train split of {dataset} {total} images"
            raise _other_images(path, found)
        rows = split.rows[ids]
    else:
        row_of = {i: row for row, i in enumerate(split.ids)}
        if absent := [name for name in names if name not in row_of]:
            raise _other_images(path, f"it lacks image {absent[0]} ({len(absent)} such)")
        if len(names) == total and (unused := sorted(row_of.keys() - set(names))):
            lacks = f"the train split of {dataset} lacks its image {unused[0]}"
            raise _other_images(path, f"{lacks} ({len(unused)} such)")
        rows = split.rows[[row_of[name] for name in names]]
    return rows[:, [split.tasks.index(task) for task in tasks]]


def _other_images(path: Path, found: str) -> UserError:
    cure = "a published split needs all the images of the papers"
    return UserError(f"{path} is a split for other images: {found}; {cure}.")


def _read(data: Path, dataset: str, setting: str) -> PublishedSplit:
    path = place(data, dataset, setting)
    if not path.exists():
        cure = "get its file from data_split of VICO-UoE/MTPSL on GitHub and run `bench labels import PATH`"
        raise UserError(f"label setting 'published:{setting}' of {dataset} is not imported; {cure}.")
    try:
        split = parse_file(path)
        if (split.dataset, split.setting) == (dataset, setting):
            return split
    except UserError:
        pass
    anew = "run `bench labels import PATH --replace` to write it anew"
    raise UserError(f"{path} is damaged, or of another data set or setting; {anew}.")
