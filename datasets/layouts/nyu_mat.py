"""NYUv2 from its authors' nyu_depth_v2_labeled.mat (Silberman, Hoiem, Kohli, Fergus, ECCV 2012).

A MATLAB 7.3 file, thus HDF5, which shows MATLAB's axes reversed: images (1449, 3, W, H) uint8 RGB; depths
(1449, W, H) float32 metres, filled in where the sensor saw nothing; labels (1449, W, H) uint16, 0 void,
1..894; W, H = 640, 480. `datasets.layouts.nyuv2_facts` has the classes and the official split, whose numbers
start at 1.
"""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmark.errors import UserError, reason
from datasets import tasks as t
from datasets.layouts import nyuv2_facts
from datasets.layouts.base import Array, Sample, Source
from datasets.layouts.files import LARGEST, check_values, missing, opening
from datasets.layouts.fitted_normals import RADIUS, Intrinsics, fit_normals
from datasets.layouts.nyuv2_facts import IMAGES, Classes
from datasets.layouts.nyuv2_maps import metres
from datasets.tasks import Task

FILE = "nyu_depth_v2_labeled.mat"
FRAME = (480, 640)
ROWS, COLUMNS = slice(45, 471), slice(41, 601)  # of FRAME, 426x560: inside the border of undistorted images
# The colour camera of the authors' toolbox, which counts pixels from 1, at the size of FRAME.
CAMERA = Intrinsics(fx=518.857901, fy=519.469611, cx=325.582449 - 1, cy=253.736166 - 1)
KINDS = {"images": "uint8", "depths": "float32", "labels": "uint16"}
LARGEST_BLOCK = 256 << 20  # bytes that are unpacked to read any part of them
VARIANT = f"derived-normals-{2 * RADIUS + 1}x{2 * RADIUS + 1}"
CACHE = {"rdcc_nbytes": 2**27, "rdcc_nslots": 10_007}  # a chunk holds parts of the images that come next


class NyuMat(Source):
    """Read the official file, or the folder that holds it; without `derive_normals` it has no normals."""

    layout: ClassVar[str] = "mat"

    def __init__(self, path: Path, classes: Classes, derive_normals: bool = False) -> None:
        super().__init__(path)
        self.file = path / FILE if path.is_dir() else path
        self.classes: Classes = classes
        self.derive_normals = derive_normals

    @classmethod
    def detect(cls, path: Path) -> bool:
        """Tell whether this is the file, or a folder with it."""
        return (path / FILE).is_file() or (path.suffix == ".mat" and path.is_file())

    @property
    def tasks(self) -> dict[str, Task]:
        """Return classes, depth and, if they are derived, normals."""
        tasks = {"semseg": t.semseg(nyuv2_facts.NAMES[self.classes]), "depth": t.depth()}
        return tasks | {"normals": t.normals()} if self.derive_normals else tasks

    @property
    def variant(self) -> str | None:
        """Name the labels where they are not the papers'."""
        return VARIANT if self.derive_normals else None

    @property
    def notes(self) -> tuple[str, ...]:
        """Say where depth and normals come from."""
        filled = f"depth in {self.file} is filled in where the sensor saw nothing: no pixel of it is unknown."
        if self.derive_normals:
            return (
                filled,
                "normals are fitted to that depth in windows of 9x9 pixels; they aren't the papers'.",
            )
        none = f"{self.file} has no normals, which the papers' protocols ask for"
        return filled, f"{none}; --derive-normals fits them to the depth."

    def _list(self, split: str) -> tuple[str, ...]:
        """The official numbers, "0001" to "1449", ascending."""
        _ = self._datasets
        return tuple(f"{number:04}" for number in nyuv2_facts.OFFICIAL[split])

    def read(self, split: str, i: int) -> Sample:
        """Read sample i of a split; see `Source.read`."""
        number = nyuv2_facts.OFFICIAL[split][i]
        image, depth, label = (self._map(kind, number) for kind in KINDS)
        # HDF5 names what lies in a file as a path, and so do the sentences about it.
        place = self.file / "labels" / str(number)
        check_values(place, bool((label <= 894).all()), "classes 0..894 (0 where void)", label)
        labels = {
            "semseg": nyuv2_facts.FROM_894[self.classes][label],
            "depth": metres(self.file / "depths" / str(number), depth),
        }
        if self.derive_normals:
            labels["normals"] = fit_normals(labels["depth"], camera(*self._size))
        return Sample(image, labels)

    def _map(self, kind: str, number: int) -> Array:
        """(H, W) or (H, W, 3) of the image with an official number, without the white border."""
        try:
            values: Array = self._datasets[kind][number - 1]
        except (OSError, RuntimeError, ValueError) as error:
            place = self.file / kind / str(number)
            raise UserError(
                f"{place} could not be read ({reason(error)[:120]}); {self.file} is damaged, get it anew."
            ) from error
        if self._size == FRAME:
            values = values[..., COLUMNS, ROWS]
        return np.ascontiguousarray(values.T)

    @property
    def _size(self) -> tuple[int, int]:
        width, height = self._datasets["depths"].shape[1:]
        return height, width

    @cached_property
    def _datasets(self) -> dict[str, Any]:
        """The three datasets, open. Raises `UserError` when the file is missing, damaged or another one."""
        try:
            import h5py
        except ImportError:
            cure = "install it with `pip install -e '.[data]'`"
            raise UserError(f"{self.file} is read with h5py; {cure}.") from None
        expected = f"expected NYUv2's {FILE}, whole"
        if not self.file.is_file():
            raise missing(self.file, expected)
        with opening(self.file, expected, "is damaged or not a MATLAB 7.3 file"):
            file = h5py.File(self.file, "r", **CACHE)
            links = {kind: file.get(kind, getlink=True) for kind in KINDS}
            found = {kind: file[kind] for kind, link in links.items() if isinstance(link, h5py.HardLink)}
        for kind, dtype in KINDS.items():
            dataset, channels = found.get(kind), (3,) if kind == "images" else ()
            if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
                raise UserError(f"{self.file} has no dataset {kind!r} of its own; {expected}.")
            if dataset.dtype != dtype or (dataset.shape or ())[:-2] != (IMAGES, *channels):
                holds = f"holds {kind} of type {dataset.dtype} and shape {dataset.shape}"
                shape = ", ".join(map(str, (IMAGES, *channels, "W", "H")))
                raise UserError(f"{self.file} {holds}, not {dtype} of shape ({shape}); {expected}.")
            block = math.prod(dataset.chunks or (1, *dataset.shape[1:])) * dataset.dtype.itemsize
            if math.prod(dataset.shape[-2:]) > LARGEST or block > LARGEST_BLOCK:
                raise UserError(f"{self.file} holds {kind} larger than any of NYUv2's; {expected}.")
        if len({dataset.shape[-2:] for dataset in found.values()}) > 1 or 0 in found["depths"].shape:
            odd = "images, depths and labels of different sizes, or none"
            raise UserError(f"{self.file} holds {odd}; {expected}.")
        return found


def camera(height: int, width: int) -> Intrinsics:
    """Scale the colour camera to images stored at (H, W), borders cut off."""
    y, x = height / FRAME[0], width / FRAME[1]
    top, left = (ROWS.start, COLUMNS.start) if (height, width) == FRAME else (0, 0)
    cx, cy = (CAMERA.cx + 0.5) * x - 0.5 - left, (CAMERA.cy + 0.5) * y - 0.5 - top
    return Intrinsics(CAMERA.fx * x, CAMERA.fy * y, cx, cy)
