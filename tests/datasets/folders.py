"""Every layout as people have it, small and made up, and what its samples should hold."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark.errors import UserError
from datasets.layouts.base import Source
from datasets.layouts.mtan import MtanCityscapes, MtanNYUv2
from datasets.layouts.nyu_mat import NyuMat
from datasets.layouts.nyud_mt import NyudMt
from datasets.layouts.pascal_mt import PascalMt
from datasets.layouts.toml_folder import TomlFolder
from tests.conftest import ROOT
from tests.datasets import folder_example, pascal_folder
from tests.datasets.folder_example import save

FACTS: dict[str, Any] = json.loads((ROOT / "datasets/layouts/nyuv2_facts.json").read_text())
FILE = "nyu_depth_v2_labeled.mat"
HEIGHT, WIDTH = 12, 16
NYUD_LISTS = {"train": ("7", "3", "12"), "test": ("1", "2")}
COLOUR = (1 + 3**0.5) / 255  # what 8 bits a component, made unit again, may be off
Arrays = dict[str, np.ndarray]
Folders = Callable[[str], Path]  # the folder of a layout


def refused(folder: Path, read: Callable[[], object], message: str = ".") -> None:
    """What `read` raises is one sentence, about something in a folder."""
    with pytest.raises(UserError, match=message) as caught:
        read()
    found = str(caught.value)
    assert "\n" not in found and found.endswith((".", "?")) and str(folder) in found, found


def scene(seed: int, height: int = HEIGHT, width: int = WIDTH) -> Arrays:
    """Image, label 0..40 (0 void), metres (0 unknown), unit normals (0 unknown), edge 0 and 1."""
    random = np.random.default_rng(seed)
    unknown = random.random((height, width)) < 0.1
    vectors = random.normal(size=(height, width, 3))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return {
        "image": random.integers(0, 256, (height, width, 3), np.uint8),
        "label": np.where(unknown, 0, random.integers(1, 41, (height, width))).astype(np.uint8),
        "depth": np.where(unknown, 0, random.uniform(0.5, 10, (height, width))).astype(np.float32),
        "normal": np.where(unknown[..., None], 0, vectors).astype(np.float32),
        "edge": random.integers(0, 2, (height, width), np.uint8),
    }


def as_sample(scene: Arrays, classes: int) -> Arrays:
    """A scene as `Sample` holds it."""
    numbers = range(1, 41) if classes == 40 else FACTS["map40to13"]
    table = np.array([255] + [number - 1 for number in numbers], np.uint8)
    kept = {key: scene[key] for key in ("image", "depth", "edge")}
    return kept | {"semseg": table[scene["label"]], "normals": scene["normal"]}


def mtan_arrays(seed: int, height: int = 32, width: int = 40) -> Arrays:
    """A scene as MTAN's NYUv2 folder stores it."""
    made = scene(seed, height, width)
    label = np.array([-1] + [number - 1 for number in FACTS["map40to13"]])[made["label"]]
    image, depth = made["image"].astype(np.float32) / 255, made["depth"][..., None]
    return {"image": image, "label": label.astype(np.float32), "depth": depth, "normal": made["normal"]}


def city(seed: int) -> Arrays:
    """One sample as MTAN's Cityscapes folder stores it, a tenth of its labels unknown."""
    random = np.random.default_rng(seed)
    unknown = random.random((8, 16)) < 0.1
    return {
        "image": random.random((8, 16, 3)),
        "label_7": np.where(unknown, -1, random.integers(0, 7, (8, 16))).astype(np.float32),
        "label_19": np.where(unknown, -1, random.integers(0, 19, (8, 16))).astype(np.float64),
        "depth": np.where(unknown, 0, random.uniform(0.001, 0.4, (8, 16)))[..., None],
    }


def write_arrays(folder: Path, arrays: Callable[[int], Arrays], train: int = 3, val: int = 2) -> Path:
    for split, number, first in (("train", train, 0), ("val", val, 100)):
        for i in range(number):
            for kind, array in arrays(first + i).items():
                save(folder / split / kind / f"{i}.npy", array)
    return folder


def write_mtan(folder: Path, train: int = 3, val: int = 2, height: int = 32, width: int = 40) -> Path:
    return write_arrays(folder, lambda seed: mtan_arrays(seed, height, width), train, val)


def write_nyud_mt(folder: Path, pack: str) -> Path:
    """pack: "npy" (normals and edges as floats, images .jpg) or "png". One image is larger than the rest."""
    for split, ids in NYUD_LISTS.items():
        (folder / "gt_sets").mkdir(parents=True, exist_ok=True)
        (folder / "gt_sets" / f"{'val' if split == 'test' else split}.txt").write_text("\n".join(ids) + "\n")
        for name in ids:
            made = scene(int(name), HEIGHT, WIDTH + (name == "2"))
            save(folder / "segmentation" / f"{name}.png", made["label"])
            if pack == "npy":
                save(folder / "images" / f"{name}.jpg", made["image"])
                save(folder / "depth" / f"{name}.npy", made["depth"][..., None])
                save(folder / "normals" / f"{name}.npy", made["normal"])
                save(folder / "edge" / f"{name}.npy", made["edge"].astype(np.float32))
            else:
                colours = np.rint((made["normal"].astype(np.float64) + 1) * 127.5)
                save(folder / "images" / f"{name}.png", made["image"])
                save(folder / "depth" / f"{name}.npy", made["depth"])
                save(folder / "normals" / f"{name}.png", colours.astype(np.uint8))
                save(folder / "edge" / f"{name}.png", made["edge"] * 255)
    return folder


def write_mat(path: Path, samples: dict[int, Arrays], images: int = 1449) -> Path:
    """samples: by official number, with `label` 0..894; the other images are empty."""
    import h5py

    height, width = next(iter(samples.values()))["depth"].shape
    kinds = (("images", "image", (3,), np.uint8), ("depths", "depth", (), np.float32))
    with h5py.File(path, "w") as file:
        for kind, key, channels, dtype in (*kinds, ("labels", "label", (), np.uint16)):
            shape = (*channels, width, height)  # MATLAB's order of axes, seen from HDF5
            options = {"chunks": (1, *shape), "compression": "gzip", "compression_opts": 1}
            stored = file.create_dataset(kind, (images, *shape), dtype, **options)
            for number, sample in samples.items():
                stored[number - 1] = sample[key].transpose().astype(dtype)
        file.create_dataset("names", data=np.zeros(3))  # there is more in it than readers need
    return path


def mat_samples(size: tuple[int, int] = (24, 32)) -> dict[int, Arrays]:
    """The first two and the last of each split, with classes of 894, and of 40 under `label40`."""
    samples = {}
    for number in [FACTS[split][i] for split in ("train", "test") for i in (0, 1, -1)]:
        label = np.random.default_rng(number).integers(0, 895, size)
        of_40 = np.array([0, *FACTS["map894to40"]])[label]
        samples[number] = scene(number, *size) | {"label": label, "label40": of_40}
    return samples


@dataclass(frozen=True)
class Layout:
    """How a folder is written and opened, and what it should hold.

    expected: image and labels of sample i of a split, given the folder. numbers: the samples that are looked
    at. off: by how much a task's values may be.
    """

    write: Callable[[Path], object]
    open: Callable[[Path], Source]
    expected: Callable[[Path, str, int], Arrays]
    numbers: dict[str, tuple[int, ...]]
    off: dict[str, float] = field(default_factory=dict)


def _mtan(folder: Path, split: str, i: int) -> Arrays:
    made = as_sample(scene(i + 100 * (split == "test")), 13)
    return {key: made[key] for key in ("image", "semseg", "depth", "normals")}


def _city(classes: int) -> Callable[[Path, str, int], Arrays]:
    def expected(folder: Path, split: str, i: int) -> Arrays:
        stored = city(i + 100 * (split == "test"))
        label = stored[f"label_{classes}"]
        image, depth = np.rint(stored["image"] * 255), stored["depth"][..., 0].astype(np.float32)
        return {"image": image.astype(np.uint8), "semseg": np.where(label < 0, 255, label), "depth": depth}

    return expected


def _nyud(classes: int, suffix: str) -> Callable[[Path, str, int], Arrays]:
    def expected(folder: Path, split: str, i: int) -> Arrays:
        name = NYUD_LISTS[split][i]
        image = np.asarray(Image.open(folder / "images" / f"{name}{suffix}"))
        return as_sample(scene(int(name), HEIGHT, WIDTH + (name == "2")), classes) | {"image": image}

    return expected


def _mat(folder: Path, split: str, i: int) -> Arrays:
    made = mat_samples()[FACTS[split][i]]
    wanted = as_sample(made | {"label": made["label40"]}, 40)
    return {key: wanted[key] for key in ("image", "semseg", "depth")}


def _own(folder: Path, split: str, i: int) -> Arrays:
    number = i + folder_example.TRAIN * (split == "test")
    made = folder_example.arrays(number)
    return {key: made[key] for key in made if key == "image" or folder_example.has(key, number)}


THREE, FOUR = {"train": (0, 1, 2), "test": (0, 1)}, {"train": (0, 1, 2), "test": (0,)}
TWELVE = {"train": tuple(range(8)), "test": tuple(range(4))}
PNG, NPY = (_nyud(40, ".png"), THREE, {"normals": COLOUR}), (_nyud(13, ".jpg"), THREE, {"normals": 1e-6})
OFFICIAL = {"train": (0, 1, 794), "test": (0, 1, 653)}
LAYOUTS = {
    "mtan": Layout(lambda p: write_mtan(p, 3, 2, HEIGHT, WIDTH), MtanNYUv2, _mtan, THREE, {"normals": 1e-6}),
    "city 7": Layout(lambda p: write_arrays(p, city), lambda p: MtanCityscapes(p, 7), _city(7), THREE),
    "city 19": Layout(lambda p: write_arrays(p, city), lambda p: MtanCityscapes(p, 19), _city(19), THREE),
    "nyud png": Layout(lambda p: write_nyud_mt(p, "png"), lambda p: NyudMt(p, 40), *PNG),
    "nyud npy": Layout(lambda p: write_nyud_mt(p, "npy"), lambda p: NyudMt(p, 13), *NPY),
    "mat": Layout(lambda p: write_mat(p / FILE, mat_samples()), lambda p: NyuMat(p, 40), _mat, OFFICIAL),
    "pascal": Layout(pascal_folder.write, PascalMt, pascal_folder.expected, FOUR, {"normals": 1e-6}),
    "own": Layout(folder_example.write, TomlFolder, _own, TWELVE, {"normals": 0.02, "depth": 1e-6}),
}
