"""Surface normals fitted to depth: the least-squares plane of the points around each pixel."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import correlate1d

from datasets.layouts.base import Array

RADIUS = 4  # of the window: 9x9 pixels
LEAST_KNOWN = 0.5  # share of the window, as far as it lies in the image, that must have a depth
LARGEST_RESIDUAL = 0.02  # root mean square over the window, as a share of the (inverse) depth


class Intrinsics(NamedTuple):
    """Hold a pinhole camera, in pixels whose centres lie at whole numbers from 0."""

    fx: float
    fy: float
    cx: float
    cy: float


def fit_normals(depth: Array, camera: Intrinsics) -> Array:
    """Fit unit normals (H, W, 3) float32 to depth (H, W) in metres.

    They are in camera axes (x right, y down, z forward) and face the camera. The plane n.p = 1 through points
    p = Z r on the rays r = ((column - cx) / fx, (row - cy) / fy, 1) is fitted as n.r = 1/Z, in least squares
    over 9x9 pixels. That is linear in the pixel's position, so the moments of the grid alone have to be
    inverted, and it weighs points rightly: the noise of a structured-light sensor is even in 1/Z, not in Z.

    (0, 0, 0) where the pixel itself or more than half of its window has no depth (0), where the window's
    known pixels lie on a line, and where the residuals in 1/Z have a root mean square above 2 % of the
    plane's own 1/Z at the pixel: at jumps in depth.
    """
    known = depth > 0
    mask = known.astype(np.float64)
    inverse = np.where(known, 1 / np.where(known, depth, 1).astype(np.float64), 0)

    # Sums over the window of u^i v^j, with or without 1/Z; u and v go from -1 to 1, right and down.
    offset = np.arange(-RADIUS, RADIUS + 1) / RADIUS
    powers = (np.ones_like(offset), offset, offset**2)
    m0, mu, muu = (_sums(mask, power, 1) for power in powers)
    q0, qu = (_sums(inverse, power, 1) for power in powers[:2])
    s, sv, svv = (_sums(m0, power, 0) for power in powers)
    su, suv, suu = _sums(mu, powers[0], 0), _sums(mu, powers[1], 0), _sums(muu, powers[0], 0)
    b, bv, bu = _sums(q0, powers[0], 0), _sums(q0, powers[1], 0), _sums(qu, powers[0], 0)
    squares = _sums(_sums(inverse**2, powers[0], 1), powers[0], 0)

    # By cofactors, [suu suv su; suv svv sv; su sv s] (slope_u, slope_v, centre) = (bu, bv, b).
    c_uu, c_uv, c_u = svv * s - sv * sv, su * sv - suv * s, suv * sv - svv * su
    c_vv, c_v, c_1 = suu * s - su * su, suv * su - suu * sv, suu * svv - suv * suv
    determinant = suu * c_uu + suv * c_uv + su * c_u
    solvable = known & (determinant > 1e-6 * np.maximum(s, 1) ** 3)
    scale = np.where(solvable, determinant, 1)
    slope_u = (c_uu * bu + c_uv * bv + c_u * b) / scale
    slope_v = (c_uv * bu + c_vv * bv + c_v * b) / scale
    centre = (c_u * bu + c_v * bv + c_1 * b) / scale

    residual = np.maximum(squares - slope_u * bu - slope_v * bv - centre * b, 0) / np.maximum(s, 1)
    inside = _sums(_sums(np.ones_like(mask), powers[0], 1), powers[0], 0)
    good = solvable & (s >= LEAST_KNOWN * inside) & (residual <= (LARGEST_RESIDUAL * centre) ** 2)

    rows, columns = np.arange(depth.shape[0])[:, None], np.arange(depth.shape[1])
    slope_x, slope_y = slope_u / RADIUS, slope_v / RADIUS  # of 1/Z, a pixel
    ahead = centre + (camera.cx - columns) * slope_x + (camera.cy - rows) * slope_y
    toward = -np.stack((camera.fx * slope_x, camera.fy * slope_y, ahead), -1)
    length = np.sqrt(np.einsum("hwc,hwc->hw", toward, toward))
    unit = toward / np.where(good, length, 1)[..., None]
    return np.where(good[..., None], unit, 0).astype(np.float32)


def _sums(values: Array, weights: Array, axis: int) -> Array:
    """Weighted sums over the window along one axis; there is nothing beyond the image."""
    summed: Array = correlate1d(values, weights, axis=axis, mode="constant", cval=0.0)
    return summed
