"""What is in the label maps of a folder with a dataset.toml, a .png or .npy each.

Classes are one whole number a pixel, or colours of a palette; depth is in metres in a .npy and in steps of a
unit in a .png, 0 unknown; normals (H, W, 3) are unit vectors in camera axes (x right, y down, z forward),
(0, 0, 0) unknown, or colours n = 2x/255 - 1; edges and saliency are of 0 and 1 or 0 and 255, or positive from
a threshold on; kinds of one's own hold any numbers, NaN where unknown. Pixels of the number or colours
`ignore` have no label.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from benchmark.errors import UserError
from datasets.layouts.base import Array
from datasets.layouts.files import check_finite, check_shape, check_values, expected_shape, read_npy
from datasets.layouts.nyuv2_maps import equal
from datasets.layouts.pixels import Numbers, load_colours, load_numbers
from datasets.layouts.toml_description import Labels
from datasets.tasks import IGNORE

LARGEST_MEASURED = 65000.0  # of kinds of one's own, which stores hold as float16
NEAREST, FARTHEST = 1e-5, 1000.0  # metres; stores cannot hold less, and more are millimetres


def coloured(path: Path, labels: Labels, what: str, shape: tuple[int, int]) -> Array:
    """Read a map of colours as classes (H, W) uint8, 255 unknown. Raises `UserError` for other colours."""
    pixels = load_colours(path, f"{what} as colours", (*shape, 3)).astype(np.uint32)
    codes = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
    classes = _table(labels.palette, labels.void)[codes]
    if (classes < 0).any():
        y, x = np.argwhere(classes < 0)[0]
        where = f"the colour #{codes[y, x]:06x} in row {y}, column {x}, counted from 0"
        none = f"is in neither palette nor ignore of [tasks.{labels.task.name}]"
        raise UserError(f"{path} has {where}, which {none}; add it to one of them, or correct the map.")
    return classes.astype(np.uint8)


@lru_cache(8)
def _table(palette: tuple[int, ...], void: tuple[int, ...]) -> Array:
    """The class of each of all colours, -1 of one without."""
    table = np.full(1 << 24, -1, np.int16)
    table[list(palette)] = np.arange(len(palette))
    table[list(void)] = IGNORE
    return table


def measured(path: Path, labels: Labels, what: str, shape: tuple[int, int]) -> Array:
    """Read a map of an own kind, (H, W, C) float32, NaN without a label. Raises `UserError` for others."""
    channels, picture = labels.task.channels, path.suffix.lower() == ".png"
    if picture and labels.unit is None:
        cure = "add what a step of it is, as in unit = 0.00392157 for 0 to 1 in 8 bits"
        raise UserError(f"{path} is a .png, and [tasks.{labels.task.name}] has no unit; {cure}.")
    if channels == 1:
        found = load_numbers(path, what, shape).values[..., None]
    elif picture:
        found = load_colours(path, f"{what} as {channels} colours", (*shape, channels))
    else:
        found = read_npy(path, expected_shape(what, (*shape, channels)))
        check_shape(path, found, what, (*shape, channels))
    values: Array = found * np.float32(labels.unit if picture and labels.unit else 1)
    values = values.astype(np.float32, copy=False)
    unknown = (equal(found, labels.ignore) | np.isnan(values)).any(-1)
    right = bool((np.abs(values[~unknown]) <= LARGEST_MEASURED).all())
    check_values(path, right, f"numbers from -{LARGEST_MEASURED:g} to {LARGEST_MEASURED:g}, or nan", values)
    values[unknown] = np.nan
    return values


def numbered(
    path: Path,
    labels: Labels,
    what: str,
    shape: tuple[int, int],
    check_palette: Callable[[Path, str, Array, Array], None],
) -> tuple[Array, list[str]]:
    """Read a map of one number a pixel as `Sample` holds it, with remarks on it.

    check_palette: called with the file, the task, indices and the palette of classes that have one. Raises
    `UserError` for other numbers than the description says.
    """
    kind = labels.task.kind
    found = load_numbers(path, what, shape, indices=kind == "classes")
    ignored = equal(found.values, labels.ignore)
    if kind == "classes":
        if found.palette is not None:
            check_palette(path, labels.task.name, found.values, found.palette)
        return _classes(path, labels, found, ignored)
    return (_metres if kind == "depth" else _binary)(path, labels, found, ignored)


def _classes(path: Path, labels: Labels, found: Numbers, ignored: Array) -> tuple[Array, list[str]]:
    """Classes are numbered in the order of their names, leaving out the number that is ignored."""
    stored = found.values
    numbers = [number for number in range(256) if number != labels.ignore][: len(labels.task.classes)]
    table = np.full(256, IGNORE, np.uint8)
    table[numbers] = np.arange(len(numbers))
    odd = ~ignored & ~((stored >= 0) & (stored <= numbers[-1]) & (stored == np.floor(stored)))
    if odd.any():
        known = f"{len(numbers)} classes, numbered {numbers[0]}..{numbers[-1]}, and ignores {labels.ignore}"
        but = f"but [tasks.{labels.task.name}] names {known}; correct the map, classes or ignore"
        raise UserError(f"{path} holds class {stored[odd][0]}, {but}.")
    classes: Array = table[np.where(ignored, 0, stored).astype(np.uint8)]
    classes[ignored] = IGNORE
    white = labels.ignore == (found.most or IGNORE) and bool(ignored.any()) and not stored[~ignored].any()
    advice = f"{labels.ignore:g} is read as no label: if it was drawn for a class, save that class's number"
    return classes, [f"hold 0 and {labels.ignore:g} alone|{advice}"] * (white and not ignored.all())


def _binary(path: Path, labels: Labels, found: Numbers, ignored: Array) -> tuple[Array, list[str]]:
    """Of 0 and one other number, 1 or white, or positive from a threshold on."""
    values, where = found.values, f"[tasks.{labels.task.name}]"
    if labels.threshold is None:
        white = [n for n in dict.fromkeys((1, 255, found.most)) if n and (~ignored & (values == n)).any()]
        odd = ~ignored & ~np.isin(values, [0, *white[:1]])
        if odd.any():
            of = f"a map of {labels.task.kind} is of 0 and 1, or of 0 and 255"
            cure = "name that of pixels without a label as ignore, or the least positive one as threshold"
            raise UserError(f"{path} holds {values[odd][0]}; {of}: {cure}, in {where}.")
    elif found.most is not None and labels.threshold > found.most:
        below = f"{path} holds numbers up to {found.most}, below threshold = {labels.threshold:g} of {where}"
        raise UserError(f"{below}; save every map with the same number of bits.")
    else:
        check_finite(path, values[~ignored], f"expected numbers, or ignore = nan in {where}")
    positive = np.where(ignored, IGNORE, values >= (labels.threshold or 1)).astype(np.uint8)
    mostly = labels.task.kind == "edge" and bool(2 * (positive == 1).sum() > (~ignored).sum())
    advice = "look whether black and white are exchanged"
    return positive, [f"have more edges than other pixels|{advice}"] * mostly


def _metres(path: Path, labels: Labels, found: Numbers, ignored: Array) -> tuple[Array, list[str]]:
    depth, where = found.values, f"[tasks.{labels.task.name}]"
    remarks = []
    if found.most is None and labels.unit is not None and depth.dtype.kind in "iu":
        remarks = ["are .npy of whole numbers|they are read as metres, as unit is for .png alone"]
    if found.most is not None:
        if labels.unit is None:
            cure = "add the metres a step of it, such as unit = 0.001"
            raise UserError(f"{path} is a .png, and {where} has no unit; {cure}.")
        if found.most > 15 and bool(((depth == found.most) & ~ignored).any()):
            advice = f"if it says that nothing was measured, add ignore = {found.most} to {where}"
            remarks = [f"hold {found.most}, the largest number of their format|{advice}"]
        depth = depth.astype(np.float32)
        depth *= labels.unit
    if ignored.any():
        depth = np.where(ignored, 0, depth)
    check_finite(path, depth, f"expected metres, 0 where unknown (or ignore = nan or inf in {where})")
    right = bool(((depth == 0) | ((depth >= NEAREST) & (depth <= FARTHEST))).all())
    expected = f"metres in {NEAREST:g}..{FARTHEST:g}, 0 where unknown (millimetres? unit?)"
    check_values(path, right, expected, depth)
    return depth.astype(np.float32, copy=False), remarks
