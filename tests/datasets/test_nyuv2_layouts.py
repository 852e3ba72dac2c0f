"""The readers of NYUv2's three layouts: what they make of good folders and files, and what they say of bad
ones.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.errors import UserError
from datasets.layouts import nyuv2_facts
from datasets.layouts.base import Sample
from datasets.layouts.mtan_nyuv2 import MtanNYUv2
from datasets.layouts.nyu_mat import NyuMat
from datasets.layouts.nyud_mt import NyudMt
from tests.datasets import nyuv2_folders as folders
from tests.datasets.nyuv2_folders import (
    FACTS,
    FILE,
    HEIGHT,
    WIDTH,
    Arrays,
    arrays,
    write_mat,
    write_mtan,
    write_nyud_mt,
)

COLOUR = 1 / 255  # rounding of each component of an 8-bit normal


def expected_class(stored: int, classes: int) -> int:
    """Of a stored class 0..40."""
    if stored == 0:
        return 255
    return stored - 1 if classes == 40 else FACTS["map40to13"][stored - 1] - 1


def assert_is(sample: Sample, wanted: Arrays, classes: int, normals: float = 1e-6) -> None:
    """Pixel by pixel. normals: by how much a component may be off."""
    height, width = wanted["depth"].shape
    assert sample.image.dtype == np.uint8 and sample.image.shape == (height, width, 3)
    assert sample.labels["semseg"].dtype == np.uint8 and sample.labels["depth"].dtype == np.float32
    for row in range(height):
        for column in range(width):
            assert sample.image[row, column].tolist() == wanted["image"][row, column].tolist()
            assert sample.labels["semseg"][row, column] == expected_class(
                int(wanted["label"][row, column]), classes
            )
            assert sample.labels["depth"][row, column] == wanted["depth"][row, column]
            if "normals" in sample.labels:
                n, stored = sample.labels["normals"][row, column], wanted["normal"][row, column]
                assert (n == 0).all() if not stored.any() else abs(np.linalg.norm(n) - 1) < 1e-6
                assert np.abs(n - stored).max() <= normals
            if "edge" in sample.labels:
                assert sample.labels["edge"][row, column] == wanted["edge"][row, column]


# The facts, against what everybody knows of them.


def test_classes_and_split_are_the_official_ones():
    train, test = nyuv2_facts.official_split("train"), nyuv2_facts.official_split("test")
    assert (len(train), len(test)) == (795, 654) and sorted(train + test) == list(range(1, 1450))
    assert list(train) == sorted(train) and list(test) == sorted(test)
    names = nyuv2_facts.names40()
    assert len(names) == 40 and names[:3] == ("wall", "floor", "cabinet") and names[37:] == (
        "otherstructure", "otherfurniture", "otherprop",
    )  # fmt: skip
    # 894: cabinet, ceiling, chair, floor and wall are the numbers 3, 4, 5, 11 and 21 of the file's own list.
    for number, name in ((3, "cabinet"), (4, "ceiling"), (5, "chair"), (11, "floor"), (21, "wall")):
        assert names[nyuv2_facts.from_894(40)[number]] == name
    for number, name in ((3, "furniture"), (4, "ceiling"), (5, "chair"), (11, "floor"), (21, "wall")):
        assert nyuv2_facts.names(13)[nyuv2_facts.from_894(13)[number]] == name
    for classes in (13, 40):
        table = nyuv2_facts.from_894(classes)
        assert (
            table.shape == (895,)
            and table[0] == 255
            and sorted(set(table[1:].tolist())) == list(range(classes))
        )


# MTAN's folder.


@pytest.mark.parametrize(
    ("split", "number", "first", "folder"), [("train", 3, 0, "train"), ("test", 2, 100, "val")]
)
def test_mtan(tmp_path, split, number, first, folder):
    source = MtanNYUv2(write_mtan(tmp_path))
    assert MtanNYUv2.detect(tmp_path) and not NyudMt.detect(tmp_path) and not NyuMat.detect(tmp_path)
    assert (source.layout, source.variant, source.notes) == ("mtan", None, ())
    assert list(source.tasks) == ["semseg", "depth", "normals"]
    assert (
        source.tasks["semseg"].classes == ("bed", *FACTS["names13"][1:]) and source.tasks["depth"].unit == "m"
    )
    assert source.names(split) == tuple(f"{folder}/{i}" for i in range(number))
    for i in range(number):
        sample = source.read(split, i)
        assert list(sample.labels) == list(source.tasks)
        assert_is(sample, arrays(first + i), 13)


def test_creases_of_resized_normals_are_accepted_and_made_unit(tmp_path):
    change("normal", at(0.3))(write_mtan(tmp_path))
    normal = MtanNYUv2(tmp_path).read("train", 1).labels["normals"][3, 4]
    assert np.allclose(normal, 1 / np.sqrt(3), atol=1e-6)


def test_floats_of_twice_the_size_are_read_as_well(tmp_path):
    for path in write_mtan(tmp_path).rglob("*.npy"):
        np.save(path, np.load(path).astype(np.float64))
    assert_is(MtanNYUv2(tmp_path).read("train", 1), arrays(1), 13)


def change(kind: str, how: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], object]:
    def act(folder: Path) -> None:
        path = folder / "train" / kind / "1.npy"
        np.save(path, how(np.load(path)))

    return act


def at(value: float) -> Callable[[np.ndarray], np.ndarray]:
    """A change of a single pixel."""

    def put(array: np.ndarray) -> np.ndarray:
        array = array.astype(np.float64)
        array[3, 4] = value
        return array

    return put


def cut(path: str, keep: int) -> Callable[[Path], object]:
    return lambda folder: (folder / path).write_bytes((folder / path).read_bytes()[:keep])


def drop(path: str) -> Callable[[Path], object]:
    return lambda folder: (
        shutil.rmtree(folder / path) if (folder / path).is_dir() else (folder / path).unlink()
    )


def put(path: str, array: np.ndarray) -> Callable[[Path], object]:
    return lambda folder: folders.save(folder / path, array)


def text(path: str, content: str | bytes) -> Callable[[Path], object]:
    content = content if isinstance(content, bytes) else content.encode()
    return lambda folder: (folder / path).write_bytes(content)


def open_bracket(folder: Path) -> None:
    path = folder / "train/label/1.npy"
    path.write_bytes(path.read_bytes().replace(b"(12, 16)", b"(12, 16 ", 1))


def pickled(folder: Path) -> None:
    np.save(folder / "train/label/1.npy", np.array([{}], dtype=object), allow_pickle=True)


def zipped(folder: Path) -> None:
    with (folder / "train/label/1.npy").open("wb") as file:
        np.savez(file, label=np.zeros((HEIGHT, WIDTH)))


Bad = dict[str, tuple[Callable[[Path], object], str]]
BAD_MTAN: Bad = {
    "no kind": (drop("train/depth"), r"the folder .*train/depth is missing; MTAN's layout is"),
    "unequal": (
        drop("train/depth/2.npy"),
        r"train must hold equally many .*image 3, label 3, depth 2, normal 3",
    ),
    "empty": (
        lambda f: [path.unlink() for path in f.glob("train/*/*.npy")],
        r"and at least one, but holds: image 0",
    ),
    "gap": (
        lambda f: (f / "train/label/1.npy").rename(f / "train/label/7.npy"),
        r"train/label holds 3 .npy files but no 1\.npy",
    ),
    "truncated": (
        cut("train/normal/1.npy", 300),
        r"normal/1\.npy is damaged .*expected unit vectors of shape \(12, 16, 3\)",
    ),
    "no header": (cut("train/image/1.npy", 30), r"image/1\.npy is damaged or not a plain \.npy file"),
    "no bytes": (cut("train/image/1.npy", 0), r"image/1\.npy is damaged or not a plain \.npy file"),
    "broken header": (open_bracket, r"label/1\.npy is damaged or not a plain \.npy file"),
    "pickle": (pickled, r"label/1\.npy is damaged or not a plain \.npy file .*allow_pickle=False"),
    "archive": (zipped, r"label/1\.npy is damaged or not a plain \.npy file"),
    "text": (change("label", lambda a: a.astype(str)), r"label/1\.npy does not hold one array of numbers"),
    "transposed": (
        change("image", lambda a: a.transpose(2, 0, 1)),
        r"image/1\.npy has shape \(3, 12, 16\); expected RGB in \[0, 1\] of shape \(12, 16, 3\)",
    ),
    "another size": (
        change("image", lambda a: a[:6]),
        r"image/1\.npy has shape \(6, 16, 3\); expected RGB in \[0, 1\] of shape \(12, 16, 3\)",
    ),
    "label size": (
        change("label", lambda a: a[:, :5]),
        r"label/1\.npy has shape \(12, 5\); expected classes of shape \(12, 16\)",
    ),
    "flat depth": (
        change("depth", lambda a: a[..., 0]),
        r"depth/1\.npy has shape \(12, 16\); expected metres of shape \(12, 16, 1\)",
    ),
    "NaN image": (change("image", at(np.nan)), r"image/1\.npy holds NaN or infinite"),
    "NaN depth": (change("depth", at(np.nan)), r"depth/1\.npy holds NaN or infinite"),
    "infinite normal": (change("normal", at(np.inf)), r"normal/1\.npy holds NaN or infinite"),
    "bytes": (
        change("image", lambda a: np.rint(a * 255).astype(np.uint8)),
        r"image/1\.npy must hold values in \[0, 1\], .*\.\.255",
    ),
    "centred image": (
        change("image", lambda a: 2 * a - 1),
        r"image/1\.npy must hold values in \[0, 1\], .*range over -",
    ),
    "class 13": (
        change("label", at(13)),
        r"label/1\.npy must hold whole numbers -1\.\.12, but those found range over -1\.\.13",
    ),
    "class -2": (
        change("label", at(-2)),
        r"label/1\.npy must hold whole numbers -1\.\.12, .*range over -2\.\.12",
    ),
    "half a class": (change("label", at(1.5)), r"label/1\.npy must hold whole numbers -1\.\.12"),
    "negative depth": (
        change("depth", at(-1)),
        r"depth/1\.npy must hold metres in 0\.\.100 .*range over -1\.\.",
    ),
    "millimetres": (
        change("depth", lambda a: a * 1000),
        r"depth/1\.npy must hold metres in 0\.\.100 \(millimetres\?\)",
    ),
    "long normals": (
        change("normal", at(1)),
        r"normal/1\.npy must hold vectors of length 1 \(0 where unknown\), .*0\.\.1\.732",
    ),
    "short normals": (
        change("normal", lambda a: a / 2),
        r"normal/1\.npy must hold vectors of length 1 .*0\.\.0\.5",
    ),
}


@pytest.mark.parametrize("case", BAD_MTAN)
def test_bad_mtan_folders_are_named_in_one_sentence(tmp_path, case):
    spoil, message = BAD_MTAN[case]
    source = MtanNYUv2(write_mtan(tmp_path))
    spoil(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        for i in range(len(source.names("train"))):
            source.read("train", i)
    assert folders.one_sentence(str(caught.value), [tmp_path / "train"])


# The NYUD_MT folder.


@pytest.mark.parametrize("classes", [13, 40])
def test_nyud_mt_of_pictures(tmp_path, classes):
    source = NyudMt(write_nyud_mt(tmp_path, "png"), classes)
    assert NyudMt.detect(tmp_path) and not MtanNYUv2.detect(tmp_path) and not NyuMat.detect(tmp_path)
    assert (source.layout, source.variant, source.notes) == ("nyud_mt", None, ())
    assert list(source.tasks) == ["semseg", "depth", "normals", "edge"]
    assert source.tasks["semseg"].classes == tuple(FACTS[f"names{classes}"])
    assert source.names("train") == ("7", "3", "12") and source.names("test") == (
        "1",
        "2",
    )  # in the lists' order
    for split in ("train", "test"):
        for i, name in enumerate(source.names(split)):
            sample = source.read(split, i)
            assert list(sample.labels) == list(source.tasks)
            # 8 bits put a component off by 1/255 at most, thus the length by sqrt(3)/255, which making it 1
            # again spreads.
            assert_is(
                sample, arrays(int(name), HEIGHT, WIDTH + (name == "2")), classes, (1 + 3**0.5) * COLOUR
            )


def test_nyud_mt_of_arrays(tmp_path):
    source = NyudMt(write_nyud_mt(tmp_path, "npy"), 40)
    for i, name in enumerate(source.names("train")):
        jpeg = np.asarray(Image.open(tmp_path / "images" / f"{name}.jpg"))
        assert_is(source.read("train", i), arrays(int(name)) | {"image": jpeg}, 40)


def test_normals_near_the_middle_of_8_bits_are_unknown_and_others_are_known(tmp_path):
    pixels = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    pixels[0] = 127
    pixels[1, :, 0] = 127
    pixels[2] = (126, 128, 1)
    pixels[3, 5] = (129, 128, 128)  # as short as a vector can be that is known
    put("normals/3.png", pixels)(write_nyud_mt(tmp_path, "png"))
    normals = NyudMt(tmp_path, 40).read("train", 1).labels["normals"]
    assert normals.any(-1).sum(1).tolist() == [0, 0, WIDTH, 1] + [0] * (HEIGHT - 4)
    assert np.allclose(normals[2], np.array([-3, 1, -253]) / np.sqrt(9 + 1 + 253**2), atol=1e-6)
    assert np.allclose(normals[3, 5], np.array([3, 1, 1]) / np.sqrt(11), atol=1e-6)


def test_edge_is_there_only_with_its_folder(tmp_path):
    write_nyud_mt(tmp_path, "png")
    shutil.rmtree(tmp_path / "edge")
    source = NyudMt(tmp_path, 13)
    assert list(source.tasks) == list(source.read("train", 0).labels) == ["semseg", "depth", "normals"]


def test_an_edge_is_more_than_half(tmp_path):
    grey = np.full((HEIGHT, WIDTH), 127, np.uint8)
    grey[4] = 128
    put("edge/3.png", grey)(write_nyud_mt(tmp_path, "png"))
    assert NyudMt(tmp_path, 40).read("train", 1).labels["edge"].nonzero()[0].tolist() == [4] * WIDTH


LABEL = arrays(3)["label"]
BAD_NYUD_MT: Bad = {
    "no folder": (
        drop("depth"),
        r"the folder .*/depth is missing; the NYUD_MT layout is images/, seg.*perhaps edge/\.",
    ),
    "no normals": (drop("normals"), r"the folder .*/normals is missing"),
    "no list": (
        drop("gt_sets/train.txt"),
        r"gt_sets/train\.txt is missing; expected ids of images, one a line",
    ),
    "empty list": (text("gt_sets/train.txt", "\n"), r"gt_sets/train\.txt is empty; expected ids"),
    "twice": (text("gt_sets/train.txt", "7\n3\n7\n"), r"gt_sets/train\.txt names '7' twice"),
    "path": (
        text("gt_sets/train.txt", "../7\n"),
        r"gt_sets/train\.txt names '\.\./7', which is not a plain name",
    ),
    "binary list": (text("gt_sets/train.txt", b"\xff\xfe7"), r"gt_sets/train\.txt could not be read"),
    "no image": (
        drop("images/3.png"),
        r"images/3\.jpg is missing; neither is there 3\.png; expected one of the two",
    ),
    "no classes": (drop("segmentation/3.png"), r"segmentation/3\.png is missing; expected classes"),
    "no depth": (drop("depth/3.npy"), r"depth/3\.npy is missing; expected metres of shape \(12, 16\)"),
    "no normal": (drop("normals/3.png"), r"normals/3\.npy is missing; neither is there 3\.png"),
    "no edge": (drop("edge/3.png"), r"edge/3\.npy is missing; neither is there 3\.png"),
    "damaged image": (
        cut("images/3.png", 100),
        r"images/3\.png is damaged or not a picture .*expected an RGB picture",
    ),
    "damaged classes": (cut("segmentation/3.png", 60), r"segmentation/3\.png is damaged or not a picture"),
    "not a picture": (text("normals/3.png", "normals"), r"normals/3\.png is damaged or not a picture"),
    "damaged depth": (cut("depth/3.npy", 200), r"depth/3\.npy is damaged or not a plain \.npy file"),
    "16 bits": (
        put("segmentation/3.png", LABEL.astype(np.uint16) * 300),
        r"segmentation/3\.png has colour mode I;16, not one 8-bit",
    ),
    "coloured classes": (
        put("segmentation/3.png", arrays(3)["image"]),
        r"segmentation/3\.png has colour mode RGB, not one 8-bit",
    ),
    "class 41": (
        put("segmentation/3.png", LABEL + np.uint8(1)),
        r"segmentation/3\.png must hold classes 0\.\.40 .*over 1\.\.41",
    ),
    "classes' size": (
        put("segmentation/3.png", LABEL[:5]),
        r"segmentation/3\.png has shape \(5, 16\); expected .*\(12, 16\)",
    ),
    "depth's size": (
        put("depth/3.npy", np.ones((5, 5))),
        r"depth/3\.npy has shape \(5, 5\); expected metres of shape \(12, 16\)",
    ),
    "normals' size": (
        put("normals/3.png", arrays(3)["image"][1:]),
        r"normals/3\.png has shape \(11, 16, 3\); expected normals",
    ),
    "edge's size": (put("edge/3.png", LABEL[1:]), r"edge/3\.png has shape \(11, 16\)"),
    "millimetres": (
        put("depth/3.npy", np.full((HEIGHT, WIDTH), 1500)),
        r"depth/3\.npy must hold metres in 0\.\.100",
    ),
    "a photo as normals": (
        put("normals/3.png", arrays(3)["image"]),
        r"normals/3\.png must hold vectors of length 1",
    ),
    "short vectors": (
        put("normals/3.npy", np.full((HEIGHT, WIDTH, 3), 0.1)),
        r"normals/3\.npy must hold vectors of length 1",
    ),
    "soft edges": (
        put("edge/3.npy", np.full((HEIGHT, WIDTH), 255)),
        r"edge/3\.npy must hold edges of 0 and 1, .*255\.\.255",
    ),
}


@pytest.mark.parametrize("case", BAD_NYUD_MT)
def test_bad_nyud_mt_folders_are_named_in_one_sentence(tmp_path, case):
    spoil, message = BAD_NYUD_MT[case]
    source = NyudMt(write_nyud_mt(tmp_path, "png"), 40)
    spoil(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        for i in range(len(source.names("train"))):
            source.read("train", i)
    assert folders.one_sentence(str(caught.value), [tmp_path])


# The official file.


def mat_samples(size: tuple[int, int]) -> dict[int, Arrays]:
    """The first two and the last of each split, with classes of 894."""
    samples = {}
    for number in [FACTS[split][i] for split in ("train", "test") for i in (0, 1, -1)]:
        sample = arrays(number, *size)
        label = np.random.default_rng(number).integers(0, 895, size)
        samples[number] = sample | {"label": label, "label40": np.array([0, *FACTS["map894to40"]])[label]}
    return samples


@pytest.fixture(scope="module")
def mat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("h5py", reason="the official .mat is read with h5py, of the extra `data`")
    return write_mat(tmp_path_factory.mktemp("mat") / FILE, mat_samples((24, 32)))


@pytest.mark.parametrize("classes", [13, 40])
def test_the_official_file(mat, classes):
    for path in (mat, mat.parent):
        assert NyuMat.detect(path) and not NyudMt.detect(path) and not MtanNYUv2.detect(path)
    source = NyuMat(mat, classes, derive_normals=False)
    assert (source.layout, source.variant) == ("mat", None) and "--derive-normals fits them" in source.notes[
        1
    ]
    assert list(source.tasks) == ["semseg", "depth"] and source.tasks["semseg"].classes == tuple(
        FACTS[f"names{classes}"]
    )
    assert NyuMat(mat.parent, classes, derive_normals=False).names("test") == source.names("test")
    samples = mat_samples((24, 32))
    for split in ("train", "test"):
        assert source.names(split) == tuple(f"{number:04}" for number in FACTS[split])
        for i in (0, 1, len(FACTS[split]) - 1):
            wanted = samples[FACTS[split][i]]
            sample = source.read(split, i)
            assert list(sample.labels) == ["semseg", "depth"]
            assert_is(sample, wanted | {"label": wanted["label40"]}, classes)


def test_the_white_border_is_cut_off(tmp_path):
    pytest.importorskip("h5py", reason="the official .mat is read with h5py, of the extra `data`")
    number = FACTS["train"][0]
    whole = mat_samples((480, 640))[number]
    sample = NyuMat(write_mat(tmp_path / FILE, {number: whole}), 40, derive_normals=False).read("train", 0)
    assert sample.image.shape == (426, 560, 3)
    assert np.array_equal(sample.image, whole["image"][45:471, 41:601])
    assert np.array_equal(sample.labels["depth"], whole["depth"][45:471, 41:601])
    label = whole["label40"][45:471, 41:601]
    assert np.array_equal(sample.labels["semseg"], np.where(label == 0, 255, label - 1))


@pytest.mark.parametrize("size", [(480, 640), (240, 320)])
def test_normals_of_a_plane_are_derived_with_the_right_camera(tmp_path, size):
    """A floor seen by the toolbox's camera, which counts pixels from 1: X = (column - cx) Z / fx."""
    pytest.importorskip("h5py", reason="the official .mat is read with h5py, of the extra `data`")
    step = 640 / size[1]
    row, column = ((np.arange(n) + 0.5) * step + 0.5 for n in size)  # of the 480x640 image, counted from 1
    x, y = np.meshgrid((column - 325.582449) / 518.857901, (row - 253.736166) / 519.469611)
    plane = np.array([0.05, 0.4, 0.3])  # n.p = 1: below and ahead
    depth = (1 / (plane[0] * x + plane[1] * y + plane[2])).astype(np.float32)
    assert depth.min() > 0.5 and depth.max() < 20
    number = FACTS["test"][0]
    sample = {"image": np.zeros((*size, 3), np.uint8), "depth": depth, "label": np.ones(size)}
    source = NyuMat(write_mat(tmp_path / FILE, {number: sample}), 13, derive_normals=True)
    assert source.variant == "derived-normals-9x9" and len(source.notes) == 2
    assert list(source.tasks) == ["semseg", "depth", "normals"]
    normals = source.read("test", 0).labels["normals"]
    assert normals.shape[:2] == ((426, 560) if size == (480, 640) else size)
    assert np.abs(normals - -plane / np.linalg.norm(plane)).max() < 2e-4
    assert normals[..., 1].max() < 0 and normals[..., 2].max() < 0  # up, and towards the camera


def spoilt(kind: str, array: np.ndarray | None) -> Callable[[Path], object]:
    return lambda file: folders.rewrite(file, kind, array)


def broken_chunk(file: Path) -> None:
    """Overwrite the compressed depth of the first image to train on."""
    import h5py

    with h5py.File(file) as content:
        position = [FACTS["train"][0] - 1, 0, 0]
        info = content["depths"].id.get_chunk_info_by_coord(tuple(position))
    data = bytearray(file.read_bytes())
    data[info.byte_offset : info.byte_offset + info.size] = bytes(info.size)
    file.write_bytes(data)


def fewer(file: Path) -> None:
    write_mat(file, {3: mat_samples((24, 32))[FACTS["train"][0]]}, images=24)


BAD_MAT: Bad = {
    "missing": (Path.unlink, r"labeled\.mat is missing; expected NYUv2's nyu_depth_v2_labeled\.mat"),
    "empty": (
        lambda f: f.write_bytes(b""),
        r"labeled\.mat is damaged or not a MATLAB 7\.3 file \(.*\); expected NYUv2's",
    ),
    "another format": (
        lambda f: f.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(500)),
        r"is damaged or not a MATLAB 7\.3 file",
    ),
    "truncated": (
        lambda f: f.write_bytes(f.read_bytes()[:-5000]),
        r"is damaged or not a MATLAB 7\.3 file \(.*truncated",
    ),
    "no depths": (spoilt("depths", None), r"labeled\.mat has no dataset 'depths'; expected NYUv2's"),
    "another type": (
        spoilt("images", np.zeros((1449, 3, 32, 24), np.uint16)),
        r"holds images of type uint16 and shape \(1449, 3, 32, 24\); expected uint8 of shape \(1449, 3, W, "
        r"H\), as HDF5 shows",
    ),
    "axes not reversed": (
        spoilt("images", np.zeros((24, 32, 3, 1449), np.uint8)),
        r"holds images of type uint8 and shape \(24, 32",
    ),
    "one map": (
        spoilt("labels", np.zeros((32, 24), np.uint16)),
        r"holds labels of type uint16 and shape \(32, 24\)",
    ),
    "another size": (
        spoilt("labels", np.zeros((1449, 32, 25), np.uint16)),
        r"holds images, depths and labels of different",
    ),
    "no images": (
        lambda f: [folders.rewrite(f, kind, array) for kind, array in NONE.items()],
        r"or none;",
    ),
    "fewer images": (
        fewer,
        r"holds 24 images, but the official split is of 1449; expected NYUv2's .*, whole\.",
    ),
    "class 895": (
        spoilt("labels", np.full((1449, 32, 24), 895, np.uint16)),
        r"labels/3 must hold classes 0\.\.894 .*895\.\.895",
    ),
    "millimetres": (
        spoilt("depths", np.full((1449, 32, 24), 1500, np.float32)),
        r"depths/3 must hold metres in 0\.\.100",
    ),
    "NaN": (
        spoilt("depths", np.full((1449, 32, 24), np.nan, np.float32)),
        r"depths/3 must hold metres in 0\.\.100",
    ),
    "broken chunk": (
        broken_chunk,
        r"depths/3 could not be read \(.*\); .*labeled\.mat is damaged, get it anew\.",
    ),
}
NONE = {
    "images": np.zeros((1449, 3, 0, 0), np.uint8),
    "depths": np.zeros((1449, 0, 0), np.float32),
    "labels": np.zeros((1449, 0, 0), np.uint16),
}


@pytest.mark.parametrize("case", BAD_MAT)
def test_bad_official_files_are_named_in_one_sentence(mat, tmp_path, case):
    spoil, message = BAD_MAT[case]
    file = tmp_path / FILE
    shutil.copy(mat, file)
    spoil(file)
    source = NyuMat(file, 40, derive_normals=False)
    with pytest.raises(UserError, match=message) as caught:
        source.names("train")
        source.read("train", 0)
    assert folders.one_sentence(str(caught.value), [file])


def test_without_h5py_the_way_to_get_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / FILE).touch()
    with pytest.raises(
        UserError, match=r"labeled\.mat is read with h5py; install it with `pip install -e '\.\[data\]'`\."
    ):
        NyuMat(tmp_path, 40, derive_normals=True).names("test")


# What all three have in common.


def readers(path: Path) -> list[MtanNYUv2 | NyudMt | NyuMat]:
    return [MtanNYUv2(path), NyudMt(path, 13), NyuMat(path, 13, derive_normals=False)]


def test_nothing_is_read_before_it_is_asked_for_and_splits_are_checked(tmp_path):
    for source in readers(tmp_path / "nowhere"):
        assert not type(source).detect(source.path) and list(source.tasks)[:2] == ["semseg", "depth"]
        with pytest.raises(UserError, match="unknown split 'tset'; did you mean 'test'"):
            source.names("tset")


def test_variants_come_from_the_folder(tmp_path):
    (tmp_path / "SOURCE.json").write_text(
        json.dumps({"dataset": "nyuv2", "variant": "derived-normals", "size": [288, 384]})
    )
    assert [source.variant for source in readers(tmp_path)] == ["derived-normals", "derived-normals", None]


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"dataset": "cityscapes", "variant": "x"}',
        '{"dataset": "nyuv2"}',
        '{"dataset": "nyuv2", "variant": "../x"}',
    ],
)
def test_a_damaged_source_file_is_refused(tmp_path, content):
    (tmp_path / "SOURCE.json").write_text(content)
    for source in readers(tmp_path)[:2]:
        with pytest.raises(UserError, match=r"SOURCE\.json .*expected JSON such as") as caught:
            _ = source.variant
        assert folders.one_sentence(str(caught.value), [tmp_path])
