"""What MTAN's folders have in common (Liu, Johns, Davison, CVPR 2019): {train,val}/{kind}/{i}.npy, i =
0..N-1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmark.errors import UserError, unknown
from datasets.layouts.base import Array
from datasets.layouts.files import check_values, load_npy
from datasets.tasks import IGNORE

FOLDERS = {"train": "train", "test": "val"}
ROUNDING = 1e-3  # by which a colour may leave [0, 1]


def layout(kinds: Sequence[str]) -> str:
    return f"{{train,val}}/{{{','.join(kinds)}}}/{{i}}.npy"


def detect(path: Path, kinds: Sequence[str]) -> bool:
    """Whether a folder has the kinds of an MTAN folder for training."""
    return all((path / FOLDERS["train"] / kind).is_dir() for kind in kinds)


def names(path: Path, split: str, kinds: Sequence[str]) -> tuple[str, ...]:
    """The samples of "train" or "test" as "train/0" or "val/0". Raises `UserError` when a kind's folder or a
    file is missing.
    """
    if split not in FOLDERS:
        raise unknown("split", split, FOLDERS)
    folder = path / FOLDERS[split]
    counts = {}
    for kind in kinds:
        if not (folder / kind).is_dir():
            raise UserError(f"the folder {folder / kind} is missing; MTAN's layout is {layout(kinds)}.")
        files = {file.name for file in (folder / kind).glob("[!.]*.npy")}
        counts[kind] = len(files)
        for i in range(len(files)):
            if f"{i}.npy" not in files:
                raise UserError(
                    f"{folder / kind} holds {len(files)} .npy files but no {i}.npy; expected 0.npy, 1.npy "
                    f"and so on."
                )
    if len(set(counts.values())) > 1 or not counts[kinds[0]]:
        found = ", ".join(f"{kind} {count}" for kind, count in counts.items())
        raise UserError(
            f"{folder} must hold equally many .npy files of each kind, and at least one, but holds: {found}."
        )
    return tuple(f"{FOLDERS[split]}/{i}" for i in range(counts[kinds[0]]))


def size(path: Path) -> tuple[int, int]:
    """(H, W) of the first image to train on, which all images of the folder must have."""
    height, width, _ = load_colours(path / FOLDERS["train"] / "image" / "0.npy", (-1, -1)).shape
    return height, width


def load_colours(path: Path, shape: tuple[int, int]) -> Array:
    """(H, W, 3) uint8 of RGB in [0, 1]. Raises `UserError` for other values, as `load_npy` does for other
    arrays.
    """
    image = load_npy(path, "RGB in [0, 1]", (*shape, 3))
    check_values(path, bool((np.abs(image - 0.5) <= 0.5 + ROUNDING).all()), "values in [0, 1]", image)
    return np.rint(image.clip(0, 1) * 255).astype(np.uint8)


def load_classes(path: Path, count: int, shape: tuple[int, int]) -> Array:
    """(H, W) uint8 of classes 0..count-1, 255 where -1 says void. Raises `UserError` for other values."""
    label = load_npy(path, "classes", shape)
    right = bool(((label >= -1) & (label < count) & (label == np.floor(label))).all())
    check_values(path, right, f"whole numbers -1..{count - 1}", label)
    return np.where(label < 0, IGNORE, label).astype(np.uint8)
