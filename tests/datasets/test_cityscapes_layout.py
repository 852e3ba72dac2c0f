"""The reader of MTAN's Cityscapes folder: what it makes of good ones, pixel by pixel, and what it says of bad
ones.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmark.errors import UserError
from datasets.layouts import mtan
from datasets.layouts.mtan_cityscapes import CLASSES, MtanCityscapes

HEIGHT, WIDTH = 8, 16


def arrays(seed: int) -> dict[str, np.ndarray]:
    """One sample as MTAN stores it, a tenth of its labels unknown."""
    random = np.random.default_rng(seed)
    unknown = random.random((HEIGHT, WIDTH)) < 0.1
    return {
        "image": random.random((HEIGHT, WIDTH, 3)),
        "label_7": np.where(unknown, -1, random.integers(0, 7, (HEIGHT, WIDTH))).astype(np.float32),
        "label_19": np.where(unknown, -1, random.integers(0, 19, (HEIGHT, WIDTH))).astype(np.float64),
        "depth": np.where(unknown, 0, random.uniform(0.001, 0.4, (HEIGHT, WIDTH)))[..., None],
    }


def write(folder: Path) -> Path:
    for split, count, first in (("train", 3, 0), ("val", 2, 100)):
        for i in range(count):
            for kind, array in arrays(first + i).items():
                path = folder / split / kind / f"{i}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, array)
    return folder


@pytest.mark.parametrize("classes", [7, 19])
@pytest.mark.parametrize(
    ("split", "folder", "count", "first"), [("train", "train", 3, 0), ("test", "val", 2, 100)]
)
def test_a_sample_holds_what_the_files_hold(tmp_path, classes, split, folder, count, first):
    source = MtanCityscapes(write(tmp_path), classes)
    assert source.names(split) == tuple(f"{folder}/{i}" for i in range(count))
    for i in range(count):
        stored, sample = arrays(first + i), source.read(split, i)
        assert list(sample.labels) == list(source.tasks) == ["semseg", "depth"]
        assert sample.image.shape == (HEIGHT, WIDTH, 3) and sample.image.dtype == np.uint8
        semseg, depth = sample.labels["semseg"], sample.labels["depth"]
        assert semseg.shape == depth.shape == (HEIGHT, WIDTH)
        assert semseg.dtype == np.uint8 and depth.dtype == np.float32
        for row in range(HEIGHT):
            for column in range(WIDTH):
                pixel = {kind: array[row, column] for kind, array in stored.items()}
                assert np.abs(sample.image[row, column] / 255 - pixel["image"]).max() <= 0.5 / 255 + 1e-9
                label = pixel[f"label_{classes}"]
                assert semseg[row, column] == (255 if label == -1 else label)
                assert depth[row, column] == np.float32(pixel["depth"][0])
        assert (semseg == 255).any() and (depth == 0).any()


def test_depth_may_lack_its_channel(tmp_path):
    write(tmp_path)
    before = MtanCityscapes(tmp_path, 7).read("train", 0).labels["depth"]
    np.save(tmp_path / "train/depth/0.npy", arrays(0)["depth"][..., 0])
    assert (MtanCityscapes(tmp_path, 7).read("train", 0).labels["depth"] == before).all()


def test_tasks_and_classes_are_cityscapes(tmp_path):
    tasks = MtanCityscapes(tmp_path, 19).tasks
    assert (
        tasks["semseg"].channels == 19
        and tasks["semseg"].classes[0] == "road"
        and tasks["semseg"].classes[18] == "bicycle"
    )
    assert tasks["depth"].inverse and tasks["depth"].unit == ""
    assert MtanCityscapes(tmp_path, 7).tasks["semseg"].classes == CLASSES[7]
    assert {number: len(set(names)) for number, names in CLASSES.items()} == {7: 7, 19: 19}


@pytest.mark.parametrize(("kept", "other"), [(7, 19), (19, 7)])
def test_labels_that_are_not_asked_for_may_be_absent(tmp_path, kept, other):
    assert not MtanCityscapes.detect(tmp_path) and not MtanCityscapes.detect(tmp_path / "nowhere")
    write(tmp_path)
    for split in ("train", "val"):
        shutil.rmtree(tmp_path / split / f"label_{other}")
    assert MtanCityscapes.detect(tmp_path)
    assert len(MtanCityscapes(tmp_path, kept).names("train")) == 3
    with pytest.raises(
        UserError,
        match=rf"the folder .*train/label_{other} is missing; MTAN's layout is \{{train,val\}}/\{{image,",
    ):
        MtanCityscapes(tmp_path, other).names("train")
    shutil.rmtree(tmp_path / "train" / f"label_{kept}")
    assert not MtanCityscapes.detect(tmp_path)


def test_files_that_a_desktop_leaves_are_not_samples(tmp_path):
    write(tmp_path)
    (tmp_path / "train/image/._0.npy").write_bytes(b"x")
    (tmp_path / "train/depth/Thumbs.db").write_bytes(b"x")
    assert len(MtanCityscapes(tmp_path, 7).names("train")) == 3


def test_variants_come_from_the_folder(tmp_path):
    source = MtanCityscapes(write(tmp_path), 7)
    assert (
        source.variant is None and source.notes == () and source.layout == "mtan" and source.path == tmp_path
    )
    (tmp_path / "SOURCE.json").write_text(json.dumps({"dataset": "cityscapes", "variant": "coarse-depth"}))
    assert source.variant == "coarse-depth"


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"dataset": "nyuv2", "variant": "x"}',
        '{"dataset": "cityscapes"}',
        '{"dataset": "cityscapes", "variant": "../x"}',
    ],
)
def test_a_damaged_source_file_is_refused(tmp_path, text):
    (tmp_path / "SOURCE.json").write_text(text)
    with pytest.raises(
        UserError, match=r'SOURCE\.json .*expected JSON such as \{"dataset": "cityscapes"'
    ) as caught:
        _ = MtanCityscapes(tmp_path, 7).variant
    assert "\n" not in str(caught.value)


Spoil = Callable[[Path], None]


def change(kind: str, edit: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / "train" / kind / "1.npy"
        np.save(path, edit(np.load(path)))

    return spoil


def at(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def edit(array: np.ndarray) -> np.ndarray:
        array[2, 3] = value
        return array

    return edit


def move(old: str, new: str) -> Spoil:
    return lambda folder: (folder / "train" / old).rename(folder / "train" / new) and None


def content(kind: str, stored: bytes) -> Spoil:
    return lambda folder: (folder / "train" / kind / "1.npy").write_bytes(stored) and None


BAD: dict[str, tuple[Spoil, str]] = {
    "no split": (
        move("../train", "../elsewhere"),
        r"the folder .*train/image is missing; MTAN's layout is \{train,val\}/\{image,lab",
    ),
    "no depth": (
        move("depth", "disparity"),
        r"the folder .*train/depth is missing; MTAN's layout is .*label_7,depth\}/\{i\}\.npy",
    ),
    "one label less": (
        lambda f: (f / "train/label_7/2.npy").unlink(),
        r"must hold equally .*: image 3, label_7 2, depth 3",
    ),
    "nothing": (
        lambda f: [p.unlink() for p in (f / "train").glob("*/*.npy")] and None,
        r"at least one, but holds: image 0, label",
    ),
    "a gap": (
        move("image/1.npy", "image/7.npy"),
        r"train/image holds 3 \.npy files but no 1\.npy; expected 0\.npy, 1\.npy",
    ),
    "padded numbers": (move("depth/0.npy", "depth/00.npy"), r"train/depth holds 3 \.npy files but no 0\.npy"),
    "text": (
        content("image", b"hello"),
        r"image/1\.npy is damaged or not a plain \.npy file .*expected RGB in \[0, 1\]",
    ),
    "pickle": (
        change("label_7", lambda a: a.astype(object)),
        r"label_7/1\.npy is damaged or not a plain \.npy file",
    ),
    "grey": (
        change("image", lambda a: a[..., 0]),
        r"image/1\.npy has shape \(8, 16\); expected RGB in \[0, 1\] of shape \(8, 16, 3\)",
    ),
    "bytes": (
        change("image", lambda a: a * 255),
        r"image/1\.npy must hold values in \[0, 1\], but those found range over .*\.\.25",
    ),
    "centred": (
        change("image", lambda a: 2 * a - 1),
        r"image/1\.npy must hold values in \[0, 1\], .*range over -",
    ),
    "label of another size": (
        change("label_7", lambda a: a.T),
        r"label_7/1\.npy has shape \(16, 8\); expected classes of shape \(8, 16\)",
    ),
    "class 7": (
        change("label_7", at(7)),
        r"label_7/1\.npy must hold whole numbers -1\.\.6, but those found range over -1\.\.7",
    ),
    "class -2": (
        change("label_7", at(-2)),
        r"label_7/1\.npy must hold whole numbers -1\.\.6, .*range over -2\.\.",
    ),
    "half a class": (change("label_7", at(0.5)), r"label_7/1\.npy must hold whole numbers -1\.\.6"),
    "class NaN": (
        change("label_7", at(np.nan)),
        r"label_7/1\.npy holds NaN or infinite values; expected classes",
    ),
    "depth of another size": (
        change("depth", lambda a: a[:-1]),
        r"depth/1\.npy has shape \(7, 16, 1\); expected .*shape \(8, 16, 1\)",
    ),
    "flat depth of another size": (
        change("depth", lambda a: a[:-1, :, 0]),
        r"depth/1\.npy has shape \(7, 16\); .*shape \(8, 16\)",
    ),
    "turned depth": (change("depth", lambda a: a[..., 0][None]), r"depth/1\.npy has shape \(1, 8, 16\)"),
    "negative depth": (
        change("depth", at(-0.1)),
        r"depth/1\.npy must hold inverse depths in 0\.\.1000 .*range over -0\.1\.\.",
    ),
    "depth NaN": (
        change("depth", at(np.nan)),
        r"depth/1\.npy holds NaN or infinite values; expected inverse depth",
    ),
    "infinite depth": (change("depth", at(np.inf)), r"depth/1\.npy holds NaN or infinite values"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_folders_are_named_in_one_sentence(tmp_path, case):
    spoil, message = BAD[case]
    spoil(write(tmp_path))
    source = MtanCityscapes(tmp_path, 7)
    with pytest.raises(UserError, match=message) as caught:
        for i in range(len(source.names("train"))):
            source.read("train", i)
    assert (
        "\n" not in str(caught.value)
        and str(caught.value).endswith(".")
        and str(tmp_path) in str(caught.value)
    )


def test_class_19_is_one_too_many(tmp_path):
    write(tmp_path)
    change("label_19", at(19))(tmp_path)
    with pytest.raises(
        UserError,
        match=r"label_19/1\.npy must hold whole numbers -1\.\.18, but those found range over -1\.\.19",
    ):
        MtanCityscapes(tmp_path, 19).read("train", 1)


def test_splits_are_named(tmp_path):
    with pytest.raises(UserError, match="unknown split 'tset'; did you mean 'test'"):
        MtanCityscapes(tmp_path, 7).names("tset")
    assert mtan.detect(write(tmp_path), ("image", "depth")) and not mtan.detect(tmp_path, ("image", "normal"))
