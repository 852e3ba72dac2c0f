"""The reader of MTAN's NYUv2 folder: what it makes of good folders, and what it says of bad ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.errors import UserError
from datasets import base, nyuv2
from datasets.nyuv2 import CLASSES, NYUv2

HEIGHT, WIDTH = 12, 16
Arrays = dict[str, np.ndarray]


def arrays(seed: int, height: int = HEIGHT, width: int = WIDTH) -> Arrays:
    """One sample as MTAN stores it, a tenth of its labels unknown."""
    random = np.random.default_rng(seed)
    unknown = random.random((height, width)) < 0.1
    vectors = random.normal(size=(height, width, 3))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return {
        "image": random.random((height, width, 3)).astype(np.float32),
        "label": np.where(unknown, -1, random.integers(0, 13, (height, width))).astype(np.float32),
        "depth": np.where(unknown, 0, random.uniform(0.5, 10, (height, width))).astype(np.float32)[..., None],
        "normal": np.where(unknown[..., None], 0, vectors).astype(np.float32),
    }


def write(folder: Path, train: int = 3, val: int = 2, height: int = HEIGHT, width: int = WIDTH) -> Path:
    for split, number, first in (("train", train, 0), ("val", val, 100)):
        for i in range(number):
            for kind, array in arrays(first + i, height, width).items():
                path = folder / split / kind / f"{i}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, array)
    return folder


@pytest.mark.parametrize(("split", "number", "first", "folder"), [("train", 3, 0, "train"), ("test", 2, 100, "val")])
def test_a_split_holds_what_the_files_hold(tmp_path, split, number, first, folder):
    read = NYUv2(write(tmp_path)).split(split, (HEIGHT, WIDTH))
    assert len(read) == number
    assert read.ids.tolist() == list(range(number)) and read.ids.dtype == torch.int64
    assert read.names == tuple(f"{folder}/{i}" for i in range(number))
    assert list(read.targets) == list(NYUv2(tmp_path).tasks) == ["semseg", "depth", "normals"]
    assert read.images.dtype == torch.uint8 and read.targets["semseg"].dtype == torch.uint8
    assert read.targets["depth"].dtype == torch.float32 and read.targets["normals"].dtype == torch.int8
    for i in range(number):
        stored = arrays(first + i)
        for row in range(HEIGHT):
            for column in range(WIDTH):
                pixel = {kind: array[row, column] for kind, array in stored.items()}
                colour = read.images[i, :, row, column].numpy() / 255
                assert np.abs(colour - pixel["image"]).max() <= 0.5 / 255 + 1e-6
                assert int(read.targets["semseg"][i, 0, row, column]) == (255 if pixel["label"] == -1 else pixel["label"])
                assert float(read.targets["depth"][i, 0, row, column]) == pixel["depth"][0]
                assert (
                    np.abs(read.targets["normals"][i, :, row, column].numpy() / 127 - pixel["normal"]).max() <= 0.5 / 127 + 1e-6
                )
    tasks = NYUv2(tmp_path).tasks
    for name in tasks:
        valid = tasks[name].valid(base.widen(tasks[name], read.targets[name]))
        unknown = torch.from_numpy(np.stack([arrays(first + i)["depth"] == 0 for i in range(number)])).permute(0, 3, 1, 2)
        assert torch.equal(valid, ~unknown)


def test_availability_is_per_image_and_task(tmp_path):
    write(tmp_path)
    np.save(tmp_path / "train/label/0.npy", np.full((HEIGHT, WIDTH), -1.0))
    np.save(tmp_path / "train/depth/1.npy", np.zeros((HEIGHT, WIDTH, 1)))
    np.save(tmp_path / "train/normal/2.npy", np.zeros((HEIGHT, WIDTH, 3)))
    available = NYUv2(tmp_path).split("train", (HEIGHT, WIDTH)).available
    assert available.tolist() == [[False, True, True], [True, False, True], [True, True, False]]


def test_the_folder_may_be_given_itself_or_as_its_parent(tmp_path):
    write(tmp_path / "nyuv2")
    (tmp_path / "train").mkdir()  # another data set beside it
    own, parent = (NYUv2(path).split("train", (HEIGHT, WIDTH)) for path in (tmp_path / "nyuv2", tmp_path))
    assert own.fingerprint == parent.fingerprint


def test_limit_takes_the_first(tmp_path):
    data = NYUv2(write(tmp_path))
    few, all_of_them = data.split("train", (HEIGHT, WIDTH), 2), data.split("train", (HEIGHT, WIDTH), 99)
    assert len(few) == 2 and len(all_of_them) == 3
    assert torch.equal(few.images, all_of_them.images[:2]) and few.fingerprint != all_of_them.fingerprint


def test_the_fingerprint_is_that_of_the_content(tmp_path):
    first = NYUv2(write(tmp_path / "a")).split("train", (HEIGHT, WIDTH)).fingerprint
    data = NYUv2(write(tmp_path / "b"))
    assert data.split("train", (HEIGHT, WIDTH)).fingerprint == first
    assert data.split("train", (HEIGHT // 2, WIDTH // 2)).fingerprint != first
    for kind in nyuv2.KINDS:
        path = tmp_path / "b" / "train" / kind / "2.npy"
        before = np.load(path)
        after = before.copy()
        after[5, 5] = {"image": 0.123, "label": (before[5, 5] + 2) % 13, "depth": 1.25, "normal": (0, 0, 1)}[kind]
        np.save(path, after)
        assert data.split("train", (HEIGHT, WIDTH)).fingerprint != first, kind
        np.save(path, before)
    assert data.split("train", (HEIGHT, WIDTH)).fingerprint == first


@pytest.mark.parametrize("size", [(6, 8), (9, 12), (24, 32)])
def test_labels_are_resized_to_the_nearest_pixel(tmp_path, size):
    data = NYUv2(write(tmp_path))
    stored, resized = data.split("train", (HEIGHT, WIDTH)), data.split("train", size)
    assert resized.images.shape == (3, 3, *size)
    for name, target in stored.targets.items():
        for row in range(size[0]):
            for column in range(size[1]):
                nearest = target[:, :, (2 * row + 1) * HEIGHT // (2 * size[0]), (2 * column + 1) * WIDTH // (2 * size[1])]
                assert torch.equal(resized.targets[name][:, :, row, column], nearest)


def test_images_are_resized_without_aliasing(tmp_path):
    """Stripes finer than the new pixels turn grey; a smooth image stays what it is."""
    write(tmp_path, height=24, width=32)
    stripes = np.zeros((24, 32, 3), np.float32)
    stripes[:, 1::4] = stripes[:, 2::4] = 1  # what a new pixel's centre lies between
    ramp = np.broadcast_to(np.linspace(0, 1, 32, dtype=np.float32)[None, :, None], (24, 32, 3))
    np.save(tmp_path / "train/image/0.npy", stripes)
    np.save(tmp_path / "train/image/1.npy", ramp)
    images = NYUv2(tmp_path).split("train", (6, 8)).images.double() / 255
    assert (images[0, :, :, 1:-1] - 0.5).abs().max() < 0.05
    centres = torch.from_numpy(ramp[:6].astype(np.float64)).view(6, 8, 4, 3).mean(2).permute(2, 0, 1)
    assert (images[1] - centres)[:, :, 1:-1].abs().max() < 0.01


def test_another_aspect_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"train holds images of 12x16, which cannot be resized to 12x12 without distortion"):
        NYUv2(write(tmp_path)).split("train", (12, 12))


def test_variants_come_from_the_folder(tmp_path):
    assert NYUv2(tmp_path / "nowhere").variant == "nyuv2-13"
    source = write(tmp_path) / "SOURCE.json"
    source.write_text(json.dumps({"dataset": "nyuv2", "variant": "derived-normals", "size": [288, 384]}))
    assert NYUv2(tmp_path).variant == "nyuv2-13-derived-normals"


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"dataset": "cityscapes", "variant": "x"}', '{"dataset": "nyuv2"}', '{"dataset": "nyuv2", "variant": "../x"}'],
)
def test_a_damaged_source_file_is_refused(tmp_path, text):
    (write(tmp_path) / "SOURCE.json").write_text(text)
    with pytest.raises(UserError, match=r"SOURCE\.json .*expected JSON such as") as caught:
        _ = NYUv2(tmp_path).variant
    assert "\n" not in str(caught.value)


def test_names_and_limits_are_checked(tmp_path):
    data = NYUv2(write(tmp_path))
    with pytest.raises(UserError, match="unknown split 'tset'; did you mean 'test'"):
        data.split("tset", (HEIGHT, WIDTH))
    with pytest.raises(UserError, match="at least 1, got 0"):
        data.split("train", (HEIGHT, WIDTH), 0)


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


def open_bracket(folder: Path) -> None:
    path = folder / "train/label/1.npy"
    path.write_bytes(path.read_bytes().replace(b"(12, 16)", b"(12, 16 ", 1))


def pickled(folder: Path) -> None:
    np.save(folder / "train/label/1.npy", np.array([{}], dtype=object), allow_pickle=True)


def zipped(folder: Path) -> None:
    with (folder / "train/label/1.npy").open("wb") as file:
        np.savez(file, label=np.zeros((HEIGHT, WIDTH)))


def other_layout(folder: Path) -> None:
    shutil.rmtree(folder / "train")
    (folder / "gt_sets").mkdir()


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, r"there is no data folder .*; point --data at a folder in MTAN's layout"),
    "another layout": (other_layout, r"is not MTAN's NYUv2 folder \(it looks like the NYUD_MT layout.*point --data at"),
    "no split": (lambda f: shutil.rmtree(f / "train"), r"is not MTAN's NYUv2 folder: there is no .*train; point --data at"),
    "no kind": (lambda f: shutil.rmtree(f / "train/depth"), r"the folder .*train/depth is missing; MTAN's layout is"),
    "unequal": (
        lambda f: (f / "train/depth/1.npy").unlink(),
        r"train must hold equally many .*image 3, label 3, depth 2, normal 3",
    ),
    "empty": (lambda f: [path.unlink() for path in f.glob("train/*/*.npy")], r"and at least one, but holds: image 0"),
    "gap": (lambda f: (f / "train/label/1.npy").rename(f / "train/label/7.npy"), r"label/1\.npy is missing; .*without a gap"),
    "truncated": (cut("train/normal/1.npy", 300), r"normal/1\.npy is damaged .*expected unit vectors of shape \(12, 16, 3\)"),
    "no header": (cut("train/image/1.npy", 30), r"image/1\.npy is damaged or not a plain \.npy file"),
    "no bytes": (cut("train/image/1.npy", 0), r"image/1\.npy is damaged or not a plain \.npy file"),
    "broken header": (open_bracket, r"label/1\.npy is damaged or not a plain \.npy file"),
    "pickle": (pickled, r"label/1\.npy is damaged or not a plain \.npy file .*allow_pickle=False"),
    "archive": (zipped, r"label/1\.npy is damaged or not a plain \.npy file"),
    "text": (change("label", lambda a: a.astype(str)), r"label/1\.npy does not hold one array of numbers"),
    "transposed": (
        change("image", lambda a: a.transpose(2, 0, 1)),
        r"image/1\.npy has shape \(3, 12, 16\); expected RGB.*\(12, 16, 3\)",
    ),
    "another size": (
        change("image", lambda a: a[:6]),
        r"image/1\.npy has shape \(6, 16, 3\); expected RGB in \[0, 1\] of shape \(12",
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
    "centred image": (change("image", lambda a: 2 * a - 1), r"image/1\.npy must hold values in \[0, 1\], .*range over -"),
    "class 13": (change("label", at(13)), r"label/1\.npy must hold whole numbers -1\.\.12, but those found range over -1\.\.13"),
    "class -2": (change("label", at(-2)), r"label/1\.npy must hold whole numbers -1\.\.12, .*range over -2\.\.12"),
    "half a class": (change("label", at(1.5)), r"label/1\.npy must hold whole numbers -1\.\.12"),
    "negative depth": (change("depth", at(-1)), r"depth/1\.npy must hold metres in 0\.\.100 .*range over -1\.\."),
    "millimetres": (change("depth", lambda a: a * 1000), r"depth/1\.npy must hold metres in 0\.\.100 \(millimetres\?\)"),
    "long normals": (change("normal", at(1)), r"normal/1\.npy must hold vectors of length 1 \(0 where unknown\), .*0\.\.1\.732"),
    "short normals": (change("normal", lambda a: a / 2), r"normal/1\.npy must hold vectors of length 1 .*0\.\.0\.5"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_folders_are_named_in_one_sentence(tmp_path, case):
    spoil, message = BAD[case]
    folder = write(tmp_path / "mtan")
    spoil(folder)
    with pytest.raises(UserError, match=message) as caught:
        NYUv2(folder).split("train", (HEIGHT, WIDTH))
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    assert str(folder) in str(caught.value)


def test_creases_of_resized_normals_are_accepted_and_made_unit(tmp_path):
    write(tmp_path)
    change("normal", at(0.3))(tmp_path)
    target = NYUv2(tmp_path).split("train", (HEIGHT, WIDTH)).targets["normals"][1, :, 3, 4]
    assert target.tolist() == [73, 73, 73]  # 127 / sqrt(3)


def shared_data() -> Path | None:
    """The folder of the compact NYUv2 set with its `expand.py`, where there is one."""
    default = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("BENCH_SHARED_DATA", default))
    return folder if (folder / "expand.py").is_file() and (folder / "nyuv2").is_dir() else None


@pytest.mark.skipif(
    shared_data() is None, reason="no compact NYUv2 set: neither BENCH_SHARED_DATA nor ../shared/data holds expand.py and nyuv2/"
)
def test_real_images(tmp_path):
    pytest.importorskip("PIL", reason="expand.py needs Pillow")
    script = str(Path(shared_data() or "") / "expand.py")
    subprocess.run([sys.executable, script, "--layout", "mtan", "--out", str(tmp_path), "--limit", "6"], check=True, timeout=120)
    data = NYUv2(tmp_path)
    assert data.variant == "nyuv2-13-derived-normals"
    for name in ("train", "test"):
        split = data.split(name, (144, 192))
        assert split.images.shape == (6, 3, 144, 192) and split.available.all()
        assert 40 < split.images.double().mean() < 200
        assert len(split.targets["semseg"].unique()) >= 6 and (split.targets["semseg"] != 255).double().mean() > 0.5
        assert 1 < split.targets["depth"].median() < 5
        vectors = base.widen(data.tasks["normals"], split.targets["normals"])
        lengths = vectors.norm(dim=1)
        assert ((lengths - 1).abs() < 1e-5).logical_or(lengths == 0).all()
        # Surfaces that a camera sees face it, and floors (y down) face up.
        assert (vectors[:, 2] <= 0.2).double().mean() > 0.95
        floor = (split.targets["semseg"] == CLASSES.index("floor"))[:, 0]
        assert vectors[:, 1][floor].mean() < -0.5
