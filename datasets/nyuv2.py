"""NYUv2 with 13 classes, from the folder that MTAN distributes and MTPSL, JTR and LibMTL read.

{train,val}/{image,label,depth,normal}/{i}.npy, i = 0..N-1 (795 and 654; "val" is the official test set), all at 288x384:
image (H, W, 3) RGB in [0, 1]; label (H, W) classes 0..12, -1 void; depth (H, W, 1) metres, 0 unknown; normal (H, W, 3) unit
vectors, (0, 0, 0) unknown. A SOURCE.json beside train and val names the variant of a folder whose labels are not the papers'.
"""

from __future__ import annotations

import hashlib
import json
import re
import tokenize
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from benchmark.errors import UserError, unknown
from datasets.base import Split
from datasets.tasks import IGNORE, Task, depth, normals, semseg

CLASSES = (
    "bed", "books", "ceiling", "chair", "floor", "furniture", "objects", "picture", "sofa", "table", "tv", "wall", "window",
)  # fmt: skip
FOLDERS = {"train": "train", "test": "val"}
KINDS = ("image", "label", "depth", "normal")
FARTHEST = 100.0  # metres; the sensor sees 10
ROUNDING = 1e-3  # by which a colour may leave [0, 1]
LENGTH_TOLERANCE = 0.05  # of a normal's length from 1 ...
OFF_LENGTH = 0.1  # ... which this share of a map may exceed: resized maps hold shorter vectors at creases


class Sample(NamedTuple):
    """One checked sample at its stored size, in the compact dtypes of `Split`, each (C, H, W)."""

    image: Tensor
    label: Tensor
    depth: Tensor
    normal: Tensor


class NYUv2:
    """The MTAN folder. data: that folder, or one that holds it as `nyuv2`. Nothing is read before `split` and `variant`."""

    name: ClassVar[str] = "nyuv2"
    summary: ClassVar[str] = "NYUv2 indoor scenes: semantic segmentation (13 classes), depth, surface normals"
    source: ClassVar[str] = (
        "Silberman, Hoiem, Kohli, Fergus, ECCV 2012; pre-processed as in MTAN (Liu, Johns, Davison, CVPR 2019)"
    )
    licence: ClassVar[str] = "research use"
    default_size: ClassVar[tuple[int, int]] = (288, 384)

    def __init__(self, data: Path) -> None:
        self.data = data
        self.progress: Callable[[int, int], None] | None = None
        self.folder = data / "nyuv2" if (data / "nyuv2").is_dir() else data

    def present(self) -> bool:
        return (self.folder / FOLDERS["train"]).is_dir()

    @property
    def variant(self) -> str:
        """ "nyuv2-13", or "nyuv2-13-NAME" with the variant that SOURCE.json names. Raises `UserError` when that is damaged."""
        path = self.folder / "SOURCE.json"
        if not path.is_file():
            return "nyuv2-13"
        expected = 'expected JSON such as {"dataset": "nyuv2", "variant": "derived-normals"}'
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read ({error}); {expected}.") from error
        name = content.get("variant") if isinstance(content, dict) and content.get("dataset") == "nyuv2" else None
        if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9]+([.-][a-z0-9]+)*", name):
            raise UserError(f"{path} does not name a variant of nyuv2; {expected}.")
        return f"nyuv2-13-{name}"

    @property
    def tasks(self) -> dict[str, Task]:
        return {"semseg": semseg(CLASSES), "depth": depth(), "normals": normals()}

    def split(self, name: str, size: tuple[int, int], limit: int | None = None) -> Split:
        """Split "train" or "test" at (H, W), which must have the stored aspect; images antialiased, labels nearest.

        Raises `UserError` when a folder or file is missing, damaged or not what the layout says. The fingerprint is that of the
        samples at their stored size, whatever rounding a machine resizes with, and of (H, W).
        """
        if name not in FOLDERS:
            raise unknown("split", name, FOLDERS)
        if limit is not None and limit < 1:
            raise UserError(f"the limit of samples must be at least 1, got {limit}.")
        folder = self.folder / FOLDERS[name]
        number = self._count(folder)
        number = number if limit is None else min(number, limit)
        images = torch.empty(number, 3, *size, dtype=torch.uint8)
        targets = {
            "semseg": torch.empty(number, 1, *size, dtype=torch.uint8),
            "depth": torch.empty(number, 1, *size),
            "normals": torch.empty(number, 3, *size, dtype=torch.int8),
        }
        available = torch.empty(number, len(targets), dtype=torch.bool)
        digest = hashlib.sha256(repr(size).encode())
        shape: tuple[int, int] | None = None
        for i in range(number):
            sample = read(folder, i, shape)
            if shape is None:
                shape = (sample.image.shape[1], sample.image.shape[2])
                if shape[0] * size[1] != shape[1] * size[0]:
                    raise UserError(
                        f"{folder} holds images of {shape[0]}x{shape[1]}, which cannot be resized to {size[0]}x{size[1]} without "
                        "distortion; ask for a size of the same aspect."
                    )
            for part in sample:
                digest.update(part.numpy().tobytes())
            images[i], targets["semseg"][i], targets["depth"][i], targets["normals"][i] = resize(sample, size)
            for column, (key, task) in enumerate(self.tasks.items()):
                available[i, column] = task.valid(targets[key][i : i + 1]).any()
            if self.progress:
                self.progress(i + 1, number)
        return Split(
            ids=torch.arange(number),
            names=tuple(f"{FOLDERS[name]}/{i}" for i in range(number)),
            images=images,
            targets=targets,
            available=available,
            fingerprint=digest.hexdigest()[:16],
        )

    def _count(self, folder: Path) -> int:
        """Samples in the folder of a split, whose four kinds must agree."""
        layout = "{train,val}/{image,label,depth,normal}/{i}.npy"
        if not self.data.is_dir():
            raise UserError(f"there is no data folder {self.data}; point --data at a folder in MTAN's layout, {layout}.")
        if not folder.is_dir():
            other = " (it looks like the NYUD_MT layout, which is another one)" if (self.folder / "gt_sets").is_dir() else ""
            raise UserError(
                f"{self.data} is not MTAN's NYUv2 folder{other}: there is no {folder}; point --data at a folder that holds "
                f"{layout}, or that holds it as nyuv2."
            )
        numbers = {}
        for kind in KINDS:
            if not (folder / kind).is_dir():
                raise UserError(f"the folder {folder / kind} is missing; MTAN's layout is {layout}.")
            numbers[kind] = sum(path.suffix == ".npy" for path in (folder / kind).iterdir())
        if len(set(numbers.values())) > 1 or not numbers["image"]:
            found = ", ".join(f"{kind} {number}" for kind, number in numbers.items())
            raise UserError(f"{folder} must hold equally many .npy files of each kind, and at least one, but holds: {found}.")
        return numbers["image"]


def read(folder: Path, i: int, shape: tuple[int, int] | None = None) -> Sample:
    """Sample i of the folder of a split. Raises `UserError` naming the first file that is not what the layout says.

    shape: the (H, W) that its files must have; None takes that of its image.
    """
    path = folder / "image" / f"{i}.npy"
    image = _load(path, "RGB in [0, 1]", (*(shape or (-1, -1)), 3))
    _check(path, bool((np.abs(image - 0.5) <= 0.5 + ROUNDING).all()), "values in [0, 1]", image)
    height, width = image.shape[:2]

    path = folder / "label" / f"{i}.npy"
    label = _load(path, "classes", (height, width))
    _check(path, bool(((label >= -1) & (label < len(CLASSES)) & (label == np.floor(label))).all()), "whole numbers -1..12", label)

    path = folder / "depth" / f"{i}.npy"
    metres = _load(path, "metres", (height, width, 1))
    _check(path, bool((metres >= 0).all() and (metres <= FARTHEST).all()), f"metres in 0..{FARTHEST:g} (millimetres?)", metres)

    path = folder / "normal" / f"{i}.npy"
    normal = _load(path, "unit vectors", (height, width, 3))
    length = np.sqrt(normal[..., 0] ** 2 + normal[..., 1] ** 2 + normal[..., 2] ** 2)
    off = np.abs(length - 1) > LENGTH_TOLERANCE
    known = length > 0
    unit = bool((off & known).sum() <= OFF_LENGTH * known.sum() and (length <= 1 + LENGTH_TOLERANCE).all())
    _check(path, unit, "vectors of length 1 (0 where unknown)", length)

    directions = normal / np.where(known, length, 1)[..., None]
    return Sample(
        torch.from_numpy(np.rint(image.clip(0, 1) * 255).astype(np.uint8)).permute(2, 0, 1).contiguous(),
        torch.from_numpy(np.where(label < 0, IGNORE, label).astype(np.uint8))[None],
        torch.from_numpy(metres.astype(np.float32)).permute(2, 0, 1).contiguous(),
        torch.from_numpy(np.rint(directions * 127).astype(np.int8)).permute(2, 0, 1).contiguous(),
    )


def resize(sample: Sample, size: tuple[int, int]) -> Sample:
    """A sample at another size: the image antialiased, labels those of the nearest pixel."""
    height, width = sample.image.shape[1:]
    if (height, width) == size:
        return sample
    image = F.interpolate(sample.image[None].float(), size, mode="bilinear", antialias=True)[0]
    rows, columns = _nearest(height, size[0]), _nearest(width, size[1])
    label, metres, normal = (part[:, rows][:, :, columns] for part in sample[1:])
    return Sample(image.round().clamp(0, 255).to(torch.uint8), label, metres, normal)


def _nearest(old: int, new: int) -> Tensor:
    """For each of `new` pixels along an axis, the one of `old` that its centre lies in; whole numbers, hence exact."""
    return ((2 * torch.arange(new) + 1) * old).div(2 * new, rounding_mode="floor")


def _load(path: Path, what: str, shape: tuple[int, ...]) -> NDArray[np.floating[Any]]:
    """The array of a file, in its own float precision. A size of -1 in `shape` is free."""
    expected = f"expected {what} of shape ({', '.join('any' if n < 0 else str(n) for n in shape)})"
    try:
        with path.open("rb") as file:
            array: NDArray[np.floating[Any]] = np.lib.format.read_array(file, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; the files of a folder must be numbered 0, 1, 2 and so on without a gap.") from None
    except (OSError, ValueError, EOFError, MemoryError, SyntaxError, tokenize.TokenError) as error:  # the header is Python text
        raise UserError(f"{path} is damaged or not a plain .npy file ({' '.join(str(error).split())}); {expected}.") from error
    if array.dtype.kind not in "fiu":
        raise UserError(f"{path} does not hold one array of numbers; {expected}.")
    if array.ndim != len(shape) or any(n not in (-1, m) for n, m in zip(shape, array.shape, strict=True)) or not array.size:
        raise UserError(f"{path} has shape {array.shape}; {expected}.")
    if array.dtype != np.float64:
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise UserError(f"{path} holds NaN or infinite values; {expected}.")
    return array


def _check(path: Path, right: bool, expected: str, values: NDArray[np.floating[Any]]) -> None:
    if not right:
        raise UserError(f"{path} must hold {expected}, but those found range over {values.min():.4g}..{values.max():.4g}.")
