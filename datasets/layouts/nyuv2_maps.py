"""Depth and normals as layouts store them, checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datasets.layouts.base import Array
from datasets.layouts.files import check_values, load_image, load_npy

FARTHEST = 100.0  # metres; the sensor sees 10
LENGTH_TOLERANCE = 0.05  # of a normal's length from 1 ...
OFF_LENGTH = 0.1  # ... which this share of a map may exceed: resized maps hold shorter vectors at creases


def metres(path: Path, depth: Array) -> Array:
    """Check depth (H, W) or (H, W, 1) that `path` holds; (H, W) float32.

    Raises `UserError` for negative or impossible metres.
    """
    right = bool(depth.min() >= 0 and depth.max() <= FARTHEST)
    check_values(path, right, f"metres in 0..{FARTHEST:g} (millimetres?)", depth)
    return depth.reshape(depth.shape[:2]).astype(np.float32, copy=False)


def load_normals(path: Path, shape: tuple[int, int], of: str = "") -> Array:
    """Read unit vectors from a .npy, or from colours; (H, W, 3) float32.

    Raises `UserError` for a file that is missing, damaged or of other values. of: what the size is of.
    """
    if path.suffix.lower() == ".npy":
        return directions(path, load_npy(path, f"unit vectors{of}", (*shape, 3)))
    return directions(path, vectors_of_colours(load_image(path, f"normals as colours{of}", (*shape, 3))))


def directions(path: Path, vectors: Array) -> Array:
    """Make the vectors (H, W, 3) that `path` holds unit, or 0 where unknown.

    Raises `UserError` when any is longer than 1, or more of those known than resizing explains are shorter.
    """
    length = np.sqrt(np.einsum("hwc,hwc->hw", vectors, vectors))
    known = length > 0
    short = (length < 1 - LENGTH_TOLERANCE) & known
    right = bool(length.max() <= 1 + LENGTH_TOLERANCE and short.sum() <= OFF_LENGTH * known.sum())
    check_values(path, right, "vectors of length 1 (0 where unknown)", length)
    return (vectors / np.where(known, length, 1)[..., None]).astype(np.float32, copy=False)


def vectors_of_colours(pixels: Array) -> Array:
    """Turn pixels (H, W, 3) uint8 into vectors float32 by n = 2x/255 - 1.

    (0, 0, 0), which 8 bits cannot hold, where every component is as near to 0 as they come: 127 or 128.
    """
    scaled = 2 * pixels.astype(np.float32) - 255
    known = (np.abs(scaled) > 1).any(-1, keepdims=True)
    return np.where(known, scaled / 255, np.float32(0))
