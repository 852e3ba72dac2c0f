"""NYUv2's official .mat: its classes and split, its camera, and the sentence for each file that is none."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.layouts import nyuv2_facts
from datasets.layouts.nyu_mat import NyuMat
from tests.datasets.folders import FACTS, FILE, Folders, mat_samples, refused, write_mat

h5py = pytest.importorskip("h5py", reason="it is read with h5py, of the extra `data`")


def test_classes_and_split_are_the_official_ones() -> None:
    train, test = nyuv2_facts.OFFICIAL["train"], nyuv2_facts.OFFICIAL["test"]
    assert (len(train), len(test)) == (795, 654) and sorted(train + test) == list(range(1, 1450))
    assert list(train) == sorted(train) and list(test) == sorted(test)
    names = nyuv2_facts.NAMES[40]
    assert names[:3] == ("wall", "floor", "cabinet") and names[39] == "otherprop"
    # Cabinet, ceiling, chair, floor and wall are the numbers 3, 4, 5, 11 and 21 of the file's own list.
    for number, name in {3: "cabinet", 4: "ceiling", 5: "chair", 11: "floor", 21: "wall"}.items():
        assert names[nyuv2_facts.FROM_894[40][number]] == name
        of_13 = nyuv2_facts.NAMES[13][nyuv2_facts.FROM_894[13][number]]
        assert of_13 == ("furniture" if name == "cabinet" else name)
    for classes, table in nyuv2_facts.FROM_894.items():
        assert table.shape == (895,) and table[0] == 255
        assert sorted(set(table[1:].tolist())) == list(range(classes))


def test_the_white_border_is_cut_off(tmp_path: Path) -> None:
    number = FACTS["train"][0]
    whole = mat_samples((480, 640))[number]
    sample = NyuMat(write_mat(tmp_path / FILE, {number: whole}, 1449), 40).read("train", 0)
    inside = np.s_[45:471, 41:601]
    assert np.array_equal(sample.image, whole["image"][inside]) and sample.image.shape == (426, 560, 3)
    assert np.array_equal(sample.labels["depth"], whole["depth"][inside])
    label = whole["label40"][inside]
    assert np.array_equal(sample.labels["semseg"], np.where(label == 0, 255, label - 1))


@pytest.mark.parametrize("size", [(480, 640), (240, 320)])
def test_normals_of_a_plane_are_derived_with_the_right_camera(size: tuple[int, int], tmp_path: Path) -> None:
    """A floor seen by the toolbox's camera, which counts pixels from 1: X = (column - cx) Z / fx."""
    step = 640 / size[1]
    row, column = ((np.arange(n) + 0.5) * step + 0.5 for n in size)  # of the 480x640 image, counted from 1
    x, y = np.meshgrid((column - 325.582449) / 518.857901, (row - 253.736166) / 519.469611)
    plane = np.array([0.05, 0.4, 0.3])  # n.p = 1: below and ahead
    depth = (1 / (plane[0] * x + plane[1] * y + plane[2])).astype(np.float32)
    assert depth.min() > 0.5 and depth.max() < 20
    made = {"image": np.zeros((*size, 3), np.uint8), "depth": depth, "label": np.ones(size)}
    source = NyuMat(write_mat(tmp_path / FILE, {FACTS["test"][0]: made}), 13, derive_normals=True)
    assert source.variant == "derived-normals-9x9" and len(source.notes) == 2
    assert list(source.tasks) == ["semseg", "depth", "normals"]
    normals = source.read("test", 0).labels["normals"]
    assert normals.shape[:2] == ((426, 560) if size == (480, 640) else size)
    assert np.abs(normals - -plane / np.linalg.norm(plane)).max() < 2e-4
    assert normals[..., 1].max() < 0 and normals[..., 2].max() < 0  # up, and towards the camera


def rewrite(path: Path, kind: str, array: np.ndarray | None) -> None:
    """Put another dataset in the place of one, or nothing."""
    with h5py.File(path, "a") as file:
        del file[kind]
        if array is not None:
            file.create_dataset(kind, data=array, compression="gzip")


def broken_chunk(path: Path) -> None:
    """Overwrite the compressed depth of the first image to train on."""
    with h5py.File(path) as content:
        info = content["depths"].id.get_chunk_info_by_coord((FACTS["train"][0] - 1, 0, 0))
    data = bytearray(path.read_bytes())
    data[info.byte_offset : info.byte_offset + info.size] = bytes(info.size)
    path.write_bytes(data)


def fewer(path: Path) -> None:
    write_mat(path, {3: mat_samples()[FACTS["train"][0]]}, images=24)


def put(kind: str, shape: tuple[int, ...], dtype: Any, value: float = 0) -> Callable[[Path], None]:
    return lambda path: rewrite(path, kind, np.full(shape, value, dtype))


def elsewhere(how: str) -> Callable[[Path], None]:
    """Depths that lie in another place or file, which anyone may have chosen."""

    def act(path: Path) -> None:
        other = path.with_name("other.h5")
        with h5py.File(path, "a") as file:
            shape, dtype = file["depths"].shape, file["depths"].dtype
            if how == "soft link":
                file.move("depths", "other")
                file["depths"] = h5py.SoftLink("/other")
                return
            with h5py.File(other, "w") as more:
                more.create_dataset("depths", data=file["depths"][:], compression="gzip")
            del file["depths"]
            if how == "link":
                file["depths"] = h5py.ExternalLink("other.h5", "/depths")
            elif how == "storage":
                place = [(str(other), 0, h5py.h5f.UNLIMITED)]
                file.create_dataset("depths", shape, dtype, external=place)
            else:
                layout = h5py.VirtualLayout(shape, dtype)
                layout[:] = h5py.VirtualSource(str(other), "depths", shape, dtype)
                file.create_virtual_dataset("depths", layout)

    return act


def claim(path: Path) -> None:
    """Zeros that nobody stored, of 90,000 x 90,000 pixels."""
    with h5py.File(path, "a") as file:
        del file["depths"]
        file.create_dataset("depths", (1449, 90_000, 90_000), np.float32, chunks=(1, 100, 100))


MAT: list[tuple[Callable[[Path], object], str]] = [
    *((elsewhere(how), "has no dataset 'depths' of its own; expected NYUv2's .*, whole")
      for how in ("link", "soft link", "storage", "virtual")),
    (claim, "holds depths larger than any of NYUv2's; expected"),
    (lambda p: p.unlink() or os.mkfifo(p), "is missing; expected NYUv2's"),
    (lambda p: p.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(500)), "damaged or not a MATLAB 7.3 file"),
    (lambda p: rewrite(p, "depths", None), "has no dataset 'depths' of its own; expected NYUv2's"),
    (put("images", (1449, 3, 32, 24), np.uint16), r"type uint16 .*not uint8 of shape \(1449, 3, W, H\)"),
    (put("labels", (32, 24), np.uint16), r"holds labels of type uint16 and shape \(32, 24\)"),
    (put("labels", (1449, 32, 25), np.uint16), "holds images, depths and labels of different"),
    (fewer, r"shape \(24, 3, 32, 24\), not uint8 of shape \(1449, 3, W, H\); expected NYUv2's"),
    (put("labels", (1449, 32, 24), np.uint16, 895), r"labels/3 must hold classes 0\.\.894 .*895\.\.895"),
    (put("depths", (1449, 32, 24), np.float32, 1500), r"depths/3 must hold metres in 0\.\.100"),
    (broken_chunk, r"depths/3 could not be read \(.*\); .*labeled\.mat is damaged, get it anew\."),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "message"), MAT)
def test_official_files_that_are_none(spoil: Callable[[Path], object], message: str, copied: Folders) -> None:
    path = copied("mat") / FILE
    spoil(path)
    source = NyuMat(path, 40)
    refused(path, lambda: source.read("train", source.names("train").index("0003")), message)
