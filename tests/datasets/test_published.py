"""The papers' frozen label splits: reading the authors' files, keeping them, using them."""

import hashlib
import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark.errors import UserError
from datasets import labels, published
from tests.conftest import ROOT
from tests.datasets.forms import npy

SHARED = Path(os.environ.get("BENCH_SHARED_DATA", ROOT.parent / "shared" / "data")) / "label_splits"
ABSENT = "no published label splits: put them at ../shared/data/label_splits or set BENCH_SHARED_DATA"
real = pytest.mark.skipif(not SHARED.is_dir(), reason=ABSENT)
THEIRS = {"semseg": "semseg", "parts": "human_parts", "saliency": "sal", "normals": "normals", "edge": "edge"}
# As others decoded the authors' files: the start of the MD5 sum, images, labelled images of each task,
# {labels an image: images}.
FACTS: dict[str, tuple[str, str, str, int, dict[str, int], dict[int, int]]] = {
    "nyuv2_onelabel.pth": (
        "nyuv2", "one", "aa12f1e3", 795, {"semseg": 265, "depth": 265, "normals": 265}, {1: 795}
    ),
    "nyuv2_randomlabels.pth": (
        "nyuv2", "random", "c83e18ad", 795, {"semseg": 392, "depth": 408, "normals": 385}, {1: 405, 2: 390},
    ),
    "cityscapes_onelabel.pth": (
        "cityscapes", "one", "2a62911c", 2975, {"semseg": 1487, "depth": 1488}, {1: 2975}
    ),
    "pascal_onelabel.npy": (
        "pascal-context", "one", "d6efccc", 4998,
        {"semseg": 1000, "parts": 999, "saliency": 1000, "normals": 1000, "edge": 999}, {1: 4998},
    ),
    "pascal_randomlabels.npy": (
        "pascal-context", "random", "45746c0a", 4998,
        {"semseg": 2450, "parts": 847, "saliency": 2445, "normals": 2480, "edge": 2557},
        {1: 1538, 2: 1529, 3: 1541, 4: 390},
    ),
}  # fmt: skip


def matrix(images: int, tasks: int, setting: str) -> Tensor:
    """(N, T) 0/1: one label an image in turn, or one and two in turn."""
    rows = torch.eye(tasks).repeat(images // tasks + 1, 1)[:images]
    if setting == "random":
        rows[1::2] += torch.eye(tasks).roll(1, 1).repeat(images // tasks + 1, 1)[1:images:2]
    return rows


def saved(value: object, **options: bool) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def write_matrix(path: Path, rows: Tensor, legacy: bool = True) -> Path:
    path.write_bytes(saved({"labels_weights": rows}, _use_new_zipfile_serialization=not legacy))
    return path


def names(images: int) -> tuple[str, ...]:
    return tuple(f"2008_{i:06d}" for i in range(images))


def write_lists(path: Path, rows: Tensor, patch: pytest.MonkeyPatch, protocol: int | None = 3) -> Path:
    """A dict of lists of NumPy strings in an object array, as the authors' .npy files; taken for theirs."""
    lists = {
        task: [np.str_(names(len(rows))[i]) for i in rows[:, column].nonzero().flatten().tolist()]
        for column, task in enumerate(THEIRS.values())
    }
    shuffled = np.array({task: lists[task] for task in sorted(lists)}, dtype=object)
    content = npy(shuffled)
    if protocol:
        content = content[: 10 + int.from_bytes(content[8:10], "little")] + pickle.dumps(shuffled, protocol)
    path.write_bytes(content)
    setting = "one" if (rows.sum(1) == 1).all() else "random"
    patch.setitem(published._PAPERS, ("pascal-context", setting), hashlib.sha256(content).hexdigest())
    return path


def load(
    data: Path, dataset: str, setting: str, images: int, tasks: tuple[str, ...], **changes: Any
) -> Tensor:
    values = {"names": names(images), "ids": torch.arange(images), "total": images} | changes
    return published.load(data, dataset, setting, values["names"], values["ids"], values["total"], tasks)


@real
@pytest.mark.parametrize("name", FACTS)
def test_the_papers_files(name: str, tmp_path: Path) -> None:
    dataset, setting, md5, images, counts, per_image = FACTS[name]
    content = (SHARED / name).read_bytes()
    assert hashlib.md5(content).hexdigest().startswith(md5)
    copy = tmp_path / "under-another-name"
    copy.write_bytes(content)
    split = published.import_file(copy, tmp_path)
    assert (split.dataset, split.setting, len(split.rows), split.counts) == (dataset, setting, images, counts)
    assert split.as_in_papers and split.sha256 == hashlib.sha256(content).hexdigest()
    found = torch.bincount(split.rows.sum(1)).tolist()
    assert {k: n for k, n in enumerate(found) if n} == per_image
    sample_names, tasks = split.ids or names(images), split.tasks[::-1]
    mask = load(tmp_path, dataset, setting, images, tasks, names=sample_names)
    # As `pickle` reads the trusted copy.
    if name.endswith(".npy"):
        lists = np.load(SHARED / name, allow_pickle=True).item()
        for column, task in enumerate(tasks):
            shown = {sample_names[i] for i in mask[:, column].nonzero().flatten().tolist()}
            assert shown == {*map(str, lists[THEIRS[task]])}
    else:
        weights = torch.load(SHARED / name, weights_only=True)["labels_weights"]
        assert torch.equal(mask.float(), weights.flip(1))


@pytest.mark.parametrize("setting", ["one", "random"])
def test_every_form_of_a_split(setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for dataset, width in {"nyuv2": 3, "cityscapes": 2}.items():
        if (rows := matrix(10, width, setting)).sum(1).max() == width:
            continue
        for legacy in (True, False):
            for kind in (torch.float32, torch.int64, torch.float64, torch.bool):
                split = published.parse_file(write_matrix(tmp_path / "x.bin", rows.to(kind), legacy))
                assert (split.dataset, split.setting, split.ids) == (dataset, setting, None)
                assert not split.as_in_papers and torch.equal(split.rows, rows.bool())
                assert split.tasks == ("semseg", "depth", "normals")[:width]
    rows = matrix(25, 5, setting)
    for name, protocol in (("x.npy", 3), ("y", None)):
        split = published.parse_file(write_lists(tmp_path / name, rows, monkeypatch, protocol))
        assert split.as_in_papers
        assert (split.dataset, split.setting, split.ids) == ("pascal-context", setting, names(25))
        assert split.tasks == tuple(THEIRS) and torch.equal(split.rows, rows.bool())


def test_files_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent is missing; expected a \.pth"):
        published.parse_file(tmp_path / "absent")
    for path in (tmp_path, Path("/dev/zero")):
        with pytest.raises(UserError, match="could not be read: it is no plain file"):
            published.parse_file(path)
    with (tmp_path / "large").open("wb") as file:
        file.truncate(published.LARGEST + 1)
    with pytest.raises(UserError, match=r"is no label split .*it has more than 16 MiB"):
        published.parse_file(tmp_path / "large")
    (tmp_path / "labels").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write .*nyuv2-one\.pth: .*; choose a writable data folder"):
        published.import_file(write_matrix(tmp_path / "a.pth", matrix(9, 3, "one")), tmp_path)


def test_an_import_is_a_copy_and_replaced_only_when_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, rows = tmp_path / "data", matrix(6, 3, "random")
    published.import_file(write_matrix(tmp_path / "a.pth", rows), data)
    path = data / "labels" / "nyuv2-random.pth"
    assert path == published.place(data, "nyuv2", "random") and [*path.parent.iterdir()] == [path]
    before = path.read_bytes()
    assert before == (tmp_path / "a.pth").read_bytes()
    published.import_file(write_matrix(tmp_path / "b.pth", rows, legacy=False), data)  # the same, other bytes
    other = write_matrix(tmp_path / "c.pth", rows.flip(0))
    with pytest.raises(UserError, match=r"random\.pth holds another split than .*c\.pth; give --replace"):
        published.import_file(other, data)
    assert path.read_bytes() == before
    published.import_file(other, data, replace=True)
    assert path.read_bytes() == other.read_bytes()
    published.import_file(write_lists(tmp_path / "b.npy", matrix(3, 5, "one"), monkeypatch), data)
    assert (data / "labels" / "pascal-context-one.npy").is_file()


def test_rows_by_number_by_name_and_through_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, some, order = matrix(12, 3, "random").bool(), torch.tensor([7, 0, 3]), (*reversed(names(12)),)
    published.import_file(write_matrix(tmp_path / "a.pth", rows.float()), tmp_path)
    assert torch.equal(load(tmp_path, "nyuv2", "random", 12, ("normals", "semseg")), rows[:, [2, 0]])
    found = load(tmp_path, "nyuv2", "random", 12, ("depth",), ids=some, names=("7", "0", "3"))
    assert torch.equal(found, rows[some][:, [1]])
    available = torch.ones(12, 2, dtype=torch.bool)
    available[5] = False
    mask = labels.sample(
        torch.arange(12), available, "published:random", 3,
        lambda which: load(tmp_path, "nyuv2", which, 12, ("depth", "semseg")),
    )  # fmt: skip
    assert torch.equal(mask, rows[:, [1, 0]] & available)
    rows = matrix(12, 5, "one").bool()
    published.import_file(write_lists(tmp_path / "a.npy", rows.float(), monkeypatch), tmp_path)
    found = load(tmp_path, "pascal-context", "one", 12, ("edge", "parts"), names=order)
    assert torch.equal(found, rows.flip(0)[:, [4, 1]])
    found = load(tmp_path, "pascal-context", "one", 2, ("semseg",), names=order[:2], total=12)
    assert torch.equal(found, rows.flip(0)[:2, [0]])


def refused(message: str, *arguments: Any, **changes: Any) -> None:
    with pytest.raises(UserError, match=message):
        load(*arguments, **changes)


def test_a_split_that_does_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nyuv2 = (tmp_path, "nyuv2", "one")
    refused("'published:one' of nyuv2 is not imported; .* run `bench labels import", *nyuv2, 12, ("semseg",))
    no_paper = "no paper .* 'published:random' of cityscapes; use 'published:one'"
    refused(no_paper, tmp_path, "cityscapes", "random", 9, ())
    refused("of rooms; use a setting that draws labels, such as 'one'", tmp_path, "rooms", "one", 12, ())
    published.import_file(write_matrix(tmp_path / "a.pth", matrix(12, 3, "one")), tmp_path)
    refused("covers semseg, depth, normals and not edge; leave that task out", *nyuv2, 12, ("semseg", "edge"))
    refused("one.pth is a split for other images: it has 12 rows and .* 24 images", *nyuv2, 24, ("semseg",))
    published.import_file(write_lists(tmp_path / "b.npy", matrix(12, 5, "one"), monkeypatch), tmp_path)
    pascal = (tmp_path, "pascal-context", "one")
    refused(r"other images: it lacks image 2008_000012 \(2 such\)", *pascal, 14, ("semseg",))
    refused("train split of pascal-context lacks its image 2008_000011", *pascal, 11, ("semseg",))
    refused("it lacks image x", *pascal, 1, ("semseg",), names=("x",), total=12)


def test_a_damaged_import_is_named(tmp_path: Path) -> None:
    path = published.place(tmp_path, "nyuv2", "one")
    published.import_file(write_matrix(tmp_path / "a.pth", matrix(9, 3, "one")), tmp_path)
    of_two, drawn = matrix(9, 2, "one"), matrix(9, 3, "random")  # cityscapes, and another setting
    others = [write_matrix(tmp_path / "x.pth", rows).read_bytes() for rows in (of_two, drawn)]
    for stored in (*others, path.read_bytes()[:50], b"", b"\xff\xfe"):
        path.write_bytes(stored)
        cure = "run `bench labels import PATH --replace` to write it anew"
        refused(f"^{path} is damaged, .*{cure}", tmp_path, "nyuv2", "one", 9, ("semseg",))
    published.import_file(tmp_path / "a.pth", tmp_path, replace=True)
    assert load(tmp_path, "nyuv2", "one", 9, ("semseg",)).sum() == 3
