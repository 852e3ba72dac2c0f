"""Depth and normals as layouts store them, checked."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from datasets.layouts.base import Array
from datasets.layouts.files import check_finite, check_shape, check_values, expected_shape, read_npy
from datasets.layouts.pixels import load_colours

FARTHEST = 100.0  # metres; the sensor sees 10
LENGTH_TOLERANCE = 0.05  # of a normal's length from 1 ...
OFF_LENGTH = 0.1  # ... which this share of a map may exceed: resized maps hold shorter vectors at creases


def metres(path: Path, depth: Array) -> Array:
    """Check depth (H, W) or (H, W, 1) of a file; (H, W) float32. Raises `UserError` for no metres."""
    right = bool(depth.min() >= 0 and depth.max() <= FARTHEST)
    check_values(path, right, f"metres in 0..{FARTHEST:g} (millimetres?)", depth)
    return depth.reshape(depth.shape[:2]).astype(np.float32, copy=False)


def load_normals(path: Path, shape: tuple[int, int], of: str = "", ignore: float | None = None) -> Array:
    """Read unit vectors from a .npy, or from colours; (H, W, 3) float32.

    of: what the size is of. ignore: the number that pixels without a normal have in all three channels.
    Raises `UserError` for a file that is missing, damaged or of other values.
    """
    if path.suffix.lower() == ".npy":
        expected, unknown = expected_shape(f"unit vectors{of}", (*shape, 3)), "0 where unknown"
        stored = read_npy(path, expected)
        check_shape(path, stored, f"unit vectors{of}", (*shape, 3))
        vectors = stored.astype(np.float64 if stored.dtype == np.float64 else np.float32, copy=False)
    else:
        expected = f"normals as colours{of}"
        unknown = "127 or 128 in all three channels where unknown, or the number that ignore names"
        stored = load_colours(path, expected, (*shape, 3))
        vectors = vectors_of_colours(stored)
    if ignore is not None:
        vectors[equal(stored, ignore).all(-1)] = 0
    del stored
    check_finite(path, vectors, expected)
    return directions(path, vectors, unknown)


def equal(values: Array, number: float | None) -> Array:
    """Tell which values are a number, which may be NaN; nowhere for None."""
    if number is None:
        return np.zeros(values.shape, np.bool_)
    same: Array = np.isnan(values) if math.isnan(number) else values == number
    return same


def directions(path: Path, vectors: Array, unknown: str = "0 where unknown") -> Array:
    """Make the vectors (H, W, 3) that `path` holds unit, or 0 where unknown; they may change in place.

    Raises `UserError` when any is longer than 1, or more of those known than resizing explains are shorter.
    """
    length = np.einsum("hwc,hwc->hw", vectors, vectors)
    np.sqrt(length, out=length)  # in place, as everything here: maps may have 100 million pixels
    known = length > 0
    short = (length < 1 - LENGTH_TOLERANCE) & known
    right = bool(length.max() <= 1 + LENGTH_TOLERANCE and short.sum() <= OFF_LENGTH * known.sum())
    check_values(path, right, f"vectors of length 1 ({unknown})", length)
    length[~known] = 1
    vectors /= length[..., None]
    return vectors.astype(np.float32, copy=False)


def vectors_of_colours(pixels: Array) -> Array:
    """Turn pixels (H, W, 3) uint8 into vectors float32 by n = 2x/255 - 1.

    (0, 0, 0), which 8 bits cannot hold, where every component is as near to 0 as they come: 127 or 128.
    """
    unknown = ((pixels == 127) | (pixels == 128)).all(-1)
    scaled = pixels.astype(np.float32)
    scaled *= 2
    scaled -= 255
    scaled /= 255
    scaled[unknown] = 0
    return scaled
