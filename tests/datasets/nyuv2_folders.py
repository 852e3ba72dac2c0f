"""NYUv2 written as people have it: MTAN's folder, both packs of NYUD_MT and the official .mat, from made-up
samples.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.conftest import ROOT

HEIGHT, WIDTH = 12, 16
FACTS: dict[str, Any] = json.loads((ROOT / "datasets/layouts/nyuv2_facts.json").read_text())
FILE = "nyu_depth_v2_labeled.mat"
Arrays = dict[str, np.ndarray]


def arrays(seed: int, height: int = HEIGHT, width: int = WIDTH) -> Arrays:
    """One sample: image 0..255, label 0..40 (0 void), metres (0 unknown), unit normals (0 unknown), edge 0
    and 1.
    """
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


def to_13(label: np.ndarray) -> np.ndarray:
    """0..40 (0 void) as MTAN has it: 0..12, -1 void."""
    return np.array([-1] + [number - 1 for number in FACTS["map40to13"]])[label]


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array) if path.suffix == ".npy" else Image.fromarray(array).save(path)


def write_mtan(folder: Path, train: int = 3, val: int = 2) -> Path:
    for split, number, first in (("train", train, 0), ("val", val, 100)):
        for i in range(number):
            sample = arrays(first + i)
            save(folder / split / "image" / f"{i}.npy", sample["image"].astype(np.float32) / 255)
            save(folder / split / "label" / f"{i}.npy", to_13(sample["label"]).astype(np.float32))
            save(folder / split / "depth" / f"{i}.npy", sample["depth"][..., None])
            save(folder / split / "normal" / f"{i}.npy", sample["normal"])
    return folder


def write_nyud_mt(folder: Path, pack: str) -> Path:
    """pack: "npy" (normals and edges as floats, images .jpg) or "png". Images differ in size, as nothing
    forbids it.
    """
    lists = {"train": ("7", "3", "12"), "val": ("1", "2")}
    for split, ids in lists.items():
        (folder / "gt_sets").mkdir(parents=True, exist_ok=True)
        (folder / "gt_sets" / f"{split}.txt").write_text("\n".join(ids) + "\n")
        for name in ids:
            sample = arrays(int(name), HEIGHT, WIDTH + (name == "2"))
            save(folder / "segmentation" / f"{name}.png", sample["label"])
            if pack == "npy":
                save(folder / "images" / f"{name}.jpg", sample["image"])
                save(folder / "depth" / f"{name}.npy", sample["depth"][..., None])
                save(folder / "normals" / f"{name}.npy", sample["normal"])
                save(folder / "edge" / f"{name}.npy", sample["edge"].astype(np.float32))
            else:
                save(folder / "images" / f"{name}.png", sample["image"])
                save(folder / "depth" / f"{name}.npy", sample["depth"])
                save(
                    folder / "normals" / f"{name}.png",
                    np.rint((sample["normal"].astype(np.float64) + 1) * 127.5).astype(np.uint8),
                )
                save(folder / "edge" / f"{name}.png", sample["edge"] * 255)
    return folder


def write_mat(path: Path, samples: dict[int, Arrays], images: int = 1449) -> Path:
    """samples: by official number, with `label` 0..894; the file has `images` images, the others empty."""
    import h5py

    height, width = next(iter(samples.values()))["depth"].shape
    with h5py.File(path, "w") as file:
        for kind, key, channels, dtype in (
            ("images", "image", (3,), np.uint8),
            ("depths", "depth", (), np.float32),
            ("labels", "label", (), np.uint16),
        ):
            shape = (*channels, width, height)  # MATLAB's order of axes, seen from HDF5
            stored = file.create_dataset(
                kind, (images, *shape), dtype, chunks=(1, *shape), compression="gzip", compression_opts=1
            )
            for number, sample in samples.items():
                stored[number - 1] = sample[key].transpose().astype(dtype)
        file.create_dataset("names", data=np.zeros(3))  # there is more in it than readers need
    return path


def rewrite(path: Path, kind: str, array: np.ndarray | None) -> None:
    """Put another dataset in the place of one, or nothing."""
    import h5py

    with h5py.File(path, "a") as file:
        del file[kind]
        if array is not None:
            file.create_dataset(kind, data=array, compression="gzip" if array.ndim else None)


def one_sentence(message: str, names: Iterable[object]) -> bool:
    return "\n" not in message and message.endswith(".") and all(str(name) in message for name in names)
